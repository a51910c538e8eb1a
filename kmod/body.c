// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of bodies: where one begins the file is listed (lml.c), what changes is noted, and where
 * it ends, with the last writer and the last mapping gone, a CLOSE says what changed.
 *
 * A shared mapping that can be written counts as a change for as long as it lives: nothing tells
 * of single stores (docs/decisions/0008-shared-mappings.md).
 */

#include <linux/iversion.h>
#include <linux/pagemap.h>
#include "intermezzo.h"
#include "log.h"

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

/**
 * izo_is_being_written - can somebody change the body?
 * @inode: upper inode
 */
bool izo_is_being_written(const struct inode *inode)
{
	return atomic_read(&izo_i(inode)->writers) ||
	       mapping_writably_mapped(izo_lower(inode)->i_mapping);
}

static void izo_body_ctx(struct izo_ctx *ctx, struct inode *inode)
{
	izo_ctx_local(ctx, inode->i_sb);
	ctx->shared = izo_class_is_shared(inode->i_sb, izo_i(inode)->class);
	ctx->change.object = inode;
}

static int izo_list_body(struct izo_ctx *ctx)
{
	struct vfsmount *mnt = izo_sb(ctx->sb)->lower_mnt;
	int err;

	izo_log_await_room(ctx->sb);
	err = mnt_want_write(mnt);
	if (err)
		return err;
	err = izo_find_fids(ctx);
	if (!err)
		err = izo_lml_list(ctx, false);
	mnt_drop_write(mnt);
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
	return nowait ? -EAGAIN : izo_list_body(&ctx);
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
		err = izo_list_body(&ctx);
	izo_body_changed(inode, 0, 0);
	return err;
}

/*
 * Is the file's change noted as one by a mapping? In one hold of i_lock: a change that is about to
 * end must be seen as going on, or another begun.
 */
static bool izo_join_mapped(struct inode *inode)
{
	struct inode *lower = izo_lower(inode);
	u64 version = IS_I_VERSION(lower) ? inode_query_iversion(lower) : 0;
	struct izo_dirty *d;
	bool joined;

	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	joined = d && d->open;
	if (joined && !d->mapped) {
		d->mapped = true;
		d->version = version;
	}
	spin_unlock(&inode->i_lock);
	return joined;
}

/* As izo_list_body(), with mmap_lock held: a page fault may hold off freezing, a write may not. */
static int izo_list_mapped(struct izo_ctx *ctx)
{
	struct super_block *lower_sb = izo_lower_sb(ctx->sb);
	int err;

	izo_log_await_room(ctx->sb);
	sb_start_pagefault(lower_sb);
	err = mnt_get_write_access(izo_sb(ctx->sb)->lower_mnt);
	if (!err) {
		err = izo_lml_list(ctx, true);
		mnt_put_write_access(izo_sb(ctx->sb)->lower_mnt);
	}
	sb_end_pagefault(lower_sb);
	return err;
}

/**
 * izo_body_mapped - a file gets a shared mapping that can be written
 * @inode: upper inode, open for writing by the caller
 *
 * msync(2) goes past us to the cache's file: the entry is committed here.
 *
 * Context: mmap_lock held.
 * Return: 0 or a negative errno: it must not be mapped.
 */
int izo_body_mapped(struct inode *inode)
{
	struct izo_ctx ctx;
	int err = izo_log_check(inode->i_sb);

	izo_body_ctx(&ctx, inode);
	if (err || !ctx.shared || !inode->i_nlink)
		return err;
	if (!izo_join_mapped(inode)) {
		err = izo_find_fids(&ctx);
		if (!err)
			err = izo_list_mapped(&ctx);
	}
	return err ? err : izo_body_entry_commit(inode, false);
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
	struct izo_dirty *d;

	if (from < to)
		izo_body_changed(inode, from, to);
	else
		izo_body_changed(inode, 0, 0);
	if (to)
		return;
	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	if (d) {
		d->truncated = true;
		/* what could not be written is gone */
		d->wb_err = filemap_sample_wb_err(izo_lower(inode)->i_mapping);
	}
	spin_unlock(&inode->i_lock);
}

/* Mapped and never stored into: as if it had not been listed, unless somebody knows that it was. */
static bool izo_is_unchanged(const struct izo_dirty *change)
{
	const struct izo_cache_type *cache = izo_sb(change->inode->i_sb)->config.cache;
	struct inode *lower = izo_lower(change->inode);

	return change->mapped && !change->written && !change->awaited && IS_I_VERSION(lower) &&
	       !cache->misses_stores && inode_query_iversion(lower) == change->version;
}

static int izo_record_close(struct inode *inode, struct izo_dirty *change, struct dentry *hint)
{
	struct izo_ctx ctx;
	int err;

	izo_body_ctx(&ctx, inode);
	ctx.can_wait = true;
	ctx.change.op = IZO_KML_CLOSE;
	ctx.change.dirty = change;
	ctx.change.hint = hint;
	if (change->mapped)
		change->whole = true;
	/* as izo_flush_truncated(): its last writer may have gone only since */
	if (change->truncated)
		filemap_flush(izo_lower(inode)->i_mapping);
	err = izo_log_begin(&ctx);
	return err ? err : izo_log_end(&ctx, 0);
}

/*
 * noauto_da_alloc keeps ext4 from writing out what was cut to nothing in a handle of ours. Before
 * the change ends, as whoever looks at the file then waits for its CLOSE. The inode is locked.
 */
static void izo_flush_truncated(struct inode *inode)
{
	struct izo_dirty *d;
	bool truncated;

	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	truncated = d && d->open && d->truncated;
	spin_unlock(&inode->i_lock);
	if (truncated && !izo_is_being_written(inode))
		filemap_flush(izo_lower(inode)->i_mapping);
}

/* The inode is locked; freezing of the cache is held off. */
static void izo_close_locked(struct inode *inode, struct dentry *hint)
{
	struct izo_dirty change;
	int err = 0;

	izo_flush_truncated(inode);
	if (!izo_lml_end_change(inode, &change))
		return;
	if (inode->i_nlink && !izo_is_unchanged(&change))
		err = izo_record_close(inode, &change, hint);
	izo_lml_change_ended(inode, &change, !err);
	/* the worker can wait for the log to grow */
	if (err == -EAGAIN)
		izo_lml_kick(izo_sb(inode->i_sb)->log);
}

/* Unless the cache is frozen or cannot be written. The inode is locked. */
static void izo_close_unfrozen(struct inode *inode, struct dentry *hint)
{
	struct super_block *lower = izo_lower_sb(inode->i_sb);

	if (!sb_start_write_trylock(lower))
		return;
	if (!mnt_get_write_access(izo_sb(inode->i_sb)->lower_mnt)) {
		izo_close_locked(inode, hint);
		mnt_put_write_access(izo_sb(inode->i_sb)->lower_mnt);
	}
	sb_end_write(lower);
}

/**
 * izo_body_closed - the last writer is gone, perhaps: end the change of the body with a CLOSE
 * @inode: upper inode, not locked
 * @hint: a name of it, or NULL
 *
 * What cannot be done now (frozen, still mapped, no room until the log has grown) the log's worker
 * does later.
 */
void izo_body_closed(struct inode *inode, struct dentry *hint)
{
	if (!izo_is_changing(inode))
		return;
	inode_lock(inode);
	izo_close_unfrozen(inode, hint);
	inode_unlock(inode);
}

/**
 * izo_body_close_late - a CLOSE that had to wait
 * @inode: upper inode, not locked
 * @wait: for a lock that a writer may hold while a page fault of his waits for anything
 */
void izo_body_close_late(struct inode *inode, bool wait)
{
	if (wait)
		inode_lock(inode);
	else if (!inode_trylock(inode))
		return;
	izo_close_unfrozen(inode, NULL);
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

	if (!izo_is_changing(inode))
		return;
	izo_log_await_room(inode->i_sb);
	if (mnt_want_write(mnt))
		return;
	izo_close_locked(inode, hint);
	mnt_drop_write(mnt);
}
