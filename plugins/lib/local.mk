# SPDX-License-Identifier: Apache-2.0
# Helpers that plugins link; no symbol of it leaves a plugin.
pluginlib_sources = plugins/lib/lib.h plugins/lib/streams.c plugins/lib/paging.c plugins/lib/text.c

noinst_LTLIBRARIES += plugins/lib/libplugin.la
plugins_lib_libplugin_la_SOURCES = $(pluginlib_sources)
