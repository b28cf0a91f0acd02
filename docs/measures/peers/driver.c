/* A load for echo servers on 127.0.0.1, the same for all of them: driver tcp|tls|udp|connect|flood PORT [OPTIONS]
 *
 * The loop is closed: each flow has a window of messages under way, and an answer lets the next message go. With `-r`
 * (TCP) messages go at random times (Poisson) instead, and the time of an answer counts from when its message was due.
 * With `-a` the driver never sleeps: with one message under way its own waking up would be part of each time.
 * Every byte of every answer is compared with what was sent. `tls` is `tcp` in TLS 1.3; who the server is, is not verified.
 * `connect` connects, sends a message, reads the answer, ends its side, waits for the server's end and closes; that is
 * one echo. `flood` sends datagrams as fast as the kernel takes them and reads no answer: there an echo is one that was
 * sent. Prints one line of JSON; the status is 1 if anything was wrong, lost or ended too early.
 */
#define _GNU_SOURCE
#include "cpu.h"
#include "load.h"
#include "spread.h"

#include <netinet/tcp.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24 /* linux/in.h */
#endif

enum {
    EVENTS = 512,
    TOO_MANY = 1000, /* errors, after which the run ends */
    EDGES = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
};
#define LOOK_EVERY 20000000ull /* nanoseconds between two looks for what is late */

struct plan plan = {.mode = "tcp", .flows = 1, .window = 1, .size = 64, .seconds = 1, .warm_up = 0.2, .patience = 0.5};
struct errors errors;
uint64_t late;
long alive;
bool stopping;

static uint64_t echoes;
static bool counting;
static struct spread times;
static int poller;

void blame(uint64_t *kind, const char *format, ...) {
    va_list values;
    va_start(values, format);
    if (!errors.first[0]) vsnprintf(errors.first, sizeof errors.first, format, values);
    va_end(values);
    ++*kind;
}

static uint64_t all_errors(void) {
    return errors.wrong + errors.lost + errors.duplicate + errors.ended + errors.failed;
}

void answered(uint64_t begun, uint64_t now) {
    if (!counting) return;
    echoes++;
    spread_add(&times, now - begun);
}

void watch(int fd, long flow) {
    struct epoll_event event = {.events = EDGES, .data.u32 = (uint32_t)flow};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

int dial(int kind, const struct sockaddr_in *source) {
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket");
    if (kind & SOCK_STREAM) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    if (source) {
        set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
        if (bind(fd, (const struct sockaddr *)source, sizeof *source)) fail("bind");
    }
    if (connect(fd, (struct sockaddr *)&plan.server, sizeof plan.server) && errno != EINPROGRESS) {
        blame(&errors.failed, "connect: %s", strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static const struct mode *const modes[] = {&tcp_mode, &tls_mode, &udp_mode, &connect_mode, &flood_mode};

struct reading {
    struct cpu_time server;
    uint64_t own, at;
};

static struct reading begin_window(void) {
    struct reading begin = {.server = plan.pid ? cpu_time_of((int)plan.pid) : (struct cpu_time){0}};
    begin.own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    begin.at = nanoseconds(CLOCK_MONOTONIC);
    counting = true;
    return begin;
}

static struct reading end_window(void) {
    counting = false;
    stopping = true;
    struct reading end = {.at = nanoseconds(CLOCK_MONOTONIC), .own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID)};
    end.server = plan.pid ? cpu_time_of((int)plan.pid) : (struct cpu_time){0};
    return end;
}

static void run(const struct mode *mode, struct reading *begin, struct reading *end) {
    struct epoll_event found[EVENTS];
    mode->start();
    uint64_t now = nanoseconds(CLOCK_MONOTONIC), look = now + LOOK_EVERY, until = now + (uint64_t)(plan.warm_up * 1e9);
    while (!stopping || (mode->under_way() && now < until)) {
        if (mode->always && !stopping) mode->always();
        int count = epoll_wait(poller, found, EVENTS, mode->always || plan.awake ? 0 : (int)(LOOK_EVERY / 1000000));
        for (int i = 0; i < count; i++) mode->ready(found[i].data.u32, found[i].events);
        now = nanoseconds(CLOCK_MONOTONIC);
        if (now >= look) {
            mode->look(now);
            look = now + LOOK_EVERY;
        }
        bool over = !alive || all_errors() >= TOO_MANY;
        if (!counting && !stopping && (over || now >= until)) {
            *begin = begin_window();
            until = begin->at + (uint64_t)(plan.seconds * 1e9);
        }
        if (counting && (over || now >= until)) {
            *end = end_window();
            until = end->at + (uint64_t)(plan.patience * 1e9);
        }
    }
    for (uint64_t left = mode->under_way(); left; left--)
        blame(&errors.lost, "no answer within %g s of the end", plan.patience);
}

static double between(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        misused("%s is a number from %g to %g, not %s", name, least, most, text);
    return value;
}

static const struct mode *read_plan(int argc, char **argv) {
    if (argc < 3)
        misused("usage: %s tcp|tls|udp|connect|flood PORT [-c FLOWS] [-w WINDOW] [-s BYTES] [-d SECONDS] [-u WARM-UP] "
                "[-t PATIENCE] [-p SERVER'S-PID] [-g] [-r RATE] [-a]", argv[0]);
    const struct mode *mode = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(argv[1], modes[i]->name)) mode = modes[i];
    if (!mode) misused("the mode is tcp, tls, udp, connect or flood, not %s", argv[1]);
    plan.mode = mode->name;
    plan.server = address_of(argv[2], NULL);
    for (int option; (option = getopt(argc - 2, argv + 2, "c:w:s:d:u:t:p:gr:a")) != -1;) switch (option) {
        case 'c': plan.flows = whole("-c", optarg, 1, 65535); break;
        case 'w': plan.window = whole("-w", optarg, 1, 65535); break;
        case 's': plan.size = (size_t)whole("-s", optarg, 8, mode == &tcp_mode || mode == &tls_mode ? LARGEST : LARGEST_UDP); break;
        case 'd': plan.seconds = between("-d", optarg, 0.01, 3600); break;
        case 'u': plan.warm_up = between("-u", optarg, 0, 3600); break;
        case 't': plan.patience = between("-t", optarg, 0.01, 60); break;
        case 'p': plan.pid = whole("-p", optarg, 1, 1 << 22); break;
        case 'g': plan.trains = true; break;
        case 'a': plan.awake = true; break;
        case 'r':
            if (mode != &tcp_mode) misused("-r is for tcp");
            plan.rate = between("-r", optarg, 0.1, 1e6);
            break;
        default: exit(2);
    }
    if (plan.rate && plan.window == 1) plan.window = 65535;
    if (argc - 2 > optind) misused("%s is one word too many", argv[2 + optind]);
    return mode;
}

int main(int argc, char **argv) {
    const struct mode *mode = read_plan(argc, argv);
    struct reading begin = {0}, end = {0};
    raise_descriptors();
    make_noise();
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) fail("epoll_create1");
    run(mode, &begin, &end);
    if (plan.pid && (begin.server.total < 0 || end.server.total < 0))
        blame(&errors.failed, "process %ld is not there", plan.pid);
    double seconds = (double)(end.at - begin.at) / 1e9;
    printf("{\"mode\": \"%s\", \"flows\": %ld, \"window\": %ld, \"size\": %zu, \"seconds\": %.6f, \"echoes\": %llu, "
           "\"rate\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"greatest_us\": %.3f, \"driver_cpu\": %.6f, ",
           plan.mode, plan.flows, plan.window, plan.size, seconds, (unsigned long long)echoes,
           (double)echoes / seconds, spread_percentile(&times, 0.5) / 1e3, spread_percentile(&times, 0.99) / 1e3,
           (double)times.greatest / 1e3, (double)(end.own - begin.own) / 1e9);
    printf("\"server_cpu\": %.6f, \"server_user\": %.2f, \"server_system\": %.2f, \"errors\": {\"wrong\": %llu, "
           "\"lost\": %llu, \"duplicate\": %llu, \"ended\": %llu, \"failed\": %llu}, \"late\": %llu, \"first\": \"%s\"}\n",
           end.server.total - begin.server.total, end.server.user - begin.server.user,
           end.server.system - begin.server.system, (unsigned long long)errors.wrong, (unsigned long long)errors.lost,
           (unsigned long long)errors.duplicate, (unsigned long long)errors.ended, (unsigned long long)errors.failed,
           (unsigned long long)late, errors.first);
    return all_errors() || !echoes;
}
