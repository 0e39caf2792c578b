# SPDX-License-Identifier: Apache-2.0
core_libcore_a_SOURCES += \
	core/conf/catalogue.c core/conf/catalogue.h \
	core/conf/check.c \
	core/conf/errors.c core/conf/errors.h \
	core/conf/expand.c core/conf/expand.h \
	core/conf/items.c core/conf/items.h \
	core/conf/keys.c core/conf/keys.h \
	core/conf/limits.c \
	core/conf/model.c core/conf/model.h \
	core/conf/options.c \
	core/conf/params.c core/conf/params.h \
	core/conf/part.c \
	core/conf/schedule.c \
	core/conf/schema.c core/conf/schema.h \
	core/conf/stores.c \
	core/conf/types.c \
	core/conf/units.c core/conf/units.h \
	core/conf/yaml.c core/conf/yaml.h

# An example that is also what the tests check; sluiced looks for it in $(sysconfdir)/sluice.
dist_doc_DATA = flows.yaml
