# SPDX-License-Identifier: Apache-2.0
noinst_PROGRAMS += sluice-sim
sluice_sim_SOURCES = \
	tests/sim/main.c tests/sim/sim.c tests/sim/sim.h tests/sim/route.c \
	tests/sim/world.c tests/sim/world.h tests/sim/pool.c tests/sim/pool.h \
	tests/sim/template.c tests/sim/template.h \
	tests/sim/fault.c tests/sim/fault.h tests/sim/record.c tests/sim/record.h \
	tests/sim/replay.c tests/sim/replay.h \
	tests/sim/instagram.c tests/sim/instagram.h tests/sim/graph.c tests/sim/media.c tests/sim/web.c \
	tests/sim/youtube.c tests/sim/shopify.c
sluice_sim_LDADD = core/libcore.a $(SLUICE_LIBS)
