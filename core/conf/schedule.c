/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flows.NAME.schedule: when tasks of a flow are made by themselves, and of what;
 * and what else the timer does.
 * Supervisor and sluicectl, while they have one thread (see base/zone.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/cron.h"
#include "base/str.h"
#include "base/zone.h"
#include "conf/items.h"
#include "conf/keys.h"
#include "conf/params.h"
#include "json/json.h"
#include "json/jwrite.h"

#define SECOND ((int64_t)1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

/* --- types of one key --- */

static void cron_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);
	struct cron cron;
	struct error err;

	if (text == NULL)
		return;
	if (cron_parse(&cron, text, &err) < 0)
		conf_complain(walk, node, key, "%s (%s)", err.text, conf_show(walk, node, key));
	else
		*(const char **)conf_field(base, key->offset) = arena_strdup(walk->arena, text);
}

static void zone_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);
	struct arena *arena = arena_new();
	struct error err;

	if (text != NULL && zone_load(arena, text, clock_wall_ms() / 1000, &err) == NULL)
		conf_complain(walk, node, key, "%s", err.text);
	else if (text != NULL)
		*(const char **)conf_field(base, key->offset) = arena_strdup(walk->arena, text);
	arena_free(&arena);
}

/* The shape alone: what may stand in it is known with the flow. */
static void params_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	(void)base;
	if (node->kind != CONF_SEQUENCE || node->count == 0)
		conf_complain(walk, node, key, "must be a list of mappings such as [{handle: abc}], not %s",
			      node->kind == CONF_SEQUENCE ? "an empty list" : conf_show(walk, node, key));
}

/* The store sees to it that nothing is changed; this finds mistakes earlier. */
static void query_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);
	size_t skip = text != NULL ? strspn(text, " \t\r\n") : 0;

	if (text == NULL)
		return;
	if ((strncasecmp(text + skip, "SELECT", 6) != 0 && strncasecmp(text + skip, "WITH", 4) != 0) ||
	    strchr(text, ';') != NULL)
		conf_complain(walk, node, key, "must be one statement that begins with SELECT or WITH, without a semicolon, "
			      "not %s", conf_show(walk, node, key));
	else
		*(const char **)conf_field(base, key->offset) = arena_strdup(walk->arena, text);
}

static const struct conf_type conf_cron = {"cron", "five cron fields such as \"0 */4 * * *\"", cron_fill, NULL, NULL};
static const struct conf_type conf_zone = {"zone", "a time zone such as Asia/Kolkata", zone_fill, NULL, NULL};
static const struct conf_type conf_params = {"mappings", "a list of mappings", params_fill, NULL, NULL};
static const struct conf_type conf_query = {"query", "a query such as \"SELECT handle FROM ...\"", query_fill, NULL,
					    NULL};

/* --- the table --- */

static const char *const catch_up_words[] = {"last", "all", "none", NULL};

#define AT(field) .offset = offsetof(struct conf_schedule, field)
#define CARRIED(key, field) {key, &conf_text, AT(field), .flags = CONF_INTERNAL}

static const struct conf_key schedule_keys[] = {
	{"cron", &conf_cron, AT(cron), .flags = CONF_REQUIRED | CONF_FILE_ONLY, .doc = "when"},
	{"zone", &conf_zone, AT(zone), .flags = CONF_FILE_ONLY, .fallback = "UTC", .doc = "whose clocks cron means"},
	{"jitter", &conf_duration, AT(jitter_ms), .min = 0, .max = DAY, .fallback = "0s",
	 .doc = "each slot comes later by a part of this"},
	{"catch_up", &conf_word, AT(catch_up), .fallback = "last", .words = catch_up_words,
	 .doc = "which of the slots come that passed while nobody was there"},
	{"params", &conf_params, .flags = CONF_FILE_ONLY, .doc = "a task for each of these parameters"},
	{"file", &conf_text, AT(file), .doc = "a task for each line of a file"},
	{"query", &conf_query, AT(query), .flags = CONF_FILE_ONLY, .doc = "a task for each row of the task store"},
	CARRIED("cron_text", cron),
	CARRIED("zone_name", zone),
	CARRIED("query_text", query),
	CARRIED("items", params),
	CARRIED("options", options),
	{NULL}
};
const struct conf_section conf_schedule_section = {.keys = schedule_keys, .bare = "cron"};

#define MODEL(field) .offset = offsetof(struct conf_model, field)

static const struct conf_key keep_keys[] = {
	{"complete", &conf_duration, MODEL(keep_complete_ms), .min = HOUR, .max = 36500 * DAY,
	 .doc = "how long a task stays after it was COMPLETE"},
	{"failed", &conf_duration, MODEL(keep_failed_ms), .min = HOUR, .max = 36500 * DAY,
	 .doc = "how long a task stays after it was FAILED"},
	{NULL}
};
const struct conf_section conf_keep_section = {.keys = keep_keys};

static const struct conf_key timer_keys[] = {
	{"lease", &conf_duration, MODEL(timer_lease_ms), .min = 3 * SECOND, .max = HOUR, .fallback = "15s",
	 .doc = "one node's timer does what only one may do, for so long; extended every third of it"},
	{NULL}
};
const struct conf_section conf_timer_section = {.keys = timer_keys};

/* --- what is known with the flow --- */

static void write_value(struct jwrite *w, const struct sl_option *options, const struct conf_node *node)
{
	if (node->kind == CONF_MAPPING) {
		jwrite_object(w, node->key);
		for (const struct conf_node *child = node->first; child != NULL; child = child->next)
			write_value(w, conf_params_find(options, child->key) != NULL ? options : NULL, child);
		jwrite_end(w);
	} else if (node->kind == CONF_SEQUENCE) {
		jwrite_array(w, node->key);
		for (const struct conf_node *child = node->first; child != NULL; child = child->next)
			write_value(w, NULL, child);
		jwrite_end(w);
	} else if (conf_is_null(node)) {
		jwrite_null(w, node->key);
	} else {
		conf_params_write(w, node->key != NULL ? conf_params_find(options, node->key) : NULL, node->key, node->text);
	}
}

/* One entry of params, checked. */
static void add_params(struct conf_walk *walk, struct jwrite *w, const struct sl_option *options,
		       const struct conf_node *node)
{
	struct json_doc *doc;
	struct jwrite one;
	struct error err;
	struct buf text;

	if (node->kind != CONF_MAPPING) {
		conf_complain(walk, node, NULL, "params: must hold mappings such as {handle: abc}, not %s",
			      conf_show(walk, node, NULL));
		return;
	}
	buf_init(&text);
	jwrite_init(&one, &text);
	write_value(&one, options, node);
	doc = json_parse(text.data, text.len, &err);
	if (doc == NULL || conf_params_check(options, json_root(doc), &err) < 0)
		conf_complain(walk, node, NULL, "params: %s", err.text);
	else
		jwrite_value(w, NULL, json_root(doc));
	json_doc_free(&doc);
	buf_fini(&text);
}

static const char *all_params(struct conf_walk *walk, const struct sl_option *options, const struct conf_node *list)
{
	const char *text;
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (const struct conf_node *child = list->first; child != NULL; child = child->next)
		if (!child->bad)
			add_params(walk, &w, options, child);
	jwrite_end(&w);
	text = arena_strndup(walk->arena, out.data, out.len);
	buf_fini(&out);
	return text;
}

/* Beside flows.yaml, absolute from here on; all of it is read once, so that mistakes show now. */
static void check_file(struct conf_walk *walk, const struct conf_node *node, const char *conf_file,
		       const struct sl_option *options, struct conf_schedule *schedule)
{
	const char *slash = strrchr(conf_file, '/');
	const char *path = *schedule->file == '/' || slash == NULL
				   ? schedule->file
				   : arena_printf(walk->arena, "%.*s/%s", (int)(slash - conf_file), conf_file, schedule->file);
	char *whole = realpath(path, NULL);
	struct items *items;
	struct error err;
	struct buf out;
	int rc = 1;

	if (whole == NULL) {
		conf_complain(walk, node, NULL, "file: %s: %s", path, strerror(errno));
		return;
	}
	schedule->file = arena_strdup(walk->arena, whole);
	free(whole);
	buf_init(&out);
	items = items_from_file(path, options, &err);
	while (items != NULL && rc > 0)
		rc = items_next(items, &out, &err);
	if (items == NULL || rc < 0)
		conf_complain(walk, node, NULL, "file: %s", err.text);
	items_free(&items);
	buf_fini(&out);
}

/* Of params, file and query there may be one; none is a task without parameters. */
static void check_list(struct conf_walk *walk, const struct conf_node *node, const struct conf_model *model,
		       const struct sl_option *options, struct conf_schedule *schedule)
{
	const struct conf_node *params = conf_child(node, "params"), *file = conf_child(node, "file");
	int count = (params != NULL) + (file != NULL) + (conf_child(node, "query") != NULL);
	struct json_doc *none;
	struct error err;

	if (count > 1) {
		conf_complain(walk, node, NULL, "params, file and query exclude each other");
	} else if (params != NULL && params->kind == CONF_SEQUENCE) {
		schedule->params = all_params(walk, options, params);
	} else if (file != NULL && schedule->file != NULL) {
		check_file(walk, file, model->file, options, schedule);
	} else if (count == 0) {
		schedule->params = "[{}]";
		none = json_parse("{}", 2, NULL);
		if (conf_params_check(options, json_root(none), &err) < 0)
			conf_complain(walk, node, NULL, "%s: say with params, file or query what the tasks get", err.text);
		json_doc_free(&none);
	}
}

static void check_time(struct conf_walk *walk, const struct conf_node *node, const struct conf_schedule *schedule)
{
	struct arena *arena = arena_new();
	int64_t now_s = clock_wall_ms() / 1000;
	const struct zone *zone = zone_load(arena, schedule->zone, now_s, NULL);
	struct cron cron;

	if (zone != NULL && cron_parse(&cron, schedule->cron, NULL) == 0 && cron_next(&cron, zone, now_s) < 0)
		conf_complain(walk, node, NULL, "cron: \"%.60s\" never comes", schedule->cron);
	arena_free(&arena);
}

void conf_schedule_check(struct conf_walk *walk, const struct conf_node *entry, const struct conf_offer_flow *offer,
			 const struct conf_model *model, struct conf_flow *flow)
{
	const struct conf_node *node = conf_child(entry, "schedule");
	const char *context = walk->context;
	struct json_doc *doc;

	if (node == NULL || node->bad || flow->schedule.cron == NULL)
		return;
	walk->context = arena_printf(walk->arena, "flow \"%s\": schedule: ", flow->name);
	flow->schedule.options = arena_strdup(walk->arena, offer->options);
	doc = json_parse(offer->options, strlen(offer->options), NULL);
	check_time(walk, node, &flow->schedule);
	check_list(walk, node, model, conf_params_read(walk->arena, json_root(doc)), &flow->schedule);
	json_doc_free(&doc);
	walk->context = context;
}
