/* Connections that stay, each with a window of messages under way, or with messages at random times; over TLS too. */
#include "load.h"
#include "tls.h"

#include <math.h>
#include <sys/timerfd.h>

static struct stream {
    int fd;
    struct ssl_st *tls;          /* NULL over TCP */
    uint64_t sent, got, allowed; /* bytes of the stream */
    uint64_t *begun;             /* when each message of the window was sent */
} *streams;

static int timer;
static uint64_t due; /* when the next message goes, if there is a rate */

static void end_stream(struct stream *stream) {
    if (stream->tls) tls_close(stream->tls);
    close(stream->fd);
    stream->fd = -1;
    alive--;
}

static void send_stream(struct stream *stream, uint64_t now) {
    static char out[CHUNK];
    while (stream->sent < stream->allowed) {
        uint64_t left = stream->allowed - stream->sent;
        size_t count = left < sizeof out ? left : sizeof out;
        write_stream(out, (uint32_t)(stream - streams), stream->sent, count);
        ssize_t taken = stream->tls ? tls_write(stream->tls, out, count)
                                    : send(stream->fd, out, count, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken < 0) {
            if (errno != EAGAIN) {
                blame(&errors.ended, "send: %s", strerror(errno));
                end_stream(stream);
            }
            return;
        }
        uint64_t first = (stream->sent + plan.size - 1) / plan.size; /* the first message that begins in these bytes */
        stream->sent += (uint64_t)taken;
        for (; !plan.rate && first * plan.size < stream->sent; first++)
            stream->begun[first % (uint64_t)plan.window] = now;
    }
}

/* Let the messages go that are due, each on the next connection, and have the timer say when the next one is. */
static void tcp_due(void) {
    static long next;
    static uint64_t state = 20260102;
    uint64_t now = nanoseconds(CLOCK_MONOTONIC);
    while (!stopping && due <= now) {
        struct stream *stream = &streams[next++ % plan.flows];
        if ((stream->allowed - stream->got) / plan.size >= (uint64_t)plan.window) break; /* it goes late */
        stream->begun[stream->allowed / plan.size % (uint64_t)plan.window] = due;
        stream->allowed += plan.size;
        if (stream->fd >= 0) send_stream(stream, now);
        state = state * 6364136223846793005u + 1442695040888963407u;
        due += (uint64_t)(-log(((double)(state >> 11) + 0.5) / 0x1p53) / plan.rate * 1e9);
    }
    uint64_t at = due > now ? due : now + 1000000;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL)) fail("timerfd_settime");
}

static void tcp_ready(long flow, uint32_t found) {
    static char in[CHUNK], expected[CHUNK];
    if (flow == plan.flows) {
        tcp_due();
        return;
    }
    struct stream *stream = &streams[flow];
    ssize_t got = CHUNK;
    while (stream->fd >= 0 && (stream->tls || got == CHUNK || found & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        got = stream->tls ? tls_read(stream->tls, in, sizeof in) : recv(stream->fd, in, sizeof in, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) {
            blame(&errors.ended, "connection %ld ended after %llu of %llu bytes%s%s", flow,
                  (unsigned long long)stream->got, (unsigned long long)stream->sent, got ? ": " : "",
                  got ? strerror(errno) : "");
            end_stream(stream);
            return;
        }
        write_stream(expected, (uint32_t)flow, stream->got, (size_t)got);
        if (memcmp(in, expected, (size_t)got) || stream->got + (uint64_t)got > stream->sent) {
            blame(&errors.wrong, "connection %ld: other bytes than were sent, after %llu", flow,
                  (unsigned long long)stream->got);
            end_stream(stream);
            return;
        }
        uint64_t now = nanoseconds(CLOCK_MONOTONIC), before = stream->got / plan.size;
        stream->got += (uint64_t)got;
        for (; before < stream->got / plan.size; before++) {
            answered(stream->begun[before % (uint64_t)plan.window], now);
            if (!stopping && !plan.rate) stream->allowed += plan.size;
        }
        send_stream(stream, now);
    }
    if (stream->fd >= 0 && stream->sent < stream->allowed) send_stream(stream, nanoseconds(CLOCK_MONOTONIC));
}

static void start_streams(bool over_tls) {
    if (!(streams = calloc((size_t)plan.flows, sizeof *streams))) fail("memory");
    for (long i = 0; i < plan.flows; i++) {
        streams[i].fd = dial(SOCK_STREAM, NULL);
        if (streams[i].fd < 0) continue;
        if (!(streams[i].begun = calloc((size_t)plan.window, sizeof(uint64_t)))) fail("memory");
        streams[i].allowed = plan.rate ? 0 : (uint64_t)plan.window * plan.size;
        if (over_tls && !(streams[i].tls = tls_open(streams[i].fd))) fail("SSL_new");
        alive++;
        watch(streams[i].fd, i); /* it is writable, so that the loop sends the first messages */
    }
    if (!plan.rate) return;
    if (prctl(PR_SET_TIMERSLACK, 1)) fail("prctl");
    if ((timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0) fail("timerfd_create");
    watch(timer, plan.flows);
    due = nanoseconds(CLOCK_MONOTONIC);
    tcp_due();
}

static void tcp_start(void) { start_streams(false); }

static void tls_start(void) { start_streams(true); }

static uint64_t tcp_under_way(void) {
    uint64_t count = 0;
    for (long i = 0; i < plan.flows; i++)
        if (streams[i].fd >= 0) count += (streams[i].allowed - streams[i].got + plan.size - 1) / plan.size;
    return count;
}

static void tcp_look(uint64_t now) { (void)now; } /* what never comes is counted at the end */

const struct mode tcp_mode = {"tcp", tcp_start, tcp_ready, tcp_look, tcp_under_way, NULL};
const struct mode tls_mode = {"tls", tls_start, tcp_ready, tcp_look, tcp_under_way, NULL};
