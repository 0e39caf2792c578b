/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing JSON: every reader on every value, exact numbers, what is put right, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "json/json.h"
#include "json/jwrite.h"

static struct json_doc *parse_bytes(const char *bytes, size_t len)
{
	struct error err = {.code = ERR_NONE};
	struct json_doc *doc = json_parse(bytes, len, &err);

	if (doc == NULL)
		fail_msg("%s", err.text);
	return doc;
}

static struct json_doc *parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void assert_refused_bytes(const char *bytes, size_t len, const char *message)
{
	struct error err = {.code = ERR_NONE};

	assert_null(json_parse(bytes, len, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_string_equal(err.text, message);
}

static void assert_refused(const char *text, const char *message)
{
	assert_refused_bytes(text, strlen(text), message);
}

static void assert_prints(const struct json *value, const char *expected)
{
	struct buf out;

	buf_init(&out);
	json_print(value, &out);
	assert_string_equal(out.data, expected);
	buf_fini(&out);
}

/* Parses text, prints it, compares; sanitised tells what the second look should have done. */
static void assert_parsed_as(const char *text, const char *expected, bool sanitised)
{
	struct json_doc *doc = parse(text);

	assert_int_equal(json_doc_sanitised(doc), sanitised);
	assert_prints(json_root(doc), expected);
	json_doc_free(&doc);
	assert_null(doc);
}

static void assert_text(const struct json *value, const char *expected)
{
	size_t len;
	const char *text = json_string(value, &len);

	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	assert_string_equal(text, expected);
}

static void test_missing_values_read_as_nothing(void **state)
{
	size_t len = 9;
	int64_t i = 7;
	double d = 7;
	bool b = true;

	(void)state;
	assert_int_equal(json_type(NULL), JSON_NULL);
	assert_null(json_at(NULL, "a.b|c"));
	assert_null(json_at(NULL, ""));
	assert_null(json_member(NULL, "a"));
	assert_int_equal(json_count(NULL), 0);
	assert_null(json_first(NULL));
	assert_null(json_next(NULL));
	assert_null(json_name(NULL));
	assert_null(json_string(NULL, &len));
	assert_int_equal(len, 0);
	assert_null(json_string(NULL, NULL));
	assert_false(json_int(NULL, &i));
	assert_false(json_double(NULL, &d));
	assert_false(json_bool(NULL, &b));
	assert_true(i == 7 && d == 7.0 && b);
	assert_prints(NULL, "null");
	assert_null(json_root(NULL));
	assert_false(json_doc_sanitised(NULL));
	assert_int_equal(json_doc_size(NULL), 0);
	json_doc_free(&(struct json_doc *){NULL});
}

static void test_readers_answer_only_for_their_type(void **state)
{
	static const char *const names[] = {
		"null", "bool", "int", "uint", "double", "string", "array", "object",
	};
	struct json_doc *doc = parse("{\"null\":null,\"bool\":true,\"int\":-5,\"uint\":18446744073709551615,"
				     "\"double\":1.5,\"string\":\"x\",\"array\":[1],\"object\":{\"a\":1}}");
	const struct json *child = json_first(json_root(doc));

	(void)state;
	for (int type = JSON_NULL; type <= JSON_OBJECT; type++) {
		bool container = type == JSON_ARRAY || type == JSON_OBJECT;
		int64_t i;
		double d;
		bool b;

		assert_string_equal(json_name(child), names[type]);
		assert_int_equal(json_type(child), type);
		assert_int_equal(json_int(child, &i), type == JSON_INT);
		assert_int_equal(json_double(child, &d), type >= JSON_INT && type <= JSON_DOUBLE);
		assert_int_equal(json_bool(child, &b), type == JSON_BOOL);
		assert_int_equal(json_string(child, NULL) != NULL, type == JSON_STRING);
		assert_int_equal(json_count(child), container);
		assert_int_equal(json_first(child) != NULL, container);
		assert_int_equal(json_member(child, "a") != NULL, type == JSON_OBJECT);
		child = json_next(child);
	}
	assert_null(child);
	assert_null(json_next(json_root(doc)));
	assert_null(json_name(json_root(doc)));
	json_doc_free(&doc);
}

static void test_children_come_in_order(void **state)
{
	struct json_doc *doc = parse("{\"a\":[\"x\",\"y\",12345678901,{},[],"
				     "{\"k\":[1,2]},null,\"z\"],\"b\":{},\"c\":1}");
	const struct json *array = json_member(json_root(doc), "a");
	const struct json *child;
	size_t count = 0;

	(void)state;
	for (child = json_first(array); child != NULL; child = json_next(child)) {
		assert_null(json_name(child));
		count++;
	}
	assert_int_equal(count, 8);
	assert_int_equal(json_count(array), 8);
	assert_text(json_at(array, "7"), "z");
	child = json_next(array);
	assert_string_equal(json_name(child), "b");
	assert_int_equal(json_count(child), 0);
	assert_null(json_first(child));
	child = json_next(child);
	assert_string_equal(json_name(child), "c");
	assert_null(json_next(child));
	json_doc_free(&doc);
}

static void test_paths(void **state)
{
	struct json_doc *doc = parse("{\"a\":{\"b\":[{\"c\":1},{\"c\":2}],\"n\":null,\"7\":\"seven\"},"
				     "\"x.y\":\"dotted\",\"\":{\"\":\"empty\"},\"f\":false,\"z\":\"last\"}");
	const struct json *root = json_root(doc);
	int64_t i;

	(void)state;
	assert_ptr_equal(json_at(root, ""), root);
	assert_ptr_equal(json_at(root, NULL), root);
	assert_true(json_int(json_at(root, "a.b.1.c"), &i));
	assert_int_equal(i, 2);
	assert_text(json_at(root, "a.7"), "seven");
	assert_text(json_member(root, "x.y"), "dotted");
	assert_null(json_at(root, "x.y"));
	assert_text(json_at(root, "."), "empty");
	assert_null(json_at(root, "a.b.2"));
	assert_null(json_at(root, "a.b.-1"));
	assert_null(json_at(root, "a.b.1x"));
	assert_null(json_at(root, "a.b."));
	assert_null(json_at(root, "a.b.99999999999999999999999"));
	assert_null(json_at(root, "a.n"));
	assert_int_equal(json_type(json_member(json_at(root, "a"), "n")), JSON_NULL);
	assert_non_null(json_member(json_at(root, "a"), "n"));
	assert_null(json_at(root, "z.deeper"));
	assert_null(json_at(root, "aa"));
	assert_null(json_at(root, "A"));
	assert_text(json_at(root, "missing|a.n|z|a.7"), "last");
	assert_text(json_at(root, "a.b.5|a.7|z"), "seven");
	assert_int_equal(json_type(json_at(root, "f|z")), JSON_BOOL);
	assert_null(json_at(root, "no|a.n|nor.this"));
	json_doc_free(&doc);
}

static void test_first_of_equal_keys_is_found(void **state)
{
	struct json_doc *doc = parse("{\"a\":1,\"b\":2,\"a\":3}");
	int64_t i;

	(void)state;
	assert_true(json_int(json_at(json_root(doc), "a"), &i));
	assert_int_equal(i, 1);
	assert_int_equal(json_count(json_root(doc)), 3);
	json_doc_free(&doc);
}

static void test_large_numbers_are_exact(void **state)
{
	static const char text[] = "[9007199254740991,9007199254740992,9007199254740993,-9007199254740993,"
				   "9223372036854775807,-9223372036854775808,9223372036854775808,"
				   "18446744073709551615,0]";
	static const int64_t values[] = {9007199254740991, 9007199254740992, 9007199254740993,
					 -9007199254740993, INT64_MAX, INT64_MIN};
	struct json_doc *doc = parse(text);
	const struct json *child = json_first(json_root(doc));
	int64_t i;
	double d;

	(void)state;
	for (size_t k = 0; k < sizeof(values) / sizeof(*values); k++) {
		assert_int_equal(json_type(child), JSON_INT);
		assert_true(json_int(child, &i));
		assert_true(i == values[k]);
		child = json_next(child);
	}
	assert_int_equal(json_type(child), JSON_UINT);
	assert_false(json_int(child, &i));
	assert_true(json_double(child, &d));
	assert_true(d == 0x1p63);
	assert_prints(json_root(doc), text);
	json_doc_free(&doc);
}

static void test_doubles_read_back_the_same(void **state)
{
	(void)state;
	assert_parsed_as("[0.1,1.0,-2.50,1e3,1e-5,0.0001,123456789.123,5e-324,1.7976931348623157e308,1e16,"
			 "3.141592653589793,1e-999]",
			 "[0.1,1.0,-2.5,1000.0,1e-05,0.0001,123456789.123,5e-324,1.7976931348623157e+308,1e+16,"
			 "3.141592653589793,0.0]",
			 false);
}

static void assert_written(const char *text, const char *path, const char *expected)
{
	struct json_doc *doc = parse(text);
	struct buf out;

	buf_init(&out);
	json_print_written(doc, json_at(json_root(doc), path), text, strlen(text), &out);
	assert_string_equal(out.data, expected);
	buf_fini(&out);
	json_doc_free(&doc);
}

static void test_numbers_as_they_were_written(void **state)
{
	static const char mixed[] =
		"{\"a\\\"1\":\"2\\\\\", \"n\" : 1.10,\"l\":[-0.0e-1, {\"x\":0.12345678901234567890},1E5 ],"
		"\"n\":3,\"t\":true,\"e\":[],\"f\":5.00}";

	(void)state;
	assert_written("1.0", "", "1.0");
	assert_written(" -1e3 ", "", "-1e3");
	assert_written(mixed, "n", "1.10");
	assert_written(mixed, "l.0", "-0.0e-1");
	assert_written(mixed, "l.1.x", "0.12345678901234567890");
	assert_written(mixed, "l.2", "1E5");
	assert_written(mixed, "f", "5.00");
	/* What is no number, and what is missing, as by json_print. */
	assert_written(mixed, "t", "true");
	assert_written(mixed, "e", "[]");
	assert_written(mixed, "l.1", "{\"x\":0.12345678901234568}");
	assert_written(mixed, "none", "null");
	/* Numbers that became text are none any more, and bad text and a byte order mark are no obstacle. */
	assert_written("{\"b\":123456789012345678901234567890,\"s\":\"\xff 7\",\"n\":2.50}", "n", "2.50");
	assert_written("\xef\xbb\xbf[1e400,2.50]", "1", "2.50");
	assert_written("\xef\xbb\xbf[1,2.50]", "1", "2.50");
}

static void test_numbers_out_of_text_and_doubles(void **state)
{
	struct json_doc *doc = parse("{\"whole\":12.0,\"part\":12.5,\"huge\":1e19,\"low\":-9223372036854775808.0,"
				     "\"text\":\"-42\",\"frac\":\"4.5\",\"word\":\"4x\",\"nul\":\"4\\u0000\","
				     "\"empty\":\"\",\"big\":\"9223372036854775808\"}");
	const struct json *root = json_root(doc);
	int64_t i;
	double d;

	(void)state;
	assert_true(json_int(json_at(root, "whole"), &i));
	assert_int_equal(i, 12);
	assert_false(json_int(json_at(root, "part"), &i));
	assert_false(json_int(json_at(root, "huge"), &i));
	assert_true(json_int(json_at(root, "low"), &i));
	assert_true(i == INT64_MIN);
	assert_true(json_int(json_at(root, "text"), &i));
	assert_int_equal(i, -42);
	assert_false(json_int(json_at(root, "frac"), &i));
	assert_true(json_double(json_at(root, "frac"), &d));
	assert_true(d == 4.5);
	assert_false(json_int(json_at(root, "word"), &i));
	assert_false(json_double(json_at(root, "word"), &d));
	assert_false(json_int(json_at(root, "nul"), &i));
	assert_false(json_double(json_at(root, "nul"), &d));
	assert_false(json_int(json_at(root, "empty"), &i));
	assert_false(json_int(json_at(root, "big"), &i));
	json_doc_free(&doc);
}

static void test_numbers_that_fit_nowhere_become_text(void **state)
{
	(void)state;
	assert_parsed_as("{\"id\":123456789012345678901234567890,\"n\":[1, 2]}",
			 "{\"id\":\"123456789012345678901234567890\",\"n\":[1,2]}", true);
	assert_parsed_as("[18446744073709551616,-9223372036854775809,1e999,-1E+400,7]",
			 "[\"18446744073709551616\",\"-9223372036854775809\",\"1e999\",\"-1E+400\",7]", true);
}

static void test_bad_text_is_replaced(void **state)
{
	(void)state;
	assert_parsed_as("[\"a\\ud800b\",\"\\udc00\",\"\\ud83d\\ude00\",\"\\ud83d\\u0041\"]",
			 "[\"a\xef\xbf\xbd" "b\",\"\xef\xbf\xbd\",\"\xf0\x9f\x98\x80\",\"\xef\xbf\xbd" "A\"]", true);
	assert_parsed_as("[\"\xff\",\"\xe2\x82\",\"\xc0\xaf\",\"\xed\xa0\x80\",\"\xf4\x90\x80\x80\",\"\xe2\x82\xac\"]",
			 "[\"\xef\xbf\xbd\",\"\xef\xbf\xbd\",\"\xef\xbf\xbd\xef\xbf\xbd\","
			 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
			 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"\xe2\x82\xac\"]", true);
	assert_parsed_as("{\"k\xff\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}",
			 "{\"k\xef\xbf\xbd\":\"\\\"\\\\/\\b\\f\\n\\r\\t\xc3\xa9\"}", true);
}

static void test_nul_escape_is_kept_in_memory(void **state)
{
	struct json_doc *doc = parse("[\"a\\u0000b\"]");
	size_t len;
	const char *text = json_string(json_at(json_root(doc), "0"), &len);

	(void)state;
	assert_int_equal(len, 3);
	assert_memory_equal(text, "a\0b", 4);
	assert_prints(json_root(doc), "[\"a\xef\xbf\xbd" "b\"]");
	json_doc_free(&doc);
}

static void test_any_value_is_a_document(void **state)
{
	static const char *const texts[] = {"null", "true", "false", "0", "-1", "\"\"", "[]", "{}", "1.5"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_parsed_as(texts[i], texts[i], false);
	assert_parsed_as(" \n[ ] \t", "[]", false);
	assert_parsed_as("\xef\xbb\xbf{\"a\":1}", "{\"a\":1}", false);
}

static void test_wrong_documents_are_refused_with_their_place(void **state)
{
	static const char nul[] = "[1]\0";

	(void)state;
	assert_refused_bytes(NULL, 0, "invalid JSON: ends at byte 0, expected a value");
	assert_refused("   ", "invalid JSON: ends at byte 3, expected a value");
	assert_refused("<html>", "invalid JSON: '<' at byte 0, expected a value");
	assert_refused("{\"a\":1", "invalid JSON: ends at byte 6, expected ',' or '}'");
	assert_refused("[1,2", "invalid JSON: ends at byte 4, expected ',' or ']'");
	assert_refused("[\"abc", "invalid JSON: ends at byte 5, expected the end of a string");
	assert_refused("[\"abc\\", "invalid JSON: '\\' at byte 5, no valid escape in a string");
	assert_refused("[\"\\x\"]", "invalid JSON: '\\' at byte 2, no valid escape in a string");
	assert_refused("[\"\\u12g4\"]", "invalid JSON: '\\' at byte 2, no valid escape in a string");
	assert_refused("[1,]", "invalid JSON: ']' at byte 3, expected a value");
	assert_refused("{\"a\" 1}", "invalid JSON: '1' at byte 5, expected ':'");
	assert_refused("{a:1}", "invalid JSON: 'a' at byte 1, expected a string");
	assert_refused("{\"a\":1,}", "invalid JSON: '}' at byte 7, expected a string");
	assert_refused("[1]x", "invalid JSON: 'x' at byte 3, after the end of the document");
	assert_refused("{} {}", "invalid JSON: '{' at byte 3, after the end of the document");
	assert_refused("[01]", "invalid JSON: ']' at byte 3, after a number with a leading zero");
	assert_refused("[1.]", "invalid JSON: ']' at byte 3, expected a digit");
	assert_refused("[1e]", "invalid JSON: ']' at byte 3, expected a digit");
	assert_refused("[-]", "invalid JSON: ']' at byte 2, expected a value");
	assert_refused("[nul]", "invalid JSON: 'n' at byte 1, expected a value");
	assert_refused("[truex]", "invalid JSON: 'x' at byte 5, expected ',' or ']'");
	assert_refused("[NaN]", "invalid JSON: 'N' at byte 1, expected a value");
	assert_refused("[\"a\nb\"]", "invalid JSON: 0x0a at byte 3, control character in a string");
	assert_refused("[1}", "invalid JSON: '}' at byte 2, expected ',' or ']'");
	assert_refused_bytes(nul, sizeof(nul), "invalid JSON: 0x00 at byte 3, after the end of the document");
	assert_null(json_parse("[", 1, NULL));
}

/* depth brackets around nothing */
static char *nested(size_t depth)
{
	char *text = malloc(2 * depth + 1);

	assert_non_null(text);
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

static void test_depth_is_limited(void **state)
{
	char *text = nested(256);

	(void)state;
	assert_parsed_as(text, text, false);
	free(text);
	text = nested(257);
	assert_refused(text, "invalid JSON: '[' at byte 256, nested deeper than 256");
	free(text);
	text = nested(300);
	assert_refused(text, "invalid JSON: '[' at byte 256, nested deeper than 256");
	free(text);
	text = nested(100000);
	assert_refused(text, "invalid JSON: '[' at byte 256, nested deeper than 256");
	free(text);
}

static void test_documents_outlive_later_ones(void **state)
{
	struct json_doc *first = parse("{\"a\":[\"one\",1]}");
	struct json_doc *second = parse("{\"a\":[\"two\",2],\"b\":\"longer than the first\"}");
	struct error err;

	(void)state;
	assert_null(json_parse("[", 1, &err));
	assert_text(json_at(json_root(first), "a.0"), "one");
	assert_text(json_at(json_root(second), "a.0"), "two");
	assert_true(json_doc_size(second) > json_doc_size(first));
	json_doc_free(&first);
	assert_text(json_at(json_root(second), "b"), "longer than the first");
	json_doc_free(&second);
}

static void test_many_elements_and_large_documents(void **state)
{
	struct json_doc *doc;
	struct buf text;
	int64_t i;

	(void)state;
	buf_init(&text);
	buf_addc(&text, '[');
	for (int k = 0; k < 400000; k++)
		buf_printf(&text, "%s%d", k ? "," : "", k);
	buf_addc(&text, ']');
	doc = parse_bytes(text.data, text.len);
	assert_int_equal(json_count(json_root(doc)), 400000);
	assert_true(json_int(json_at(json_root(doc), "399999"), &i));
	assert_int_equal(i, 399999);
	assert_prints(json_root(doc), text.data);
	json_doc_free(&doc);
	buf_fini(&text);
}

static void test_writer_places_commas_and_escapes(void **state)
{
	struct jwrite w;
	struct buf out;

	(void)state;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "text", "a\"b\\c/\b\f\n\r\t\v\x01\x7f\xc3\xa9\xff.");
	jwrite_stringn(&w, "nul", "a\0b", 3);
	jwrite_string(&w, "none", NULL);
	jwrite_string(&w, "", "");
	jwrite_array(&w, "list");
	jwrite_int(&w, NULL, INT64_MIN);
	jwrite_uint(&w, NULL, UINT64_MAX);
	jwrite_array(&w, NULL);
	jwrite_end(&w);
	jwrite_object(&w, NULL);
	jwrite_end(&w);
	jwrite_double(&w, NULL, 0.1);
	jwrite_double(&w, NULL, 3);
	jwrite_double(&w, NULL, 1e300 * 1e300);
	jwrite_bool(&w, NULL, true);
	jwrite_bool(&w, NULL, false);
	jwrite_null(&w, NULL);
	jwrite_end(&w);
	jwrite_raw(&w, "raw", "{\"x\":1}", 7);
	jwrite_value(&w, "value", NULL);
	jwrite_end(&w);
	assert_string_equal(out.data,
			    "{\"text\":\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u000b\\u0001\x7f\xc3\xa9\xef\xbf\xbd.\","
			    "\"nul\":\"a\xef\xbf\xbd" "b\",\"none\":null,\"\":\"\","
			    "\"list\":[-9223372036854775808,18446744073709551615,[],{},0.1,3.0,null,true,false,null],"
			    "\"raw\":{\"x\":1},\"value\":null}");
	assert_int_equal(w.depth, 0);
	buf_fini(&out);
}

static void test_writer_output_reads_back(void **state)
{
	struct json_doc *doc;
	struct jwrite w;
	struct buf out;
	char byte[2] = "";

	(void)state;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (int c = 1; c < 128; c++) {
		byte[0] = (char)c;
		jwrite_string(&w, NULL, byte);
	}
	for (int depth = 1; depth < 63; depth++)
		jwrite_array(&w, NULL);
	for (int depth = 0; depth < 63; depth++)
		jwrite_end(&w);
	doc = parse_bytes(out.data, out.len);
	assert_false(json_doc_sanitised(doc));
	const struct json *child = json_first(json_root(doc));
	for (int c = 1; c < 128; c++) {
		byte[0] = (char)c;
		assert_text(child, byte);
		child = json_next(child);
	}
	assert_prints(json_root(doc), out.data);
	json_doc_free(&doc);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_values_read_as_nothing),
		cmocka_unit_test(test_readers_answer_only_for_their_type),
		cmocka_unit_test(test_children_come_in_order),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_first_of_equal_keys_is_found),
		cmocka_unit_test(test_large_numbers_are_exact),
		cmocka_unit_test(test_doubles_read_back_the_same),
		cmocka_unit_test(test_numbers_as_they_were_written),
		cmocka_unit_test(test_numbers_out_of_text_and_doubles),
		cmocka_unit_test(test_numbers_that_fit_nowhere_become_text),
		cmocka_unit_test(test_bad_text_is_replaced),
		cmocka_unit_test(test_nul_escape_is_kept_in_memory),
		cmocka_unit_test(test_any_value_is_a_document),
		cmocka_unit_test(test_wrong_documents_are_refused_with_their_place),
		cmocka_unit_test(test_depth_is_limited),
		cmocka_unit_test(test_documents_outlive_later_ones),
		cmocka_unit_test(test_many_elements_and_large_documents),
		cmocka_unit_test(test_writer_places_commas_and_escapes),
		cmocka_unit_test(test_writer_output_reads_back),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
