/* What the upstream and the load generator share: clock, sockets, files, dying. */

#ifndef COMMON_H
#define COMMON_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STAMP_DIGITS 19

static inline void die(const char *what) {
    perror(what);
    exit(1);
}

static inline void usage(const char *text) {
    fprintf(stderr, "%s\n", text);
    exit(2);
}

static inline int64_t now_ns(void) {
    struct timespec read;
    clock_gettime(CLOCK_MONOTONIC, &read);
    return (int64_t)read.tv_sec * 1000000000 + read.tv_nsec;
}

static inline char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        die(path);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    if (!bytes || fread(bytes, 1, *size, file) != *size)
        die(path);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static inline void raise_file_limit(void) {
    struct rlimit files;
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static inline void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on a Unix socket, which needs none */
}

static inline struct sockaddr_un unix_address(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        usage("the path of the socket is too long");
    strcpy(address.sun_path, path);
    return address;
}

static inline struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int listen_tcp(int port) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

static inline int listen_unix(const char *path) {
    struct sockaddr_un address = unix_address(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        die(path);
    return fd;
}

static inline int port_of(int fd) {
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &size);
    return address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
}

/* A connected socket that does not block from then on. `unix_path` NULL: loopback's `port`. */
static inline int connected(const char *unix_path, int port) {
    int fd, failed;
    if (unix_path) {
        struct sockaddr_un address = unix_address(unix_path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        failed = fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address);
    } else {
        struct sockaddr_in address = loopback(port);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        failed = fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address);
    }
    if (failed)
        die("connect");
    no_delay(fd);
    return fd;
}

#endif
