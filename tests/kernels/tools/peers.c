/*
 * peers: sockets that stay open. Each of these prints "ready" once they all are, and then waits to be ended.
 *
 *   peers serve PORT...             listens on these TCP ports, over both protocols, and holds what is accepted
 *   peers dial ADDRESS PORT N       N TCP connections, each of which sent one byte
 *   peers tell ADDRESS PORT N       N connected UDP sockets, each of which sent one datagram
 *   peers answer PORT               one UDP socket, which answers each datagram with one
 *   peers bind PORT                 a TCP socket that has a port and nothing else
 *   peers FIRST ... and SECOND ...  several of these, one after the other, in one process
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MOST = 4096 };

static struct pollfd waiting[MOST];
static int answers[MOST], open_sockets;

static void fail(const char *what)
{
	fprintf(stderr, "peers: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void usage(void)
{
	fprintf(stderr, "usage: peers serve PORT... | dial|tell ADDRESS PORT N | answer|bind PORT [and ...]\n");
	exit(2);
}

/* events: what to wait for; 0 for nothing */
static void keep(int fd, short events, int is_answering)
{
	if (open_sockets == MOST) {
		errno = EMFILE;
		fail("too many sockets");
	}
	waiting[open_sockets].fd = fd;
	waiting[open_sockets].events = events;
	answers[open_sockets++] = is_answering;
}

static int local(int type, const char *port)
{
	struct sockaddr_in6 here = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT };
	int yes = 1, no = 0, fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);

	here.sin6_port = htons(atoi(port));
	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
	if (bind(fd, (struct sockaddr *)&here, sizeof here) < 0)
		fail("bind");
	return fd;
}

static int far(int type, const char *address, const char *port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = v4.sin_port };
	int is_v6 = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1, fd;

	if (!is_v6 && inet_pton(AF_INET, address, &v4.sin_addr) != 1)
		usage();
	fd = socket(is_v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fail("socket");
	if (is_v6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4))
		fail("connect");
	return fd;
}

static void one(int argc, char **argv)
{
	if (argc >= 2 && !strcmp(argv[0], "serve")) {
		for (int i = 1; i < argc; i++) {
			int fd = local(SOCK_STREAM, argv[i]);

			if (listen(fd, 128) < 0)
				fail("listen");
			keep(fd, POLLIN, 0);
		}
	} else if (argc == 4 && (!strcmp(argv[0], "dial") || !strcmp(argv[0], "tell"))) {
		for (int i = 0; i < atoi(argv[3]); i++) {
			int fd = far(strcmp(argv[0], "dial") ? SOCK_DGRAM : SOCK_STREAM, argv[1], argv[2]);

			if (send(fd, "x", 1, MSG_NOSIGNAL) < 0)
				fail("send");
			keep(fd, 0, 0);
		}
	} else if (argc == 2 && !strcmp(argv[0], "answer")) {
		keep(local(SOCK_DGRAM, argv[1]), POLLIN, 1);
	} else if (argc == 2 && !strcmp(argv[0], "bind")) {
		keep(local(SOCK_STREAM, argv[1]), 0, 0);
	} else {
		usage();
	}
}

static void serve(int i)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof from;
	char datagram[64];

	if (!answers[i]) {
		int fd = accept(waiting[i].fd, NULL, NULL);

		if (fd >= 0)
			keep(fd, 0, 0);
	} else if (recvfrom(waiting[i].fd, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &length) >= 0) {
		sendto(waiting[i].fd, "y", 1, 0, (struct sockaddr *)&from, length);
	}
}

int main(int argc, char **argv)
{
	int start = 1;

	for (int i = 1; i <= argc; i++) {
		if (i < argc && strcmp(argv[i], "and"))
			continue;
		one(i - start, argv + start);
		start = i + 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		int sockets = open_sockets;

		if (poll(waiting, sockets, -1) < 0 && errno != EINTR)
			fail("poll");
		for (int i = 0; i < sockets; i++)
			if (waiting[i].revents & POLLIN)
				serve(i);
			else if (waiting[i].revents)
				waiting[i].fd = -1; /* its other end is gone; the socket stays */
	}
}
