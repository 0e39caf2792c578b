/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a plugin without loading it here: a short-lived child
 * (`sluiced -x probe FILE`) does, so that a file that crashes, hangs or exits
 * in its constructor is refused with the reason and hurts nothing.
 */
#ifndef SLUICE_PLUGIN_PROBE_H
#define SLUICE_PLUGIN_PROBE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define PROBE_TIMEOUT_MS 10000
#define PROBE_FD 3	/* the child writes its answer there, so that a constructor's output does not mix with it */

/*
 * Parent: appends the descriptor's JSON to out. program is the sluiced to run.
 * Blocks for at most timeout_ms. Refusals are ERR_INPUT "FILE: plugin refused:
 * reason"; ERR_IO when the probe itself could not be run.
 */
int probe_run(const char *program, const char *file, int64_t timeout_ms, struct buf *out, struct error *err);

/* Child: loads file, writes its JSON or the refusal to PROBE_FD. The exit status of the process. */
int probe_main(const char *file);

#endif
