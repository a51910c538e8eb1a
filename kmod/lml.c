// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bodies: the list of files whose contents may differ from what the log says (LML), and the CLOSE
 * that ends each change of a body.
 *
 * Data is not logged. Before a body first changes, an entry for it is committed with, or before,
 * the change; when the last writer has closed the file a CLOSE says what changed; the entry stays
 * until the data is on the medium. After a crash every file listed gets a CLOSE when the fileset
 * next becomes read-write.
 *
 * A shared mapping that can be written counts as a change for as long as it lives: nothing tells
 * of single stores (docs/decisions/0008-shared-mappings.md).
 */

#include <linux/bitmap.h>
#include <linux/exportfs.h>
#include <linux/iversion.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include "intermezzo.h"
#include "log.h"

/* How often closed files are looked at for data that has reached the medium. */
#define IZO_LML_INTERVAL (2 * HZ)

/* Files looked at with one hold of the lock. */
#define IZO_LML_BATCH 64

static unsigned int izo_per_block(const struct izo_log *log)
{
	return log->block_size / sizeof(struct izo_lml_entry);
}

/*
 * A free entry, in a block that the committing transaction does not have if there is one: changing
 * such a block waits for the journal's I/O. Returns nslots if all are taken. lml_lock is held.
 */
static unsigned int izo_take_slot(struct izo_log *log, unsigned int tid)
{
	unsigned int per_block = izo_per_block(log), blocks = log->nslots / per_block;
	unsigned int from = log->lml_tid == tid ? log->lml_block : log->lml_block + 1;

	for (unsigned int i = 0; i < blocks; i++) {
		unsigned int block = (from + i) % blocks, end = (block + 1) * per_block;
		unsigned int slot = find_next_zero_bit(log->slots, end, block * per_block);

		if (slot < end) {
			log->lml_tid = tid;
			log->lml_block = block;
			__set_bit(slot, log->slots);
			return slot;
		}
	}
	return log->nslots;
}

static int izo_put_entry(struct izo_ctx *ctx, const struct izo_dirty *d)
{
	const struct inode *lower = izo_lower(d->inode);
	struct izo_lml_entry e = {
		.magic = cpu_to_le32(IZO_LML_MAGIC),
		.ino = cpu_to_le64(lower->i_ino),
		.seen = cpu_to_le64(d->seen),
		.epoch = cpu_to_le64(ctx->log->epoch),
		.generation = cpu_to_le32(lower->i_generation),
	};

	izo_fid_put(ctx->log, d->inode, &e.fid);
	izo_crc_seal(&e, sizeof(e), &e.crc);
	return ctx->log->ops->write(ctx, &ctx->log->lml, d->slot * sizeof(e), &e, sizeof(e),
				    false);
}

/* A listed file is being changed; lml_lock is held. */
static void izo_link_dirty(struct izo_log *log, struct izo_dirty *d)
{
	ihold(d->inode);
	list_add_tail(&d->link, &log->dirty);
	log->ndirty++;
	spin_lock(&d->inode->i_lock);
	izo_i(d->inode)->dirty = d;
	spin_unlock(&d->inode->i_lock);
}

/*
 * List a file, within a handle; the lock is not held while the entry is written, which may have to
 * wait for the journal. *@d is NULL if it was taken over. Returns -EAGAIN with no entry free.
 */
static int izo_lml_add(struct izo_ctx *ctx, struct izo_dirty **d, struct inode *inode)
{
	struct izo_log *log = ctx->log;
	struct izo_dirty *new = *d;
	bool listed;
	int err;

	mutex_lock(&log->lml_lock);
	listed = izo_i(inode)->dirty;
	if (listed)
		WRITE_ONCE(izo_i(inode)->dirty->open, true);
	else
		new->slot = izo_take_slot(log, ctx->tid);
	mutex_unlock(&log->lml_lock);
	if (listed)
		return 0;
	if (new->slot == log->nslots)
		return -EAGAIN;
	new->inode = inode;
	new->open = true;
	new->tid = ctx->tid;
	new->seen = ctx->change.seen;
	new->was_empty = !i_size_read(izo_lower(inode));
	err = izo_put_entry(ctx, new);

	mutex_lock(&log->lml_lock);
	if (err || izo_i(inode)->dirty) {
		/* an error, or somebody else was faster: the entry is one too many */
		__set_bit(new->slot, log->stale);
		if (!err)
			WRITE_ONCE(izo_i(inode)->dirty->open, true);
	} else {
		izo_link_dirty(log, new);
		*d = NULL;
	}
	mutex_unlock(&log->lml_lock);
	return err;
}

/* Take a file off the list; lml_lock is held. Its reference is the caller's now. */
static void izo_lml_del(struct izo_log *log, struct izo_dirty *d)
{
	spin_lock(&d->inode->i_lock);
	izo_i(d->inode)->dirty = NULL;
	spin_unlock(&d->inode->i_lock);
	list_del(&d->link);
	log->ndirty--;
	/* the entry is used again only once it is free on the cache too */
	__set_bit(d->slot, log->stale);
}

/**
 * izo_is_changing - has the body changes that no CLOSE tells of yet?
 * @inode: upper inode
 */
bool izo_is_changing(struct inode *inode)
{
	struct izo_dirty *d;
	bool changing;

	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	changing = d && d->open;
	spin_unlock(&inode->i_lock);
	return changing;
}

/*
 * Zero the stale entries of one block on the cache. They are nobody's until then: the lock is not
 * held while they are written, which may have to wait for the journal.
 */
static int izo_free_block(struct izo_log *log, unsigned int block)
{
	static const struct izo_lml_entry none;
	unsigned int from = block * izo_per_block(log), end = from + izo_per_block(log);
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	int err = log->ops->start(&ctx, 1), err2;

	if (err)
		return err;
	for (unsigned int slot = from; slot < end && !err; slot++) {
		bool stale;

		mutex_lock(&log->lml_lock);
		slot = find_next_bit(log->stale, end, slot);
		stale = slot < end;
		mutex_unlock(&log->lml_lock);
		if (!stale)
			break;
		err = log->ops->write(&ctx, &log->lml, slot * sizeof(none), &none, sizeof(none),
				      false);
		if (err)
			break;
		mutex_lock(&log->lml_lock);
		__clear_bit(slot, log->stale);
		__clear_bit(slot, log->slots);
		mutex_unlock(&log->lml_lock);
	}
	err2 = log->ops->detach(&ctx);
	if (!err)
		err = err2;
	err2 = log->ops->stop(&ctx);
	return err ? err : err2;
}

/* An entry left behind costs a CLOSE too many after a crash, no more: errors are the journal's. */
static void izo_free_stale(struct izo_log *log)
{
	unsigned int per_block = izo_per_block(log), slot = 0;

	if (mnt_want_write(izo_sb(log->sb)->lower_mnt))
		return;
	for (;;) {
		mutex_lock(&log->lml_lock);
		slot = find_next_bit(log->stale, log->nslots, slot);
		mutex_unlock(&log->lml_lock);
		if (slot >= log->nslots || izo_free_block(log, slot / per_block))
			break;
		slot = round_down(slot, per_block) + per_block;
		cond_resched();
	}
	mnt_drop_write(izo_sb(log->sb)->lower_mnt);
}

static bool izo_is_on_medium(const struct izo_dirty *d)
{
	struct address_space *mapping = izo_lower(d->inode)->i_mapping;

	return !mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) &&
	       !mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
}

/* Free the entries of files that are closed and on the medium. */
static void izo_free_clean(struct izo_log *log)
{
	struct izo_dirty *d, *next;
	LIST_HEAD(done);

	mutex_lock(&log->lml_lock);
	list_for_each_entry_safe(d, next, &log->dirty, link) {
		if (d->open || !izo_is_on_medium(d))
			continue;
		izo_lml_del(log, d);
		list_add(&d->link, &done);
	}
	mutex_unlock(&log->lml_lock);
	izo_free_stale(log);
	list_for_each_entry_safe(d, next, &done, link) {
		iput(d->inode);
		kfree(d);
	}
}

/* Up to IZO_LML_BATCH listed files, referenced: open ones that nobody writes, or closed ones. */
static unsigned int izo_collect(struct izo_log *log, bool open, struct inode **inodes)
{
	unsigned int count = 0;
	struct izo_dirty *d;

	mutex_lock(&log->lml_lock);
	list_for_each_entry(d, &log->dirty, link) {
		if (d->open != open || (open && atomic_read(&izo_i(d->inode)->writers)) ||
		    (!open && izo_is_on_medium(d)))
			continue;
		ihold(d->inode);
		inodes[count++] = d->inode;
		if (count == IZO_LML_BATCH)
			break;
	}
	mutex_unlock(&log->lml_lock);
	return count;
}

/* CLOSEs that could not be written when the file was closed: mapped still, or frozen. */
static void izo_close_waiting(struct izo_log *log)
{
	struct inode *inodes[IZO_LML_BATCH];
	unsigned int count = izo_collect(log, true, inodes);

	for (unsigned int i = 0; i < count; i++) {
		izo_body_closed(inodes[i], NULL);
		iput(inodes[i]);
	}
}

/* Write closed files out. Returns -EAGAIN if there may be more of them, 0, or another errno. */
static int izo_write_out(struct izo_log *log)
{
	struct inode *inodes[IZO_LML_BATCH];
	unsigned int count = izo_collect(log, false, inodes);
	int err = 0;

	for (unsigned int i = 0; i < count; i++)
		filemap_flush(izo_lower(inodes[i])->i_mapping);
	for (unsigned int i = 0; i < count; i++) {
		int err2 = filemap_write_and_wait(izo_lower(inodes[i])->i_mapping);

		if (!err)
			err = err2;
		iput(inodes[i]);
	}
	return count && !err ? -EAGAIN : err;
}

/* All entries are taken: write out what is closed, and free its entries. */
static int izo_lml_make_room(struct izo_log *log)
{
	int err = izo_write_out(log);

	izo_free_clean(log);
	if (err == -EAGAIN)
		return err;
	/* everything listed is being changed at this moment */
	return err ? err : -ENFILE;
}

static bool izo_lml_is_filling(const struct izo_log *log)
{
	return READ_ONCE(log->ndirty) > log->nslots / 2;
}

/**
 * izo_lml_work - write what had to wait, free what is done (work item)
 * @work: in the log
 */
void izo_lml_work(struct work_struct *work)
{
	struct izo_log *log = container_of(work, struct izo_log, lml_work.work);
	bool more;

	izo_close_waiting(log);
	/* in time, so that nobody has to wait for an entry */
	while (izo_lml_is_filling(log) && izo_write_out(log) == -EAGAIN)
		izo_free_clean(log);
	izo_free_clean(log);
	mutex_lock(&log->lml_lock);
	more = log->ndirty || !bitmap_empty(log->stale, log->nslots);
	mutex_unlock(&log->lml_lock);
	if (more && !test_bit(IZO_LOG_STOPPED, &log->state))
		queue_delayed_work(system_unbound_wq, &log->lml_work, IZO_LML_INTERVAL);
}

/**
 * izo_lml_settle - nobody writes any more: close and free everything
 * @log: the log; IZO_LOG_STOPPED is set
 *
 * Context: the mount is becoming read-only or is being ended; s_umount held.
 */
void izo_lml_settle(struct izo_log *log)
{
	struct izo_dirty *d, *next;

	cancel_delayed_work_sync(&log->lml_work);
	izo_close_waiting(log);
	while (izo_write_out(log) == -EAGAIN)
		cond_resched();
	izo_free_clean(log);
	/* what an error left: the next read-write mount sees to it */
	mutex_lock(&log->lml_lock);
	list_for_each_entry_safe(d, next, &log->dirty, link) {
		struct inode *inode = d->inode;

		izo_lml_del(log, d);
		iput(inode);
		kfree(d);
	}
	mutex_unlock(&log->lml_lock);
}

static int izo_list_body(struct izo_ctx *ctx, struct inode *inode)
{
	struct izo_dirty *d = kzalloc(sizeof(*d), GFP_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	err = izo_log_begin(ctx);
	if (!err && ctx->log && ctx->reserved) {
		struct izo_log *log = ctx->log;

		err = izo_lml_add(ctx, &d, inode);
		if (!d && !test_bit(IZO_LOG_STOPPED, &log->state)) {
			queue_delayed_work(system_unbound_wq, &log->lml_work, IZO_LML_INTERVAL);
			if (izo_lml_is_filling(log))
				mod_delayed_work(system_unbound_wq, &log->lml_work, 0);
		}
	}
	err = izo_log_end(ctx, err);
	kfree(d);
	return err;
}

static void izo_body_ctx(struct izo_ctx *ctx, struct inode *inode)
{
	izo_ctx_local(ctx, inode->i_sb);
	ctx->shared = izo_class_is_shared(inode->i_sb, izo_i(inode)->class);
	ctx->change.object = inode;
}

/* izo_list_body(), making room in the LML if need be. */
static int izo_list_body_waiting(struct izo_ctx *ctx, struct inode *inode)
{
	struct vfsmount *mnt = izo_sb(inode->i_sb)->lower_mnt;
	int err;

	do {
		err = mnt_want_write(mnt);
		if (err)
			return err;
		err = izo_find_fids(ctx);
		if (!err)
			err = izo_list_body(ctx, inode);
		mnt_drop_write(mnt);
		if (err == -EAGAIN)
			err = izo_lml_make_room(izo_sb(inode->i_sb)->log);
	} while (err == -EAGAIN);
	return err;
}

/**
 * izo_body_dirty - a file's body is about to change
 * @inode: upper inode; locked, or open for writing by the caller
 * @nowait: return -EAGAIN rather than wait
 *
 * Context: no freeze protection of the cache held; no handle. May sleep without @nowait.
 * Return: 0, the file is listed; or a negative errno: the body must not be changed.
 */
int izo_body_dirty(struct inode *inode, bool nowait)
{
	struct izo_ctx ctx;
	int err = izo_log_check(inode->i_sb);

	if (err || izo_is_changing(inode))
		return err;
	izo_body_ctx(&ctx, inode);
	if (!ctx.shared || !inode->i_nlink)
		return 0;
	return nowait ? -EAGAIN : izo_list_body_waiting(&ctx, inode);
}

/**
 * izo_body_entry_commit - a file's data is about to be forced out: its entry must be there first
 * @inode: upper inode
 * @nowait: return -EAGAIN rather than wait
 *
 * Only data that replaces older data can be seen without a commit of the cache's journal.
 *
 * Context: no handle. Waits for a commit the first time.
 * Return: 0 or a negative errno.
 */
int izo_body_entry_commit(struct inode *inode, bool nowait)
{
	struct izo_log *log = izo_sb(inode->i_sb)->log;
	bool wait = false;
	tid_t tid = 0;

	if (!log || !log->journal)
		return 0;
	spin_lock(&inode->i_lock);
	if (izo_i(inode)->dirty && !izo_i(inode)->dirty->was_empty) {
		tid = izo_i(inode)->dirty->tid;
		wait = true;
	}
	spin_unlock(&inode->i_lock);
	if (!wait || jbd2_transaction_committed(log->journal, tid))
		return 0;
	return nowait ? -EAGAIN : jbd2_complete_transaction(log->journal, tid);
}

/**
 * izo_body_named - a file that had no name is about to get one
 * @inode: upper inode, locked
 *
 * Return: 0 or a negative errno.
 */
int izo_body_named(struct inode *inode)
{
	struct izo_ctx ctx;
	int err = 0;

	izo_body_ctx(&ctx, inode);
	ctx.change.flags = IZO_KML_COMPLETE;
	if (ctx.shared && !izo_is_changing(inode))
		err = izo_list_body_waiting(&ctx, inode);
	izo_body_changed(inode, 0, 0);
	return err;
}

/**
 * izo_body_mapped - a file gets a shared mapping that can be written
 * @inode: upper inode, open for writing by the caller
 *
 * Context: mmap_lock held.
 * Return: 0 or a negative errno: it must not be mapped.
 */
int izo_body_mapped(struct inode *inode)
{
	struct super_block *lower_sb = izo_lower_sb(inode->i_sb);
	struct inode *lower = izo_lower(inode);
	u64 version = IS_I_VERSION(lower) ? inode_query_iversion(lower) : 0;
	struct izo_dirty *d;
	struct izo_ctx ctx;
	int err = izo_log_check(inode->i_sb);

	izo_body_ctx(&ctx, inode);
	if (err || !ctx.shared || !inode->i_nlink)
		return err;
	err = izo_find_fids(&ctx);
	if (err)
		return err;
	if (!izo_is_changing(inode)) {
		sb_start_pagefault(lower_sb);
		err = mnt_get_write_access(izo_sb(inode->i_sb)->lower_mnt);
		if (!err) {
			err = izo_list_body(&ctx, inode);
			mnt_put_write_access(izo_sb(inode->i_sb)->lower_mnt);
		}
		sb_end_pagefault(lower_sb);
	}
	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	if (d && !d->mapped) {
		d->mapped = true;
		d->version = version;
	}
	spin_unlock(&inode->i_lock);
	return err;
}

static void izo_drop_range(struct izo_dirty *d, unsigned int i)
{
	d->nranges--;
	memmove(&d->ranges[i], &d->ranges[i + 1], (d->nranges - i) * sizeof(*d->ranges));
}

/* Ranges stay sorted and apart; touching ones become one. */
static void izo_add_range(struct izo_dirty *d, u64 start, u64 end)
{
	unsigned int i = 0;

	while (i < d->nranges && d->ranges[i].end < start)
		i++;
	while (i < d->nranges && d->ranges[i].start <= end) {
		start = min(start, d->ranges[i].start);
		end = max(end, d->ranges[i].end);
		izo_drop_range(d, i);
	}
	if (d->nranges == IZO_KML_RANGES_MAX) {
		d->whole = true;
		return;
	}
	memmove(&d->ranges[i + 1], &d->ranges[i], (d->nranges - i) * sizeof(*d->ranges));
	d->ranges[i].start = start;
	d->ranges[i].end = end;
	d->nranges++;
}

/**
 * izo_body_changed - a part of a listed file's body has changed
 * @inode: upper inode
 * @start: first byte
 * @end: after the last; 0 for "any part"
 *
 * Context: any.
 */
void izo_body_changed(struct inode *inode, loff_t start, loff_t end)
{
	struct izo_dirty *d;

	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	if (d) {
		d->written = true;
		if (!end)
			d->whole = true;
		else if (!d->whole && start < end)
			izo_add_range(d, start, end);
	}
	spin_unlock(&inode->i_lock);
}

/**
 * izo_body_resized - a listed file was cut or extended
 * @inode: upper inode, locked
 * @from: size before, in bytes
 * @to: size now
 */
void izo_body_resized(struct inode *inode, loff_t from, loff_t to)
{
	if (from < to)
		izo_body_changed(inode, from, to);
	else
		izo_body_changed(inode, 0, 0);
	if (to)
		return;
	spin_lock(&inode->i_lock);
	if (izo_i(inode)->dirty)
		izo_i(inode)->dirty->truncated = true;
	spin_unlock(&inode->i_lock);
}

/* Mapped and never stored into: as if it had not been listed. */
static bool izo_is_unchanged(const struct izo_dirty *d)
{
	struct inode *lower = izo_lower(d->inode);

	return d->mapped && !d->written && IS_I_VERSION(lower) &&
	       inode_query_iversion(lower) == d->version;
}

static int izo_record_close(struct inode *inode, struct izo_dirty *d, struct dentry *hint)
{
	struct izo_ctx ctx;
	int err;

	izo_body_ctx(&ctx, inode);
	ctx.change.op = IZO_KML_CLOSE;
	ctx.change.dirty = d;
	ctx.change.hint = hint;
	if (d->mapped)
		d->whole = true;
	/* noauto_da_alloc keeps ext4 from doing it in a handle of ours */
	if (d->truncated)
		filemap_flush(izo_lower(inode)->i_mapping);
	err = izo_log_begin(&ctx);
	return err ? err : izo_log_end(&ctx, 0);
}

static void izo_close_locked(struct inode *inode, struct dentry *hint)
{
	struct izo_log *log = izo_sb(inode->i_sb)->log;
	struct izo_dirty *d = izo_i(inode)->dirty;

	/* under the inode's lock nobody else ends or begins a change */
	if (!d || !d->open || atomic_read(&izo_i(inode)->writers))
		return;
	if (mapping_writably_mapped(izo_lower(inode)->i_mapping))
		return;
	if (!izo_is_unchanged(d) && inode->i_nlink && izo_record_close(inode, d, hint))
		return;
	mutex_lock(&log->lml_lock);
	spin_lock(&inode->i_lock);
	d->open = false;
	d->mapped = false;
	d->written = false;
	d->truncated = false;
	d->whole = false;
	d->nranges = 0;
	spin_unlock(&inode->i_lock);
	mutex_unlock(&log->lml_lock);
}

/**
 * izo_body_closed - the last writer is gone, perhaps: end the change of the body with a CLOSE
 * @inode: upper inode, not locked
 * @hint: a name of it, or NULL
 *
 * What cannot be done now (frozen, still mapped) the log's worker does later.
 */
void izo_body_closed(struct inode *inode, struct dentry *hint)
{
	struct super_block *lower = izo_lower_sb(inode->i_sb);

	if (!izo_is_changing(inode))
		return;
	inode_lock(inode);
	if (sb_start_write_trylock(lower)) {
		if (!mnt_get_write_access(izo_sb(inode->i_sb)->lower_mnt)) {
			izo_close_locked(inode, hint);
			mnt_put_write_access(izo_sb(inode->i_sb)->lower_mnt);
		}
		sb_end_write(lower);
	}
	inode_unlock(inode);
}

/**
 * izo_body_settled - a body was changed by its name: end the change if nobody writes the file
 * @inode: upper inode, locked
 * @hint: a name of it
 */
void izo_body_settled(struct inode *inode, struct dentry *hint)
{
	struct vfsmount *mnt = izo_sb(inode->i_sb)->lower_mnt;

	if (!izo_is_changing(inode) || mnt_want_write(mnt))
		return;
	izo_close_locked(inode, hint);
	mnt_drop_write(mnt);
}

/**
 * izo_body_gone - an object has lost its last name: nobody asks for its body any more
 * @inode: upper inode, locked
 */
void izo_body_gone(struct inode *inode)
{
	struct izo_log *log = izo_sb(inode->i_sb)->log;
	struct izo_dirty *d;

	if (inode->i_nlink || !log || !READ_ONCE(izo_i(inode)->dirty))
		return;
	mutex_lock(&log->lml_lock);
	d = izo_i(inode)->dirty;
	if (d)
		izo_lml_del(log, d);
	mutex_unlock(&log->lml_lock);
	if (!d)
		return;
	iput(inode);	/* the caller has another reference */
	kfree(d);
}

static struct dentry *izo_find_lower(struct izo_log *log, const struct izo_lml_entry *e)
{
	struct super_block *lower = izo_lower_sb(log->sb);
	struct fid fid = {
		.i32.ino = le64_to_cpu(e->ino),
		.i32.gen = le32_to_cpu(e->generation),
	};

	if (!lower->s_export_op || !lower->s_export_op->fh_to_dentry || !e->generation)
		return ERR_PTR(-ESTALE);
	return lower->s_export_op->fh_to_dentry(lower, &fid, 2, FILEID_INO32_GEN);
}

/* A CLOSE for a file that was listed when the machine stopped; one that is gone needs none. */
static int izo_recover_entry(struct izo_log *log, const struct izo_lml_entry *e)
{
	struct izo_ctx ctx = { .sb = log->sb, .shared = true };
	struct dentry *dentry = izo_find_lower(log, e);
	int err = 0;

	if (IS_ERR_OR_NULL(dentry))
		return 0;
	ctx.change.op = IZO_KML_CLOSE;
	ctx.change.flags = IZO_KML_RECOVERED | IZO_KML_WHOLE;
	ctx.change.lower = dentry;
	ctx.change.fid = &e->fid;
	ctx.change.seen = le64_to_cpu(e->seen);
	if (d_is_reg(dentry) && d_inode(dentry)->i_nlink) {
		err = mnt_want_write(izo_sb(log->sb)->lower_mnt);
		if (!err) {
			err = izo_log_begin_in(&ctx, log);
			if (!err)
				err = izo_log_end(&ctx, 0);
			mnt_drop_write(izo_sb(log->sb)->lower_mnt);
		}
	}
	dput(dentry);
	return err;
}

static bool izo_entry_ok(const struct izo_log *log, const struct izo_lml_entry *e)
{
	return le32_to_cpu(e->magic) == IZO_LML_MAGIC && le64_to_cpu(e->epoch) == log->epoch &&
	       izo_crc_matches(e, sizeof(*e), &e->crc);
}

/**
 * izo_lml_recover - give every file that was listed when the machine stopped a CLOSE
 * @log: the log, not shared yet
 *
 * Context: s_umount held; the cache is read-write.
 * Return: 0 or a negative errno.
 */
int izo_lml_recover(struct izo_log *log)
{
	unsigned int recovered = 0;
	int err = 0;

	for (unsigned int slot = 0; slot < log->nslots && !err; slot++) {
		struct izo_lml_entry e;

		err = log->ops->read(log, &log->lml, slot * sizeof(e), &e, sizeof(e));
		if (err || !memchr_inv(&e, 0, sizeof(e)))
			continue;
		if (izo_entry_ok(log, &e)) {
			err = izo_recover_entry(log, &e);
			recovered++;
		}
		__set_bit(slot, log->slots);
		__set_bit(slot, log->stale);
	}
	if (recovered)
		pr_info("%s: %u files were being changed when the machine stopped\n",
			log->sb->s_id, recovered);
	if (!err)
		izo_free_stale(log);
	return err;
}
