/* TLS for the driver, as if it were a socket: -1 with errno for what fails, EAGAIN for what has to wait. */
#ifndef TLS_H
#define TLS_H

#include <sys/types.h>

struct ssl_st; /* OpenSSL's SSL */

/* Begin TLS on a connected socket; NULL if that cannot be. The handshake is part of the first read or write. */
struct ssl_st *tls_open(int fd);
ssize_t tls_read(struct ssl_st *tls, char *bytes, size_t size);
ssize_t tls_write(struct ssl_st *tls, const char *bytes, size_t size);
void tls_close(struct ssl_st *tls);

#endif
