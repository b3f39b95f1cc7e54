/* SPDX-License-Identifier: Apache-2.0 */
#include "target/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

/*
 * A cursor over text that is not NUL-terminated. Like the binary reader it
 * fails once and then stays failed, so parsers check at their end.
 */
struct text {
	const char *p;
	const char *end;
	bool failed;
};

static struct text text_init(const char *text, size_t len)
{
	return (struct text){.p = text, .end = text + len};
}

static void text_skip_blanks(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* An unsigned number after blanks; overflow fails. */
static uint64_t text_number(struct text *t, int base)
{
	uint64_t value = 0;

	text_skip_blanks(t);
	if (t->p >= t->end || digit_value(*t->p) >= base) {
		t->failed = true;
		return 0;
	}
	for (; t->p < t->end && digit_value(*t->p) < base; t->p++) {
		if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit_value(*t->p), &value)) {
			t->failed = true;
			return 0;
		}
	}
	return t->failed ? 0 : value;
}

static void text_skip_word(struct text *t)
{
	text_skip_blanks(t);
	while (t->p < t->end && *t->p != ' ' && *t->p != '\n')
		t->p++;
}

static int64_t text_signed(struct text *t)
{
	bool negative;
	uint64_t value;

	text_skip_blanks(t);
	negative = t->p < t->end && *t->p == '-';
	if (negative)
		t->p++;
	value = text_number(t, 10);
	if (value > INT64_MAX) {
		t->failed = true;
		return 0;
	}
	return negative ? -(int64_t)value : (int64_t)value;
}

/* A number with 0x in front. */
static uint64_t text_hex(struct text *t)
{
	text_skip_blanks(t);
	if (t->end - t->p < 2 || t->p[0] != '0' || t->p[1] != 'x') {
		t->failed = true;
		return 0;
	}
	t->p += 2;
	return text_number(t, 16);
}

/* Takes `word` if it stands here. */
static bool text_take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
		return false;
	t->p += n;
	return true;
}

int procfs_parse_schedstat(const char *text, size_t len, struct procfs_schedstat *out)
{
	struct text t = text_init(text, len);

	out->run_ns = text_number(&t, 10);
	out->wait_ns = text_number(&t, 10);
	out->timeslices = text_number(&t, 10);
	return t.failed ? -EINVAL : 0;
}

int procfs_parse_syscall(const char *text, size_t len, struct procfs_syscall *out)
{
	struct text t = text_init(text, len);

	memset(out, 0, sizeof *out);
	if (text_take(&t, "running")) {
		out->running = true;
		return 0;
	}
	out->nr = (long)text_signed(&t);
	if (out->nr >= 0) {
		for (size_t i = 0; i < 6; i++)
			out->args[i] = text_hex(&t);
	}
	out->sp = text_hex(&t);
	out->pc = text_hex(&t);
	return t.failed ? -EINVAL : 0;
}

/* Copies at most PROCFS_COMM_LEN - 1 bytes and terminates. */
static void copy_comm(char comm[PROCFS_COMM_LEN], const char *from, size_t len)
{
	if (len > PROCFS_COMM_LEN - 1)
		len = PROCFS_COMM_LEN - 1;
	memcpy(comm, from, len);
	comm[len] = '\0';
}

int procfs_parse_stat(const char *text, size_t len, struct procfs_stat *out)
{
	struct text t;
	const char *open = memchr(text, '(', len);
	/* comm may hold ")" and newlines: the last ")" ends it. */
	const char *close = memrchr(text, ')', len);

	memset(out, 0, sizeof *out);
	if (!open || !close || close < open)
		return -EINVAL;
	t = text_init(text, (size_t)(open - text));
	out->pid = (pid_t)text_number(&t, 10);
	if (t.failed)
		return -EINVAL;
	copy_comm(out->comm, open + 1, (size_t)(close - open - 1));

	t = text_init(close + 1, len - (size_t)(close + 1 - text));
	text_skip_blanks(&t);
	if (t.p >= t.end)
		return -EINVAL;
	out->state = *t.p++;
	out->ppid = (pid_t)text_signed(&t); /* field 4 */
	for (int field = 5; field <= 8; field++)
		(void)text_signed(&t);
	out->flags = (unsigned)text_number(&t, 10); /* field 9 */
	for (int field = 10; field <= 13; field++)
		(void)text_number(&t, 10);
	out->utime_ticks = text_number(&t, 10); /* field 14 */
	out->stime_ticks = text_number(&t, 10);
	for (int field = 16; field <= 17; field++) { /* signed in the kernel */
		int64_t ticks = text_signed(&t);

		out->children_ticks += ticks > 0 ? (uint64_t)ticks : 0;
	}
	out->priority = (int)text_signed(&t); /* field 18 */
	for (int field = 19; field <= 21; field++)
		(void)text_signed(&t);
	out->start_ticks = text_number(&t, 10); /* field 22 */
	if (t.failed)
		return -EINVAL;
	for (int field = 23; field <= 38; field++)
		text_skip_word(&t); /* some are larger than a signed number */
	out->processor = (int)text_number(&t, 10); /* field 39 */
	if (t.failed)
		out->processor = -1;
	return 0;
}

pid_t procfs_next_pid(const char **text, size_t *len)
{
	struct text t = text_init(*text, *len);
	uint64_t pid = 0;

	while (pid == 0 && !t.failed) {
		while (t.p < t.end && (*t.p == ' ' || *t.p == '\n'))
			t.p++;
		pid = text_number(&t, 10);
		if (pid > INT_MAX)
			t.failed = true;
	}
	*text = t.p;
	*len = (size_t)(t.end - t.p);
	return t.failed ? 0 : (pid_t)pid;
}

void procfs_parse_pids(const char *text, size_t len, struct pids *pids)
{
	pid_t pid;

	while ((pid = procfs_next_pid(&text, &len)) > 0)
		array_push(pids, pid);
}

/* One line of /proc/PID/status: "Key:\tvalue"; sets what belongs to the key. */
static void parse_status_line(struct text *t, struct procfs_status *out)
{
	if (text_take(t, "Name:")) {
		text_skip_blanks(t);
		copy_comm(out->name, t->p, (size_t)(t->end - t->p));
	} else if (text_take(t, "State:")) {
		text_skip_blanks(t);
		out->state = t->p < t->end ? *t->p : '\0';
	} else if (text_take(t, "Tgid:")) {
		out->tgid = (pid_t)text_number(t, 10);
	} else if (text_take(t, "Pid:")) {
		out->pid = (pid_t)text_number(t, 10);
	} else if (text_take(t, "TracerPid:")) {
		out->tracer_pid = (pid_t)text_number(t, 10);
	} else if (text_take(t, "Uid:")) {
		for (int i = 0; i < 4; i++)
			out->uid[i] = (uid_t)text_number(t, 10);
	} else if (text_take(t, "Gid:")) {
		for (int i = 0; i < 4; i++)
			out->gid[i] = (gid_t)text_number(t, 10);
	} else if (text_take(t, "NSpid:")) {
		for (text_skip_blanks(t); t->p < t->end && !t->failed; text_skip_blanks(t))
			out->ns_pid = (pid_t)text_number(t, 10);
	} else if (text_take(t, "CapPrm:")) {
		out->cap_prm = text_number(t, 16);
	} else if (text_take(t, "CapEff:")) {
		out->cap_eff = text_number(t, 16);
	} else if (text_take(t, "NoNewPrivs:")) {
		out->no_new_privs = (int)text_number(t, 10);
	} else if (text_take(t, "Seccomp:")) {
		out->seccomp = (int)text_number(t, 10);
	} else if (text_take(t, "SigBlk:")) {
		out->sig_blocked = text_number(t, 16);
	} else if (text_take(t, "SigPnd:")) {
		out->sig_pending = text_number(t, 16);
	} else if (text_take(t, "ShdPnd:")) {
		out->shared_pending = text_number(t, 16);
	} else if (text_take(t, "voluntary_ctxt_switches:")) {
		out->voluntary_switches = text_number(t, 10);
	} else if (text_take(t, "nonvoluntary_ctxt_switches:")) {
		out->involuntary_switches = text_number(t, 10);
	}
}

int procfs_parse_status(const char *text, size_t len, struct procfs_status *out)
{
	const char *end = text + len;

	memset(out, 0, sizeof *out);
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct text line = text_init(text, (size_t)((nl ? nl : end) - text));

		parse_status_line(&line, out);
		if (line.failed)
			return -EINVAL;
		text = nl ? nl + 1 : end;
	}
	return out->pid > 0 && out->tgid > 0 ? 0 : -EINVAL;
}

bool procfs_next_kernel_frame(const char **text, const char *end, char *name, size_t size)
{
	while (*text < end) {
		const char *nl = memchr(*text, '\n', (size_t)(end - *text));
		const char *line_end = nl ? nl : end;
		const char *p = memchr(*text, ']', (size_t)(line_end - *text));
		size_t len = 0;

		*text = nl ? nl + 1 : end;
		if (!p)
			continue;
		p++;
		while (p < line_end && *p == ' ')
			p++;
		while (p + len < line_end && p[len] != '+' && p[len] != ' ' &&
		       p[len] != '\0' && len + 1 < size)
			len++;
		if (len == 0)
			continue;
		memcpy(name, p, len);
		name[len] = '\0';
		return true;
	}
	return false;
}

ssize_t procfs_read(int dirfd, const char *path, size_t max, char **text)
{
	size_t cap = 4096, len = 0;
	char *buf;
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	*text = NULL;
	if (fd < 0)
		return -errno;
	buf = xmalloc(cap + 1);
	for (;;) {
		ssize_t n = read(fd, buf + len, (cap < max ? cap : max) - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int saved = errno;

			free(buf);
			close(fd);
			return -saved;
		}
		len += (size_t)n;
		if (n == 0 || len >= max)
			break;
		if (len == cap) {
			cap *= 2;
			buf = xreallocarray(buf, cap + 1, 1);
		}
	}
	close(fd);
	buf[len] = '\0';
	*text = buf;
	return (ssize_t)len;
}

ssize_t procfs_read_fixed(int dirfd, const char *path, char *buf, size_t size)
{
	size_t len = 0;
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	buf[0] = '\0';
	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		ssize_t n = read(fd, buf + len, size - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int saved = errno;

			close(fd);
			return -saved;
		}
		if (n == 0)
			break;
		len += (size_t)n;
	}
	close(fd);
	buf[len] = '\0';
	return (ssize_t)len;
}

int procfs_read_stat(int dirfd, const char *dir, struct procfs_stat *out)
{
	char path[64], text[1024];
	ssize_t n;

	snprintf(path, sizeof path, "%s/stat", dir);
	n = procfs_read_fixed(dirfd, path, text, sizeof text);
	return n < 0 ? (int)n : procfs_parse_stat(text, (size_t)n, out);
}

int procfs_read_comm(int dirfd, const char *path, char comm[PROCFS_COMM_LEN])
{
	char buf[64];
	ssize_t n = procfs_read_fixed(dirfd, path, buf, sizeof buf);

	comm[0] = '\0';
	if (n < 0)
		return (int)n;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	copy_comm(comm, buf, (size_t)n);
	return 0;
}
