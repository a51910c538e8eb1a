// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of files whose contents may differ from what the log says (LML): its entries on the
 * cache, the worker that frees them, and what is made of them after a crash.
 *
 * Data is not logged. Before a body first changes, an entry for it is committed with, or before,
 * the change; when nobody can change it any more a CLOSE says what changed (body.c); the entry
 * stays until the data is on the medium. After a crash every file listed gets a CLOSE when the
 * fileset next becomes read-write.
 */

#include <linux/bitmap.h>
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

/*
 * A change of a listed file begins, or is begun again by @begun's; lml_lock is held. A mapping is
 * noted in the same hold of i_lock as the change, so that izo_lml_end_change() sees both or none.
 */
static void izo_begin_change(struct izo_dirty *d, const struct izo_dirty *begun)
{
	spin_lock(&d->inode->i_lock);
	d->open = true;
	izo_i(d->inode)->body_changes++;
	if (begun->mapped && !d->mapped) {
		d->mapped = true;
		d->version = begun->version;
	}
	spin_unlock(&d->inode->i_lock);
}

/* lml_lock is held. */
static void izo_link_dirty(struct izo_log *log, struct izo_dirty *d)
{
	ihold(d->inode);
	list_add_tail(&d->link, &log->dirty);
	log->ndirty++;
	spin_lock(&d->inode->i_lock);
	izo_i(d->inode)->dirty = d;
	izo_i(d->inode)->body_changes++;
	spin_unlock(&d->inode->i_lock);
}

/*
 * List a file, within a handle; the lock is not held while the entry is written, which may have to
 * wait for the journal. *@d is NULL if it was taken over. Returns -EAGAIN with no entry free.
 */
static int izo_lml_add(struct izo_ctx *ctx, struct izo_dirty **d)
{
	struct izo_log *log = ctx->log;
	struct izo_dirty *new = *d, *old;
	int err;

	mutex_lock(&log->lml_lock);
	old = izo_i(new->inode)->dirty;
	if (old)
		izo_begin_change(old, new);
	else
		new->slot = izo_take_slot(log, ctx->tid);
	mutex_unlock(&log->lml_lock);
	if (old)
		return 0;
	if (new->slot == log->nslots)
		return -EAGAIN;
	new->open = true;
	new->tid = ctx->tid;
	new->seen = ctx->change.seen;
	new->was_empty = !i_size_read(izo_lower(new->inode));
	new->wb_err = filemap_sample_wb_err(izo_lower(new->inode)->i_mapping);
	err = izo_put_entry(ctx, new);

	mutex_lock(&log->lml_lock);
	old = izo_i(new->inode)->dirty;
	if (err || old) {
		/* an error, or somebody else was faster: the entry is one too many */
		__set_bit(new->slot, log->stale);
		if (!err)
			izo_begin_change(old, new);
	} else {
		izo_link_dirty(log, new);
		*d = NULL;
	}
	mutex_unlock(&log->lml_lock);
	return err;
}

/* Take a file off the list; lml_lock is held. Its reference is the caller's now. */
static void izo_unlink_dirty(struct izo_log *log, struct izo_dirty *d)
{
	spin_lock(&d->inode->i_lock);
	izo_i(d->inode)->dirty = NULL;
	spin_unlock(&d->inode->i_lock);
	list_del(&d->link);
	log->ndirty--;
}

/* Likewise, and its entry is used again once it is free on the cache too. */
static void izo_lml_del(struct izo_log *log, struct izo_dirty *d)
{
	izo_unlink_dirty(log, d);
	__set_bit(d->slot, log->stale);
}

static void izo_free_dirty(struct list_head *done)
{
	struct izo_dirty *d, *next;

	list_for_each_entry_safe(d, next, done, link) {
		iput(d->inode);
		kfree(d);
	}
}

/*
 * Zero the stale entries of one block on the cache. They are nobody's until then: lml_lock is not
 * held while they are written, which may have to wait for the journal. free_lock is held: a second
 * caller would zero what was handed out again meanwhile.
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

/*
 * An entry left behind costs a CLOSE too many after a crash, no more: errors are the journal's.
 * Freezing of the cache is held off.
 */
static void izo_free_stale(struct izo_log *log)
{
	unsigned int per_block = izo_per_block(log), slot = 0;

	mutex_lock(&log->free_lock);
	for (;;) {
		mutex_lock(&log->lml_lock);
		slot = find_next_bit(log->stale, log->nslots, slot);
		mutex_unlock(&log->lml_lock);
		if (slot >= log->nslots || izo_free_block(log, slot / per_block))
			break;
		slot = round_down(slot, per_block) + per_block;
		cond_resched();
	}
	mutex_unlock(&log->free_lock);
}

static bool izo_is_written_out(const struct izo_dirty *d)
{
	struct address_space *mapping = izo_lower(d->inode)->i_mapping;

	return !mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) &&
	       !mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
}

/*
 * A page that could not be written is clean afterwards, and what the medium has is anybody's guess:
 * such a file stays listed until it is cut to nothing, or gets its CLOSE at the next mount.
 */
static bool izo_has_failed(const struct izo_dirty *d)
{
	return filemap_check_wb_err(izo_lower(d->inode)->i_mapping, d->wb_err);
}

static bool izo_is_closed(const struct izo_dirty *d)
{
	return !d->open && !d->closing;
}

/* Free the entries of files that are closed and on the medium. Freezing is held off. */
static void izo_free_clean(struct izo_log *log)
{
	struct izo_dirty *d, *next;
	LIST_HEAD(done);

	mutex_lock(&log->lml_lock);
	list_for_each_entry_safe(d, next, &log->dirty, link) {
		if (!izo_is_closed(d) || !izo_is_written_out(d) || izo_has_failed(d))
			continue;
		izo_lml_del(log, d);
		list_add(&d->link, &done);
	}
	mutex_unlock(&log->lml_lock);
	izo_free_stale(log);
	izo_free_dirty(&done);
}

/*
 * References to up to IZO_LML_BATCH listed files of a kind, of the next *@left ones. The list is
 * turned on, so that no file can keep the others from their turn.
 */
static unsigned int izo_collect(struct izo_log *log, bool (*is_wanted)(const struct izo_dirty *d),
				unsigned int *left, struct inode **inodes)
{
	unsigned int count = 0;

	mutex_lock(&log->lml_lock);
	while (*left && count < IZO_LML_BATCH && !list_empty(&log->dirty)) {
		struct izo_dirty *d = list_first_entry(&log->dirty, struct izo_dirty, link);

		list_move_tail(&d->link, &log->dirty);
		--*left;
		if (!is_wanted(d))
			continue;
		ihold(d->inode);
		inodes[count++] = d->inode;
	}
	mutex_unlock(&log->lml_lock);
	return count;
}

/* Nobody can change it any more, but the CLOSE had to wait: it was mapped, frozen, or locked. */
static bool izo_waits_for_close(const struct izo_dirty *d)
{
	return d->open && !atomic_read(&izo_i(d->inode)->writers) &&
	       !mapping_writably_mapped(izo_lower(d->inode)->i_mapping);
}

static bool izo_waits_for_medium(const struct izo_dirty *d)
{
	return izo_is_closed(d) && !izo_is_written_out(d);
}

/* One CLOSE each for those that had to wait for it. @wait: for whoever has the file locked, too. */
static void izo_close_waiting(struct izo_log *log, bool wait)
{
	struct inode *inodes[IZO_LML_BATCH];
	unsigned int left = READ_ONCE(log->ndirty), count;

	do {
		izo_log_await_room(log->sb);
		count = izo_collect(log, izo_waits_for_close, &left, inodes);
		for (unsigned int i = 0; i < count; i++) {
			izo_body_close_late(inodes[i], wait);
			iput(inodes[i]);
		}
	} while (count);
}

/*
 * Have the next batch of closed files written out, of the next *@left listed ones. Their errors are
 * theirs: izo_has_failed(). Returns how many there were.
 */
static unsigned int izo_write_out(struct izo_log *log, unsigned int *left, bool wait)
{
	struct inode *inodes[IZO_LML_BATCH];
	unsigned int count = izo_collect(log, izo_waits_for_medium, left, inodes);

	for (unsigned int i = 0; i < count; i++)
		if (!izo_body_entry_commit(inodes[i], false))
			filemap_flush(izo_lower(inodes[i])->i_mapping);
	for (unsigned int i = 0; i < count; i++) {
		struct address_space *mapping = izo_lower(inodes[i])->i_mapping;

		if (wait && !filemap_fdatawrite(mapping))
			filemap_fdatawait_keep_errors(mapping);
		iput(inodes[i]);
	}
	return count;
}

static bool izo_lml_has_room(struct izo_log *log)
{
	bool has;

	mutex_lock(&log->lml_lock);
	has = !bitmap_full(log->slots, log->nslots);
	mutex_unlock(&log->lml_lock);
	return has;
}

/* Is every entry that of a file being changed at this moment, or of one that cannot be written? */
static bool izo_lml_is_full(struct izo_log *log)
{
	struct izo_dirty *d;
	bool full;

	mutex_lock(&log->lml_lock);
	full = bitmap_full(log->slots, log->nslots) && bitmap_empty(log->stale, log->nslots);
	list_for_each_entry(d, &log->dirty, link)
		if (!d->open && !izo_has_failed(d))
			full = false;
	mutex_unlock(&log->lml_lock);
	return full;
}

/*
 * All entries are taken: write out what is closed, and free its entries. Where all of them are in
 * use the log ends, as it does without room for a record: the change must not fail for it. Freezing
 * is held off.
 */
static void izo_lml_make_room(struct izo_log *log)
{
	unsigned int left = READ_ONCE(log->ndirty), count;

	do {
		izo_free_clean(log);
		if (izo_lml_has_room(log))
			return;
		count = izo_write_out(log, &left, true);
	} while (count);
	if (izo_lml_is_full(log))
		izo_log_overflow(log, "more files are being changed at once than it can list");
	else
		cond_resched();
}

static bool izo_lml_is_filling(const struct izo_log *log)
{
	return READ_ONCE(log->ndirty) > log->nslots / 2;
}

/**
 * izo_lml_work - write what had to wait, free what is done (work item)
 * @work: in the log
 *
 * No file is waited for: one that is removed meanwhile would keep a remount to read-only waiting
 * for the reference.
 */
void izo_lml_work(struct work_struct *work)
{
	struct izo_log *log = container_of(work, struct izo_log, lml_work.work);
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	unsigned int left = READ_ONCE(log->ndirty);
	unsigned long next = IZO_LML_INTERVAL;
	bool more;

	izo_close_waiting(log, false);
	/* in time, so that nobody has to wait for an entry */
	while (izo_lml_is_filling(log) && izo_write_out(log, &left, false))
		next = HZ / 10;
	if (!mnt_want_write(mnt)) {
		izo_free_clean(log);
		mnt_drop_write(mnt);
	}
	mutex_lock(&log->lml_lock);
	more = log->ndirty || !bitmap_empty(log->stale, log->nslots);
	mutex_unlock(&log->lml_lock);
	if (more && !test_bit(IZO_LOG_STOPPED, &log->state))
		queue_delayed_work(system_unbound_wq, &log->lml_work, next);
}

/**
 * izo_lml_kick - have the worker look at the list at once
 * @log: the log
 */
void izo_lml_kick(struct izo_log *log)
{
	if (!test_bit(IZO_LOG_STOPPED, &log->state))
		mod_delayed_work(system_unbound_wq, &log->lml_work, 0);
}

/**
 * izo_lml_settle - nobody writes any more: close and free everything
 * @log: the log, which can grow still
 *
 * What an error leaves, or a cache that has become read-only by itself, stays listed: it is seen to
 * when the mount is read-write again, or by the next mount.
 *
 * Context: the mount is becoming read-only or is being ended; s_umount held.
 */
void izo_lml_settle(struct izo_log *log)
{
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	unsigned int left;

	cancel_delayed_work_sync(&log->lml_work);
	izo_close_waiting(log, true);
	left = READ_ONCE(log->ndirty);
	while (izo_write_out(log, &left, true))
		cond_resched();
	if (!mnt_want_write(mnt)) {
		izo_free_clean(log);
		mnt_drop_write(mnt);
	}
}

/**
 * izo_lml_drop - let go of all files that are listed still; their entries stay on the cache
 * @log: the log; after izo_lml_settle(), and for good
 */
void izo_lml_drop(struct izo_log *log)
{
	LIST_HEAD(done);

	mutex_lock(&log->lml_lock);
	while (!list_empty(&log->dirty)) {
		struct izo_dirty *d = list_first_entry(&log->dirty, struct izo_dirty, link);

		izo_unlink_dirty(log, d);
		list_add(&d->link, &done);
	}
	mutex_unlock(&log->lml_lock);
	izo_free_dirty(&done);
}

/* A change of a body begins, in a handle of its own. -EAGAIN: all entries are taken. */
static int izo_lml_list_once(struct izo_ctx *ctx, bool mapped)
{
	struct inode *inode = ctx->change.object, *lower = izo_lower(inode);
	struct izo_dirty *d = kzalloc(sizeof(*d), GFP_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	d->inode = inode;
	d->mapped = mapped;
	if (mapped && IS_I_VERSION(lower))
		d->version = inode_query_iversion(lower);
	err = izo_log_begin(ctx);
	if (!err && ctx->log && ctx->reserved) {
		struct izo_log *log = ctx->log;

		err = izo_lml_add(ctx, &d);
		if (!d && !test_bit(IZO_LOG_STOPPED, &log->state))
			queue_delayed_work(system_unbound_wq, &log->lml_work, IZO_LML_INTERVAL);
		if (!d && izo_lml_is_filling(log))
			izo_lml_kick(log);
	}
	err = izo_log_end(ctx, err);
	kfree(d);
	return err;
}

/**
 * izo_lml_list - a change of a body begins: list the file, if it is not listed
 * @ctx: its object is the file, whose FID is known
 * @mapped: it is about to get a shared mapping that can be written
 *
 * Context: freezing of the cache is held off; no handle. May wait for other files to be written.
 * Return: 0, the file is listed or the log has ended; or a negative errno.
 */
int izo_lml_list(struct izo_ctx *ctx, bool mapped)
{
	int err;

	for (;;) {
		err = izo_lml_list_once(ctx, mapped);
		if (err != -EAGAIN)
			return err;
		izo_lml_make_room(izo_sb(ctx->sb)->log);
	}
}

/**
 * izo_lml_end_change - end the change of a body that nobody can go on with
 * @inode: upper inode, locked
 * @change: result: what changed
 *
 * Whoever opens the file for writing or maps it raises ->writers before he looks whether a change
 * has begun already; so either it does not end here, or he begins another.
 *
 * Return: true, and izo_lml_change_ended() must follow; false: there is none, or it goes on.
 */
bool izo_lml_end_change(struct inode *inode, struct izo_dirty *change)
{
	struct izo_log *log = izo_sb(inode->i_sb)->log;
	struct izo_dirty *d;
	bool ends;

	mutex_lock(&log->lml_lock);
	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	ends = d && izo_waits_for_close(d);
	if (ends) {
		*change = *d;
		d->open = false;
		d->closing = true;
		d->mapped = false;
		d->written = false;
		d->truncated = false;
		d->whole = false;
		d->awaited = false;
		d->nranges = 0;
	}
	spin_unlock(&inode->i_lock);
	mutex_unlock(&log->lml_lock);
	return ends;
}

/**
 * izo_lml_change_ended - the CLOSE is written, or could not be
 * @inode: upper inode, locked
 * @change: as izo_lml_end_change() gave it
 * @recorded: else the change goes on, and another may have joined it
 */
void izo_lml_change_ended(struct inode *inode, const struct izo_dirty *change, bool recorded)
{
	struct izo_log *log = izo_sb(inode->i_sb)->log;
	struct izo_dirty *d;

	mutex_lock(&log->lml_lock);
	/* neither izo_free_clean() nor, with the inode locked, izo_body_gone() has freed it */
	d = izo_i(inode)->dirty;
	spin_lock(&inode->i_lock);
	d->closing = false;
	if (!recorded) {
		d->open = true;
		d->written = true;
		d->whole = true;
		d->truncated |= change->truncated;
	}
	spin_unlock(&inode->i_lock);
	mutex_unlock(&log->lml_lock);
	/* pairs with izo_object_body() */
	smp_mb();
	wake_up_var(inode);
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
	const struct izo_sb *sbi = izo_sb(log->sb);

	if (!sbi->config.cache->find)
		return ERR_PTR(-ESTALE);
	return sbi->config.cache->find(sbi->lower_mnt, le64_to_cpu(e->ino),
				       le32_to_cpu(e->generation));
}

/*
 * A CLOSE for a file that was listed when the machine stopped; one that is gone needs none. Returns
 * 0, 1 if the file cannot be read now, or a negative errno.
 */
static int izo_recover_entry(struct izo_log *log, const struct izo_lml_entry *e)
{
	struct izo_ctx ctx = { .sb = log->sb, .shared = true };
	struct dentry *dentry = izo_find_lower(log, e);
	int err = PTR_ERR_OR_ZERO(dentry);

	if (!dentry || err == -ESTALE || err == -ENOENT)
		return 0;
	if (err) {
		pr_warn("%s: inode %llu was being changed when the machine stopped and cannot be read (error %d): it stays listed until a later mount\n",
			log->sb->s_id, le64_to_cpu(e->ino), err);
		return 1;
	}
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

/* An inode that is listed: an object whose body was replaced has another one since. */
struct izo_listed {
	__le64 ino;
	__le32 generation;
};

static bool izo_is_among(const struct izo_listed *seen, unsigned int count,
			 const struct izo_lml_entry *e)
{
	while (count--)
		if (seen[count].ino == e->ino && seen[count].generation == e->generation)
			return true;
	return false;
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
	struct izo_listed *seen = kvmalloc_array(log->nslots, sizeof(*seen), GFP_KERNEL);
	unsigned int recovered = 0;
	int err = seen ? 0 : -ENOMEM;

	for (unsigned int slot = 0; slot < log->nslots && !err; slot++) {
		struct izo_lml_entry e;
		int kept = 0;

		err = log->ops->read(log, &log->lml, slot * sizeof(e), &e, sizeof(e));
		if (err || !memchr_inv(&e, 0, sizeof(e)))
			continue;
		/* beside the newest there may be one too many, or one that was to be freed */
		if (izo_entry_ok(log, &e) && !izo_is_among(seen, recovered, &e)) {
			kept = izo_recover_entry(log, &e);
			err = min(kept, 0);
			seen[recovered++] = (struct izo_listed){ e.ino, e.generation };
		}
		__set_bit(slot, log->slots);
		if (kept <= 0)
			__set_bit(slot, log->stale);
	}
	kvfree(seen);
	if (recovered)
		pr_info("%s: %u files were being changed when the machine stopped\n",
			log->sb->s_id, recovered);
	if (!err)
		err = mnt_want_write(izo_sb(log->sb)->lower_mnt);
	if (!err) {
		izo_free_stale(log);
		mnt_drop_write(izo_sb(log->sb)->lower_mnt);
	}
	return err;
}
