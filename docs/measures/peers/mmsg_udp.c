/* UDP echo with recvmmsg and sendmmsg: mmsg_udp PORT [ADDRESS] [--gro]
 *
 * One thread and one blocking socket; up to 64 messages in each call. With --gro the kernel joins datagrams of one flow
 * into one message (UDP_GRO), and the answer goes back as one message that the kernel divides again (UDP_SEGMENT).
 */
#define _GNU_SOURCE
#include "common.h"

#include <netinet/udp.h>
#include <stdbool.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103 /* linux/udp.h */
#define UDP_GRO 104
#endif

enum {
    BATCH = 64,
    ROOM = 65536,
    APART = ROOM + 320, /* not a multiple of a page, so that the messages' heads do not share a cache set */
    QUEUE = 4 << 20,
};

static char (*rooms)[APART];
static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in peers[BATCH];
static union {
    struct cmsghdr aligned;
    char bytes[CMSG_SPACE(sizeof(int))];
} controls[BATCH];

/* Make a place ready for the next message. */
static void clear(int i, bool gro) {
    parts[i] = (struct iovec){rooms[i], ROOM};
    messages[i].msg_hdr = (struct msghdr){
        .msg_name = &peers[i],
        .msg_namelen = sizeof peers[i],
        .msg_iov = &parts[i],
        .msg_iovlen = 1,
        .msg_control = gro ? &controls[i] : NULL,
        .msg_controllen = gro ? sizeof controls[i] : 0,
    };
}

/* Turn a message that has come into its answer; give the size of the datagrams that it joins, 0 if it is one. */
static int turn_round(int i) {
    struct msghdr *head = &messages[i].msg_hdr;
    parts[i].iov_len = messages[i].msg_len;
    head->msg_flags = 0;
    struct cmsghdr *control = CMSG_FIRSTHDR(head);
    int size = 0;
    if (control && control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
        memcpy(&size, CMSG_DATA(control), sizeof size);
    if (size <= 0 || (size_t)size >= parts[i].iov_len) {
        head->msg_controllen = 0;
        return 0;
    }
    uint16_t segment = (uint16_t)size;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(control), &segment, sizeof segment);
    head->msg_controllen = CMSG_SPACE(sizeof segment);
    return size;
}

/* Send joined datagrams one by one: the kernel refuses to divide more than it has room for. */
static void send_apart(int fd, int i, int size) {
    for (size_t at = 0; at < parts[i].iov_len; at += (size_t)size) {
        size_t left = parts[i].iov_len - at;
        sendto(fd, rooms[i] + at, left < (size_t)size ? left : (size_t)size, 0, (struct sockaddr *)&peers[i],
               sizeof peers[i]);
    }
}

int main(int argc, char **argv) {
    bool shared = one_of_several(&argc, &argv);
    bool gro = argc > 2 && !strcmp(argv[argc - 1], "--gro");
    argc -= gro;
    if (argc < 2 || argc > 3) misused("usage: %s [-w NUMBER] PORT [ADDRESS] [--gro]", argv[0]);
    struct sockaddr_in address = address_of(argv[1], argc > 2 ? argv[2] : NULL);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    rooms = malloc(sizeof *rooms * BATCH);
    if (fd < 0 || !rooms) fail("start");
    set_option(fd, SOL_SOCKET, SO_RCVBUF, QUEUE, "SO_RCVBUF"); /* the kernel gives net.core.rmem_max at the most */
    if (shared) set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
    if (gro) set_option(fd, IPPROTO_UDP, UDP_GRO, 1, "UDP_GRO");
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) fail("bind");
    for (int i = 0; i < BATCH; i++) clear(i, gro);
    for (;;) {
        int sizes[BATCH], count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) sizes[i] = turn_round(i);
        for (int done = 0; done < count;) {
            int sent = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);
            if (sent > 0) {
                done += sent;
            } else if (errno != EINTR) { /* the error is the first one's; a datagram that cannot go is lost, as UDP may */
                if (sizes[done]) send_apart(fd, done, sizes[done]);
                done++;
            }
        }
        for (int i = 0; i < count; i++) clear(i, gro);
    }
}
