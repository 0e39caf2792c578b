# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/flow/call.c \
	core/flow/checkpoint.c \
	core/flow/emit.c \
	core/flow/facts.c \
	core/flow/flow.h \
	core/flow/host.c \
	core/flow/host_call.c \
	core/flow/host_json.c \
	core/flow/internal.h \
	core/flow/params.c \
	core/flow/record.c \
	core/flow/request.c \
	core/flow/secrets.c \
	core/flow/secrets.h \
	core/flow/task.c \
	core/flow/trace.c \
	core/flow/trace.h
