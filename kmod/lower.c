// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every call into the lower file system that takes a lower dentry is here and in lower_attr.c: its
 * name space here, attributes there. Open files are in file.c, readdir.c and log_area.c.
 *
 * Lock order: upper sb_writers, upper inodes as the VFS locks them, lower sb_writers, lower
 * inodes in the order the upper ones were taken. Nobody reaches the lower tree but through
 * locked upper inodes, so what was looked up under them stays true below.
 *
 * Names are removed, linked and renamed by the directory's inode operation, not by vfs_unlink()
 * and its kin: those lock the victim inside, which an operation that runs within a journal
 * handle must not (see jbd2-prototype, section 1). What they check before is either checked by
 * the VFS on the upper inodes, whose flags, mode, owner and link count mirror the lower ones, or
 * repeated here.
 */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/dcache.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/quotaops.h>
#include "intermezzo.h"
#include "log.h"

/**
 * izo_ctx_local - context of an operation that a system call asks for
 * @ctx: to fill
 * @sb: the upper superblock
 */
void izo_ctx_local(struct izo_ctx *ctx, struct super_block *sb)
{
	*ctx = (struct izo_ctx){ .sb = sb };
}

/**
 * izo_change_begin - may this object, or this name in it, be changed? Then hold off freezing
 * @ctx: who asks, and what for
 * @inode: the object, or the directory of @name
 * @name: the name, or NULL for a change of @inode itself
 *
 * Context: upper inode locks held; lower ones not. May sleep.
 * Return: 0, and izo_change_end() must follow; -EPERM for what belongs to the kernel; -EROFS if
 * the log, the cache or its journal has failed.
 */
int izo_change_begin(struct izo_ctx *ctx, const struct inode *inode, const struct qstr *name)
{
	enum izo_class class = izo_i(inode)->class;
	const struct izo_place *below;
	int err;

	if (name)
		izo_class_of(inode, name, &class, &below);
	if (class == IZO_CLASS_INTERNAL)
		return -EPERM;
	ctx->shared = izo_class_is_shared(ctx->sb, class);
	err = izo_log_check(ctx->sb);
	if (err)
		return err;
	if (ctx->shared)
		izo_log_await_room(ctx->sb);
	err = mnt_want_write(izo_sb(ctx->sb)->lower_mnt);
	if (err || !ctx->shared)
		return err;
	err = izo_find_fids(ctx);
	if (err)
		mnt_drop_write(izo_sb(ctx->sb)->lower_mnt);
	return err;
}

/**
 * izo_change_end - the change is done or has failed
 * @ctx: as given to izo_change_begin()
 */
void izo_change_end(struct izo_ctx *ctx)
{
	mnt_drop_write(izo_sb(ctx->sb)->lower_mnt);
}

/**
 * izo_lower_dentry - a dentry of the lower inode, whichever
 * @inode: upper inode
 *
 * Only directories pin a dentry. For another object, when the lower dcache has dropped the last
 * alias, a disconnected one takes its place; without children it dies with its last reference.
 *
 * Context: may sleep.
 * Return: a referenced dentry, or ERR_PTR(-ENOMEM).
 */
struct dentry *izo_lower_dentry(const struct inode *inode)
{
	struct inode *lower = izo_lower(inode);
	struct dentry *alias;

	if (izo_i(inode)->lower_dir)
		return dget(izo_i(inode)->lower_dir);
	alias = d_find_any_alias(lower);
	if (alias)
		return alias;
	ihold(lower);
	return d_obtain_alias(lower);
}

/**
 * izo_lower_path - the lower mount and a dentry of the lower inode
 * @inode: upper inode
 * @path: to fill; the dentry is referenced, the mount is not (the superblock pins it)
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_path(const struct inode *inode, struct path *path)
{
	struct dentry *dentry = izo_lower_dentry(inode);

	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	path->mnt = izo_sb(inode->i_sb)->lower_mnt;
	path->dentry = dentry;
	return 0;
}

/* Take over the reference to what a name stands for, unless it leads out of the cache's tree. */
static struct dentry *izo_fence(struct super_block *sb, struct dentry *child)
{
	const struct izo_cache_type *cache = izo_sb(sb)->config.cache;

	if (IS_ERR(child) || d_really_is_negative(child) || !cache->is_foreign ||
	    !cache->is_foreign(d_inode(child)))
		return child;
	pr_warn_ratelimited("%s: %pd is a subvolume of its own, which is not part of the fileset\n",
			    sb->s_id, child);
	dput(child);
	return ERR_PTR(-EXDEV);
}

/**
 * izo_lower_lookup - what a name stands for in the cache
 * @sb: upper superblock
 * @dir: lower directory, not locked by the caller
 * @name: one component
 *
 * The result is cached in the upper dcache for everybody, so it must not depend on who asks:
 * the mounter's credentials are used. The caller's right to search was tested on the upper inode.
 *
 * Context: the upper directory is locked, shared or exclusively.
 * Return: a referenced dentry, perhaps negative; an ERR_PTR: -EXDEV for what is not part of the
 * cache's tree, or another.
 */
struct dentry *izo_lower_lookup(struct super_block *sb, struct dentry *dir,
				const struct qstr *name)
{
	const struct cred *old = override_creds(izo_sb(sb)->creator_cred);
	struct dentry *child = lookup_one_len_unlocked(name->name, dir, name->len);

	revert_creds(old);
	return izo_fence(sb, child);
}

/**
 * izo_lower_lookup_locked - the same in a lower directory that is locked
 * @sb: upper superblock
 * @dir: lower directory, locked by the caller
 * @name: one component
 *
 * Return: a referenced dentry, perhaps negative, or an ERR_PTR.
 */
struct dentry *izo_lower_lookup_locked(struct super_block *sb, struct dentry *dir,
				       const struct qstr *name)
{
	const struct cred *old = override_creds(izo_sb(sb)->creator_cred);
	struct dentry *child = lookup_one_len(name->name, dir, name->len);

	revert_creds(old);
	return izo_fence(sb, child);
}

/**
 * izo_name_lock - lock a lower directory and look up a name in it
 * @n: to fill
 * @dir: upper directory, locked exclusively by the caller
 * @name: one component
 *
 * Return: 0, and izo_name_unlock() must follow; or a negative errno, with nothing held.
 */
int izo_name_lock(struct izo_name *n, struct inode *dir, const struct qstr *name)
{
	n->dir = izo_lower_dentry(dir);
	if (IS_ERR(n->dir))
		return PTR_ERR(n->dir);
	inode_lock_nested(d_inode(n->dir), I_MUTEX_PARENT);
	n->child = izo_lower_lookup_locked(dir->i_sb, n->dir, name);
	if (!IS_ERR(n->child))
		return 0;
	inode_unlock(d_inode(n->dir));
	dput(n->dir);
	return PTR_ERR(n->child);
}

/**
 * izo_name_unlock - undo izo_name_lock()
 * @n: the name
 */
void izo_name_unlock(struct izo_name *n)
{
	dput(n->child);
	inode_unlock(d_inode(n->dir));
	dput(n->dir);
}

/**
 * izo_name_is - does the name still stand for this upper inode?
 * @n: a locked name
 * @inode: upper inode
 *
 * Return: 0, or -ESTALE if the cache was changed behind the mount.
 */
int izo_name_is(const struct izo_name *n, const struct inode *inode)
{
	if (WARN_ON_ONCE(d_inode(n->child) != izo_lower(inode)))
		return -ESTALE;
	return 0;
}

/*
 * What the file system would do first thing: look up quotas, which has handles of its own, so not
 * within ours.
 */
static int izo_quota_begin(struct inode *dir, struct inode *inode)
{
	int err = dquot_initialize(dir);

	return err || !inode ? err : dquot_initialize(inode);
}

static int izo_make_begin(struct izo_ctx *ctx, struct izo_name *n)
{
	int err = izo_quota_begin(d_inode(n->dir), NULL);

	if (err)
		return err;
	if (ctx)
		ctx->change.lower = n->child;
	return izo_log_begin(ctx);
}

/* A creating vfs_*() may leave the dentry negative on file systems we do not support: refuse. */
static int izo_made(struct izo_ctx *ctx, const struct izo_name *n, int err)
{
	if (!err && WARN_ON_ONCE(d_really_is_negative(n->child)))
		err = -ESTALE;
	return izo_log_end(ctx, err);
}

/**
 * izo_lower_create - make a regular file
 * @ctx: the change, or NULL for one of the log's own files
 * @n: the locked, negative name
 * @mode: permission bits, umask not yet applied where a default ACL may replace it
 * @excl: the caller wants a new file
 *
 * Runs with the caller's credentials, so ownership, quota and reserved blocks are the caller's.
 * The same holds for the functions below.
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_create(struct izo_ctx *ctx, struct izo_name *n, umode_t mode, bool excl)
{
	int err = izo_make_begin(ctx, n);

	if (err)
		return err;
	err = vfs_create(&nop_mnt_idmap, d_inode(n->dir), n->child, mode, excl);
	return izo_made(ctx, n, err);
}

/**
 * izo_lower_mkdir - make a directory
 * @ctx: the change, or NULL for one of the log's own files
 * @n: the locked, negative name
 * @mode: permission bits
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_mkdir(struct izo_ctx *ctx, struct izo_name *n, umode_t mode)
{
	int err = izo_make_begin(ctx, n);

	if (err)
		return err;
	err = vfs_mkdir(&nop_mnt_idmap, d_inode(n->dir), n->child, mode);
	return izo_made(ctx, n, err);
}

/**
 * izo_lower_mknod - make a device, FIFO or socket
 * @ctx: the change, or NULL for one of the log's own files
 * @n: the locked, negative name
 * @mode: type and permission bits
 * @rdev: device number
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_mknod(struct izo_ctx *ctx, struct izo_name *n, umode_t mode, dev_t rdev)
{
	int err = izo_make_begin(ctx, n);

	if (err)
		return err;
	err = vfs_mknod(&nop_mnt_idmap, d_inode(n->dir), n->child, mode, rdev);
	return izo_made(ctx, n, err);
}

/**
 * izo_lower_symlink - make a symbolic link
 * @ctx: the change, or NULL for one of the log's own files
 * @n: the locked, negative name
 * @target: what it says
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_symlink(struct izo_ctx *ctx, struct izo_name *n, const char *target)
{
	int err = izo_make_begin(ctx, n);

	if (err)
		return err;
	err = vfs_symlink(&nop_mnt_idmap, d_inode(n->dir), n->child, target);
	return izo_made(ctx, n, err);
}

/**
 * izo_lower_unlink - remove a name that is not a directory's
 * @ctx: the change, or NULL
 * @n: the locked, positive name
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_unlink(struct izo_ctx *ctx, struct izo_name *n)
{
	struct inode *dir = d_inode(n->dir);
	struct inode *victim = d_inode(n->child);
	int err;

	inode_lock(victim);
	err = IS_SWAPFILE(victim) ? -EPERM : izo_quota_begin(dir, victim);
	if (!err)
		err = izo_log_begin(ctx);
	if (!err)
		err = izo_log_end(ctx, dir->i_op->unlink(dir, n->child));
	if (!err)
		dont_mount(n->child);
	inode_unlock(victim);
	if (!err)
		d_delete(n->child);
	return err;
}

/**
 * izo_lower_rmdir - remove an empty directory
 * @ctx: the change, or NULL
 * @n: the locked, positive name
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_rmdir(struct izo_ctx *ctx, struct izo_name *n)
{
	struct inode *dir = d_inode(n->dir);
	struct inode *victim = d_inode(n->child);
	int err;

	inode_lock(victim);
	err = izo_quota_begin(dir, victim);
	if (!err)
		err = izo_log_begin(ctx);
	if (!err)
		err = izo_log_end(ctx, dir->i_op->rmdir(dir, n->child));
	if (!err) {
		shrink_dcache_parent(n->child);
		victim->i_flags |= S_DEAD;
		dont_mount(n->child);
	}
	inode_unlock(victim);
	if (!err)
		d_delete(n->child);
	return err;
}

/**
 * izo_lower_link - give an object one more name
 * @ctx: the change
 * @inode: the upper inode, locked by the VFS, which has tested links, flags and I_LINKABLE on it
 * @n: the locked, negative name
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_link(struct izo_ctx *ctx, struct inode *inode, struct izo_name *n)
{
	struct inode *dir = d_inode(n->dir);
	struct inode *lower = izo_lower(inode);
	struct dentry *old = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(old))
		return PTR_ERR(old);
	inode_lock(lower);
	err = -ESTALE;
	if (!WARN_ON_ONCE(d_really_is_positive(n->child)))
		err = izo_quota_begin(dir, lower);
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		err = dir->i_op->link(old, dir, n->child);
		ctx->change.lower = n->child;
		err = izo_log_end(ctx, err);
	}
	if (!err && lower->i_state & I_LINKABLE) {
		spin_lock(&lower->i_lock);
		lower->i_state &= ~I_LINKABLE;
		spin_unlock(&lower->i_lock);
	}
	inode_unlock(lower);
	dput(old);
	return err;
}

/*
 * The children's locks of a rename, as vfs_rename() takes them: subdirectories only where their
 * parent changes or they are the victim, then the rest.
 */
static void izo_rename_lock(struct inode *source, struct inode *target, bool across, bool exchange)
{
	bool source_is_dir = S_ISDIR(source->i_mode);
	bool target_is_dir = target && S_ISDIR(target->i_mode);

	if (source_is_dir) {
		if (across)
			inode_lock_nested(source, I_MUTEX_CHILD);
		if (target && (!target_is_dir || across || !exchange))
			inode_lock(target);
	} else if (target_is_dir) {
		if (across || !exchange)
			inode_lock_nested(target, I_MUTEX_CHILD);
		inode_lock(source);
	} else {
		lock_two_nondirectories(source, target);
	}
}

static void izo_rename_unlock(struct inode *source, struct inode *target, bool across,
			      bool exchange)
{
	if (!S_ISDIR(source->i_mode) || across)
		inode_unlock(source);
	if (target && (!S_ISDIR(target->i_mode) || across || !exchange))
		inode_unlock(target);
}

/* d_exchange() is not exported: move each dentry to the other's place. @spare: at @a's place. */
static void izo_d_exchange(struct dentry *a, struct dentry *b, struct dentry *spare)
{
	d_move(a, b);		/* leaves b unhashed */
	d_move(b, spare);
}

/*
 * ext4 would write out a file that replaces another, to leave no empty one after a crash; not in a
 * handle of ours (noauto_da_alloc), so here.
 */
static int izo_rename_flush(struct inode *source)
{
	int err = izo_body_entry_commit(source, false);

	if (!err)
		filemap_flush(izo_lower(source)->i_mapping);
	return err;
}

static int izo_rename_begin(struct izo_ctx *ctx, struct izo_name *from, struct izo_name *to,
			    unsigned int flags)
{
	struct inode *source = d_inode(from->child), *target = d_inode(to->child);
	int err = izo_quota_begin(d_inode(from->dir), source);

	if (!err)
		err = izo_quota_begin(d_inode(to->dir), target);
	if (!err && target && !(flags & RENAME_EXCHANGE) && S_ISREG(source->i_mode))
		err = izo_rename_flush(ctx->change.object);
	return err ? err : izo_log_begin(ctx);
}

/* Replay the rename in the lower dcache. @spare: for an exchange, a dentry of the old name. */
static void izo_rename_dentries(struct izo_name *from, struct izo_name *to, struct dentry *spare)
{
	struct inode *target = d_inode(to->child);

	if (target && !spare) {
		if (S_ISDIR(target->i_mode)) {
			shrink_dcache_parent(to->child);
			target->i_flags |= S_DEAD;
		}
		dont_mount(to->child);
	}
	if (spare)
		izo_d_exchange(from->child, to->child, spare);
	else
		d_move(from->child, to->child);
}

static int izo_rename_end(struct izo_ctx *ctx, struct izo_name *from, unsigned int flags, int err)
{
	struct dentry *left = NULL;

	if (!err && ctx->log && flags & RENAME_WHITEOUT) {
		left = izo_lower_lookup_locked(ctx->sb, from->dir, ctx->change.name);
		if (!IS_ERR(left) && d_really_is_positive(left))
			ctx->change.lower = left;
	}
	err = izo_log_end(ctx, err);
	if (!IS_ERR_OR_NULL(left))
		dput(left);
	return err;
}

/**
 * izo_lower_rename - rename or exchange, and replay it in the lower dcache
 * @ctx: the change
 * @from: the source name
 * @to: the target name; both directories are locked (once if they are the same)
 * @flags: RENAME_* of renameat2(2)
 *
 * Context: for different directories the upper and the lower s_vfs_rename_mutex are held.
 * Return: 0 or a negative errno.
 */
int izo_lower_rename(struct izo_ctx *ctx, struct izo_name *from, struct izo_name *to,
		     unsigned int flags)
{
	struct inode *old_dir = d_inode(from->dir);
	struct inode *new_dir = d_inode(to->dir);
	struct inode *source = d_inode(from->child);
	struct inode *target = d_inode(to->child);
	bool exchange = flags & RENAME_EXCHANGE;
	bool across = old_dir != new_dir;
	struct dentry *spare = NULL;
	int err = -EPERM;

	if (exchange) {
		spare = d_alloc(from->dir, &from->child->d_name);
		if (!spare)
			return -ENOMEM;
	}

	izo_rename_lock(source, target, across, exchange);
	if (!IS_SWAPFILE(source) && !(target && IS_SWAPFILE(target)))
		err = izo_rename_begin(ctx, from, to, flags);
	if (!err) {
		err = old_dir->i_op->rename(&nop_mnt_idmap, old_dir, from->child, new_dir,
					    to->child, flags);
		/* the lower dcache first: the record of a whiteout looks the old name up */
		if (!err)
			izo_rename_dentries(from, to, spare);
		err = izo_rename_end(ctx, from, flags, err);
	}
	izo_rename_unlock(source, target, across, exchange);
	dput(spare);
	return err;
}
