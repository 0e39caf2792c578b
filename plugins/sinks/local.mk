# SPDX-License-Identifier: Apache-2.0
sinks_sources = plugins/sinks/sinks.c

pkgplugin_LTLIBRARIES += plugins/sinks/sinks.la
plugins_sinks_sinks_la_SOURCES = $(sinks_sources)
plugins_sinks_sinks_la_LDFLAGS = $(MODULE_FLAGS)
dist_man_MANS += plugins/sinks/sluice-sinks.7
