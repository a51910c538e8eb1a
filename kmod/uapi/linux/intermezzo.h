/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What user space may know of the InterMezzo file system: its numbers and names. */
#ifndef _UAPI_LINUX_INTERMEZZO_H
#define _UAPI_LINUX_INTERMEZZO_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* f_type of statfs(2): "IzoS". */
#define INTERMEZZO_SUPER_MAGIC	0x497a6f53

/* Channels: /dev/intermezzo0 ... /dev/intermezzo15, one daemon each. */
#define INTERMEZZO_CHANNELS	16

/* The directory at a cache's root that marks it and holds the logs; never listed. */
#define INTERMEZZO_DIR		".intermezzo"

/* Longest name of a fileset, in bytes, without the terminating NUL. */
#define INTERMEZZO_FILESET_MAX	64

/* The fileset of a mount that names none. */
#define INTERMEZZO_FILESET_DEFAULT	"rootset"

/*
 * struct izo_kml_info - the state of a fileset's log
 * @size: of this structure, in bytes: set by the kernel
 * @flags: IZO_KML_H_* of intermezzo_kml.h, and IZO_INFO_*
 * @fileset: UUID of the fileset
 * @replica: UUID of this replica
 * @epoch: life of the log
 * @first: offset of the oldest record still there
 * @first_recno: its number
 * @committed: offset before which all is on the medium: what a reader can see
 * @end: offset at which the next record will stand; behind @committed for what is not committed
 * @end_recno: number of the newest record, 0: none
 * @capacity: bytes that the segments hold now
 * @limit: bytes that they may take
 * @dirty: entries of the LML: bodies that may differ from their last CLOSE
 * @self: index of this replica in FIDs
 * @zero: 0
 */
struct izo_kml_info {
	__u32 size;
	__u32 flags;
	__u8 fileset[16];
	__u8 replica[16];
	__u64 epoch;
	__u64 first;
	__u64 first_recno;
	__u64 committed;
	__u64 end;
	__u64 end_recno;
	__u64 capacity;
	__u64 limit;
	__u64 dirty;
	__u16 self;
	__u16 zero[3];
};

#define IZO_INFO_JOURNALED	0x0100	/* records are atomic with their changes */
#define IZO_INFO_FAILED		0x0200	/* the log met an error: the fileset is read-only */

/*
 * On an open .intermezzo/FILESET/kml. TRIM: no replica needs the records before this offset any
 * more; whole segments of them are used again. EINVAL for an offset not yet committed.
 */
#define IZO_IOC_KML_INFO	_IOR('z', 0x20, struct izo_kml_info)
#define IZO_IOC_KML_TRIM	_IOW('z', 0x21, __u64)

#endif /* _UAPI_LINUX_INTERMEZZO_H */
