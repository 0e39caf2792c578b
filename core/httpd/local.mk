# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += core/httpd/httpd.c core/httpd/httpd.h
