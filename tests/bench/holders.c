/*
 * holders PROCESSES SOCKETS USERS
 *
 * Makes so many processes that together hold so many connected sockets of UDP from 10.0.0.1 and the addresses after it
 * to 198.51.100.7:5432, sends a packet from each, says "ready" on stdout, and ends the processes at the end of its
 * stdin, whoever closed it. The processes take turns as USERS users from uid 20000 on; 0 leaves them root's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    fprintf(stderr, "holders: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void connect_from(unsigned number) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(5432)};
    from.sin_addr.s_addr = htonl(0x0a000001u + number / 60000); /* 10.0.0.1 and those after it */
    from.sin_port = htons((in_port_t)(2000 + number % 60000));
    to.sin_addr.s_addr = inet_addr("198.51.100.7");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (void *)&from, sizeof from) < 0 || connect(fd, (void *)&to, sizeof to) < 0)
        die("socket");
    while (send(fd, "x", 1, 0) < 0)
        if (errno != EINTR && errno != ENOBUFS && errno != EAGAIN)
            die("send");
}

int main(int argc, char **argv) {
    long processes = argc > 3 ? strtol(argv[1], NULL, 10) : 0, sockets = argc > 3 ? strtol(argv[2], NULL, 10) : 0;
    long users = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (processes < 1 || sockets < processes || users < 0)
        return fputs("usage: holders PROCESSES SOCKETS USERS\n", stderr), 1;
    pid_t self = getpid();
    pid_t *children = calloc((size_t)processes, sizeof *children);
    if (children == NULL)
        die("calloc");
    /* every child has its end of this pipe open until all of its packets are sent */
    int sent[2];
    if (pipe(sent) < 0)
        die("pipe");
    for (long i = 0; i < processes; i++) {
        children[i] = fork();
        if (children[i] < 0)
            die("fork");
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != self)
                _exit(1);
            for (long n = sockets * i / processes; n < sockets * (i + 1) / processes; n++)
                connect_from((unsigned)n);
            if (users > 0 && setuid((uid_t)(20000 + i % users)) < 0)
                die("setuid");
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(sent[1]);
            for (;;)
                pause();
        }
    }
    close(sent[1]);
    char byte;
    while (read(sent[0], &byte, 1) < 0 && errno == EINTR)
        ;
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) < 0 && errno == EINTR)
        ;
    for (long i = 0; i < processes; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
