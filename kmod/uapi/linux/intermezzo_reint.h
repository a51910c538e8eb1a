/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Reintegration: a peer's records are applied here, each together with how far that peer's log has
 * been applied, in one transaction of the cache. docs/reintegration.md has the rules.
 *
 * Fields are in the byte order of the machine; fields and flags that are not named are 0, and
 * anything else is refused.
 */
#ifndef _UAPI_LINUX_INTERMEZZO_REINT_H
#define _UAPI_LINUX_INTERMEZZO_REINT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IZO_REINT_VERSION	1

/* How an operation refers to an object here. */
#define IZO_REF_NONE		0
#define IZO_REF_ROOT		1	/* of the fileset */
#define IZO_REF_HANDLE		2	/* @ino and @generation */
#define IZO_REF_RESULT		3	/* what operation @ino of this batch has made */

/*
 * struct izo_ref - an object here
 * @kind: IZO_REF_*
 * @generation: of the inode; 0 of what mke2fs has made
 * @ino: its number
 * @parent_ino: a directory that it is believed to be in, or 0: the root; with a name only
 * @parent_generation: of that directory
 * @name: where its name there begins, in bytes from the operation's first
 * @name_len: bytes of the name, 0: none is known
 *
 * The name is a hint that spares a search: what it stands for is checked against the handle. A
 * regular file that nobody has in use cannot be found without one.
 */
struct izo_ref {
	__u32 kind;
	__u32 generation;
	__u64 ino;
	__u64 parent_ino;
	__u32 parent_generation;
	__u16 name;
	__u16 name_len;
};

#define IZO_OP_SKIP	0x0001	/* apply nothing: store @outcome and go on behind the record */

/*
 * struct izo_reint_op - one record of the peer's
 * @size: of the operation with its names and record, in bytes, a multiple of 8
 * @record: where the record begins, in bytes from here, a multiple of 8
 * @flags: IZO_OP_*
 * @outcome: of a skipped record: what became of it, a number of the caller's above 255
 * @object: what the record is about; NONE if it makes it
 * @dir: the directory of the record's PLACE
 * @to: the directory of the record's TO
 * @replaced: what the record says stood at TO
 * @body: of a CLOSE: descriptor of the new body, a file opened with O_TMPFILE on the same mount in
 *	a shared directory; else 0
 * @nnames: of a CLOSE: names that the object has here, all of them, at most IZO_REINT_NAMES_MAX
 * @names: where they begin, in bytes from here, a multiple of 8: struct izo_ref, each a directory
 *	with a name in it
 * @zero: 0
 *
 * The record is as in the peer's log, but that replicas have their indices of this replica's table
 * and the checksum is made anew.
 */
struct izo_reint_op {
	__u32 size;
	__u32 record;
	__u32 flags;
	__u32 outcome;
	__s32 body;
	__u32 nnames;
	__u32 names;
	__u32 zero;
	struct izo_ref object;
	struct izo_ref dir;
	struct izo_ref to;
	struct izo_ref replaced;
};

#define IZO_REINT_NAMES_MAX	64

/* What became of an operation. From IZO_REINT_EXISTS on nothing was done and the batch ends. */
#define IZO_REINT_APPLIED	0
#define IZO_REINT_ALREADY	1	/* it was, before this batch */
#define IZO_REINT_SKIPPED	2
#define IZO_REINT_INEXACT	3	/* applied, but not all attributes could be set: @error */
#define IZO_REINT_EXISTS	16	/* the name to be made is taken: @ino */
#define IZO_REINT_MISSING	17	/* the name, object or attribute is not there */
#define IZO_REINT_OTHER		18	/* the name stands for another object: @ino */
#define IZO_REINT_TYPE		19	/* a directory where none may be, or the reverse */
#define IZO_REINT_NOT_EMPTY	20	/* the directory to be removed or replaced is not empty */
#define IZO_REINT_MOUNTED	21	/* something is mounted there */
#define IZO_REINT_ANCESTRY	22	/* a directory would come to lie within itself */
#define IZO_REINT_CLASS		23	/* the name is this machine's own */
#define IZO_REINT_REFUSED	24	/* immutable, too many links, too large, what is ours */
#define IZO_REINT_CHANGED	25	/* changed here since @decided: decide again */
#define IZO_REINT_NEED_NAME	26	/* the object was not found by what was given */
#define IZO_REINT_BUSY		27	/* the file is open for writing here, or mapped so */
#define IZO_REINT_STOPPED	64	/* @error: full, read-only, frozen, I/O error: try later */

/*
 * struct izo_reint_result - what became of one operation
 * @code: IZO_REINT_*
 * @error: 0 or a negative errno
 * @ino: handle of the object that was made (of a RENAME: the whiteout), or has a new body, or is in
 *	the way; with @error -ENOMEM later operations of the batch cannot name it by this one
 * @generation: of that inode
 * @zero: 0
 * @recno: number of the record here, if the batch is forwarded
 */
struct izo_reint_result {
	__u32 code;
	__s32 error;
	__u64 ino;
	__u32 generation;
	__u32 zero;
	__u64 recno;
};

#define IZO_REINT_FORWARD	0x0001	/* others learn of it from here: record it in our log */
#define IZO_REINT_SML		0x0002	/* they make what the peer's tree has: PARTIAL only */

#define IZO_REINT_OPS_MAX	1024
#define IZO_REINT_BYTES_MAX	(4 << 20)

/*
 * struct izo_reint - a batch, for IZO_IOC_REINT
 * @version: IZO_REINT_VERSION
 * @size: of this structure
 * @flags: IZO_REINT_FORWARD or IZO_REINT_SML, or 0
 * @count: operations, at most IZO_REINT_OPS_MAX
 * @ops: address of the operations, one behind the other
 * @bytes: of all operations, at most IZO_REINT_BYTES_MAX
 * @done: result: operations whose outcome is stored; the next one, if any, has ended the batch
 * @results: address of @count struct izo_reint_result; filled in for those done, and one more
 * @peer: UUID of the replica whose log it is
 * @epoch: life of that log
 * @decided: offset in our log up to which the caller has seen what was changed here
 *
 * Records of a log come one after the other: the first is number 1, or follows what
 * IZO_IOC_REINT_POSITION has set, which must have made the peer known in any case. One that was
 * applied before is passed over. Those of an SML have no turn: any numbers, in any order, and the
 * position stays. One that comes twice is applied, or does not fit, twice.
 */
struct izo_reint {
	__u32 version;
	__u32 size;
	__u32 flags;
	__u32 count;
	__u64 ops;
	__u32 bytes;
	__u32 done;
	__u64 results;
	__u8 peer[16];
	__u64 epoch;
	__u64 decided;
};

/* The peer is our server: changes made here have seen its log up to there from now on. */
#define IZO_POSITION_UPSTREAM	0x0001
/* Not all of what was in the peer's tree there is here: it is being copied. */
#define IZO_POSITION_PARTIAL	0x0002

/*
 * struct izo_position - how far a peer's log has been applied here
 * @version: IZO_REINT_VERSION
 * @index: in our table of replicas: result
 * @flags: IZO_POSITION_*
 * @replica: UUID of the peer
 * @epoch: life of its log
 * @recno: number of the last record whose outcome is stored
 * @offset: end of that record
 *
 * IZO_IOC_REINT_POSITION sets it, for a replica that begins with a copy of the peer's tree, and for
 * a new life of the peer's log; it never goes back in the same one. With @epoch 0 nothing is set
 * but the peer's index, for records of it that others forward.
 *
 * PARTIAL stays until the position is set without it, whatever is applied meanwhile. As long as it
 * is there the peer's SML may be applied too: IZO_REINT_SML.
 */
struct izo_position {
	__u16 version;
	__u16 index;
	__u32 flags;
	__u8 replica[16];
	__u64 epoch;
	__u64 recno;
	__u64 offset;
};

/* On the root directory of a mount, by CAP_SYS_ADMIN. */
#define IZO_IOC_REINT		_IOWR('z', 0x22, struct izo_reint)
#define IZO_IOC_REINT_POSITION	_IOWR('z', 0x23, struct izo_position)

/* Of an object, for IZO_IOC_OBJECT. */
#define IZO_OBJECT_LOCAL	0x0001	/* this machine's own: it has no FID, and no record */
#define IZO_OBJECT_LISTED	0x0002	/* its body may not be on the medium yet: fsync(2) it */
#define IZO_OBJECT_CHANGING	0x0004	/* its body has changed, and no CLOSE says so yet */
#define IZO_OBJECT_FSFLAGS	0x0008	/* asked for: tell the next two; they are told */

/*
 * struct izo_object - what an object is to other replicas
 * @version: IZO_REINT_VERSION
 * @replica: who made it, in our table of replicas: with @fid_generation and @fid_ino its FID
 * @flags: IZO_OBJECT_*
 * @name: address of its name in the directory that the command is given to
 * @name_len: bytes of the name; 0: the open file or directory itself
 * @mode: with the type
 * @ino: with @generation, what struct izo_ref calls it by
 * @generation: of the inode
 * @fid_generation: see @replica
 * @fid_ino: see @replica
 * @body_changes: how many changes of its body have begun; counts while it is open. A body that was
 *	read from an open file is whole if it was not CHANGING before, and is not, and has the same
 *	number, after. If it is CHANGING a CLOSE follows that is not in the log yet, unless the
 *	object loses its last name before, or the log ends; of a journaled log after a crash too,
 *	if kml was fsync()ed since.
 * @fsflags: FS_*_FL, as FS_IOC_GETFLAGS tells of an open file; 0 without IZO_OBJECT_FSFLAGS, which
 *	is not set of an object that has none
 * @projid: its project likewise
 *
 * Version, name, its length and IZO_OBJECT_FSFLAGS are the caller's, all else 0, and the result. A
 * name is looked up below what may be mounted there. Symbolic links are not followed. Nothing is
 * opened: no lease is asked back.
 */
struct izo_object {
	__u16 version;
	__u16 replica;
	__u32 flags;
	__u64 name;
	__u32 name_len;
	__u32 mode;
	__u64 ino;
	__u32 generation;
	__u32 fid_generation;
	__u64 fid_ino;
	__u64 body_changes;
	__u32 fsflags;
	__u32 projid;
};

/* On any open file or directory of a mount, by CAP_SYS_ADMIN. */
#define IZO_IOC_OBJECT		_IOWR('z', 0x24, struct izo_object)

#endif /* _UAPI_LINUX_INTERMEZZO_REINT_H */
