/* SPDX-License-Identifier: Apache-2.0 */
/* When paging ends, kept in facts NAME.count, NAME.seen and NAME.oldest. */
#include "lib.h"

static const char *fact(const struct sl_host *h, struct sl_task *t, const char *name, const char *part)
{
	return h->format(t, "%s.%s", name, part);
}

void paging_note(const struct sl_host *h, struct sl_task *t, const char *name, int64_t taken)
{
	const char *oldest = fact(h, t, name, "oldest");

	h->set_int(t, fact(h, t, name, "count"), paging_count(h, t, name) + 1);
	if (taken > 0 && taken < h->get_int(t, oldest, INT64_MAX))
		h->set_int(t, oldest, taken);
}

int64_t paging_count(const struct sl_host *h, struct sl_task *t, const char *name)
{
	return h->get_int(t, fact(h, t, name, "count"), 0);
}

bool paging_more(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, const char *name,
		 int64_t most, int64_t max_age_s)
{
	const char *seen = fact(h, t, name, "seen");
	const int64_t oldest = h->get_int(t, fact(h, t, name, "oldest"), INT64_MAX);
	const int64_t count = paging_count(h, t, name);
	const bool grew = count > h->get_int(t, seen, 0);

	h->set_int(t, seen, count);
	if (!h->next_cursor(c) || !grew || count > most)
		return false;
	return max_age_s == 0 || oldest >= h->now(t) - max_age_s;
}

enum sl_result fail_with_call(const struct sl_host *h, struct sl_task *t, const struct sl_call *c)
{
	return h->fail(t, h->outcome(c), h->outcome_text(c));
}
