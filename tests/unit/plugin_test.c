/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every refusal of a descriptor, one test each with its exact message: a good
 * plugin is spoilt in one place. Then what the host's copy is for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "json/json.h"
#include "plugin/plugin.h"
#include "plugin_kit.h"

#define GRAMMAR "[a-z][a-z0-9_-]*"

static const char *const bad_limits[] = {"100/30s", "100", NULL};
static const char *const burst_limits[] = {"1/s", "2/s", "3/s", "4/s", "5/s burst 2", "6/s", NULL};
static const char *const many_limits[] = {"1/s", "2/s", "3/s", "4/s", "5/s", "6/s", "7/s", NULL};

/* X(name of the test, message after "kit.so: plugin refused: ", what spoils struct kit *k) */
#define ALONE(X) \
	X(other_major, "is built for contract major 2; this host speaks 1", k->plugin.abi_major = 2) \
	X(size_too_small, "its descriptor says its size is 8 bytes; this host knows 104 to 65536", k->plugin.size = 8) \
	X(size_too_large, "its descriptor says its size is 65537 bytes; this host knows 104 to 65536", \
	  k->plugin.size = 65537) \
	X(source_size, "one source says its size is 0 bytes; this host knows 104 to 65536", k->source.size = 0) \
	X(operation_size, "one operation says its size is 0 bytes; this host knows 56 to 65536", k->operation.size = 0) \
	X(table_size, "one table says its size is 1 bytes; this host knows 56 to 65536", k->table.size = 1) \
	X(stream_size, "one stream says its size is 9999999 bytes; this host knows 56 to 65536", \
	  k->stream.size = 9999999) \
	X(flow_size, "one flow says its size is 0 bytes; this host knows 96 to 65536", k->flow.size = 0) \
	X(sink_size, "one sink says its size is 0 bytes; this host knows 128 to 65536", k->sink.size = 0) \
	X(listener_size, "one listener says its size is 0 bytes; this host knows 80 to 65536", k->listener.size = 0) \
	X(no_name, "its name \"\" is not " GRAMMAR, k->plugin.name = NULL) \
	X(name_grammar, "its name \"Kit\" is not " GRAMMAR, k->plugin.name = "Kit") \
	X(name_not_file, "its name \"tool\" is not that of its file, kit.so", k->plugin.name = "tool") \
	X(no_version, "it has no version", k->plugin.version = NULL) \
	X(empty_version, "it has no version", k->plugin.version = "") \
	X(option_type, "option \"size\" of the plugin has no known type", k->options[1].type = (enum sl_type)99) \
	X(option_twice, "option \"colour\" of the plugin is declared twice", k->options[1].name = "colour") \
	X(source_no_name, "source number 1 has no name", k->source.name = NULL) \
	X(source_name, "source \"API\" has a name that is not " GRAMMAR, k->source.name = "API") \
	X(source_twice, "source \"api\" is declared twice", k->source2.name = "api", k->sources[1] = &k->source2) \
	X(source_no_url, "source \"api\" has no base URL that begins with https:// or http://", \
	  k->source.base_url = NULL) \
	X(source_url, "source \"api\" has no base URL that begins with https:// or http://", \
	  k->source.base_url = "ftp://example.org") \
	X(source_auth, "source \"api\" places its credential in no known way (auth)", \
	  k->source.auth = (enum sl_auth)77) \
	X(source_auth_name, "source \"api\" places its credential nowhere (auth_name)", k->source.auth_name = NULL) \
	X(source_auth_field, "source \"api\" names no member of its credential (auth_field)", \
	  k->source.auth_field = NULL) \
	X(source_limit, "source \"api\", \"100\": no limit such as 100/30s", k->source.limits = bad_limits) \
	X(source_limits, "source \"api\" has too many limits (one with a burst counts as two)", \
	  k->source.limits = burst_limits) \
	X(source_many_limits, "source \"api\" has too many limits", k->source.limits = many_limits) \
	X(operation_no_name, "operation number 1 has no name", k->operation.name = NULL) \
	X(operation_name, "operation \"a b\" has a name that is not " GRAMMAR, k->operation.name = "a b") \
	X(operation_twice, "operation \"find\" is declared twice", k->operation.name = "find") \
	X(operation_kind, "operation \"fetch\" is of no known kind", k->operation.kind = (enum sl_kind)42) \
	X(operation_no_via, "operation \"fetch\" has no way to be carried out (via)", k->operation.via = NULL) \
	X(operation_no_parse, "operation \"fetch\" has no way to be carried out (via)", k->ways[0].parse = NULL) \
	X(operation_no_build, "operation \"fetch\" has a way without a build callback", k->ways[0].build = NULL) \
	X(operation_no_source, "operation \"fetch\" has a way without a source", k->ways[0].source = NULL) \
	X(operation_source, "operation \"fetch\" uses a source the plugin does not declare", \
	  k->ways[1] = k->ways[0], k->ways[1].source = &k->source2) \
	X(lookup_no_table, "operation \"find\" looks up no column of a table", k->lookup.table = NULL) \
	X(lookup_no_column, "operation \"find\" looks up no column of a table", k->lookup.column = NULL) \
	X(lookup_table, "operation \"find\" looks up a table the plugin does not declare", \
	  k->lookup.table = &k->table2) \
	X(lookup_column, "operation \"find\" looks up a column that is neither the table's key nor indexed", \
	  k->lookup.column = "followers") \
	X(table_no_name, "table number 1 has no name", k->table.name = NULL) \
	X(table_name, "table \"a\"b\" has a name that is not letters, digits and _", k->table.name = "a\"b") \
	X(table_twice, "table \"account\" is declared twice", k->table2.name = "account", k->tables[1] = &k->table2) \
	X(table_no_columns, "table \"account\" has no columns", k->table.columns = NULL) \
	X(table_empty, "table \"account\" has no columns", k->columns[0].name = NULL) \
	X(table_column_name, "table \"account\", \"1st\": not a column's name (letters, digits, _)", \
	  k->columns[2].name = "1st") \
	X(table_column_id, "table \"account\", \"id\": the host adds this column itself", k->columns[2].name = "id") \
	X(table_column_stamp, "table \"account\", \"updated_at\": the host adds this column itself", \
	  k->columns[2].name = "updated_at", k->table.flags = SL_TABLE_STAMPED) \
	X(table_column_twice, "table \"account\", \"handle\": the column is declared twice", \
	  k->columns[2].name = "handle") \
	X(table_column_type, "table \"account\", \"followers\": the column has no known type", \
	  k->columns[2].type = (enum sl_column_type)0) \
	X(table_column_rule, "table \"account\", \"followers\": the column has no known rule", \
	  k->columns[2].rule = (enum sl_rule)9) \
	X(table_column_group, "table \"account\", \"followers\": the column is of no known group", \
	  k->columns[2].group = SL_GROUPS) \
	X(table_key, "table \"account\" has a key that is none of its columns", k->table.key_column = "nothing") \
	X(table_index, "table \"account\", \"nothing\": indexed, but none of its columns", \
	  k->indexes[0] = "nothing") \
	X(stream_no_name, "stream number 1 has no name", k->stream.name = NULL) \
	X(stream_name, "stream \"-x\" has a name that is not " GRAMMAR, k->stream.name = "-x") \
	X(stream_twice, "stream \"account_log\" is declared twice", \
	  k->stream2.name = "account_log", k->streams[1] = &k->stream2) \
	X(stream_exchange, "stream \"account_log\" has no exchange or routing key", k->stream.exchange = NULL) \
	X(stream_key, "stream \"account_log\" has no exchange or routing key", k->stream.key = NULL) \
	X(stream_member_twice, "stream \"account_log\", \"event_id\": the member is declared twice", \
	  k->fields[2].name = "event_id") \
	X(stream_member_from, "stream \"account_log\", \"metrics\": the member comes from nowhere known", \
	  k->fields[2].from = (enum sl_event_from)0) \
	X(stream_member_group, "stream \"account_log\", \"metrics\": the member is of no known group", \
	  k->fields[2].group = SL_GROUPS) \
	X(stream_member_key, "stream \"account_log\", \"handle\": the member has no key", k->fields[1].key = NULL) \
	X(flow_no_name, "flow number 1 has no name", k->flow.name = NULL) \
	X(flow_name, "flow \"\" has a name that is not " GRAMMAR, k->flow.name = "") \
	X(flow_twice, "flow \"refresh_account\" is declared twice", \
	  k->flow2.name = "refresh_account", k->flows[1] = &k->flow2) \
	X(flow_platform, "flow \"refresh_account\" has no platform", k->flow.platform = NULL) \
	X(flow_retrieve, "flow \"refresh_account\" has no retrieve callback", k->flow.retrieve = NULL) \
	X(flow_emit, "flow \"refresh_account\" has no emit callback", k->flow.emit = NULL) \
	X(flow_operation, "flow \"refresh_account\" calls an operation the plugin does not declare", \
	  k->operations[1] = NULL) \
	X(flow_table, "flow \"refresh_account\" writes a table the plugin does not declare", \
	  k->flow_tables[1] = &k->table2) \
	X(flow_stream, "flow \"refresh_account\" emits to a stream the plugin does not declare", \
	  k->flow_streams[1] = &k->stream2) \
	X(param_type, "parameter \"depth\" of refresh_account has no known type", k->params[1].type = (enum sl_type)0) \
	X(param_twice, "parameter \"handle\" of refresh_account is declared twice", k->params[1].name = "handle") \
	X(sink_no_name, "sink number 1 has no name", k->sink.name = NULL) \
	X(sink_name, "sink \"Log\" has a name that is not " GRAMMAR, k->sink.name = "Log") \
	X(sink_twice, "sink \"account_log\" is declared twice", \
	  k->sink2.name = "account_log", k->sinks[1] = &k->sink2) \
	X(sink_queue, "sink \"account_log\" names no queue, exchange or routing key", k->sink.queue = NULL) \
	X(sink_exchange, "sink \"account_log\" names no queue, exchange or routing key", k->sink.exchange = NULL) \
	X(sink_key, "sink \"account_log\" names no queue, exchange or routing key", k->sink.key = NULL) \
	X(sink_exchange_type, "sink \"account_log\" has an exchange of no known type", \
	  k->sink.exchange_type = (enum sl_exchange_type)8) \
	X(sink_table, "sink \"account_log\" names no table, engine or order", k->sink.table = NULL) \
	X(sink_engine, "sink \"account_log\" names no table, engine or order", k->sink.engine = NULL) \
	X(sink_order, "sink \"account_log\" names no table, engine or order", k->sink.order_by = NULL) \
	X(sink_no_columns, "sink \"account_log\" has no columns", k->sink.columns = NULL) \
	X(sink_column_name, "sink \"account_log\", \"a-b\": not a column's name (letters, digits, _)", \
	  k->sink_columns[1].name = "a-b") \
	X(sink_column_twice, "sink \"account_log\", \"handle\": the column is declared twice", \
	  k->sink_columns[2].name = "handle") \
	X(sink_column_type, "sink \"account_log\", \"handle\": the column has no type", k->sink_columns[1].type = NULL) \
	X(sink_no_identity, "sink \"account_log\" has no identity among its columns", k->sink.identity = NULL) \
	X(sink_identity, "sink \"account_log\" has no identity among its columns", k->sink.identity = "nothing") \
	X(sink_prefix, "sink \"account_log\", \"nothing\": in its prefix, but none of its columns", \
	  k->prefix[0] = "nothing") \
	X(sink_time, "sink \"account_log\" has a time column that is none of its columns", \
	  k->sink.time_column = "nothing") \
	X(listener_no_name, "listener number 1 has no name", k->listener.name = NULL) \
	X(listener_name, "listener \"Hear\" has a name that is not " GRAMMAR, k->listener.name = "Hear") \
	X(listener_twice, "listener \"hear\" is declared twice", \
	  k->listener2.name = "hear", k->listeners[1] = &k->listener2) \
	X(listener_queue, "listener \"hear\" has no queue or no handle callback", k->listener.queue = NULL) \
	X(listener_handle, "listener \"hear\" has no queue or no handle callback", k->listener.handle = NULL) \
	X(listener_table, "listener \"hear\" writes a table the plugin does not declare", \
	  k->listener_tables[0] = &k->table2) \
	X(listener_stream, "listener \"hear\" emits to a stream the plugin does not declare", \
	  k->listener_streams[0] = &k->stream2)

/* As above, of a second plugin "other" beside a good "kit" whose names are all different at first. */
#define BESIDE(X) \
	X(same_plugin, "a plugin \"kit\" is loaded already, from kit.so", k->plugin.name = "kit") \
	X(same_flow, "flow \"refresh_account\" is offered by plugin \"kit\" already", k->flow.name = "refresh_account") \
	X(same_source, "source \"api\" is offered by plugin \"kit\" already", k->source.name = "api") \
	X(same_table, "table \"account\" is offered by plugin \"kit\" already", k->table.name = "account") \
	X(same_sink, "sink \"account_log\" is offered by plugin \"kit\" already", k->sink.name = "account_log") \
	X(same_listener, "listener \"hear\" is offered by plugin \"kit\" already", k->listener.name = "hear") \
	X(other_exchange, "stream \"account_log\" goes to other.dx/account_log; plugin \"kit\" sends it to " \
	  "test.dx/account_log", k->stream.name = "account_log", k->stream.exchange = "other.dx") \
	X(other_key, "stream \"account_log\" goes to test.dx/x; plugin \"kit\" sends it to test.dx/account_log", \
	  k->stream.name = "account_log", k->stream.key = "x")

#define SPOIL(name, message, ...) static void spoil_##name(struct kit *k) { __VA_ARGS__; }
ALONE(SPOIL)
BESIDE(SPOIL)

struct refusal {
	const char *name, *message;
	void (*spoil)(struct kit *kit);
};

#define ROW(name, message, ...) { #name, message, spoil_##name },
static struct refusal alone[] = { ALONE(ROW) };
static struct refusal beside[] = { BESIDE(ROW) };

static void rename_all(struct kit *kit)
{
	kit->plugin.name = "other";
	kit->source.name = "other_api";
	kit->table.name = "other_account";
	kit->flow.name = "other_refresh";
	kit->sink.name = "other_log";
	kit->stream.name = "other_log";
	kit->listener.name = "other_hear";
}

static void refused(struct plugin_set *set, const char *path, const struct kit *kit, const char *message)
{
	struct error err = { .code = ERR_NONE };
	size_t before = plugin_count(set);
	struct buf whole;

	buf_init(&whole);
	buf_printf(&whole, "%s: plugin refused: %s", path, message);
	assert_int_equal(plugin_add_static(set, path, &kit->plugin, NULL, &err), -1);
	assert_string_equal(err.text, whole.data);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(plugin_count(set), before);
	buf_fini(&whole);
}

static void test_alone(void **state)
{
	const struct refusal *refusal = *state;
	struct plugin_set *set = plugin_set_new();
	struct kit kit;

	kit_init(&kit);
	refusal->spoil(&kit);
	refused(set, "kit.so", &kit, refusal->message);
	plugin_set_free(&set);
}

static void test_beside(void **state)
{
	const struct refusal *refusal = *state;
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	struct kit first, second;

	kit_init(&first);
	kit_init(&second);
	rename_all(&second);
	assert_int_equal(plugin_add_static(set, "kit.so", &first.plugin, NULL, &err), 0);
	refusal->spoil(&second);
	refused(set, second.plugin.name[0] == 'k' ? "elsewhere/kit.so" : "other.so", &second, refusal->message);
	plugin_set_free(&set);
}

static void test_good(void **state)
{
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin, *where = NULL;
	struct kit first, second;

	(void)state;
	kit_init(&first);
	kit_init(&second);
	rename_all(&second);
	second.stream.name = "account_log";	/* shared, and leaves alike */
	second.source.base_url = "";		/* each request brings its own */
	assert_int_equal(plugin_add_static(set, "some/kit.so", &first.plugin, &plugin, &err), 0);
	assert_int_equal(plugin_add_static(set, "other.so", &second.plugin, NULL, &err), 0);
	assert_int_equal(plugin_count(set), 2);
	assert_ptr_equal(plugin_at(set, 0), plugin);
	assert_null(plugin_at(set, 2));
	assert_string_equal(plugin_path(plugin), "some/kit.so");
	assert_string_equal(plugin_find_flow(set, "other_refresh", &where)->platform, "TEST");
	assert_ptr_equal(where, plugin_at(set, 1));
	assert_null(plugin_find_flow(set, "nothing", &where));
	assert_string_equal(plugin_find_sink(set, "other_log", NULL)->queue, "account_log_q");
	assert_string_equal(plugin_find_stream(set, "account_log")->exchange, "test.dx");
	assert_string_equal(plugin_find_operation(set, "kit.find")->name, "find");
	assert_null(plugin_find_operation(set, "kit.nothing"));
	assert_null(plugin_find_operation(set, "ki.find"));
	assert_null(plugin_find_operation(set, "find"));
	plugin_set_free(&set);
}

/* The host reads its copies only; both sides find each other's. */
static void test_copies(void **state)
{
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin;
	const struct sl_flow *flow;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	assert_int_equal(plugin_add_static(set, "kit.so", &kit.plugin, &plugin, &err), 0);
	flow = plugin_find_flow(set, "refresh_account", NULL);
	assert_ptr_not_equal(flow, &kit.flow);
	assert_ptr_equal(plugin_own(plugin, &kit.flow), flow);
	assert_ptr_equal(plugin_theirs(plugin, flow), &kit.flow);
	assert_ptr_equal(flow->operations[0], plugin_own(plugin, &kit.operation));
	assert_ptr_equal(flow->operations[0], plugin_descriptor(plugin)->operations[0]);
	assert_ptr_equal(flow->operations[0]->via[0].source, plugin_own(plugin, &kit.source));
	assert_ptr_equal(flow->operations[1]->table, plugin_descriptor(plugin)->tables[0]);
	assert_ptr_equal(flow->streams[0], plugin_own(plugin, &kit.stream));
	assert_null(plugin_own(plugin, &kit.source2));
	assert_null(plugin_theirs(plugin, &kit.flow));
	plugin_set_free(&set);
}

/* What a plugin built with a later minor looks like: longer structs, members this host does not know. */
static void test_future(void **state)
{
	struct {
		struct sl_flow flow;
		uint64_t more[4];
	} longer;
	struct {
		struct sl_plugin plugin;
		uint64_t more[8];
	} later;
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	memset(&longer, 0xff, sizeof(longer));
	memset(&later, 0xff, sizeof(later));
	longer.flow = kit.flow;
	longer.flow.size = sizeof(longer);
	kit.flows[0] = &longer.flow;
	later.plugin = kit.plugin;
	later.plugin.size = sizeof(later);
	later.plugin.abi_minor = SL_ABI_MINOR + 1;
	assert_int_equal(plugin_add_static(set, "kit.so", &later.plugin, &plugin, &err), 0);
	assert_int_equal(plugin_descriptor(plugin)->size, sizeof(struct sl_plugin));
	assert_int_equal(plugin_descriptor(plugin)->flows[0]->size, sizeof(struct sl_flow));
	assert_string_equal(plugin_descriptor(plugin)->flows[0]->name, "refresh_account");
	plugin_set_free(&set);
}

/* What a plugin built with the first minor looks like: an operation without a cost. */
static void test_past(void **state)
{
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	kit.operation.size = offsetof(struct sl_operation, cost);
	kit.operation.cost = 77;		/* whatever lies behind it */
	assert_int_equal(plugin_add_static(set, "kit.so", &kit.plugin, &plugin, &err), 0);
	assert_int_equal(plugin_descriptor(plugin)->operations[0]->cost, 0);
	assert_string_equal(plugin_descriptor(plugin)->operations[0]->name, kit.operation.name);
	plugin_set_free(&set);
}

/* A descriptor is data: with nothing in it at all it is a plugin that offers nothing. */
static void test_empty(void **state)
{
	const struct sl_plugin empty = {
		.size = sizeof(empty), .abi_major = SL_ABI_MAJOR, .name = "empty", .version = "1"
	};
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin;

	(void)state;
	assert_int_equal(plugin_add_static(set, "empty.so", &empty, &plugin, &err), 0);
	assert_null(plugin_own(plugin, &empty));
	assert_null(plugin_find_flow(set, "x", NULL));
	plugin_set_free(&set);
}

static const char *printed(const struct json *object, const char *list, const char *member)
{
	return json_string(json_member(json_first(json_member(object, list)), member), NULL);
}

static void test_print(void **state)
{
	struct plugin_set *set = plugin_set_new();
	struct error err = { .code = ERR_NONE };
	const struct plugin *plugin;
	struct json_doc *doc;
	const struct json *root;
	struct buf out;
	struct kit kit;

	(void)state;
	kit_init(&kit);
	buf_init(&out);
	assert_int_equal(plugin_add_static(set, "kit.so", &kit.plugin, &plugin, &err), 0);
	plugin_print(plugin, &out);
	doc = json_parse(out.data, out.len, &err);
	assert_non_null(doc);
	root = json_root(doc);
	assert_string_equal(json_string(json_member(root, "name"), NULL), "kit");
	assert_string_equal(json_string(json_member(root, "file"), NULL), "kit.so");
	assert_string_equal(printed(root, "options", "type"), "string");
	assert_string_equal(printed(root, "sources", "base_url"), "https://api.example.org");
	assert_string_equal(printed(root, "operations", "kind"), "http");
	assert_string_equal(printed(root, "flows", "platform"), "TEST");
	assert_string_equal(printed(root, "tables", "key"), "account_key");
	assert_string_equal(printed(root, "streams", "exchange"), "test.dx");
	assert_string_equal(printed(root, "sinks", "queue"), "account_log_q");
	json_doc_free(&doc);
	buf_fini(&out);
	plugin_set_free(&set);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int main(void)
{
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(test_past),
		cmocka_unit_test(test_good), cmocka_unit_test(test_copies), cmocka_unit_test(test_future),
		cmocka_unit_test(test_empty), cmocka_unit_test(test_print)
	};
	static struct CMUnitTest tests[COUNT(alone) + COUNT(beside) + COUNT(others)];
	size_t count = 0;

	for (size_t i = 0; i < COUNT(alone); i++)
		tests[count++] = (struct CMUnitTest){ alone[i].name, test_alone, NULL, NULL, &alone[i] };
	for (size_t i = 0; i < COUNT(beside); i++)
		tests[count++] = (struct CMUnitTest){ beside[i].name, test_beside, NULL, NULL, &beside[i] };
	for (size_t i = 0; i < COUNT(others); i++)
		tests[count++] = others[i];
	return _cmocka_run_group_tests("plugin", tests, count, NULL, NULL);
}
