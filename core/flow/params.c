/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a task's parameters against what its flow declares, before the task is made. Any thread. */
#include <string.h>

#include "flow/internal.h"

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

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

int flow_check_params(const struct sl_flow *flow, const struct json *params, struct error *err)
{
	struct findings findings;
	int status = 0;

	if (json_type(params) != JSON_OBJECT)
		return error_set(err, ERR_INPUT, "flow \"%s\": params must be an object", flow->name);
	buf_init(&findings.text);
	unknown_check(&findings, flow->params, params);
	for (const struct sl_option *option = flow->params; option && option->name; option++)
		param_check(&findings, option, params);
	if (findings.text.len)
		status = error_set(err, ERR_INPUT, "flow \"%s\": %s", flow->name, findings.text.data);
	buf_fini(&findings.text);
	return status;
}
