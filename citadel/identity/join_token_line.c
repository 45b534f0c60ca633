/* One line of the file of join tokens: words separated by blanks. */
#include "citadel/identity/join_token_line.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "citadel/identity/join_tokens.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { LINE_MAX_BYTES = 16 * 1024 };

void citadel_token_hex(const uint8_t digest[32], char hex[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

void citadel_token_digest(const char *token, size_t n, uint8_t digest[32], char hex[65])
{
	SHA256((const unsigned char *)token, n, digest);
	citadel_token_hex(digest, hex);
}

static int parse_token(
	char *word, struct citadel_token_line *line, bool *ret_clear, struct mt_err *err)
{
	uint8_t digest[32];
	size_t n = strlen(word);

	*ret_clear = !mt_str_prefix(word, "sha256:");
	if (!*ret_clear) {
		word += strlen("sha256:");
		if (strlen(word) != 64 || strspn(word, "0123456789abcdefABCDEF") != 64)
			return mt_fail(err, MT_INVALID, NULL, "sha256: wants 64 hex digits");
		for (int i = 0; i < 65; i++)
			line->hex[i] = (char)tolower((unsigned char)word[i]);
		return 0;
	}
	if (n < CITADEL_TOKEN_MIN || n > CITADEL_TOKEN_MAX)
		return mt_fail(err, MT_INVALID, NULL, "a token has %d to %d characters, not %zu",
			CITADEL_TOKEN_MIN, CITADEL_TOKEN_MAX, n);
	for (const char *p = word; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return mt_fail(err, MT_INVALID, NULL, "a token is printable ASCII");
	}
	citadel_token_digest(word, n, digest, line->hex);
	return 0;
}

static int parse_ids(
	char *word, const char *td, struct citadel_token_line *line, struct mt_err *err)
{
	char *save = NULL;

	word = strcpy(line->ids, word);
	for (char *id = strtok_r(word, ",", &save); id; id = strtok_r(NULL, ",", &save)) {
		int r = citadel_pattern_check(id, td, err);

		if (r < 0)
			return r;
		if (line->nallowed == CITADEL_ALLOWED_MAX)
			return mt_fail(err, MT_LIMIT, NULL, "more than %d identities",
				CITADEL_ALLOWED_MAX);
		line->allowed[line->nallowed++] = id;
	}
	return line->nallowed ? 0 : mt_fail(err, MT_INVALID, NULL, "no identity");
}

static int parse_attr(const char *word, struct citadel_token_line *line, struct mt_err *err)
{
	char *end;

	if (mt_str_prefix(word, "expires=")) {
		if (mt_time_parse(word + 8, &line->expires_ns) < 0 || line->expires_ns <= 0)
			return mt_fail(
				err, MT_INVALID, NULL, "%s is not a time (RFC 3339)", word + 8);
		return 0;
	}
	if (mt_str_prefix(word, "uses=")) {
		errno = 0;
		line->uses = strtoull(word + 5, &end, 10);
		if (errno || *end || !isdigit((unsigned char)word[5]) || !line->uses ||
			line->uses > 1000000000)
			return mt_fail(
				err, MT_INVALID, NULL, "%s is not a number of uses", word + 5);
		return 0;
	}
	return mt_fail(
		err, MT_INVALID, NULL, "unknown word after the identities (expires=, uses=)");
}

int citadel_token_line_parse(const char *p, size_t n, const char *trust_domain,
	struct citadel_token_line **ret, bool *ret_clear, struct mt_err *err)
{
	MT_AUTO(mt_strfreep) char *text = NULL;
	struct citadel_token_line *line;
	char *save = NULL, *word;
	int r, i = 0;

	*ret_clear = false;
	if (n > LINE_MAX_BYTES || memchr(p, '\0', n))
		return mt_fail(err, MT_INVALID, NULL, "the line is too long, or has a NUL");
	text = mt_strndup(p, n);
	word = strtok_r(text, " \t\r", &save);
	if (!word || *word == '#') {
		*ret = NULL;
		return 0;
	}
	line = mt_alloc(sizeof(*line) + n + 1);
	for (r = 0; r == 0 && word && *word != '#'; word = strtok_r(NULL, " \t\r", &save), i++) {
		if (i == 0)
			r = parse_token(word, line, ret_clear, err);
		else if (i == 1)
			r = parse_ids(word, trust_domain, line, err);
		else
			r = parse_attr(word, line, err);
	}
	explicit_bzero(text, n);
	if (r == 0 && i < 2)
		r = mt_fail(err, MT_INVALID, NULL, "a token without identities");
	if (r < 0) {
		mt_free(line);
		return r;
	}
	*ret = line;
	return 0;
}
