/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plugin ABI, with binaries: the null plugin as every release built it for
 * this machine (tests/abi/MACHINE/VERSION/null.so) and as this tree builds it
 * loads, and does on the engine exactly what it always did.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dlfcn.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "fake/fake_host.h"
#include "module.h"
#include "plugin/plugin.h"

static const char expected[] =
	"{\"call\":\"fetch\",\"source\":\"null_api\",\"method\":\"GET\","
	"\"url\":\"https://null.example.org/v1/things?id=7&colour=red&now=1700000000\"}\n"
	"{\"record\":{\"type\":\"thing\",\"key\":\"7\",\"source\":\"null_api\","
	"\"attributes\":{\"handle\":\"ball\"},\"metrics\":{\"size\":3},"
	"\"dimensions\":{\"title\":\"ball\"}}}\n"
	"{\"call\":\"fetch\",\"source\":\"null_api\",\"method\":\"GET\","
	"\"url\":\"https://null.example.org/v1/things?id=7&colour=red&now=1700000000&page=p2\"}\n"
	"{\"record\":{\"type\":\"thing\",\"key\":\"8\",\"source\":\"null_api\","
	"\"attributes\":{\"handle\":null},\"metrics\":{\"size\":null},"
	"\"dimensions\":{\"title\":\"Cube\"}}}\n"
	"{\"upsert\":\"null_thing\",\"key\":\"7\",\"values\":{\"handle\":\"ball\","
	"\"title\":\"ball\",\"size\":\"3\"}}\n"
	"{\"upsert\":\"null_thing\",\"key\":\"8\",\"values\":{\"handle\":null,\"title\":\"Cube\","
	"\"size\":null}}\n"
	"{\"event\":\"null_log\",\"data\":{\"event_id\":\"be7a0972-631a-8d3b-8b6a-38e741100022\","
	"\"platform\":\"NULL\",\"thing_id\":\"7\",\"metrics\":{\"size\":3}}}\n"
	"{\"event\":\"null_log\",\"data\":{\"event_id\":\"4c861d19-f569-8303-8a94-1008b1f57eef\","
	"\"platform\":\"NULL\",\"thing_id\":\"8\",\"metrics\":{\"size\":null}}}\n"
	"{\"result\":{\"things\":2}}\n";

static void check_run(const struct sl_plugin *descriptor)
{
	const struct fake_answer answers[] = {
		{ "fetch", "null_api", 200,
		  "{\"things\": [{\"id\": 7, \"name\": \"ball\", \"stats\": {\"size\": 3}}], \"next\": \"p2\"}", NULL },
		{ "fetch", "null_api", 200, "{\"things\": [{\"id\": 8, \"title\": \"Cube\"}], \"next\": null}", NULL },
		{ 0 }
	};
	const struct fake fake = { .plugin = descriptor, .answers = answers };
	char *lines = fake_run(&fake, "null_flow", "{\"id\": \"7\"}");

	assert_string_equal(lines, expected);
	mem_release(lines);
}

/* Each on a copy: who owns the tree, and who may write it, is not what is tested. */
static void check_file(const char *file)
{
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	char *folder = module_folder();
	char *path = module_copy(file, folder, "null.so");
	const struct plugin *plugin;
	void *object;

	print_message("%s\n", file);
	if (plugin_load(set, path, NULL, &plugin, &err) != 0)
		fail_msg("%s", err.text);
	assert_string_equal(plugin_descriptor(plugin)->name, "null");
	assert_non_null(plugin_find_flow(set, "null_flow", NULL));
	assert_non_null(plugin_find_sink(set, "null_log", NULL));
	assert_non_null(plugin_find_operation(set, "null.fetch"));
	assert_non_null(plugin_find_stream(set, "null_log"));
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(object);
	check_run(dlsym(object, "sluice_plugin_v1"));
	plugin_set_free(&set);
	module_folder_free(&folder);
	mem_release(path);
}

static void test_stored(void **state)
{
	const char *source = getenv("top_srcdir");
	struct utsname machine;
	struct buf pattern;
	glob_t found;
	int result;

	(void)state;
	buf_init(&pattern);
	assert_int_equal(uname(&machine), 0);
	buf_printf(&pattern, "%s/tests/abi/%s/*/null.so", source != NULL ? source : ".", machine.machine);
	result = glob(pattern.data, 0, NULL, &found);
	buf_fini(&pattern);
	if (result == GLOB_NOMATCH) {
		/* No release was stored for this kind of machine; where one was, it must be there. */
		assert_string_not_equal(machine.machine, "x86_64");
		skip();
	}
	assert_int_equal(result, 0);
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_file(found.gl_pathv[i]);
	globfree(&found);
}

static void test_own(void **state)
{
	char *folder = module_folder();
	char *file = module_built("null", folder);

	(void)state;
	check_file(file);
	module_folder_free(&folder);
	mem_release(file);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(test_stored), cmocka_unit_test(test_own) };

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
