/*
 * stats: the least that finding the network namespaces of all processes can cost. Walks /proc and asks for the inode of
 * net/stat/nf_conntrack of every process, and no more. Prints how many there were.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int main(void) {
    DIR *root = opendir("/proc");
    const struct dirent *entry;
    long found = 0;

    if (root == NULL) {
        fprintf(stderr, "stats: /proc: %s\n", strerror(errno));
        return 4;
    }
    while ((entry = readdir(root)) != NULL) {
        char name[sizeof entry->d_name + sizeof "/net/stat/nf_conntrack"];
        struct stat stat;
        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name))
            continue;
        snprintf(name, sizeof name, "%s/net/stat/nf_conntrack", entry->d_name);
        found += fstatat(dirfd(root), name, &stat, 0) == 0;
    }
    printf("%ld processes\n", found);
    return found > 0 ? 0 : 4;
}
