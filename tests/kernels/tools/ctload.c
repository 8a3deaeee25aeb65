/*
 * ctload N [KEY=VALUE...]: puts N entries into the connection tracking table of this network namespace.
 *
 *   proto=tcp|udp|icmp   (tcp)
 *   state=NAME           of TCP: syn_sent syn_recv established fin_wait close_wait last_ack time_wait close
 *                        (established)
 *   reply=yes|no         yes: SEEN_REPLY and ASSURED, no: UNREPLIED (yes)
 *   timeout=SECONDS      (600)
 *   to=ADDRESS:PORT      where the connections lead (192.168.0.1:443)
 *   first=INDEX          the first of the N; each index up to 10^9 has a tuple of its own (0)
 *
 * Prints "ctload ok=N" and each kind of error with its number. Exits 0 even when the kernel refused entries, 2 when the
 * table could not be reached. Needs CAP_NET_ADMIN. Unlike conntrack -I, one process makes all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, MAX_ERRNO = 256, PORTS = 60000 };

static char buffer[65536];
static char *cursor;

static void put(int type, const void *data, int length)
{
	struct nlattr *attribute = (struct nlattr *)cursor;
	int padded = NLA_ALIGN(NLA_HDRLEN + length);

	memset(cursor, 0, padded);
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + length;
	memcpy(cursor + NLA_HDRLEN, data, length);
	cursor += padded;
}

static struct nlattr *nest(int type)
{
	struct nlattr *attribute = (struct nlattr *)cursor;

	attribute->nla_type = type | NLA_F_NESTED;
	cursor += NLA_HDRLEN;
	return attribute;
}

static void end(struct nlattr *attribute)
{
	attribute->nla_len = cursor - (char *)attribute;
}

struct plan {
	int protocol, state, reply;
	uint32_t timeout;
	struct in_addr to;
	uint16_t port;
};

/* in network byte order */
struct flow {
	uint32_t source, destination;
	uint16_t source_port, destination_port;
};

static void put_tuple(int type, const struct flow *flow, int protocol, int reversed)
{
	struct nlattr *tuple = nest(type);
	struct nlattr *part = nest(CTA_TUPLE_IP);
	uint8_t number = protocol;

	put(CTA_IP_V4_SRC, reversed ? &flow->destination : &flow->source, 4);
	put(CTA_IP_V4_DST, reversed ? &flow->source : &flow->destination, 4);
	end(part);
	part = nest(CTA_TUPLE_PROTO);
	put(CTA_PROTO_NUM, &number, 1);
	if (protocol == IPPROTO_ICMP) {
		uint8_t echo = reversed ? 0 : 8, code = 0;

		put(CTA_PROTO_ICMP_ID, &flow->source_port, 2);
		put(CTA_PROTO_ICMP_TYPE, &echo, 1);
		put(CTA_PROTO_ICMP_CODE, &code, 1);
	} else {
		put(CTA_PROTO_SRC_PORT, reversed ? &flow->destination_port : &flow->source_port, 2);
		put(CTA_PROTO_DST_PORT, reversed ? &flow->source_port : &flow->destination_port, 2);
	}
	end(part);
	end(tuple);
}

static void put_entry(const struct plan *plan, long index, int acknowledge)
{
	struct flow flow = {
		.source = htonl(0x0a000001 + index / PORTS),
		.destination = plan->to.s_addr,
		.source_port = htons(1024 + index % PORTS),
		.destination_port = htons(plan->port),
	};
	struct nlmsghdr *header = (struct nlmsghdr *)cursor;
	struct nfgenmsg *generic;
	uint32_t status = IPS_CONFIRMED, timeout = htonl(plan->timeout);

	memset(cursor, 0, NLMSG_HDRLEN + sizeof *generic);
	header->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | (acknowledge ? NLM_F_ACK : 0);
	header->nlmsg_seq = (uint32_t)index;
	generic = NLMSG_DATA(header);
	generic->nfgen_family = AF_INET;
	cursor += NLMSG_HDRLEN + sizeof *generic;

	put_tuple(CTA_TUPLE_ORIG, &flow, plan->protocol, 0);
	put_tuple(CTA_TUPLE_REPLY, &flow, plan->protocol, 1);
	if (plan->reply)
		status |= IPS_SEEN_REPLY | IPS_ASSURED;
	status = htonl(status);
	put(CTA_STATUS, &status, 4);
	put(CTA_TIMEOUT, &timeout, 4);
	if (plan->protocol == IPPROTO_TCP) {
		struct nlattr *info = nest(CTA_PROTOINFO), *tcp = nest(CTA_PROTOINFO_TCP);
		uint8_t state = plan->state;

		put(CTA_PROTOINFO_TCP_STATE, &state, 1);
		end(tcp);
		end(info);
	}
	header->nlmsg_len = cursor - (char *)header;
}

static void fail(const char *what)
{
	fprintf(stderr, "ctload: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* Reads answers until that of the last entry of the batch; returns how many were errors. */
static long read_answers(int fd, uint32_t last, long *errors)
{
	static char answers[65536];
	long failed = 0;

	for (;;) {
		ssize_t length = recv(fd, answers, sizeof answers, 0);

		if (length < 0)
			fail("recv");
		for (struct nlmsghdr *h = (struct nlmsghdr *)answers; NLMSG_OK(h, length); h = NLMSG_NEXT(h, length)) {
			int error;

			if (h->nlmsg_type != NLMSG_ERROR)
				continue;
			error = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (error) {
				failed++;
				errors[error % MAX_ERRNO]++;
			}
			if (h->nlmsg_seq == last)
				return failed;
		}
	}
}

static void refuse(const char *argument)
{
	fprintf(stderr, "ctload: bad argument %s\nusage: ctload N [proto= state= reply= timeout= to= first=]\n", argument);
	exit(2);
}

static int tcp_state(const char *argument, const char *name)
{
	static const char *const names[] = {
		[TCP_CONNTRACK_SYN_SENT] = "syn_sent",       [TCP_CONNTRACK_SYN_RECV] = "syn_recv",
		[TCP_CONNTRACK_ESTABLISHED] = "established", [TCP_CONNTRACK_FIN_WAIT] = "fin_wait",
		[TCP_CONNTRACK_CLOSE_WAIT] = "close_wait",   [TCP_CONNTRACK_LAST_ACK] = "last_ack",
		[TCP_CONNTRACK_TIME_WAIT] = "time_wait",     [TCP_CONNTRACK_CLOSE] = "close",
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i] && !strcmp(names[i], name))
			return (int)i;
	refuse(argument);
	return -1;
}

static int protocol(const char *argument, const char *name)
{
	if (!strcmp(name, "tcp"))
		return IPPROTO_TCP;
	if (!strcmp(name, "udp"))
		return IPPROTO_UDP;
	if (!strcmp(name, "icmp"))
		return IPPROTO_ICMP;
	refuse(argument);
	return -1;
}

static void set_destination(struct plan *plan, const char *argument, char *value)
{
	char *colon = strchr(value, ':');

	if (!colon)
		refuse(argument);
	*colon = 0;
	plan->port = atoi(colon + 1);
	if (!plan->port || inet_pton(AF_INET, value, &plan->to) != 1)
		refuse(argument);
}

int main(int argc, char **argv)
{
	struct plan plan = { IPPROTO_TCP, TCP_CONNTRACK_ESTABLISHED, 1, 600, { htonl(0xc0a80001) }, 443 };
	long errors[MAX_ERRNO] = { 0 }, first = 0, count, failed = 0;
	int fd, size = 4 << 20;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (argc < 2 || (count = atol(argv[1])) <= 0)
		refuse(argc < 2 ? "(none)" : argv[1]);
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			refuse(argv[i]);
		value++;
		if (!strncmp(argv[i], "proto=", 6))
			plan.protocol = protocol(argv[i], value);
		else if (!strncmp(argv[i], "state=", 6))
			plan.state = tcp_state(argv[i], value);
		else if (!strcmp(argv[i], "reply=yes") || !strcmp(argv[i], "reply=no"))
			plan.reply = !strcmp(value, "yes");
		else if (!strncmp(argv[i], "timeout=", 8))
			plan.timeout = strtoul(value, NULL, 10);
		else if (!strncmp(argv[i], "to=", 3))
			set_destination(&plan, argv[i], value);
		else if (!strncmp(argv[i], "first=", 6))
			first = atol(value);
		else
			refuse(argv[i]);
	}

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (fd < 0 || bind(fd, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		fail("netlink socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);

	/* one answer for a batch of successes, and one for each failure */
	for (long i = first; i < first + count;) {
		long stop = i + BATCH < first + count ? i + BATCH : first + count;

		for (cursor = buffer; i < stop; i++)
			put_entry(&plan, i, i == stop - 1);
		if (sendto(fd, buffer, cursor - buffer, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
			fail("send");
		failed += read_answers(fd, (uint32_t)(stop - 1), errors);
	}

	printf("ctload ok=%ld", count - failed);
	for (int i = 0; i < MAX_ERRNO; i++)
		if (errors[i])
			printf(" %s=%ld", strerror(i), errors[i]);
	putchar('\n');
	return 0;
}
