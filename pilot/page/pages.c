/* The debug pages, under the names that operators of Istio's Pilot know. JSON, on loopback only;
 * /debug/ lists them. */
#include "pilot/page/page.h"

static const struct {
	const char *name, *help;
	mt_http_handler answer;
} pages[] = {
#define PAGE(name, help) { #name, help, pilot_page_##name },
#include "pilot/page/pages.def"
#undef PAGE
};

bool page_kind_if(struct mt_http_req *r, const struct mt_kind **ret)
{
	const char *kind = mt_http_query(r, "kind");
	struct mt_err err;

	*ret = kind && *kind ? mt_kind_by_name(kind) : NULL;
	if (*ret || !kind || !*kind)
		return true;
	mt_fail(&err, MT_NOT_FOUND, "kind", "no kind is called \"%s\"", kind);
	mt_http_reply_err(r, &err);
	return false;
}

int pilot_pages_start(struct mt_daemon *d, void *self, struct mt_err *err)
{
	struct pilot *p = self;

	(void)err;
	p->gate = page_gate_new();
	for (size_t i = 0; i < MT_ARRAY_SIZE(pages); i++)
		mt_daemon_debug(d, pages[i].name, pages[i].help, pages[i].answer, self);
	return 0;
}

void pilot_pages_stop(struct mt_daemon *d, void *self)
{
	struct pilot *p = self;

	(void)d;
	page_gate_close(p->gate);
	p->gate = NULL;
}
