/* TCP echo on one thread with edge-triggered epoll: epoll_tcp PORT [ADDRESS]
 *
 * Each connection is registered once, for reading and for writing, and the registration never changes. Bytes that the
 * socket does not take are kept, and while some are kept nothing is read: a peer that does not read costs one block
 * here, and then its own window closes. The end of file is read only when all is sent, so a half-close loses nothing.
 */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum {
    BLOCK = 64 * 1024,
    BLOCKS = 16,   /* of one connection in one turn, so that a fast sender does not starve the others */
    ACCEPTED = 64, /* connections in one turn */
    EVENTS = 512,
    INTEREST = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
};

/* What a connection's socket has not taken yet; `bytes` is NULL if it has taken everything. */
struct kept {
    char *bytes;
    size_t from, to;
};

static struct kept *kept; /* by descriptor */
static char block[BLOCK];
static int poller, reserve;

static void finish(int fd) {
    free(kept[fd].bytes);
    kept[fd] = (struct kept){0};
    close(fd); /* takes it out of the poller, too: there is no other descriptor of this socket */
}

/* Send; give how much the socket took, or -1 if the connection is broken. */
static ssize_t offer(int fd, const char *bytes, size_t size) {
    ssize_t taken;
    do taken = send(fd, bytes, size, MSG_NOSIGNAL);
    while (taken < 0 && errno == EINTR);
    return taken < 0 && errno == EAGAIN ? 0 : taken;
}

/* Send what is kept; say whether all of it is gone and the connection can be read from. */
static bool flushed(int fd) {
    struct kept *rest = &kept[fd];
    while (rest->from < rest->to) {
        ssize_t taken = offer(fd, rest->bytes + rest->from, rest->to - rest->from);
        if (taken < 0) finish(fd);
        if (taken <= 0) return false; /* the poller reports when there is room */
        rest->from += (size_t)taken;
    }
    free(rest->bytes);
    *rest = (struct kept){0};
    return true;
}

/* Keep a copy of bytes until the socket takes them; say whether there was memory. */
static bool keep(int fd, const char *bytes, size_t size) {
    char *copy = malloc(size);
    if (!copy) return false;
    kept[fd] = (struct kept){memcpy(copy, bytes, size), 0, size};
    return true;
}

/* Echo what there is. `ended`: the peer has ended its side, so the end of file is to be read without another edge. */
static void echo(int fd, bool ended) {
    if (kept[fd].bytes && !flushed(fd)) return;
    for (int turn = 0; turn < BLOCKS; turn++) {
        ssize_t got = recv(fd, block, BLOCK, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            finish(fd);
            return;
        }
        ssize_t taken = offer(fd, block, (size_t)got);
        if (taken < 0 || (taken < got && !keep(fd, block + taken, (size_t)(got - taken)))) {
            finish(fd);
            return;
        }
        if (taken < got && !flushed(fd)) return;
        if (got < BLOCK && !ended) return; /* a short read has emptied the socket: epoll(7), questions, 9 */
    }
    struct epoll_event event = {.events = INTEREST, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event)) finish(fd); /* asks for a new edge if there is more */
}

static void take_connections(int listener) {
    for (int i = 0; i < ACCEPTED; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct epoll_event event = {.events = INTEREST, .data.fd = fd};
            if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) finish(fd);
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

int main(int argc, char **argv) {
    bool shared = one_of_several(&argc, &argv);
    if (argc < 2 || argc > 3) misused("usage: %s [-w NUMBER] PORT [ADDRESS]", argv[0]);
    kept = calloc((size_t)raise_descriptors(), sizeof *kept);
    poller = epoll_create1(EPOLL_CLOEXEC);
    reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!kept || poller < 0 || reserve < 0) fail("start");
    int listener = listening(address_of(argv[1], argv[2]), shared);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, found[EVENTS];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
    for (;;) {
        int count = epoll_wait(poller, found, EVENTS, -1);
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = found[i].data.fd;
            if (fd == listener)
                take_connections(listener);
            else
                echo(fd, found[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
        }
    }
}
