/* A join token in `authorization: Bearer TOKEN`. */
#include <string.h>
#include <strings.h>

#include "citadel/identity/join_tokens.h"

static int authenticate(const struct citadel_authority *a, const struct citadel_credentials *c,
	struct citadel_caller *ret, struct mt_err *err)
{
	const char *text = c->authorization;

	if (!text)
		return MT_NOT_FOUND;
	if (strncasecmp(text, "Bearer ", 7) != 0)
		return mt_fail(
			err, MT_UNAUTHENTICATED, "authorization", "only Bearer is understood");
	if (!a->tokens)
		return mt_fail(err, MT_UNAUTHENTICATED, "authorization",
			"this Citadel knows no join tokens (--join-tokens)");
	text += 7;
	return citadel_tokens_find(a->tokens, text + strspn(text, " "), ret, err);
}

static int admit(const struct citadel_authority *a, const struct citadel_caller *caller,
	const char *id, struct mt_err *err)
{
	(void)id;
	return citadel_tokens_use(a->tokens, caller->token, err);
}

const struct citadel_authenticator citadel_authenticator_join_token = {
	.name = "join-token",
	.authenticate = authenticate,
	.admit = admit,
};
