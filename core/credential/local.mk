# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/credential/cache.c core/credential/internal.h \
	core/credential/envelope.c core/credential/envelope.h \
	core/credential/graph.c core/credential/graph.h \
	core/credential/oauth.c core/credential/oauth.h \
	core/credential/pool.c core/credential/pool.h
