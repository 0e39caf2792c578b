# SPDX-License-Identifier: Apache-2.0
# The plugin contract, installed into $(includedir)/sluice: list every header here.
sluiceincludedir = $(includedir)/sluice
sluiceinclude_HEADERS = \
	include/sluice/flow.h \
	include/sluice/host.h \
	include/sluice/http.h \
	include/sluice/json.h \
	include/sluice/option.h \
	include/sluice/plugin.h \
	include/sluice/sink.h \
	include/sluice/table.h

pkgconfigdir = $(libdir)/pkgconfig
nodist_pkgconfig_DATA = include/sluice/sluice.pc
