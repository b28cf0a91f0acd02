/* TLS 1.3 by OpenSSL, where its headers are. The certificate is not verified: this is a load for a server of one's own. */
#include "tls.h"

#include "common.h"

#ifdef WITH_TLS
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

enum { READ_AHEAD = 64 * 1024 };

static SSL_CTX *made(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) fail("SSL_CTX_new");
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
    return context;
}

SSL *tls_open(int fd) {
    static SSL_CTX *context;
    if (!context) context = made();
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) fail("O_NONBLOCK");
    SSL *tls = SSL_new(context);
    if (!tls || !SSL_set_fd(tls, fd)) return NULL;
    SSL_set_connect_state(tls);
    return tls;
}

/* Give what a call means for somebody who knows sockets. */
static ssize_t meaning(SSL *tls, int result) {
    if (result > 0) return result;
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL:
        if (errno) return -1;
        /* fall through */
    default:
        ERR_clear_error();
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_read(SSL *tls, char *bytes, size_t size) { return meaning(tls, SSL_read(tls, bytes, (int)size)); }

ssize_t tls_write(SSL *tls, const char *bytes, size_t size) { return meaning(tls, SSL_write(tls, bytes, (int)size)); }

void tls_close(SSL *tls) { SSL_free(tls); }
#else
struct ssl_st *tls_open(int fd) {
    (void)fd;
    misused("this driver has no TLS: it was built without OpenSSL's headers (libssl-dev)");
    return NULL;
}

ssize_t tls_read(struct ssl_st *tls, char *bytes, size_t size) {
    (void)tls, (void)bytes, (void)size;
    return -1;
}

ssize_t tls_write(struct ssl_st *tls, const char *bytes, size_t size) {
    (void)tls, (void)bytes, (void)size;
    return -1;
}

void tls_close(struct ssl_st *tls) { (void)tls; }
#endif
