# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/json/internal.h \
	core/json/json.cc \
	core/json/json.h \
	core/json/json_fd.c \
	core/json/jwrite.c \
	core/json/jwrite.h \
	core/json/number.c \
	core/json/sanitise.c
