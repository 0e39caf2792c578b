/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugin files: every refusal of a file with its exact message, and the probe
 * on files that crash, hang, exit or shout while they are loaded. This program
 * is also the one the probe starts: with -x it is the child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "json/json.h"
#include "module.h"
#include "plugin/discover.h"
#include "plugin/plugin.h"
#include "plugin/probe.h"

#define LONG_MS 60000

static char own_program[4096];

struct files {
	char *folder;
	struct plugin_set *set;
	struct error err;
};

static int set_up(void **state)
{
	struct files *files = mem_alloc(sizeof(*files));

	files->folder = module_folder();
	files->set = plugin_set_new();
	*state = files;
	return 0;
}

static int tear_down(void **state)
{
	struct files *files = *state;

	unsetenv("SLUICE_WILD");
	plugin_set_free(&files->set);
	module_folder_free(&files->folder);
	mem_release(files);
	return 0;
}

/* Loads path here and expects the refusal. */
static void refused(struct files *files, const char *path, const struct plugin_file *expected, const char *message)
{
	struct buf whole;

	buf_init(&whole);
	buf_printf(&whole, "%s: plugin refused: %s", path, message);
	assert_int_equal(plugin_load(files->set, path, expected, NULL, &files->err), -1);
	assert_string_equal(files->err.text, whole.data);
	assert_int_equal(files->err.code, ERR_INPUT);
	assert_int_equal(plugin_count(files->set), 0);
	buf_fini(&whole);
}

static void test_missing(void **state)
{
	struct files *files = *state;
	char *path = module_path(files->folder, "none.so");

	refused(files, path, NULL, "cannot be opened: No such file or directory");
	mem_release(path);
}

static void test_folder_as_file(void **state)
{
	struct files *files = *state;
	char *path = module_path(files->folder, "null.so");

	assert_int_equal(mkdir(path, 0700), 0);
	refused(files, path, NULL, "is not a regular file");
	mem_release(path);
}

/* A FIFO nobody writes to must not make the reader wait. */
static void test_fifo(void **state)
{
	struct files *files = *state;
	char *path = module_path(files->folder, "null.so");

	assert_int_equal(mkfifo(path, 0600), 0);
	refused(files, path, NULL, "is not a regular file");
	mem_release(path);
}

static void test_too_large(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	assert_int_equal(truncate(path, 256L * 1024 * 1024 + 1), 0);
	refused(files, path, NULL, "is larger than 256 MiB");
	mem_release(path);
}

static void test_file_writable(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	assert_int_equal(chmod(path, 0646), 0);
	refused(files, path, NULL, "the file may be written by others (chmod o-w)");
	mem_release(path);
}

static void test_folder_writable(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	assert_int_equal(chmod(files->folder, 0707), 0);
	refused(files, path, NULL, "its folder may be written by others (chmod o-w)");
	mem_release(path);
}

/* The folder a link leads to counts as much as the link's. */
static void test_linked_folder_writable(void **state)
{
	struct files *files = *state;
	char *open_folder = module_path(files->folder, "open");
	char *link = module_path(files->folder, "null.so");
	char *target;

	assert_int_equal(mkdir(open_folder, 0700), 0);
	target = module_built("null", open_folder);
	assert_int_equal(symlink(target, link), 0);
	assert_int_equal(plugin_load(files->set, link, NULL, NULL, &files->err), 0);
	plugin_set_free(&files->set);
	files->set = plugin_set_new();
	assert_int_equal(chmod(open_folder, 0707), 0);
	refused(files, link, NULL, "its folder may be written by others (chmod o-w)");
	mem_release(target);
	mem_release(link);
	mem_release(open_folder);
}

static void test_group(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(path, 0, 4242), 0);
	assert_int_equal(chmod(path, 0664), 0);
	refused(files, path, NULL, "the file may be written by group 4242 (chmod g-w)");
	mem_release(path);
}

static void test_owner(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(path, 4242, 0), 0);
	refused(files, path, NULL, "the file belongs to user 4242, neither root nor the user of this process");
	mem_release(path);
}

static void test_folder_owner(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);

	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(files->folder, 4242, 0), 0);
	refused(files, path, NULL, "its folder belongs to user 4242, neither root nor the user of this process");
	mem_release(path);
}

static void test_no_elf(void **state)
{
	static const char text[] = "#!/bin/sh\necho this is a script and longer than the header of an object file is\n";
	struct files *files = *state;
	char *path = module_path(files->folder, "null.so");

	module_write(path, text, sizeof(text) - 1);
	refused(files, path, NULL, "cannot be loaded: invalid ELF header");
	module_write(path, "", 0);
	refused(files, path, NULL, "cannot be loaded: file too short");
	mem_release(path);
}

static void test_undefined_symbol(void **state)
{
	struct files *files = *state;
	char *path = module_built("undefined", files->folder);

	refused(files, path, NULL, "cannot be loaded: undefined symbol: sluice_test_nobody_has_this");
	mem_release(path);
}

static void test_no_descriptor(void **state)
{
	struct files *files = *state;
	char *path = module_built("major2", files->folder);

	refused(files, path, NULL,
		"exports no sluice_plugin_v1: it is no Sluice plugin, or one for another major version");
	mem_release(path);
}

static void test_other_file_name(void **state)
{
	struct files *files = *state;
	char *built = module_built("null", files->folder);
	char *path = module_copy(built, files->folder, "zero.so");

	refused(files, path, NULL, "its name \"null\" is not that of its file, zero.so");
	mem_release(path);
	mem_release(built);
}

static void test_changed(void **state)
{
	const char *changed = "changed since it was checked (reload or restart to check the new file)";
	struct files *files = *state;
	char *path = module_built("null", files->folder);
	struct plugin_file seen, other;
	const struct plugin *plugin;

	assert_int_equal(plugin_load(files->set, path, NULL, &plugin, &files->err), 0);
	seen = *plugin_file(plugin);
	assert_int_equal(strlen(seen.sha256), 64);
	plugin_set_free(&files->set);
	files->set = plugin_set_new();
	other = seen;
	other.sha256[0] = other.sha256[0] == '0' ? '1' : '0';
	refused(files, path, &other, changed);
	other = seen;
	other.inode++;
	refused(files, path, &other, changed);
	other = seen;
	other.device++;
	refused(files, path, &other, changed);
	other = seen;
	other.size++;
	refused(files, path, &other, changed);
	assert_int_equal(plugin_load(files->set, path, &seen, NULL, &files->err), 0);
	mem_release(path);
}

/* A bare name is a file here, never one that the linker would find elsewhere. */
static void test_bare_name(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);
	char *here = getcwd(NULL, 0);

	assert_int_equal(chdir(files->folder), 0);
	assert_int_equal(plugin_load(files->set, "null.so", NULL, NULL, &files->err), 0);
	assert_int_equal(chdir(here), 0);
	free(here);
	mem_release(path);
}

static void test_cxx(void **state)
{
	struct files *files = *state;
	char *path = module_built("cxx", files->folder);

	if (plugin_load(files->set, path, NULL, NULL, &files->err) != 0)
		fail_msg("%s", files->err.text);
	assert_string_equal(plugin_find_flow(files->set, "cxx_flow", NULL)->platform, "CXX");
	mem_release(path);
}

/* --- the probe --- */

/* The wild plugin behaving like how (NULL: well). message NULL: it answers. */
static void probe(struct files *files, const char *how, int64_t timeout_ms, const char *message)
{
	char *path = module_built("wild", files->folder);
	struct buf out, whole;
	int result;

	buf_init(&out);
	buf_init(&whole);
	if (how != NULL)
		setenv("SLUICE_WILD", how, 1);
	result = probe_run(own_program, path, timeout_ms, &out, &files->err);
	if (message == NULL) {
		struct json_doc *doc = json_parse(out.data, out.len, &files->err);

		assert_int_equal(result, 0);
		assert_non_null(doc);
		assert_string_equal(json_string(json_member(json_root(doc), "name"), NULL), "wild");
		json_doc_free(&doc);
	} else {
		buf_printf(&whole, "%s: plugin refused: %s", path, message);
		assert_int_equal(result, -1);
		assert_string_equal(files->err.text, whole.data);
		assert_int_equal(files->err.code, ERR_INPUT);
		assert_int_equal(out.len, 0);
	}
	/* Whatever it did, nothing of it is left. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	buf_fini(&whole);
	buf_fini(&out);
	mem_release(path);
}

static void test_probe_good(void **state)
{
	probe(*state, NULL, LONG_MS, NULL);
}

static void test_probe_noise(void **state)
{
	probe(*state, "noise", LONG_MS, NULL);
}

static void test_probe_crash(void **state)
{
	probe(*state, "crash", LONG_MS, "crashed while being loaded (signal 11, Segmentation fault)");
}

static void test_probe_abort(void **state)
{
	probe(*state, "abort", LONG_MS, "crashed while being loaded (signal 6, Aborted)");
}

static void test_probe_exit_0(void **state)
{
	probe(*state, "exit 0", LONG_MS, "exited with status 0 while being loaded");
}

static void test_probe_exit_3(void **state)
{
	probe(*state, "exit 3", LONG_MS, "exited with status 3 while being loaded");
}

/* The status a shell gives to what cannot be run: still the plugin's own fault. */
static void test_probe_exit_127(void **state)
{
	probe(*state, "exit 127", LONG_MS, "exited with status 127 while being loaded");
}

static void test_probe_hang(void **state)
{
	int64_t start = clock_mono_ms();

	probe(*state, "hang", 1000, "did not answer within 1 s (does its constructor wait?)");
	assert_true(clock_mono_ms() - start < LONG_MS);
}

/* What the loader refuses reaches the caller word for word. */
static void test_probe_refusal(void **state)
{
	struct files *files = *state;
	char *path = module_built("major2", files->folder);
	struct error here;
	struct buf out;

	buf_init(&out);
	assert_int_equal(plugin_load(files->set, path, NULL, NULL, &here), -1);
	assert_int_equal(probe_run(own_program, path, LONG_MS, &out, &files->err), -1);
	assert_string_equal(files->err.text, here.text);
	buf_fini(&out);
	mem_release(path);
}

/* The answer names the same file as a later load of it sees. */
static void test_probe_identity(void **state)
{
	struct files *files = *state;
	char *path = module_built("null", files->folder);
	const struct plugin *plugin;
	struct json_doc *doc;
	struct buf out;
	int64_t inode = 0;

	buf_init(&out);
	assert_int_equal(probe_run(own_program, path, LONG_MS, &out, &files->err), 0);
	doc = json_parse(out.data, out.len, &files->err);
	assert_non_null(doc);
	assert_int_equal(plugin_load(files->set, path, NULL, &plugin, &files->err), 0);
	assert_string_equal(json_string(json_member(json_root(doc), "sha256"), NULL), plugin_file(plugin)->sha256);
	assert_true(json_int(json_member(json_root(doc), "inode"), &inode));
	assert_int_equal(inode, plugin_file(plugin)->inode);
	json_doc_free(&doc);
	buf_fini(&out);
	mem_release(path);
}

static void test_probe_no_program(void **state)
{
	struct files *files = *state;
	struct buf out;

	buf_init(&out);
	assert_int_equal(probe_run("/nonexistent/sluiced", "/x.so", LONG_MS, &out, &files->err), -1);
	assert_string_equal(files->err.text, "/nonexistent/sluiced: cannot be run to look at plugins");
	assert_int_equal(files->err.code, ERR_IO);
	buf_fini(&out);
}

/* --- looking through folders --- */

static void note_refusal(void *user, const char *reason)
{
	buf_printf(user, "%s\n", reason);
}

/* What is no plugin file is passed over; what is refused is told and hurts no other. */
static void test_discover(void **state)
{
	struct files *files = *state;
	struct conf_catalogue *catalogue = conf_catalogue_new();
	char *good = module_built("null", files->folder), *bad = module_built("wild", files->folder);
	char *text = module_path(files->folder, "README.txt"), *hidden = module_path(files->folder, ".null.so");
	struct buf reasons, expected, folders;

	buf_init(&reasons);
	buf_init(&expected);
	buf_init(&folders);
	module_write(text, "x", 1);
	module_write(hidden, "x", 1);
	setenv("SLUICE_WILD", "crash", 1);
	/* The same folder twice: what is there already is refused the second time. */
	buf_printf(&folders, "%s:%s", files->folder, files->folder);
	assert_int_equal(plugin_discover(own_program, folders.data, catalogue, note_refusal, &reasons, &files->err), 1);
	for (int i = 0; i < 2; i++) {
		if (i == 1)
			buf_printf(&expected, "%s: plugin refused: plugin \"null\" is there twice: %s\n", good, good);
		buf_printf(&expected, "%s: plugin refused: crashed while being loaded (signal 11, Segmentation fault)\n",
			   bad);
	}
	assert_string_equal(reasons.data, expected.data);
	assert_non_null(conf_offered_flow(catalogue, "null_flow"));
	assert_int_equal(plugin_discover(own_program, "/nonexistent", catalogue, note_refusal, &reasons, &files->err),
			 -1);
	assert_string_equal(files->err.text, "plugin folder /nonexistent: No such file or directory");
	assert_int_equal(plugin_discover("/nonexistent/sluiced", files->folder, catalogue, note_refusal, &reasons,
					 &files->err), -1);
	assert_string_equal(files->err.text, "/nonexistent/sluiced: cannot be run to look at plugins");
	conf_catalogue_free(&catalogue);
	buf_fini(&reasons);
	buf_fini(&expected);
	buf_fini(&folders);
	mem_release(hidden);
	mem_release(text);
	mem_release(bad);
	mem_release(good);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_missing), TEST(test_folder_as_file), TEST(test_fifo), TEST(test_too_large),
		TEST(test_file_writable), TEST(test_folder_writable), TEST(test_linked_folder_writable),
		TEST(test_group), TEST(test_owner), TEST(test_folder_owner), TEST(test_no_elf),
		TEST(test_undefined_symbol), TEST(test_no_descriptor), TEST(test_other_file_name), TEST(test_changed),
		TEST(test_bare_name), TEST(test_cxx),
		TEST(test_probe_good), TEST(test_probe_noise), TEST(test_probe_crash), TEST(test_probe_abort),
		TEST(test_probe_exit_0), TEST(test_probe_exit_3), TEST(test_probe_exit_127), TEST(test_probe_hang),
		TEST(test_probe_refusal), TEST(test_probe_identity), TEST(test_probe_no_program),
		TEST(test_discover)
	};

	if (argc == 4 && str_eq(argv[1], "-x") && str_eq(argv[2], "probe"))
		return probe_main(argv[3]);
	if (readlink("/proc/self/exe", own_program, sizeof(own_program) - 1) < 0)
		return 1;
	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
