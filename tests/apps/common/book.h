/* What the bookshop sells. Invented: no such book, author or reader exists. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/apps/common/app.h"

#define BOOK_TITLE "The Lighthouse at Kavos"

static inline void book_reply_json(struct app_req *r, int status, json_t *doc)
{
	char *text = json_dumps(doc, JSON_INDENT(1) | JSON_PRESERVE_ORDER);

	if (!text)
		app_die("out of memory");
	app_reply(r, status, "application/json", text, strlen(text));
	free(text);
	json_decref(doc);
}
