/* SPDX-License-Identifier: Apache-2.0 */
/* What commands work on: configuration, plugins, task store. */
#include "ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/catalogue.h"
#include "conf/model.h"
#include "plugin/plugin.h"
#include "store/store_sync.h"

static void on_refused(void *user, const char *reason)
{
	(void)user;
	ctl_fail("%s", reason);
}

int ctl_settle(struct ctl *ctl)
{
	struct error err;

	if (ctl->setup.arena != NULL)
		return 0;
	if (setup_init(&ctl->setup, &ctl->options, &err) == 0)
		return 0;
	ctl_fail("%s", err.text);
	return -1;
}

int ctl_load(struct ctl *ctl, bool needed)
{
	struct buf wrong;
	int status;

	if (ctl->loaded)
		return 0;
	if (ctl_settle(ctl) != 0)
		return -1;
	if (needed && access(ctl->setup.file, R_OK) != 0) {
		ctl_fail("%s: %s; name the configuration with -f FILE or $SLUICE_CONFIG", ctl->setup.file,
			 strerror(errno));
		return -1;
	}
	buf_init(&wrong);
	status = setup_load(&ctl->setup, &ctl->options, needed, on_refused, NULL, &wrong);
	if (status != 0)
		fputs(wrong.data != NULL ? wrong.data : "", stderr);
	buf_fini(&wrong);
	ctl->loaded = status == 0;
	return status;
}

int ctl_load_plugins(struct ctl *ctl)
{
	struct error err;

	if (ctl->plugins != NULL)
		return 0;
	ctl->plugins = plugin_set_new();
	if (setup_load_plugins(&ctl->setup, ctl->plugins, &err) == 0)
		return 0;
	ctl_fail("%s", err.text);
	return -1;
}

static int open_store(struct ctl *ctl, bool create, bool quiet)
{
	struct store_options options;
	struct error err;
	const char *url;

	if (ctl->store != NULL)
		return 0;
	if (ctl_load(ctl, false) != 0)
		return -1;
	url = ctl->setup.conf->tasks;
	if (!create && str_starts(url, "sqlite:") && access(url + strlen("sqlite:"), F_OK) != 0) {
		if (!quiet)
			ctl_fail("there is no task store %s: name the state directory with --state DIR", url);
		return -1;
	}
	/* As sluiced does, whichever is said first. */
	if (create && str_starts(url, "sqlite:") && mkdir(ctl->setup.conf->state, 0700) != 0 && errno != EEXIST) {
		ctl_fail("state directory %s: %s", ctl->setup.conf->state, strerror(errno));
		return -1;
	}
	options = setup_store_options(ctl->setup.conf, ctl->arena);
	ctl->store = store_sync_open(url, &options, create, &err);
	if (ctl->store != NULL)
		return 0;
	ctl_fail("the task store: %s", err.text);
	return -1;
}

int ctl_open_store(struct ctl *ctl, bool create)
{
	return open_store(ctl, create, false);
}

int ctl_open_store_if_there(struct ctl *ctl)
{
	return open_store(ctl, false, true);
}

const struct sl_flow *ctl_flow(struct ctl *ctl, const char *name, const struct plugin **plugin_r)
{
	const struct conf_catalogue *catalogue;
	const struct sl_flow *flow;
	const char **names, *near;

	if (ctl_load(ctl, false) != 0 || ctl_load_plugins(ctl) != 0)
		return NULL;
	flow = plugin_find_flow(ctl->plugins, name, plugin_r);
	if (flow != NULL)
		return flow;
	catalogue = ctl->setup.catalogue;
	names = arena_alloc(ctl->arena, (catalogue->flow_count + 1) * sizeof(*names));
	for (size_t i = 0; i < catalogue->flow_count; i++)
		names[i] = catalogue->flows[i].name;
	near = str_nearest(name, names, catalogue->flow_count);
	if (near != NULL)
		ctl_fail("no plugin offers a flow \"%s\" (did you mean \"%s\"?)", name, near);
	else
		ctl_fail("no plugin offers a flow \"%s\"; 'sluicectl flow list' lists those there are", name);
	return NULL;
}

void ctl_close(struct ctl *ctl)
{
	store_sync_close(&ctl->store);
	if (ctl->plugins != NULL)
		plugin_set_free(&ctl->plugins);
	if (ctl->setup.arena != NULL)
		setup_fini(&ctl->setup);
}
