/* An upstream that costs next to nothing: one thread, epoll, answers that were made before.
 *
 *   upstream (--port N | --unix PATH) -- ROUTE [-- ROUTE ...]
 *   ROUTE:  PREFIX NEEDLE whole FILE                                a whole HTTP response, sent as it is
 *           PREFIX NEEDLE stream FIRST CHUNK LAST INTERVAL COUNT    a chunked response: three files, microseconds, how many of the middle one
 *
 * The first route whose PREFIX begins the request's target and whose NEEDLE is in the request (empty: always) answers, else the last one. Of a stream
 * FIRST goes out with the head. CHUNKs follow every INTERVAL, without end where COUNT is 0; with INTERVAL 0 all come at once, and with both 0 none does:
 * an idle stream. The streams' CHUNKs are spread evenly over the interval. In each CHUNK the first "t=" and 19 digits get the time it was due
 * (CLOCK_MONOTONIC, nanoseconds): the moment it is written, or, where a reader held it up, the moment it should have been.
 *
 * It prints its port (0 for a Unix socket) when it listens, and ends when its standard input does. Requests need a Content-Length or no body,
 * and the next one on a connection comes when the answer is whole: no proxy sends it earlier.
 */

#define _GNU_SOURCE
#include "common.h"

#define HEAD_AND_BODY (64 * 1024) /* a longer request's body is counted, not kept: no needle is looked for in it */
#define TICK_NS 125000 /* what is due within it comes at once; half as long, and waking up for it fills the core that the generator needs */
#define MAX_ROUTES 32

struct text {
    char *bytes;
    size_t size;
};

struct route {
    const char *prefix, *needle;
    int stream;
    struct text answer;             /* whole: the response */
    struct text first, chunk, last; /* stream: with their chunked framing */
    long stamp;                     /* where the digits are in chunk; -1: none */
    int64_t interval;
    long count;
};

struct connection {
    int fd;
    char *in;
    size_t have;
    int64_t skip; /* bytes of a long body still to come */
    const struct route *route;
    struct text out; /* what a full socket did not take; `owned` is freed */
    size_t sent;
    char *owned;
    int64_t began;
    long chunks; /* of the stream that is being sent */
    int streaming, held;
    struct connection *next, *previous; /* streams */
};

static struct route routes[MAX_ROUTES];
static int route_count;
static struct connection streams = {.next = &streams, .previous = &streams};
static int poller, ticker, ticking;
static char scratch[256 * 1024];

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

static struct text file_text(const char *path) {
    struct text read = {0};
    read.bytes = read_file(path, &read.size);
    return read;
}

static struct text framed(struct text body, const char *before, const char *after) {
    struct text made = {malloc(body.size + strlen(before) + strlen(after) + 32), 0};
    if (!made.bytes)
        die("malloc");
    made.size = (size_t)sprintf(made.bytes, "%s", before);
    if (body.size) {
        made.size += (size_t)sprintf(made.bytes + made.size, "%zx\r\n", body.size);
        memcpy(made.bytes + made.size, body.bytes, body.size);
        made.size += body.size;
        made.size += (size_t)sprintf(made.bytes + made.size, "\r\n");
    }
    made.size += (size_t)sprintf(made.bytes + made.size, "%s", after);
    free(body.bytes);
    return made;
}

static long stamp_of(struct text chunk) {
    for (size_t at = 0; at + 2 + STAMP_DIGITS <= chunk.size; at++)
        if (!memcmp(chunk.bytes + at, "t=", 2) && strspn(chunk.bytes + at + 2, "0123456789") >= STAMP_DIGITS)
            return (long)at + 2;
    return -1;
}

static void arm(int on) {
    struct itimerspec every = {0};
    if (on == ticking)
        return;
    if (on)
        every.it_interval.tv_nsec = every.it_value.tv_nsec = TICK_NS;
    if (timerfd_settime(ticker, 0, &every, NULL))
        die("timerfd_settime");
    ticking = on;
}

static void leave_streams(struct connection *who) {
    if (!who->streaming)
        return;
    who->streaming = 0;
    who->next->previous = who->previous;
    who->previous->next = who->next;
    if (streams.next == &streams)
        arm(0);
}

static void close_connection(struct connection *who) {
    leave_streams(who);
    close(who->fd);
    free(who->owned);
    free(who->in);
    free(who);
}

static void watch(struct connection *who, int writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = who};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, who->fd, &event))
        die("epoll_ctl");
}

/* Send, and keep what the socket does not take (copied where `copy`: the bytes may change). Returns -1 where the connection is gone. */
static int put(struct connection *who, const char *bytes, size_t size, int copy) {
    ssize_t took = send(who->fd, bytes, size, MSG_NOSIGNAL);
    if (took < 0 && errno != EAGAIN)
        return -1;
    if (took < 0)
        took = 0;
    if ((size_t)took == size)
        return 0;
    size -= (size_t)took;
    bytes += took;
    if (copy) {
        who->owned = malloc(size);
        if (!who->owned)
            die("malloc");
        memcpy(who->owned, bytes, size);
        bytes = who->owned;
    }
    who->out = (struct text){(char *)bytes, size};
    who->sent = 0;
    watch(who, 1);
    return 0;
}

/* Send what is due of a stream. Returns -1 where the connection is gone. */
static int go_on(struct connection *who, int64_t now) {
    const struct route *route = who->route;
    while (!who->out.bytes && (!route->count || who->chunks < route->count)) {
        int64_t due = who->began + (who->chunks + 1) * route->interval;
        if (due > now)
            return 0;
        if (route->stamp >= 0) {
            char digits[STAMP_DIGITS + 1];
            snprintf(digits, sizeof digits, "%019lld", (long long)(who->held ? due : now));
            memcpy(route->chunk.bytes + route->stamp, digits, STAMP_DIGITS);
        }
        who->chunks++;
        if (put(who, route->chunk.bytes, route->chunk.size, 1))
            return -1;
    }
    if (who->out.bytes) {
        who->held = 1;
        return 0;
    }
    who->held = 0;
    leave_streams(who);
    return put(who, route->last.bytes, route->last.size, 0);
}

/* Return the moment a stream's chunks are counted from, such that the streams' chunks are spread over the interval, each time the same way: by when they
 * were asked for, a slow server's would come in other bursts than a quick one's. Steps of the golden ratio keep them apart however many there are. */
static int64_t apart(int64_t now, int64_t interval) {
    static uint32_t place;
    if (!interval)
        return now;
    place += 2654435769u;
    return now - now % interval + (int64_t)((uint64_t)place * (uint64_t)interval >> 32);
}

static int answer(struct connection *who, const char *request, size_t size) {
    const char *target = memchr(request, ' ', size);
    const struct route *route = NULL;
    for (int n = 0; target && n < route_count && !route; n++)
        if (!strncmp(target + 1, routes[n].prefix, strlen(routes[n].prefix)) &&
            (!*routes[n].needle || memmem(request, size, routes[n].needle, strlen(routes[n].needle))))
            route = &routes[n];
    who->route = route = route ? route : &routes[route_count - 1];
    if (!route->stream)
        return put(who, route->answer.bytes, route->answer.size, 0);
    who->began = apart(now_ns(), route->interval);
    who->chunks = 0;
    who->held = 0;
    if (put(who, route->first.bytes, route->first.size, 0))
        return -1;
    if (!route->interval && !route->count)
        return 0;
    who->streaming = 1;
    who->next = streams.next;
    who->previous = &streams;
    streams.next->previous = who;
    streams.next = who;
    arm(1);
    return route->interval ? 0 : go_on(who, who->began);
}

/* Take the requests that are in the buffer. Returns -1 where the connection is to be closed. */
static int take(struct connection *who) {
    while (who->have) {
        who->in[who->have] = 0;
        char *end = memmem(who->in, who->have, "\r\n\r\n", 4);
        if (!end)
            return who->have < HEAD_AND_BODY ? 0 : -1;
        size_t head = (size_t)(end - who->in) + 4;
        *end = 0;
        const char *length = strcasestr(who->in, "\r\ncontent-length:");
        size_t total = head + (length ? strtoull(length + 17, NULL, 10) : 0);
        int chunked = strcasestr(who->in, "\r\ntransfer-encoding:") != NULL;
        *end = '\r';
        if (chunked)
            return -1;
        if (who->have < total && total <= HEAD_AND_BODY)
            return 0;
        size_t used = who->have < total ? who->have : total;
        who->skip = (int64_t)(total - used);
        if (who->skip) { /* long: answered once all of it is there; the head waits in the buffer */
            who->have = head;
            return 0;
        }
        if (answer(who, who->in, used))
            return -1;
        memmove(who->in, who->in + used, who->have - used);
        who->have -= used;
    }
    return 0;
}

static int readable(struct connection *who) {
    if (who->skip) {
        size_t most = who->skip < (int64_t)sizeof scratch ? (size_t)who->skip : sizeof scratch;
        ssize_t got = recv(who->fd, scratch, most, 0);
        if (got <= 0)
            return got < 0 && errno == EAGAIN ? 0 : -1;
        who->skip -= got;
        if (who->skip)
            return 0;
        size_t head = who->have;
        who->have = 0;
        return answer(who, who->in, head);
    }
    ssize_t got = recv(who->fd, who->in + who->have, HEAD_AND_BODY - who->have, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    who->have += (size_t)got;
    return take(who);
}

static int writable(struct connection *who) {
    ssize_t took = send(who->fd, who->out.bytes + who->sent, who->out.size - who->sent, MSG_NOSIGNAL);
    if (took < 0)
        return errno == EAGAIN ? 0 : -1;
    who->sent += (size_t)took;
    if (who->sent < who->out.size)
        return 0;
    free(who->owned);
    who->owned = NULL;
    who->out.bytes = NULL;
    watch(who, 0);
    return who->streaming ? go_on(who, now_ns()) : 0;
}

static void tick(void) {
    uint64_t ticks;
    if (read(ticker, &ticks, sizeof ticks) < 0)
        return;
    for (struct connection *who = streams.next, *next; who != &streams; who = next) {
        next = who->next;
        if (!who->out.bytes && go_on(who, now_ns()))
            close_connection(who);
    }
}

static void welcome(int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        no_delay(fd);
        struct connection *who = calloc(1, sizeof *who);
        if (!who || !(who->in = malloc(HEAD_AND_BODY + 1)))
            die("malloc");
        who->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
            die("epoll_ctl");
    }
}

static void add_route(char **words, int count) {
    struct route *made = &routes[route_count++];
    if (route_count > MAX_ROUTES || count < 4)
        usage("a route is PREFIX NEEDLE whole FILE, or PREFIX NEEDLE stream FIRST CHUNK LAST INTERVAL COUNT");
    made->prefix = words[0];
    made->needle = words[1];
    made->stream = !strcmp(words[2], "stream");
    if (made->stream && count == 8) {
        made->first = framed(file_text(words[3]), STREAM_HEAD, "");
        made->chunk = framed(file_text(words[4]), "", "");
        made->last = framed(file_text(words[5]), "", "0\r\n\r\n");
        made->stamp = stamp_of(made->chunk);
        made->interval = atoll(words[6]) * 1000;
        made->count = atol(words[7]);
        if (!made->interval && made->count < 0)
            usage("a stream without an interval needs a count");
    } else if (!made->stream && count == 4) {
        made->answer = file_text(words[3]);
    } else {
        usage("a route has too few or too many words");
    }
}

int main(int count, char **words) {
    if (count < 4)
        usage("upstream (--port N | --unix PATH) -- ROUTE [-- ROUTE ...]");
    int listener = !strcmp(words[1], "--unix") ? listen_unix(words[2]) : listen_tcp(atoi(words[2]));
    for (int from = 4, to; from < count; from = to + 1) {
        for (to = from; to < count && strcmp(words[to], "--"); to++)
            ;
        add_route(words + from, to - from);
    }
    raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event heard = {.events = EPOLLIN, .data.ptr = &listener}, told = {.events = EPOLLIN, .data.ptr = &poller},
                       ticks = {.events = EPOLLIN, .data.ptr = &ticker};
    if (poller < 0 || ticker < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &heard) || epoll_ctl(poller, EPOLL_CTL_ADD, 0, &told) ||
        epoll_ctl(poller, EPOLL_CTL_ADD, ticker, &ticks))
        die("epoll");
    printf("%d\n", port_of(listener));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, -1), ticked = 0;
        for (int n = 0; n < ready; n++) {
            struct connection *who = events[n].data.ptr;
            int gone = 0;
            if ((void *)who == &poller)
                return 0;
            if ((void *)who == &listener) {
                welcome(listener);
                continue;
            }
            if ((void *)who == &ticker) {
                ticked = 1; /* after the others: it may close some of them */
                continue;
            }
            if (events[n].events & EPOLLOUT)
                gone = writable(who);
            if (!gone && events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                gone = readable(who);
            if (gone)
                close_connection(who);
        }
        if (ticked)
            tick();
    }
}
