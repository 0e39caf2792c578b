/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver redis:. A request becomes one EVALSHA; so many are in flight at
 * once, the others wait for their place or for a connection. A request whose
 * answer does not come in time takes the connection down with it: hiredis
 * knows no time-outs, and after a hang nothing that comes could be trusted to
 * come soon. What the server did with it then is not known; it counts as used
 * there, and was not granted here. Loop thread.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "limit/driver.h"
#include "limit/redis.h"
#include "log/log.h"

#define MARKER "{sluice:limits}"	/* the braces: all keys in one slot of a cluster */
#define FALLBACK_NAME "limits.away"
#define SEEN_NAME "limits.seen"
#define SENDS_MAX 4			/* of one request, when the server forgets the script */
#define ARGS_MAX (3 + 1 + 5 + LIMIT_ITEMS_MAX * (3 + 2 * LIMIT_WINDOWS_MAX))
#define NUMBER_SIZE 24

struct redis {
	struct limiter base;
	struct arena *arena;		/* target */
	struct redis_target target;
	struct redis_conn conn;
	struct list waiting, sent;	/* in the order of their deadlines */
	size_t waiting_count, sent_count;
	struct loop_timer *timer;	/* the earliest deadline */
	int64_t away_since_ms;		/* 0: connected */
	bool known;			/* this node has seen the store before */
	bool first;			/* nothing was answered yet */
	int64_t since_us;
	/* LIMIT_ON_ERROR_LOCAL */
	struct limiter *fallback;	/* NULL: nobody goes while the store is away */
	bool on_its_own;		/* the fallback is in use */
	bool untold;			/* it was, and the store does not know */
};

/* --- whether this node has seen the store before --- */

static void seen_path(const struct redis *redis, struct buf *path)
{
	buf_init(path);
	buf_printf(path, "%s/%s", redis->base.options.state, SEEN_NAME);
}

static bool was_seen(const struct redis *redis)
{
	struct buf path;
	bool seen;

	if (redis->base.options.state == NULL)
		return false;
	seen_path(redis, &path);
	seen = access(path.data, F_OK) == 0;
	buf_fini(&path);
	return seen;
}

static void remember(struct redis *redis)
{
	struct buf path;
	int fd;

	if (redis->known)
		return;
	redis->known = true;
	if (redis->base.options.state == NULL)
		return;
	seen_path(redis, &path);
	fd = open(path.data, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		log_warning("limits: cannot write file=\"%s\": %s", path.data, strerror(errno));
	else
		close(fd);
	buf_fini(&path);
}

/* --- while it is away --- */

/* So many nodes share N/T: each has its part of N; of less than one, one in a longer time. */
static void scale(struct limit_request *request, double share)
{
	for (size_t i = 0; i < request->count; i++) {
		for (size_t k = 0; k < request->parts[i].rule_count; k++) {
			struct limit_rule *rule = &request->parts[i].rules[k];
			double count = (double)rule->count * share;

			if (count < 1)
				rule->period_us = (int64_t)((double)rule->period_us / count);
			rule->count = count < 1 ? 1 : (int64_t)count;
		}
	}
}

static bool is_affordable(const struct limit_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		if (!limit_part_fits(&request->parts[i]))
			return false;
	return true;
}

static bool is_long_away(const struct redis *redis)
{
	return redis->away_since_ms != 0 &&
	       loop_now_ms(redis->base.loop) - redis->away_since_ms >= redis->base.options.away_ms;
}

/* By the fallback; false: it has no say. */
static bool decide_alone(struct redis *redis, struct limit_request *request, struct limit_answer *answer)
{
	if (redis->fallback == NULL || !is_long_away(redis))
		return false;
	if (!redis->on_its_own) {
		log_warning("limits: Redis is away: this node goes on with its share, as if everything had "
			    "been used up "
			    "just now share=%g",
			    redis->base.options.share);
		limit_local_distrust(redis->fallback);
	}
	redis->on_its_own = redis->untold = true;
	scale(request, redis->base.options.share);
	if (!is_affordable(request))
		return false;
	limit_local_decide(redis->fallback, request, answer);
	answer->grant.on_its_own = true;
	return true;
}

/* The store cannot be asked, or gave no answer. */
static void answer_away(struct redis *redis, struct limit_request *request)
{
	struct limit_answer answer;
	bool decided = decide_alone(redis, request, &answer);

	if (request->op == LIMIT_TAKE) {
		if (!decided)
			answer = (struct limit_answer){.verdict = LIMIT_AWAY,
						       .wait_ms = redis_conn_patience_ms(&redis->conn)};
		limit_answer(request, &answer);
		return;
	}
	if (!decided || answer.verdict != LIMIT_GRANTED)
		redis->base.stats.dropped++;
	limit_request_free(request);
}

/* --- sending --- */

struct command {
	const char *argv[ARGS_MAX];
	size_t lengths[ARGS_MAX];
	int argc;
	char numbers[ARGS_MAX][NUMBER_SIZE];
	char keys[LIMIT_ITEMS_MAX][sizeof(MARKER) + 1 + LIMIT_KEY_SIZE];
};

static void add_text(struct command *command, const char *text)
{
	assert(command->argc < ARGS_MAX);
	command->argv[command->argc] = text;
	command->lengths[command->argc++] = strlen(text);
}

static void add_number(struct command *command, int64_t number)
{
	char *text = command->numbers[command->argc];

	str_format(text, NUMBER_SIZE, "%" PRId64, number);
	add_text(command, text);
}

static void add_parts(struct command *command, const struct limit_request *request)
{
	if (request->op != LIMIT_TAKE)
		add_number(command, request->grant.taken_us);
	for (size_t i = 0; i < request->count; i++) {
		const struct limit_part *part = &request->parts[i];

		add_number(command, part->cost);
		if (request->op != LIMIT_TAKE)
			continue;
		add_number(command, (int64_t)part->rule_count);
		for (size_t k = 0; k < part->rule_count; k++) {
			add_number(command, part->rules[k].count);
			add_number(command, part->rules[k].period_us);
		}
	}
}

static void build(const struct redis *redis, const struct limit_request *request, struct command *command)
{
	static const char *const ops[] = {"take", "refund", "move", "lower"};

	command->argc = 0;
	add_text(command, "EVALSHA");
	add_text(command, redis->conn.sha);
	add_number(command, (int64_t)request->count + 1);
	add_text(command, MARKER);
	for (size_t i = 0; i < request->count; i++) {
		str_format(command->keys[i], sizeof(command->keys[i]), MARKER ":%s", request->parts[i].key);
		add_text(command, command->keys[i]);
	}
	add_text(command, ops[request->op]);
	if (request->now_us != 0)
		add_number(command, request->now_us);
	else
		add_text(command, "");
	add_text(command, redis->conn.run);
	add_text(command, redis->known ? "1" : "0");
	add_text(command, request->distrust ? "1" : "0");
	if (request->op != LIMIT_LOWER) {
		add_parts(command, request);
		return;
	}
	add_number(command, request->park_ms * 1000);
	add_number(command, request->left);
	add_number(command, request->left_ms * 1000);
}

static void on_reply(redisAsyncContext *context, void *reply, void *user);

static void send_one(struct redis *redis, struct limit_request *request)
{
	struct command command;

	request->distrust = redis->untold;
	request->tries++;
	build(redis, request, &command);
	redis_conn_send(&redis->conn, on_reply, request, command.argc, command.argv, command.lengths);
}

static void arm(struct redis *redis)
{
	int64_t soonest = INT64_MAX;

	if (!list_empty(&redis->sent))
		soonest = list_entry(redis->sent.next, struct limit_request, node)->deadline_ms;
	if (!list_empty(&redis->waiting) &&
	    list_entry(redis->waiting.next, struct limit_request, node)->deadline_ms < soonest)
		soonest = list_entry(redis->waiting.next, struct limit_request, node)->deadline_ms;
	if (soonest == INT64_MAX)
		loop_timer_stop(redis->timer);
	else if (!loop_timer_active(redis->timer))	/* else it fires earlier, and arms again */
		loop_timer_start(redis->timer, soonest - loop_now_ms(redis->base.loop), 0);
}

static void pump(struct redis *redis)
{
	while (redis->conn.phase == REDIS_READY && redis->conn.context != NULL &&
	       !list_empty(&redis->waiting) && redis->sent_count < redis->base.options.in_flight) {
		struct limit_request *request = list_entry(redis->waiting.next, struct limit_request, node);

		list_remove(&request->node);
		list_append(&redis->sent, &request->node);
		redis->waiting_count--;
		redis->sent_count++;
		send_one(redis, request);
	}
	arm(redis);
}

static void redis_request(struct limiter *limiter, struct limit_request *request)
{
	struct redis *redis = (struct redis *)limiter;

	if ((request->op == LIMIT_REFUND || request->op == LIMIT_MOVE) && request->grant.on_its_own) {
		struct limit_answer answer;

		if (redis->fallback != NULL)
			limit_local_decide(redis->fallback, request, &answer);
		limit_request_free(request);
		return;
	}
	if (is_long_away(redis) || redis->waiting_count >= limiter->options.pending) {
		answer_away(redis, request);
		return;
	}
	request->deadline_ms = loop_now_ms(limiter->loop) + limiter->options.timeout_ms;
	list_append(&redis->waiting, &request->node);
	redis->waiting_count++;
	pump(redis);
}

/* --- answers --- */

static void sent_is_over(struct redis *redis, struct limit_request *request)
{
	list_remove(&request->node);
	redis->sent_count--;
}

/* The store says since when it is complete. */
static void look_at_since(struct redis *redis, const struct limit_request *request, int64_t now_us,
			  int64_t since_us)
{
	bool fresh = since_us > 0 && now_us - since_us < 1000000;

	if (redis->first ? fresh : since_us != redis->since_us) {
		redis->base.stats.lost++;
		log_warning("limits: %s: everything counts as used up at that moment server=%s",
			    request->distrust ? "nodes had gone on without Redis"
					      : "Redis was restarted or lost its data",
			    redis->target.shown);
	}
	redis->first = false;
	redis->since_us = since_us;
	if (request->distrust)
		redis->untold = false;
}

static bool is_answer(const redisReply *reply, const struct limit_request *request)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3)
		return false;
	for (size_t i = 0; i < reply->elements; i++)
		if (reply->element[i]->type != REDIS_REPLY_INTEGER)
			return false;
	return reply->element[0]->integer == 1 || reply->elements == 3 + request->count;
}

static void read_answer(const redisReply *reply, const struct limit_request *request,
			struct limit_answer *answer)
{
	int64_t waits_us[LIMIT_ITEMS_MAX];

	if (reply->element[0]->integer == 1) {
		*answer = (struct limit_answer){.verdict = LIMIT_GRANTED,
						.grant.taken_us = reply->element[1]->integer};
		return;
	}
	for (size_t i = 0; i < request->count; i++)
		waits_us[i] = reply->element[3 + i]->integer;
	limit_refuse(waits_us, request->count, answer);
}

static void on_error_reply(struct redis *redis, struct limit_request *request, const char *text)
{
	if (str_starts(text, "NOSCRIPT") && request->tries < SENDS_MAX) {
		redis_conn_load_again(&redis->conn);
		send_one(redis, request);
		return;
	}
	/* A replica, a server that is loading or full: maybe better the next time. */
	redis_conn_cut(&redis->conn, text);
}

static void on_reply(redisAsyncContext *context, void *data, void *user)
{
	struct redis_conn *conn = context->data;
	const redisReply *reply = data;
	struct limit_request *request = user;
	struct redis *redis;
	struct limit_answer answer;

	/* Without a connection it is on_lost that answers. */
	if (reply == NULL || conn->context != context)
		return;
	redis = conn->user;
	if (reply->type == REDIS_REPLY_ERROR) {
		on_error_reply(redis, request, reply->str);
		return;
	}
	if (!is_answer(reply, request)) {
		redis_conn_cut(conn, "an answer of an unexpected kind");
		return;
	}
	redis_conn_worked(conn);
	remember(redis);
	look_at_since(redis, request, reply->element[1]->integer, reply->element[2]->integer);
	sent_is_over(redis, request);
	if (request->op == LIMIT_TAKE) {
		read_answer(reply, request, &answer);
		limit_answer(request, &answer);
	} else {
		limit_request_free(request);
	}
	pump(redis);
}

/* --- the connection comes and goes --- */

/* First of all, and also when nobody has anything to ask: another process may. */
static void tell_the_store(struct redis *redis)
{
	struct limit_request *request = mem_alloc(sizeof(*request));

	request->limiter = &redis->base;
	request->op = LIMIT_LOWER;	/* of no key */
	request->left = -1;
	request->deadline_ms = loop_now_ms(redis->base.loop) + redis->base.options.timeout_ms;
	list_append(redis->waiting.next, &request->node);
	redis->waiting_count++;
}

static void on_ready(void *user)
{
	struct redis *redis = user;

	if (redis->untold)
		tell_the_store(redis);
	redis->base.stats.connects++;
	redis->base.stats.away_now = false;
	redis->away_since_ms = 0;
	redis->on_its_own = false;
	pump(redis);
}

static void on_lost(void *user)
{
	struct redis *redis = user;

	redis->base.stats.away_now = true;
	if (redis->away_since_ms == 0)
		redis->away_since_ms = loop_now_ms(redis->base.loop);
	while (!list_empty(&redis->sent)) {
		struct limit_request *request = list_entry(redis->sent.next, struct limit_request, node);

		sent_is_over(redis, request);
		answer_away(redis, request);
	}
	arm(redis);
}

static void on_timer(void *user)
{
	struct redis *redis = user;
	int64_t now = loop_now_ms(redis->base.loop);

	while (!list_empty(&redis->waiting)) {
		struct limit_request *request = list_entry(redis->waiting.next, struct limit_request, node);

		if (request->deadline_ms > now)
			break;
		list_remove(&request->node);
		redis->waiting_count--;
		answer_away(redis, request);
	}
	if (!list_empty(&redis->sent) &&
	    list_entry(redis->sent.next, struct limit_request, node)->deadline_ms <= now)
		redis_conn_cut(&redis->conn, "no answer in time");
	arm(redis);
}

static void redis_close(struct limiter *limiter)
{
	struct redis *redis = (struct redis *)limiter;

	redis_conn_close(&redis->conn);
	limit_requests_free(&redis->waiting);
	limit_requests_free(&redis->sent);
	loop_timer_free(&redis->timer);
	limit_close(&redis->fallback);
	arena_free(&redis->arena);
	limit_fini(limiter);
	mem_release(redis);
}

static int open_fallback(struct redis *redis, struct error *err)
{
	if (redis->base.options.on_error != LIMIT_ON_ERROR_LOCAL)
		return 0;
	redis->fallback = limit_local_open(redis->base.loop, FALLBACK_NAME, &redis->base.options, err);
	return redis->fallback != NULL ? 0 : -1;
}

static struct limiter *redis_open(struct loop *loop, const char *scheme, const char *rest,
				  const struct limit_options *options, struct error *err)
{
	struct redis *redis = mem_alloc(sizeof(*redis));

	limit_init(&redis->base, &limit_redis_ops, loop, options);
	redis->arena = arena_new();
	if (redis_url_parse(rest, str_eq(scheme, "redis+unix"), redis->arena, &redis->target, err) < 0 ||
	    open_fallback(redis, err) < 0) {
		arena_free(&redis->arena);
		limit_fini(&redis->base);
		mem_release(redis);
		return NULL;
	}
	list_init(&redis->waiting);
	list_init(&redis->sent);
	redis->timer = loop_timer_new(loop, on_timer, redis);
	redis->known = was_seen(redis);
	redis->first = true;
	redis->away_since_ms = loop_now_ms(loop);
	redis->base.stats.away_now = true;
	redis->conn = (struct redis_conn){.loop = loop, .target = &redis->target, .user = redis,
					  .timeout_ms = redis->base.options.timeout_ms, .on_ready = on_ready,
					  .on_lost = on_lost};
	redis_conn_open(&redis->conn);
	return &redis->base;
}

static int redis_check(const char *scheme, const char *rest, struct error *err)
{
	struct arena *arena = arena_new();
	struct redis_target target;
	int status = redis_url_parse(rest, str_eq(scheme, "redis+unix"), arena, &target, err);

	arena_free(&arena);
	return status;
}

const struct limit_ops limit_redis_ops = {redis_check, redis_open, redis_request, redis_close};
