# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += core/timer/timer.c core/timer/timer.h
