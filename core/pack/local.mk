# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/pack/compress.c core/pack/compress.h \
	core/pack/frame.c core/pack/frame.h
