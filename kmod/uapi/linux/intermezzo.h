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

/* Longest mtp=, likewise. */
#define INTERMEZZO_MTP_MAX	1023

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
 * @end: where the newest record ends; behind @committed if there are some not committed, before it
 *	by less than a block if there are none (a filler ends a committed block)
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
 * more; whole segments of them are used again. EINVAL for an offset not yet committed. No program
 * of ours says so yet but tests.
 */
#define IZO_IOC_KML_INFO	_IOR('z', 0x20, struct izo_kml_info)
#define IZO_IOC_KML_TRIM	_IOW('z', 0x21, __u64)

/*
 * The device of a channel, /dev/intermezzoN; docs/device-protocol.md explains it with examples.
 *
 * Everything has the byte order of the machine; bytes called "zero" or "reserved" are 0, and so is
 * what follows the end of a name. Version 1.
 */
#define IZO_DEVICE_VERSION	1

/*
 * The first thing that a daemon does with the device: it says which version it speaks. If the
 * kernel does not, EPROTONOSUPPORT, and the argument becomes the newest one that the kernel does.
 */
#define IZO_IOC_VERSION		_IOWR('z', 0x30, __u32)

/* Types of upcalls. */
#define IZO_UPCALL_MOUNTED	1	/* struct izo_upcall_mounted; asks */
#define IZO_UPCALL_GONE		2	/* struct izo_upcall: the fileset is not mounted any more */
#define IZO_UPCALL_KML_GREW	3	/* struct izo_upcall_kml_grew */

/* Flags of an upcall. */
#define IZO_UPCALL_ASKS		0x0001	/* it wants a struct izo_answer */
#define IZO_UPCALL_READ_ONLY	0x0002	/* MOUNTED: changes are refused for now */

/*
 * struct izo_upcall - what one read(2) of the device gives begins with it
 * @size: of the whole upcall, in bytes
 * @version: IZO_DEVICE_VERSION
 * @type: IZO_UPCALL_*, of the first list
 * @id: never the same twice on a channel; larger than that of every upcall queued before
 * @flags: IZO_UPCALL_*, of the second list
 * @channel: N of /dev/intermezzoN
 * @fileset: UUID; 0 if it has no log: it was never read-write, or its cache is too full for one
 * @name: of the fileset
 * @epoch: life of its log; 0 if it has none
 * @reserved: 0
 */
struct izo_upcall {
	__u32 size;
	__u16 version;
	__u16 type;
	__u64 id;
	__u32 flags;
	__u32 channel;
	__u8 fileset[16];
	char name[INTERMEZZO_FILESET_MAX + 8];
	__u64 epoch;
	__u64 reserved;
};

/*
 * struct izo_upcall_mounted - a fileset is mounted, or what is said here has changed
 * @head: common to all
 * @replica: UUID of this replica; 0 if the fileset has no log
 * @dev_major: number of the device that stat(2) shows on the fileset and in /proc/self/mountinfo
 * @dev_minor: likewise
 * @reserved: 0
 * @mtp: as in the option mtp=; empty if not given
 */
struct izo_upcall_mounted {
	struct izo_upcall head;
	__u8 replica[16];
	__u32 dev_major;
	__u32 dev_minor;
	__u64 reserved;
	char mtp[INTERMEZZO_MTP_MAX + 1];
};

/*
 * struct izo_upcall_kml_grew - there are new records: on the medium, or the first that are not;
 *	or there will be no more
 * @head: common to all
 * @committed: offset before which all is on the medium, as in struct izo_kml_info
 * @committed_recno: number of the last record before it
 * @recno: number of the newest record; above @committed_recno if there are some not on the medium
 * @reserved: 0
 */
struct izo_upcall_kml_grew {
	struct izo_upcall head;
	__u64 committed;
	__u64 committed_recno;
	__u64 recno;
	__u64 reserved;
};

/* No upcall of this version is longer. */
#define IZO_UPCALL_MAX		sizeof(struct izo_upcall_mounted)

/*
 * struct izo_answer - what one write(2) to the device gives
 * @size: of this structure, in bytes
 * @version: IZO_DEVICE_VERSION
 * @zero: 0
 * @id: of the upcall that is answered
 * @error: 0, or why not: a positive errno up to IZO_ANSWER_ERROR_MAX
 * @reserved: 0
 */
struct izo_answer {
	__u32 size;
	__u16 version;
	__u16 zero;
	__u64 id;
	__u32 error;
	__u32 reserved;
};

#define IZO_ANSWER_ERROR_MAX	511

#endif /* _UAPI_LINUX_INTERMEZZO_H */
