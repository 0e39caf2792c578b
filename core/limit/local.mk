# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/limit/driver.h \
	core/limit/feedback.c core/limit/feedback.h \
	core/limit/limit.c core/limit/limit.h \
	core/limit/limit_local.c \
	core/limit/local_file.c core/limit/local_file.h \
	core/limit/queue.c \
	core/limit/window.c core/limit/window.h

if HAVE_REDIS
core_libcore_a_SOURCES += \
	core/limit/limit_redis.c \
	core/limit/redis.h \
	core/limit/redis_conn.c \
	core/limit/redis_url.c
nodist_core_libcore_a_SOURCES = core/limit/redis_script.c
endif

# The script as a C string.
EXTRA_DIST += core/limit/redis.lua
CLEANFILES += core/limit/redis_script.c
core/limit/redis_script.c: core/limit/redis.lua
	$(AM_V_at)$(MKDIR_P) core/limit
	$(AM_V_GEN){ printf '#include "limit/redis.h"\nconst char redis_script[] =\n' && \
		sed 's/\\/\\\\/g; s/"/\\"/g; s/^/"/; s/$$/\\n"/' $(top_srcdir)/core/limit/redis.lua && \
		echo ';'; } >$@.new && mv $@.new $@
