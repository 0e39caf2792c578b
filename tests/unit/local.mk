# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/unit/json_test
tests_unit_json_test_SOURCES = tests/unit/json_test.c
tests_unit_json_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/json_test

check_PROGRAMS += tests/unit/native_test tests/unit/warehouse_test
TESTS += tests/unit/native_test tests/unit/warehouse_test
tests_unit_native_test_SOURCES = tests/unit/native_test.c
tests_unit_native_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_unit_warehouse_test_SOURCES = tests/unit/warehouse_test.c
tests_unit_warehouse_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/unit/url_test
tests_unit_url_test_SOURCES = tests/unit/url_test.c
tests_unit_url_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/url_test

check_PROGRAMS += tests/unit/base_test tests/unit/log_test tests/unit/loop_test
tests_unit_base_test_SOURCES = tests/unit/base_test.c
tests_unit_base_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_unit_log_test_SOURCES = tests/unit/log_test.c
tests_unit_log_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_unit_loop_test_SOURCES = tests/unit/loop_test.c
tests_unit_loop_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/base_test tests/unit/log_test tests/unit/loop_test

check_PROGRAMS += tests/unit/httpd_test
tests_unit_httpd_test_SOURCES = tests/unit/httpd_test.c
tests_unit_httpd_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/httpd_test
check_PROGRAMS += tests/unit/flow_test
tests_unit_flow_test_SOURCES = tests/unit/flow_plugin.c tests/unit/flow_plugin.h tests/unit/flow_test.c
tests_unit_flow_test_LDADD = tests/fake/libfake.a core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/flow_test

check_PROGRAMS += tests/unit/trace_test
tests_unit_trace_test_SOURCES = tests/unit/trace_test.c
tests_unit_trace_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/trace_test

check_PROGRAMS += tests/unit/conf_test tests/unit/conf_dump
tests_unit_conf_test_SOURCES = tests/unit/conf_test.c
tests_unit_conf_test_LDADD = core/libcore.a $(TEST_LIBS)
tests_unit_conf_dump_SOURCES = tests/unit/conf_dump.c
tests_unit_conf_dump_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/conf_test
EXTRA_DIST += tests/conf
# The plugins linked into their tests: their objects get names of their own (_CPPFLAGS).
plugin_tests = tests/unit/plugin_instagram_test tests/unit/plugin_youtube_test \
	tests/unit/plugin_shopify_test tests/unit/plugin_sinks_test
check_PROGRAMS += $(plugin_tests)
TESTS += $(plugin_tests)
tests_unit_plugin_instagram_test_SOURCES = tests/unit/plugin_instagram_test.c tests/unit/plugin_run.h $(instagram_sources) $(pluginlib_sources)
tests_unit_plugin_instagram_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
tests_unit_plugin_instagram_test_LDADD = tests/fake/libfake.a core/libcore.a $(TEST_LIBS)
tests_unit_plugin_youtube_test_SOURCES = tests/unit/plugin_youtube_test.c tests/unit/plugin_run.h $(youtube_sources) $(pluginlib_sources)
tests_unit_plugin_youtube_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
tests_unit_plugin_youtube_test_LDADD = tests/fake/libfake.a core/libcore.a $(TEST_LIBS)
tests_unit_plugin_shopify_test_SOURCES = tests/unit/plugin_shopify_test.c tests/unit/plugin_run.h $(shopify_sources) $(pluginlib_sources)
tests_unit_plugin_shopify_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
tests_unit_plugin_shopify_test_LDADD = tests/fake/libfake.a core/libcore.a $(TEST_LIBS)
tests_unit_plugin_sinks_test_SOURCES = tests/unit/plugin_sinks_test.c \
	tests/unit/sink_case.c tests/unit/sink_case.h $(sinks_sources)
tests_unit_plugin_sinks_test_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/unit
tests_unit_plugin_sinks_test_LDADD = core/libcore.a $(TEST_LIBS)
EXTRA_DIST += tests/sinks

check_PROGRAMS += tests/unit/plugin_test
tests_unit_plugin_test_SOURCES = \
	tests/unit/plugin_kit.c \
	tests/unit/plugin_kit.h \
	tests/unit/plugin_test.c
tests_unit_plugin_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/plugin_test

check_PROGRAMS += tests/unit/sink_decode_test
TESTS += tests/unit/sink_decode_test
tests_unit_sink_decode_test_SOURCES = tests/unit/sink_decode_test.c
tests_unit_sink_decode_test_LDADD = core/libcore.a $(TEST_LIBS)

check_PROGRAMS += tests/unit/metrics_test
tests_unit_metrics_test_SOURCES = tests/unit/metrics_test.c
tests_unit_metrics_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/metrics_test

check_PROGRAMS += tests/unit/frame_test
tests_unit_frame_test_SOURCES = tests/unit/frame_test.c
tests_unit_frame_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/frame_test

check_PROGRAMS += tests/unit/relay_test
tests_unit_relay_test_SOURCES = tests/unit/relay_test.c
tests_unit_relay_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/relay_test

if HAVE_RABBITMQ
check_PROGRAMS += tests/unit/amqp_batch_test
tests_unit_amqp_batch_test_SOURCES = tests/unit/amqp_batch_test.c
tests_unit_amqp_batch_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/amqp_batch_test
endif

check_PROGRAMS += tests/unit/limit_window_test
tests_unit_limit_window_test_SOURCES = \
	tests/contract/limit_model.c \
	tests/contract/limit_model.h \
	tests/unit/limit_window_test.c
tests_unit_limit_window_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/limit_window_test

check_PROGRAMS += tests/unit/limit_queue_test
tests_unit_limit_queue_test_SOURCES = tests/unit/limit_queue_test.c
tests_unit_limit_queue_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/limit_queue_test

check_PROGRAMS += tests/unit/limit_feedback_test
tests_unit_limit_feedback_test_SOURCES = tests/unit/limit_feedback_test.c
tests_unit_limit_feedback_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/limit_feedback_test

check_PROGRAMS += tests/unit/cron_test
tests_unit_cron_test_SOURCES = tests/unit/cron_test.c
tests_unit_cron_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/cron_test

check_PROGRAMS += tests/unit/items_test
tests_unit_items_test_SOURCES = tests/unit/items_test.c
tests_unit_items_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/items_test
check_PROGRAMS += tests/unit/new_task_test
tests_unit_new_task_test_SOURCES = tests/unit/new_task_test.c
tests_unit_new_task_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/new_task_test
check_PROGRAMS += tests/unit/credential_test
tests_unit_credential_test_SOURCES = tests/unit/credential_test.c
tests_unit_credential_test_LDADD = core/libcore.a $(TEST_LIBS)
TESTS += tests/unit/credential_test
