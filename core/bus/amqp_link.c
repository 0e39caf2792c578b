/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that owns a connection, and what happens to it between two
 * connections. What is marked "the thread" in amqp.h runs there, the rest on
 * the thread of the loop.
 */
#include "bus/amqp.h"

#include <assert.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "log/log.h"

#define RETRY_FIRST_MS 100
#define RETRY_CAP_MS 10000
#define LOG_MS 10000
#define POLITE_MS 2500

int amqp_link_init(struct amqp_link *link, const char *url, const char *name, struct error *err)
{
	assert(str_starts(url, "amqps:") || str_starts(url, "amqp:"));
	link->arena = arena_new();
	if (amqp_url_parse(url, link->arena, &link->url, err) < 0) {
		arena_free(&link->arena);
		return error_prefix(err, "bus");
	}
	str_format(link->name, sizeof(link->name), "%s", name);
	amqp_conn_init(&link->conn, &link->url, link->name);
	backoff_init(&link->backoff, RETRY_FIRST_MS, RETRY_CAP_MS);
	link->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert(link->wake >= 0);
	sem_init(&link->ended, 0, 0);
	return 0;
}

static void run(struct loop_job *job, struct loop_thread *thread)
{
	struct amqp_link *link = (struct amqp_link *)((char *)job - offsetof(struct amqp_link, job));

	(void)thread;
	link->body(link);
	amqp_conn_close(&link->conn);
	sem_post(&link->ended);
}

void amqp_link_start(struct amqp_link *link, struct loop *loop, void (*body)(struct amqp_link *link))
{
	link->body = body;
	link->job.run = run;
	link->thread = loop_thread_new(loop, "amqp");
	loop_thread_submit(link->thread, &link->job);
}

void amqp_link_wake(struct amqp_link *link)
{
	uint64_t one = 1;

	/* Full means that it is awake. */
	if (write(link->wake, &one, sizeof(one)) < 0)
		return;
}

void amqp_link_fini(struct amqp_link *link)
{
	struct timespec end;

	atomic_store(&link->stop, true);
	amqp_link_wake(link);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += POLITE_MS / 1000;
	end.tv_nsec += POLITE_MS % 1000 * 1000000L;
	if (end.tv_nsec >= 1000000000L) {
		end.tv_nsec -= 1000000000L;
		end.tv_sec++;
	}
	if (link->thread != NULL && sem_timedwait(&link->ended, &end) < 0)
		amqp_conn_cut(&link->conn);
	loop_thread_free(&link->thread);
	amqp_conn_fini(&link->conn);
	sem_destroy(&link->ended);
	close(link->wake);
	arena_free(&link->arena);
}

static void complain(struct amqp_link *link, const char *what, const struct error *err)
{
	int64_t now = clock_mono_ms();

	if (link->down_since_ms == 0)
		link->down_since_ms = now;
	link->retry_ms = now + backoff_next(&link->backoff);
	if (atomic_load(&link->stop))
		return;
	if (err->code == ERR_INPUT && log_limited(&link->log_state, LOG_MS))
		log_error("%s connection=\"%s\": %s", what, link->name, err->text);
	else if (log_limited(&link->log_state, LOG_MS))
		log_warning("%s connection=\"%s\": %s", what, link->name, err->text);
}

bool amqp_link_connect(struct amqp_link *link, int (*setup)(struct amqp_link *link, struct error *err))
{
	struct error err = {.code = ERR_NONE};

	if (link->conn.state != NULL)
		return true;
	if (clock_mono_ms() < link->retry_ms || atomic_load(&link->stop))
		return false;
	if (amqp_conn_open(&link->conn, &err) < 0 || setup(link, &err) < 0) {
		amqp_conn_close(&link->conn);
		complain(link, "no connection to the broker", &err);
		return false;
	}
	if (link->down_since_ms != 0)
		log_info("connected to the broker again connection=\"%s\" after_ms=%lld", link->name,
			 (long long)(clock_mono_ms() - link->down_since_ms));
	link->down_since_ms = 0;
	link->log_state = 0;
	backoff_reset(&link->backoff);
	return true;
}

void amqp_link_lost(struct amqp_link *link, const struct error *err)
{
	amqp_conn_close(&link->conn);
	complain(link, "the connection to the broker is lost", err);
}

int amqp_link_patience_ms(const struct amqp_link *link)
{
	int64_t wait = link->retry_ms - clock_mono_ms();

	return wait < 0 ? 0 : wait > 1000 ? 1000 : (int)wait;
}
