/* A load generator that costs next to nothing: one thread, epoll, one prebuilt request sent again and again.
 *
 *   loader MODE (--port N | --unix PATH) REQUEST CONNECTIONS WARM SECONDS [PROBE EVERY]
 *   closed   each connection sends its next request when the last answer is whole: rate, and how long an answer took
 *   streams  each connection asks once and reads; how old each "t=" stamp of the upstream's (see upstream.c) is when it arrives. With PROBE, a second
 *            request goes out every EVERY microseconds on connections of its own: how long the first byte of its answer's body took from the moment it
 *            was due, whether or not earlier ones are still unanswered. When something arrived the kernel says (SO_TIMESTAMPNS, socket(7)), so that this
 *            program need not run just then: without probes it reads four times a millisecond, and does not keep the upstream beside it from its core
 *   idle     each connection asks once; holds them all until standard input ends
 *
 * REQUEST and PROBE are files with whole requests. It prints `begin` when it has warmed up (idle: when every stream has begun) and, at the end,
 * `end` and `name=value` pairs; times are in seconds. An answer but 200, a broken connection or a broken framing ends it with code 1 and a word.
 */

#define _GNU_SOURCE
#include "common.h"

enum mode { CLOSED, STREAMS, IDLE };
enum at { HEAD, BODY, SIZE, SIZE_END, DATA, DATA_CR, DATA_LF, TRAILER };

#define HEAD_LIMIT 32768
#define PROBES 16 /* connections for them */
#define READ_NS 250000

struct samples {
    int64_t *values;
    size_t count, room;
};

struct connection {
    int fd, probing, busy, begun; /* begun: a byte of the body came */
    const char *request;
    size_t size, sent;
    int64_t since; /* sent, or (a probe) due */
    enum at at;
    char head[HEAD_LIMIT + 1];
    size_t have;
    int64_t left; /* of the body, or of the chunk */
    int line;     /* length of the trailer's line so far */
    int marks;    /* of a stamp: 0 nothing, 1 't', 2 "t=", 2 + n digits */
    int64_t stamp;
};

static enum mode mode;
static int poller, measuring, waiting;
static struct samples delays, probes;
static int64_t received, arrived, since_epoch; /* what was read last arrived at; CLOCK_MONOTONIC's beginning by CLOCK_REALTIME */
static char scratch[256 * 1024];

static void broken(const char *what, const char *bytes, size_t size) {
    fprintf(stderr, "%s: %.*s\n", what, (int)(size < 400 ? size : 400), bytes);
    exit(1);
}

static void add(struct samples *to, int64_t value) {
    if (to->count == to->room) {
        to->room = to->room ? to->room * 2 : 1 << 16;
        to->values = realloc(to->values, to->room * sizeof *to->values);
        if (!to->values)
            die("realloc");
    }
    to->values[to->count++] = value;
}

static int by_value(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

static double quantile(const struct samples *of, double share) {
    if (!of->count)
        return 0;
    double exact = (double)of->count * share;
    size_t rank = (size_t)exact;
    rank += rank < exact; /* nearest rank: a value that was seen */
    return (double)of->values[rank ? rank - 1 : 0] / 1e9;
}

static void watch(struct connection *who, int how, int writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = who};
    if (epoll_ctl(poller, how, who->fd, &event))
        die("epoll_ctl");
}

static void push(struct connection *who) {
    ssize_t took = send(who->fd, who->request + who->sent, who->size - who->sent, MSG_NOSIGNAL);
    if (took < 0 && errno != EAGAIN)
        die("send");
    int partly = who->sent != 0;
    who->sent += took > 0 ? (size_t)took : 0;
    if (who->sent < who->size)
        watch(who, EPOLL_CTL_MOD, 1);
    else if (partly)
        watch(who, EPOLL_CTL_MOD, 0);
}

static void ask(struct connection *who, int64_t since) {
    who->since = since;
    who->sent = 0;
    who->busy = 1;
    who->begun = 0;
    who->at = HEAD;
    who->have = 0;
    push(who);
}

static void done(struct connection *who) {
    who->busy = 0;
    if (who->probing)
        return;
    if (mode != CLOSED)
        broken("a stream ended", "", 0);
    int64_t now = now_ns();
    if (measuring)
        add(&delays, now - who->since);
    ask(who, now);
}

/* Look for stamps; they may be cut anywhere. */
static void scan(struct connection *who, const char *bytes, size_t size) {
    for (size_t n = 0; n < size; n++) {
        char byte = bytes[n];
        if (who->marks >= 2 && byte >= '0' && byte <= '9') {
            who->stamp = (who->marks == 2 ? 0 : who->stamp * 10) + (byte - '0');
            if (++who->marks == 2 + STAMP_DIGITS) {
                if (measuring)
                    add(&delays, arrived - who->stamp);
                who->marks = 0;
            }
        } else {
            who->marks = byte == 't' ? 1 : byte == '=' && who->marks == 1 ? 2 : 0;
        }
    }
}

static void body(struct connection *who, const char *bytes, size_t size) {
    if (!who->begun) {
        who->begun = 1;
        waiting--;
        if (who->probing && measuring)
            add(&probes, arrived - who->since);
    }
    received += (int64_t)size;
    if (mode == STREAMS && !who->probing)
        scan(who, bytes, size);
}

static void read_head(struct connection *who) {
    who->head[who->have] = 0;
    if (strncmp(who->head, "HTTP/1.1 200", 12))
        broken("not a 200", who->head, who->have);
    const char *length = strcasestr(who->head, "\r\ncontent-length:");
    if (strcasestr(who->head, "\r\ntransfer-encoding: chunked")) {
        who->at = SIZE;
        who->left = 0;
    } else if (length) {
        who->at = BODY;
        who->left = atoll(length + 17);
    } else {
        broken("an answer without a length", who->head, who->have);
    }
}

static size_t feed_head(struct connection *who, const char *bytes, size_t size) {
    size_t before = who->have, from = before < 3 ? 0 : before - 3, room = HEAD_LIMIT - before;
    size_t taken = size < room ? size : room;
    memcpy(who->head + before, bytes, taken);
    char *end = memmem(who->head + from, before + taken - from, "\r\n\r\n", 4);
    if (!end) {
        who->have += taken;
        if (who->have == HEAD_LIMIT)
            broken("a head without end", who->head, who->have);
        return taken;
    }
    who->have = (size_t)(end - who->head) + 4;
    read_head(who);
    return who->have - before;
}

/* Frame what arrived; `done` is called at the end of an answer and may begin the next one. */
static void feed(struct connection *who, const char *bytes, size_t size) {
    while (size) {
        size_t used = 1;
        int digit;
        if (!who->busy)
            broken("bytes that nobody asked for", bytes, size);
        switch (who->at) {
        case HEAD:
            used = feed_head(who, bytes, size);
            if (who->at == BODY && !who->left)
                done(who);
            break;
        case BODY:
        case DATA:
            used = (int64_t)size < who->left ? size : (size_t)who->left;
            who->left -= (int64_t)used;
            body(who, bytes, used);
            if (who->left)
                break;
            if (who->at == DATA)
                who->at = DATA_CR;
            else
                done(who);
            break;
        case SIZE:
            digit = *bytes >= '0' && *bytes <= '9' ? *bytes - '0' : (*bytes | 32) >= 'a' && (*bytes | 32) <= 'f' ? (*bytes | 32) - 'a' + 10 : -1;
            if (digit >= 0)
                who->left = who->left * 16 + digit;
            else if (*bytes == '\r')
                who->at = SIZE_END;
            else
                broken("a bad chunk size", bytes, size);
            break;
        case SIZE_END:
            who->line = 0;
            who->at = who->left ? DATA : TRAILER;
            break;
        case DATA_CR:
            who->at = DATA_LF;
            break;
        case DATA_LF:
            who->at = SIZE;
            break;
        case TRAILER:
            if (*bytes == '\n') {
                if (!who->line)
                    done(who);
                who->line = 0;
            } else if (*bytes != '\r') {
                who->line++;
            }
            break;
        }
        bytes += used;
        size -= used;
    }
}

/* Read, and note when it arrived: of what came in several parts, the last. */
static ssize_t read_dated(int fd) {
    char dates[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec room = {.iov_base = scratch, .iov_len = sizeof scratch};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = dates, .msg_controllen = sizeof dates};
    ssize_t got = recvmsg(fd, &message, 0);
    struct cmsghdr *date = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    arrived = now_ns();
    if (date && date->cmsg_level == SOL_SOCKET && date->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec at;
        memcpy(&at, CMSG_DATA(date), sizeof at);
        arrived = (int64_t)at.tv_sec * 1000000000 + at.tv_nsec - since_epoch;
    }
    return got;
}

static void date_arrivals(int fd) {
    int on = 1;
    struct timespec wall;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) || clock_gettime(CLOCK_REALTIME, &wall))
        die("SO_TIMESTAMPNS");
    since_epoch = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - now_ns();
}

static void readable(struct connection *who) {
    ssize_t got = mode == STREAMS ? read_dated(who->fd) : recv(who->fd, scratch, sizeof scratch, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got < 0)
        die("recv");
    if (!got)
        broken("the connection was closed", who->head, who->have);
    feed(who, scratch, (size_t)got);
}

static struct connection *open_all(const char *unix_path, int port, int count, const char *file, int probing) {
    struct connection *made = calloc((size_t)count + 1, sizeof *made);
    size_t size;
    char *request = read_file(file, &size);
    if (!made)
        die("calloc");
    for (int n = 0; n < count; n++) {
        made[n].fd = connected(unix_path, port);
        int flags = 1;
        if (ioctl(made[n].fd, FIONBIO, &flags))
            die("ioctl");
        if (mode == STREAMS)
            date_arrivals(made[n].fd);
        made[n].request = request;
        made[n].size = size;
        made[n].probing = probing;
        watch(&made[n], EPOLL_CTL_ADD, 0);
    }
    return made;
}

/* Send the probes that are due and that a connection is free for; return how many were. */
static long probe(struct connection *free_ones, int64_t first, int64_t every, long sent) {
    for (int n = 0; n < PROBES; n++)
        if (!free_ones[n].busy && first + sent * every <= now_ns())
            ask(&free_ones[n], first + sent++ * every);
    return sent;
}

static double own_cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

static void tell(int64_t began, double cpu) {
    double seconds = (double)(now_ns() - began) / 1e9;
    printf("end count=%zu seconds=%.9f cpu=%.6f bytes=%lld", delays.count, seconds, own_cpu() - cpu, (long long)received);
    qsort(delays.values, delays.count, sizeof *delays.values, by_value);
    qsort(probes.values, probes.count, sizeof *probes.values, by_value);
    printf(" p50=%.9f p99=%.9f max=%.9f", quantile(&delays, 0.5), quantile(&delays, 0.99), quantile(&delays, 1));
    printf(" probes=%zu probe_p50=%.9f probe_p99=%.9f\n", probes.count, quantile(&probes, 0.5), quantile(&probes, 0.99));
    fflush(stdout);
}

int main(int count, char **words) {
    if (count != 8 && count != 10)
        usage("loader MODE (--port N | --unix PATH) REQUEST CONNECTIONS WARM SECONDS [PROBE EVERY]");
    mode = !strcmp(words[1], "closed") ? CLOSED : !strcmp(words[1], "streams") ? STREAMS : IDLE;
    const char *unix_path = strcmp(words[2], "--unix") ? NULL : words[3];
    int port = atoi(words[3]), connections = atoi(words[5]);
    int64_t every = count == 10 ? atoll(words[9]) * 1000 : 0, began = 0, sending = 0;
    double warm = atof(words[6]), seconds = atof(words[7]), cpu = 0;
    long sent = 0;
    raise_file_limit();
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = open_all(unix_path, port, connections, words[4], 0);
    struct connection *probing = every ? open_all(unix_path, port, PROBES, words[8], 1) : NULL;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event ticks = {.events = EPOLLIN, .data.ptr = &timer}, told = {.events = EPOLLIN, .data.ptr = &poller};
    int64_t period = every ? every : 1000000;
    struct itimerspec pace = {{0, period}, {0, period}};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &ticks) || (mode == IDLE && epoll_ctl(poller, EPOLL_CTL_ADD, 0, &told)))
        die("epoll_ctl");
    if (mode != IDLE && timerfd_settime(timer, 0, &pace, NULL))
        die("timerfd_settime");
    waiting = connections;
    for (int n = 0; n < connections; n++)
        ask(&all[n], now_ns());
    int64_t start = sending = now_ns();
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int n = 0; n < ready; n++) {
            struct connection *who = events[n].data.ptr;
            uint64_t expired;
            if ((void *)who == &poller)
                return 0;
            if ((void *)who == &timer) {
                (void)!read(timer, &expired, sizeof expired);
                continue;
            }
            if (events[n].events & EPOLLOUT && who->sent < who->size)
                push(who);
            if (events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                readable(who);
        }
        int64_t now = now_ns();
        if (every)
            sent = probe(probing, sending, every, sent);
        if (!measuring && mode != IDLE && (double)(now - start) / 1e9 >= warm) {
            say("begin");
            measuring = 1;
            received = 0;
            began = now_ns();
            cpu = own_cpu();
        } else if (mode == IDLE && !measuring && waiting <= 0) {
            say("begin");
            measuring = 1;
        } else if (measuring && mode != IDLE && (double)(now - began) / 1e9 >= seconds) {
            tell(began, cpu);
            return 0;
        }
        if (mode == STREAMS && !every) {
            struct timespec until = {.tv_sec = (now + READ_NS) / 1000000000, .tv_nsec = (now + READ_NS) % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
    }
}
