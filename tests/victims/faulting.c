/* SPDX-License-Identifier: Apache-2.0 */
/* build faulting: -O2 -pthread */
/*
 * A thread that waits for a page of its memory, which nobody ever brings: it
 * sleeps outside of any system call. Says "absent" where this is not permitted.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "victim.h"

VICTIM_NOINLINE static char touch(const volatile char *page)
{
	char byte = *page;

	VICTIM_STAY();
	return byte;
}

static void *faulter(void *arg)
{
	return (void *)(intptr_t)touch(arg);
}

static void *missing_page(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                  -1, 0);

	range.range.start = (uintptr_t)page;
	range.range.len = 4096;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 ||
	    ioctl(fd, UFFDIO_REGISTER, &range) != 0)
		return NULL;
	return page;
}

int main(void)
{
	void *page;

	victim_init();
	page = missing_page();
	if (page == NULL)
		printf("absent\n");
	else
		victim_thread(faulter, page, "faulter");
	usleep(100000);
	victim_ready();
	victim_wait();
	_exit(0);
}
