/* SPDX-License-Identifier: Apache-2.0 */
/* The types of single values in flows.yaml: check, store, write, read. No state. */
#include "conf/schema.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "conf/units.h"
#include "json/json.h"
#include "json/jwrite.h"

#define TEXT_MAX 4096		/* of a text without bounds of its own */

static int wrong_type(const struct conf_key *key, struct error *err)
{
	return error_set(err, ERR_INPUT, "%s: not %s", key->name, key->type->what);
}

static void mismatch(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key)
{
	conf_complain(walk, node, key, "must be %s, not %s", key->type->what, conf_show(walk, node, key));
}

/* A number is never quoted: "5" is a text. "${N}" may have to be, inside {braces}. */
static const char *plain_scalar(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key)
{
	const char *text = conf_scalar(walk, node, key);

	if (text != NULL && node->quoted && node->text == node->raw) {
		conf_complain(walk, node, key, "must be %s, not the text %s (leave the quotes out)", key->type->what,
			      conf_show(walk, node, key));
		return NULL;
	}
	return text;
}

typedef void unit_format_fn(char out[UNITS_TEXT_SIZE], int64_t value);

static void plain_format(char out[UNITS_TEXT_SIZE], int64_t value)
{
	str_format(out, UNITS_TEXT_SIZE, "%" PRId64, value);
}

static void complain_range(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key,
			   unit_format_fn *format)
{
	char min[UNITS_TEXT_SIZE], max[UNITS_TEXT_SIZE];

	format(min, key->min);
	format(max, key->max);
	if (key->min == key->max)
		conf_complain(walk, node, key, "must be %s, not %s", min, conf_show(walk, node, key));
	else if (key->max == INT64_MAX)
		conf_complain(walk, node, key, "must be at least %s, not %s", min, conf_show(walk, node, key));
	else
		conf_complain(walk, node, key, "must be %s to %s, not %s", min, max, conf_show(walk, node, key));
}

static bool in_range(const struct conf_key *key, int64_t value)
{
	return (key->min == 0 && key->max == 0) || (value >= key->min && value <= key->max);
}

/* --- bool --- */

static void bool_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = plain_scalar(walk, node, key);

	if (text == NULL)
		return;
	if (str_eq(text, "true") || str_eq(text, "false"))
		*(bool *)conf_field(base, key->offset) = *text == 't';
	else
		mismatch(walk, node, key);
}

static void bool_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_bool(w, key->name, *(const bool *)conf_field_of(base, key->offset));
}

static int bool_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		     struct error *err)
{
	(void)arena;
	return json_bool(value, conf_field(base, key->offset)) ? 0 : wrong_type(key, err);
}

const struct conf_type conf_bool = {"bool", "true or false", bool_fill, bool_write, bool_read};

/* --- whole numbers, durations, sizes --- */

/* False after reporting. */
static bool whole(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, int64_t *value_r)
{
	const char *text = plain_scalar(walk, node, key);
	size_t digits;

	if (text == NULL)
		return false;
	if (num_parse_int(text, value_r) == 0 && in_range(key, *value_r))
		return true;
	digits = strspn(text + (*text == '-'), "0123456789");
	if (digits > 0 && text[(*text == '-') + digits] == '\0')
		complain_range(walk, node, key, plain_format);
	else
		mismatch(walk, node, key);
	return false;
}

static void int_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	int64_t value;

	if (whole(walk, node, key, &value))
		*(int *)conf_field(base, key->offset) = (int)value;
}

static void int_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_int(w, key->name, *(const int *)conf_field_of(base, key->offset));
}

static int int_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		    struct error *err)
{
	int64_t number;

	(void)arena;
	if (!json_int(value, &number) || number < INT_MIN || number > INT_MAX)
		return wrong_type(key, err);
	*(int *)conf_field(base, key->offset) = (int)number;
	return 0;
}

static void long_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	int64_t value;

	if (whole(walk, node, key, &value))
		*(int64_t *)conf_field(base, key->offset) = value;
}

static void long_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_int(w, key->name, *(const int64_t *)conf_field_of(base, key->offset));
}

static int long_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		     struct error *err)
{
	(void)arena;
	return json_int(value, conf_field(base, key->offset)) ? 0 : wrong_type(key, err);
}

static void unit_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base,
		      int (*parse)(const char *, int64_t *), unit_format_fn *format)
{
	const char *text = conf_scalar(walk, node, key);
	int64_t value;

	if (text == NULL)
		return;
	if (parse(text, &value) < 0)
		mismatch(walk, node, key);
	else if (!in_range(key, value))
		complain_range(walk, node, key, format);
	else
		*(int64_t *)conf_field(base, key->offset) = value;
}

static void duration_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	unit_fill(walk, node, key, base, num_parse_duration, units_duration);
}

static void size_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	unit_fill(walk, node, key, base, num_parse_size, units_size);
}

const struct conf_type conf_int = {"int", "a whole number", int_fill, int_write, int_read};
const struct conf_type conf_long = {"int", "a whole number", long_fill, long_write, long_read};
const struct conf_type conf_duration = {"duration", "a duration such as 500ms, 30s or 10m", duration_fill,
					long_write, long_read};
const struct conf_type conf_size = {"size", "a size such as 512, 64KiB or 1GiB", size_fill, long_write, long_read};

/* --- fractions --- */

static void float_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = plain_scalar(walk, node, key);
	double value;

	if (text == NULL)
		return;
	if (num_parse_double(text, &value) < 0)
		mismatch(walk, node, key);
	else if ((key->min != 0 || key->max != 0) && (value < (double)key->min || value > (double)key->max))
		complain_range(walk, node, key, plain_format);
	else
		*(double *)conf_field(base, key->offset) = value;
}

static void float_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_double(w, key->name, *(const double *)conf_field_of(base, key->offset));
}

static int float_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		      struct error *err)
{
	(void)arena;
	return json_double(value, conf_field(base, key->offset)) ? 0 : wrong_type(key, err);
}

const struct conf_type conf_float = {"float", "a number", float_fill, float_write, float_read};

/* --- texts --- */

static void text_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	jwrite_string(w, key->name, *(const char *const *)conf_field_of(base, key->offset));
}

static int text_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		     struct error *err)
{
	const char *text = json_string(value, NULL);

	if (text == NULL && json_type(value) != JSON_NULL)
		return wrong_type(key, err);
	*(const char **)conf_field(base, key->offset) = text != NULL ? arena_strdup(arena, text) : NULL;
	return 0;
}

/* Stores the text when valid says it is one of the type. */
static void checked_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base,
			 bool (*valid)(const char *))
{
	const char *text = conf_scalar(walk, node, key);

	if (text == NULL)
		return;
	if (strlen(text) > TEXT_MAX || (valid != NULL && !valid(text)))
		mismatch(walk, node, key);
	else
		*(const char **)conf_field(base, key->offset) = arena_strdup(walk->arena, text);
}

static void text_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);

	if (text != NULL && (key->min != 0 || key->max != 0) && !in_range(key, (int64_t)strlen(text)))
		conf_complain(walk, node, key, "must be %" PRId64 " to %" PRId64 " bytes long, not %zu", key->min,
			      key->max, strlen(text));
	else if (text != NULL)
		checked_fill(walk, node, key, base, NULL);
}

static void name_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	checked_fill(walk, node, key, base, str_is_name);
}

static void http_url_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	checked_fill(walk, node, key, base, units_is_http_url);
}

static void address_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	checked_fill(walk, node, key, base, units_is_address);
}

const struct conf_type conf_text = {"text", "a text", text_fill, text_write, text_read};
const struct conf_type conf_name = {"name", "a name (a-z, then a-z 0-9 _ -)", name_fill, text_write, text_read};
const struct conf_type conf_http_url = {"url", "a URL such as https://api.example.com/v1 (no user, query or fragment)",
					http_url_fill, text_write, text_read};
const struct conf_type conf_address = {"address", "HOST:PORT such as 127.0.0.1:8019", address_fill, text_write,
				       text_read};

/* --- one word of several --- */

static int word_index(const struct conf_key *key, const char *text)
{
	for (int i = 0; key->words[i] != NULL; i++)
		if (str_eq(key->words[i], text))
			return i;
	return -1;
}

static void word_fill(struct conf_walk *walk, const struct conf_node *node, const struct conf_key *key, void *base)
{
	const char *text = conf_scalar(walk, node, key);
	struct buf list;
	size_t count = 0;
	int index;

	if (text == NULL)
		return;
	index = word_index(key, text);
	if (index >= 0) {
		memcpy(conf_field(base, key->offset), &index, sizeof(index));
		return;
	}
	buf_init(&list);
	for (; key->words[count] != NULL; count++)
		buf_printf(&list, "%s%s", count == 0 ? "" : key->words[count + 1] == NULL ? " or " : ", ",
			   key->words[count]);
	conf_complain(walk, node, key, "must be %s, not %s%s", list.data, conf_show(walk, node, key),
		      conf_nearest(walk, text, key->words, count));
	buf_fini(&list);
}

static void word_write(struct jwrite *w, const struct conf_key *key, const void *base)
{
	int index;

	memcpy(&index, conf_field_of(base, key->offset), sizeof(index));
	jwrite_string(w, key->name, key->words[index]);
}

static int word_read(struct arena *arena, const struct json *value, const struct conf_key *key, void *base,
		     struct error *err)
{
	const char *text = json_string(value, NULL);
	int index = text != NULL ? word_index(key, text) : -1;

	(void)arena;
	if (index < 0)
		return wrong_type(key, err);
	memcpy(conf_field(base, key->offset), &index, sizeof(index));
	return 0;
}

const struct conf_type conf_word = {"word", "one of its words", word_fill, word_write, word_read};
