# SPDX-License-Identifier: Apache-2.0
# sluiced: sbin_PROGRAMS += sluiced
#	sluiced_SOURCES = core/supervisor/main.c
#	sluiced_LDADD = core/libcore.a $(SLUICE_LIBS)
# Everything but main.c goes to core_libcore_a_SOURCES.
