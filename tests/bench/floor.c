/*
 * floor [poll]: the least a ctnetlink dump can cost. Asks for the whole table of this network namespace, receives it
 * into 32 KiB and throws it away; of each datagram only the type of the first message is looked at. With poll it
 * waits in poll(2) before every receive, as a program with a deadline has to.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* longer datagrams the kernel does not make, see src/source/netlink/conversation.rs */
static _Alignas(struct nlmsghdr) char buffer[32 * 1024];

int main(int argc, char **argv) {
    int polls = argc > 1 && strcmp(argv[1], "poll") == 0;
    struct {
        struct nlmsghdr header;
        struct nfgenmsg family;
    } request = {
        .header = {
            .nlmsg_len = sizeof request,
            .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
        },
    };
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    int sock = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    if (sock < 0 ||
        sendto(sock, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel) != sizeof request) {
        perror("floor: asking for the table");
        return 4;
    }
    for (long datagrams = 0, bytes = 0;;) {
        struct pollfd ready = {.fd = sock, .events = POLLIN};
        if (polls && poll(&ready, 1, 8000) <= 0) {
            fputs("floor: no answer\n", stderr);
            return 4;
        }
        ssize_t n = recv(sock, buffer, sizeof buffer, 0);
        if (n < (ssize_t)sizeof(struct nlmsghdr)) {
            fprintf(stderr, "floor: recv: %s\n", n < 0 ? strerror(errno) : "no message");
            return 4;
        }
        datagrams++;
        bytes += n;
        const struct nlmsghdr *first = (const struct nlmsghdr *)buffer;
        if (first->nlmsg_type == NLMSG_ERROR) {
            fputs("floor: the kernel refused (needs CAP_NET_ADMIN)\n", stderr);
            return 4;
        }
        /* netlink_dump_done in af_netlink.c adds it to the last datagram only if nothing fitted before it or room is
         * left; then it is the last message, and it is 20 bytes long */
        const struct nlmsghdr *last = (const struct nlmsghdr *)(buffer + n - NLMSG_ALIGN(NLMSG_LENGTH(sizeof(int))));
        if (first->nlmsg_type == NLMSG_DONE ||
            (n >= 40 && last->nlmsg_type == NLMSG_DONE && last->nlmsg_len == NLMSG_LENGTH(sizeof(int)))) {
            printf("%ld datagrams, %ld bytes\n", datagrams, bytes);
            return 0;
        }
    }
}
