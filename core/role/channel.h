/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel between the supervisor and one role: a SOCK_SEQPACKET pair, one
 * JSON object per packet, at most CHANNEL_MAX bytes, a descriptor attached
 * where one is handed over. Either side, on its loop's thread.
 */
#ifndef SLUICE_ROLE_CHANNEL_H
#define SLUICE_ROLE_CHANNEL_H

#include <stddef.h>

#include "base/error.h"

#define CHANNEL_MAX (128 * 1024)

/* Sends without waiting. fd < 0: none. -1 when the peer is gone or its buffer is full (ERR_BUSY). */
int channel_send(int channel, const char *json, size_t len, int fd, struct error *err);
/*
 * Takes one packet into buf (CHANNEL_MAX + 1 bytes, NUL-terminated). Returns its
 * length, 0 when there is none now, -1 when the peer has closed. *fd_r: the
 * attached descriptor (close-on-exec; the caller's), or -1.
 */
int channel_receive(int channel, char *buf, int *fd_r);

#endif
