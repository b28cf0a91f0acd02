/* What the parts of the driver share: the plan, what has been seen, messages, sockets, and the modes. */
#ifndef LOAD_H
#define LOAD_H

#include "common.h"

#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>

enum {
    LARGEST = 1 << 20,       /* bytes in a message over TCP */
    LARGEST_UDP = 65507,     /* in a datagram: 65,535 without the heads of IPv4 and UDP */
    CHUNK = 256 * 1024,      /* bytes in one send or receive */
};

struct plan {
    struct sockaddr_in server;
    const char *mode;
    long flows, window, pid;
    size_t size;
    double seconds, warm_up, patience;
    double rate; /* messages a second, at random times; 0: an answer lets the next message go */
    bool trains, awake;
};

struct errors {
    uint64_t wrong, lost, duplicate, ended, failed;
    char first[160];
};

extern struct plan plan;
extern struct errors errors;
extern uint64_t late; /* answers to what had been given up, which has been counted as lost */
extern long alive;    /* flows that still work */
extern bool stopping; /* whether nothing new is to be sent */

/* How a load is offered. */
struct mode {
    const char *name;
    void (*start)(void);
    void (*ready)(long flow, uint32_t events);
    void (*look)(uint64_t now); /* for what is late */
    uint64_t (*under_way)(void);
    void (*always)(void); /* what is done in each turn, which then does not wait; NULL is nothing */
};

extern const struct mode tcp_mode, tls_mode, udp_mode, connect_mode, flood_mode;

static inline uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Count an error, and keep the sentence of the first. */
__attribute__((format(printf, 2, 3))) void blame(uint64_t *kind, const char *format, ...);

/* Count an answer to what was sent at a time. */
void answered(uint64_t begun, uint64_t now);

/* A message is a stamp of 8 bytes that names it, and then noise from a place that depends on it. */
void make_noise(void);
void write_message(char *to, uint32_t flow, uint32_t slot, uint32_t serial);
void read_stamp(const char *message, uint32_t *slot, uint32_t *serial);

/* Write part of a flow's stream of messages, from any byte on. */
void write_stream(char *to, uint32_t flow, uint64_t offset, size_t count);

/* Give a socket that is connected to the server, or is connecting; -1 if that failed at once. */
int dial(int kind, const struct sockaddr_in *source);

/* Have edges of a socket reported to its mode's `ready`. */
void watch(int fd, long flow);

#endif
