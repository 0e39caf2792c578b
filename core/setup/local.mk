# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/setup/engine.c \
	core/setup/engine.h \
	core/setup/new_task.c \
	core/setup/new_task.h \
	core/setup/schedule.c \
	core/setup/schedule.h \
	core/setup/setup.c \
	core/setup/setup.h
