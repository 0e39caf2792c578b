# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/base/arena.c core/base/arena.h \
	core/base/backoff.c core/base/backoff.h \
	core/base/buf.c core/base/buf.h \
	core/base/clock.c core/base/clock.h \
	core/base/cron.c core/base/cron.h \
	core/base/error.c core/base/error.h \
	core/base/file.c core/base/file.h \
	core/base/list.h \
	core/base/map.c core/base/map.h \
	core/base/num.c core/base/num.h \
	core/base/rate.c core/base/rate.h \
	core/base/scheme.c core/base/scheme.h \
	core/base/secret.c core/base/secret.h \
	core/base/server_url.c core/base/server_url.h \
	core/base/str.c core/base/str.h \
	core/base/uuid.c core/base/uuid.h \
	core/base/zone.c core/base/zone.h
