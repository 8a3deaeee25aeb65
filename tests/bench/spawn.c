/*
 * spawn ROUNDS[,WARM_UP] COMMAND [ARGUMENT...] [-- COMMAND [ARGUMENT...]]...
 *
 * Starts every command ROUNDS times, one after the other, with stdout on /dev/null, after WARM_UP rounds that do not
 * count (20). Prints a line for each command: the median from start to end in microseconds, the median of its ratios
 * to the first command in the same round, the largest peak RSS in KiB, the median of the minor page faults, and the
 * medians of the CPU time in microseconds: all of it, in user mode, in the kernel. The kernel shares the two out by
 * what its ticks met, so of a run that is shorter than a tick only the sum means something. What a shell waited for
 * counts as the shell's.
 *
 * No peak can be read below this program's own: at exec the kernel hands the peak of the caller's memory on to the new
 * program (exec_mmap in fs/exec.c). So this one is static, keeps little and prints nothing before the last round.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

enum { COMMANDS_MAX = 16 };

struct run {
    double microseconds;
    long peak_kib;
    long faults;
    double user, system; /* microseconds */
};

extern char **environ;

static void die(const char *what, const char *why) {
    fprintf(stderr, "spawn: %s: %s\n", what, why);
    exit(1);
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, long n) {
    qsort(values, (size_t)n, sizeof *values, compare);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double microseconds(struct timeval t) { return (double)t.tv_sec * 1e6 + (double)t.tv_usec; }

static struct run start(char **command, const posix_spawn_file_actions_t *actions) {
    struct timespec before, after;
    struct rusage used;
    pid_t child;
    int status;

    clock_gettime(CLOCK_MONOTONIC, &before);
    int error = posix_spawn(&child, command[0], actions, NULL, command, environ);
    if (error != 0)
        die(command[0], strerror(error));
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            die("wait4", strerror(errno));
    clock_gettime(CLOCK_MONOTONIC, &after);

    /* a plugin that crashes is quick, and no measurement */
    if (!WIFEXITED(status) || WEXITSTATUS(status) > 3)
        die(command[0], "ended abnormally");
    return (struct run){
        .microseconds = (double)(after.tv_sec - before.tv_sec) * 1e6 + (double)(after.tv_nsec - before.tv_nsec) / 1e3,
        .peak_kib = used.ru_maxrss,
        .faults = used.ru_minflt,
        .user = microseconds(used.ru_utime),
        .system = microseconds(used.ru_stime),
    };
}

int main(int argc, char **argv) {
    char **commands[COMMANDS_MAX];
    long peak[COMMANDS_MAX] = {0};
    char *rest = NULL;
    long rounds = argc > 2 ? strtol(argv[1], &rest, 10) : 0;
    long warm_up = rest != NULL && *rest == ',' ? strtol(rest + 1, NULL, 10) : 20;
    int n = 0;

    if (rounds < 1 || warm_up < 0)
        die("usage", "spawn ROUNDS[,WARM_UP] COMMAND [ARGUMENT...] [-- COMMAND [ARGUMENT...]]...");
    for (int i = 2, first = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            argv[i] = NULL; /* ends the argument list of the command before it */
            first = 1;
        } else if (first) {
            if (n == COMMANDS_MAX)
                die("usage", "too many commands");
            commands[n++] = &argv[i];
            first = 0;
        }
    }

    enum { TIME, RATIO, FAULTS, CPU, USER, SYSTEM, FIGURES };
    double *figures[FIGURES];
    for (int figure = 0; figure < FIGURES; figure++)
        if ((figures[figure] = calloc((size_t)(n * rounds), sizeof **figures)) == NULL)
            die("calloc", strerror(errno));
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) != 0)
        die("start", strerror(errno));

    /* Whoever goes first in a round pays for what the round before left in the caches: take turns. */
    for (long round = -warm_up; round < rounds; round++) {
        for (int turn = 0; turn < n; turn++) {
            int which = (int)((round + warm_up + turn) % n);
            struct run run = start(commands[which], &actions);
            if (round < 0)
                continue;
            long at = which * rounds + round;
            figures[TIME][at] = run.microseconds;
            figures[FAULTS][at] = (double)run.faults;
            figures[CPU][at] = run.user + run.system;
            figures[USER][at] = run.user;
            figures[SYSTEM][at] = run.system;
            if (run.peak_kib > peak[which])
                peak[which] = run.peak_kib;
        }
        /* what disturbs the host for longer than a command disturbs the whole round */
        for (int which = 0; which < n && round >= 0; which++)
            figures[RATIO][which * rounds + round] = figures[TIME][which * rounds + round] / figures[TIME][round];
    }

    for (int which = 0; which < n; which++) {
        double of[FIGURES];
        for (int figure = 0; figure < FIGURES; figure++)
            of[figure] = median(figures[figure] + which * rounds, rounds);
        printf("%.1f %.3f %ld %.0f %.0f %.0f %.0f\n", of[TIME], of[RATIO], peak[which], of[FAULTS], of[CPU], of[USER],
               of[SYSTEM]);
    }
    return 0;
}
