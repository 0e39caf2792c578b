# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/plugin/check.c \
	core/plugin/discover.c \
	core/plugin/discover.h \
	core/plugin/internal.h \
	core/plugin/load.c \
	core/plugin/own.c \
	core/plugin/plugin.h \
	core/plugin/print.c \
	core/plugin/probe.c \
	core/plugin/probe.h \
	core/plugin/store_table.c \
	core/plugin/store_table.h
