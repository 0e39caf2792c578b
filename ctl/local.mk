# SPDX-License-Identifier: Apache-2.0
bin_PROGRAMS += sluicectl
sluicectl_SOURCES = \
	ctl/answer.c \
	ctl/context.c \
	ctl/credential.c \
	ctl/credential_add.c \
	ctl/credential_import.c \
	ctl/credential_rotate.c \
	ctl/credential_test.c \
	ctl/ctl.h \
	ctl/daemon.c \
	ctl/dead.c \
	ctl/failure.c \
	ctl/flow.c \
	ctl/main.c \
	ctl/params.c \
	ctl/plugin.c \
	ctl/query.c \
	ctl/reload.c \
	ctl/schedule.c \
	ctl/schema.c \
	ctl/schema_check.c \
	ctl/source.c \
	ctl/status.c \
	ctl/submit.c \
	ctl/table.c \
	ctl/task.c \
	ctl/try.c \
	ctl/try.h \
	ctl/vault.c \
	ctl/vault.h
sluicectl_LDADD = core/libcore.a $(SLUICE_LIBS)
