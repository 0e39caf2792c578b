/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that misbehaves while it is loaded, in the way $SLUICE_WILD names; a good one without it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/plugin.h>

__attribute__((constructor)) static void misbehave(void)
{
	const char *how = getenv("SLUICE_WILD");

	if (how == NULL)
		return;
	if (strcmp(how, "crash") == 0) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	if (strcmp(how, "abort") == 0)
		abort();
	if (strcmp(how, "exit 0") == 0)
		_exit(0);
	if (strcmp(how, "exit 3") == 0)
		exit(3);
	if (strcmp(how, "exit 127") == 0)
		_exit(127);
	if (strcmp(how, "noise") == 0)
		for (int i = 0; i < 10000; i++) {
			puts("{\"name\": \"rubbish\"}");
			fputs("rubbish\n", stderr);
		}
	while (strcmp(how, "hang") == 0)
		pause();
}

SLUICE_PLUGIN(.name = "wild", .version = "1.0", .doc = "Misbehaves while it is loaded");
