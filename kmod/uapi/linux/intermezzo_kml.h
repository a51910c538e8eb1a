/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The InterMezzo log, version 1: what stands on disk and travels between replicas.
 *
 * docs/kml-format.md explains it with an example. Everything is little-endian, of fixed width and
 * 8-byte aligned; bytes called "zero" are written as 0 and a reader refuses anything else. The
 * checksum is CRC-32C as in RFC 3720 (Castagnoli, initial value and final inversion all ones).
 * The only copy of these forms: kernel and user space both include this file.
 */
#ifndef _UAPI_LINUX_INTERMEZZO_KML_H
#define _UAPI_LINUX_INTERMEZZO_KML_H

#include <linux/types.h>

#define IZO_KML_VERSION		1

/*
 * struct izo_fid - the name of an object that never changes
 * @ino: inode number on the replica that made it
 * @generation: of that inode there
 * @replica: index of that replica in the log's table of replicas (struct izo_replica); 0: nobody
 * @zero: 0
 *
 * The root of a fileset is { .ino = 1 } on every replica; all zero stands for no object.
 */
struct izo_fid {
	__le64 ino;
	__le32 generation;
	__le16 replica;
	__le16 zero;
};

#define IZO_FID_ROOT_INO	1

/* What an object carries in the attribute trusted.izo if another replica made it. */
#define IZO_FID_XATTR		"trusted.izo"
struct izo_fid_xattr {
	__u8 version;		/* IZO_KML_VERSION */
	__u8 flags;		/* IZO_FID_X_* */
	__le16 replica;
	__le32 generation;
	__le64 ino;
};

#define IZO_FID_X_STUB		0x01	/* reserved: the body is not here yet */
#define IZO_FID_X_LOCAL		0x02	/* reserved: class local, wherever it stands */

/* Operations. 2 is reserved for a checkpoint: "the tree was compared with the log up to here". */
#define IZO_KML_FILLER		1	/* no change: room to the end of a block */
#define IZO_KML_CHECKPOINT	2
#define IZO_KML_CREATE		16	/* a regular file */
#define IZO_KML_MKDIR		17
#define IZO_KML_MKNOD		18	/* device, FIFO or socket */
#define IZO_KML_SYMLINK		19
#define IZO_KML_LINK		20
#define IZO_KML_UNLINK		21
#define IZO_KML_RMDIR		22
#define IZO_KML_RENAME		23
#define IZO_KML_SETATTR		24
#define IZO_KML_SETXATTR	25
#define IZO_KML_REMOVEXATTR	26
#define IZO_KML_CLOSE		27	/* the body, and with it the size, has changed */

/* Flags of a record. */
#define IZO_KML_EXCHANGE	0x0001	/* RENAME: both objects changed places */
#define IZO_KML_WHITEOUT	0x0002	/* RENAME: a whiteout was left in the old place */
#define IZO_KML_WHOLE		0x0004	/* CLOSE: any part of the body may have changed */
#define IZO_KML_RECOVERED	0x0008	/* CLOSE: written after a crash; implies WHOLE */
#define IZO_KML_COMPLETE	0x0010	/* made nameless before (O_TMPFILE) */
#define IZO_KML_GROUPS_CUT	0x0020	/* the caller had more groups than fit */
#define IZO_KML_XATTRS_CUT	0x0040	/* there are more attributes: fetch them with the body */

/* Aspects of the object that a record writes; two records conflict only where these meet. */
#define IZO_ASPECT_EXISTENCE	0x0001
#define IZO_ASPECT_ATTR		0x0002	/* owner, mode, ACL, flags */
#define IZO_ASPECT_XATTR	0x0004	/* the one attribute named */
#define IZO_ASPECT_BODY		0x0008	/* contents and size */
#define IZO_ASPECT_LINK		0x0010	/* a name of it */
#define IZO_ASPECT_TIMES	0x0020	/* never conflict */

#define IZO_KML_MAGIC		0x4c4d4b49	/* "IKML" */
#define IZO_KML_TAIL_MAGIC	0x444e4549	/* "IEND" */

/*
 * struct izo_kml_head - begins every record
 * @magic: IZO_KML_MAGIC
 * @len: bytes from here to the end of the struct izo_kml_tail, a multiple of 8
 * @crc: checksum of the whole record with this field 0; of a filler: of its first 32 bytes
 * @op: IZO_KML_*
 * @origin: index of the replica where the change was first made
 * @offset: where the record stands in its log: bytes since the log began, never reused
 * @epoch: the life of the log that the record belongs to
 * @recno: 1 for the first record of the epoch, then one more each; fillers are not counted
 * @origin_recno: the record's number in the log of @origin; = @recno for a change made here
 * @seen: number of the last record of the upstream replica that was applied here when the change
 *	began (of a CLOSE: when the body was first changed); 0: none
 * @time: when it was logged, nanoseconds since 1970; for people; no conflict is decided by it
 * @uid: fsuid of the caller
 * @gid: fsgid of the caller
 * @aspects: IZO_ASPECT_* of @object that are written
 * @nlink: links that @object has after the change (a directory: as its file system counts)
 * @flags: IZO_KML_* flags
 * @zero: 0
 * @object: what was changed
 *
 * Items follow, then the tail. A filler ends after @epoch: 32 bytes, then bytes without meaning,
 * then the tail. Fields of a filler that are not named there are 0.
 */
struct izo_kml_head {
	__le32 magic;
	__le32 len;
	__le32 crc;
	__le16 op;
	__le16 origin;
	__le64 offset;
	__le64 epoch;
	__le64 recno;
	__le64 origin_recno;
	__le64 seen;
	__le64 time;
	__le32 uid;
	__le32 gid;
	__le32 aspects;
	__le32 nlink;
	__le32 flags;
	__le32 zero;
	struct izo_fid object;
};

/* Ends every record. */
struct izo_kml_tail {
	__le32 len;		/* as in the head */
	__le32 magic;		/* IZO_KML_TAIL_MAGIC */
};

#define IZO_KML_FILLER_HEAD	32
#define IZO_KML_FILLER_MIN	(IZO_KML_FILLER_HEAD + 8)
#define IZO_KML_RECORD_MIN	(sizeof(struct izo_kml_head) + sizeof(struct izo_kml_tail))
#define IZO_KML_RECORD_MAX	(128 << 10)

/* Items: a header, @len bytes, and zero bytes up to a multiple of 8. */
#define IZO_ITEM_PAD		0	/* zero bytes; last, at most once */
#define IZO_ITEM_PLACE		1	/* struct izo_kml_place: name made, removed, left */
#define IZO_ITEM_TO		2	/* struct izo_kml_place: the new name of a RENAME */
#define IZO_ITEM_HINT		3	/* struct izo_kml_place: a name, perhaps stale */
#define IZO_ITEM_ATTR		4	/* struct izo_kml_attr: after the change */
#define IZO_ITEM_REPLACED	5	/* struct izo_kml_other: what stood at TO before */
#define IZO_ITEM_WHITEOUT	6	/* struct izo_kml_whiteout: left behind; with XATTRs */
#define IZO_ITEM_TARGET		7	/* bytes: what a symbolic link says, no NUL */
#define IZO_ITEM_XATTR		8	/* struct izo_kml_xattr; any number at a birth */
#define IZO_ITEM_GROUPS		9	/* __le32[]: supplementary groups of the caller */
#define IZO_ITEM_RANGES		10	/* struct izo_kml_range[]: what a CLOSE changed */

struct izo_kml_item {
	__le16 type;
	__le16 zero;
	__le32 len;
};

/* A name in a directory, and that directory's modification time after the change (HINT: 0). */
struct izo_kml_place {
	struct izo_fid dir;
	__le64 mtime;		/* seconds since 1970, signed */
	__le32 mtime_nsec;
	__le32 zero;
	__u8 name[];		/* to the end of the item: 1 to 255 bytes, no '/' and no NUL */
};

/* Fields of struct izo_kml_attr that the change set; at a birth all that there are. */
#define IZO_ATTR_MODE		0x0001
#define IZO_ATTR_UID		0x0002
#define IZO_ATTR_GID		0x0004
#define IZO_ATTR_SIZE		0x0008
#define IZO_ATTR_MTIME		0x0010
#define IZO_ATTR_CTIME		0x0020
#define IZO_ATTR_ATIME		0x0040
#define IZO_ATTR_RDEV		0x0080
#define IZO_ATTR_FSFLAGS	0x0100
#define IZO_ATTR_PROJID		0x0200
#define IZO_ATTR_ALL		0x03ff

/*
 * What the object's inode has after the change; fields not in @valid are 0. Owners are numbers of
 * the initial user namespace; @mode has the type; @rdev is major << 32 | minor; @fsflags are what
 * FS_IOC_GETFLAGS gives and a user may set; times are seconds (signed) and nanoseconds since 1970.
 */
struct izo_kml_attr {
	__le32 valid;
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le32 fsflags;
	__le32 projid;
	__le32 mtime_nsec;
	__le32 ctime_nsec;
	__le32 atime_nsec;
	__le32 zero;
	__le64 rdev;
	__le64 size;
	__le64 mtime;
	__le64 ctime;
	__le64 atime;
};

/*
 * Another object that the change touched and the links it has left; its modification time if an
 * EXCHANGE took it to another directory, else 0.
 */
struct izo_kml_other {
	struct izo_fid fid;
	__le32 nlink;
	__le32 mtime_nsec;
	__le64 mtime;		/* seconds since 1970, signed */
};

struct izo_kml_whiteout {
	struct izo_fid fid;
	struct izo_kml_attr attr;
};

/* An extended attribute with its full name ("user.x"); ACLs in the form of getxattr(2). */
struct izo_kml_xattr {
	__le32 name_len;	/* 1 to 255, no NUL */
	__le32 value_len;	/* REMOVEXATTR: 0 */
	__u8 data[];		/* name, then value */
};

/* Bytes from @start to before @end; sorted, apart from each other. */
struct izo_kml_range {
	__le64 start;
	__le64 end;
};

#define IZO_KML_RANGES_MAX	8
#define IZO_KML_GROUPS_MAX	256

/*
 * struct izo_kml_header - the first bytes of a log as a reader gets it
 * @magic: IZO_KML_HEADER_MAGIC
 * @version: IZO_KML_VERSION
 * @len: of this header: where the first record of an epoch stands
 * @crc: checksum of the header with this field 0
 * @self: index of the replica whose log it is
 * @block_size: records of one transaction of the cache begin at a multiple of it, in bytes
 * @fileset: UUID of the fileset
 * @replica: UUID of the replica
 * @epoch: life of the log
 * @first: offset of the oldest record still there
 * @first_recno: its number
 * @flags: IZO_KML_H_*
 *
 * In .intermezzo/FILESET/kml offsets of the file are those of the log, the header stands at 0, and
 * what lies between it and @first is gone (reading it fails with ENODATA, SEEK_DATA skips it). In a
 * copy the record at @first follows the header at once.
 */
struct izo_kml_header {
	__le64 magic;
	__le32 version;
	__le32 len;
	__le32 crc;
	__le16 self;
	__le16 zero;
	__le32 block_size;
	__le32 flags;
	__u8 fileset[16];
	__u8 replica[16];
	__le64 epoch;
	__le64 first;
	__le64 first_recno;
	__le64 reserved[4];	/* 0 */
};

#define IZO_KML_HEADER_MAGIC	0x314c4d4b4f5a49ULL	/* "IZOKML1\0" */
#define IZO_KML_H_OVERFLOW	0x0001	/* changes after the last record were not logged */

/*
 * On the cache, in .intermezzo/FILESET. All but segments and base are of one or more blocks of the
 * cache, made by writing zeros and changed through the cache's journal only.
 *
 * kml: one struct izo_kml_control. kml.N: segment N. lml: struct izo_lml_entry[]. last_rcvd:
 * IZO_RCVD_COPIES times the same number of blocks, each copy a struct izo_rcvd_slot[]. replicas: a
 * struct izo_replicas and its entries, then zeros. base: a struct izo_base and its entries.
 */

/*
 * struct izo_kml_control - identity and state of the log, at the start of the file kml
 * @magic: IZO_CONTROL_MAGIC
 * @version: IZO_KML_VERSION
 * @crc: checksum of the structure with this field 0
 * @fileset: UUID of the fileset
 * @replica: UUID of this replica
 * @epoch: life of the log, a random number
 * @segment_size: bytes of each segment's file, a multiple of @block_size
 * @block_size: of the cache, in bytes
 * @limit: bytes that all segments together may take
 * @trimmed: records before this offset are not needed by any replica any more
 * @flags: IZO_KML_H_*
 * @self: index of this replica
 * @zero: 0
 */
struct izo_kml_control {
	__le64 magic;
	__le32 version;
	__le32 crc;
	__u8 fileset[16];
	__u8 replica[16];
	__le64 epoch;
	__le32 segment_size;
	__le32 block_size;
	__le64 limit;
	__le64 trimmed;
	__le32 flags;
	__le16 self;
	__le16 zero;
	__le64 reserved[4];	/* 0 */
};

#define IZO_CONTROL_MAGIC	0x314c54434f5a49ULL	/* "IZOCTL1\0" */

/*
 * struct izo_segment - the first block of a segment begins with it; the others hold the log
 * @magic: IZO_SEGMENT_MAGIC, or 0 in a segment not used yet
 * @version: IZO_KML_VERSION
 * @crc: checksum of the structure with this field 0
 * @epoch: life of the log
 * @base: offset in the log of the first byte after this block: a multiple of what a segment holds
 * @first: offset of the first record that begins in this segment
 * @first_recno: its number
 */
struct izo_segment {
	__le64 magic;
	__le32 version;
	__le32 crc;
	__le64 epoch;
	__le64 base;
	__le64 first;
	__le64 first_recno;
	__le64 reserved[2];	/* 0 */
};

#define IZO_SEGMENT_MAGIC	0x314745534f5a49ULL	/* "IZOSEG1\0" */

/*
 * struct izo_lml_entry - a file whose body may differ from what its last CLOSE says
 * @magic: IZO_LML_MAGIC, or 0 in a free entry (then all of it is 0)
 * @crc: checksum of the entry with this field 0
 * @fid: the object
 * @ino: its inode number here
 * @seen: as in the record that its CLOSE will be
 * @epoch: life of the log
 * @generation: of the inode here
 * @flags: 0
 *
 * The entry is committed before the body changes, and is freed when a CLOSE has been logged and the
 * body is on the medium.
 */
struct izo_lml_entry {
	__le32 magic;
	__le32 crc;
	struct izo_fid fid;
	__le64 ino;
	__le64 seen;
	__le64 epoch;
	__le32 generation;
	__le32 flags;
	__le64 reserved;	/* 0 */
};

#define IZO_LML_MAGIC		0x4c4d4c49	/* "ILML" */

/*
 * struct izo_rcvd_slot - how far a peer's log has been applied here
 * @magic: IZO_RCVD_MAGIC, or 0 in a slot never used
 * @crc: checksum of the structure with this field 0
 * @replica: UUID of the peer
 * @epoch: life of the peer's log
 * @recno: number there of the last record whose outcome is stored
 * @offset: end of that record in the peer's log
 * @serial: of the copy that the slot is in, larger than in every copy written before
 * @outcome: what became of the record: 0 applied, else IZO_REINT_* or a number of the daemon's
 * @flags: IZO_RCVD_*
 *
 * Slots that are in use come first. The copy with the largest serial counts.
 */
struct izo_rcvd_slot {
	__le32 magic;
	__le32 crc;
	__u8 replica[16];
	__le64 epoch;
	__le64 recno;
	__le64 offset;
	__le64 serial;
	__le32 outcome;
	__le32 flags;
	__le64 reserved;	/* 0 */
};

#define IZO_RCVD_MAGIC		0x44564352	/* "RCVD" */
#define IZO_RCVD_COPIES		8		/* written in turn */
#define IZO_RCVD_UPSTREAM	0x0001		/* what is applied is not recorded in our log */
#define IZO_RCVD_PARTIAL	0x0002		/* IZO_POSITION_PARTIAL */

/* The replicas that FIDs speak of; entry K has index K + 1. */
struct izo_replicas {
	__le64 magic;		/* IZO_REPLICAS_MAGIC */
	__le32 version;		/* IZO_KML_VERSION */
	__le32 crc;		/* of the structure with this field 0 */
	__u8 fileset[16];
	__le16 self;		/* index of this replica */
	__le16 count;		/* entries that follow */
	__le32 zero;
	__le64 reserved[2];	/* 0 */
};

struct izo_replica {
	__u8 uuid[16];
	__le16 index;
	__le16 flags;		/* 0 */
	__le32 crc;		/* of the structure with this field 0 */
	__le64 reserved;	/* 0 */
};

#define IZO_REPLICAS_MAGIC	0x315045524f5a49ULL	/* "IZOREP1\0" */

/*
 * The objects that a cloned disk was copied with: @count entries, indexed by inode number. An inode
 * without trusted.izo whose generation is that of its entry is the object that @replica of the
 * entry made under @ino; any other was made here.
 */
struct izo_base {
	__le64 magic;		/* IZO_BASE_MAGIC */
	__le32 version;		/* IZO_KML_VERSION */
	__le32 crc;		/* of the structure with this field 0, then of all entries */
	__le64 count;
	__le64 reserved;	/* 0 */
};

struct izo_base_entry {
	__le32 generation;
	__le16 replica;		/* 0: no object */
	__le16 zero;
};

#define IZO_BASE_MAGIC	0x315341424f5a49ULL	/* "IZOBAS1\0" */

#endif /* _UAPI_LINUX_INTERMEZZO_KML_H */
