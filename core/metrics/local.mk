# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += core/metrics/metrics.c core/metrics/metrics.h
