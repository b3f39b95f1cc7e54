/* SPDX-License-Identifier: Apache-2.0 */
#include "target/vma.h"

#include <errno.h>
#include <sys/ioctl.h>

/* As linux/fs.h has it since 6.11; what distributions' headers lack. */
struct query {
	uint64_t size;
	uint64_t query_flags; /* 0: the mapping that covers the address, whatever it is */
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags; /* as enum map_perm */
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

#define QUERY _IOWR('f', 17, struct query)

int vma_query(int maps_fd, uint64_t addr, struct map *out)
{
	struct query query = {.size = sizeof query, .query_addr = addr};

	if (ioctl(maps_fd, QUERY, &query) < 0)
		return -errno;
	*out = (struct map){
	        .start = query.vma_start,
	        .end = query.vma_end,
	        .offset = query.vma_offset,
	        .dev_major = query.dev_major,
	        .dev_minor = query.dev_minor,
	        .inode = query.inode,
	        .perms = (unsigned)query.vma_flags,
	};
	return 0;
}
