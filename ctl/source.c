/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl source: no more requests to a source, or requests again, until the daemon is restarted. */
#include "ctl.h"

#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "json/json.h"
#include "json/jwrite.h"

static const char *nearest(const struct ctl *ctl, const char *name)
{
	const struct conf_catalogue *catalogue = ctl->setup.catalogue;
	const char **names = arena_alloc(ctl->arena, (catalogue->source_count + 1) * sizeof(*names));

	for (size_t i = 0; i < catalogue->source_count; i++)
		names[i] = catalogue->sources[i].name;
	return str_nearest(name, names, catalogue->source_count);
}

/* 0, or -1 and err, also when the daemon refuses. */
static int tell(const struct ctl *ctl, const char *name, bool stopped, struct error *err)
{
	struct buf line, rest, request;
	struct json_doc *doc = NULL;
	struct jwrite w;
	int fd = daemon_connect(ctl, err), status;

	if (fd < 0)
		return -1;
	buf_init(&line);
	buf_init(&rest);
	buf_init(&request);
	jwrite_init(&w, &request);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "cmd", "source");
	jwrite_string(&w, "source", name);
	jwrite_bool(&w, "stopped", stopped);
	jwrite_end(&w);
	status = daemon_ask(fd, request.data, &line, &rest, err);
	if (status == 0)
		doc = json_parse(line.data, line.len, err);
	if (status == 0 && json_string(json_member(doc != NULL ? json_root(doc) : NULL, "error"), NULL) != NULL)
		status = error_set(err, ERR_INPUT, "%s",
				   json_string(json_member(json_root(doc), "error"), NULL));
	json_doc_free(&doc);
	buf_fini(&request);
	buf_fini(&rest);
	buf_fini(&line);
	close(fd);
	return status;
}

static int change(struct ctl *ctl, bool stopped)
{
	const char *name = ctl->args[0], *near;
	struct error err;

	if (ctl_load(ctl, true) != 0)
		return CTL_FAILED;
	if (conf_offered_source(ctl->setup.catalogue, NULL, name) == NULL) {
		near = nearest(ctl, name);
		return ctl_fail("no plugin has a source \"%s\"%s%s%s", name, near != NULL ? " (did you mean \"" : "",
				near != NULL ? near : "", near != NULL ? "\"?)" : "");
	}
	if (tell(ctl, name, stopped, &err) != 0)
		return ctl_fail("%s", err.text);
	if (ctl->json)
		printf("{\"source\":\"%s\",\"stopped\":%s}\n", name, stopped ? "true" : "false");
	return CTL_OK;
}

int cmd_source_stop(struct ctl *ctl)
{
	return change(ctl, true);
}

int cmd_source_start(struct ctl *ctl)
{
	return change(ctl, false);
}
