/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens from a token server that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "credential/oauth.h"
#include "http/http.h"
#include "httpd/httpd.h"
#include "loop/loop.h"

#define DEADLINE_MS 20000

/* What the server answers, and what it was asked; under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char answer_body[200], asked[400];
static unsigned int answer_status;
static size_t requests;

struct test {
	struct httpd *server;
	struct loop *loop;
	struct http_client *http;
	struct oauth *oauth;
	char url[100];
	struct oauth_answer answer;
};

static const struct credential_member members[] = {{"client_id", "the-client", true},
						   {"client_secret", "s&cret", true},
						   {"refresh_token", "1//refresh", true}};

static void handler(void *data, struct httpd_request *request)
{
	struct httpd_reply reply = {.ownership = HTTPD_OWNED};
	size_t len;

	(void)data;
	pthread_mutex_lock(&lock);
	requests++;
	str_format(asked, sizeof(asked), "%s %s %s", httpd_method(request),
		   httpd_header_in(request, "Content-Type"), httpd_body(request, &len));
	reply.status = answer_status;
	reply.body = mem_strdup(answer_body);
	reply.len = strlen(answer_body);
	pthread_mutex_unlock(&lock);
	httpd_answer(request, &reply);
}

static void answers(unsigned int status, const char *body)
{
	pthread_mutex_lock(&lock);
	answer_status = status;
	str_format(answer_body, sizeof(answer_body), "%s", body);
	pthread_mutex_unlock(&lock);
}

static size_t asked_times(void)
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = requests;
	pthread_mutex_unlock(&lock);
	return n;
}

static int setup(void **state)
{
	const struct httpd_config config = {.handler = handler};
	const struct http_options options = {.user_agent = NULL};
	struct test *t = mem_alloc(sizeof(*t));
	struct error err;

	t->server = httpd_start(&config, &err);
	assert_non_null(t->server);
	t->loop = loop_new();
	t->http = http_client_new(t->loop, &options);
	t->oauth = oauth_new(t->loop, t->http);
	str_format(t->url, sizeof(t->url), "http://127.0.0.1:%u/token", httpd_port(t->server));
	requests = 0;
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;

	oauth_free(&t->oauth);
	http_client_free(&t->http);
	loop_free(&t->loop);
	httpd_stop(&t->server);
	mem_release(t);
	return 0;
}

static void ask(struct test *t)
{
	oauth_ask(t->oauth, t->url, members, 3, &t->answer);
}

/* Asks until there is an answer, or the reason for which there is none. */
static enum oauth_state ask_through(struct test *t)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	for (ask(t); t->answer.state == OAUTH_WAIT && t->answer.reason[0] == '\0'; ask(t)) {
		if (clock_mono_ms() > end)
			fail_msg("no answer");
		loop_run_once(t->loop, 20);
	}
	return t->answer.state;
}

static void a_token_is_fetched_once_and_kept(void **state)
{
	struct test *t = *state;

	answers(200, "{\"access_token\":\"ya29.first\",\"expires_in\":3599,\"token_type\":\"Bearer\"}");
	/* Many want it at once: one request. */
	for (int i = 0; i < 10; i++) {
		ask(t);
		assert_int_equal(t->answer.state, OAUTH_WAIT);
	}
	assert_int_equal(ask_through(t), OAUTH_READY);
	assert_string_equal(t->answer.token, "ya29.first");
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask_through(t), OAUTH_READY);
	assert_int_equal(asked_times(), 1);
	assert_string_equal(
		asked, "POST application/x-www-form-urlencoded grant_type=refresh_token&client_id=the-client"
		       "&client_secret=s%26cret&refresh_token=1%2F%2Frefresh");
}

static void a_token_that_ends_soon_is_fetched_anew(void **state)
{
	struct test *t = *state;
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	answers(200, "{\"access_token\":\"short\",\"expires_in\":1}");
	assert_int_equal(ask_through(t), OAUTH_READY);
	answers(200, "{\"access_token\":\"next\",\"expires_in\":3600}");
	do {
		loop_run_once(t->loop, 20);
		ask(t);
	} while ((t->answer.state != OAUTH_READY || str_eq(t->answer.token, "short")) &&
		 clock_mono_ms() < end);
	assert_int_equal(t->answer.state, OAUTH_READY);
	assert_string_equal(t->answer.token, "next");
	assert_int_equal(asked_times(), 2);
}

static void a_refused_token_is_renewed_when_it_is_no_new_one(void **state)
{
	struct test *t = *state;
	int64_t begin;

	answers(200, "{\"access_token\":\"first\",\"expires_in\":3600}");
	assert_int_equal(ask_through(t), OAUTH_READY);
	answers(200, "{\"access_token\":\"second\",\"expires_in\":3600}");
	/* Whoever was refused just now had an older one. */
	oauth_renew(t->oauth, t->url, members, 3);
	assert_int_equal(ask_through(t), OAUTH_READY);
	assert_string_equal(t->answer.token, "first");
	for (begin = clock_mono_ms(); clock_mono_ms() < begin + 5100; )
		loop_run_once(t->loop, 50);
	oauth_renew(t->oauth, t->url, members, 3);
	assert_int_equal(ask_through(t), OAUTH_READY);
	assert_string_equal(t->answer.token, "second");
	assert_int_equal(asked_times(), 2);
	oauth_renew(t->oauth, t->url, members, 2);
}

static void an_invalid_grant_is_told_once(void **state)
{
	struct test *t = *state;

	answers(400,
		"{\"error\":\"invalid_grant\",\"error_description\":\"Token 1//refresh has been revoked.\"}");
	assert_int_equal(ask_through(t), OAUTH_REFUSED);
	assert_string_equal(t->answer.reason, "the token server refuses it: invalid_grant");
	answers(200, "{\"access_token\":\"again\"}");
	assert_int_equal(ask_through(t), OAUTH_READY);
}

static void trouble_is_waited_for(void **state)
{
	struct test *t = *state;
	int64_t end = clock_mono_ms() + DEADLINE_MS;

	answers(503, "<html>");
	assert_int_equal(ask_through(t), OAUTH_WAIT);
	assert_non_null(strstr(t->answer.reason, "status 503"));
	assert_true(t->answer.wait_ms > 0 && t->answer.wait_ms <= 1000);
	ask(t);
	assert_int_equal(asked_times(), 1);
	answers(200, "{\"no\":\"token\"}");
	do {
		loop_run_once(t->loop, 20);
		ask(t);
	} while (strstr(t->answer.reason, "holds none") == NULL && clock_mono_ms() < end);
	assert_non_null(strstr(t->answer.reason, "holds none"));
	answers(200, "{\"access_token\":\"at last\"}");
	while (t->answer.state != OAUTH_READY && clock_mono_ms() < end) {
		loop_run_once(t->loop, 20);
		ask(t);
	}
	assert_int_equal(t->answer.state, OAUTH_READY);
}

static void a_credential_without_its_members_is_refused(void **state)
{
	struct test *t = *state;

	oauth_ask(t->oauth, t->url, members, 2, &t->answer);
	assert_int_equal(t->answer.state, OAUTH_REFUSED);
	assert_non_null(strstr(t->answer.reason, "refresh_token"));
	assert_int_equal(asked_times(), 0);
}

static void what_is_under_way_may_be_dropped(void **state)
{
	struct test *t = *state;

	answers(200, "{\"access_token\":\"late\"}");
	ask(t);
	assert_int_equal(t->answer.state, OAUTH_WAIT);
	oauth_free(&t->oauth);
	assert_int_equal(http_running(t->http), 0);
	t->oauth = oauth_new(t->loop, t->http);
}

#define OAUTH_CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OAUTH_CASE(a_token_is_fetched_once_and_kept),
		OAUTH_CASE(a_token_that_ends_soon_is_fetched_anew),
		OAUTH_CASE(a_refused_token_is_renewed_when_it_is_no_new_one),
		OAUTH_CASE(an_invalid_grant_is_told_once),
		OAUTH_CASE(trouble_is_waited_for),
		OAUTH_CASE(a_credential_without_its_members_is_refused),
		OAUTH_CASE(what_is_under_way_may_be_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
