/* SPDX-License-Identifier: Apache-2.0 */
/* The types of credentials, rates, outcomes and failures in flows.yaml: check, store, write, read. No state. */
#include <string.h>

#include "base/arena.h"
#include "base/num.h"
#include "base/rate.h"
#include "base/str.h"
#include "conf/keys.h"
#include "json/json.h"
#include "json/jwrite.h"

#define WINDOWS_MAX 6		/* of one list: what a limiter's key can hold; a burst is one more */

/* False after reporting. */
static bool check_rate(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
		       const char *what, size_t *windows)
{
	struct rate rate;

	if (rate_parse(node->text, &rate) == 0) {
		*windows += rate.burst > 0 ? 2 : 1;
		return true;
	}
	conf_complain(walk, node, key, "must %s limits such as 100/30s or \"100/30s burst 10\", not %s", what,
		      conf_show(walk, node, key));
	return false;
}

/* --- a list of rates --- */

static void limits_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	size_t windows = 0;

	conf_texts.fill(walk, node, key, base);
	for (const struct conf_node *child = node->first; node->kind == CONF_SEQUENCE && child != NULL;
	     child = child->next)
		if (child->kind == CONF_SCALAR && !child->bad && *child->text != '\0')
			check_rate(walk, child, key, "hold", &windows);
	if (windows > WINDOWS_MAX)
		conf_complain(walk, node, key, "more than %d limits (one with a burst counts as two)", WINDOWS_MAX);
}

const struct conf_type conf_limits = {"limits", "a list of limits", limits_fill, conf_texts_write,
				      conf_texts_read};

/* --- name -> text --- */

/* A credential: name -> text. Every value is a secret. */
static void pairs_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	struct conf_pair *pairs;
	size_t count = 0;

	if (node->kind != CONF_MAPPING) {
		if (!conf_is_null(node))
			conf_complain(walk, node, key, "must be a mapping such as {token: !file token}, not %s",
				      conf_show(walk, node, key));
		return;
	}
	pairs = arena_alloc(walk->arena, node->count * sizeof(*pairs));
	for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
		if (child->bad)
			continue;
		if (child->kind != CONF_SCALAR || conf_is_null(child) || *child->text == '\0') {
			conf_complain(walk, child, key, "\"%.64s\" must be a text that is not empty", child->key);
			continue;
		}
		pairs[count].name = arena_strdup(walk->arena, child->key);
		pairs[count++].value = arena_strdup(walk->arena, child->text);
	}
	conf_list_store(key, base, pairs, count);
}

static void pairs_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	const struct conf_pair *pairs = conf_list_items(key, base);

	jwrite_object(w, key->name);
	for (size_t i = 0; i < conf_list_count(key, base); i++)
		jwrite_string(w, pairs[i].name, pairs[i].value);
	jwrite_end(w);
}

static int pairs_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		      struct error *err)
{
	struct conf_pair *pairs = arena_alloc(arena, json_count(value) * sizeof(*pairs));
	size_t count = 0;

	for (const struct json *child = json_first(value); child != NULL; child = json_next(child)) {
		if (json_string(child, NULL) == NULL || json_name(child) == NULL)
			return error_set(err, ERR_INPUT, "%s: not a mapping of texts", key->name);
		pairs[count].name = arena_strdup(arena, json_name(child));
		pairs[count++].value = arena_strdup(arena, json_string(child, NULL));
	}
	conf_list_store(key, base, pairs, count);
	return 0;
}

const struct conf_type conf_pairs = {"mapping", "a mapping of texts", pairs_fill, pairs_write, pairs_read};

/* --- parameter -> rate --- */

static void items_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	struct conf_pair *items;
	size_t count = 0, windows = 0;

	if (node->kind != CONF_MAPPING) {
		if (!conf_is_null(node))
			conf_complain(walk, node, key, "must be a mapping such as {handle: 1/s}, not %s",
				      conf_show(walk, node, key));
		return;
	}
	if (node->count > CONF_ITEMS_MAX) {
		conf_complain(walk, node, key, "more than %d parameters", CONF_ITEMS_MAX);
		return;
	}
	items = arena_alloc(walk->arena, node->count * sizeof(*items));
	for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
		if (child->bad)
			continue;
		if (child->kind != CONF_SCALAR)
			conf_complain(walk, child, key, "\"%.64s\" must be one limit such as 1/s", child->key);
		else if (check_rate(walk, child, key, "be", &windows))
			items[count++] = (struct conf_pair){arena_strdup(walk->arena, child->key),
							    arena_strdup(walk->arena, child->text)};
	}
	conf_list_store(key, base, items, count);
}

const struct conf_type conf_items = {"mapping", "a mapping of parameters to limits", items_fill, pairs_write,
				     pairs_read};

/* --- a set of outcomes: an unsigned int of enum conf_outcome --- */

static const char *const outcome_words[] = {"retry", "limit", "auth", "gone", "fail", NULL};
#define OUTCOMES (sizeof(outcome_words) / sizeof(outcome_words[0]) - 1)

static unsigned int outcome_bit(const char *word)
{
	for (size_t i = 0; i < OUTCOMES; i++)
		if (str_eq(word, outcome_words[i]))
			return 1U << i;
	return 0;
}

static void outcomes_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	unsigned int set = CONF_OUTCOMES_GIVEN;

	if (node->kind != CONF_SEQUENCE) {
		conf_complain(walk, node, key, "must be a list such as [retry, limit], not %s",
			      conf_show(walk, node, key));
		return;
	}
	for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
		unsigned int bit = child->kind == CONF_SCALAR ? outcome_bit(child->text) : 0;

		if (bit == 0 && !child->bad)
			conf_complain(walk, child, key, "must hold retry, limit, auth, gone or fail, not %s%s",
				      conf_show(walk, child, key),
				      child->kind == CONF_SCALAR
					      ? conf_nearest(walk, child->text, outcome_words, OUTCOMES)
					      : "");
		set |= bit;
	}
	*(unsigned int *)conf_field(base, key->offset) = set;
}

static void outcomes_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_int(w, key->name, *(const unsigned int *)conf_field_of(base, key->offset));
}

static int outcomes_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
			 struct error *err)
{
	int64_t set;

	(void)arena;
	if (!json_int(value, &set))
		return error_set(err, ERR_INPUT, "%s: not a set of outcomes", key->name);
	*(unsigned int *)conf_field(base, key->offset) = (unsigned int)set;
	return 0;
}

const struct conf_type conf_outcomes = {"list", "a list of outcomes", outcomes_fill, outcomes_write, outcomes_read};

/* --- so many failures within so long: a struct conf_skip --- */

#define BLANKS " \t"
#define FAILURES_MAX 1000
#define PERIOD_MIN_MS ((int64_t)60000)
#define PERIOD_MAX_MS ((int64_t)3650 * 86400000)

/* "3 failures / 180d" */
static int skip_parse(const char *text, int64_t *failures_r, int64_t *period_ms_r)
{
	size_t digits = strspn(text, "0123456789");
	char count[16];

	if (digits == 0 || !str_format(count, sizeof(count), "%.*s", (int)digits, text) ||
	    num_parse_int(count, failures_r) < 0)
		return -1;
	text += digits + strspn(text + digits, BLANKS);
	if (!str_starts(text, "failure"))
		return -1;
	text += strlen("failure");
	text += *text == 's';
	text += strspn(text, BLANKS);
	if (*text != '/')
		return -1;
	return num_parse_duration(text + 1 + strspn(text + 1, BLANKS), period_ms_r);
}

static void skip_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);
	struct conf_skip *skip = conf_field(base, key->offset);
	int64_t failures, period_ms;

	if (text == NULL)
		return;
	if (skip_parse(text, &failures, &period_ms) < 0) {
		conf_complain(walk, node, key, "must be %s, not %s", key->type->what, conf_show(walk, node, key));
		return;
	}
	if (failures < 1 || failures > FAILURES_MAX)
		conf_complain(walk, node, key, "must be 1 to %d failures, not %s", FAILURES_MAX,
			      conf_show(walk, node, key));
	else if (period_ms < PERIOD_MIN_MS || period_ms > PERIOD_MAX_MS)
		conf_complain(walk, node, key, "must be within 1m to 3650d, not %s", conf_show(walk, node, key));
	else
		*skip = (struct conf_skip){(int)failures, period_ms};
}

static void skip_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	const struct conf_skip *skip = conf_field_of(base, key->offset);

	jwrite_object(w, key->name);
	jwrite_int(w, "failures", skip->failures);
	jwrite_int(w, "period_ms", skip->period_ms);
	jwrite_end(w);
}

static int skip_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		     struct error *err)
{
	struct conf_skip *skip = conf_field(base, key->offset);
	int64_t failures;

	(void)arena;
	if (!json_int(json_member(value, "failures"), &failures) ||
	    !json_int(json_member(value, "period_ms"), &skip->period_ms))
		return error_set(err, ERR_INPUT, "%s: not failures and a period", key->name);
	skip->failures = (int)failures;
	return 0;
}

const struct conf_type conf_skip = {"failures", "failures within a time such as \"3 failures / 180d\"", skip_fill,
				    skip_write, skip_read};
