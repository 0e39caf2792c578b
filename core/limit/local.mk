# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/limit/window.c core/limit/window.h
