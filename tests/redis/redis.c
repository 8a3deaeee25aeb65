/*
 * The two sides of the story that fills tables: an application that opens a connection for every request and closes it,
 * and the server it talks to. Which of them it is, its first argument says; its name in the process list is its file's.
 *
 *   redis server PORT                                 answers each request until it is ended
 *   redis client ADDRESS PORT THREADS CLOSED HELD     THREADS threads make CLOSED requests, each in a connection of its
 *                                                     own, and then leave HELD connections open until they are ended
 *
 * Each says "ready" once others can rely on it: the server listens, the client has done all of the above.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 2000, THREADS_MAX = 100 };

static const char request[] = "PING\r\n", answer[] = "+PONG\r\n";

static void die(const char *what) {
    fprintf(stderr, "redis: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void ready(void) {
    puts("ready");
    fflush(stdout);
}

static void serve(int port) {
    static struct pollfd sockets[CONNECTIONS_MAX];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, listening = socket(AF_INET, SOCK_STREAM, 0), n = 1;

    if (listening < 0 || setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(listening, (struct sockaddr *)&here, sizeof here) < 0 || listen(listening, 512) < 0)
        die("listening");
    ready();
    sockets[0] = (struct pollfd){.fd = listening, .events = POLLIN};
    for (;;) {
        if (poll(sockets, (nfds_t)n, -1) < 0)
            die("poll");
        for (int i = n - 1; i > 0; i--) {
            char bytes[64];
            if (sockets[i].revents == 0)
                continue;
            ssize_t got = read(sockets[i].fd, bytes, sizeof bytes);
            if (got > 0 && write(sockets[i].fd, answer, sizeof answer - 1) > 0)
                continue;
            close(sockets[i].fd); /* the client closed first, so TIME_WAIT is on its side */
            sockets[i] = sockets[--n];
        }
        if (sockets[0].revents != 0 && n < CONNECTIONS_MAX) {
            int accepted = accept(listening, NULL, NULL);
            if (accepted < 0)
                die("accept");
            sockets[n++] = (struct pollfd){.fd = accepted, .events = POLLIN};
        }
    }
}

static struct sockaddr_in there = {.sin_family = AF_INET};
static long threads, closed, held;
static pthread_barrier_t done;

/* One connection and one request in it. */
static int ask(void) {
    char bytes[64];
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&there, sizeof there) < 0)
        die("connect");
    if (write(sock, request, sizeof request - 1) < 0 || read(sock, bytes, sizeof bytes) <= 0)
        die("the request");
    return sock;
}

/* The part of the work that is this thread's; the main thread is the first. */
static void *work(void *number) {
    long first = (long)number;
    for (long i = first; i < closed; i += threads)
        close(ask());
    for (long i = first; i < held; i += threads)
        ask();
    pthread_barrier_wait(&done);
    if (first == 0)
        ready();
    for (;;)
        pause();
    return NULL; /* never; some compilers want to see it */
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever started this is to outlive it */
    if (argc == 3 && strcmp(argv[1], "server") == 0)
        serve(atoi(argv[2]));
    if (argc != 7 || strcmp(argv[1], "client") != 0 || inet_pton(AF_INET, argv[2], &there.sin_addr) != 1) {
        fputs("usage: redis server PORT | redis client ADDRESS PORT THREADS CLOSED HELD\n", stderr);
        return 1;
    }
    there.sin_port = htons((uint16_t)atoi(argv[3]));
    threads = atol(argv[4]);
    closed = atol(argv[5]);
    held = atol(argv[6]);
    if (threads < 1 || threads > THREADS_MAX || held > CONNECTIONS_MAX - 10)
        die("too many");
    pthread_barrier_init(&done, NULL, (unsigned)threads);
    for (long i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)i) != 0)
            die("pthread_create");
    }
    work((void *)0);
}
