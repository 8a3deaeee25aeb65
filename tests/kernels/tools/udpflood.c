/*
 * udpflood N ADDRESS: opens N new UDP flows, that is, sends a byte from one socket to each of N ports from 20000 on.
 *
 * Prints "udpflood ok=N" and each kind of error with its number: a packet that connection tracking refuses on its way
 * out fails with EPERM, "Operation not permitted". Exits 0 even then, 2 when it could not begin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_ERRNO = 256, FIRST = 20000, MOST = 40000 };

int main(int argc, char **argv)
{
	long errors[MAX_ERRNO] = { 0 }, sent = 0, count;
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd;

	if (argc != 3 || (count = atol(argv[1])) <= 0 || count > MOST || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: udpflood N ADDRESS, N up to %d\n", MOST);
		return 2;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		perror("udpflood: socket");
		return 2;
	}
	for (long i = 0; i < count; i++) {
		to.sin_port = htons(FIRST + i);
		if (sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) == 1)
			sent++;
		else
			errors[errno % MAX_ERRNO]++;
	}
	printf("udpflood ok=%ld", sent);
	for (int i = 0; i < MAX_ERRNO; i++)
		if (errors[i])
			printf(" %s=%ld", strerror(i), errors[i]);
	putchar('\n');
	return 0;
}
