/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several plugins need and none should write twice: the streams and
 * record types all platforms share, the rule that ends paging, and readers of
 * the small languages that upstream data is written in. Everything is pure;
 * texts returned live as long as the callback.
 */
#ifndef SLUICE_PLUGINS_LIB_H
#define SLUICE_PLUGINS_LIB_H

#include <stdbool.h>
#include <stdint.h>

#include <sluice/plugin.h>

#define BEAT_EXCHANGE "beat.dx"
#define DAY_S ((int64_t)86400)

/*
 * Profiles and posts of any platform. A profile's key is its id, a post's its
 * short code. The events take profile_id and handle from the record's
 * attributes and publish_time from the dimension taken_at_timestamp.
 */
extern const struct sl_record_type profile_type, post_type;
extern const struct sl_stream profile_log_events, post_log_events;

/*
 * Paging. paging_note counts one thing found on a page under name; taken is
 * when it was published, 0 = not known. paging_more says whether the call's
 * next page is wanted: there is one, this page brought something, at most most
 * things were collected so far, and the oldest is younger than max_age_s
 * (0 = any age). A page counts whole. paging_count: the things so far.
 */
void paging_note(const struct sl_host *h, struct sl_task *t, const char *name, int64_t taken);
bool paging_more(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, const char *name,
		 int64_t most, int64_t max_age_s);
int64_t paging_count(const struct sl_host *h, struct sl_task *t, const char *name);

/* Ends the task with the error its call ended with. */
enum sl_result fail_with_call(const struct sl_host *h, struct sl_task *t, const struct sl_call *c);

/* "#sun,#sea" from a caption; NULL when it has none. */
const char *hashtags(const struct sl_host *h, struct sl_task *t, const char *text);
/* The utm_ parameters of a URL as a JSON object without the prefix: {"source":"x"}; NULL for a NULL url. */
const char *utm_params(const struct sl_host *h, struct sl_task *t, const char *url);
/* Seconds of an ISO 8601 duration ("PT1H2M3S"); -1 when text is none. */
int64_t duration_seconds(const char *text);
/* Equal but for the case of ASCII letters; false when one is NULL. */
bool same_name(const char *a, const char *b);

#endif
