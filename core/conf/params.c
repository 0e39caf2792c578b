/* SPDX-License-Identifier: Apache-2.0 */
/* See params.h. */
#include "conf/params.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "json/json.h"
#include "json/jwrite.h"

#define NAMES_MAX 128

/* One sentence per finding, parted by "; ". */
struct findings {
	struct buf text;
};

__attribute__((format(printf, 2, 3))) static void finding(struct findings *findings, const char *fmt, ...)
{
	va_list ap;

	if (findings->text.len)
		buf_adds(&findings->text, "; ");
	va_start(ap, fmt);
	buf_vprintf(&findings->text, fmt, ap);
	va_end(ap);
}

static bool is_scalar(const struct json *value)
{
	enum json_type type = json_type(value);

	return type != JSON_NULL && type != JSON_ARRAY && type != JSON_OBJECT;
}

static bool is_number(const struct json *value)
{
	enum json_type type = json_type(value);

	return type == JSON_INT || type == JSON_UINT || type == JSON_DOUBLE;
}

/* Whether value is of the option's type; then the number its bounds speak of, when it has one. */
static bool type_fits(const struct sl_option *option, const struct json *value, double *measure,
		      bool *measured)
{
	size_t len = 0;
	const char *text = json_string(value, &len);
	int64_t integer;
	bool truth;

	*measured = true;
	switch (option->type) {
	case SL_STR:
		*measured = text != NULL;
		*measure = (double)len;
		return text || is_number(value);
	case SL_INT:
		if (!json_int(value, &integer))
			return false;
		*measure = (double)integer;
		return true;
	case SL_FLOAT:
		return json_double(value, measure);
	case SL_DURATION:
		*measure = text && !num_parse_duration(text, &integer) ? (double)integer : -1;
		return *measure >= 0;
	case SL_SIZE:
		*measure = text && !num_parse_size(text, &integer) ? (double)integer : -1;
		return *measure >= 0;
	case SL_LIST:
		*measure = (double)json_count(value);
		for (const struct json *item = json_first(value); item; item = json_next(item))
			if (!is_scalar(item))
				return false;
		return json_type(value) == JSON_ARRAY;
	default:
		break;
	}
	*measured = false;
	if (option->type == SL_BOOL)
		return json_bool(value, &truth);
	if (option->type == SL_TIME)
		return is_number(value) || (text && !clock_parse(text, len, &integer));
	return option->type != SL_OBJECT || json_type(value) == JSON_OBJECT;
}

static const char *type_name(enum sl_type type)
{
	switch (type) {
	case SL_INT:
		return "a whole number";
	case SL_FLOAT:
		return "a number";
	case SL_BOOL:
		return "true or false";
	case SL_TIME:
		return "a time (ISO 8601 or seconds since 1970)";
	case SL_LIST:
		return "a list of texts";
	case SL_OBJECT:
		return "an object";
	case SL_DURATION:
		return "a duration (30s, 10m)";
	case SL_SIZE:
		return "a size (64KiB, 16MiB)";
	default:
		return "a text";
	}
}

static void bounds_check(struct findings *findings, const struct sl_option *option, double measure)
{
	const char *what = option->type == SL_STR    ? " characters long"
			   : option->type == SL_LIST ? " entries long"
						     : "";

	if (!option->min && !option->max)
		return;
	/* min above a max of 0 means that there is no upper bound. */
	if (measure < (double)option->min)
		finding(findings, "\"%s\" must be at least %lld%s", option->name, (long long)option->min,
			what);
	else if (measure > (double)option->max && option->max >= option->min)
		finding(findings, "\"%s\" must be at most %lld%s", option->name, (long long)option->max,
			what);
}

static void param_check(struct findings *findings, const struct sl_option *option, const struct json *params)
{
	const struct json *value = json_member(params, option->name);
	double measure = 0;
	bool measured = false;

	if (!value || json_type(value) == JSON_NULL) {
		if ((option->flags & SL_REQUIRED) && !(value && (option->flags & SL_NULLABLE)))
			finding(findings, "\"%s\" is missing", option->name);
		return;
	}
	if (!type_fits(option, value, &measure, &measured))
		finding(findings, "\"%s\" must be %s", option->name, type_name(option->type));
	else if (measured)
		bounds_check(findings, option, measure);
}

static void unknown_check(struct findings *findings, const struct sl_option *options,
			  const struct json *params)
{
	const char *names[NAMES_MAX];
	size_t count = 0;

	for (; options && options->name && count < NAMES_MAX; options++)
		names[count++] = options->name;
	for (const struct json *param = json_first(params); param; param = json_next(param)) {
		const char *name = json_name(param), *near;
		size_t i = 0;

		while (i < count && strcmp(names[i], name))
			i++;
		if (i < count)
			continue;
		near = str_nearest(name, names, count);
		if (near)
			finding(findings, "unknown parameter \"%s\" (did you mean \"%s\"?)", name, near);
		else
			finding(findings, "unknown parameter \"%s\"", name);
	}
}

int conf_params_check(const struct sl_option *options, const struct json *params, struct error *err)
{
	struct findings findings;
	int status = 0;

	if (json_type(params) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "params must be an object");
	buf_init(&findings.text);
	unknown_check(&findings, options, params);
	for (const struct sl_option *option = options; option && option->name; option++)
		param_check(&findings, option, params);
	if (findings.text.len)
		status = error_set(err, ERR_INPUT, "%s", findings.text.data);
	buf_fini(&findings.text);
	return status;
}

const struct sl_option *conf_params_find(const struct sl_option *options, const char *name)
{
	for (; options && options->name; options++)
		if (str_eq(options->name, name))
			return options;
	return NULL;
}

/* --- from texts --- */

/* False, and nothing, when text holds no JSON. */
static bool write_json(struct jwrite *w, const char *name, const char *text)
{
	struct json_doc *doc = json_parse(text, strlen(text), NULL);

	if (!doc)
		return false;
	jwrite_value(w, name, json_root(doc));
	json_doc_free(&doc);
	return true;
}

static void write_list(struct jwrite *w, const char *name, const char *text)
{
	if (text[0] == '[' && write_json(w, name, text))
		return;
	jwrite_array(w, name);
	while (*text != '\0') {
		size_t len = strcspn(text, ",");

		if (len > 0)
			jwrite_stringn(w, NULL, text, len);
		text += len + (text[len] == ',');
	}
	jwrite_end(w);
}

static bool write_number(struct jwrite *w, enum sl_type type, const char *name, const char *text)
{
	int64_t integer;
	double number;

	if (type == SL_FLOAT && !num_parse_double(text, &number))
		jwrite_double(w, name, number);
	else if (type != SL_FLOAT && !num_parse_int(text, &integer))
		jwrite_int(w, name, integer);
	else
		return false;
	return true;
}

void conf_params_write(struct jwrite *w, const struct sl_option *option, const char *name, const char *text)
{
	bool done = false;

	switch (option ? option->type : SL_STR) {
	case SL_LIST:
		write_list(w, name, text);
		return;
	case SL_TIME:
	case SL_INT:
	case SL_FLOAT:
		done = write_number(w, option->type, name, text);
		break;
	case SL_BOOL:
		done = str_eq(text, "true") || str_eq(text, "false");
		if (done)
			jwrite_bool(w, name, text[0] == 't');
		break;
	case SL_ANY:
	case SL_OBJECT:
	case SL_JSON_TEXT:
		done = write_json(w, name, text);
		break;
	default:
		break;
	}
	if (!done)
		jwrite_string(w, name, text);
}

/* --- from a probe --- */

static enum sl_type type_of(const char *name)
{
	static const struct {
		const char *name;
		enum sl_type type;
	} types[] = {
		{"string", SL_STR}, {"integer", SL_INT}, {"number", SL_FLOAT}, {"boolean", SL_BOOL}, {"time", SL_TIME},
		{"json", SL_JSON_TEXT}, {"list", SL_LIST}, {"object", SL_OBJECT}, {"duration", SL_DURATION},
		{"size", SL_SIZE}
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq(types[i].name, name))
			return types[i].type;
	return SL_ANY;
}

static unsigned int flags_of(const struct json *list)
{
	unsigned int flags = 0;

	for (const struct json *flag = json_first(list); flag; flag = json_next(flag)) {
		if (str_eq(json_string(flag, NULL), "required"))
			flags |= SL_REQUIRED;
		else if (str_eq(json_string(flag, NULL), "nullable"))
			flags |= SL_NULLABLE;
	}
	return flags;
}

const struct sl_option *conf_params_read(struct arena *arena, const struct json *list)
{
	struct sl_option *options = arena_alloc(arena, (json_count(list) + 1) * sizeof(*options));
	size_t count = 0;

	for (const struct json *item = json_first(list); item; item = json_next(item)) {
		const char *name = json_string(json_member(item, "name"), NULL);
		struct sl_option *option = &options[count];

		if (!name)
			continue;
		option->name = arena_strdup(arena, name);
		option->type = type_of(json_string(json_member(item, "type"), NULL));
		option->flags = flags_of(json_member(item, "flags"));
		json_int(json_member(item, "min"), &option->min);
		json_int(json_member(item, "max"), &option->max);
		count++;
	}
	return options;
}
