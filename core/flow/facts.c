/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts: a task's named integers, texts and lists, with a journal so that a
 * unit that fails leaves nothing behind. Texts handed out stay valid until the
 * journal is forgotten. Runs on the thread of the driver that owns the task.
 */
#include <string.h>

#include "flow/internal.h"

#include "base/map.h"
#include "base/str.h"

#define INDEX_FROM 16 /* lists from this length on get an index for contains */
#define ITEM_COST 16 /* bytes counted for an entry beside its text */

enum fact_kind { FACT_INT, FACT_TEXT, FACT_LIST };

struct fact {
	enum fact_kind kind;
	int64_t integer;
	char *text;
	char **items;
	size_t count, cap;
	struct map *index; /* text → position + 1 of its first entry; NULL: not built */
};

struct fact_undo {
	char *name;
	bool truncate; /* cut the list back to count; else put old (NULL: remove) */
	size_t count;
	struct fact *old;
};

static void fact_free(struct fact *fact)
{
	if (!fact)
		return;
	for (size_t i = 0; i < fact->count; i++)
		mem_release(fact->items[i]);
	mem_free(&fact->items);
	mem_free(&fact->text);
	map_free(&fact->index);
	mem_release(fact);
}

static size_t fact_bytes(const char *name, const struct fact *fact)
{
	size_t bytes = strlen(name) + ITEM_COST;

	if (fact->text)
		bytes += strlen(fact->text);
	for (size_t i = 0; i < fact->count; i++)
		bytes += strlen(fact->items[i]) + ITEM_COST;
	return bytes;
}

void facts_init(struct facts *facts)
{
	memset(facts, 0, sizeof(*facts));
	facts->by_name = map_new();
}

void facts_fini(struct facts *facts)
{
	const char *name;
	void *fact;
	size_t cursor = 0;

	facts_keep(facts);
	mem_free(&facts->journal);
	while (map_next(facts->by_name, &cursor, &name, &fact))
		fact_free(fact);
	map_free(&facts->by_name);
}

void facts_keep(struct facts *facts)
{
	for (size_t i = 0; i < facts->journal_count; i++) {
		fact_free(facts->journal[i].old);
		mem_free(&facts->journal[i].name);
	}
	facts->journal_count = 0;
}

static void list_cut(struct facts *facts, struct fact *list, size_t count)
{
	while (list->count > count) {
		char *text = list->items[--list->count];

		if (list->index && (uintptr_t)map_get(list->index, text) == list->count + 1)
			map_remove(list->index, text);
		facts->bytes -= strlen(text) + ITEM_COST;
		mem_release(text);
	}
}

void facts_undo(struct facts *facts)
{
	while (facts->journal_count) {
		struct fact_undo *undo = &facts->journal[--facts->journal_count];
		struct fact *now = map_get(facts->by_name, undo->name);

		if (undo->truncate) {
			list_cut(facts, now, undo->count);
		} else {
			if (now) {
				facts->bytes -= fact_bytes(undo->name, now);
				map_remove(facts->by_name, undo->name);
				fact_free(now);
			}
			if (undo->old) {
				facts->bytes += fact_bytes(undo->name, undo->old);
				map_put(facts->by_name, undo->name, undo->old);
			}
		}
		mem_free(&undo->name);
	}
}

static struct fact_undo *journal_add(struct facts *facts, const char *name)
{
	struct fact_undo *undo;

	facts->journal = grow(facts->journal, facts->journal_count, &facts->journal_cap, sizeof(*undo));
	undo = &facts->journal[facts->journal_count++];
	memset(undo, 0, sizeof(*undo));
	undo->name = mem_strdup(name);
	return undo;
}

/* Puts fact (NULL: nothing) in the place of what name holds, which the journal keeps. */
static void fact_put(struct facts *facts, const char *name, struct fact *fact)
{
	struct fact_undo *undo = journal_add(facts, name);

	undo->old = fact ? map_put(facts->by_name, name, fact) : map_remove(facts->by_name, name);
	if (undo->old)
		facts->bytes -= fact_bytes(name, undo->old);
	if (fact)
		facts->bytes += fact_bytes(name, fact);
}

void facts_set_int(struct facts *facts, const char *name, int64_t value)
{
	struct fact *fact = mem_alloc(sizeof(*fact));

	fact->kind = FACT_INT;
	fact->integer = value;
	fact_put(facts, name, fact);
}

void facts_set_text(struct facts *facts, const char *name, const char *text)
{
	struct fact *fact;

	if (!text) {
		fact_put(facts, name, NULL);
		return;
	}
	fact = mem_alloc(sizeof(*fact));
	fact->kind = FACT_TEXT;
	fact->text = mem_strdup(text);
	fact_put(facts, name, fact);
}

static struct fact *fact_list(const struct facts *facts, const char *name)
{
	struct fact *fact = name ? map_get(facts->by_name, name) : NULL;

	return fact && fact->kind == FACT_LIST ? fact : NULL;
}

void facts_append(struct facts *facts, const char *name, const char *text)
{
	struct fact *list = fact_list(facts, name);
	const struct fact_undo *last =
		facts->journal_count ? &facts->journal[facts->journal_count - 1] : NULL;

	if (!list) {
		list = mem_alloc(sizeof(*list));
		list->kind = FACT_LIST;
		fact_put(facts, name, list);
	} else if (!last || !last->truncate || strcmp(last->name, name)) {
		struct fact_undo *undo = journal_add(facts, name);

		undo->truncate = true;
		undo->count = list->count;
	}
	list->items = grow(list->items, list->count, &list->cap, sizeof(*list->items));
	list->items[list->count++] = mem_strdup(text);
	facts->bytes += strlen(text) + ITEM_COST;
	if (list->index && !map_get(list->index, text))
		map_put(list->index, text, (void *)(uintptr_t)list->count);
}

size_t facts_count(const struct facts *facts, const char *name)
{
	const struct fact *list = fact_list(facts, name);

	return list ? list->count : 0;
}

const char *facts_item(const struct facts *facts, const char *name, size_t index)
{
	const struct fact *list = fact_list(facts, name);

	return list && index < list->count ? list->items[index] : NULL;
}

static bool list_contains(struct fact *list, const char *text)
{
	if (list->count < INDEX_FROM && !list->index) {
		for (size_t i = 0; i < list->count; i++)
			if (!strcmp(list->items[i], text))
				return true;
		return false;
	}
	if (!list->index) {
		list->index = map_new();
		for (size_t i = list->count; i > 0; i--)
			map_put(list->index, list->items[i - 1], (void *)(uintptr_t)i);
	}
	return map_get(list->index, text) != NULL;
}

/* --- checkpoints --- */

void facts_print(const struct facts *facts, struct jwrite *w)
{
	const char *name;
	void *value;
	size_t cursor = 0;

	while (map_next(facts->by_name, &cursor, &name, &value)) {
		const struct fact *fact = value;

		if (fact->kind == FACT_INT) {
			jwrite_int(w, name, fact->integer);
		} else if (fact->kind == FACT_TEXT) {
			jwrite_string(w, name, fact->text);
		} else {
			jwrite_array(w, name);
			for (size_t i = 0; i < fact->count; i++)
				jwrite_string(w, NULL, fact->items[i]);
			jwrite_end(w);
		}
	}
}

void facts_read(struct facts *facts, const struct json *saved)
{
	for (const struct json *fact = json_first(saved); fact; fact = json_next(fact)) {
		const char *name = json_name(fact);
		int64_t integer;

		if (json_type(fact) == JSON_ARRAY) {
			struct fact *list = mem_alloc(sizeof(*list));

			list->kind = FACT_LIST;
			fact_put(facts, name, list);
			for (const struct json *item = json_first(fact); item; item = json_next(item))
				facts_append(facts, name, json_string(item, NULL));
		} else if (json_type(fact) == JSON_STRING) {
			facts_set_text(facts, name, json_string(fact, NULL));
		} else if (json_int(fact, &integer)) {
			facts_set_int(facts, name, integer);
		}
	}
	facts_keep(facts);
}

/* --- the host table --- */

/* Facts may be set everywhere but in build and error, which leave nothing behind. */
static bool facts_open(struct flow_task *task, const char *name)
{
	if (!name)
		return false;
	if (task->stage == STAGE_BUILD) {
		task_fault(task, "build sets fact %s: build sets no facts", name);
		return false;
	}
	return true;
}

static void facts_check(struct flow_task *task)
{
	if ((int64_t)task->facts.bytes > task->env->facts_max)
		task_fault(task, "The task's facts take more than %lld bytes",
			   (long long)task->env->facts_max);
}

static void host_set_int(struct sl_task *t, const char *name, int64_t value)
{
	struct flow_task *task = task_of(t);

	if (!facts_open(task, name))
		return;
	facts_set_int(&task->facts, name, value);
	facts_check(task);
}

static int64_t host_get_int(const struct sl_task *t, const char *name, int64_t fallback)
{
	const struct fact *fact = name ? map_get(task_of(t)->facts.by_name, name) : NULL;

	return fact && fact->kind == FACT_INT ? fact->integer : fallback;
}

static void host_set_text(struct sl_task *t, const char *name, const char *text)
{
	struct flow_task *task = task_of(t);

	if (!facts_open(task, name))
		return;
	facts_set_text(&task->facts, name, text);
	facts_check(task);
}

static const char *host_get_text(const struct sl_task *t, const char *name)
{
	const struct fact *fact = name ? map_get(task_of(t)->facts.by_name, name) : NULL;

	return fact && fact->kind == FACT_TEXT ? fact->text : NULL;
}

static void host_append(struct sl_task *t, const char *list, const char *text)
{
	struct flow_task *task = task_of(t);

	if (!text || !facts_open(task, list))
		return;
	facts_append(&task->facts, list, text);
	facts_check(task);
}

static size_t host_count(const struct sl_task *t, const char *list)
{
	return facts_count(&task_of(t)->facts, list);
}

static const char *host_item(const struct sl_task *t, const char *list, size_t index)
{
	return facts_item(&task_of(t)->facts, list, index);
}

static bool host_contains(const struct sl_task *t, const char *list, const char *text)
{
	struct fact *found = fact_list(&task_of(t)->facts, list);

	return found && text && list_contains(found, text);
}

static void host_forget(struct sl_task *t, const char *name)
{
	struct flow_task *task = task_of(t);

	if (facts_open(task, name) && map_get(task->facts.by_name, name))
		fact_put(&task->facts, name, NULL);
}

void host_fact_section(struct sl_host *host)
{
	host->set_int = host_set_int;
	host->get_int = host_get_int;
	host->set_text = host_set_text;
	host->get_text = host_get_text;
	host->append = host_append;
	host->count = host_count;
	host->item = host_item;
	host->contains = host_contains;
	host->forget = host_forget;
}
