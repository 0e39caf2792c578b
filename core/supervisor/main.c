/* SPDX-License-Identifier: Apache-2.0 */
/* sluiced: the command line, checking the configuration, and which role this process is. */
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/str.h"
#include "conf/model.h"
#include "log/log.h"
#include "plugin/probe.h"
#include "relay/relay.h"
#include "role/role.h"
#include "setup/setup.h"
#include "sink/sink.h"
#include "supervisor/supervisor.h"
#include "timer/timer.h"
#include "worker/worker.h"

enum { EXIT_BAD_CONFIG = 1, EXIT_USAGE = 2 };

struct options {
	struct setup_options setup;
	const char *log_level;
	bool check_only;
};

static void usage(FILE *out)
{
	fputs("Usage: sluiced [-n] [-f FILE] [--state DIR] [--plugins DIR[:DIR]...] [--log-level LEVEL]\n"
	      "\n"
	      "Runs the flows of a configuration file until it is told to stop.\n"
	      "\n"
	      "  -f, --file FILE        the configuration ($SLUICE_CONFIG,\n"
	      "                         else " SLUICE_SYSCONFDIR "/sluice/flows.yaml)\n"
	      "  -n, --check            check the configuration, say what is wrong, and exit\n"
	      "      --state DIR        where the embedded stores, the lock and the control socket live\n"
	      "                         ($SLUICE_STATE, else " SLUICE_STATEDIR ")\n"
	      "      --plugins DIRS     folders of plugins ($SLUICE_PLUGIN_PATH, else plugins.path of\n"
	      "                         the file, else " SLUICE_PLUGINDIR ")\n"
	      "      --log-level LEVEL  error, warning, info or debug (log.level of the file, else info)\n"
	      "  -h, --help             this text\n"
	      "  -V, --version          the version\n"
	      "\n"
	      "Exit status: 0 after a clean stop, 1 on a bad configuration or a failed start, 2 on wrong usage.\n",
	      out);
}

/* A role of this program, started by the supervisor: sluiced -x ROLE. */
static int run_role(int argc, char **argv)
{
	const struct role_def *const roles[] = { &worker_role, &relay_role, &sink_role, &timer_role };

	if (argc == 4 && str_eq(argv[2], "probe"))
		return probe_main(argv[3]);
	if (argc >= 5 && str_eq(argv[2], "check"))
		return check_main(argc - 3, argv + 3);
	for (size_t i = 0; argc == 3 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (str_eq(argv[2], roles[i]->name))
			return role_main(roles[i]);
	fputs("sluiced: -x is for the supervisor to start its roles\n", stderr);
	return EXIT_USAGE;
}

static int parse_options(int argc, char **argv, struct options *options)
{
	enum { OPT_STATE = 256, OPT_PLUGINS, OPT_LOG_LEVEL };
	static const struct option known[] = {
		{ "file", required_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'n' },
		{ "state", required_argument, NULL, OPT_STATE },
		{ "plugins", required_argument, NULL, OPT_PLUGINS },
		{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 }
	};
	int option;

	while ((option = getopt_long(argc, argv, "f:nhV", known, NULL)) != -1) {
		switch (option) {
		case 'f': options->setup.file = optarg; break;
		case 'n': options->check_only = true; break;
		case OPT_STATE: options->setup.state = optarg; break;
		case OPT_PLUGINS: options->setup.plugins = optarg; break;
		case OPT_LOG_LEVEL: options->log_level = optarg; break;
		case 'h': usage(stdout); exit(0);
		case 'V': puts("sluiced " SLUICE_VERSION); exit(0);
		default: return -1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: unexpected argument: %s\n", argv[optind]);
		return -1;
	}
	return 0;
}

static void on_refused(void *user, const char *reason)
{
	(void)user;
	log_error("%s", reason);
}

/* Everything that is wrong, on standard error; -1 then. */
static int load(struct setup *setup, const struct options *options)
{
	struct buf wrong;
	int status;

	buf_init(&wrong);
	status = setup_load(setup, &options->setup, true, on_refused, NULL, &wrong);
	if (status != 0)
		fputs(wrong.data != NULL ? wrong.data : "", stderr);
	buf_fini(&wrong);
	return status;
}

static void print_summary(const struct conf_model *conf)
{
	size_t flows = 0, sinks = 0;
	int workers = 0;

	for (size_t i = 0; i < conf->flow_count; i++)
		if (conf->flows[i].enabled) {
			flows++;
			workers += conf->flows[i].workers;
		}
	for (size_t i = 0; i < conf->sink_count; i++)
		sinks += conf->sinks[i].enabled;
	printf("%s: ok: %zu flows, %d workers%s, %zu sinks, %zu plugins\n", conf->file, flows, workers,
	       conf->mode == CONF_SINGLE ? " (in one process: mode: single)" : "", sinks, conf->plugin_count);
}

int main(int argc, char **argv)
{
	struct options options = { .log_level = NULL };
	enum log_level level = LOG_LEVEL_INFO;
	struct setup setup;
	struct error err;
	int status = EXIT_BAD_CONFIG;

	if (argc >= 2 && str_eq(argv[1], "-x"))
		return run_role(argc, argv);
	if (parse_options(argc, argv, &options) != 0) {
		fputs("Try 'sluiced --help'.\n", stderr);
		return EXIT_USAGE;
	}
	if (options.log_level != NULL && log_level_parse(options.log_level, &level) != 0) {
		fprintf(stderr, "sluiced: --log-level %s: it is one of error, warning, info, debug\n", options.log_level);
		return EXIT_USAGE;
	}
	log_init(STDERR_FILENO, "supervisor", level);
	/* Until the supervisor hears it: what it asks for is just being done. */
	signal(SIGHUP, SIG_IGN);
	if (setup_init(&setup, &options.setup, &err) != 0) {
		log_error("%s", err.text);
	} else if (load(&setup, &options) == 0) {
		if (options.log_level != NULL)
			setup.conf->log_level = options.log_level;
		else if (log_level_parse(setup.conf->log_level, &level) == 0)
			log_set_level(level);
		if (options.check_only)
			print_summary(setup.conf);
		status = options.check_only ? 0 : supervisor_run(setup.conf, &(const struct supervisor_start){
			.program = setup.program, .file = setup.file, .state = setup.state,
			.plugins = options.setup.plugins, .log_level = options.log_level});
	}
	setup_fini(&setup);
	return status;
}
