# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/bus/bus.c \
	core/bus/bus.h \
	core/bus/bus_direct.c \
	core/bus/direct_hold.c \
	core/bus/direct_hold.h \
	core/bus/direct_letters.c \
	core/bus/driver.h

if HAVE_RABBITMQ
core_libcore_a_SOURCES += \
	core/bus/amqp.h \
	core/bus/amqp_batch.c \
	core/bus/amqp_batch.h \
	core/bus/amqp_conn.c \
	core/bus/amqp_consumer.c \
	core/bus/amqp_consumer.h \
	core/bus/amqp_declare.c \
	core/bus/amqp_letter.c \
	core/bus/amqp_letters.c \
	core/bus/amqp_letters.h \
	core/bus/amqp_letters_change.c \
	core/bus/amqp_link.c \
	core/bus/amqp_message.c \
	core/bus/amqp_publisher.c \
	core/bus/amqp_url.c \
	core/bus/bus_amqp.c
endif
