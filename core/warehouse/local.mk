# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/warehouse/native.c core/warehouse/native.h \
	core/warehouse/warehouse.h
