/* productpage: the front page of the bookshop. It asks details and reviews, each through its
 * sidecar, and shows what came back, or why nothing did: with which status, from which version, how
 * long it took. So a route, a fault or a denial that is applied can be seen by loading the page.
 *
 *   /                  the page (/productpage too); ?u=NAME signs in, ?u= signs out (a cookie)
 *   /api/reviews       what the reviews service answered, status and all; for scripts
 *   /api/details       the same for the details
 * Signed in, calls carry the header `end-user`. */
#include <stdio.h>

#include "tests/apps/common/book.h"

static const char *version = "v1", *via = "";
static const char *details_url = "http://details.bookshop.svc.cluster.local:9080";
static const char *reviews_url = "http://reviews.bookshop.svc.cluster.local:9080";

static const char page_head[] =
	"<!doctype html><html lang=en><meta charset=utf-8>"
	"<meta name=viewport content='width=device-width'><title>" BOOK_TITLE "</title><style>"
	"body{margin:0;font:16px/1.55 system-ui,sans-serif;color:#1d2b36;background:#f3f1ec}"
	"header{background:#1f4e5f;color:#fff;padding:.8rem 0}"
	"header>div,main{max-width:60rem;margin:auto;padding:0 1.2rem}"
	"header>div{display:flex;justify-content:space-between;align-items:center;gap:1rem}"
	"header a{color:#fff}h1{font-size:2rem;margin:1.6rem 0 .2rem}h2{font-size:1.1rem;margin:0 0 "
	".6rem}.lead{color:#5b6b75;margin:0 0 1.4rem}"
	".cols{display:grid;grid-template-columns:1fr 2fr;gap:1.2rem}"
	"@media(max-width:40rem){.cols{grid-template-columns:1fr}}"
	"section{background:#fff;border-radius:8px;padding:1.1rem 1.3rem;box-shadow:0 1px 3px #0002}"
	"dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem;margin:0}dt{color:#5b6b75}"
	"dd{margin:0}blockquote{margin:0 0 1rem;padding-left:1rem;border-left:3px solid #d9d3c5}"
	"cite{color:#5b6b75;font-style:normal}.stars{letter-spacing:.1em;font-size:1.2rem}"
	".red{color:#c62828}.black{color:#111}.off{opacity:.2}"
	".from{margin:1rem 0 0;font-size:.85rem;color:#5b6b75}"
	".bad{background:#fdecea;color:#8c1d18;border-radius:6px;padding:.6rem .8rem}"
	"form{display:inline}input,button{font:inherit;padding:.15rem .5rem;border:0;"
	"border-radius:4px}</style>";

/* A service's answer with the time that it took. */
struct part {
	struct app_answer answer;
	json_t *doc; /* NULL unless status 200 and JSON */
	long ms;
};

static void part_get(struct part *p, const char *base, const char *path, const struct app_req *r,
	const char *user)
{
	char url[512];
	int64_t start = app_now_us();

	snprintf(url, sizeof(url), "%s%s", base, path);
	app_get(url, via, r, user, 10000, &p->answer);
	p->ms = (long)((app_now_us() - start) / 1000);
	p->doc = p->answer.status == 200 ? json_loads(p->answer.body, 0, NULL) : NULL;
}

static void part_clear(struct part *p)
{
	json_decref(p->doc);
	app_answer_clear(&p->answer);
}

static void put_text(FILE *f, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '<')
			fputs("&lt;", f);
		else if (*text == '&')
			fputs("&amp;", f);
		else if (*text == '"')
			fputs("&quot;", f);
		else if (*text == '\'')
			fputs("&#39;", f);
		else
			fputc(*text, f);
	}
}

/* Why a part of the page is missing. */
static void put_missing(FILE *f, const char *what, const struct part *p)
{
	fprintf(f, "<p class=bad>The %s are not available: ", what);
	if (p->answer.status == 403)
		fputs("the call was <b>denied</b> (403). ", f);
	else if (p->answer.status)
		fprintf(f, "the call was answered with status <b>%d</b>. ", p->answer.status);
	else
		fputs("the call failed. ", f);
	if (!p->answer.status)
		put_text(f, p->answer.error);
	else if (p->answer.body_len < 300)
		put_text(f, p->answer.body);
	fputs("</p>", f);
}

static void put_header(FILE *f, const char *user)
{
	fputs(page_head, f);
	fputs("<header><div><b>Meltemi Bookshop</b><span>", f);
	if (user) {
		fputs("Signed in as <b>", f);
		put_text(f, user);
		fputs("</b> &middot; <a href='/?u='>sign out</a>", f);
	} else {
		fputs("<form>Sign in as <input name=u value=ada size=8><button>go</button></form>",
			f);
	}
	fputs("</span></div></header><main><h1>" BOOK_TITLE "</h1>"
	      "<p class=lead>A keeper, an island, and forty years of letters that were never sent."
	      "</p><div class=cols>",
		f);
}

static void put_details(FILE *f, const struct part *p)
{
	static const char *const rows[] = { "author", "publisher", "year", "pages", "language",
		"binding" };

	fputs("<section><h2>Details</h2>", f);
	if (!p->doc) {
		put_missing(f, "details", p);
	} else {
		fputs("<dl>", f);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			json_t *v = json_object_get(p->doc, rows[i]);

			fprintf(f, "<dt>%s<dd>", rows[i]);
			if (json_is_integer(v))
				fprintf(f, "%lld", (long long)json_integer_value(v));
			else
				put_text(f, json_string_value(v));
		}
		fputs("</dl>", f);
	}
	fprintf(f, "<p class=from>details answered in %ld ms</p></section>", p->ms);
}

static void put_rating(FILE *f, const json_t *rating)
{
	json_int_t stars = json_integer_value(json_object_get(rating, "stars"));
	const char *error = json_string_value(json_object_get(rating, "error"));
	const char *color = json_string_value(json_object_get(rating, "color"));

	if (error) {
		fputs("<p class=bad>No stars: ", f);
		put_text(f, error);
		fputs("</p>", f);
	} else if (rating) {
		fprintf(f, "<div class='stars %s'>",
			color && !strcmp(color, "red") ? "red" : "black");
		for (int i = 0; i < 5; i++)
			fputs(i < stars ? "&#9733;" : "<span class=off>&#9733;</span>", f);
		fputs("</div>", f);
	}
}

static void put_reviews(FILE *f, const struct part *p)
{
	json_t *review;
	size_t i;

	fputs("<section><h2>What readers say</h2>", f);
	if (!p->doc) {
		put_missing(f, "reviews", p);
		fprintf(f, "<p class=from>reviews answered in %ld ms</p></section>", p->ms);
		return;
	}
	json_array_foreach(json_object_get(p->doc, "reviews"), i, review)
	{
		fputs("<blockquote>", f);
		put_text(f, json_string_value(json_object_get(review, "text")));
		put_rating(f, json_object_get(review, "rating"));
		fputs("<div><cite>", f);
		put_text(f, json_string_value(json_object_get(review, "reader")));
		fputs("</cite></div></blockquote>", f);
	}
	fputs("<p class=from>served by <b>reviews ", f);
	put_text(f, json_string_value(json_object_get(p->doc, "version")));
	fprintf(f, "</b> in %ld ms</p></section>", p->ms);
}

static void serve_page(struct app_req *r, const char *user)
{
	struct part details, reviews;
	char *html = NULL, status[16];
	size_t n = 0;
	FILE *f = open_memstream(&html, &n);

	if (!f)
		app_die("out of memory");
	part_get(&details, details_url, "/details/0", r, user);
	part_get(&reviews, reviews_url, "/reviews/0", r, user);
	put_header(f, user);
	put_details(f, &details);
	put_reviews(f, &reviews);
	fprintf(f, "</div><p class=from>productpage %s</p></main></html>\n", version);
	fclose(f);
	const char *v = json_string_value(json_object_get(reviews.doc, "version"));
	app_reply_header(r, "x-reviews-version", v ? v : "none");
	snprintf(status, sizeof(status), "%d", reviews.answer.status);
	app_reply_header(r, "x-reviews-status", status);
	snprintf(status, sizeof(status), "%d", details.answer.status);
	app_reply_header(r, "x-details-status", status);
	app_reply_header(r, "cache-control", "no-store");
	app_reply(r, 200, "text/html; charset=utf-8", html, n);
	free(html);
	part_clear(&details);
	part_clear(&reviews);
}

static void serve_api(struct app_req *r, const char *user, const char *base, const char *path)
{
	struct part p;

	part_get(&p, base, path, r, user);
	const char *v = json_string_value(json_object_get(p.doc, "version"));
	app_reply_header(r, "x-reviews-version", v ? v : "none");
	if (p.answer.status)
		app_reply(r, p.answer.status, "application/json", p.answer.body, p.answer.body_len);
	else
		app_reply_text(r, 502, p.answer.error);
	part_clear(&p);
}

static void handle(struct app_req *r, void *ctx)
{
	const char *asked = app_query(r, "u"), *user = asked ? asked : app_cookie(r, "user");
	char cookie[256];

	(void)ctx;
	user = user && *user && strlen(user) < 64 &&
			!user[strspn(user,
				"abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@")]
		? user
		: NULL;
	if (asked) {
		snprintf(cookie, sizeof(cookie), "user=%s; Path=/; HttpOnly; SameSite=Lax%s",
			user ? user : "", user ? "" : "; Max-Age=0");
		app_reply_header(r, "set-cookie", cookie);
	}
	if (!strcmp(r->path, "/healthz"))
		app_reply_text(r, 200, "ok\n");
	else if (!strcmp(r->path, "/") || !strcmp(r->path, "/productpage"))
		serve_page(r, user);
	else if (!strcmp(r->path, "/api/reviews"))
		serve_api(r, user, reviews_url, "/reviews/0");
	else if (!strcmp(r->path, "/api/details"))
		serve_api(r, user, details_url, "/details/0");
}

int main(int argc, char **argv)
{
	static const char *listen_on[APP_MAX_LISTEN];
	size_t nlisten = 0;
	const struct app_flag flags[] = {
		{ "listen", "ADDR:PORT to serve on, repeatable", .many = &listen_on,
			.many_n = &nlisten },
		{ "version", "version on the page", .value = &version },
		{ "details", "URL of the details service", .value = &details_url },
		{ "reviews", "URL of the reviews service", .value = &reviews_url },
		{ "via", "ADDR:PORT that calls go through: the sidecar", .value = &via },
	};

	app_flags(argc, argv, "the front page of the bookshop", flags,
		sizeof(flags) / sizeof(flags[0]));
	app_serve(listen_on, nlisten, handle, NULL);
	printf("productpage %s ready\n", version);
	fflush(stdout);
	app_wait();
	return 0;
}
