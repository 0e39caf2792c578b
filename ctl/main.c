/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl: the tables of commands and options, the command line, the help. */
#include "ctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/num.h"
#include "base/str.h"
#include "metrics/metrics.h"
#include "plugin/probe.h"

#define ANY_NUMBER ((size_t)-1)

static int cmd_help(struct ctl *ctl);

static const struct ctl_option no_options[] = {{NULL, 0, NULL, NULL}};

static const struct ctl_option global_options[] = {
	{"config", 'f', "FILE",
	 "the configuration ($SLUICE_CONFIG, else " SLUICE_SYSCONFDIR "/sluice/flows.yaml)"},
	{"state", 0, "DIR", "the state directory ($SLUICE_STATE, else " SLUICE_STATEDIR ")"},
	{"plugins", 0, "DIRS",
	 "folders of plugins, separated by colons ($SLUICE_PLUGIN_PATH, else as configured)"},
	{"json", 0, NULL, "print JSON, for programs"},
	{"color", 0, NULL, "use colors on a terminal (the default there)"},
	{"no-color", 0, NULL, "use no colors"},
	{"help", 'h', NULL, "print this text, or that of a command"},
	{"version", 'V', NULL, "print the version"},
	{NULL, 0, NULL, NULL}
};

static const struct ctl_command commands[] = {
	{"submit", "FLOW [KEY=VALUE]...", "make tasks of a flow", submit_options, 1, ANY_NUMBER, cmd_submit},
	{"task list", "", "list tasks, newest first", task_list_options, 0, 0, cmd_task_list},
	{"task show", "ID", "show everything about a task", no_options, 1, 1, cmd_task_show},
	{"task skipped", "[FLOW]", "list what gets no more tasks because it failed for good (skip_after)",
	 task_skipped_options, 0, 1, cmd_task_skipped},
	{"task forget", "FLOW [KEY=VALUE]...", "forget how often something failed", task_forget_options, 1, ANY_NUMBER,
	 cmd_task_forget},
	{"flow list", "", "list the flows that plugins offer and how each is configured", no_options, 0, 0,
	 cmd_flow_list},
	{"flow show", "FLOW", "show a flow's parameters, operations, tables and streams", no_options, 1, 1,
	 cmd_flow_show},
	{"flow try", "FLOW [KEY=VALUE]...", "run a task here and print what it makes, writing nothing",
	 flow_try_options, 1, ANY_NUMBER, cmd_flow_try},
	{"plugin list", "", "list the plugins", no_options, 0, 0, cmd_plugin_list},
	{"plugin show", "NAME", "show what a plugin offers", no_options, 1, 1, cmd_plugin_show},
	{"plugin check", "FILE.so", "tell whether a plugin would be loaded, and why not", no_options, 1, 1,
	 cmd_plugin_check},
	{"source list", "", "list the sources: which of them fail or are stopped", no_options, 0, 0, cmd_source_list},
	{"source stop", "SOURCE", "make no more requests to a source, on any node", source_stop_options, 1, 1,
	 cmd_source_stop},
	{"source start", "SOURCE", "make requests to a source again, now", no_options, 1, 1, cmd_source_start},
	{"query", "SQL", "ask the warehouse", query_options, 1, 1, cmd_query},
	{"status", "", "show the daemon's processes and counters, and the tasks by flow", no_options, 0, 0,
	 cmd_status},
	{"reload", "", "have the daemon read its configuration again, and tell what changes", reload_options, 0, 0,
	 cmd_reload},
	{"schedule list", "", "list the schedules: when each comes next, and what came of it", no_options, 0, 0,
	 cmd_schedule_list},
	{"schedule run", "FLOW", "make the tasks of a flow's schedule now, once", no_options, 1, 1, cmd_schedule_run},
	{"schema show", "", "print the statements that bring the task store up to date", schema_show_options,
	 0, 0, cmd_schema_show},
	{"schema apply", "", "bring the task store up to date, or make it", no_options, 0, 0,
	 cmd_schema_apply},
	{"schema check", "", "tell whether the stores can be used, and what to do", no_options, 0, 0,
	 cmd_schema_check},
	{"dead list", "[QUEUE]", "list the dead letters: events that could not be inserted",
	 dead_list_options, 0, 1, cmd_dead_list},
	{"dead show", "ID", "show everything about a dead letter", dead_show_options, 1, 1, cmd_dead_show},
	{"dead replay", "[QUEUE | ID...]", "send dead letters to their sinks again", dead_replay_options, 0,
	 ANY_NUMBER, cmd_dead_replay},
	{"dead drop", "[QUEUE | ID...]", "delete dead letters for good", dead_drop_options, 0, ANY_NUMBER,
	 cmd_dead_drop},
	{"credential add", "SOURCE [NAME=@FILE]...",
	 "add a credential to the pool, or change the one there is", credential_add_options, 1, ANY_NUMBER,
	 cmd_credential_add},
	{"credential import", "FILE", "add credentials from a CSV or JSON file", no_options, 1, 1,
	 cmd_credential_import},
	{"credential list", "", "list the credentials of the pool", credential_list_options, 0, 0,
	 cmd_credential_list},
	{"credential show", "ID", "show everything about a credential but its secrets", no_options, 1, 1,
	 cmd_credential_show},
	{"credential test", "ID...", "ask what credentials are worth", credential_test_options, 1, ANY_NUMBER,
	 cmd_credential_test},
	{"credential enable", "ID...", "let credentials be used again", no_options, 1, ANY_NUMBER,
	 cmd_credential_enable},
	{"credential disable", "ID...", "let credentials not be used until they are enabled",
	 credential_disable_options, 1, ANY_NUMBER, cmd_credential_disable},
	{"credential park", "ID...", "let credentials not be used for a time", credential_park_options, 1,
	 ANY_NUMBER, cmd_credential_park},
	{"credential remove", "ID...", "delete credentials for good", credential_remove_options, 1, ANY_NUMBER,
	 cmd_credential_remove},
	{"credential rotate-key", "", "seal with the new key what the old ones sealed", no_options, 0, 0,
	 cmd_credential_rotate},
	{"help", "[COMMAND]", "print help", no_options, 0, 2, cmd_help},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct exit_def {
	int status;
	const char *help;
} exits[] = {
	{CTL_OK, "done"},
	{CTL_FAILED, "something failed; standard error says what"},
	{CTL_USAGE, "wrong usage"},
	{CTL_TASKS_FAILED, "some of the tasks that were waited for failed"},
	{CTL_TIMEOUT, "the tasks that were waited for did not end in time"},
	{CTL_TASKS_SKIPPED, "tasks were not made, for what failed before (skip_after)"},
};
#define EXITS (sizeof(exits) / sizeof(exits[0]))

/* --- complaints --- */

static void complain(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static void complain(const char *fmt, va_list ap)
{
	fputs("sluicectl: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int ctl_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	return CTL_FAILED;
}

int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(fmt, ap);
	va_end(ap);
	if (ctl->command != NULL)
		fprintf(stderr, "Try 'sluicectl %s --help'.\n", ctl->command->name);
	else
		fputs("Try 'sluicectl --help'.\n", stderr);
	return CTL_USAGE;
}

/* --- help --- */

static void print_options(const struct ctl_option *options)
{
	for (const struct ctl_option *o = options; o->name != NULL; o++) {
		char left[64];

		str_format(left, sizeof(left), "--%s%s%s", o->name, o->arg != NULL ? " " : "",
			   o->arg != NULL ? o->arg : "");
		if (o->letter != 0)
			printf("  -%c, %-22s %s\n", o->letter, left, o->help);
		else
			printf("      %-22s %s\n", left, o->help);
	}
}

static void print_exits(void)
{
	puts("\nExit status:");
	for (size_t i = 0; i < EXITS; i++)
		printf("  %d  %s\n", exits[i].status, exits[i].help);
}

static void help_all(void)
{
	puts("Usage: sluicectl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:");
	for (size_t i = 0; i < COMMANDS; i++) {
		char left[64];

		str_format(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
		printf("  %-31s %s\n", left, commands[i].help);
	}
	puts("\nOptions of every command:");
	print_options(global_options);
	print_exits();
	puts("\n'sluicectl COMMAND --help' tells of a command's own options.");
}

static void help_command(const struct ctl_command *command)
{
	printf("Usage: sluicectl %s [OPTION]...%s%s\n\nPurpose: %s.\n", command->name,
	       command->args[0] != '\0' ? " " : "", command->args, command->help);
	if (command->options->name != NULL) {
		puts("\nOptions:");
		print_options(command->options);
	}
	puts("\nOptions of every command:");
	print_options(global_options);
	print_exits();
}

/* What the manual has to hold, for the test that compares: one thing per line. */
static void dump_docs(void)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		printf("command %s\n", commands[i].name);
		for (const struct ctl_option *o = commands[i].options; o->name != NULL; o++)
			printf("option %s --%s\n", commands[i].name, o->name);
	}
	for (const struct ctl_option *o = global_options; o->name != NULL; o++)
		printf("option --%s\n", o->name);
	for (size_t i = 0; i < EXITS; i++)
		printf("exit %d\n", exits[i].status);
	for (int id = 0; id < METRIC_COUNT; id++)
		printf("counter %s %s\n", metric_defs[id].name, metric_defs[id].help);
}

/* --- the command line --- */

/* The command of these one or two words; NULL: none. */
static const struct ctl_command *find_command(const char *first, const char *second)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		const char *space = strchr(commands[i].name, ' ');
		size_t len = space != NULL ? (size_t)(space - commands[i].name) : strlen(commands[i].name);

		if (strlen(first) == len && strncmp(commands[i].name, first, len) == 0 &&
		    (space == NULL || str_eq(space + 1, second)))
			return &commands[i];
	}
	return NULL;
}

static int cmd_help(struct ctl *ctl)
{
	const struct ctl_command *command;

	if (ctl->arg_count == 0) {
		help_all();
		return CTL_OK;
	}
	command = find_command(ctl->args[0], ctl->arg_count > 1 ? ctl->args[1] : NULL);
	if (command == NULL)
		return ctl_usage(ctl, "there is no command \"%s%s%s\"", ctl->args[0],
				 ctl->arg_count > 1 ? " " : "", ctl->arg_count > 1 ? ctl->args[1] : "");
	help_command(command);
	return CTL_OK;
}

static const struct ctl_option *find_option(const struct ctl_option *options, const char *name, size_t len,
					    char letter)
{
	for (; options->name != NULL; options++)
		if (name != NULL ? strlen(options->name) == len && strncmp(options->name, name, len) == 0
				 : options->letter == letter)
			return options;
	return NULL;
}

/* Takes argv[i] as an option and what belongs to it. Returns the index of what comes next, or -1. */
static int take_option(struct ctl *ctl, char **argv, int i)
{
	const char *word = argv[i], *value = NULL;
	bool is_long = word[1] == '-';
	const char *name = is_long ? word + 2 : NULL;
	size_t len = is_long ? strcspn(name, "=") : 0;
	const struct ctl_option *option = find_option(global_options, name, len, word[1]);

	if (option == NULL && ctl->command != NULL)
		option = find_option(ctl->command->options, name, len, word[1]);
	if (option == NULL) {
		ctl_usage(ctl, "%s has no option %s", ctl->command != NULL ? ctl->command->name : "sluicectl",
			  word);
		return -1;
	}
	if (is_long && name[len] == '=')
		value = name + len + 1;
	else if (!is_long && word[2] != '\0')
		value = word + 2;
	if (option->arg == NULL && value != NULL) {
		ctl_usage(ctl, "--%s takes no value", option->name);
		return -1;
	}
	if (option->arg != NULL && value == NULL) {
		value = argv[++i];
		if (value == NULL) {
			ctl_usage(ctl, "--%s needs a value: %s", option->name, option->arg);
			return -1;
		}
	}
	ctl->values[ctl->value_count++] = (struct ctl_value){ option, value != NULL ? value : "" };
	return i + 1;
}

/* Which words follow a first word that alone is no command: "task needs one of: list, show". */
static int complain_command(struct ctl *ctl, const char *first, const char *second)
{
	const char *names[COMMANDS], *near;
	struct buf list;
	size_t len = strlen(first);

	buf_init(&list);
	for (size_t i = 0; i < COMMANDS; i++) {
		names[i] = arena_strndup(ctl->arena, commands[i].name, strcspn(commands[i].name, " "));
		if (strncmp(commands[i].name, first, len) == 0 && commands[i].name[len] == ' ')
			buf_printf(&list, "%s%s", list.len > 0 ? ", " : "", commands[i].name + len + 1);
	}
	near = str_nearest(first, names, COMMANDS);
	if (list.len > 0 && second != NULL)
		ctl_usage(ctl, "there is no command \"%s %s\": after \"%s\" comes one of %s", first, second,
			  first, list.data);
	else if (list.len > 0)
		ctl_usage(ctl, "after \"%s\" comes one of %s", first, list.data);
	else if (near != NULL)
		ctl_usage(ctl, "there is no command \"%s\" (did you mean \"%s\"?)", first, near);
	else
		ctl_usage(ctl, "there is no command \"%s\"", first);
	buf_fini(&list);
	return -1;
}

/* A word that is no option: part of the command, or an argument of it. */
static int take_word(struct ctl *ctl, const char *word, const char **first)
{
	if (ctl->command != NULL) {
		ctl->args[ctl->arg_count++] = word;
		return 0;
	}
	ctl->command = *first != NULL ? find_command(*first, word) : find_command(word, NULL);
	if (ctl->command != NULL)
		return 0;
	if (*first != NULL)
		return complain_command(ctl, *first, word);
	*first = word;
	return 0;
}

static int parse(struct ctl *ctl, int argc, char **argv)
{
	const char *first = NULL;
	bool options = true;

	ctl->args = arena_alloc(ctl->arena, (size_t)argc * sizeof(*ctl->args));
	ctl->values = arena_alloc(ctl->arena, (size_t)argc * sizeof(*ctl->values));
	for (int i = 1; i < argc; ) {
		if (options && str_eq(argv[i], "--")) {
			options = false;
			i++;
		} else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
			i = take_option(ctl, argv, i);
			if (i < 0)
				return -1;
		} else if (take_word(ctl, argv[i++], &first) != 0) {
			return -1;
		}
	}
	if (ctl->command != NULL || ctl_option(ctl, "help") != NULL || ctl_option(ctl, "version") != NULL)
		return 0;
	if (first != NULL)
		return complain_command(ctl, first, NULL);
	ctl_usage(ctl, "which command?");
	return -1;
}

static int check_arguments(const struct ctl *ctl)
{
	const struct ctl_command *command = ctl->command;

	if (ctl->arg_count < command->least)
		return ctl_usage(ctl, "%s needs %s", command->name, command->args);
	if (ctl->arg_count > command->most)
		return ctl_usage(ctl, "%s takes no argument \"%s\"", command->name, ctl->args[command->most]);
	return CTL_OK;
}

/* --- options --- */

const char *ctl_option_at(const struct ctl *ctl, const char *name, size_t index)
{
	for (size_t i = 0; i < ctl->value_count; i++)
		if (str_eq(ctl->values[i].option->name, name) && index-- == 0)
			return ctl->values[i].value;
	return NULL;
}

const char *ctl_option(const struct ctl *ctl, const char *name)
{
	for (size_t i = ctl->value_count; i > 0; i--)
		if (str_eq(ctl->values[i - 1].option->name, name))
			return ctl->values[i - 1].value;
	return NULL;
}

int ctl_option_number(struct ctl *ctl, const char *name, long long fallback, long long *value_r)
{
	const char *text = ctl_option(ctl, name);
	int64_t value;

	*value_r = fallback;
	if (text == NULL)
		return 0;
	if (num_parse_int(text, &value) != 0 || value < 1) {
		ctl_usage(ctl, "--%s %s: must be a whole number of at least 1", name, text);
		return -1;
	}
	*value_r = value;
	return 0;
}

static int run(struct ctl *ctl)
{
	const char *no_colors = getenv("NO_COLOR");
	int status;

	if (ctl_option(ctl, "version") != NULL) {
		puts("sluicectl " SLUICE_VERSION);
		return CTL_OK;
	}
	if (ctl_option(ctl, "help") != NULL) {
		if (ctl->command != NULL)
			help_command(ctl->command);
		else
			help_all();
		return CTL_OK;
	}
	status = check_arguments(ctl);
	if (status != CTL_OK)
		return status;
	ctl->json = ctl_option(ctl, "json") != NULL;
	ctl->terminal = isatty(STDOUT_FILENO) == 1;
	ctl->color = ctl->terminal && !ctl->json && ctl_option(ctl, "no-color") == NULL &&
		     (ctl_option(ctl, "color") != NULL || no_colors == NULL || no_colors[0] == '\0');
	ctl->options = (struct setup_options){ ctl_option(ctl, "config"), ctl_option(ctl, "state"),
					       ctl_option(ctl, "plugins") };
	return ctl->command->run(ctl);
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .command = NULL };
	int status = CTL_USAGE;

	/* The child that looks at a plugin file: see plugin/probe.h. */
	if (argc == 4 && str_eq(argv[1], "-x") && str_eq(argv[2], "probe"))
		return probe_main(argv[3]);
	if (argc == 2 && str_eq(argv[1], "--dump-docs")) {
		dump_docs();
		return CTL_OK;
	}
	ctl.arena = arena_new();
	if (parse(&ctl, argc, argv) == 0)
		status = run(&ctl);
	ctl_close(&ctl);
	arena_free(&ctl.arena);
	if (fflush(stdout) != 0 && status == CTL_OK)
		status = ctl_fail("standard output cannot be written");
	return status;
}
