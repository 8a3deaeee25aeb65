/*
 * crowd NAMESPACES PROCESSES
 *
 * Makes so many network namespaces and so many processes in them, in turns, says "ready" on stdout, and ends them all
 * at the end of its stdin, whoever closed it. The processes do nothing, and end with this one whatever happens to it.
 * Needs CAP_SYS_ADMIN.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what) {
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void idle(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it ended before the line above */
        _exit(1);
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    long namespaces = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
    long processes = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    pid_t self = getpid();
    if (namespaces < 1 || processes < namespaces) {
        fputs("usage: crowd NAMESPACES PROCESSES\n", stderr);
        return 1;
    }

    pid_t *children = calloc((size_t)processes, sizeof *children);
    if (children == NULL)
        die("calloc");
    long n = 0;
    for (long i = 0; i < namespaces; i++) {
        /* this process takes part in the last one */
        if (unshare(CLONE_NEWNET) < 0)
            die("unshare");
        for (; n < processes * (i + 1) / namespaces; n++) {
            children[n] = fork();
            if (children[n] < 0)
                die("fork");
            if (children[n] == 0)
                idle(self);
        }
    }
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) < 0 && errno == EINTR)
        ;
    for (long i = 0; i < n; i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    return 0;
}
