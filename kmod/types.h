/* SPDX-License-Identifier: GPL-2.0-only */
/* The structures of the InterMezzo file system; prototypes are in intermezzo.h. */
#ifndef IZO_TYPES_H
#define IZO_TYPES_H

#include <linux/errseq.h>
#include <linux/fs.h>
#include <linux/intermezzo.h>
#include <linux/intermezzo_kml.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct dquot;
struct izo_cache_ops;
struct izo_dirty;
struct izo_log;
struct izo_notice;
struct izo_remote;
struct jbd2_journal_handle;

/**
 * struct izo_cache_type - what a lower file system is called and offers as a cache
 * @name: as in cache_type=
 * @driver: the file system type that mounts it
 * @needs_device: for intermezzo (true) or vintermezzo (false)
 * @has_own_number: its superblock's device number is not the device's
 * @misses_stores: its change counter does not see every store through a mapping
 * @ops: how the log is written to it
 * @option: that it is always mounted with, or NULL
 * @part_option: what options begin with that choose a part of the device, or NULL
 * @xattr_prefix: what attributes begin with that are its own, or NULL
 * @remedy: what to do after an error that has made a fileset read-only
 * @log_flags: FS_*_FL that the log's files should have
 * @check: refuse an unfit cache, saying why in @fc; NULL: any will do. Returns 0 or a negative
 *	errno.
 * @find: a lower dentry of the inode with this number and generation, or an ERR_PTR or NULL if
 *	there is none; NULL: nothing outlives the mount
 * @is_foreign: does this lower inode belong to another tree, with inode numbers of its own? NULL:
 *	there is one tree only
 * @outlive: make sure that no new object gets number and generation of one that was lost when
 *	the machine stopped; NULL: generations are random. Returns 0 or a negative errno.
 */
struct izo_cache_type {
	const char *name;
	const char *driver;
	bool needs_device;
	bool has_own_number;
	bool misses_stores;
	const struct izo_cache_ops *ops;
	const char *option;
	const char *part_option;
	const char *xattr_prefix;
	const char *remedy;
	u32 log_flags;
	int (*check)(const struct vfsmount *mnt, struct fs_context *fc);
	struct dentry *(*find)(const struct vfsmount *mnt, u64 ino, u32 generation);
	bool (*is_foreign)(const struct inode *lower);
	int (*outlive)(struct izo_log *log);
};

/**
 * struct izo_config - what the mount options say
 * @fileset: name of the replicated tree, or NULL while not known
 * @mtp: where the tree will stand for its users (a label), or NULL
 * @source: the device as given to mount(2), for show_devname
 * @cache: type of the lower file system
 * @channel: number of the channel asked for, or -1 for the first free one
 * @no_filter: skip validation by the daemon from the start
 */
struct izo_config {
	char *fileset;
	char *mtp;
	char *source;
	const struct izo_cache_type *cache;
	int channel;
	bool no_filter;
};

/**
 * struct izo_log_reach - how far a log has come
 * @committed: offset before which all is on the medium
 * @committed_recno: number of the last record before it
 * @recno: number of the newest record, on the medium or not
 * @ended: why there will be no more: bits of enum izo_log_state, or 0
 */
struct izo_log_reach {
	u64 committed;
	u64 committed_recno;
	u64 recno;
	unsigned long ended;
};

/**
 * struct izo_channel - one /dev/intermezzoN and the mounts that speak through it
 * @nr: N
 * @no_filter: validation by the daemon is skipped; logging is not (I10). The sysctl's storage.
 * @no_journal: changes are not recorded: the logs of its filesets overflow. Likewise.
 * @mounts: superblocks attached, protected by izo_channels_lock
 * @arrived: readers of the device, who wait for an upcall
 * @upcall_lock: protects what follows; nests in izo_channels_lock, and nothing in it
 * @attended: a daemon has the device open
 * @version: of the protocol that it speaks; 0: it has not said
 * @last_id: of the upcall queued last
 * @unread: struct izo_call, to be read in this order
 * @unanswered: struct izo_call that were read and ask for an answer, in the order of reading
 * @notices: struct izo_notice of the filesets that the daemon is or will be told of
 */
struct izo_channel {
	int nr;
	int no_filter;
	int no_journal;
	struct list_head mounts;
	wait_queue_head_t arrived;
	spinlock_t upcall_lock;	/* protects what follows */
	bool attended;
	u16 version;
	u64 last_id;
	struct list_head unread;
	struct list_head unanswered;
	struct list_head notices;
};

/**
 * struct izo_sb - our side of a superblock
 * @config: options in force; changed under s_umount only
 * @lower_mnt: the private mount of the cache
 * @creator_cred: the mounter's credentials, for lookups and opens below
 * @was_rw: it has been read-write: that it is configured need not be asked again
 * @channel: where upcalls go; set before the superblock is born
 * @on_channel: link in @channel->mounts
 * @claimed: the fileset's name once it is ours on the channel, or ""
 * @notice: what the channel's daemon is told of the fileset; NULL once upcall.c has taken it over
 * @log: of the fileset, once it was read-write; set once, under s_umount
 * @lower_wb_err: last writeback error of the cache that was passed on
 * @wb_err_lock: a leaf lock
 */
struct izo_sb {
	struct izo_config config;
	struct vfsmount *lower_mnt;
	const struct cred *creator_cred;
	bool was_rw;
	struct izo_channel *channel;
	struct list_head on_channel;
	char claimed[INTERMEZZO_FILESET_MAX + 1];
	struct izo_notice *notice;
	struct izo_log *log;
	errseq_t lower_wb_err;
	spinlock_t wb_err_lock;	/* protects lower_wb_err */
};

/* Which replicas an object belongs to; design "class of a path". */
enum izo_class {
	IZO_CLASS_SHARED,	/* replicated */
	IZO_CLASS_LOCAL,	/* of a root, this replica's own: never logged */
	IZO_CLASS_CACHE,	/* lost+found and below, of any fileset: likewise */
	IZO_CLASS_INTERNAL,	/* .intermezzo and below: the kernel's own */
};

/* A name whose class is built in, and the names known below it. */
struct izo_place {
	const char *name;	/* a trailing '*' matches any rest */
	enum izo_class class;
	const struct izo_place *below;	/* table ended by a NULL name, or NULL */
};

/**
 * struct izo_inode - an upper inode
 * @lower: the inode of the cache, pinned as long as this one lives
 * @lower_dir: a directory's lower dentry, pinned likewise, else NULL: lower directories are never
 *	disconnected, so the lower superblock finds all its dentries when it is shut down
 * @class: set when the inode is read in, never changed (renames across a border are refused)
 * @below: built-in names in this directory, or NULL
 * @writers: open files that can change its body
 * @replaced: a peer's new body has its names, or is about to get them; changed with it locked
 * @dirty: its place in the LML, or NULL; protected by i_lock
 * @body_changes: changes of its body that were begun since it was read in; likewise
 * @fid: if a peer made it, its FID; else 0: the lower inode says it
 * @fid_known: @fid was looked for
 * @vfs_inode: what the VFS sees; attributes are copies of @lower's
 */
struct izo_inode {
	struct inode *lower;
	struct dentry *lower_dir;
	enum izo_class class;
	const struct izo_place *below;
	atomic_t writers;
	bool replaced;
	struct izo_dirty *dirty;
	u64 body_changes;
	struct izo_fid fid;
	bool fid_known;
	struct inode vfs_inode;
};

/**
 * struct izo_change - what an operation is about to do, for its record
 * @op: IZO_KML_*, or 0 if there is no record of its own
 * @flags: IZO_KML_* flags
 * @valid: of a SETATTR: IZO_ATTR_* that are set
 * @old_mode: the object's mode before
 * @old_uid: its owner before; set by izo_log_begin()
 * @old_gid: its group before; likewise
 * @old_flags: of chattr(1): the flags and project before
 * @acl_type: ACL_TYPE_*, or 0
 * @object: upper inode; NULL while it is being made
 * @fid: the object's FID where there is no upper inode
 * @lower: lower dentry of the object where the record needs it
 * @dir: upper directory of @name
 * @dir_mtime: its modification time before
 * @name: the name made, removed or left
 * @to_dir: upper directory of @to_name
 * @to_name: the new name of a rename
 * @replaced: upper inode of what stood there, or NULL
 * @hint: upper dentry of the object, or NULL
 * @target: of a symbolic link
 * @xattr: full name of the attribute
 * @value: its new value
 * @size: bytes at @value; of an ACL: that its value takes at most
 * @dirty: of a CLOSE: what changed
 * @seen: how far the upstream replica's log had been applied when the change began
 * @to_mtime: modification time of @to_dir before
 * @remote: the peer's record that is being applied, or NULL: a change of our own
 */
struct izo_change {
	u16 op;
	u32 flags;
	u32 valid;
	umode_t old_mode;
	kuid_t old_uid;
	kgid_t old_gid;
	struct fileattr *old_flags;
	int acl_type;
	struct inode *object;
	const struct izo_fid *fid;
	struct dentry *lower;
	struct inode *dir;
	struct timespec64 dir_mtime;
	const struct qstr *name;
	struct inode *to_dir;
	const struct qstr *to_name;
	struct inode *replaced;
	struct dentry *hint;
	const char *target;
	const char *xattr;
	const void *value;
	size_t size;
	const struct izo_dirty *dirty;
	u64 seen;
	struct timespec64 to_mtime;
	struct izo_remote *remote;
};

/**
 * struct izo_ctx - on whose behalf an operation is done, and its record in the making
 * @sb: the upper superblock
 * @shared: other replicas are to learn of it
 * @can_wait: where the log has to grow first, -EAGAIN is an answer
 * @change: what it does; filled in before izo_change_begin()
 * @log: between izo_log_begin() and izo_log_end() of a change that is recorded, else NULL
 * @handle: of the cache's journal, if it has one
 * @tid: transaction of @handle
 * @buf: where the record is put together
 * @size: bytes there
 * @reserved: bytes promised in the log; 0: there were none, the log overflows
 * @quotas: of the cache, in use until @handle ends, or NULL
 *
 * Every change goes through one izo_do_*() function with a context: a system call's, or that of a
 * peer's record being applied.
 */
struct izo_ctx {
	struct super_block *sb;
	bool shared;
	bool can_wait;
	struct izo_change change;
	struct izo_log *log;
	struct jbd2_journal_handle *handle;
	unsigned int tid;
	void *buf;
	size_t size;
	u32 reserved;
	struct dquot *quotas[5];
};

/**
 * struct izo_new - what is to be made under a name
 * @mode: type and permissions
 * @rdev: of a device
 * @target: of a symbolic link
 * @excl: the caller wants a new file
 */
struct izo_new {
	umode_t mode;
	dev_t rdev;
	const char *target;
	bool excl;
};

/* A name in a lower directory whose inode is locked; see izo_name_lock(). */
struct izo_name {
	struct dentry *dir;
	struct dentry *child;
};

#endif /* IZO_TYPES_H */
