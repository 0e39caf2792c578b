# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/worker/breaker.c \
	core/worker/choose.c \
	core/worker/commit.c \
	core/worker/internal.h \
	core/worker/permit.c \
	core/worker/task.c \
	core/worker/trace.c \
	core/worker/upstream.c \
	core/worker/worker.c \
	core/worker/worker.h
