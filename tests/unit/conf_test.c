/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: every folder tests/conf/NNN-name holds a flows.yaml and, when
 * it is wrong, the exact text of its errors; what cannot lie in a source tree
 * (large files, special permissions) is made here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "conf/errors.h"
#include "conf/keys.h"
#include "conf/model.h"
#include "conf/units.h"
#include "json/json.h"
#include "plugin/plugin.h"

static struct conf_catalogue *catalogue;
static char folder[PATH_MAX];		/* tests/conf */
static char scratch[] = "/tmp/sluice-conf.XXXXXX";

static const char *test_variable(void *context, const char *name)
{
	static const char *const variables[][2] = {
		{"WORKERS", "7"}, {"TOKEN", "from-the-environment"}, {"EMPTY", ""}, {"WORD", "seven"},
		{"DB", "postgresql://user:secret@db/sluice"}, {"BYTES", "\xff\xfe"}
	};

	(void)context;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (strcmp(variables[i][0], name) == 0)
			return variables[i][1];
	return NULL;
}

static const struct conf_env test_env = {.state = "/state", .get = test_variable};

static void read_whole(const char *path, struct buf *out)
{
	FILE *file = fopen(path, "rb");
	size_t got;

	if (file == NULL)
		fail_msg("%s cannot be opened", path);
	while ((got = fread(buf_reserve(out, 4096), 1, 4096, file)) > 0)
		out->len += got;
	fclose(file);
	buf_adds(out, "");
}

/* A file holds a list of what probes print. */
static void add_plugins(struct conf_catalogue *into, const char *path)
{
	struct json_doc *doc;
	struct error err;
	struct buf bytes;

	buf_init(&bytes);
	read_whole(path, &bytes);
	doc = json_parse(bytes.data, bytes.len, &err);
	if (doc == NULL)
		fail_msg("%s: %s", path, err.text);
	for (const struct json *probe = json_first(json_root(doc)); probe != NULL; probe = json_next(probe))
		if (conf_catalogue_add(into, probe, &err) < 0)
			fail_msg("%s: %s", path, err.text);
	json_doc_free(&doc);
	buf_fini(&bytes);
}

static void write_file(const char *path, const void *bytes, size_t len, mode_t mode)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void write_text(const char *path, const char *text)
{
	write_file(path, text, strlen(text), 0600);
}

/* Loads flows.yaml of the working directory; the errors' text goes to out. */
static struct conf_model *load(struct buf *out)
{
	struct conf_errors errors;
	struct conf_file *file;
	struct conf_model *model = NULL;

	conf_errors_init(&errors, "flows.yaml");
	file = conf_read("flows.yaml", &test_env, &errors);
	if (file != NULL)
		model = conf_check(file, catalogue, &errors);
	conf_file_free(&file);
	assert_true((model == NULL) == (errors.count > 0));
	conf_errors_print(&errors, out);
	conf_errors_fini(&errors);
	buf_adds(out, "");
	return model;
}

static void expect_errors(const char *expected)
{
	struct conf_model *model;
	struct buf out;

	buf_init(&out);
	model = load(&out);
	assert_string_equal(out.data != NULL ? out.data : "", expected);
	assert_null(model);
	buf_fini(&out);
}

static struct conf_model *expect_valid(void)
{
	struct conf_model *model;
	struct buf out;

	buf_init(&out);
	model = load(&out);
	if (model == NULL)
		fail_msg("%s", out.data);
	buf_fini(&out);
	return model;
}

static void in_scratch(const char *yaml)
{
	assert_int_equal(chdir(scratch), 0);
	write_text("flows.yaml", yaml);
}

/* A model written as JSON and read back is the same. */
static void check_round_trip(const struct conf_model *model)
{
	struct buf first, second;
	struct json_doc *doc;
	struct conf_model *copy;
	struct error err;

	buf_init(&first);
	buf_init(&second);
	conf_part_json(model, &first);
	doc = json_parse(first.data, first.len, &err);
	assert_non_null(doc);
	copy = conf_part_read(json_root(doc), &err);
	if (copy == NULL)
		fail_msg("%s", err.text);
	conf_part_json(copy, &second);
	assert_string_equal(first.data, second.data);
	conf_free(&copy);
	json_doc_free(&doc);
	buf_fini(&first);
	buf_fini(&second);
}

/* --- the folders --- */

static void show_difference(const char *name, const char *expected, const char *got)
{
	while (*expected != '\0' || *got != '\0') {
		size_t e = strcspn(expected, "\n"), g = strcspn(got, "\n");

		if (e != g || strncmp(expected, got, e) != 0)
			fprintf(stderr, "%s\n- %.*s\n+ %.*s\n", name, (int)e, expected, (int)g, got);
		expected += e + (expected[e] == '\n');
		got += g + (got[g] == '\n');
	}
}

/* In the drivers' place. */
static int check_url(enum conf_family family, const char *url, struct error *err)
{
	return family == CONF_WAREHOUSE && str_eq(url, "clickhouse:host/_e")
		       ? error_set(err, ERR_INPUT, "the driver wants two slashes") : 0;
}

/* Returns 1 when the case is not as expected. Its plugins.json adds to the plugins of all. */
static int run_case(const char *name)
{
	struct conf_catalogue *shared = catalogue;
	struct buf expected, got;
	struct conf_model *model;
	char more[PATH_MAX];
	int bad;

	assert_int_equal(chdir(folder), 0);
	snprintf(more, sizeof(more), "%s/plugins.json", name);
	if (access(more, F_OK) == 0) {
		catalogue = conf_catalogue_new();
		add_plugins(catalogue, "catalogue.json");
		add_plugins(catalogue, more);
	}
	assert_int_equal(chdir(name), 0);
	buf_init(&expected);
	buf_init(&got);
	if (access("error", F_OK) == 0)
		read_whole("error", &expected);
	model = load(&got);
	bad = !str_eq(expected.data != NULL ? expected.data : "", got.data != NULL ? got.data : "");
	if (bad)
		show_difference(name, expected.data != NULL ? expected.data : "", got.data != NULL ? got.data : "");
	if (model != NULL)
		check_round_trip(model);
	conf_free(&model);
	if (catalogue != shared)
		conf_catalogue_free(&catalogue);
	catalogue = shared;
	buf_fini(&expected);
	buf_fini(&got);
	return bad;
}

/* A build without a store refuses what its cases expect. */
static int is_case(const struct dirent *entry)
{
#ifndef HAVE_POSTGRESQL
	if (strstr(entry->d_name, "postgresql") != NULL)
		return 0;
#endif
	return entry->d_name[0] >= '0' && entry->d_name[0] <= '9';
}

static int is_module(const struct dirent *entry)
{
	return str_ends(entry->d_name, ".so");
}

static void test_folders(void **state)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_case, alphasort);
	int bad = 0;

	(void)state;
	assert_true(count > 60);
	for (int i = 0; i < count; i++) {
		bad += run_case(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(bad, 0);
	print_message("%d cases\n", count);
}

/* --- what cannot lie in a source tree --- */

static void test_large_file(void **state)
{
	static char line[100] = "# a line of a file that is much too long to be a configuration";
	FILE *file;

	(void)state;
	in_scratch("");
	memset(line + 62, '.', 37);
	line[99] = '\n';
	file = fopen("flows.yaml", "wb");
	assert_non_null(file);
	for (int i = 0; i < 105000; i++)
		fwrite(line, 1, sizeof(line), file);
	fclose(file);
	expect_errors("flows.yaml: larger than 1 MiB (10500000 bytes)\n");
	assert_int_equal(truncate("flows.yaml", (1 << 20) + 1), 0);
	expect_errors("flows.yaml: larger than 1 MiB (1048577 bytes)\n");
}

static void test_file_that_cannot_be_read(void **state)
{
	(void)state;
	in_scratch("");
	assert_int_equal(unlink("flows.yaml"), 0);
	expect_errors("flows.yaml: cannot be opened: No such file or directory\n");
	assert_int_equal(mkdir("flows.yaml", 0700), 0);
	expect_errors("flows.yaml: cannot be read: Is a directory\n");
	assert_int_equal(rmdir("flows.yaml"), 0);
}

static void test_too_many_values(void **state)
{
	struct buf yaml;

	(void)state;
	buf_init(&yaml);
	buf_adds(&yaml, "version: 1\nflows: [");
	for (int i = 0; i < 100001; i++)
		buf_adds(&yaml, "a,");
	buf_adds(&yaml, "]\n");
	in_scratch(yaml.data);
	expect_errors("flows.yaml:2:200003: more than 100000 values\n");
	buf_fini(&yaml);
}

static void test_expanded_too_long(void **state)
{
	static char text[65537];

	(void)state;
	in_scratch("version: 1\nsources: {rocketapi: {credential: {key: !file secret}}}\n");
	memset(text, 'x', sizeof(text));
	write_file("secret", text, sizeof(text), 0600);
	expect_errors("flows.yaml:2:41: secret file \"secret\" is larger than 64 KiB\n");
}

static void test_secret_files(void **state)
{
	struct conf_model *model;

	(void)state;
	in_scratch("version: 1\nsources: {rocketapi: {credential: {key: !file secret}}}\n");
	write_file("secret", "t0p\n", 4, 0620);
	expect_errors("flows.yaml:2:41: secret file \"secret\" may be written by group or others (mode 0620)\n");
	write_file("secret", "t0p\n", 4, 0602);
	expect_errors("flows.yaml:2:41: secret file \"secret\" may be written by group or others (mode 0602)\n");
	write_file("secret", "", 0, 0600);
	expect_errors("flows.yaml:2:41: secret file \"secret\" is empty\n");
	write_file("secret", "a\0b", 3, 0600);
	expect_errors("flows.yaml:2:41: secret file \"secret\" is not UTF-8 text\n");
	assert_int_equal(unlink("secret"), 0);
	assert_int_equal(mkfifo("secret", 0600), 0);
	expect_errors("flows.yaml:2:41: secret file \"secret\" is not a regular file\n");
	assert_int_equal(unlink("secret"), 0);
	expect_errors("flows.yaml:2:41: secret file \"secret\": No such file or directory\n");
	if (geteuid() != 0) {		/* root reads everything */
		write_file("secret", "t0p\n", 4, 0000);
		expect_errors("flows.yaml:2:41: secret file \"secret\": Permission denied\n");
	}
	write_file("secret", "${t0p}\n", 7, 0440);
	model = expect_valid();
	assert_string_equal(conf_source(model, "rocketapi")->credential[0].value, "${t0p}");
	conf_free(&model);
}

/* The value of a secret never stands in a message. */
static void test_secret_is_not_shown(void **state)
{
	(void)state;
	in_scratch("version: 1\ndefaults: {workers: !file secret}\nplugins: {instagram: {app_secret: abc}}\n");
	write_file("secret", "t0p\n", 4, 0600);
	expect_errors("flows.yaml:2:21: defaults: workers: must be a whole number, not ***\n"
		      "flows.yaml:3:35: plugin \"instagram\": app_secret: must be 4 to 64 bytes long, not 3\n");
}

/* More than twenty errors: the rest is counted. */
static void test_many_errors(void **state)
{
	struct buf yaml, expected;

	(void)state;
	buf_init(&yaml);
	buf_init(&expected);
	buf_adds(&yaml, "version: 1\n");
	for (int i = 0; i < 25; i++)
		buf_printf(&yaml, "zz%d: 1\n", i);
	for (int i = 0; i < 20; i++)
		buf_printf(&expected, "flows.yaml:%d:1: unknown key \"zz%d\"\n", i + 2, i);
	buf_adds(&expected, "flows.yaml: ... and 5 more errors\n");
	in_scratch(yaml.data);
	expect_errors(expected.data);
	buf_fini(&yaml);
	buf_fini(&expected);
}

/* --- what the model says --- */

static void test_defaults(void **state)
{
	struct conf_model *model;
	const struct conf_flow *flow;
	const struct conf_sink *sink;

	(void)state;
	in_scratch("version: 1\nflows: {fetch_profile_followers: }\nsinks: {relationship_log_events: }\n");
	model = expect_valid();
	assert_string_equal(model->tasks, "sqlite:/state/sluice.db");
	assert_string_equal(model->objects, "file:/state/objects");
	assert_string_equal(model->bus, "direct:");
	assert_string_equal(model->limits, "local:");
	assert_string_equal(model->warehouse, "chdb:/state/warehouse");
	assert_int_equal(model->mode, CONF_SINGLE);
	assert_string_equal(model->log_level, "info");
	assert_int_equal(model->lease_ms, 60000);
	assert_int_equal(model->group_ms, 5);
	assert_int_equal(model->group_tasks, 256);
	assert_int_equal(model->slice_records, 1000);
	assert_int_equal(model->slice_bytes, 4 << 20);
	assert_int_equal(model->crash_limit, 20);
	assert_int_equal(model->response_max, 16 << 20);
	assert_int_equal(model->request_timeout_ms, 30000);
	assert_int_equal(model->connect_timeout_ms, 5000);
	assert_int_equal(model->calls_in_flight, 10);
	assert_int_equal(model->call_retries, 2);
	assert_false(model->trace_enabled);	/* no sink takes the traces */
	assert_true(model->trace_sample >= 1);
	assert_int_equal(model->trace_body, 0);
	assert_string_equal(model->trace_service, "beat");
	assert_int_equal(model->event_max, 1 << 20);
	assert_int_equal(model->relay_events, 500);
	assert_int_equal(model->relay_bytes, 256 << 10);
	assert_int_equal(model->relay_age_ms, 20);
	assert_int_equal(model->relay_window, 1000);
	assert_int_equal(model->outbox_max, 1 << 30);
	assert_int_equal(model->memory_max, 256 << 20);
	assert_int_equal(model->drain_ms, 30000);
	assert_int_equal(model->suspect_wait_ms, 0);
	assert_int_equal(model->engine, CONF_PLAIN);
	assert_int_equal(model->breaker_failures, 5);
	assert_int_equal(model->breaker_first_ms, 1000);
	assert_int_equal(model->breaker_cap_ms, 60000);
	flow = conf_flow(model, "fetch_profile_followers");
	assert_true(flow->enabled);
	assert_string_equal(flow->plugin, "instagram");
	assert_string_equal(flow->platform, "INSTAGRAM");
	assert_int_equal(flow->workers, 1);
	assert_int_equal(flow->concurrency, 5);
	assert_int_equal(flow->attempts, 3);
	assert_int_equal(flow->timeout_ms, 600000);
	assert_false(conf_flow(model, "refresh_orders_by_store")->enabled);
	sink = conf_sink(model, "relationship_log_events");
	assert_true(sink->enabled);
	assert_string_equal(sink->queue, "relationship_log_events_q");
	assert_string_equal(sink->table, "relationship_log_events");
	assert_int_equal(sink->consumers, 1);
	assert_int_equal(sink->batch_rows, 50000);
	assert_int_equal(sink->batch_bytes, 32 << 20);
	assert_int_equal(sink->batch_age_ms, 1000);
	assert_int_equal(sink->prefetch, 100000);
	assert_int_equal(sink->deadline_ms, 60000);
	assert_int_equal(sink->durability, CONF_FSYNC);
	assert_false(conf_sink(model, "post_log_events")->enabled);
	assert_string_equal(conf_route(model, "beat.dx", "relationship_log_events", 0), "relationship_log_events_q");
	assert_null(conf_route(model, "beat.dx", "relationship_log_events", 1));
	assert_null(conf_route(model, "beat.dx", "post_log_events", 0));
	conf_free(&model);
}

static void test_inheritance(void **state)
{
	struct conf_model *model;

	(void)state;
	/* defaults stand after what inherits them */
	in_scratch("version: 1\nflows: {fetch_profile_followers: {concurrency: 9}}\n"
		   "sinks: {relationship_log_events: {batch: {rows: 10}, consumers: 2}}\n"
		   "defaults: {workers: \"${WORKERS}\", concurrency: 2, timeout: 90s}\nmode: processes\n");
	model = expect_valid();
	assert_int_equal(conf_flow(model, "fetch_profile_followers")->workers, 7);
	assert_int_equal(conf_flow(model, "fetch_profile_followers")->concurrency, 9);
	assert_int_equal(conf_flow(model, "fetch_profile_followers")->timeout_ms, 90000);
	assert_int_equal(conf_flow(model, "refresh_orders_by_store")->concurrency, 2);
	assert_int_equal(conf_sink(model, "relationship_log_events")->prefetch, 20);
	assert_int_equal(model->mode, CONF_PROCESSES);
	check_round_trip(model);
	conf_free(&model);
}

static void test_values(void **state)
{
	struct conf_model *model;
	const struct conf_operation *operation;
	const struct conf_source *source;

	(void)state;
	in_scratch("version: 1\n"
		   "sources: {graphapi: {credential: {user_id: \"17\", token: \"Bearer ${TOKEN} $${X} $5\"}, "
		   "limits: [100/30s, 5000/1d burst 100], base_url: \"http://127.0.0.1:8080/v1\"}}\n"
		   "operations: {instagram.followers: {sources: {rocketapi: 0.7, rapidapi-jotucker: 0.3}}, "
		   "instagram.profile: {sources: [rapidapi-jotucker]}}\n"
		   "plugins: {path: [/a, /b], instagram: {page_size: 20, pause: 2s}}\n"
		   "streams: {post_log_events: {unrouted: drop}}\n");
	model = expect_valid();
	source = conf_source(model, "graphapi");
	assert_string_equal(source->credential[1].value, "Bearer from-the-environment ${X} $5");
	assert_string_equal(source->base_url, "http://127.0.0.1:8080/v1");
	assert_int_equal(source->limit_count, 2);
	/* no section sinks: all of them, with the defaults */
	assert_int_equal(model->sink_count, 4);
	assert_true(model->sinks[3].enabled);
	assert_string_equal(model->sinks[3].queue, "relationship_log_events_q");
	assert_int_equal(model->sinks[3].prefetch, 100000);
	assert_string_equal(source->plugins[0], "instagram");
	operation = conf_operation(model, "instagram.followers");
	assert_true(operation->weighted);
	assert_string_equal(operation->sources[0].source, "rocketapi");
	assert_true(operation->sources[0].weight > 0.69 && operation->sources[0].weight < 0.71);
	operation = conf_operation(model, "instagram.profile");
	assert_false(operation->weighted);
	assert_int_equal(operation->source_count, 1);
	assert_string_equal(model->plugins[0].name, "instagram");
	assert_string_equal(model->plugins[0].path, "/plugins/instagram.so");
	assert_int_equal(model->plugins[0].inode, 11);
	assert_int_equal(model->plugins[0].option_count, 5);
	assert_string_equal(model->plugins[0].options[0].value, "20");
	assert_string_equal(model->plugins[0].options[1].value, "2s");
	check_round_trip(model);
	conf_free(&model);
}

static void test_plugin_path(void **state)
{
	struct conf_errors errors;
	struct conf_file *file;
	size_t count;

	(void)state;
	in_scratch("version: 1\nplugins: {path: ['${STATE}/plugins', /usr/lib/p, here]}\n");
	conf_errors_init(&errors, "flows.yaml");
	file = conf_read("flows.yaml", &test_env, &errors);
	assert_non_null(file);
	assert_int_equal(errors.count, 1);
	assert_string_equal(conf_file_plugin_path(file, &count)[0], "/state/plugins");
	assert_int_equal(count, 2);
	conf_file_free(&file);
	conf_errors_fini(&errors);
}

/* A role gets its own flows or sinks and only the secrets that go with them. */
static void test_parts(void **state)
{
	const char *const flows[] = {"fetch_profile_followers"};
	const char *const orders[] = {"refresh_orders_by_store"};
	struct arena *arena = arena_new();
	struct conf_model *model, part;
	struct buf json;

	(void)state;
	in_scratch("version: 1\nsources: {rocketapi: {credential: {key: hush}}}\n"
		   "plugins: {instagram: {app_secret: hushed}, shopify: {api_version: '2023-04'}}\n"
		   "flows: {fetch_profile_followers: , refresh_orders_by_store: }\n"
		   "sinks: {relationship_log_events: , order_log_events: }\n");
	model = expect_valid();
	buf_init(&json);
	conf_part(&part, arena, model, CONF_FOR_WORKER, flows, 1);
	conf_part_json(&part, &json);
	assert_int_equal(part.flow_count, 1);
	assert_int_equal(part.sink_count, 2);
	assert_int_equal(part.source_count, 1);
	assert_non_null(strstr(json.data, "hushed"));
	check_round_trip(&part);
	buf_clear(&json);
	conf_part(&part, arena, model, CONF_FOR_WORKER, orders, 1);
	conf_part_json(&part, &json);
	assert_null(strstr(json.data, "hush"));
	assert_non_null(strstr(json.data, "2023-04"));
	buf_clear(&json);
	conf_part(&part, arena, model, CONF_FOR_SINK, NULL, 0);
	conf_part_json(&part, &json);
	assert_null(strstr(json.data, "hush"));
	buf_fini(&json);
	conf_free(&model);
	arena_free(&arena);
}

/* The part of some role of a file, or what of it needs another process; owned by the caller. */
static char *part_of(const char *text, enum conf_role role, const char *name, bool fixed)
{
	struct arena *arena = arena_new();
	struct conf_model *model, part;
	struct buf json;

	in_scratch(text);
	model = expect_valid();
	buf_init(&json);
	conf_part(&part, arena, model, role, name != NULL ? &name : NULL, name != NULL);
	if (fixed)
		conf_part_fixed(&part, arena);
	conf_part_json(&part, &json);
	conf_free(&model);
	arena_free(&arena);
	return buf_steal(&json);
}

enum { FIXED = 1, WHOLE = 2 };

/* In what of a role's part two files differ. */
static unsigned int part_differs(const char *text, const char *other, enum conf_role role, const char *name)
{
	unsigned int differs = 0;

	for (int fixed = 0; fixed <= 1; fixed++) {
		char *one = part_of(text, role, name, fixed), *two = part_of(other, role, name, fixed);

		if (!str_eq(one, two))
			differs |= fixed ? FIXED : WHOLE;
		mem_release(one);
		mem_release(two);
	}
	return differs;
}

#define OPTIONS "version: 1\nplugins: {shopify: {api_version: '2023-04'}}\n"
#define SINKS "sinks: {relationship_log_events: , order_log_events: }\n"
#define CONFIGURED(flow, more) \
	OPTIONS "mode: processes\nflows: {fetch_profile_followers: {" flow "}, refresh_orders_by_store: }\n" more

/* Which processes another configuration touches. */
static void test_parts_that_change(void **state)
{
	static const char before[] = CONFIGURED("workers: 2", SINKS);
	static const char name[] = "fetch_profile_followers", other[] = "refresh_orders_by_store";
	static const struct {
		const char *after;
		unsigned int worker, other, sink, timer;
	} cases[] = {
		{CONFIGURED("workers: 4", SINKS), 0, 0, 0, 0},
		{CONFIGURED("workers: 2, concurrency: 9", SINKS), FIXED | WHOLE, 0, 0, 0},
		{CONFIGURED("workers: 2, schedule: {cron: '0 4 * * *', params: [{profile_id: '1'}]}", SINKS),
		 0, 0, 0, FIXED | WHOLE},
		{CONFIGURED("workers: 2, limits: [5/s]", SINKS), WHOLE, 0, 0, 0},
		{CONFIGURED("workers: 2, item: {profile_id: 1/s}", SINKS), FIXED | WHOLE, 0, 0, 0},
		{CONFIGURED("workers: 2", "sinks: {relationship_log_events: , order_log_events: {consumers: 2}}\n"),
		 0, 0, FIXED | WHOLE, 0},
		{CONFIGURED("workers: 2", SINKS "restart: {first: 9s}\nrelay: {workers: 3}\n"), 0, 0, 0, 0},
		{CONFIGURED("workers: 2", SINKS "log: {level: debug}\n"), WHOLE, WHOLE, WHOLE, WHOLE},
		{CONFIGURED("workers: 2", SINKS "sources: {rocketapi: {limits: [7/s]}}\n"), FIXED | WHOLE, 0, 0, 0},
	};
	static const char limited[] = CONFIGURED("item: {profile_id: 1/s}", "sources: {rocketapi: {limits: [7/s]}}\n");
	static const char changed[] = CONFIGURED("item: {profile_id: 2/s}", "sources: {rocketapi: {limits: [8/s], "
						 "credential_limits: [2/s]}}\n");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(part_differs(before, cases[i].after, CONF_FOR_WORKER, name), cases[i].worker);
		assert_int_equal(part_differs(before, cases[i].after, CONF_FOR_WORKER, other), cases[i].other);
		assert_int_equal(part_differs(before, cases[i].after, CONF_FOR_SINK, NULL), cases[i].sink);
		assert_int_equal(part_differs(before, cases[i].after, CONF_FOR_TIMER, NULL), cases[i].timer);
	}
	assert_int_equal(part_differs(limited, changed, CONF_FOR_WORKER, name), WHOLE);
}

static void test_part_that_is_none(void **state)
{
	static const char text[] = "{\"file\":\"x\",\"state\":7}";
	struct error err;
	struct json_doc *doc = json_parse(text, sizeof(text) - 1, &err);

	(void)state;
	assert_non_null(doc);
	assert_null(conf_part_read(json_root(doc), &err));
	assert_string_equal(err.text, "configuration part: state: not a text");
	json_doc_free(&doc);
}

static void add_probe(struct conf_catalogue *into, const char *text, const char *expected)
{
	struct error err;
	struct json_doc *doc = json_parse(text, strlen(text), &err);

	assert_non_null(doc);
	error_clear(&err);
	assert_int_equal(conf_catalogue_add(into, json_root(doc), &err), expected != NULL ? -1 : 0);
	assert_string_equal(err.text, expected != NULL ? expected : "");
	json_doc_free(&doc);
}

static void test_catalogue(void **state)
{
	struct conf_catalogue *other = conf_catalogue_new();

	(void)state;
	add_probe(other, "{\"name\":\"a\",\"file\":\"/a.so\",\"flows\":[{\"name\":\"f\"}],\"sinks\":[{\"name\":\"s\"}],"
		  "\"sources\":[{\"name\":\"o\"}],\"tables\":[{\"name\":\"u\"}],\"listeners\":[\"l\"],"
		  "\"streams\":[{\"name\":\"t\",\"exchange\":\"x\",\"key\":\"k\"}]}", NULL);
	add_probe(other, "{\"name\":\"a\",\"file\":\"/b.so\"}", "plugin \"a\" is there twice: /a.so");
	add_probe(other, "{\"name\":\"b\",\"flows\":[{\"name\":\"f\"}]}",
		  "plugin \"b\": flow \"f\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"sinks\":[{\"name\":\"s\"}]}",
		  "plugin \"b\": sink \"s\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"sources\":[{\"name\":\"o\"}]}",
		  "plugin \"b\": source \"o\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"tables\":[{\"name\":\"u\"}]}",
		  "plugin \"b\": table \"u\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"listeners\":[\"l\"]}",
		  "plugin \"b\": listener \"l\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"streams\":[{\"name\":\"t\",\"exchange\":\"y\",\"key\":\"k\"}]}",
		  "plugin \"b\": with another exchange or key, stream \"t\" is already offered by a");
	add_probe(other, "{\"name\":\"b\",\"flows\":[{}]}", "plugin \"b\": flows: an entry without a name");
	add_probe(other, "{\"name\":\"B\"}", "not a plugin's descriptor: it has no name");
	add_probe(other, "{\"name\":\"b\",\"streams\":[{\"name\":\"t\",\"exchange\":\"x\",\"key\":\"k\"}]}", NULL);
	assert_int_equal(other->plugin_count, 2);
	assert_int_equal(other->stream_count, CONF_STREAMS_OWN + 1);
	conf_catalogue_free(&other);
}

static void test_units(void **state)
{
	char text[UNITS_TEXT_SIZE];

	(void)state;
	units_duration(text, 90000);
	assert_string_equal(text, "90s");
	units_duration(text, 0);
	assert_string_equal(text, "0s");
	units_size(text, 3 << 20);
	assert_string_equal(text, "3MiB");
	assert_true(units_is_address("[::1]:80"));
	assert_false(units_is_address("host"));
	assert_false(units_is_address("host:70000"));
	assert_true(units_is_http_url("https://{handle}/admin/api"));
	assert_true(units_is_http_url("http://127.0.0.1:80/shopify/{handle}"));
	assert_false(units_is_http_url("http://127.0.0.1/{shop}"));
	assert_false(units_is_http_url("https://user@host/"));
	assert_false(units_is_http_url("https://host:/"));
}

/* Every key that is read says what it is for; a name stands once per section. */
static void check_section(const struct conf_section *section)
{
	for (const struct conf_key *key = section->keys; key->name != NULL; key++) {
		if ((key->flags & CONF_INTERNAL) != 0)
			continue;
		assert_non_null(key->doc);
		for (const struct conf_key *other = section->keys; other < key; other++)
			assert_true((other->flags & CONF_INTERNAL) != 0 || strcmp(other->name, key->name) != 0);
		if (key->section != NULL)
			check_section(key->section);
	}
}

static void test_schema(void **state)
{
	(void)state;
	check_section(&conf_root_section);
}

/* --- the file that is shipped --- */

#ifdef HAVE_POSTGRESQL
/* Processes share a server well, and a file badly. */
static void test_mode_follows_the_store(void **state)
{
	static const struct {
		const char *yaml;
		enum conf_mode mode;
	} cases[] = {
		{"version: 1\n", CONF_SINGLE},
		{"version: 1\nstores: {tasks: 'postgresql://u@h/d'}\n", CONF_PROCESSES},
		{"version: 1\nstores: {tasks: 'postgres:///d'}\n", CONF_PROCESSES},
		{"version: 1\nmode: single\nstores: {tasks: 'postgresql://u@h/d'}\n", CONF_SINGLE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf_model *model;

		in_scratch(cases[i].yaml);
		model = expect_valid();
		assert_int_equal(model->mode, cases[i].mode);
		conf_free(&model);
	}
}
#endif

/* With the real plugins: it is valid, every flow that exists runs, and every sink. */
static void test_shipped_file(void **state)
{
	const char *plugins = getenv("top_builddir");
	struct plugin_set *set = plugin_set_new();
	struct conf_catalogue *fixed = catalogue;
	struct dirent **entries;
	struct conf_model *model;
	struct error err;
	struct buf json;
	char path[PATH_MAX];
	int count, platforms = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/plugins.d", plugins != NULL ? plugins : "build");
	count = scandir(path, &entries, is_module, alphasort);
	assert_true(count > 0);
	catalogue = conf_catalogue_new();
	for (int i = 0; i < count; i++) {
		const struct plugin *plugin;
		struct json_doc *doc;

		snprintf(path, sizeof(path), "%s/plugins.d/%s", plugins != NULL ? plugins : "build",
			 entries[i]->d_name);
		if (plugin_load(set, path, NULL, &plugin, &err) < 0)
			fail_msg("%s", err.text);
		buf_init(&json);
		plugin_print(plugin, &json);
		doc = json_parse(json.data, json.len, &err);
		assert_non_null(doc);
		if (conf_catalogue_add(catalogue, json_root(doc), &err) < 0)
			fail_msg("%s", err.text);
		json_doc_free(&doc);
		buf_fini(&json);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(chdir("../.."), 0);
	model = expect_valid();
	assert_true(model->flow_count >= 9);
	for (size_t i = 0; i < model->flow_count; i++) {
		if (!model->flows[i].enabled)
			fail_msg("flow %s does not run", model->flows[i].name);
		platforms += i == 0 || !str_eq(model->flows[i].platform, model->flows[i - 1].platform);
	}
	assert_int_equal(platforms, 3);
	for (size_t i = 0; i < model->sink_count; i++)
		assert_true(model->sinks[i].enabled);
	assert_int_equal(model->sink_count, 10);
	assert_true(model->trace_enabled);	/* one of them takes the traces */
	assert_int_equal(conf_flow(model, "refresh_profile_by_handle")->workers, 10);
	check_round_trip(model);
	conf_free(&model);
	conf_catalogue_free(&catalogue);
	catalogue = fixed;
	plugin_set_free(&set);
}

static int set_up(void **state)
{
	const char *top = getenv("top_srcdir");

	(void)state;
	if (realpath(top != NULL ? top : ".", folder) == NULL || mkdtemp(scratch) == NULL)
		return -1;
	strncat(folder, "/tests/conf", sizeof(folder) - strlen(folder) - 1);
	if (chdir(folder) < 0)
		return -1;
	catalogue = conf_catalogue_new();
	catalogue->check_url = check_url;
	add_plugins(catalogue, "catalogue.json");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	conf_catalogue_free(&catalogue);
	if (chdir(scratch) == 0) {
		unlink("flows.yaml");
		unlink("secret");
	}
	return chdir("/") < 0 || rmdir(scratch) < 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folders),
#ifdef HAVE_POSTGRESQL
		cmocka_unit_test(test_mode_follows_the_store),
#endif
		cmocka_unit_test(test_large_file),
		cmocka_unit_test(test_file_that_cannot_be_read),
		cmocka_unit_test(test_too_many_values),
		cmocka_unit_test(test_expanded_too_long),
		cmocka_unit_test(test_secret_files),
		cmocka_unit_test(test_secret_is_not_shown),
		cmocka_unit_test(test_many_errors),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_inheritance),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_plugin_path),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_parts_that_change),
		cmocka_unit_test(test_part_that_is_none),
		cmocka_unit_test(test_catalogue),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_schema),
		cmocka_unit_test(test_shipped_file)
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
