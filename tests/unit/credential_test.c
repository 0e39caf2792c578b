/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, sealed texts, credentials as the store keeps them, and what the Graph API says of a token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/secret.h"
#include "base/str.h"
#include "credential/envelope.h"
#include "credential/graph.h"

#define KEY_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_BASE64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER_HEX "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define NOW_S INT64_C(1700000000)

static const char *const public_fields[] = {"user_id", NULL};
static const char *const fields[] = {"token", "user_id", NULL};
static const struct sl_source graph = {.size = sizeof(graph),
				       .name = "graphapi",
				       .auth = SL_AUTH_QUERY,
				       .auth_field = "token",
				       .fields = fields,
				       .public_fields = public_fields};
static const struct sl_source reseller = {
	.size = sizeof(reseller), .name = "reseller", .auth = SL_AUTH_HEADERS};
static const struct sl_source keyed = {
	.size = sizeof(keyed), .name = "keyed", .auth = SL_AUTH_QUERY, .auth_field = "key"};
static const struct sl_source shop = {.size = sizeof(shop), .name = "shop", .auth = SL_AUTH_HEADERS,
				      .flags = SL_SOURCE_BOUND};

struct fixture {
	struct arena *arena;
	struct credential_keys keys;
	struct buf out;
	struct error err;
};

static int setup(void **state)
{
	struct fixture *fx = mem_alloc(sizeof(*fx));

	fx->arena = arena_new();
	buf_init(&fx->out);
	assert_int_equal(credential_keys_init(&fx->keys, KEY_HEX, NULL, 0, &fx->err), 0);
	*state = fx;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fx = *state;

	credential_keys_fini(&fx->keys);
	buf_fini(&fx->out);
	arena_free(&fx->arena);
	mem_free(&fx);
	return 0;
}

static void keys_are_hex_or_base64(void **state)
{
	static const char *const wrong[] = {
		"",
		"correct horse battery staple",
		"00",
		KEY_HEX "00",
		"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
		"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"};
	struct secret_key hex, base64, other;
	struct error err;

	(void)state;
	assert_int_equal(secret_key_parse(&hex, KEY_HEX, &err), 0);
	assert_int_equal(secret_key_parse(&base64, KEY_BASE64, &err), 0);
	assert_int_equal(secret_key_parse(&other, OTHER_HEX, &err), 0);
	assert_string_equal(hex.id, base64.id);
	assert_string_not_equal(hex.id, other.id);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(secret_key_parse(&other, wrong[i], &err), -1);
		assert_non_null(strstr(err.text, "openssl rand -hex 32"));
		assert_true(*wrong[i] == '\0' || strlen(wrong[i]) < 5 || strstr(err.text, wrong[i]) == NULL);
	}
}

static void sealed_texts_open_with_their_key_alone(void **state)
{
	struct secret_key key, other;
	struct buf first, second, clear;
	struct error err;

	(void)state;
	secret_key_parse(&key, KEY_HEX, &err);
	secret_key_parse(&other, OTHER_HEX, &err);
	buf_init(&first);
	buf_init(&second);
	buf_init(&clear);
	secret_seal(&key, "hush", 4, &first);
	secret_seal(&key, "hush", 4, &second);
	assert_string_not_equal(first.data, second.data);
	assert_int_equal(secret_open(&key, first.data, &clear, &err), 0);
	assert_string_equal(clear.data, "hush");
	assert_int_equal(secret_open(&other, first.data, &clear, &err), -1);
	assert_int_equal(secret_open(&key, "", &clear, &err), -1);
	assert_int_equal(secret_open(&key, "AAAA", &clear, &err), -1);
	first.data[first.len - 3] = first.data[first.len - 3] == 'A' ? 'B' : 'A';
	assert_int_equal(secret_open(&key, first.data, &clear, &err), -1);
	assert_string_equal(clear.data, "hush");
	buf_fini(&first);
	buf_fini(&second);
	secret_wipe(&clear);
	assert_null(clear.data);
}

static void a_credential_is_sealed_but_for_its_public_part(void **state)
{
	struct fixture *fx = *state;
	const struct credential_member members[] = {{"token", "s3cret-token", true},
						    {"user_id", "17", false}};
	struct credential_member *found;
	size_t count;

	credential_seal(&fx->keys, "graphapi", members, 2, &fx->out);
	assert_null(strstr(fx->out.data, "s3cret"));
	assert_non_null(strstr(fx->out.data, "\"user_id\":\"17\""));
	assert_true(credential_is_current(&fx->keys, fx->out.data));
	assert_int_equal(credential_open(&fx->keys, "graphapi", &graph, fx->out.data, fx->arena, &found,
					 &count, &fx->err),
			 0);
	assert_int_equal(count, 2);
	assert_string_equal(found[0].value, "s3cret-token");
	assert_true(found[0].secret);
	assert_string_equal(found[1].name, "user_id");
	assert_false(found[1].secret);
	/* Moved into a row of another source it is worth nothing. */
	assert_int_equal(credential_open(&fx->keys, "reseller", &reseller, fx->out.data, fx->arena, &found,
					 &count, &fx->err),
			 -1);
	assert_non_null(strstr(fx->err.text, "another source"));
}

static void an_old_key_opens_and_does_not_seal(void **state)
{
	struct fixture *fx = *state;
	const struct credential_member member = {"key", "s3cret", true};
	const char *const old[] = {KEY_HEX};
	struct credential_keys rotated, strange;
	struct credential_member *found;
	size_t count;

	credential_seal(&fx->keys, "keyed", &member, 1, &fx->out);
	assert_int_equal(credential_keys_init(&rotated, OTHER_HEX, old, 1, &fx->err), 0);
	assert_int_equal(credential_keys_init(&strange, OTHER_HEX, NULL, 0, &fx->err), 0);
	assert_false(credential_is_current(&rotated, fx->out.data));
	assert_int_equal(
		credential_open(&rotated, "keyed", &keyed, fx->out.data, fx->arena, &found, &count, &fx->err),
		0);
	assert_int_equal(
		credential_open(&strange, "keyed", &keyed, fx->out.data, fx->arena, &found, &count, &fx->err),
		-1);
	assert_non_null(strstr(fx->err.text, fx->keys.keys[0].id));
	buf_clear(&fx->out);
	credential_seal(&rotated, "keyed", &member, 1, &fx->out);
	assert_true(credential_is_current(&rotated, fx->out.data));
	credential_keys_fini(&rotated);
	credential_keys_fini(&strange);
}

static void what_the_original_wrote_is_read(void **state)
{
	struct fixture *fx = *state;
	static const char *const bad[] = {"[]",
					  "{}",
					  "\"x\"",
					  "{\"sealed\":\"v1:\"}",
					  "{\"sealed\":\"v1:x\"}",
					  "{\"sealed\":\"v1:x:y\"}",
					  "nonsense"};
	struct credential_member *found;
	size_t count;

	assert_int_equal(credential_open(&fx->keys, "graphapi", &graph,
					 "{\"token\": \"t\", \"user_id\": 17841406338772941, \"none\": null}",
					 fx->arena, &found, &count, &fx->err),
			 0);
	assert_int_equal(count, 2);
	assert_string_equal(found[1].value, "17841406338772941");
	assert_false(credential_is_current(&fx->keys, "{\"token\": \"t\"}"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(credential_open(&fx->keys, "graphapi", NULL, bad[i], fx->arena, &found,
						 &count, &fx->err),
				 -1);
}

static const char *identity(struct fixture *fx, const struct sl_source *source, const char *handle,
			    const struct credential_member *members, size_t count)
{
	buf_clear(&fx->out);
	credential_identity(&fx->keys, source, handle, members, count, &fx->out);
	return arena_strdup(fx->arena, fx->out.data);
}

static void names_tell_no_secret(void **state)
{
	struct fixture *fx = *state;
	const struct credential_member account[] = {{"token", "s3cret", true}, {"user_id", "17", false}};
	const struct credential_member headers[] = {{"A", "s3cret", true}, {"B", "other", true}};
	const struct credential_member turned[] = {{"B", "other", true}, {"A", "s3cret", true}};
	const struct credential_member key = {"key", "s3cret", true}, hidden = {"user_id", "s3cret", true};

	assert_string_equal(identity(fx, &graph, "h", account, 2), "graphapi:17");
	assert_string_equal(identity(fx, &shop, "a.example", headers, 2), "shop:a.example");
	assert_string_equal(identity(fx, &reseller, NULL, headers, 2),
			    identity(fx, &reseller, NULL, turned, 2));
	assert_string_not_equal(identity(fx, &reseller, NULL, headers, 2),
				identity(fx, &reseller, NULL, headers, 1));
	assert_true(str_starts(identity(fx, &keyed, NULL, &key, 1), "keyed:#"));
	assert_null(strstr(identity(fx, &keyed, NULL, &key, 1), "s3cret"));
	/* Where the source does not say that an account's number is public, it is not shown. */
	assert_null(strstr(identity(fx, &reseller, NULL, &hidden, 1), "s3cret"));
}

static void members_are_checked(void **state)
{
	struct fixture *fx = *state;
	const struct credential_member members[] = {
		{"token", "t", true}, {"user_id", "17", false}, {"more", "x", true}, {"token", "u", true}};

	assert_int_equal(credential_check(&graph, members, 2, &fx->err), 0);
	assert_int_equal(credential_check(&graph, members, 1, &fx->err), -1);
	assert_non_null(strstr(fx->err.text, "needs a member \"user_id\""));
	assert_int_equal(credential_check(&graph, members, 3, &fx->err), -1);
	assert_non_null(strstr(fx->err.text, "knows no member \"more\""));
	assert_int_equal(credential_check(&reseller, members, 4, &fx->err), -1);
	assert_non_null(strstr(fx->err.text, "twice"));
	assert_int_equal(credential_check(&reseller, members, 3, &fx->err), 0);
	assert_int_equal(credential_check(&keyed, members, 1, &fx->err), -1);
	assert_int_equal(credential_check(&reseller, members, 0, &fx->err), -1);
}

static void reasons_are_masked(void **state)
{
	struct fixture *fx = *state;
	const struct credential_member members[] = {
		{"token", "s3cret", true}, {"user_id", "1784", false}, {"x", "ab", true}};

	credential_mask(members, 3, "key s3cret of 1784 and ab: s3crets3cret", &fx->out);
	assert_string_equal(fx->out.data, "key *** of 1784 and ab: ******");
}

static enum graph_state judged(const char *body, bool own, struct graph_verdict *verdict)
{
	struct error err;

	assert_int_equal(graph_debug_read(body, strlen(body), own, NOW_S, verdict, &err), 0);
	return verdict->state;
}

#define SCOPES                                                                                               \
	"\"scopes\":[\"instagram_basic\",\"instagram_manage_insights\",\"pages_read_engagement\",\"pages_"   \
	"show_list\"]"

static void graph_tokens_are_judged(void **state)
{
	struct graph_verdict verdict;
	struct error err;

	(void)state;
	assert_int_equal(judged("{\"data\":{\"is_valid\":true,\"data_access_expires_at\":1699395201," SCOPES
				"}}",
				true, &verdict),
			 GRAPH_GOOD);
	/* Seven days to the second are still good; one more is not. */
	assert_int_equal(judged("{\"data\":{\"is_valid\":true,\"data_access_expires_at\":1699395200," SCOPES
				"}}",
				true, &verdict),
			 GRAPH_GOOD);
	assert_int_equal(judged("{\"data\":{\"is_valid\":true,\"data_access_expires_at\":1699395199," SCOPES
				"}}",
				true, &verdict),
			 GRAPH_DATA_EXPIRED);
	assert_int_equal(judged("{\"data\":{\"is_valid\":true,\"data_access_expires_at\":0," SCOPES "}}",
				true, &verdict),
			 GRAPH_GOOD);
	assert_int_equal(
		judged("{\"data\":{\"is_valid\":true,\"scopes\":[\"instagram_basic\"]}}", true, &verdict),
		GRAPH_INVALID);
	assert_non_null(strstr(verdict.reason, "instagram_manage_insights"));
	assert_int_equal(judged("{\"data\":{\"is_valid\":false,\"error\":{\"message\":\"gone\"}," SCOPES "}}",
				true, &verdict),
			 GRAPH_INVALID);
	assert_string_equal(verdict.reason, "token invalid: gone");
	assert_int_equal(judged("{\"error\":{\"code\":190,\"message\":\"m\"}}", true, &verdict),
			 GRAPH_INVALID);
	/* Of another token that asked, or of a limit: nothing is known of this one. */
	assert_int_equal(graph_debug_read("{\"error\":{\"code\":190}}", 22, false, NOW_S, &verdict, &err),
			 -1);
	assert_int_equal(graph_debug_read("{\"error\":{\"code\":4}}", 20, true, NOW_S, &verdict, &err), -1);
	assert_int_equal(graph_debug_read("<html>", 6, true, NOW_S, &verdict, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_are_hex_or_base64),
		cmocka_unit_test(sealed_texts_open_with_their_key_alone),
		cmocka_unit_test_setup_teardown(a_credential_is_sealed_but_for_its_public_part, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_old_key_opens_and_does_not_seal, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_original_wrote_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(names_tell_no_secret, setup, teardown),
		cmocka_unit_test_setup_teardown(members_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(reasons_are_masked, setup, teardown),
		cmocka_unit_test(graph_tokens_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
