# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/conf/catalogue.h \
	core/conf/errors.c core/conf/errors.h \
	core/conf/expand.c core/conf/expand.h \
	core/conf/model.h \
	core/conf/schema.h \
	core/conf/yaml.c core/conf/yaml.h
