/* SPDX-License-Identifier: Apache-2.0 */
/* The limiter's front: finds the driver, copies requests, answers through the loop. Loop thread. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/scheme.h"
#include "base/str.h"
#include "base/uuid.h"
#include "limit/driver.h"
#include "loop/loop.h"
#include "metrics/metrics.h"

#define TIMEOUT_MS 2000
#define AWAY_MS 5000
#define IN_FLIGHT 256
#define PENDING 4096
#define SLOTS 8192

#define LIMITER_CHECK(limiter) assert((limiter) != NULL && (limiter)->magic == LIMIT_MAGIC)

static const struct driver {
	const char *scheme;
	const struct limit_ops *ops;
} drivers[] = {
	{"local", &limit_local_ops},
#ifdef HAVE_REDIS
	{"redis", &limit_redis_ops},
	{"redis+unix", &limit_redis_ops},
#endif
};
#define DRIVERS (sizeof(drivers) / sizeof(drivers[0]))

static const struct driver *find_driver(const char *url, struct error *err)
{
	if (!str_starts(url, "rediss:"))
		return scheme_find(drivers, DRIVERS, sizeof(drivers[0]), url, "limits", err);
	error_set(err, ERR_INPUT, "rediss: cannot be had, the Redis client library has no TLS: use redis: through "
		  "a tunnel, or redis+unix:");
	return NULL;
}

int limit_check_url(const char *url, struct error *err)
{
	const struct driver *driver = find_driver(url, err);

	return driver == NULL ? -1 : driver->ops->check(driver->scheme, scheme_rest(url), err);
}

struct limiter *limit_open(struct loop *loop, const char *url, const struct limit_options *options,
			   struct error *err)
{
	const struct driver *driver = find_driver(url, err);
	struct limiter *limiter;

	if (driver == NULL)
		return NULL;
	limiter = driver->ops->open(loop, driver->scheme, scheme_rest(url), options, err);
	if (limiter == NULL)
		error_prefix(err, "limits");
	return limiter;
}

void limit_close(struct limiter **limiter)
{
	if (*limiter == NULL)
		return;
	LIMITER_CHECK(*limiter);
	(*limiter)->ops->close(*limiter);
	*limiter = NULL;
}

/* --- answers --- */

static void deliver(struct limit_request *request)
{
	struct limiter *limiter = request->limiter;
	struct limit_answer answer = request->answer;
	limit_answer_fn *fn = request->fn;
	void *user = request->user;

	if (fn == NULL && answer.verdict == LIMIT_GRANTED) {
		request->op = LIMIT_REFUND;
		request->grant = answer.grant;
		limiter->ops->request(limiter, request);
		return;
	}
	limit_request_free(request);
	if (fn != NULL)
		fn(user, &answer);
}

static void on_flush(void *user, void *item)
{
	struct limiter *limiter = user;
	struct list due;
	bool closed = false;

	(void)item;
	limiter->flushing = false;
	limiter->closed = &closed;
	/* What is answered meanwhile waits for the next turn. */
	list_init(&due);
	list_move(&due, &limiter->ready);
	while (!list_empty(&due)) {
		struct limit_request *request = list_entry(due.next, struct limit_request, node);

		list_remove(&request->node);
		if (closed)
			limit_request_free(request);
		else
			deliver(request);
	}
	if (!closed)
		limiter->closed = NULL;
}

static void count_answer(struct limiter *limiter, const struct limit_answer *answer)
{
	switch (answer->verdict) {
	case LIMIT_GRANTED:
		limiter->stats.granted++;
		metric_add(METRIC_LIMIT_GRANTED, 1);
		return;
	case LIMIT_WAIT:
		limiter->stats.refused++;
		metric_add(METRIC_LIMIT_REFUSED, 1);
		return;
	case LIMIT_AWAY:
		limiter->stats.away++;
		break;
	case LIMIT_FULL:
		limiter->stats.full++;
		break;
	case LIMIT_NEVER:
	default:
		limiter->stats.never++;
		break;
	}
	metric_add(METRIC_LIMIT_ERRORS, 1);
}

void limit_answer(struct limit_request *request, const struct limit_answer *answer)
{
	struct limiter *limiter = request->limiter;

	assert(request->op == LIMIT_TAKE);
	request->answer = *answer;
	count_answer(limiter, answer);
	list_append(&limiter->ready, &request->node);
	if (!limiter->flushing)
		loop_queue_post(limiter->flush, limiter);
	limiter->flushing = true;
}

int64_t limit_wait_ms(int64_t wait_us)
{
	return wait_us <= 1000 ? 1 : (wait_us + 999) / 1000;
}

void limit_refuse(const int64_t *waits_us, size_t count, struct limit_answer *answer_r)
{
	int64_t longest = 0;

	*answer_r = (struct limit_answer){.verdict = LIMIT_WAIT};
	for (size_t i = 0; i < count; i++) {
		if (waits_us[i] > 0)
			answer_r->refusing |= 1u << i;
		if (waits_us[i] > longest) {
			longest = waits_us[i];
			answer_r->slowest = i;
		}
	}
	answer_r->wait_ms = limit_wait_ms(longest);
}

/* --- what drivers share --- */

static void use_default(size_t *option, size_t value)
{
	if (*option == 0)
		*option = value;
}

void limit_init(struct limiter *limiter, const struct limit_ops *ops, struct loop *loop,
		const struct limit_options *options)
{
	limiter->magic = LIMIT_MAGIC;
	limiter->ops = ops;
	limiter->loop = loop;
	limiter->options = *options;
	limiter->state = options->state != NULL ? mem_strdup(options->state) : NULL;
	limiter->options.state = limiter->state;
	if (options->share <= 0 || options->share > 1)
		limiter->options.share = 1;
	if (options->timeout_ms <= 0)
		limiter->options.timeout_ms = TIMEOUT_MS;
	if (options->away_ms <= 0)
		limiter->options.away_ms = AWAY_MS;
	use_default(&limiter->options.in_flight, IN_FLIGHT);
	use_default(&limiter->options.pending, PENDING);
	use_default(&limiter->options.slots, SLOTS);
	list_init(&limiter->ready);
	limiter->flush = loop_queue_new(loop, on_flush, limiter, true);
}

void limit_fini(struct limiter *limiter)
{
	if (limiter->closed != NULL)
		*limiter->closed = true;
	limit_requests_free(&limiter->ready);
	loop_queue_free(&limiter->flush);
	mem_free(&limiter->state);
	limiter->magic = 0;
}

/* --- requests --- */

/* Long keys keep their beginning, for people, and end in their hash. */
static const char *copy_key(char *out, const char *key)
{
	size_t len = strlen(key);
	char hash[SHA256_TEXT_SIZE];

	if (len < LIMIT_KEY_SIZE)
		return memcpy(out, key, len + 1);
	str_format(out, LIMIT_KEY_SIZE, "%.*s~%s", LIMIT_KEY_SIZE - SHA256_TEXT_SIZE - 1, key,
		   sha256_hex(hash, key, len));
	return out;
}

/* The items, without their rates, in one block of memory. */
static struct limit_request *request_new(struct limiter *limiter, enum limit_op op,
					 const struct limit_item *items, size_t count)
{
	size_t size = sizeof(struct limit_request) + count * sizeof(struct limit_part);
	struct limit_request *request;
	char *keys;

	LIMITER_CHECK(limiter);
	assert(count <= LIMIT_ITEMS_MAX);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(items[i].key);

		assert(items[i].cost >= 1);
		size += (len < LIMIT_KEY_SIZE ? len : LIMIT_KEY_SIZE) + 1;
		for (size_t k = 0; k < i; k++)
			assert(!str_eq(items[k].key, items[i].key));
	}
	request = mem_alloc(size);
	request->limiter = limiter;
	request->op = op;
	request->count = count;
	if (limiter->options.now_us != NULL)
		request->now_us = limiter->options.now_us(limiter->options.now_user);
	list_init(&request->node);
	keys = (char *)(request->parts + count);
	for (size_t i = 0; i < count; i++) {
		request->parts[i].key = copy_key(keys, items[i].key);
		request->parts[i].cost = items[i].cost;
		keys += strlen(keys) + 1;
	}
	return request;
}

void limit_request_free(struct limit_request *request)
{
	mem_release(request);
}

void limit_requests_free(struct list *requests)
{
	while (!list_empty(requests)) {
		struct limit_request *request = list_entry(requests->next, struct limit_request, node);

		list_remove(&request->node);
		limit_request_free(request);
	}
}

bool limit_part_fits(const struct limit_part *part)
{
	for (size_t i = 0; i < part->rule_count; i++)
		if (part->cost > part->rules[i].count)
			return false;
	return true;
}

/* False: some item can never be granted; it is in *wrong_r. */
static bool fill_rules(struct limit_request *request, const struct limit_item *items, size_t *wrong_r)
{
	for (size_t i = 0; i < request->count; i++) {
		struct limit_part *part = &request->parts[i];

		*wrong_r = i;
		if (limit_rules(items[i].rates, items[i].rate_count, part->rules, &part->rule_count) < 0 ||
		    !limit_part_fits(part))
			return false;
	}
	return true;
}

struct limit_request *limit_take(struct limiter *limiter, const struct limit_item *items, size_t count,
				 limit_answer_fn *fn, void *user)
{
	struct limit_request *request = request_new(limiter, LIMIT_TAKE, items, count);
	struct limit_answer never = {.verdict = LIMIT_NEVER};

	request->fn = fn;
	request->user = user;
	if (fill_rules(request, items, &never.slowest))
		limiter->ops->request(limiter, request);
	else
		limit_answer(request, &never);
	return request;
}

void limit_cancel(struct limit_request **request)
{
	if (*request != NULL)
		(*request)->fn = NULL;
	*request = NULL;
}

static void change_grant(struct limiter *limiter, enum limit_op op, const struct limit_item *items, size_t count,
			 const struct limit_grant *grant)
{
	struct limit_request *request;

	if (count == 0)
		return;
	request = request_new(limiter, op, items, count);
	request->grant = *grant;
	limiter->ops->request(limiter, request);
}

void limit_refund(struct limiter *limiter, const struct limit_item *items, size_t count,
		  const struct limit_grant *grant)
{
	change_grant(limiter, LIMIT_REFUND, items, count, grant);
}

void limit_move(struct limiter *limiter, const struct limit_item *items, size_t count,
		const struct limit_grant *grant)
{
	change_grant(limiter, LIMIT_MOVE, items, count, grant);
}

static void lower(struct limiter *limiter, const char *key, int64_t park_ms, int64_t left, int64_t left_ms)
{
	const struct limit_item item = {.key = key, .cost = 1};
	struct limit_request *request = request_new(limiter, LIMIT_LOWER, &item, 1);

	request->park_ms = park_ms;
	request->left = left;
	request->left_ms = left_ms;
	limiter->ops->request(limiter, request);
}

void limit_park(struct limiter *limiter, const char *key, int64_t for_ms)
{
	if (for_ms > 0)
		lower(limiter, key, for_ms < RATE_PERIOD_MAX_MS ? for_ms : RATE_PERIOD_MAX_MS, -1, 0);
}

void limit_lower(struct limiter *limiter, const char *key, int64_t left, int64_t for_ms)
{
	if (for_ms > 0)
		lower(limiter, key, 0, left > 0 ? left : 0,
		      for_ms < RATE_PERIOD_MAX_MS ? for_ms : RATE_PERIOD_MAX_MS);
}

void limit_stats(const struct limiter *limiter, struct limit_stats *stats_r)
{
	LIMITER_CHECK(limiter);
	*stats_r = limiter->stats;
}
