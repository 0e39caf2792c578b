# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/sink/batch.c core/sink/batch.h \
	core/sink/batch_decode.c \
	core/sink/batch_lookup.c \
	core/sink/consumer.c core/sink/consumer.h \
	core/sink/decode.c core/sink/decode.h \
	core/sink/query.c core/sink/query.h \
	core/sink/sink.c core/sink/sink.h \
	core/sink/table.c core/sink/table.h
