/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the lists of ClickHouse error codes by what they mean for a batch; no state. */
#include "warehouse/outcome.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * The data itself is refused. Only codes that speak of a value belong here: a
 * wrong entry would dead-letter good rows.
 */
static const int content_codes[] = {
	6,	/* CANNOT_PARSE_TEXT */
	25,	/* CANNOT_PARSE_ESCAPE_SEQUENCE */
	26,	/* CANNOT_PARSE_QUOTED_STRING */
	27,	/* CANNOT_PARSE_INPUT_ASSERTION_FAILED */
	38,	/* CANNOT_PARSE_DATE */
	41,	/* CANNOT_PARSE_DATETIME */
	53,	/* TYPE_MISMATCH */
	69,	/* ARGUMENT_OUT_OF_BOUND */
	70,	/* CANNOT_CONVERT_TYPE */
	72,	/* CANNOT_PARSE_NUMBER */
	117,	/* INCORRECT_DATA */
	128,	/* TOO_LARGE_ARRAY_SIZE */
	130,	/* CANNOT_READ_ARRAY_FROM_TEXT */
	131,	/* TOO_LARGE_STRING_SIZE */
	153,	/* ILLEGAL_DIVISION */
	190,	/* SIZES_OF_ARRAYS_DONT_MATCH */
	321,	/* VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE */
	349,	/* CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN */
	376,	/* CANNOT_PARSE_UUID */
	395,	/* FUNCTION_THROW_IF_VALUE_IS_NON_ZERO */
	407,	/* DECIMAL_OVERFLOW */
	441,	/* CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING */
	467,	/* CANNOT_PARSE_BOOL */
	469,	/* VIOLATED_CONSTRAINT */
	675,	/* CANNOT_PARSE_IPV4 */
	676,	/* CANNOT_PARSE_IPV6 */
	691,	/* UNKNOWN_ELEMENT_OF_ENUM */
};

/* The server stopped, or stopped waiting, somewhere inside the insert. */
static const int unclear_codes[] = {
	159,	/* TIMEOUT_EXCEEDED */
	160,	/* TOO_SLOW */
	209,	/* SOCKET_TIMEOUT */
	210,	/* NETWORK_ERROR */
	225,	/* NO_ZOOKEEPER */
	236,	/* ABORTED */
	319,	/* UNKNOWN_STATUS_OF_INSERT */
	394,	/* QUERY_WAS_CANCELLED */
	999,	/* KEEPER_EXCEPTION */
	1002,	/* UNKNOWN_EXCEPTION */
};

#define TOO_MANY_PARTS 252
#define TOO_MANY_SIMULTANEOUS_QUERIES 202

static bool has(const int *codes, size_t count, int code)
{
	for (size_t i = 0; i < count; i++)
		if (codes[i] == code)
			return true;
	return false;
}

#define HAS(list, code) has((list), sizeof(list) / sizeof((list)[0]), (code))

int outcome_code(const char *text)
{
	const char *at = strstr(text, "Code: ");

	return at ? (int)strtol(at + strlen("Code: "), NULL, 10) : 0;
}

enum error_code outcome_insert(int code, const char *text, enum error_code fallback)
{
	if (code == 0)
		return fallback;
	/* A materialized view refused what the table itself has taken by then, or not. */
	if (strstr(text, "while pushing to view"))
		return ERR_UNCLEAR;
	if (HAS(content_codes, code))
		return ERR_CONTENT;
	if (HAS(unclear_codes, code))
		return ERR_UNCLEAR;
	/* The same code says what waiting does not cure; the text also holds the table's name. */
	if (code == TOO_MANY_PARTS)
		return strstr(text, "Too many partitions") ? ERR_IO : ERR_BUSY;
	if (code == TOO_MANY_SIMULTANEOUS_QUERIES)
		return ERR_BUSY;
	return ERR_IO;
}

enum error_code outcome_query(int code, enum error_code fallback)
{
	static const int not_found[] = {60 /* UNKNOWN_TABLE */, 81 /* UNKNOWN_DATABASE */};
	static const int input[] = {
		36,	/* BAD_ARGUMENTS */
		42,	/* NUMBER_OF_ARGUMENTS_DOESNT_MATCH */
		43,	/* ILLEGAL_TYPE_OF_ARGUMENT */
		44,	/* ILLEGAL_COLUMN */
		46,	/* UNKNOWN_FUNCTION */
		47,	/* UNKNOWN_IDENTIFIER */
		48,	/* NOT_IMPLEMENTED */
		50,	/* UNKNOWN_TYPE */
		56,	/* UNKNOWN_STORAGE */
		62,	/* SYNTAX_ERROR */
		73,	/* UNKNOWN_FORMAT */
		115,	/* UNKNOWN_SETTING */
		164,	/* READONLY */
		215,	/* NOT_AN_AGGREGATE */
		386,	/* NO_COMMON_TYPE */
	};

	if (HAS(not_found, code))
		return ERR_NOT_FOUND;
	if (HAS(input, code) || HAS(content_codes, code))
		return ERR_INPUT;
	if (code == 159)
		return ERR_TIMEOUT;
	if (code == TOO_MANY_SIMULTANEOUS_QUERIES)
		return ERR_BUSY;
	return fallback;
}
