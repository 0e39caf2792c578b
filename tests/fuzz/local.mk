# SPDX-License-Identifier: Apache-2.0
# A target NAME_fuzz.c with a folder corpus/NAME. make check replays the corpora; to fuzz, see json_fuzz.c.
check_PROGRAMS += tests/fuzz/json_replay
tests_fuzz_json_replay_SOURCES = tests/fuzz/json_fuzz.c tests/fuzz/replay.c
tests_fuzz_json_replay_LDADD = core/libcore.a $(SLUICE_LIBS)
check_PROGRAMS += tests/fuzz/conf_replay
tests_fuzz_conf_replay_SOURCES = tests/fuzz/conf_fuzz.c tests/fuzz/replay.c
tests_fuzz_conf_replay_LDADD = core/libcore.a $(SLUICE_LIBS)
check_PROGRAMS += tests/fuzz/sink_replay
tests_fuzz_sink_replay_SOURCES = tests/fuzz/sink_fuzz.c tests/fuzz/replay.c $(sinks_sources)
tests_fuzz_sink_replay_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_sink_replay_LDADD = core/libcore.a $(SLUICE_LIBS)

# One per plugin; its objects get names of their own (_CPPFLAGS).
check_PROGRAMS += tests/fuzz/instagram_replay
tests_fuzz_instagram_replay_SOURCES = tests/fuzz/plugin_fuzz.c tests/fuzz/replay.c \
	$(instagram_sources) $(pluginlib_sources)
tests_fuzz_instagram_replay_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_instagram_replay_LDADD = tests/fake/libfake.a core/libcore.a $(SLUICE_LIBS)
check_PROGRAMS += tests/fuzz/youtube_replay
tests_fuzz_youtube_replay_SOURCES = tests/fuzz/plugin_fuzz.c tests/fuzz/replay.c \
	$(youtube_sources) $(pluginlib_sources)
tests_fuzz_youtube_replay_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_youtube_replay_LDADD = tests/fake/libfake.a core/libcore.a $(SLUICE_LIBS)
check_PROGRAMS += tests/fuzz/shopify_replay
tests_fuzz_shopify_replay_SOURCES = tests/fuzz/plugin_fuzz.c tests/fuzz/replay.c \
	$(shopify_sources) $(pluginlib_sources)
tests_fuzz_shopify_replay_CPPFLAGS = $(AM_CPPFLAGS)
tests_fuzz_shopify_replay_LDADD = tests/fake/libfake.a core/libcore.a $(SLUICE_LIBS)

dist_check_SCRIPTS += tests/fuzz/replay_all
TESTS += tests/fuzz/replay_all
EXTRA_DIST += \
	tests/fuzz/corpus/json/bad-utf8.json \
	tests/fuzz/corpus/json/bom.json \
	tests/fuzz/corpus/json/empty.txt \
	tests/fuzz/corpus/json/equal-keys.json \
	tests/fuzz/corpus/json/giant-number.json \
	tests/fuzz/corpus/json/html.txt \
	tests/fuzz/corpus/json/lone-surrogate.json \
	tests/fuzz/corpus/json/nested.json \
	tests/fuzz/corpus/json/nul-escape.json \
	tests/fuzz/corpus/json/profile.json \
	tests/fuzz/corpus/json/scalar.json \
	tests/fuzz/corpus/json/too-nested.json \
	tests/fuzz/corpus/json/truncated.json
EXTRA_DIST += \
	tests/fuzz/corpus/instagram/error.json \
	tests/fuzz/corpus/instagram/gone.json \
	tests/fuzz/corpus/instagram/graph.json \
	tests/fuzz/corpus/instagram/mobile.json \
	tests/fuzz/corpus/instagram/odd.json \
	tests/fuzz/corpus/instagram/post.json \
	tests/fuzz/corpus/shopify/error.json \
	tests/fuzz/corpus/shopify/odd.json \
	tests/fuzz/corpus/shopify/orders.json \
	tests/fuzz/corpus/youtube/channels.json \
	tests/fuzz/corpus/youtube/error.json \
	tests/fuzz/corpus/youtube/lookup.json \
	tests/fuzz/corpus/youtube/search.json \
	tests/fuzz/corpus/youtube/videos.json
EXTRA_DIST += \
	tests/fuzz/corpus/sink/empty.txt \
	tests/fuzz/corpus/sink/events.ndjson \
	tests/fuzz/corpus/sink/mixed.ndjson \
	tests/fuzz/corpus/sink/numbers.ndjson \
	tests/fuzz/corpus/sink/odd.json \
	tests/fuzz/corpus/sink/pretty.json \
	tests/fuzz/corpus/sink/times.ndjson
