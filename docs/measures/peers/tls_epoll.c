/* TLS 1.3 echo on one thread with OpenSSL and level-triggered epoll: tls_epoll PORT CERTIFICATE KEY [ADDRESS]
 *
 * OpenSSL reads ahead, so that a wake-up costs one recv, and each record is encrypted and sent as it was decrypted.
 * What the socket does not take is kept, and while some is kept nothing is read. After the peer's close_notify its
 * answers are sent first, and then our own close_notify: TLS 1.3 lets one side end before the other (RFC 8446, 6.1).
 */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum {
    BLOCK = 16 * 1024, /* bytes: one record holds no more (RFC 8446, 5.1) */
    BLOCKS = 64,       /* of one connection in one turn, so that a fast sender does not starve the others */
    READ_AHEAD = 64 * 1024,
    ACCEPTED = 64, /* connections in one turn */
    EVENTS = 512,
};

/* What OpenSSL has not taken yet; `bytes` is NULL if it has taken everything. */
struct peer {
    SSL *tls;
    char *bytes;
    size_t from, to;
    uint32_t interest;
    bool more;  /* is in the list of those that go on in the next turn */
    bool ended; /* the peer has said goodbye */
};

static struct peer *peers; /* by descriptor */
static int *unfinished;    /* descriptors: OpenSSL may hold bytes of theirs, of which the poller knows nothing */
static size_t left_over;
static char block[BLOCK];
static int poller, reserve;
static SSL_CTX *context;

static void finish(int fd) {
    ERR_clear_error();
    SSL_free(peers[fd].tls);
    free(peers[fd].bytes);
    peers[fd] = (struct peer){.more = peers[fd].more};
    close(fd);
}

static void wait_for(int fd, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.fd = fd};
    if (interest == peers[fd].interest) return;
    peers[fd].interest = interest;
    if (epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event)) finish(fd);
}

/* Wait as OpenSSL asks after a call that did not succeed. Another answer than waiting ends the connection. */
static void look_at(int fd, int result) {
    switch (SSL_get_error(peers[fd].tls, result)) {
    case SSL_ERROR_WANT_READ: wait_for(fd, EPOLLIN); return;
    case SSL_ERROR_WANT_WRITE: wait_for(fd, EPOLLOUT); return;
    default: finish(fd);
    }
}

/* Encrypt and send; keep what is not taken. Say whether everything was. */
static bool offer(int fd, const char *bytes, size_t size) {
    struct peer *peer = &peers[fd];
    size_t done = 0;
    while (done < size) {
        int taken = SSL_write(peer->tls, bytes + done, (int)(size - done));
        if (taken > 0) {
            done += (size_t)taken;
            continue;
        }
        if (!peer->bytes) {
            char *copy = malloc(size - done);
            if (!copy) {
                finish(fd);
                return false;
            }
            peer->bytes = memcpy(copy, bytes + done, size - done);
            peer->from = 0;
            peer->to = size - done;
        } else {
            peer->from += done;
        }
        look_at(fd, taken);
        return false;
    }
    free(peer->bytes);
    peer->bytes = NULL;
    return true;
}

/* Say goodbye and close; the peer's side is over, so there is nothing to wait for. */
static void end(int fd) {
    int result = SSL_shutdown(peers[fd].tls);
    if (result < 0 && SSL_get_error(peers[fd].tls, result) == SSL_ERROR_WANT_WRITE)
        wait_for(fd, EPOLLOUT);
    else
        finish(fd);
}

/* Echo what there is. */
static void echo(int fd) {
    struct peer *peer = &peers[fd];
    if (!peer->tls) return;
    if (peer->bytes && !offer(fd, peer->bytes + peer->from, peer->to - peer->from)) return;
    for (int turn = 0; !peer->ended && turn < BLOCKS; turn++) {
        int got = SSL_read(peer->tls, block, BLOCK);
        if (got <= 0) {
            /* A FIN without a goodbye counts as one (SSL_OP_IGNORE_UNEXPECTED_EOF). */
            peer->ended = SSL_get_error(peer->tls, got) == SSL_ERROR_ZERO_RETURN;
            if (peer->ended) break;
            look_at(fd, got);
            return;
        }
        if (!offer(fd, block, (size_t)got)) return;
        if (!SSL_has_pending(peer->tls)) {
            wait_for(fd, EPOLLIN);
            return;
        }
    }
    if (peer->ended) {
        end(fd);
    } else if (!peer->more) {
        peer->more = true;
        unfinished[left_over++] = fd;
    }
}

static void add(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    peers[fd] = (struct peer){.tls = SSL_new(context), .interest = EPOLLIN, .more = peers[fd].more};
    if (!peers[fd].tls || !SSL_set_fd(peers[fd].tls, fd) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) {
        finish(fd);
        return;
    }
    SSL_set_accept_state(peers[fd].tls);
}

static void take_connections(int listener) {
    for (int i = 0; i < ACCEPTED; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add(fd);
        } else if (errno == EMFILE || errno == ENFILE) { /* refuse it, or the listener would stay readable */
            close(reserve);
            fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0) close(fd);
            reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static int listening(struct sockaddr_in address, bool shared) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (shared) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"); /* on Linux, accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind");
    if (listen(fd, SOMAXCONN)) fail("listen");
    return fd;
}

static void make_context(const char *certificate, const char *key) {
    context = SSL_CTX_new(TLS_server_method());
    if (!context) fail("SSL_CTX_new");
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) misused("%s has no certificate", certificate);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) misused("%s has no key that fits", key);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD);
}

int main(int argc, char **argv) {
    bool shared = one_of_several(&argc, &argv);
    if (argc < 4 || argc > 5) misused("usage: %s [-w NUMBER] PORT CERTIFICATE KEY [ADDRESS]", argv[0]);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    struct sockaddr_in address = address_of(argv[1], argv[4]);
    make_context(argv[2], argv[3]);
    size_t descriptors = (size_t)raise_descriptors();
    peers = calloc(descriptors, sizeof *peers);
    unfinished = calloc(descriptors, 2 * sizeof *unfinished); /* those of this turn and of the next */
    poller = epoll_create1(EPOLL_CLOEXEC);
    reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!peers || !unfinished || poller < 0 || reserve < 0) fail("start");
    int listener = listening(address, shared);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, found[EVENTS];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
    for (;;) {
        int count = epoll_wait(poller, found, EVENTS, left_over ? 0 : -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        size_t before = left_over;
        for (int i = 0; i < count; i++) {
            int fd = found[i].data.fd;
            if (fd == listener)
                take_connections(listener);
            else
                echo(fd);
        }
        for (size_t i = 0; i < before; i++) {
            peers[unfinished[i]].more = false;
            echo(unfinished[i]); /* which may put it behind the others again */
        }
        left_over -= before;
        memmove(unfinished, unfinished + before, left_over * sizeof *unfinished);
    }
}
