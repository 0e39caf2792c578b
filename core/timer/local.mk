# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/timer/internal.h \
	core/timer/schedule.c \
	core/timer/sources.c \
	core/timer/sweep.c \
	core/timer/timer.c \
	core/timer/timer.h
