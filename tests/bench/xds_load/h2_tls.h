/* TLS of the load generator's connections: OpenSSL on non-blocking sockets. */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "common/pki/identity.h"

/* Shows the identity's chain and trusts its roots. NULL with err. */
SSL_CTX *h2_tls_context(struct mt_identity *id, struct mt_err *err);
SSL *h2_tls_new(SSL_CTX *ctx, int fd); /* NULL when ctx is */
void h2_tls_free(SSL *tls);            /* NULL allowed */
int h2_tls_handshake(SSL *tls); /* 1 done, 0 goes on when the socket is ready, -1 with errno */
/* As recv() and send(). */
ssize_t h2_tls_read(SSL *tls, void *p, size_t n);
ssize_t h2_tls_write(SSL *tls, const void *p, size_t n);
