/* SPDX-License-Identifier: Apache-2.0 */
/* See discover.h. Loads nothing into this process. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "json/json.h"
#include "plugin/discover.h"
#include "plugin/probe.h"

static int is_object(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && str_ends(entry->d_name, ".so");
}

/* 1 when the file was added, 0 when it was refused, -1 when it could not be looked at. */
static int add_file(const char *program, const char *file, struct conf_catalogue *catalogue,
		    plugin_refused_fn *refused, void *user, struct error *err)
{
	struct json_doc *doc = NULL;
	struct buf answer;
	int added = 0;

	buf_init(&answer);
	if (probe_run(program, file, PROBE_TIMEOUT_MS, &answer, err) != 0) {
		if (err->code != ERR_INPUT)
			added = -1;
		else
			refused(user, err->text);
	} else {
		doc = json_parse(answer.data, answer.len, err);
		if (doc != NULL && conf_catalogue_add(catalogue, json_root(doc), err) == 0) {
			added = 1;
		} else {
			error_prefix(err, "%s: plugin refused", file);
			refused(user, err->text);
		}
	}
	json_doc_free(&doc);
	buf_fini(&answer);
	return added;
}

static int add_folder(const char *program, const char *folder, struct conf_catalogue *catalogue,
		      plugin_refused_fn *refused, void *user, struct error *err)
{
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_object, alphasort);
	int added = 0;

	if (count < 0)
		return error_errno(err, "plugin folder %s", folder);
	for (int i = 0; i < count; i++) {
		char file[4096];
		int one = -1;

		if (added < 0)
			;	/* only freeing what is left */
		else if (!str_format(file, sizeof(file), "%s/%s", folder, entries[i]->d_name))
			error_set(err, ERR_INPUT, "plugin folder %s: path too long", folder);
		else
			one = add_file(program, file, catalogue, refused, user, err);
		added = added < 0 || one < 0 ? -1 : added + one;
		free(entries[i]);
	}
	free(entries);
	return added;
}

int plugin_discover(const char *program, const char *folders, struct conf_catalogue *catalogue,
		    plugin_refused_fn *refused, void *user, struct error *err)
{
	char *list, *folder, *rest = NULL;
	int total = 0;

	if (folders == NULL)
		folders = getenv("SLUICE_PLUGIN_PATH");
	if (folders == NULL || folders[0] == '\0')
		folders = SLUICE_PLUGINDIR;
	list = mem_strdup(folders);
	for (folder = strtok_r(list, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
		int added = add_folder(program, folder, catalogue, refused, user, err);

		if (added < 0) {
			total = -1;
			break;
		}
		total += added;
	}
	mem_release(list);
	return total;
}
