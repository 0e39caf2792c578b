# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/http/gzip.c \
	core/http/gzip.h \
	core/http/http.c \
	core/http/http.h \
	core/http/http_sync.c \
	core/http/http_sync.h \
	core/http/internal.h \
	core/http/recorded.c \
	core/http/recorded.h \
	core/http/transfer.c \
	core/http/url.c \
	core/http/url.h
