/* SPDX-License-Identifier: Apache-2.0 */
/* See setup.h. */
#include "setup/setup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/catalogue.h"
#include "conf/errors.h"
#include "conf/model.h"
#include "conf/yaml.h"
#include "limit/limit.h"
#include "plugin/plugin.h"
#include "warehouse/warehouse.h"

static const char *given(const char *option, const char *variable, const char *otherwise)
{
	const char *value = option != NULL ? option : getenv(variable);

	return value != NULL && value[0] != '\0' ? value : otherwise;
}

int setup_init(struct setup *setup, const struct setup_options *options, struct error *err)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	*setup = (struct setup){ .arena = arena_new() };
	setup->file = given(options->file, "SLUICE_CONFIG", SLUICE_SYSCONFDIR "/sluice/flows.yaml");
	setup->state = given(options->state, "SLUICE_STATE", SLUICE_STATEDIR);
	if (n <= 0)
		return error_errno(err, "/proc/self/exe");
	setup->program = arena_strndup(setup->arena, path, (size_t)n);
	/* Store URLs are made from it, and they hold absolute paths. */
	if (setup->state[0] == '/')
		return 0;
	if (getcwd(path, sizeof(path)) == NULL)
		return error_errno(err, "the working directory");
	setup->state = arena_printf(setup->arena, "%s/%s", path, setup->state);
	return 0;
}

void setup_fini(struct setup *setup)
{
	conf_catalogue_free(&setup->catalogue);
	conf_free(&setup->conf);
	arena_free(&setup->arena);
}

/* plugins.path of the file, joined; NULL: it says nothing. */
static const char *file_folders(const struct setup *setup, const struct conf_file *file)
{
	size_t count = 0;
	const char *const *folders = file != NULL ? conf_file_plugin_path(file, &count) : NULL;
	const char *list = NULL;

	for (size_t i = 0; i < count; i++)
		list = i == 0 ? folders[0] : arena_printf(setup->arena, "%s:%s", list, folders[i]);
	return list;
}

/* Objects have no driver yet: conf knows what it needs to of their URLs. */
static int check_url(enum conf_family family, const char *url, struct error *err)
{
	switch (family) {
	case CONF_TASKS:
		return store_check_url(url, err);
	case CONF_BUS:
		return bus_check_url(url, err);
	case CONF_LIMITS:
		return limit_check_url(url, err);
	case CONF_WAREHOUSE:
		return warehouse_check_url(url, err);
	default:
		return 0;
	}
}

int setup_load(struct setup *setup, const struct setup_options *options, bool needed,
	       plugin_refused_fn *refused, void *user, struct buf *wrong)
{
	const struct conf_env env = { .state = setup->state };
	bool there = needed || options->file != NULL || access(setup->file, F_OK) == 0;
	struct conf_file *file;
	struct conf_errors errors;
	const char *folders;
	struct error err;
	int status = -1;

	conf_errors_init(&errors, setup->file);
	file = there ? conf_read(setup->file, &env, &errors)
		     : conf_read_text(setup->file, "version: 1\n", &env, &errors);
	folders = given(options->plugins, "SLUICE_PLUGIN_PATH", file_folders(setup, file));
	setup->catalogue = conf_catalogue_new();
	setup->catalogue->check_url = check_url;
	if (file == NULL) {
		conf_errors_print(&errors, wrong);
	} else if (plugin_discover(setup->program, folders, setup->catalogue, refused, user, &err) < 0) {
		buf_printf(wrong, "%s\n", err.text);
	} else {
		setup->conf = conf_check(file, setup->catalogue, &errors);
		conf_errors_print(&errors, wrong);
		status = setup->conf == NULL ? -1 : 0;
	}
	conf_file_free(&file);
	conf_errors_fini(&errors);
	return status;
}

int setup_load_plugins(const struct setup *setup, struct plugin_set *set, struct error *err)
{
	for (size_t i = 0; i < setup->catalogue->plugin_count; i++) {
		const struct conf_offer_plugin *seen = &setup->catalogue->plugins[i];
		struct plugin_file expected = {
			.device = seen->device, .inode = seen->inode, .size = seen->size};

		str_format(expected.sha256, sizeof(expected.sha256), "%s", seen->sha256);
		if (plugin_load(set, seen->file, &expected, NULL, err) != 0)
			return -1;
	}
	return 0;
}

/* Where tasks' status events leave: as the original's. */
#define STATUS_EXCHANGE "beat.dx"
#define STATUS_KEY "scrape_request_log_events"

/* Comma-separated: where task status events go, as outbox rows name it; NULL: nowhere. */
static const char *status_queues(const struct conf_model *conf, struct arena *arena)
{
	char *list = NULL;
	const char *queue;

	/* Whoever wants them has bound a queue; nobody has to. */
	if (bus_publishes(conf->bus))
		return bus_address(arena, STATUS_EXCHANGE, STATUS_KEY);

	for (size_t i = 0; (queue = conf_route(conf, STATUS_EXCHANGE, STATUS_KEY, i)) != NULL; i++)
		list = i == 0 ? arena_strdup(arena, queue) : arena_printf(arena, "%s,%s", list, queue);
	return list;
}

const struct sl_stream setup_traces = SL_STREAM_INIT(
	.name = "trace_log", .exchange = "identity.dx", .key = "trace_log", .doc = "Requests to upstream APIs");

struct store_options setup_store_options(const struct conf_model *conf, struct arena *arena)
{
	return (struct store_options){.status_queues = status_queues(conf, arena),
				      .crash_limit = conf->crash_limit,
				      .relayed = bus_publishes(conf->bus),
				      .packed = conf->packing == CONF_PACK_LZ4};
}
