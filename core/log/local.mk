# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += core/log/log.c core/log/log.h
