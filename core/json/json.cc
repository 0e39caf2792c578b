/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that knows simdjson. A document is a single block: the parser's
 * tape, rewritten so that every word finds what it points to relative to
 * itself, and behind it the strings. A struct json is a word of that tape, so
 * handing out a value costs nothing. Runs in any thread; the parser and its
 * scratch memory are per thread.
 *
 * Tape words: a tag in the top byte, a payload of 56 bits.
 *   { [   low 32 bits: words to the one behind the matching end; above them 24 bits: count, saturated
 *   } ] r end of a container, of the document
 *   "     bytes from this word to the string: its length (4 bytes), its bytes, a NUL
 *   l u d the value is the next word
 *   t f n
 * A value inside an object has TAG_MEMBER set: the word before it is its key.
 */
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <simdjson.h>

extern "C" {
#include "base/arena.h"
#include "base/num.h"
#include "json/internal.h"
#include "json/json.h"
}

struct json {
	uint64_t word;
};

struct json_doc {
	size_t size;		/* of the whole block */
	bool sanitised;
};

namespace {

constexpr uint64_t TAG_MEMBER = 0x80;
constexpr uint64_t PAYLOAD = 0x00ffffffffffffff;
constexpr uint64_t COUNT_MAX = 0xffffff;
constexpr size_t SIZE_MAX_DOC = 0xffffffff;
/* Scratch memory for larger documents is given back after use: about 15 bytes per byte of document. */
constexpr size_t SCRATCH_KEEP = 512 * 1024;

thread_local simdjson::dom::parser scratch;

const uint64_t *tape_of(const struct json *value)
{
	return &value->word;
}

const struct json *value_at(const uint64_t *word)
{
	return reinterpret_cast<const struct json *>(word);
}

char tag_of(const uint64_t *word)
{
	return static_cast<char>((*word >> 56) & ~TAG_MEMBER);
}

bool is_member(const uint64_t *word)
{
	return (*word >> 56) & TAG_MEMBER;
}

bool is_end(const uint64_t *word)
{
	char tag = tag_of(word);

	return tag == '}' || tag == ']' || tag == 'r';
}

const uint64_t *skip(const uint64_t *word)
{
	switch (tag_of(word)) {
	case '{':
	case '[':
		return word + static_cast<uint32_t>(*word);
	case 'l':
	case 'u':
	case 'd':
		return word + 2;
	default:
		return word + 1;
	}
}

const char *text_of(const uint64_t *word, size_t *len_r)
{
	const char *at = reinterpret_cast<const char *>(word) + (*word & PAYLOAD);
	uint32_t len;

	memcpy(&len, at, sizeof(len));
	*len_r = len;
	return at + sizeof(len);
}

double double_of(const uint64_t *word)
{
	double value;

	memcpy(&value, word + 1, sizeof(value));
	return value;
}

bool is_type(const struct json *value, char tag)
{
	return value != nullptr && tag_of(tape_of(value)) == tag;
}

/*
 * Rewrites the parser's tape of n words in place, see above. Returns the bytes
 * of strings used plus one, or 0 when containers nest too deep.
 */
size_t relocate(uint64_t *tape, size_t n)
{
	bool in_object[JSON_DEPTH_MAX + 1] = {};
	const uint8_t *strings = scratch.doc.string_buf.get();
	unsigned int depth = 0;
	size_t used = 0;

	auto string_at = [&](size_t i, uint64_t flag) {
		uint64_t offset = tape[i] & PAYLOAD;
		uint32_t len;

		memcpy(&len, strings + offset, sizeof(len));
		used = offset + sizeof(len) + len + 1;
		tape[i] = (uint64_t{'"'} | flag) << 56 | ((n - i) * sizeof(*tape) + offset);
	};

	for (size_t i = 1; i < n - 1;) {
		char tag = static_cast<char>(tape[i] >> 56);
		uint64_t flag = 0;

		if (tag == '}' || tag == ']') {
			depth--;
			i++;
			continue;
		}
		if (in_object[depth]) {
			string_at(i++, 0);
			tag = static_cast<char>(tape[i] >> 56);
			flag = TAG_MEMBER;
		}
		switch (tag) {
		case '"':
			string_at(i++, flag);
			break;
		case '{':
		case '[':
			if (++depth > JSON_DEPTH_MAX)
				return 0;
			in_object[depth] = tag == '{';
			tape[i] = (tape[i] | flag << 56) - i;
			i++;
			break;
		default:
			tape[i] |= flag << 56;
			i += tag == 'l' || tag == 'u' || tag == 'd' ? 2 : 1;
		}
	}
	return used + 1;
}

/* Makes room in the parser, in powers of two so that growing bodies do not allocate each time. */
simdjson::error_code make_room(size_t len)
{
	size_t capacity = 4096;

	if (scratch.capacity() >= len && scratch.doc.capacity() >= len)
		return simdjson::SUCCESS;
	while (capacity < len)
		capacity *= 2;
	if (capacity > SIZE_MAX_DOC)
		capacity = SIZE_MAX_DOC;
	simdjson::error_code code = scratch.allocate(capacity, simdjson::DEFAULT_MAX_DEPTH);
	return code ? code : scratch.doc.allocate(capacity);
}

/* Parses into one block. NULL with *code_r; SUCCESS there means: nested too deep. */
struct json_doc *parse(const char *bytes, size_t len, simdjson::error_code *code_r)
{
	simdjson::dom::element root;
	struct json_doc *doc = nullptr;

	*code_r = make_room(len);
	if (!*code_r)
		*code_r = scratch.parse(bytes, len, true).get(root);
	if (!*code_r) {
		uint64_t *tape = scratch.doc.tape.get();
		size_t n = tape[0] & PAYLOAD;
		size_t used = relocate(tape, n);

		if (used > 0) {
			size_t size = sizeof(*doc) + n * sizeof(*tape) + used - 1;

			doc = static_cast<struct json_doc *>(mem_realloc(nullptr, size));
			doc->size = size;
			doc->sanitised = false;
			memcpy(doc + 1, tape, n * sizeof(*tape));
			if (used > 1)
				memcpy(reinterpret_cast<uint64_t *>(doc + 1) + n,
				       scratch.doc.string_buf.get(), used - 1);
		}
	}
	if (len > SCRATCH_KEEP)
		scratch = simdjson::dom::parser();
	if (*code_r == simdjson::MEMALLOC) {
		fprintf(stderr, "out of memory parsing a JSON document of %zu bytes\n", len);
		abort();
	}
	return doc;
}

/* The value that key names, NULL when there is none. */
const uint64_t *member(const uint64_t *object, const char *key, size_t key_len)
{
	for (const uint64_t *word = object + 1; !is_end(word); word = skip(word + 1)) {
		size_t len;
		const char *name = text_of(word, &len);

		if (len == key_len && memcmp(name, key, len) == 0)
			return word + 1;
	}
	return nullptr;
}

const uint64_t *element(const uint64_t *array, const char *text, size_t len)
{
	const uint64_t *word = array + 1;
	uint64_t index;
	auto end = std::from_chars(text, text + len, index);

	if (end.ec != std::errc() || end.ptr != text + len)
		return nullptr;
	while (index > 0 && !is_end(word)) {
		word = skip(word);
		index--;
	}
	return is_end(word) ? nullptr : word;
}

/* Follows one alternative, which ends at a '|' or the end of text. */
const uint64_t *follow(const uint64_t *word, const char *path, const char *end)
{
	for (;;) {
		auto dot = static_cast<const char *>(memchr(path, '.', static_cast<size_t>(end - path)));
		size_t len = static_cast<size_t>((dot ? dot : end) - path);

		if (tag_of(word) == '{')
			word = member(word, path, len);
		else if (tag_of(word) == '[')
			word = element(word, path, len);
		else
			return nullptr;
		if (word == nullptr || tag_of(word) == 'n')
			return nullptr;
		if (dot == nullptr)
			return word;
		path = dot + 1;
	}
}

void print_scalar(const uint64_t *word, struct buf *out)
{
	size_t len;
	const char *text;

	switch (tag_of(word)) {
	case '"':
		text = text_of(word, &len);
		json_add_string(out, text, len);
		break;
	case 'l':
		json_add_int(out, static_cast<int64_t>(word[1]));
		break;
	case 'u':
		json_add_uint(out, word[1]);
		break;
	case 'd':
		json_add_double(out, double_of(word));
		break;
	case 't':
		buf_adds(out, "true");
		break;
	case 'f':
		buf_adds(out, "false");
		break;
	default:
		buf_adds(out, "null");
	}
}

template <typename T> void add_number(struct buf *out, T value)
{
	char text[24];
	auto end = std::to_chars(text, text + sizeof(text), value);

	buf_add(out, text, static_cast<size_t>(end.ptr - text));
}

} /* namespace */

extern "C" {

struct json_doc *json_parse(const char *bytes, size_t len, struct error *err)
{
	simdjson::error_code code;
	struct json_doc *doc;
	struct buf clean;
	bool changed = false;
	size_t bom;

	if (bytes == nullptr)
		bytes = "";
	bom = json_bom_len(bytes, len);
	bytes += bom;
	len -= bom;
	if (len > SIZE_MAX_DOC) {
		error_set(err, ERR_INPUT, "JSON document of %zu bytes: more than 4 GiB", len);
		return nullptr;
	}
	doc = parse(bytes, len, &code);
	if (doc != nullptr)
		return doc;

	buf_init(&clean);
	if (json_sanitise(bytes, len, &clean, &changed, err) == 0) {
		if (changed && clean.len <= SIZE_MAX_DOC)
			doc = parse(clean.data, clean.len, &code);
		if (doc != nullptr)
			doc->sanitised = true;
		else
			error_set(err, ERR_INPUT, "invalid JSON: %s", simdjson::error_message(code));
	}
	buf_fini(&clean);
	return doc;
}

void json_doc_free(struct json_doc **doc)
{
	if (doc != nullptr)
		mem_free(doc);
}

const struct json *json_root(const struct json_doc *doc)
{
	return doc ? value_at(reinterpret_cast<const uint64_t *>(doc + 1) + 1) : nullptr;
}

bool json_doc_sanitised(const struct json_doc *doc)
{
	return doc != nullptr && doc->sanitised;
}

size_t json_doc_size(const struct json_doc *doc)
{
	return doc ? doc->size : 0;
}

enum json_type json_type(const struct json *value)
{
	switch (value ? tag_of(tape_of(value)) : 'n') {
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case '"':
		return JSON_STRING;
	case 'l':
		return JSON_INT;
	case 'u':
		return JSON_UINT;
	case 'd':
		return JSON_DOUBLE;
	case 't':
	case 'f':
		return JSON_BOOL;
	default:
		return JSON_NULL;
	}
}

const struct json *json_at(const struct json *value, const char *path)
{
	if (value == nullptr || path == nullptr || *path == '\0')
		return value;
	for (;;) {
		const char *end = strchr(path, '|');
		const uint64_t *word = follow(tape_of(value), path, end ? end : path + strlen(path));

		if (word != nullptr)
			return value_at(word);
		if (end == nullptr)
			return nullptr;
		path = end + 1;
	}
}

const struct json *json_member(const struct json *object, const char *key)
{
	const uint64_t *word = nullptr;

	if (is_type(object, '{') && key != nullptr)
		word = member(tape_of(object), key, strlen(key));
	return word ? value_at(word) : nullptr;
}

size_t json_count(const struct json *container)
{
	size_t count;

	if (!is_type(container, '{') && !is_type(container, '['))
		return 0;
	count = (*tape_of(container) & PAYLOAD) >> 32;
	if (count < COUNT_MAX)
		return count;
	count = 0;
	for (const struct json *child = json_first(container); child; child = json_next(child))
		count++;
	return count;
}

const struct json *json_first(const struct json *container)
{
	const uint64_t *word;

	if (!is_type(container, '{') && !is_type(container, '['))
		return nullptr;
	word = tape_of(container) + 1;
	if (is_end(word))
		return nullptr;
	return value_at(is_type(container, '{') ? word + 1 : word);
}

const struct json *json_next(const struct json *child)
{
	const uint64_t *word;

	if (child == nullptr)
		return nullptr;
	word = skip(tape_of(child));
	if (is_end(word))
		return nullptr;
	return value_at(is_member(tape_of(child)) ? word + 1 : word);
}

const char *json_name(const struct json *child)
{
	size_t len;

	return child && is_member(tape_of(child)) ? text_of(tape_of(child) - 1, &len) : nullptr;
}

const char *json_string(const struct json *value, size_t *len_r)
{
	const char *text = nullptr;
	size_t len = 0;

	if (is_type(value, '"'))
		text = text_of(tape_of(value), &len);
	if (len_r != nullptr)
		*len_r = len;
	return text;
}

bool json_int(const struct json *value, int64_t *value_r)
{
	const char *text;
	size_t len;
	double number;

	switch (json_type(value)) {
	case JSON_INT:
		*value_r = static_cast<int64_t>(tape_of(value)[1]);
		return true;
	case JSON_DOUBLE:
		number = double_of(tape_of(value));
		if (number != std::trunc(number) || number < -0x1p63 || number >= 0x1p63)
			return false;
		*value_r = static_cast<int64_t>(number);
		return true;
	case JSON_STRING:
		text = json_string(value, &len);
		return strlen(text) == len && num_parse_int(text, value_r) == 0;
	default:
		return false;
	}
}

bool json_double(const struct json *value, double *value_r)
{
	const char *text;
	size_t len;

	switch (json_type(value)) {
	case JSON_INT:
		*value_r = static_cast<double>(static_cast<int64_t>(tape_of(value)[1]));
		return true;
	case JSON_UINT:
		*value_r = static_cast<double>(tape_of(value)[1]);
		return true;
	case JSON_DOUBLE:
		*value_r = double_of(tape_of(value));
		return true;
	case JSON_STRING:
		text = json_string(value, &len);
		return strlen(text) == len && num_parse_double(text, value_r) == 0;
	default:
		return false;
	}
}

bool json_bool(const struct json *value, bool *value_r)
{
	if (json_type(value) != JSON_BOOL)
		return false;
	*value_r = is_type(value, 't');
	return true;
}

void json_print(const struct json *value, struct buf *out)
{
	bool in_object[JSON_DEPTH_MAX + 1] = {};
	const uint64_t *word;
	unsigned int depth = 0;
	bool comma = false;

	if (value == nullptr) {
		buf_adds(out, "null");
		return;
	}
	word = tape_of(value);
	do {
		char tag = tag_of(word);

		if (tag == '}' || tag == ']') {
			buf_addc(out, tag);
			depth--;
			word++;
			comma = true;
			continue;
		}
		if (comma)
			buf_addc(out, ',');
		if (in_object[depth]) {
			print_scalar(word++, out);
			buf_addc(out, ':');
			tag = tag_of(word);
		}
		comma = tag != '{' && tag != '[';
		if (comma) {
			print_scalar(word, out);
			word = skip(word);
		} else {
			buf_addc(out, tag);
			in_object[++depth] = tag == '{';
			word++;
		}
	} while (depth > 0);
}

void json_add_int(struct buf *out, int64_t value)
{
	add_number(out, value);
}

void json_add_uint(struct buf *out, uint64_t value)
{
	add_number(out, value);
}

void json_add_double(struct buf *out, double value)
{
	double size = std::fabs(value);
	bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
	char text[40];
	auto end = std::to_chars(text, text + sizeof(text), value,
				 plain ? std::chars_format::fixed : std::chars_format::scientific);

	buf_add(out, text, static_cast<size_t>(end.ptr - text));
	/* So that a double reads back as one. */
	if (plain && memchr(text, '.', static_cast<size_t>(end.ptr - text)) == nullptr)
		buf_adds(out, ".0");
}

} /* extern "C" */
