/* SPDX-License-Identifier: Apache-2.0 */
/* The sinks plugin is data: that it hangs together, and what a message must have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sluice/plugin.h>

static const struct sl_sink *sink_named(const char *name)
{
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++)
		if (strcmp(sluice_plugin_v1.sinks[i]->name, name) == 0)
			return sluice_plugin_v1.sinks[i];
	fail_msg("no sink %s", name);
	return NULL;
}

static const struct sl_sink_column *column_of(const struct sl_sink *sink, const char *name)
{
	for (const struct sl_sink_column *column = sink->columns; column->name; column++)
		if (strcmp(column->name, name) == 0)
			return column;
	fail_msg("%s has no column %s", sink->name, name);
	return NULL;
}

static void sinks_hang_together(void **state)
{
	(void)state;
	for (size_t i = 0; sluice_plugin_v1.sinks[i]; i++) {
		const struct sl_sink *sink = sluice_plugin_v1.sinks[i];
		const char *order = sink->order_by;

		column_of(sink, sink->identity);
		assert_string_equal(column_of(sink, sink->time_column)->type, "DateTime");
		assert_non_null(strstr(sink->partition_by, sink->time_column));
		assert_null(strstr(sink->partition_by, "flow"));
		for (size_t p = 0; sink->prefix[p]; p++) {
			column_of(sink, sink->prefix[p]);
			assert_ptr_equal(strstr(order, sink->prefix[p]), order);
			order += strlen(sink->prefix[p]) + (sink->prefix[p + 1] ? strlen(", ") : 0);
		}
		assert_string_equal(order, "");
		assert_string_equal(sink->exchange, "beat.dx");
		assert_string_equal(sink->key, sink->name);
		assert_string_equal(sink->table, sink->name);
		assert_int_equal(strncmp(sink->queue, sink->name, strlen(sink->name)), 0);
		assert_string_equal(sink->queue + strlen(sink->name), "_q");
	}
}

/* The members of the events that other producers send, all of which must be there. */
static void needed_members(void **state)
{
	static const struct {
		const char *sink, *members;
	} cases[] = {
		{"profile_log_events",
		 "event_id source platform profile_id handle event_timestamp metrics dimensions"},
		{"post_log_events",
		 "event_id source platform profile_id handle shortcode publish_time event_timestamp "
		 "metrics dimensions"},
		{"order_log_events",
		 "event_id source platform platform_order_id store event_timestamp metrics dimensions"},
		{"scrape_request_log_events",
		 "event_id scl_id platform flow params status priority reason picked_at "
		 "expires_at event_timestamp"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct sl_sink *sink = sink_named(cases[i].sink);
		char found[512] = "";

		for (const struct sl_sink_column *column = sink->columns; column->name; column++) {
			if (!(column->flags & SL_COLUMN_NEEDED)) {
				assert_string_equal(column->name, "insert_timestamp");
				assert_int_equal(column->flags, SL_COLUMN_NOW);
				continue;
			}
			snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s",
				 *found ? " " : "", column->name);
		}
		assert_string_equal(found, cases[i].members);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sinks_hang_together),
		cmocka_unit_test(needed_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
