/* A text of either language: size, encoding and byte-order mark first, then the reader that fits. */
#include <string.h>

#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/node.h"

static int bad_encoding(const char *file, const char *text, size_t n, struct mt_diags *diags)
{
	const char *line = text, *end = text + n;
	int number = 1;

	for (const char *eol; (eol = memchr(line, '\n', (size_t)(end - line)));
		line = eol + 1, number++)
		if (!mt_utf8_valid(line, (size_t)(eol - line)))
			break;
	size_t col = 0;
	size_t len = (size_t)(end - line);
	/* The longest valid prefix of the line; the step of at most four bytes skips a character. */
	while (col < len) {
		size_t step = 1;
		while (step <= 4 && col + step <= len && !mt_utf8_valid(line + col, step))
			step++;
		if (step > 4 || col + step > len)
			break;
		col += step;
	}
	bool nul = col < len && line[col] == 0;
	return mt_diag_add(diags, MT_SEV_ERROR, &(struct mt_pos){ file, number, (int)col + 1 },
		NULL, "", nul ? "a NUL character: not a text in UTF-8" : "not UTF-8");
}

static bool looks_like_json(const char *file, const char *text, size_t n)
{
	if (file && mt_str_suffix(file, ".json"))
		return true;
	while (n && strchr(" \t\r\n", *text))
		text++, n--;
	return n && *text == '{';
}

int mt_text_read(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_arena *a, struct mt_nodes *docs,
	struct mt_diags *diags)
{
	struct mt_pos start = { file, 0, 0 };

	if (n > limits->bytes)
		return mt_diag_add(diags, MT_SEV_ERROR, &start, NULL, "",
			"%zu bytes, more than the limit of %zu", n, limits->bytes);
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3, n -= 3;
	if (!mt_utf8_valid(text, n))
		return bad_encoding(file, text, n, diags);
	if (looks_like_json(file, text, n)) {
		struct mt_nodes json = { 0 };
		struct mt_diags json_diags = { 0 };
		int r = mt_json_read(file, text, n, limits, a, &json, &json_diags);
		for (size_t i = 0; r == 0 && i < json.n; i++)
			mt_vec_push(docs, json.v[i]);
		mt_vec_clear(&json);
		if (r < 0 && file && mt_str_suffix(file, ".json")) {
			const struct mt_diag *d = &json_diags.v[0];
			mt_diag_add(diags, d->severity, &(struct mt_pos){ file, d->line, d->col },
				NULL, "", "%s", d->msg);
		}
		mt_diags_clear(&json_diags);
		if (r == 0 || (file && mt_str_suffix(file, ".json")))
			return r;
	}
	return mt_yaml_read(file, text, n, limits, a, docs, diags);
}
