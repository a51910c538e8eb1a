/* SPDX-License-Identifier: GPL-2.0-only */
/* The log's structures; kml.c has the story. */
#ifndef IZO_LOG_H
#define IZO_LOG_H

#include <linux/fs.h>
#include <linux/intermezzo_kml.h>
#include <linux/jbd2.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/quotaops.h>
#include <linux/sizes.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "kml_record.h"

struct izo_ctx;
struct izo_log;
struct izo_recent;

/* Among the log's files: where a body stands on its way to its name, without a journal. */
#define IZO_BODY_NAME "body"

/* A record that is not about an attribute takes no more, in bytes; izo_change_room() checks. */
#define IZO_LOG_NAMES_MOST SZ_32K

/**
 * struct izo_area - a file of the cache that belongs to the log: of fixed size, all of it written
 * @inode: lower inode, referenced
 * @file: open for writing, where the cache is written through its files; else NULL
 * @map: block numbers, where it is written through its blocks; else NULL
 * @bytes: size, a multiple of the cache's block size
 */
struct izo_area {
	struct inode *inode;
	struct file *file;
	sector_t *map;
	u32 bytes;
};

/**
 * struct izo_cache_ops - how the log is written to a kind of cache
 * @attach: look at the cache: log->journal. Returns 0 or a negative errno.
 * @open: make an area usable whose @inode and @bytes are set; @dir: lower dentry of its directory.
 *	Returns 0, -ENODATA if it was not completely written, or another negative errno.
 * @close: undo @open; the inode stays referenced
 * @start: begin what is to be atomic, with room for @blocks blocks of the log besides the
 *	operation's own; ctx->handle. Returns 0 or a negative errno with nothing begun.
 * @detach: the operation is over: only the log may write until @stop. Returns 0 or -EIO if it was
 *	cut in two.
 * @stop: end it. Returns 0 or a negative errno.
 * @write: change @len bytes at @pos, all in one block; @fresh: the block's other bytes become 0 and
 *	need not be read. Returns 0 or a negative errno.
 * @read: likewise any number of bytes, from what was written last
 */
struct izo_cache_ops {
	int (*attach)(struct izo_log *log);
	int (*open)(struct izo_log *log, struct izo_area *area, const struct path *path);
	void (*close)(struct izo_area *area);
	int (*start)(struct izo_ctx *ctx, unsigned int blocks);
	int (*detach)(struct izo_ctx *ctx);
	int (*stop)(struct izo_ctx *ctx);
	int (*write)(struct izo_ctx *ctx, struct izo_area *area, u32 pos, const void *buf,
		     u32 len, bool fresh);
	int (*read)(struct izo_log *log, struct izo_area *area, u32 pos, void *buf, u32 len);
};

/**
 * struct izo_seg - a segment of the log
 * @link: in log->used, oldest first, or in log->spare
 * @area: its file
 * @nr: N of the file's name kml.N
 * @base: offset in the log of the first byte after the segment's header
 * @first: offset of the first record that begins here
 * @first_recno: its number
 */
struct izo_seg {
	struct list_head link;
	struct izo_area area;
	unsigned int nr;
	u64 base;
	u64 first;
	u64 first_recno;
};

/* What a transaction of the cache ends with, once it is committed. */
struct izo_mark {
	tid_t tid;
	u64 end;
	u64 recno;
};

/* A transaction runs, one may be committing; one more is added before the oldest is looked at. */
#define IZO_MARKS 4

/**
 * struct izo_peer - how far a replica's log has been applied here; as struct izo_rcvd_slot
 * @replica: UUID
 * @epoch: life of its log
 * @recno: number of the last record whose outcome is stored
 * @offset: end of that record
 * @outcome: of that record
 * @flags: IZO_RCVD_*
 */
struct izo_peer {
	uuid_t replica;
	u64 epoch;
	u64 recno;
	u64 offset;
	u32 outcome;
	u32 flags;
};

/**
 * struct izo_remote - a peer's record being applied
 * @head: the record, judged
 * @attr: its ATTR, or NULL
 * @place: its PLACE or HINT, or NULL
 * @to: its TO, or NULL
 * @other: its REPLACED, or NULL
 * @whiteout: its WHITEOUT, or NULL
 * @forward: it is recorded in our log too
 * @batch: number of the batch, never 0
 * @next: the peer's position once it is applied
 * @stored: that position is stored, with what was changed
 * @names: of a CLOSE: how many names get the new body
 * @cut: attributes of an object that it makes could not be set
 * @inexact: why an attribute could not be set as the record says: negative errno, or 0
 * @recno: its number in our log, if it is recorded
 * @ino: number of the inode that it makes
 * @generation: of that inode
 */
struct izo_remote {
	const struct izo_kml_head *head;
	const struct izo_kml_attr *attr;
	const struct izo_kml_place *place;
	const struct izo_kml_place *to;
	const struct izo_kml_other *other;
	const struct izo_kml_whiteout *whiteout;
	bool forward;
	u64 batch;
	struct izo_peer next;
	bool stored;
	unsigned int names;
	bool cut;
	int inexact;
	u64 recno;
	u64 ino;
	u32 generation;
};

/* Something that a record is about: an object with IZO_ASPECT_* of it, or a name; NULL if not. */
struct izo_recent_key {
	const struct inode *inode;
	u32 aspects;
	const struct inode *dir;
	const struct qstr *name;
};

enum izo_log_state {
	IZO_LOG_FAILED,		/* a record could not be written: the fileset is read-only */
	IZO_LOG_OVERFLOW,	/* changes are not recorded any more */
	IZO_LOG_OVERFLOW_STORED, /* and the control block says so */
	IZO_LOG_CRAMPED,	/* it could not grow when it last tried, and said so */
	IZO_LOG_STOPPED,	/* the mount is going or read-only: no growth, no worker */
};

/**
 * struct izo_log - the logs of a fileset: KML, LML and last_rcvd
 * @sb: upper superblock
 * @ops: how the cache is written
 * @journal: of the cache, or NULL: then records are not atomic with their changes
 * @dir: lower directory .intermezzo/FILESET
 * @control: the file kml
 * @lml: the file lml
 * @rcvd: the file last_rcvd
 * @table: the file replicas
 * @base: on a clone, the open table of the objects it was copied with; else NULL
 * @fileset: UUID
 * @replica: UUID
 * @epoch: life of the log
 * @self: index of this replica
 * @replicas: how many the table has; 1: every object was made here
 * @block_size: of the cache, in bytes
 * @segment_size: of a segment's file, in bytes
 * @limit: what all segments may take, in bytes
 * @state: bits of enum izo_log_state
 * @lock: protects what follows down to @reserved; nests inside handles and all inode locks
 * @used: segments that hold the log
 * @spare: segments to be used next
 * @segments: how many files there are
 * @first: offset of the oldest record kept
 * @first_recno: its number
 * @trimmed: no replica needs what lies before
 * @tail: offset at which the next record will stand
 * @recno: number of the newest record
 * @tail_tid: transaction of the newest record
 * @marks: transactions that may not be committed, oldest first
 * @nmarks: how many
 * @committed: offset before which all is on the medium
 * @committed_recno: number of the last record before it
 * @told: what that was when waiters were last woken; of @tell_work
 * @reserved: bytes promised to operations under way
 * @grew: waiters for new records
 * @room: waiters for room that others have been promised
 * @grow_work: makes spare segments
 * @tell_work: waits for the journal, wakes @grew and tells the channel's daemon
 * @recent: the last records, by what they are about
 * @recent_count: how many there have been
 * @recent_from: offset in the log from which on @recent has them all
 * @reint_lock: protects the following; held while a batch is applied, outside of all inode locks
 * @peers: of which something was applied here
 * @npeers: how many
 * @rcvd_serial: of the newest copy of last_rcvd
 * @rcvd_copy: which one that is
 * @rcvd_tid: transaction in which it was written; changed under @lock too
 * @batches: how many there have been
 * @seen: number of the last record of the upstream replica that was applied; no lock
 * @lml_lock: protects the following; nests as @lock does, outside of it
 * @dirty: struct izo_dirty of files whose body may differ from their last CLOSE
 * @ndirty: how many
 * @slots: bitmap of LML entries in use
 * @stale: bitmap of those to be freed on the cache
 * @nslots: bits of both
 * @lml_tid: transaction in which @lml_block was last taken from
 * @lml_block: block whose entries are handed out
 * @free_lock: held while entries are freed on the cache; outside of handles
 * @lml_work: writes CLOSEs that had to wait and frees entries
 */
struct izo_log {
	struct super_block *sb;
	const struct izo_cache_ops *ops;
	journal_t *journal;
	struct dentry *dir;
	struct izo_area control;
	struct izo_area lml;
	struct izo_area rcvd;
	struct izo_area table;
	struct file *base;
	uuid_t fileset;
	uuid_t replica;
	u64 epoch;
	u16 self;
	u16 replicas;
	u32 block_size;
	u32 segment_size;
	u64 limit;
	unsigned long state;

	struct mutex lock;	/* down to @grow_work */
	struct list_head used;
	struct list_head spare;
	unsigned int segments;
	u64 first;
	u64 first_recno;
	u64 trimmed;
	u64 tail;
	u64 recno;
	tid_t tail_tid;
	struct izo_mark marks[IZO_MARKS];
	unsigned int nmarks;
	u64 committed;
	u64 committed_recno;
	u64 told;
	u64 reserved;
	wait_queue_head_t grew;
	wait_queue_head_t room;
	struct delayed_work grow_work;
	struct work_struct tell_work;
	struct izo_recent *recent;
	u64 recent_count;
	u64 recent_from;

	struct mutex reint_lock;	/* down to @seen */
	struct izo_peer *peers;
	unsigned int npeers;
	u64 rcvd_serial;
	unsigned int rcvd_copy;
	tid_t rcvd_tid;
	u64 batches;
	u64 seen;

	struct mutex lml_lock;	/* from here on */
	struct list_head dirty;
	unsigned int ndirty;
	unsigned long *slots;
	unsigned long *stale;
	unsigned int nslots;
	tid_t lml_tid;
	unsigned int lml_block;
	struct mutex free_lock;	/* serializes izo_free_stale() */
	struct delayed_work lml_work;
};

/**
 * struct izo_dirty - a file whose body may differ from what its last CLOSE says
 * @link: in log->dirty
 * @inode: upper inode, referenced
 * @slot: its entry of the LML
 * @open: changed since its last CLOSE; else only not yet on the medium
 * @closing: that CLOSE is being written, with the inode locked; set and cleared under lml_lock
 * @mapped: it has had a shared mapping that could be written: @version tells whether it was
 * @written: it was changed by a call
 * @truncated: it was cut to nothing: write it out at its CLOSE, as ext4 does by itself
 * @whole: too many parts changed to name them
 * @awaited: a daemon was told that it is changing, and counts on a CLOSE
 * @nranges: of @ranges, sorted and apart
 * @version: change counter of the lower inode when @mapped was set
 * @seen: as in the record of its CLOSE
 * @tid: transaction of its entry
 * @was_empty: it had no data when it was listed: none can be overwritten
 * @wb_err: sample of the lower mapping's errors: an error since then makes the entry stay
 * @ranges: parts changed since its last CLOSE
 *
 * Ranges and flags are protected by the upper inode's i_lock, the rest by log->lml_lock; @open is
 * changed under both.
 */
struct izo_dirty {
	struct list_head link;
	struct inode *inode;
	u32 slot;
	bool open;
	bool closing;
	bool mapped;
	bool written;
	bool truncated;
	bool whole;
	bool awaited;
	unsigned int nranges;
	u64 version;
	u64 seen;
	tid_t tid;
	bool was_empty;
	errseq_t wb_err;
	struct {
		u64 start;
		u64 end;
	} ranges[IZO_KML_RANGES_MAX];
};

/* What a record may change, in blocks: one it straddles, a segment's header, the control block. */
static inline unsigned int izo_log_blocks(const struct izo_log *log, size_t bytes)
{
	return DIV_ROUND_UP(bytes, log->block_size) + 3;
}

/* An entry of a quota is in use; -ESRCH: there is no such quota. */
#ifdef CONFIG_QUOTA
static inline struct dquot *izo_quota_get(struct super_block *sb, struct kqid id)
{
	return qid_valid(id) ? dqget(sb, id) : ERR_PTR(-ESRCH);
}

static inline void izo_quota_put(struct dquot *dquot)
{
	dqput(dquot);
}
#else
static inline struct dquot *izo_quota_get(struct super_block *sb, struct kqid id)
{
	return ERR_PTR(-ESRCH);
}

static inline void izo_quota_put(struct dquot *dquot)
{
}
#endif

/* cache_ext4.c, cache_generic.c */
extern const struct izo_cache_ops izo_ext4_ops;
extern const struct izo_cache_ops izo_generic_ops;

/* log_area.c */
int izo_area_make(struct izo_log *log, const char *name, u32 bytes, const void *head,
		  u32 head_len);
int izo_area_remove_locked(struct izo_log *log, const char *name);
int izo_area_remove(struct izo_log *log, const char *name);
int izo_area_get(struct izo_log *log, struct izo_area *area, const char *name, u32 bytes);
void izo_area_put(struct izo_log *log, struct izo_area *area);
int izo_area_write(struct izo_ctx *ctx, struct izo_area *area, u32 pos, const void *buf, u32 len);
struct file *izo_table_open(struct izo_log *log, const char *name);
int izo_read_exactly(struct file *file, u64 pos, void *buf, u32 len);

/* log_open.c */
int izo_log_open(struct super_block *sb, struct dentry *dir, struct fs_context *fc);
void izo_log_close(struct izo_log *log);
void izo_log_none(const struct super_block *sb);
int izo_log_make_spare(struct izo_log *log);

/* kml.c */
int izo_log_check(const struct super_block *sb);
int izo_log_check_in(struct izo_log *log);
void izo_log_overflow(struct izo_log *log, const char *why);
void izo_log_await_room(const struct super_block *sb);
int izo_log_reserve(struct izo_ctx *ctx, u32 bytes);
void izo_log_unreserve(struct izo_ctx *ctx);
int izo_log_append(struct izo_ctx *ctx, struct izo_record *r);
int izo_log_store_overflow(struct izo_ctx *ctx);
int izo_log_store_trimmed(struct izo_ctx *ctx);
void izo_log_fail(struct izo_log *log, const char *what, int err);
void izo_log_update_committed(struct izo_log *log);
u64 izo_log_committed(struct izo_log *log);
int izo_log_commit(struct izo_log *log);
int izo_log_trim(struct izo_log *log, u64 offset);
ssize_t izo_log_read(struct izo_log *log, void *buf, size_t len, u64 pos);
int izo_log_find_tail(struct izo_log *log);
void izo_log_grow(struct work_struct *work);

/* log_tell.c */
void izo_log_tell(struct izo_log *log);
void izo_log_tell_end(struct izo_log *log);
void izo_log_await_commits(struct work_struct *work);

/* kml_change.c */
int izo_find_fids(struct izo_ctx *ctx);
int izo_log_begin_in(struct izo_ctx *ctx, struct izo_log *log);
int izo_log_begin(struct izo_ctx *ctx);
int izo_log_end(struct izo_ctx *ctx, int err);
int izo_log_stop(struct izo_ctx *ctx, int err);

/* rcvd.c */
bool izo_peers_full(const struct izo_log *log);
unsigned int izo_rcvd_blocks(const struct izo_log *log);
struct izo_peer *izo_peer_find(const struct izo_log *log, const uuid_t *replica);
int izo_rcvd_load(struct izo_log *log);
int izo_rcvd_store(struct izo_ctx *ctx, const struct izo_peer *to);

/* replicas.c */
int izo_replica_find(struct izo_log *log, const uuid_t *replica);
int izo_replica_index(struct izo_log *log, const uuid_t *replica);

/* recent.c */
int izo_recent_init(struct izo_log *log);
void izo_recent_exit(struct izo_log *log);
void izo_recent_note(const struct izo_ctx *ctx, u64 offset, u32 aspects);
void izo_recent_moved(struct izo_log *log, const struct inode *from, const struct inode *to);
bool izo_recent_changed(struct izo_log *log, u64 since, u64 batch,
			const struct izo_recent_key *keys, unsigned int nkeys);

/* lower_exact.c */
int izo_remote_finish(struct izo_ctx *ctx);

/* fid.c */
void izo_fid_set(struct inode *inode, const struct izo_fid *fid);
int izo_base_open(struct izo_log *log, struct fs_context *fc);
bool izo_fid_known(const struct izo_log *log, const struct inode *inode);
void izo_fid_put_new(const struct izo_log *log, const struct inode *lower, struct izo_fid *fid);
void izo_fid_put(const struct izo_log *log, const struct inode *inode, struct izo_fid *fid);
int izo_fid_find(struct izo_log *log, struct inode *inode);

/* body.c */
bool izo_is_changing(struct inode *inode);
bool izo_is_being_written(const struct inode *inode);
int izo_body_dirty(struct inode *inode, bool nowait);
void izo_body_changed(struct inode *inode, loff_t start, loff_t end);
int izo_body_named(struct inode *inode);
int izo_body_entry_commit(struct inode *inode, bool nowait);
int izo_body_mapped(struct inode *inode);
void izo_body_resized(struct inode *inode, loff_t from, loff_t to);
void izo_body_closed(struct inode *inode, struct dentry *hint);
void izo_body_close_late(struct inode *inode, bool wait);
void izo_body_settled(struct inode *inode, struct dentry *hint);

/* lml.c */
int izo_lml_list(struct izo_ctx *ctx, bool mapped);
bool izo_lml_end_change(struct inode *inode, struct izo_dirty *change);
void izo_lml_change_ended(struct inode *inode, const struct izo_dirty *change, bool recorded);
void izo_body_gone(struct inode *inode);
int izo_lml_recover(struct izo_log *log);
void izo_lml_kick(struct izo_log *log);
void izo_lml_settle(struct izo_log *log);
void izo_lml_drop(struct izo_log *log);
void izo_lml_work(struct work_struct *work);

#endif /* IZO_LOG_H */
