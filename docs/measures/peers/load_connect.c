/* Cycles of connecting, one message and its answer, the two ends, closing. */
#include "load.h"

#define SOURCES 1024 /* addresses to connect from, so that ports in TIME_WAIT do not run out */

static struct cycle {
    int fd; /* -1 between two cycles */
    uint32_t serial;
    uint64_t begun;
    size_t sent, got;
} *cycles;

static void begin_cycle(long flow) {
    static uint32_t number;
    struct cycle *cycle = &cycles[flow];
    /* 127.1.0.1 and so on: a closed connection keeps its port for a minute (TIME_WAIT), and one address has 28,000 */
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001u + number++ % SOURCES)};
    *cycle = (struct cycle){.serial = cycle->serial + 1, .begun = nanoseconds(CLOCK_MONOTONIC)};
    cycle->fd = dial(SOCK_STREAM | SOCK_NONBLOCK, &source);
    if (cycle->fd >= 0) watch(cycle->fd, flow);
}

/* Close; the next cycle begins at once if this one went well, and otherwise at the next look. */
static void end_cycle(long flow, bool well) {
    close(cycles[flow].fd);
    cycles[flow].fd = -1;
    if (well && !stopping) begin_cycle(flow);
}

static void connect_ready(long flow, uint32_t events) {
    static char message[LARGEST_UDP], in[CHUNK];
    struct cycle *cycle = &cycles[flow];
    if (cycle->fd < 0) return;
    write_message(message, (uint32_t)flow, 0, cycle->serial);
    if (cycle->sent < plan.size && events & EPOLLOUT) {
        ssize_t taken = send(cycle->fd, message + cycle->sent, plan.size - cycle->sent, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN) {
            blame(&errors.failed, "connect: %s", strerror(errno));
            end_cycle(flow, false);
            return;
        }
        if (taken > 0) cycle->sent += (size_t)taken;
    }
    for (;;) {
        ssize_t got = recv(cycle->fd, in, sizeof in, 0);
        if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) return;
        if (got < 0 || (!got && cycle->got < plan.size)) {
            blame(&errors.ended, "a connection ended after %zu of %zu bytes%s%s", cycle->got, plan.size,
                  got ? ": " : "", got ? strerror(errno) : "");
            end_cycle(flow, false);
            return;
        }
        if (!got) {
            answered(cycle->begun, nanoseconds(CLOCK_MONOTONIC));
            end_cycle(flow, true);
            return;
        }
        if ((size_t)got > cycle->sent - cycle->got || memcmp(in, message + cycle->got, (size_t)got)) {
            blame(&errors.wrong, "a connection: other bytes than were sent, after %zu", cycle->got);
            end_cycle(flow, false);
            return;
        }
        cycle->got += (size_t)got;
        if (cycle->got == plan.size) shutdown(cycle->fd, SHUT_WR);
    }
}

static void connect_look(uint64_t now) {
    for (long i = 0; i < plan.flows; i++) {
        if (cycles[i].fd >= 0 && now - cycles[i].begun >= (uint64_t)(plan.patience * 1e9)) {
            blame(&errors.lost, "a connection was not answered and ended within %g s", plan.patience);
            end_cycle(i, false);
        }
        if (cycles[i].fd < 0 && !stopping) begin_cycle(i);
    }
}

static uint64_t connect_under_way(void) {
    uint64_t count = 0;
    for (long i = 0; i < plan.flows; i++) count += cycles[i].fd >= 0;
    return count;
}

static void connect_start(void) {
    if (!(cycles = calloc((size_t)plan.flows, sizeof *cycles))) fail("memory");
    for (long i = 0; i < plan.flows; i++) begin_cycle(i);
    alive = plan.flows;
}

const struct mode connect_mode = {"connect", connect_start, connect_ready, connect_look, connect_under_way, NULL};
