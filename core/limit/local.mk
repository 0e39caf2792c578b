# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/limit/driver.h \
	core/limit/limit.c core/limit/limit.h \
	core/limit/limit_local.c \
	core/limit/local_file.c core/limit/local_file.h \
	core/limit/queue.c \
	core/limit/window.c core/limit/window.h
