/* Datagrams as fast as the kernel takes them, on one connected UDP socket after the other; answers are not read. */
#define _GNU_SOURCE
#include "load.h"

enum { BATCH = 128 }; /* datagrams in one call */

static int *sockets;
static uint32_t *serials;
static long next_flow;

static void flood_start(void) {
    sockets = calloc((size_t)plan.flows, sizeof *sockets);
    serials = calloc((size_t)plan.flows, sizeof *serials);
    if (!sockets || !serials) fail("memory");
    for (long i = 0; i < plan.flows; i++) {
        if ((sockets[i] = dial(SOCK_DGRAM, NULL)) < 0) fail("start");
        alive++;
    }
}

/* Send one call's datagrams, each with a stamp of its own. */
static void send_some(void) {
    static char out[BATCH * (size_t)LARGEST_UDP];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    long flow = next_flow++ % plan.flows;
    for (int i = 0; i < BATCH; i++) {
        char *bytes = out + (size_t)i * plan.size;
        write_message(bytes, (uint32_t)flow, 0, ++serials[flow]);
        parts[i] = (struct iovec){bytes, plan.size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    uint64_t now = nanoseconds(CLOCK_MONOTONIC);
    int sent = sendmmsg(sockets[flow], messages, BATCH, 0);
    if (sent < 0) blame(&errors.failed, "sendmmsg: %s", strerror(errno));
    for (int i = 0; i < sent; i++) answered(now, now);
}

static void flood_ready(long flow, uint32_t events) { (void)flow, (void)events; }

static void flood_look(uint64_t now) { (void)now; }

static uint64_t flood_under_way(void) { return 0; }

const struct mode flood_mode = {"flood", flood_start, flood_ready, flood_look, flood_under_way, send_some};
