/* What the servers and the driver share: failing with a sentence, numbers and addresses of the command line. */
#ifndef COMMON_H
#define COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_DESCRIPTORS (1 << 20)

/* End with what failed and why. */
static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* End with a sentence about the command line. */
__attribute__((format(printf, 1, 2))) static inline void misused(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(2);
}

/* Read a whole number between two others. */
static inline long whole(const char *name, const char *text, long least, long most) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        misused("%s is a whole number from %ld to %ld, not %s", name, least, most, text);
    return value;
}

/* Give the IPv4 address of a server: a port, and a numeric address, which is 127.0.0.1 if there is none. */
static inline struct sockaddr_in address_of(const char *port, const char *host) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(whole("PORT", port, 1, 65535))};
    host = host ? host : "127.0.0.1";
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        misused("ADDRESS is a numeric IPv4 address, not %s", host);
    return address;
}

/* Raise the limit of open descriptors as far as it goes; give the limit. */
static inline long raise_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) fail("getrlimit");
    limit.rlim_cur = limit.rlim_max < MOST_DESCRIPTORS ? limit.rlim_max : MOST_DESCRIPTORS;
    if (setrlimit(RLIMIT_NOFILE, &limit)) fail("setrlimit");
    return (long)limit.rlim_cur;
}

/* Switch an option of a socket on, or set it to a number. */
static inline void set_option(int fd, int level, int name, int value, const char *what) {
    if (setsockopt(fd, level, name, &value, sizeof value)) fail(what);
}

/* With -w NUMBER before the port, become one of so many processes that each bind the port with SO_REUSEPORT. The first
 * one's end is that of all. Give whether that was asked for, and take it from the command line. */
static inline bool one_of_several(int *argc, char ***argv) {
    if (*argc < 3 || strcmp((*argv)[1], "-w")) return false;
    long number = whole("NUMBER", (*argv)[2], 1, 256);
    (*argv)[2] = (*argv)[0];
    *argc -= 2;
    *argv += 2;
    for (long i = 1; i < number; i++) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (!child) {
            if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail("prctl");
            break;
        }
    }
    return true;
}

#endif
