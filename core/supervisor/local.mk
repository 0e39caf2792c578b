# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/supervisor/check.c \
	core/supervisor/child.c \
	core/supervisor/control.c \
	core/supervisor/plan.c \
	core/supervisor/reload.c \
	core/supervisor/status.c \
	core/supervisor/supervisor.c \
	core/supervisor/supervisor.h

sbin_PROGRAMS += sluiced
sluiced_SOURCES = core/supervisor/main.c
sluiced_LDADD = core/libcore.a $(SLUICE_LIBS)
