/*
 * seccomp COMMAND [ARGUMENT...]: runs the command under a filter of system calls that refuses the calls which Docker's
 * default profile refuses to a container without CAP_SYS_ADMIN, CAP_SYS_MODULE, CAP_SYS_TIME and the like. Needs
 * CAP_SYS_ADMIN itself. tests/scripts/container calls it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MOST = 200,
	NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
};

static const int refused[] = {
	SYS_acct, SYS_add_key, SYS_bpf, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module, SYS_fanotify_init,
	SYS_finit_module, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_init_module, SYS_io_uring_enter,
	SYS_io_uring_register, SYS_io_uring_setup, SYS_kexec_load, SYS_keyctl, SYS_lookup_dcookie, SYS_mount,
	SYS_move_mount, SYS_open_by_handle_at, SYS_open_tree, SYS_perf_event_open, SYS_pivot_root, SYS_quotactl,
	SYS_reboot, SYS_request_key, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_settimeofday, SYS_swapoff,
	SYS_swapon, SYS_syslog, SYS_umount2, SYS_unshare, SYS_userfaultfd, SYS_vhangup,
};

static struct sock_filter filter[MOST];
static unsigned short length;

static void add(unsigned short code, unsigned int k, unsigned char if_true, unsigned char if_false)
{
	filter[length++] = (struct sock_filter){code, if_true, if_false, k};
}

static void load(size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void answer(unsigned int action) { add(BPF_RET | BPF_K, action, 0, 0); }

/* Unless what was loaded equals the value the next instruction is skipped. */
static void if_equal(unsigned int value) { add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1); }

int main(int argc, char **argv)
{
	const unsigned int no = SECCOMP_RET_ERRNO | EPERM;
	struct sock_fprog program;
	size_t n;

	if (argc < 2) {
		fprintf(stderr, "usage: seccomp COMMAND [ARGUMENT...]\n");
		return 2;
	}
	load(offsetof(struct seccomp_data, nr));
	for (n = 0; n < sizeof refused / sizeof *refused; n++) {
		if_equal(refused[n]);
		answer(no);
	}
	/* the C library then uses clone(2), whose flags a filter can see */
	if_equal(SYS_clone3);
	answer(SECCOMP_RET_ERRNO | ENOSYS);
	add(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
	load(offsetof(struct seccomp_data, args[0]));
	add(BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 0, 1);
	answer(no);
	answer(SECCOMP_RET_ALLOW);
	add(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3);
	load(offsetof(struct seccomp_data, args[0]));
	if_equal(AF_VSOCK);
	answer(no);
	answer(SECCOMP_RET_ALLOW);

	program.len = length;
	program.filter = filter;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		fprintf(stderr, "seccomp: %s\n", strerror(errno));
		return 1;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "seccomp: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
