// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of files whose contents may differ from what the log says (LML): its entries on the
 * cache, the worker that frees them, and what is made of them after a crash.
 *
 * Data is not logged. Before a body first changes, an entry for it is committed with, or before,
 * the change; when the last writer has closed the file a CLOSE says what changed (body.c); the
 * entry stays until the data is on the medium. After a crash every file listed gets a CLOSE when
 * the fileset next becomes read-write.
 */

#include <linux/bitmap.h>
#include <linux/exportfs.h>
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

/**
 * izo_lml_make_room - all entries are taken: write out what is closed, and free its entries
 * @log: the log
 *
 * Return: -EAGAIN if there may be one now, or another negative errno.
 */
int izo_lml_make_room(struct izo_log *log)
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

/**
 * izo_lml_list - list a file, in a handle of its own
 * @ctx: its object is the file, whose FID is known
 * @inode: the file
 *
 * Context: freezing of the cache is held off; no handle.
 * Return: 0; -EAGAIN with no entry free; another negative errno.
 */
int izo_lml_list(struct izo_ctx *ctx, struct inode *inode)
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
