# SPDX-License-Identifier: Apache-2.0
pkgplugin_LTLIBRARIES += plugins/sinks/sinks.la
plugins_sinks_sinks_la_SOURCES = plugins/sinks/sinks.c
plugins_sinks_sinks_la_LDFLAGS = $(MODULE_FLAGS)
dist_man_MANS += plugins/sinks/sluice-sinks.7
