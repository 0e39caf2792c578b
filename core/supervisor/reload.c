/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another configuration while the daemon runs. It is checked completely by a
 * process of its own (check.c) before anything is touched; then the new plan is
 * laid beside what runs. A process whose part of the configuration is the same
 * is left alone; what a running process can be told (limits, log level) it is
 * told; the others drain, as on SIGTERM, and are started with their new part, or
 * not at all. Supervisor only.
 *
 * While processes still drain another reload may come: each child knows only
 * what it is to become at last, which is then replaced.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "supervisor/supervisor.h"

struct reload {
	struct supervisor *supervisor;
	pid_t pid;			/* of the check under way; 0: none */
	int fd;				/* where its answer is; -1 */
	struct loop_timer *timer;	/* it has to end by then */
	bool asked;			/* by a client, who gets the answer */
	bool only_check;
	bool again;			/* SIGHUP came meanwhile: the file may have been changed after it was read */
};

/* What becomes of one process. */
enum change { UNTOUCHED, ADJUSTED, RESTARTED, STARTED, STOPPED };
static const char *const change_names[] = {
	[UNTOUCHED] = "untouched", [ADJUSTED] = "adjusted", [RESTARTED] = "restarted", [STARTED] = "started",
	[STOPPED] = "stopped"
};
#define CHANGES (sizeof(change_names) / sizeof(change_names[0]))

struct step {
	enum change change;
	const struct planned *planned;	/* NULL: STOPPED */
	struct child *child;		/* NULL: STARTED */
	struct part_sums sums;
};

/* What a configuration would change: the plan's processes in its order, then those that stop. */
struct steps {
	struct plan plan;
	struct step *list;		/* owned */
	size_t count, counts[CHANGES];
};

/* --- what changes --- */

static struct child *find_child(const struct supervisor *supervisor, const char *key)
{
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (str_eq(supervisor->children[i]->key, key))
			return supervisor->children[i];
	return NULL;
}

static const struct planned *find_planned(const struct plan *plan, const char *key)
{
	for (size_t i = 0; i < plan->count; i++)
		if (str_eq(plan->list[i].key, key))
			return &plan->list[i];
	return NULL;
}

static enum change change_of(const struct child *child, const struct part_sums *sums)
{
	if (child == NULL)
		return STARTED;
	/* One that drains already comes back with whatever its part is then. */
	if (child->state == CHILD_DRAINING || !str_eq(child->sums.fixed, sums->fixed))
		return RESTARTED;
	return str_eq(child->sums.whole, sums->whole) ? UNTOUCHED : ADJUSTED;
}

static void add_step(struct steps *steps, struct step step)
{
	steps->list[steps->count++] = step;
	steps->counts[step.change]++;
}

static void find_steps(struct steps *steps, const struct supervisor *supervisor, const struct conf_model *conf)
{
	*steps = (struct steps){.list = NULL};
	plan_make(&steps->plan, conf);
	steps->list = mem_alloc((steps->plan.count + supervisor->child_count + 1) * sizeof(*steps->list));
	for (size_t i = 0; i < steps->plan.count; i++) {
		const struct planned *planned = &steps->plan.list[i];
		struct step step = {.planned = planned, .child = find_child(supervisor, planned->key)};

		child_sums(conf, planned, &step.sums);
		step.change = change_of(step.child, &step.sums);
		add_step(steps, step);
	}
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (find_planned(&steps->plan, supervisor->children[i]->key) == NULL)
			add_step(steps, (struct step){.change = STOPPED, .child = supervisor->children[i]});
}

static void steps_fini(struct steps *steps)
{
	mem_release(steps->list);
	plan_fini(&steps->plan);
}

/* What every process relies on, or what would leave behind what is in a store. */
static void need_restart(const struct conf_model *from, const struct conf_model *to, struct buf *wrong)
{
	const struct {
		const char *key, *from, *to;
	} fixed[] = {
		{"stores: tasks", from->tasks, to->tasks}, {"stores: objects", from->objects, to->objects},
		{"stores: bus", from->bus, to->bus}, {"stores: limits", from->limits, to->limits},
		{"stores: warehouse", from->warehouse, to->warehouse}, {"state directory", from->state, to->state}
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!str_eq(fixed[i].from, fixed[i].to))
			buf_printf(wrong, "%s: %s: a change of it needs a restart of the daemon\n", to->file,
				   fixed[i].key);
	if (from->mode != to->mode)
		buf_printf(wrong, "%s: mode: a change of it needs a restart of the daemon\n", to->file);
}

/* --- changing it --- */

static void set_log_level(const struct supervisor *supervisor)
{
	enum log_level level;

	if (log_level_parse(supervisor->conf->log_level, &level) == 0)
		log_set_level(level);
}

static void carry_out(struct supervisor *supervisor, const struct step *step, int64_t drain_ms)
{
	struct child *child = step->child;
	bool told = child != NULL && step->planned != NULL && !str_eq(child->title, step->planned->title);

	if (child == NULL) {
		child = child_new(supervisor, step->planned, &step->sums);
		supervisor_add(supervisor, child);
		child_start(child);
		return;
	}
	if (step->planned != NULL)
		child_adopt(child, step->planned, &step->sums);
	/* Also those that leave: a limit that was lowered holds for what they still do. */
	if ((told || step->change != UNTOUCHED) && child_tell(child) != 0 && step->change == ADJUSTED)
		child_leave(child, true, drain_ms);
	if (step->change == RESTARTED || step->change == STOPPED)
		child_leave(child, step->change == RESTARTED, drain_ms);
}

/* In the order in which they would be started, those that leave last. */
static void sort_children(struct supervisor *supervisor, const struct steps *steps)
{
	size_t at = 0;

	for (size_t i = 0; i < steps->count; i++) {
		const char *key = steps->list[i].planned != NULL ? steps->list[i].planned->key
								  : steps->list[i].child->key;

		for (size_t k = at; k < supervisor->child_count; k++)
			if (str_eq(supervisor->children[k]->key, key)) {
				struct child *child = supervisor->children[k];

				supervisor->children[k] = supervisor->children[at];
				supervisor->children[at++] = child;
				break;
			}
	}
}

/* conf is taken. */
static void apply(struct supervisor *supervisor, struct conf_model *conf, const struct steps *steps)
{
	struct conf_model *before = supervisor->reloaded;
	int64_t drain_ms = supervisor->conf->drain_ms;

	supervisor->conf = supervisor->reloaded = conf;
	set_log_level(supervisor);
	supervisor->all_ready = false;
	supervisor->changed_ms = clock_mono_ms();
	for (size_t i = 0; i < steps->count; i++)
		carry_out(supervisor, &steps->list[i], drain_ms);
	sort_children(supervisor, steps);
	conf_free(&before);
	supervisor_sweep(supervisor);
	log_info("configuration changed started=%zu restarted=%zu stopped=%zu adjusted=%zu untouched=%zu",
		 steps->counts[STARTED], steps->counts[RESTARTED], steps->counts[STOPPED],
		 steps->counts[ADJUSTED], steps->counts[UNTOUCHED]);
	supervisor_child_changed(supervisor);
}

/* --- telling --- */

static void tell_lines(struct jwrite *w, const char *text)
{
	while (text != NULL && *text != '\0') {
		size_t len = strcspn(text, "\n");

		jwrite_stringn(w, NULL, text, len);
		text += len + (text[len] == '\n');
	}
}

static void log_lines(const char *text)
{
	while (*text != '\0') {
		int len = (int)strcspn(text, "\n");

		log_error("%.*s", len, text);
		text += len + (text[len] == '\n');
	}
}

static void tell_refused(struct jwrite *w, const struct json *refused)
{
	jwrite_array(w, "refused_plugins");
	for (const struct json *one = json_first(refused); one != NULL; one = json_next(one))
		jwrite_string(w, NULL, json_string(one, NULL));
	jwrite_end(w);
}

static void tell_error(struct jwrite *w, const char *text, const char *wrong, const struct json *refused)
{
	jwrite_object(w, NULL);
	jwrite_string(w, "error", text);
	jwrite_array(w, "errors");
	tell_lines(w, wrong);
	jwrite_end(w);
	tell_refused(w, refused);
	jwrite_end(w);
}

static void tell_steps(struct jwrite *w, const struct steps *steps, bool applied, const char *log_level,
		       const struct json *refused)
{
	jwrite_object(w, NULL);
	jwrite_bool(w, "applied", applied);
	jwrite_array(w, "changes");
	for (size_t i = 0; i < steps->count; i++) {
		const struct step *step = &steps->list[i];

		jwrite_object(w, NULL);
		jwrite_string(w, "change", change_names[step->change]);
		jwrite_string(w, "process",
			      step->planned != NULL ? step->planned->title : step->child->title);
		jwrite_string(w, "role", step->planned != NULL ? step->planned->role : step->child->role);
		jwrite_end(w);
	}
	jwrite_end(w);
	jwrite_object(w, "counts");
	for (size_t i = 0; i < CHANGES; i++)
		jwrite_uint(w, change_names[i], steps->counts[i]);
	jwrite_end(w);
	/* NULL: as it was. */
	jwrite_string(w, "log_level", log_level);
	tell_refused(w, refused);
	jwrite_end(w);
}

/* --- a check has ended --- */

/* Takes the answer's configuration over, or tells what it would change. */
static void evaluate(struct reload *reload, struct check_answer *checked, struct jwrite *w)
{
	struct supervisor *supervisor = reload->supervisor;
	const char *log_level = NULL;
	struct steps steps;

	/* As at the start: what the command line says holds. */
	if (supervisor->start->log_level != NULL)
		checked->conf->log_level = supervisor->start->log_level;
	if (!str_eq(checked->conf->log_level, supervisor->conf->log_level))
		log_level = checked->conf->log_level;
	find_steps(&steps, supervisor, checked->conf);
	tell_steps(w, &steps, !reload->only_check, log_level, checked->refused);
	if (!reload->only_check) {
		apply(supervisor, checked->conf, &steps);
		checked->conf = NULL;
	}
	steps_fini(&steps);
}

static void refuse(const struct reload *reload, const char *wrong, const struct json *refused, struct jwrite *w)
{
	if (!reload->only_check) {
		log_lines(wrong);
		log_error("the configuration was refused: nothing has changed");
	}
	tell_error(w, "the configuration was refused: nothing has changed", wrong, refused);
}

static void check_over(struct reload *reload, int status, struct buf *out)
{
	struct supervisor *supervisor = reload->supervisor;
	struct check_answer checked = {.doc = NULL};
	struct error err;
	struct buf wrong;
	struct jwrite w;

	buf_init(&wrong);
	jwrite_init(&w, out);
	if (supervisor->draining) {
		tell_error(&w, "the daemon is draining: nothing has changed", NULL, NULL);
	} else if (check_read(&checked, reload->fd, status, &err) != 0) {
		log_error("%s: nothing has changed", err.text);
		tell_error(&w, err.text, NULL, NULL);
	} else {
		for (const struct json *one = json_first(checked.refused); one != NULL; one = json_next(one))
			log_error("%s", json_string(one, NULL));
		if (checked.wrong != NULL)
			buf_adds(&wrong, checked.wrong);
		else
			need_restart(supervisor->conf, checked.conf, &wrong);
		if (checked.wrong != NULL || wrong.len > 0)
			refuse(reload, wrong.len > 0 ? wrong.data : "", checked.refused, &w);
		else
			evaluate(reload, &checked, &w);
	}
	check_fini(&checked);
	buf_fini(&wrong);
}

/* --- its life --- */

static void on_timeout(void *user)
{
	const struct reload *reload = user;

	kill(reload->pid, SIGKILL);
}

static int begin(struct reload *reload, bool asked, bool only_check, struct error *err)
{
	pid_t pid = check_start(reload->supervisor->start, &reload->fd, err);

	if (pid < 0)
		return error_prefix(err, "checking the configuration");
	reload->pid = pid;
	reload->asked = asked;
	reload->only_check = only_check;
	loop_timer_start(reload->timer, CHECK_TIMEOUT_MS, 0);
	return 0;
}

bool reload_ended(struct supervisor *supervisor, pid_t pid, int status)
{
	struct reload *reload = supervisor->reload;
	struct buf answer;

	if (reload->pid == 0 || reload->pid != pid)
		return false;
	loop_timer_stop(reload->timer);
	reload->pid = 0;
	buf_init(&answer);
	check_over(reload, status, &answer);
	close(reload->fd);
	reload->fd = -1;
	if (reload->asked)
		control_reloaded(supervisor->control, &answer);
	buf_fini(&answer);
	if (reload->again) {
		reload->again = false;
		reload_now(supervisor);
	}
	return true;
}

void reload_now(struct supervisor *supervisor)
{
	struct reload *reload = supervisor->reload;
	struct error err;

	if (supervisor->draining) {
		log_warning("draining: the configuration is not read again");
	} else if (reload->pid != 0) {
		reload->again = true;
	} else {
		log_info("reading the configuration again");
		if (begin(reload, false, false, &err) != 0)
			log_error("%s: nothing has changed", err.text);
	}
}

int reload_ask(struct supervisor *supervisor, bool only_check, struct error *err)
{
	struct reload *reload = supervisor->reload;

	if (supervisor->draining)
		return error_set(err, ERR_BUSY, "the daemon is draining");
	if (reload->pid != 0)
		return error_set(err, ERR_BUSY, "the configuration is being read already: try again in a moment");
	if (!only_check)
		log_info("reading the configuration again, by command");
	return begin(reload, true, only_check, err);
}

struct reload *reload_new(struct supervisor *supervisor)
{
	struct reload *reload = mem_alloc(sizeof(*reload));

	reload->supervisor = supervisor;
	reload->fd = -1;
	reload->timer = loop_timer_new(supervisor->loop, on_timeout, reload);
	return reload;
}

void reload_free(struct reload **reload)
{
	if (*reload == NULL)
		return;
	if ((*reload)->pid != 0) {
		kill((*reload)->pid, SIGKILL);
		waitpid((*reload)->pid, NULL, 0);
		close((*reload)->fd);
	}
	loop_timer_free(&(*reload)->timer);
	mem_free(reload);
}
