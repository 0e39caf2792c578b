/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl dead: what could not be inserted, wherever the configured bus keeps it. */
#include "ctl.h"

#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "json/jwrite.h"

#define LIST_DEFAULT 50
#define REASON_MAX 70

#define QUEUE_OPTION {"queue", 0, "QUEUE", "only those of this queue"}
#define LIMIT_OPTION {"limit", 0, "N", "at most N of them, in the order they came"}

const struct ctl_option dead_list_options[] = {
	{"limit", 0, "N", "at most N (50)"},
	{NULL, 0, NULL, NULL}
};
const struct ctl_option dead_show_options[] = {
	QUEUE_OPTION,
	{"raw", 0, NULL, "print the event alone, as it is"},
	{NULL, 0, NULL, NULL}
};
const struct ctl_option dead_replay_options[] = {
	{"all", 0, NULL, "those of every queue"},
	LIMIT_OPTION,
	QUEUE_OPTION,
	{NULL, 0, NULL, NULL}
};
const struct ctl_option dead_drop_options[] = {
	{"all", 0, NULL, "those of every queue"},
	LIMIT_OPTION,
	QUEUE_OPTION,
	{"yes", 0, NULL, "really delete them"},
	{NULL, 0, NULL, NULL}
};

struct dead {
	struct ctl *ctl;
	struct bus_letters *letters;
	struct bus_letters_filter filter;
	size_t done;
	bool live;			/* progress is shown */
};

/* --- where they are --- */

/* The queues of all sinks, enabled or not. */
static const char *const *sink_queues(const struct conf_model *conf, struct arena *arena)
{
	const char **queues = arena_alloc(arena, (conf->sink_count + 1) * sizeof(*queues));

	for (size_t i = 0; i < conf->sink_count; i++)
		queues[i] = conf->sinks[i].queue;
	return queues;
}

static int open_letters(struct dead *dead)
{
	struct ctl *ctl = dead->ctl;
	const struct conf_model *conf;
	struct error err;

	if (ctl_load(ctl, false) != 0)
		return -1;
	conf = ctl->setup.conf;
	if (ctl_open_store(ctl, false) != 0)
		return -1;
	dead->letters = bus_letters_open(conf->bus, ctl->store, sink_queues(conf, ctl->arena),
					 conf->sink_count, &err);
	if (dead->letters != NULL)
		return 0;
	ctl_fail("%s", err.text);
	return -1;
}

static bool is_read(const struct conf_model *conf, const char *queue)
{
	for (size_t i = 0; i < conf->sink_count; i++)
		if (str_eq(conf->sinks[i].queue, queue))
			return true;
	return false;
}

/* What no queue took has an exchange and a key, with a slash between, in place of a queue's name. */
static void warn_unread(const struct conf_model *conf, const char *queue)
{
	if (queue != NULL && !is_read(conf, queue) && strchr(queue, '/') == NULL)
		fprintf(stderr,
			"sluicectl: no sink of the configuration reads queue %s: the events wait there\n",
			queue);
}

/* Whether a word names a queue: 1, or 0 for an id, or -1 after complaining. */
static int is_queue(struct dead *dead, const char *word)
{
	struct error err;
	int is = is_read(dead->ctl->setup.conf, word) ? 1 : bus_letters_has_queue(dead->letters, word, &err);

	if (is < 0)
		ctl_fail("%s", err.text);
	return is;
}

/* --- list and show --- */

static void print_list(struct ctl *ctl, const struct bus_parked *rows, size_t count)
{
	struct table *table = table_new(ctl, "QUEUE ID CODE COUNT> FIRST LAST SIZE> REASON");

	for (size_t i = 0; i < count; i++) {
		table_cell(table, rows[i].queue);
		table_cell(table, rows[i].id);
		table_cell(table, rows[i].code);
		table_printf(table, "%lld", (long long)rows[i].count);
		table_cell(table, rows[i].first);
		table_cell(table, rows[i].last);
		table_printf(table, "%zu", rows[i].len);
		table_cut(table, rows[i].reason, REASON_MAX);
	}
	table_print(table, stdout);
}

static void write_letter(struct jwrite *w, const struct bus_parked *row)
{
	jwrite_object(w, NULL);
	jwrite_string(w, "queue", row->queue);
	jwrite_string(w, "id", row->id);
	jwrite_string(w, "code", row->code);
	jwrite_string(w, "reason", row->reason);
	jwrite_string(w, "first", row->first);
	jwrite_string(w, "last", row->last);
	jwrite_int(w, "count", row->count);
	jwrite_uint(w, "size", row->len);
	if (row->payload != NULL) {
		if (row->headers != NULL)
			jwrite_raw(w, "headers", row->headers, strlen(row->headers));
		else
			jwrite_null(w, "headers");
		jwrite_stringn(w, "payload", row->payload, row->len);
	}
	jwrite_end(w);
}

static void print_json(const struct bus_parked *rows, size_t count, bool as_list)
{
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	if (as_list)
		jwrite_array(&w, NULL);
	for (size_t i = 0; i < count; i++)
		write_letter(&w, &rows[i]);
	if (as_list)
		jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_dead_list(struct ctl *ctl)
{
	struct dead dead = { .ctl = ctl };
	struct bus_parked *rows;
	struct error err;
	long long limit;
	size_t count;
	bool more;
	int status = CTL_OK;

	if (ctl_option_number(ctl, "limit", LIST_DEFAULT, &limit) != 0)
		return CTL_USAGE;
	if (open_letters(&dead) != 0)
		return CTL_FAILED;
	dead.filter.limit = (size_t)limit;
	dead.filter.queue = ctl->arg_count > 0 ? ctl->args[0] : NULL;
	if (bus_letters_read(dead.letters, &dead.filter, ctl->arena, &rows, &count, &more, &err) != 0)
		status = ctl_fail("%s", err.text);
	else if (ctl->json)
		print_json(rows, count, true);
	else
		print_list(ctl, rows, count);
	if (status == CTL_OK && more)
		fprintf(stderr, "sluicectl: there are more: --limit N shows more of them\n");
	bus_letters_close(&dead.letters);
	return status;
}

static void print_letter(struct ctl *ctl, const struct bus_parked *row)
{
	struct table *table = table_new(ctl, "COLUMN VALUE");
	const char *const cells[][2] = {
		{"queue", row->queue}, {"id", row->id}, {"code", row->code}, {"reason", row->reason},
		{"first", row->first}, {"last", row->last},
		{"count", arena_printf(ctl->arena, "%lld", (long long)row->count)},
		{"size", arena_printf(ctl->arena, "%zu", row->len)}, {"headers", row->headers},
		{"payload", row->payload}
	};

	for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
		table_cell(table, cells[i][0]);
		table_cell(table, cells[i][1]);
	}
	table_print(table, stdout);
}

/* One event that was sent to several queues may be a letter of each, under one name. */
static int complain_count(struct ctl *ctl, const struct bus_parked *rows, size_t count)
{
	if (count == 0)
		return ctl_fail("there is no dead letter %s; 'sluicectl dead list' lists those there are",
				ctl->args[0]);
	return ctl_fail(
		"there is a dead letter %s of queue %s and one of queue %s: choose with --queue QUEUE",
		ctl->args[0], rows[0].queue, rows[1].queue);
}

int cmd_dead_show(struct ctl *ctl)
{
	bool found = false;
	struct dead dead = { .ctl = ctl, .filter = { .ids = ctl->args, .id_count = 1, .found = &found,
						     .queue = ctl_option(ctl, "queue"), .payload = true } };
	struct bus_parked *rows;
	struct error err;
	size_t count;
	bool more;
	int status = CTL_OK;

	if (open_letters(&dead) != 0)
		return CTL_FAILED;
	if (bus_letters_read(dead.letters, &dead.filter, ctl->arena, &rows, &count, &more, &err) != 0)
		status = ctl_fail("%s", err.text);
	else if (count != 1)
		status = complain_count(ctl, rows, count);
	else if (ctl_option(ctl, "raw") != NULL)
		fwrite(rows[0].payload, 1, rows[0].len, stdout);
	else if (ctl->json)
		print_json(rows, 1, false);
	else
		print_letter(ctl, &rows[0]);
	bus_letters_close(&dead.letters);
	return status;
}

/* --- replay and drop --- */

static void on_progress(void *user, size_t done, size_t total)
{
	struct dead *dead = user;

	if (dead->live)
		fprintf(stderr, "\r%zu of %zu letters \033[K", done, total);
}

/* The letters that the words mean. */
static int choose(struct dead *dead)
{
	struct ctl *ctl = dead->ctl;
	struct bus_letters_filter *filter = &dead->filter;
	int is;

	filter->queue = ctl_option(ctl, "queue");
	if (ctl->arg_count == 0)
		return CTL_OK;
	is = is_queue(dead, ctl->args[0]);
	if (is < 0)
		return CTL_FAILED;
	if (is == 0) {
		filter->ids = ctl->args;
		filter->id_count = ctl->arg_count;
		filter->found = arena_alloc(ctl->arena, ctl->arg_count * sizeof(*filter->found));
		return CTL_OK;
	}
	if (ctl->arg_count > 1 || filter->queue != NULL)
		return ctl_usage(ctl, "\"%s\" is a queue: it stands alone", ctl->args[0]);
	filter->queue = ctl->args[0];
	return CTL_OK;
}

/* What is to be done, before anything is opened. */
static int check_words(struct ctl *ctl, long long *limit_r)
{
	bool all = ctl_option(ctl, "all") != NULL, queue = ctl_option(ctl, "queue") != NULL;

	if (ctl_option_number(ctl, "limit", 0, limit_r) != 0)
		return CTL_USAGE;
	if (all && (ctl->arg_count > 0 || queue))
		return ctl_usage(ctl, "--all goes with neither QUEUE nor ID");
	if (!all && !queue && ctl->arg_count == 0)
		return ctl_usage(ctl, "which letters? Name their queue or their ids, or say --all");
	return CTL_OK;
}

static void print_outcome(const struct dead *dead, const char *verb)
{
	const struct bus_letters_filter *filter = &dead->filter;
	struct jwrite w;
	struct buf out;

	if (!dead->ctl->json) {
		printf("%zu dead letter%s %s\n", dead->done, dead->done == 1 ? "" : "s", verb);
		return;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_uint(&w, verb, dead->done);
	jwrite_array(&w, "missing");
	for (size_t i = 0; i < filter->id_count; i++)
		if (!filter->found[i])
			jwrite_string(&w, NULL, filter->ids[i]);
	jwrite_end(&w);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

static int complain_missing(const struct bus_letters_filter *filter)
{
	int status = CTL_OK;

	for (size_t i = 0; i < filter->id_count; i++)
		if (!filter->found[i])
			status = ctl_fail("there is no dead letter %s%s%s", filter->ids[i],
					  filter->queue != NULL ? " of queue " : "",
					  filter->queue != NULL ? filter->queue : "");
	return status;
}

static int change(struct dead *dead, enum bus_letters_action action)
{
	const char *verb = action == BUS_REPLAY ? "replayed" : "dropped";
	struct ctl *ctl = dead->ctl;
	struct error err;
	int rc;

	if (action == BUS_REPLAY)
		warn_unread(ctl->setup.conf, dead->filter.queue);
	dead->live = isatty(STDERR_FILENO) == 1 && !ctl->json;
	rc = bus_letters_change(dead->letters, action, &dead->filter, on_progress, dead, &dead->done, &err);
	if (dead->live)
		fputs("\r\033[K", stderr);
	print_outcome(dead, verb);
	if (rc < 0)
		return ctl_fail("%s; what was not %s is where it was, so this may be repeated", err.text,
				verb);
	return complain_missing(&dead->filter);
}

static int run(struct ctl *ctl, enum bus_letters_action action)
{
	struct dead dead = { .ctl = ctl };
	long long limit;
	int status = check_words(ctl, &limit);

	if (status != CTL_OK)
		return status;
	if (open_letters(&dead) != 0)
		return CTL_FAILED;
	dead.filter.limit = (size_t)limit;
	status = choose(&dead);
	if (status == CTL_OK)
		status = change(&dead, action);
	bus_letters_close(&dead.letters);
	return status;
}

int cmd_dead_replay(struct ctl *ctl)
{
	return run(ctl, BUS_REPLAY);
}

int cmd_dead_drop(struct ctl *ctl)
{
	if (ctl_option(ctl, "yes") == NULL)
		return ctl_usage(ctl, "dead drop deletes for good: say --yes");
	return run(ctl, BUS_DROP);
}
