# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/loop/internal.h \
	core/loop/loop.c core/loop/loop.h \
	core/loop/thread.c
