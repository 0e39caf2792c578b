/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as flows.yaml: checking never crashes, and either gives a model
 * that survives its way to a role or says at least one error. To fuzz, see
 * json_fuzz.c; the corpus is tests/conf.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "conf/catalogue.h"
#include "conf/errors.h"
#include "conf/model.h"
#include "conf/yaml.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char plugin[] =
	"{\"name\":\"instagram\",\"options\":[{\"name\":\"page_size\",\"type\":\"integer\",\"min\":1,\"max\":200}],"
	"\"sources\":[{\"name\":\"rocketapi\",\"base_url\":\"http://r\"},{\"name\":\"graphapi\"}],"
	"\"operations\":[{\"name\":\"followers\",\"sources\":[\"rocketapi\",\"graphapi\"]}],"
	"\"flows\":[{\"name\":\"fetch_profile_followers\",\"params\":[{\"name\":\"handle\"}],"
	"\"streams\":[\"relationship_log_events\"]}],"
	"\"streams\":[{\"name\":\"relationship_log_events\",\"exchange\":\"x\",\"key\":\"k\"}],"
	"\"sinks\":[{\"name\":\"relationship_log_events\",\"queue\":\"q\",\"exchange\":\"x\",\"key\":\"k\"},"
	"{\"name\":\"profile_log_events\",\"queue\":\"q\",\"exchange\":\"x\",\"key\":\"l\"}]}";

static void check(bool ok)
{
	if (!ok)
		abort();
}

static const char *variable(void *context, const char *name)
{
	(void)context;
	return strlen(name) % 2 == 0 ? "7" : NULL;
}

static struct conf_catalogue *offered(void)
{
	struct conf_catalogue *catalogue = conf_catalogue_new();
	struct json_doc *doc = json_parse(plugin, sizeof(plugin) - 1, NULL);

	check(doc != NULL && conf_catalogue_add(catalogue, json_root(doc), NULL) == 0);
	json_doc_free(&doc);
	return catalogue;
}

static void check_model(const struct conf_model *model)
{
	struct conf_model *copy;
	struct json_doc *doc;
	struct buf json, again;

	buf_init(&json);
	buf_init(&again);
	conf_part_json(model, &json);
	doc = json_parse(json.data, json.len, NULL);
	check(doc != NULL);
	copy = conf_part_read(json_root(doc), NULL);
	check(copy != NULL);
	conf_part_json(copy, &again);
	check(json.len == again.len && memcmp(json.data, again.data, json.len) == 0);
	conf_free(&copy);
	json_doc_free(&doc);
	buf_fini(&json);
	buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct conf_env env = {.state = "/state", .get = variable};
	struct conf_catalogue *catalogue = offered();
	struct conf_model *model = NULL;
	struct conf_errors errors;
	struct conf_file *file;
	struct buf text;
	char path[64];
	int fd = memfd_create("flows.yaml", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf_errors_init(&errors, "flows.yaml");
	file = conf_read(path, &env, &errors);
	if (file != NULL)
		model = conf_check(file, catalogue, &errors);
	conf_file_free(&file);
	conf_catalogue_free(&catalogue);
	check((model != NULL) == (errors.count == 0));
	buf_init(&text);
	conf_errors_print(&errors, &text);
	buf_fini(&text);
	conf_errors_fini(&errors);
	if (model != NULL)
		check_model(model);
	conf_free(&model);
	close(fd);
	return 0;
}
