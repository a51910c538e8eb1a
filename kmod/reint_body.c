// SPDX-License-Identifier: GPL-2.0-only
/*
 * A new body, whole: a nameless file that the daemon has filled takes all names of the old one, in
 * one transaction. Whoever has the old file open, or mapped, keeps it, as after an editor's save.
 *
 * Names in several directories are taken with all of these locked: under s_vfs_rename_mutex, which
 * keeps the tree as it is, an ancestor before what is below it, as every other order there is.
 */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fileattr.h>
#include <linux/filelock.h>
#include <linux/fsnotify.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

/* A name of the old file: its directory and dentry, above and below. */
struct izo_body_name {
	const struct izo_ref *ref;
	struct dentry *dir;
	struct dentry *dentry;
	struct izo_name lower;
	struct dentry *lower_fresh;	/* for the new file */
	struct timespec64 dir_mtime;
	unsigned int depth;
};

/* Names are sorted by their directories' depth, then by directory: equal ones are neighbours. */
struct izo_body {
	struct izo_step *step;
	struct file *file;
	struct inode *old;
	struct inode *new;
	unsigned int count;
	bool several;		/* directories */
	struct izo_body_name names[] __counted_by(count);
};

static int izo_body_order(const void *a, const void *b)
{
	const struct izo_body_name *one = a, *two = b;

	if (one->depth != two->depth)
		return one->depth < two->depth ? -1 : 1;
	return one->dir < two->dir ? -1 : one->dir > two->dir;
}

static bool izo_is_first_in_dir(const struct izo_body *b, unsigned int i)
{
	return !i || b->names[i].dir != b->names[i - 1].dir;
}

static void izo_body_free(struct izo_body *b)
{
	for (unsigned int i = 0; i < b->count; i++) {
		dput(b->names[i].dentry);
		dput(b->names[i].lower_fresh);
		dput(b->names[i].lower.child);
		dput(b->names[i].lower.dir);
		dput(b->names[i].dir);
	}
	if (b->file)
		fput(b->file);
	kfree(b);
}

/* Is it a file of ours that has no name, and may get one? */
static bool izo_is_nameless(const struct inode *inode)
{
	return !inode->i_nlink && READ_ONCE(inode->i_state) & I_LINKABLE;
}

static bool izo_is_body(struct izo_step *step, struct file *file)
{
	struct inode *inode = file_inode(file);

	return file->f_op == &izo_file_operations && inode->i_sb == step->batch->sb &&
	       izo_is_nameless(inode) && izo_class_is_shared(inode->i_sb, izo_i(inode)->class);
}

/* Locked, it is asked once more; and whether it can change, or has, since it was written out. */
static bool izo_is_body_still(const struct inode *inode)
{
	struct address_space *mapping = izo_lower(inode)->i_mapping;

	return izo_is_nameless(inode) && !izo_is_being_written(inode) &&
	       !mapping_tagged(mapping, PAGECACHE_TAG_DIRTY) &&
	       !mapping_tagged(mapping, PAGECACHE_TAG_WRITEBACK);
}

static int izo_body_find_dirs(struct izo_body *b)
{
	const struct izo_ref *names = (const void *)b->step->op + b->step->op->names;

	for (unsigned int i = 0; i < b->count; i++) {
		struct dentry *dir;
		int err = izo_reint_find_dir(b->step, &names[i], &dir);

		if (err)
			return err;
		b->names[i].dir = dir;
		b->names[i].ref = &names[i];
	}
	return 0;
}

/*
 * A name for what a crash would take away is no body. Where the journal is on the cache's own
 * device, the commit that makes the name permanent comes behind the data that is out and behind
 * what maps it, and flushes the device; elsewhere, and where data goes through the journal, fsync.
 */
static int izo_body_write_out(const struct izo_step *step, struct file *file)
{
	journal_t *journal = step->batch->log->journal;
	struct file *lower = izo_lower_file(file);
	int err;

	if (!journal || journal->j_fs_dev != journal->j_dev ||
	    jbd2_has_feature_async_commit(journal))
		return vfs_fsync(file, 0);
	err = file_write_and_wait_range(lower, 0, LLONG_MAX);
	if (err || !mapping_tagged(lower->f_mapping, PAGECACHE_TAG_DIRTY))
		return err;
	return vfs_fsync(file, 0);
}

static struct izo_body *izo_body_get(struct izo_step *step, int *err)
{
	const struct izo_reint_op *op = step->op;
	struct izo_body *b = kzalloc(struct_size(b, names, op->nnames), GFP_KERNEL);

	if (!b) {
		*err = -ENOMEM;
		return NULL;
	}
	b->step = step;
	b->count = op->nnames;
	b->file = fget(op->body);
	*err = IZO_REINT_REFUSED;
	if (b->file && izo_is_body(step, b->file)) {
		b->new = file_inode(b->file);
		*err = izo_body_write_out(step, b->file);
		if (!*err)
			*err = izo_body_find_dirs(b);
	}
	if (!*err)
		return b;
	izo_body_free(b);
	return NULL;
}

static void izo_lock_one(struct inode *dir, struct super_block *sb, bool several)
{
	if (several)
		down_write_nest_lock(&dir->i_rwsem, &sb->s_vfs_rename_mutex);
	else
		inode_lock_nested(dir, I_MUTEX_PARENT);
}

static void izo_body_lock_dirs(struct izo_body *b)
{
	struct super_block *sb = b->step->batch->sb;

	for (unsigned int i = 1; i < b->count; i++)
		b->several |= b->names[i].dir != b->names[0].dir;
	if (b->several) {
		mutex_lock(&sb->s_vfs_rename_mutex);
		for (unsigned int i = 0; i < b->count; i++)
			b->names[i].depth = izo_depth(b->names[i].dir);
	}
	sort(b->names, b->count, sizeof(*b->names), izo_body_order, NULL);
	for (unsigned int i = 0; i < b->count; i++)
		if (izo_is_first_in_dir(b, i))
			izo_lock_one(d_inode(b->names[i].dir), sb, b->several);
}

static void izo_body_unlock_dirs(struct izo_body *b)
{
	for (unsigned int i = b->count; i--;)
		if (izo_is_first_in_dir(b, i))
			inode_unlock(d_inode(b->names[i].dir));
	if (b->several)
		mutex_unlock(&b->step->batch->sb->s_vfs_rename_mutex);
}

static void izo_body_lock_lower_dirs(struct izo_body *b)
{
	struct super_block *lower_sb = izo_lower_sb(b->step->batch->sb);
	struct izo_log *log = b->step->batch->log;

	if (b->several)
		mutex_lock(&lower_sb->s_vfs_rename_mutex);
	for (unsigned int i = 0; i < b->count; i++)
		if (izo_is_first_in_dir(b, i))
			izo_lock_one(izo_lower(d_inode(b->names[i].dir)), lower_sb, b->several);
	/* where a body passes through; nothing that is shared lies above or below, but the root */
	if (!log->journal)
		inode_lock_nested(d_inode(log->dir), I_MUTEX_PARENT2);
}

static void izo_body_unlock_lower_dirs(struct izo_body *b)
{
	struct super_block *lower_sb = izo_lower_sb(b->step->batch->sb);
	struct izo_log *log = b->step->batch->log;

	if (!log->journal)
		inode_unlock(d_inode(log->dir));
	for (unsigned int i = b->count; i--;)
		if (izo_is_first_in_dir(b, i))
			inode_unlock(izo_lower(d_inode(b->names[i].dir)));
	if (b->several)
		mutex_unlock(&lower_sb->s_vfs_rename_mutex);
}

static bool izo_body_has(const struct izo_body *b, unsigned int count, const struct dentry *dentry)
{
	for (unsigned int i = 0; i < count; i++)
		if (b->names[i].dentry == dentry)
			return true;
	return false;
}

/* The names must be all that there are, each once. The upper directories are locked. */
static int izo_body_look_up(struct izo_body *b)
{
	for (unsigned int i = 0; i < b->count; i++) {
		struct izo_body_name *n = &b->names[i];
		const char *name = (const char *)b->step->op + n->ref->name;
		struct dentry *dentry;

		if (IS_DEADDIR(d_inode(n->dir)))
			return IZO_REINT_MISSING;
		dentry = lookup_one_len(name, n->dir, n->ref->name_len);
		/* btrfs: the name is another subvolume's now */
		if (dentry == ERR_PTR(-EXDEV))
			return IZO_REINT_NEED_NAME;
		if (IS_ERR(dentry))
			return PTR_ERR(dentry);
		n->dentry = dentry;
		if (d_really_is_negative(dentry) ||
		    !izo_ref_is(b->step, &b->step->op->object, d_inode(dentry)))
			return IZO_REINT_NEED_NAME;
		if (izo_body_has(b, i, dentry))
			return IZO_REINT_REFUSED;
	}
	b->old = d_inode(b->names[0].dentry);
	if (!S_ISREG(b->old->i_mode))
		return IZO_REINT_TYPE;
	return b->old->i_nlink == b->count ? 0 : IZO_REINT_NEED_NAME;
}

/* The same below. The lower directories are locked. */
static int izo_body_look_up_lower(struct izo_body *b)
{
	struct izo_log *log = b->step->batch->log;

	/* where a body passes through: one that came to nothing may be left there */
	if (!log->journal) {
		int err = izo_area_remove_locked(log, IZO_BODY_NAME);

		if (err)
			return err;
	}
	for (unsigned int i = 0; i < b->count; i++) {
		struct izo_body_name *n = &b->names[i];
		struct dentry *child;
		int err;

		n->lower.dir = izo_lower_dentry(d_inode(n->dir));
		child = izo_lower_lookup_locked(b->step->batch->sb, n->lower.dir,
						&n->dentry->d_name);
		if (IS_ERR(child))
			return PTR_ERR(child);
		n->lower.child = child;
		n->dir_mtime = inode_get_mtime(izo_lower(d_inode(n->dir)));
		err = izo_name_is(&n->lower, b->old);
		if (!err)
			err = izo_lower_prepare_name(log, &n->lower, &n->lower_fresh);
		if (err)
			return err;
	}
	return 0;
}

/*
 * A directory whose project its files inherit takes no name of a file of another one, as the old
 * file may be which was there before.
 */
static bool izo_body_fits_project(const struct izo_body *b, unsigned int i, u32 projid)
{
	struct fileattr dir = { };

	return izo_lower_fileattr_get(d_inode(b->names[i].dir), &dir) ||
	       !(dir.flags & FS_PROJINHERIT_FL) || dir.fsx_projid == projid;
}

/* What of the names would keep the new file from having them? */
static int izo_body_may_take_names(const struct izo_body *b)
{
	struct fileattr old = { };
	bool known = !izo_lower_fileattr_get(b->old, &old);

	for (unsigned int i = 0; i < b->count; i++) {
		if (d_mountpoint(b->names[i].dentry))
			return IZO_REINT_MOUNTED;
		if (known && izo_is_first_in_dir(b, i) &&
		    !izo_body_fits_project(b, i, old.fsx_projid))
			return IZO_REINT_REFUSED;
	}
	/* another may have come while the file was not locked */
	return b->old->i_nlink == b->count ? 0 : IZO_REINT_NEED_NAME;
}

/* May the old body go? It is locked. */
static int izo_body_may_change(struct izo_body *b)
{
	const struct izo_recent_key key = {
		.inode = b->old, .aspects = IZO_ASPECT_BODY | IZO_ASPECT_EXISTENCE,
	};
	int err = izo_body_may_take_names(b);
	bool busy;

	if (err)
		return err;
	if (IS_IMMUTABLE(b->old) || IS_APPEND(b->old) || IS_SWAPFILE(izo_lower(b->old)) ||
	    !izo_is_body_still(b->new))
		return IZO_REINT_REFUSED;
	if (izo_i(b->new)->class != izo_i(b->old)->class)
		return IZO_REINT_CLASS;
	/* who opens it for writing from now on looks its name up again */
	WRITE_ONCE(izo_i(b->old)->replaced, true);
	smp_mb();	/* the mark before the count; pairs with izo_begin_writing() */
	busy = izo_is_being_written(b->old);
	/* asked after that: who mapped it and has gone since needed no lock to change it */
	if (izo_is_changing(b->old) || izo_reint_changed(b->step, &key, 1))
		return IZO_REINT_CHANGED;
	if (busy)
		return IZO_REINT_BUSY;
	err = break_lease(b->old, O_WRONLY | O_NONBLOCK);
	return err ? err : try_break_deleg(b->old, NULL);
}

/* A body does not change the times of its directories. */
static void izo_body_keep_times(struct izo_body *b)
{
	for (unsigned int i = 0; i < b->count; i++) {
		int err = 0;

		if (izo_is_first_in_dir(b, i))
			err = izo_lower_set_mtime(d_inode(b->names[i].dir),
						  &b->names[i].dir_mtime);
		if (err)
			b->step->remote.inexact = err;
	}
}

/* Every name; *taken says whether one was, if that fails. */
static int izo_body_take_each(struct izo_body *b, struct dentry *new, bool *taken)
{
	struct izo_log *log = b->step->batch->log;
	int err = 0;

	*taken = log->journal;
	for (unsigned int i = 0; i < b->count && !err; i++) {
		struct izo_body_name *n = &b->names[i];

		if (log->journal)
			err = izo_lower_take_name(new, &n->lower, n->lower_fresh);
		else
			err = izo_lower_replace_name(log, new, &n->lower, n->lower_fresh);
		*taken |= !err;
	}
	return err;
}

/* Within the handle: the FID, while it can still fail without harm; then the names. */
static int izo_body_take_names(struct izo_body *b, struct dentry *new)
{
	int err = izo_lower_set_fid(new, &b->step->remote.head->object);
	bool taken;

	if (err)
		return err;
	err = izo_body_take_each(b, new, &taken);
	if (!err)
		izo_body_keep_times(b);
	else if (taken)
		/* half of it cannot be undone, and must not be committed */
		izo_log_fail(b->step->batch->log, "a body could not be installed", err);
	else
		izo_lower_drop_fid(new);
	return err;
}

/* The lower directories are locked. */
static int izo_body_install_lower(struct izo_body *b, struct izo_ctx *ctx)
{
	struct inode *old = izo_lower(b->old), *new = izo_lower(b->new);
	struct dentry *new_dentry = izo_lower_dentry(b->new);
	int err;

	if (IS_ERR(new_dentry))
		return PTR_ERR(new_dentry);
	lock_two_nondirectories(old, new);
	err = izo_log_begin(ctx);
	if (!err) {
		err = izo_body_take_names(b, new_dentry);
		err = izo_log_end(ctx, err);
	}
	if (!err) {
		spin_lock(&new->i_lock);
		new->i_state &= ~I_LINKABLE;
		spin_unlock(&new->i_lock);
	}
	unlock_two_nondirectories(old, new);
	dput(new_dentry);
	return err == -EMLINK ? IZO_REINT_REFUSED : err;
}

/* The names are the new file's: in the upper tree too. */
static void izo_body_show(struct izo_body *b)
{
	for (unsigned int i = 0; i < b->count; i++) {
		struct izo_body_name *n = &b->names[i];
		struct dentry *fresh = d_alloc(n->dir, &n->dentry->d_name);

		dont_mount(n->dentry);
		d_drop(n->dentry);
		/* without memory for it the next lookup finds the file */
		if (!fresh)
			continue;
		ihold(b->new);
		d_add(fresh, b->new);
		fsnotify_name(FS_MOVED_TO, b->new, FSNOTIFY_EVENT_INODE, d_inode(n->dir),
			      &fresh->d_name, 0);
		if (!b->step->made)
			b->step->made = dget(fresh);
		dput(fresh);
	}
}

/* Both inodes have other links now. */
static void izo_body_settle_inodes(struct izo_body *b)
{
	spin_lock(&b->new->i_lock);
	b->new->i_state &= ~I_LINKABLE;
	spin_unlock(&b->new->i_lock);
	izo_fid_set(b->new, &b->step->remote.head->object);
	izo_recent_moved(b->step->batch->log, b->old, b->new);
	/* what it has to strip is the old one's now */
	inode_set_flags(b->new, 0, S_NOSEC);
	izo_copy_attr(b->new);
	izo_copy_nlink(b->new);
	izo_copy_attr(b->old);
	izo_copy_nlink(b->old);
	izo_body_gone(b->old);
	fsnotify_link_count(b->old);
	for (unsigned int i = 0; i < b->count; i++)
		izo_copy_attr(d_inode(b->names[i].dir));
}

/* The old body may go. */
static int izo_body_install(struct izo_body *b)
{
	struct izo_ctx ctx;
	int err;

	izo_ctx_remote(&ctx, b->step);
	ctx.change.op = IZO_KML_CLOSE;
	ctx.change.object = b->new;
	ctx.change.hint = b->names[0].dentry;
	ctx.change.flags = le32_to_cpu(b->step->remote.head->flags) &
			   (IZO_KML_WHOLE | IZO_KML_RECOVERED);
	err = izo_change_begin(&ctx, b->old, NULL);
	if (err)
		return err;
	/* for the hint */
	if (!izo_fid_known(b->step->batch->log, d_inode(b->names[0].dir)))
		err = izo_fid_find(b->step->batch->log, d_inode(b->names[0].dir));
	if (!err)
		err = izo_lower_become(b->step, b->new, b->old);
	if (err == -E2BIG)
		err = IZO_REINT_REFUSED;
	if (!err) {
		izo_body_lock_lower_dirs(b);
		err = izo_body_look_up_lower(b);
		if (!err)
			err = izo_body_install_lower(b, &ctx);
		izo_body_unlock_lower_dirs(b);
	}
	if (!err) {
		izo_body_settle_inodes(b);
		izo_body_show(b);
	}
	izo_change_end(&ctx);
	return err;
}

/* The upper directories and both inodes are locked. */
static int izo_body_replace(struct izo_body *b)
{
	int err = izo_body_may_change(b);

	if (!err)
		err = izo_body_install(b);
	if (err)
		WRITE_ONCE(izo_i(b->old)->replaced, false);
	return err;
}

/**
 * izo_reint_body - CLOSE: the object gets a new body
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_body(struct izo_step *step)
{
	struct izo_body *b;
	int err;

	b = izo_body_get(step, &err);
	if (!b)
		return err;
	izo_body_lock_dirs(b);
	err = izo_body_look_up(b);
	if (!err) {
		lock_two_nondirectories(b->old, b->new);
		err = izo_body_replace(b);
		unlock_two_nondirectories(b->old, b->new);
	}
	izo_body_unlock_dirs(b);
	if (!err)
		izo_reint_in_the_way(step, 0, b->new);
	izo_body_free(b);
	return err;
}
