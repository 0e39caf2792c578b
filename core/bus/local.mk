# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/bus/bus.c \
	core/bus/bus.h \
	core/bus/bus_direct.c \
	core/bus/driver.h
