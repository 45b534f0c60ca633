#include "common/expr/lex.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* A name takes dots along when a name follows, so that "source.labels" is one token. */
static void lex_name(struct lexer *lx)
{
	const char *start = lx->p;

	while (name_char(*lx->p) || (*lx->p == '.' && name_char(lx->p[1])) ||
		(*lx->p == '-' && lx->p > start && name_char(lx->p[-1]) &&
			isalpha((unsigned char)lx->p[1])))
		lx->p++;
	lx->tok = TOK_NAME;
	lx->text = (struct mt_text){ start, (size_t)(lx->p - start) };
}

static int lex_number(struct lexer *lx, struct mt_err *err)
{
	const char *start = lx->p;
	char *end;

	while (isalnum((unsigned char)*lx->p) || *lx->p == '.')
		lx->p++;
	errno = 0;
	lx->tok = TOK_INT;
	lx->i = strtoll(start, &end, 0);
	if (end == lx->p && errno == 0)
		return 0;
	errno = 0;
	lx->tok = TOK_DBL;
	lx->d = strtod(start, &end);
	if (end == lx->p && errno == 0)
		return 0;
	return mt_expr_fail(err, lx->col, "\"%.*s\" is not a number", (int)(lx->p - start), start);
}

static int hex_byte(const char *p)
{
	char digits[3] = { p[0], p[0] ? p[1] : 0, 0 };
	char *end;
	long v = strtol(digits, &end, 16);
	return end == digits + 2 && isxdigit((unsigned char)digits[0]) ? (int)v : -1;
}

static int lex_escape(struct lexer *lx, char *out, struct mt_err *err)
{
	static const char from[] = "abfnrtv\\\"'", to[] = "\a\b\f\n\r\t\v\\\"'";
	const char *at = *lx->p ? strchr(from, *lx->p) : NULL;
	int byte;

	if (at) {
		*out = to[at - from];
		lx->p++;
		return 0;
	}
	if (*lx->p == 'x' && (byte = hex_byte(lx->p + 1)) > 0) {
		*out = (char)byte;
		lx->p += 3;
		return 0;
	}
	return mt_expr_fail(err, (int)(lx->p - lx->start), "unknown escape in a text");
}

static int lex_string(struct lexer *lx, struct mt_err *err)
{
	char quote = *lx->p++;
	char *out = mt_arena_alloc(lx->arena, strlen(lx->p) + 1);
	size_t n = 0;

	while (*lx->p && *lx->p != quote) {
		if (*lx->p == '\\' && quote == '"') {
			lx->p++;
			int r = lex_escape(lx, &out[n], err);
			if (r < 0)
				return r;
			n++;
		} else {
			out[n++] = *lx->p++;
		}
	}
	if (!*lx->p)
		return mt_expr_fail(err, lx->col, "a text is not closed with %c", quote);
	lx->p++;
	lx->tok = TOK_STR;
	lx->text = (struct mt_text){ out, n };
	return 0;
}

static int lex_operator(struct lexer *lx, struct mt_err *err)
{
	static const struct {
		const char *text;
		enum tok tok;
	} ops[] = {
		{ "||", TOK_OR },
		{ "&&", TOK_AND },
		{ "==", TOK_EQ },
		{ "!=", TOK_NE },
		{ "<=", TOK_LE },
		{ ">=", TOK_GE },
		{ "<", TOK_LT },
		{ ">", TOK_GT },
		{ "|", TOK_BAR },
		{ "+", TOK_PLUS },
		{ "-", TOK_MINUS },
		{ ".", TOK_DOT },
		{ "(", TOK_LPAR },
		{ ")", TOK_RPAR },
		{ "[", TOK_LBRA },
		{ "]", TOK_RBRA },
		{ ",", TOK_COMMA },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(ops); i++) {
		size_t n = strlen(ops[i].text);
		if (strncmp(lx->p, ops[i].text, n) == 0) {
			lx->tok = ops[i].tok;
			lx->p += n;
			return 0;
		}
	}
	return mt_expr_fail(err, lx->col, "unexpected character '%c'", *lx->p);
}

int mt_lex_next(struct lexer *lx, struct mt_err *err)
{
	while (isspace((unsigned char)*lx->p))
		lx->p++;
	lx->col = (int)(lx->p - lx->start) + 1;
	if (!*lx->p) {
		lx->tok = TOK_END;
		return 0;
	}
	if (isdigit((unsigned char)*lx->p))
		return lex_number(lx, err);
	if (name_char(*lx->p)) {
		lex_name(lx);
		return 0;
	}
	if (*lx->p == '"' || *lx->p == '`')
		return lex_string(lx, err);
	return lex_operator(lx, err);
}
