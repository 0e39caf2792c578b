# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/role/channel.c \
	core/role/channel.h \
	core/role/role.c \
	core/role/role.h \
	core/role/sources.c \
	core/role/sources.h \
	core/role/tables.c
