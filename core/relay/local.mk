# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/relay/compose.c \
	core/relay/internal.h \
	core/relay/lane.c \
	core/relay/relay.c \
	core/relay/relay.h
