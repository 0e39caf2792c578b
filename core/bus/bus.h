/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a sink gets its messages. A family of drivers behind one ops struct,
 * found by URL scheme: direct: reads the task store's outbox itself, and
 * acknowledging is deleting; amqp: consumes from a broker.
 *
 * One reader serves one queue. Messages arrive in batches on the loop thread;
 * each carries a tag, and stays the reader's until it is acknowledged or
 * rejected: what is neither when the reader ends, or dies, is delivered again,
 * marked suspect. Nothing is ever acknowledged by itself. One thread.
 */
#ifndef SLUICE_BUS_BUS_H
#define SLUICE_BUS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct arena;
struct loop;
struct store;
struct bus_reader;

struct bus_message {		/* valid during the callback only */
	uint64_t tag;		/* unique within the reader, never 0 */
	const char *id;		/* the same for ever: names events that have no identity of their own */
	const char *body;	/* one JSON object, or several separated by newlines; NUL-terminated */
	size_t len;
	uint32_t events;	/* how many; 0 = not known */
	int64_t created_ms;	/* wall clock; 0 = not known */
	bool suspect;		/* its events may have been inserted before: look them up first … */
	int64_t suspect_ms;	/* … at the earliest so long after this time (wall clock); 0: not, or after the start */
	const char *problem;	/* why it cannot be read, whatever is in it: a letter at once; NULL: none */
	bool letter;		/* a dead letter that was sent again: id is its event's, the letter's dedup_id */
	/*
	 * A JSON object of the headers it came with, without those that the bus makes
	 * for every message, and of at most BUS_HEADERS_BYTES: a letter takes them along.
	 * Texts that are not UTF-8 are repaired, times are numbers. NULL: none.
	 */
	const char *headers;
};
#define BUS_HEADERS_BYTES 32768

struct bus_queue {		/* a queue and what it is bound to */
	const char *name;
	const char *exchange, *type, *key;	/* NULL or "": the default exchange; type "direct", "topic", … */
};

struct bus_letter {		/* what cannot be inserted; copied */
	const char *payload;
	size_t len;
	const char *reason;	/* for people */
	const char *code;	/* short: "json", "column", "warehouse 53" */
	const char *dedup_id;	/* a repeat with the same id is recognised; NULL: the payload's hash */
	const char *headers;	/* of the message it came in; NULL: none */
};

/* Never called from inside a bus_* function. */
typedef void bus_messages_fn(void *user, const struct bus_message *messages, size_t count);
typedef void bus_done_fn(void *user, const struct error *err);

#define BUS_BODY_MAX ((size_t)16 * 1024 * 1024)
#define BUS_UNACKED_MAX 65535
struct bus_options {
	const char *queue;	/* copied */
	const char *exchange, *type, *key;	/* what brokers bind it to; copied; NULL: nothing */
	const char *state;	/* folder that outlives the process, where it notes whether it ended well; NULL: none */
	unsigned int number;	/* which of the queue's readers in this process: each notes it for itself */
	/*
	 * No more are delivered while so many are open, nor more than the bus
	 * chooses (0: as many as that) …
	 */
	size_t unacked_messages;
	size_t unacked_bytes;	/* … or so many bytes (0 = 64 MiB); one message always fits */
	size_t body_max;	/* a larger message is a problem (0 = BUS_BODY_MAX) */
	bus_messages_fn *messages;
	/*
	 * The queue is another node's, or may be: nothing of what was delivered may be
	 * inserted, bus_holds is false for all of it, nothing more comes. May be NULL.
	 */
	void (*lost)(void *user);
	void *user;
};

struct bus_stats {
	uint64_t delivered, acked, rejected;	/* messages; letters for rejected */
	uint64_t errors;			/* of the store or broker; each is tried again */
	size_t unacked, unacked_bytes;		/* delivered, neither acked nor rejected */
	size_t unacked_most;			/* so many messages at most */
	size_t unsettled;			/* acked, but the store or broker does not know yet */
};

/*
 * Starts to deliver. store: the outbox that direct: reads (borrowed until
 * bus_close); others ignore it. Errors later on are logged and tried again.
 */
struct bus_reader *bus_open(struct loop *loop, const char *url, struct store *store,
			    const struct bus_options *options, struct error *err);
/* Unknown tags assert. Takes effect in the background, tried again until it did. */
void bus_ack(struct bus_reader *reader, const uint64_t *tags, size_t count);
/*
 * Parks letters where an operator finds them, then acknowledges tags (there may
 * be none: when a message holds good events too, reject its bad ones first and
 * acknowledge it after the good ones are in). done: the letters are safe; with
 * an error nothing was parked or acknowledged.
 */
void bus_reject(struct bus_reader *reader, const uint64_t *tags, size_t tag_count,
		const struct bus_letter *letters, size_t letter_count, bus_done_fn *done, void *user);
/*
 * Whether the messages still are the reader's. false: the broker gives them to
 * somebody, marked suspect; acknowledging them has no effect. Forget them.
 */
bool bus_holds(const struct bus_reader *reader, const uint64_t *tags, size_t count);
/*
 * Gives messages back, to come again marked suspect, once and to one reader
 * only. false, and nothing is done: there is only one reader, who may look them
 * up itself.
 */
bool bus_distrust(struct bus_reader *reader, const uint64_t *tags, size_t count);
/*
 * No new messages are asked for, for ever; those that somebody has sent already
 * still come, before the callback of a bus_settle that is asked for afterwards.
 * true: they are to be dealt with. false: nothing has been sent, what comes
 * still may be left alone.
 */
bool bus_last_call(struct bus_reader *reader);
/* No new messages until bus_resume; those under way may still come once. */
void bus_pause(struct bus_reader *reader);
void bus_resume(struct bus_reader *reader);
/* Something was written to the queue: look now. */
void bus_nudge(struct bus_reader *reader);
void bus_reader_stats(const struct bus_reader *reader, struct bus_stats *stats_r);
/* Calls back once every acknowledgement given so far is settled: before the end of a drain. */
void bus_settle(struct bus_reader *reader, bus_done_fn *done, void *user);
/* Callbacks that are due are not made any more. NULL tolerated; sets *reader to NULL. */
void bus_close(struct bus_reader **reader);

/*
 * --- publishing, for relays ---
 *
 * Messages are sent persistent and mandatory, and each is answered once:
 * confirmed only when the broker has it safely in a queue.
 */
struct bus_publisher;

struct bus_header {
	const char *name, *value;
};
#define BUS_HEADERS 6
struct bus_outgoing {			/* copied */
	const char *exchange, *key;
	const char *body;
	size_t len;
	bool packed;			/* body is LZ4 frames (pack/frame.h) */
	uint32_t events;		/* 1: one object; more: one per line */
	const char *id;			/* message-id */
	bool redo;			/* may have been sent before: its events are suspect */
	int64_t suspect_ms;		/* see bus_message; 0: not */
	const struct bus_header *headers;	/* at most BUS_HEADERS */
	size_t header_count;
	const char *more;		/* a JSON object of further headers; NULL: none */
	void *user;
	/* Not written after this time (boot clock); NULL: always. Any thread may change it; outlives the answer. */
	const _Atomic int64_t *until_ms;
};

enum bus_fate {
	BUS_CONFIRMED,
	BUS_RETURNED,		/* no queue takes it; nothing was kept */
	BUS_NACKED,		/* the broker could not keep it */
	BUS_UNCLEAR,		/* was sent, but the connection ended first: send it again as redo */
	BUS_UNSENT		/* until_ms had passed; certainly not sent */
};
/* From the loop; never from inside a bus_* function. user: the message's. reason: borrowed, or NULL. */
typedef void bus_published_fn(void *user, void *message_user, enum bus_fate fate, const char *reason);

struct bus_publisher_options {
	const char *name;			/* for the broker's operator; copied */
	const struct bus_queue *queues;		/* declared before anything is sent; copied */
	size_t queue_count;
	size_t window;				/* messages sent, not confirmed (0 = 1,000) */
	bus_published_fn *published;
	void *user;
};
struct bus_publisher_stats {
	uint64_t confirmed, returned, nacked, unclear;
	size_t waiting;			/* given, not answered */
	bool connected;
	bool blocked;			/* the broker takes nothing at present */
};

/*
 * An exchange and a key as one text, which tells an outbox row where to go; a
 * row that was written for a direct: reader has its queue's name instead, which
 * has no slash. Texts are borrowed or in the arena.
 */
const char *bus_address(struct arena *arena, const char *exchange, const char *key);
struct bus_place {
	const char *exchange, *key;
	bool queue;			/* it was a queue's name: published to the queue itself */
};
struct bus_place bus_address_read(struct arena *arena, const char *text);

/* 0, or -1 and err when no driver takes the URL. Opens nothing. */
int bus_check_url(const char *url, struct error *err);
/* Whether the URL's bus has publishers (it has, where it is a broker). */
bool bus_publishes(const char *url);
/* Connects in the background, for ever. NULL and err when the URL is wrong. */
struct bus_publisher *bus_publisher_open(struct loop *loop, const char *url,
					 const struct bus_publisher_options *options, struct error *err);
/* Queued without bound: the caller counts what is not answered. */
void bus_publish(struct bus_publisher *publisher, const struct bus_outgoing *messages, size_t count);
void bus_publisher_stats(const struct bus_publisher *publisher, struct bus_publisher_stats *stats_r);
/* What is not answered is not answered any more. Takes two seconds at most. NULL tolerated. */
void bus_publisher_close(struct bus_publisher **publisher);

/*
 * --- dead letters, for operators ---
 *
 * Every function blocks; no loop is needed. A letter is in its place, or in
 * the queue it was meant for, or for a moment in both, but never in neither:
 * whoever is killed in between loses none. What is sent again comes marked
 * suspect and as letter, so that nothing doubles.
 */
struct bus_letters;
struct store_sync;

struct bus_parked {			/* a letter as it lies there; repeats of it are one */
	const char *id;			/* names it to the functions below */
	const char *queue;
	const char *code, *reason;	/* "" when not known, as the times */
	const char *first, *last;	/* "YYYY-MM-DD HH:MM:SS.mmm" UTC: when it became one first, and last */
	int64_t count;			/* how often it became one */
	const char *payload;		/* NULL when it was not asked for */
	size_t len;			/* known anyway */
	const char *headers;		/* of the message it came in, as bus_message has them; NULL: none */
};

struct bus_letters_filter {
	const char *queue;		/* NULL: every queue */
	const char *const *ids;		/* only these; */
	size_t id_count;		/* 0: all */
	bool *found;			/* set for each id that is there; cleared by the caller; NULL when there are no ids */
	size_t limit;			/* so many at most; 0: all */
	bool payload;			/* read the payloads too */
};

enum bus_letters_action {
	BUS_REPLAY,		/* send them again, in the order they came */
	BUS_DROP		/* delete them for good */
};
typedef void bus_progress_fn(void *user, size_t done, size_t total);

/*
 * store: where direct: keeps letters (borrowed). Beside a broker it may hold
 * letters too, of what was never sent there or stems from before; they come
 * first. NULL: only the broker's. queues: whose letters a broker is asked for
 * where a filter names none (copied).
 */
struct bus_letters *bus_letters_open(const char *url, struct store_sync *store, const char *const *queues,
				     size_t queue_count, struct error *err);
/* Whether there is a place for letters of this queue: 1 or 0, or -1. */
int bus_letters_has_queue(struct bus_letters *letters, const char *queue, struct error *err);
/*
 * Reads letters of each queue in the order they came; texts in the arena. *more_r:
 * there are more, or, where repeats lie apart, some may not have been looked at.
 */
int bus_letters_read(struct bus_letters *letters, const struct bus_letters_filter *filter, struct arena *arena,
		     struct bus_parked **rows_r, size_t *count_r, bool *more_r, struct error *err);
/*
 * Does it to those that are there when it begins. *done_r: how many, with an
 * error too; repeats of one letter may count more than once. progress may be NULL.
 */
int bus_letters_change(struct bus_letters *letters, enum bus_letters_action action,
		       const struct bus_letters_filter *filter, bus_progress_fn *progress, void *user,
		       size_t *done_r, struct error *err);
void bus_letters_close(struct bus_letters **letters);	/* NULL tolerated */

#endif
