/* Header operations of routes and of weighted destinations: both have the same four lists.
 *
 * Host (or :authority) among the headers to set is a rewrite, which Envoy has a field of its own for;
 * other pseudo-headers and the removal of Host are refused by validation and left out here: Envoy
 * would refuse the whole update for one of them. */
#include <string.h>
#include <strings.h>

#include "pilot/translate/route.h"

/* Length of a command of Envoy's formatter ("%REQ(X)%", "%START_TIME%", "%%") at s, 0: none. */
static size_t command(const char *s)
{
	size_t n = 1;
	if (s[n] == '%')
		return 2;
	while ((s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_' || (s[n] >= '0' && s[n] <= '9'))
		n++;
	if (n > 1 && s[n] == '(')
		n += strcspn(s + n, ")") + 1;
	return n > 1 && s[n - 1] && s[n] == '%' ? n + 1 : 0;
}

/* A percent sign that begins no command is doubled: Envoy would refuse the whole update for it. */
static const char *header_text(struct mt_arena *a, const char *value)
{
	if (!strchr(value, '%'))
		return value;
	char *out = mt_arena_alloc(a, 2 * strlen(value) + 1), *o = out;
	for (const char *s = value; *s;) {
		size_t n = *s == '%' ? command(s) : 1;
		if (!n) {
			*o++ = '%';
			n = 1;
		}
		memcpy(o, s, n);
		o += n;
		s += n;
	}
	return out;
}

static bool is_host(const char *key)
{
	return strcasecmp(key, "host") == 0 || strcasecmp(key, ":authority") == 0;
}

static bool is_fixed(const char *key)
{
	return key[0] == ':' || is_host(key);
}

static void list_add(struct pilot_headers *l, enum pilot_header_dir dir, const char *key,
	const char *value, bool append)
{
	if (is_fixed(key)) {
		if (dir == PILOT_REQUEST && is_host(key))
			l->host = value;
		return;
	}
	struct {
		size_t n_v;
		Core__HeaderValueOption **v;
	} t = { l->nadd[dir], l->add[dir] };
	pb_add(l->a, &t, v, pb_header(l->a, key, header_text(l->a, value), append));
	l->add[dir] = t.v;
	l->nadd[dir] = t.n_v;
}

static void list_del(
	struct pilot_headers *l, enum pilot_header_dir dir, char *const *keys, size_t n)
{
	struct {
		size_t n_v;
		char **v;
	} t = { l->ndel[dir], l->del[dir] };
	for (size_t i = 0; i < n; i++)
		if (!is_fixed(keys[i]))
			pb_add(l->a, &t, v, keys[i]);
	l->del[dir] = t.v;
	l->ndel[dir] = t.n_v;
}

typedef Nw__Headers__HeaderOperations__SetEntry map_entry; /* all map<string,string> look like it */

static void map_add(struct pilot_headers *l, enum pilot_header_dir dir, const void *entries,
	size_t n, bool append)
{
	map_entry *const *e = entries;
	for (size_t i = 0; i < n; i++)
		list_add(l, dir, e[i]->key, e[i]->value, append);
}

static void operations(
	struct pilot_headers *l, enum pilot_header_dir dir, const Nw__Headers__HeaderOperations *o)
{
	if (!o)
		return;
	/* Host in both: set wins, so it comes last. */
	const char *before = l->host;
	map_add(l, dir, o->set, o->n_set, false);
	const char *set = l->host;
	map_add(l, dir, o->add, o->n_add, true);
	if (set != before)
		l->host = set;
	list_del(l, dir, o->remove, o->n_remove);
}

void pilot_headers_route(struct pilot_headers *l, const Nw__HTTPRoute *h)
{
	map_add(l, PILOT_REQUEST, h->append_headers, h->n_append_headers, true);
	map_add(l, PILOT_REQUEST, h->append_request_headers, h->n_append_request_headers, true);
	map_add(l, PILOT_RESPONSE, h->append_response_headers, h->n_append_response_headers, true);
	list_del(l, PILOT_REQUEST, h->remove_request_headers, h->n_remove_request_headers);
	list_del(l, PILOT_RESPONSE, h->remove_response_headers, h->n_remove_response_headers);
	if (h->headers) {
		operations(l, PILOT_REQUEST, h->headers->request);
		operations(l, PILOT_RESPONSE, h->headers->response);
	}
}

void pilot_headers_dest(struct pilot_headers *l, const Nw__HTTPRouteDestination *d)
{
	map_add(l, PILOT_REQUEST, d->append_request_headers, d->n_append_request_headers, true);
	map_add(l, PILOT_RESPONSE, d->append_response_headers, d->n_append_response_headers, true);
	list_del(l, PILOT_REQUEST, d->remove_request_headers, d->n_remove_request_headers);
	list_del(l, PILOT_RESPONSE, d->remove_response_headers, d->n_remove_response_headers);
	if (d->headers) {
		operations(l, PILOT_REQUEST, d->headers->request);
		operations(l, PILOT_RESPONSE, d->headers->response);
	}
}
