/* Connected UDP sockets, each with a window of datagrams under way, one in each slot. */
#define _GNU_SOURCE
#include "load.h"

#include <netinet/udp.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* linux/udp.h */
#define UDP_GRO 104
#endif

enum {
    BATCH = 64,         /* messages in one call, datagrams in one train */
    TRAIN = 65000,      /* bytes in one train */
    ROOM = 65536 + 320, /* for one received message; not a multiple of a page (cache sets) */
};

struct slot {
    uint64_t sent;
    uint32_t serial, lost; /* of the datagram under way, and of the last one that was given up; 0 is none */
    bool under_way;
};

static struct {
    int fd;
    struct slot *slots;
} *sockets;
static uint32_t *free_slots; /* of one socket: whose datagrams have been answered */

static union {
    struct cmsghdr aligned;
    char bytes[CMSG_SPACE(sizeof(int))];
} controls[BATCH];

/* Send datagrams that lie one after the other: as one train, or as many messages. */
static void send_datagrams(int fd, char *bytes, int count) {
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    int done = 0, of = plan.trains ? 1 : count;
    for (int i = 0; i < of; i++) {
        parts[i] = (struct iovec){bytes + (size_t)i * plan.size, plan.size * (size_t)(plan.trains ? count : 1)};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    if (plan.trains && count > 1) {
        uint16_t segment = (uint16_t)plan.size;
        struct cmsghdr *control = &controls[0].aligned;
        *control = (struct cmsghdr){CMSG_LEN(sizeof segment), IPPROTO_UDP, UDP_SEGMENT};
        memcpy(CMSG_DATA(control), &segment, sizeof segment);
        messages[0].msg_hdr.msg_control = control;
        messages[0].msg_hdr.msg_controllen = CMSG_SPACE(sizeof segment);
    }
    while (done < of) {
        int sent = sendmmsg(fd, messages + done, (unsigned)(of - done), 0);
        if (sent < 0) blame(&errors.failed, "sendmmsg: %s", strerror(errno));
        done += sent < 0 ? 1 : sent;
    }
}

static void send_slots(long flow, uint32_t count, uint64_t now) {
    static char out[BATCH * (size_t)LARGEST_UDP];
    uint32_t most = plan.trains && TRAIN / plan.size < BATCH ? (uint32_t)(TRAIN / plan.size) : BATCH;
    for (uint32_t at = 0; at < count; at += most) {
        uint32_t here = count - at < most ? count - at : most;
        for (uint32_t i = 0; i < here; i++) {
            struct slot *slot = &sockets[flow].slots[free_slots[at + i]];
            *slot = (struct slot){now, slot->serial + 1, slot->lost, true};
            write_message(out + i * plan.size, (uint32_t)flow, free_slots[at + i], slot->serial);
        }
        send_datagrams(sockets[flow].fd, out, (int)here);
    }
}

/* Say whether a datagram answers what is under way, and in which slot; -1 if it does not. */
static long judge(long flow, const char *bytes, size_t size) {
    static char expected[LARGEST_UDP];
    uint32_t slot = 0, serial = 0;
    if (size == plan.size) {
        read_stamp(bytes, &slot, &serial);
        write_message(expected, (uint32_t)flow, slot, serial);
    }
    if (size != plan.size || slot >= (uint32_t)plan.window || serial == 0 ||
        serial > sockets[flow].slots[slot].serial || memcmp(bytes, expected, size)) {
        blame(&errors.wrong, "socket %ld: a datagram of %zu bytes that was never sent", flow, size);
        return -1;
    }
    struct slot *there = &sockets[flow].slots[slot];
    if (serial == there->serial && there->under_way) return slot;
    if (serial == there->lost) {
        late++;
        there->lost = 0;
    } else {
        blame(&errors.duplicate, "socket %ld: an answer came twice", flow);
    }
    return -1;
}

/* Give the size of the datagrams that a received message joins. */
static size_t segment_of(struct mmsghdr *message) {
    struct cmsghdr *control = CMSG_FIRSTHDR(&message->msg_hdr);
    int size = 0;
    if (control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
        memcpy(&size, CMSG_DATA(control), sizeof size);
    return size > 0 ? (size_t)size : message->msg_len;
}

static void udp_ready(long flow, uint32_t events) {
    static char rooms[BATCH][ROOM];
    static struct mmsghdr in[BATCH];
    static struct iovec parts[BATCH];
    int count;
    (void)events;
    do {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){rooms[i], 65536};
            in[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
            if (!plan.trains) continue;
            in[i].msg_hdr.msg_control = &controls[i];
            in[i].msg_hdr.msg_controllen = sizeof controls[i];
        }
        count = recvmmsg(sockets[flow].fd, in, BATCH, MSG_DONTWAIT, NULL);
        if (count < 0 && errno != EAGAIN && errno != EINTR) blame(&errors.failed, "recvmmsg: %s", strerror(errno));
        uint64_t now = nanoseconds(CLOCK_MONOTONIC);
        uint32_t freed = 0;
        for (int i = 0; i < count; i++) {
            size_t at = 0, segment = segment_of(&in[i]), size = in[i].msg_len;
            do {
                long slot = judge(flow, rooms[i] + at, size - at < segment ? size - at : segment);
                at += segment;
                if (slot < 0) continue;
                sockets[flow].slots[slot].under_way = false;
                answered(sockets[flow].slots[slot].sent, now);
                free_slots[freed++] = (uint32_t)slot;
            } while (at < size);
        }
        if (!stopping) send_slots(flow, freed, now);
    } while (count == BATCH);
}

static void udp_look(uint64_t now) {
    uint64_t patience = (uint64_t)(plan.patience * 1e9);
    for (long i = 0; i < plan.flows; i++) {
        uint32_t freed = 0;
        for (long k = 0; k < plan.window; k++) {
            struct slot *slot = &sockets[i].slots[k];
            if (!slot->under_way || now - slot->sent < patience) continue;
            blame(&errors.lost, "socket %ld: no answer within %g s", i, plan.patience);
            slot->under_way = false;
            slot->lost = slot->serial;
            free_slots[freed++] = (uint32_t)k;
        }
        if (!stopping) send_slots(i, freed, now);
    }
}

static uint64_t udp_under_way(void) {
    uint64_t count = 0;
    for (long i = 0; i < plan.flows; i++)
        for (long k = 0; k < plan.window; k++) count += sockets[i].slots[k].under_way;
    return count;
}

static void udp_start(void) {
    sockets = calloc((size_t)plan.flows, sizeof *sockets);
    free_slots = calloc((size_t)plan.window, sizeof *free_slots);
    if (!sockets || !free_slots) fail("memory");
    for (long i = 0; i < plan.flows; i++) {
        sockets[i].fd = dial(SOCK_DGRAM, NULL); /* of a datagram socket, no connect fails on loopback */
        sockets[i].slots = calloc((size_t)plan.window, sizeof(struct slot));
        if (sockets[i].fd < 0 || !sockets[i].slots) fail("start");
        set_option(sockets[i].fd, SOL_SOCKET, SO_RCVBUF, 4 << 20, "SO_RCVBUF");
        if (plan.trains) set_option(sockets[i].fd, IPPROTO_UDP, UDP_GRO, 1, "UDP_GRO");
        watch(sockets[i].fd, i);
        alive++;
        for (long k = 0; k < plan.window; k++) free_slots[k] = (uint32_t)k;
        send_slots(i, (uint32_t)plan.window, nanoseconds(CLOCK_MONOTONIC));
    }
}

const struct mode udp_mode = {"udp", udp_start, udp_ready, udp_look, udp_under_way, NULL};
