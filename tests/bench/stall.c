/*
 * stall MILLISECONDS [COMMAND [ARGUMENT...]]
 *
 * How long the command keeps a processor from everybody else. For so many milliseconds the command runs over and over
 * on one processor, at ordinary priority; on the same processor this program sleeps a millisecond at a time with the
 * highest claim there is (SCHED_FIFO). What it comes late beyond that is time in which the kernel let nobody else run:
 * a ctnetlink dump walks the hash table with soft interrupts off until a datagram is full. Without a command: what
 * this host does on its own.
 *
 * Prints: runs of the command, the largest lateness in milliseconds, how often it was above 10 ms, and the naps.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NAP_NS = 1000 * 1000, LATE_NS = 10 * 1000 * 1000 };

static void die(const char *what) {
    fprintf(stderr, "stall: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Runs the command until told to stop, and reports how often. */
static void repeat(char **command, int stop, int report) {
    long runs = 0;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    fcntl(stop, F_SETFL, O_NONBLOCK);
    while (read(stop, &byte, 1) < 0) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            dup2(null, 0);
            dup2(null, 1);
            execvp(command[0], command);
            die(command[0]);
        }
        if (child < 0 || waitpid(child, &status, 0) < 0)
            die("running the command");
        if (!WIFEXITED(status) || WEXITSTATUS(status) > 3) {
            fputs("stall: the command ended abnormally\n", stderr);
            exit(1);
        }
        runs++;
    }
    if (write(report, &runs, sizeof runs) != sizeof runs)
        die("reporting");
    exit(0);
}

int main(int argc, char **argv) {
    long milliseconds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    if (milliseconds < 1) {
        fputs("usage: stall MILLISECONDS [COMMAND [ARGUMENT...]]\n", stderr);
        return 1;
    }

    /* the last processor this may run on: the first one is where most interrupts go */
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        die("sched_getaffinity");
    int cpu = CPU_SETSIZE - 1;
    while (cpu > 0 && !CPU_ISSET(cpu, &allowed))
        cpu--;
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        die("sched_setaffinity");

    int stop[2], report[2];
    pid_t child = 0;
    if (argc > 2) {
        if (pipe(stop) < 0 || pipe(report) < 0)
            die("pipe");
        child = fork();
        if (child < 0)
            die("fork");
        if (child == 0) {
            close(stop[1]);
            repeat(argv + 2, stop[0], report[1]);
        }
        close(stop[0]);
        close(report[1]);
    }

    struct sched_param highest = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    if (sched_setscheduler(0, SCHED_FIFO, &highest) < 0)
        die("SCHED_FIFO (needs CAP_SYS_NICE)");

    long long end = now() + milliseconds * 1000000LL, worst = 0;
    long naps = 0, late = 0, runs = 0;
    while (now() < end) {
        struct timespec nap = {.tv_nsec = NAP_NS};
        long long due = now() + NAP_NS;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        long long lateness = now() - due;
        naps++;
        late += lateness > LATE_NS;
        if (lateness > worst)
            worst = lateness;
    }
    if (child > 0) {
        close(stop[1]); /* end of file: enough */
        int status, told = read(report[0], &runs, sizeof runs) == sizeof runs;
        if (waitpid(child, &status, 0) < 0 || status != 0 || !told)
            return 1;
    }
    printf("%ld %.1f %ld %ld\n", runs, (double)worst / 1e6, late, naps);
    return 0;
}
