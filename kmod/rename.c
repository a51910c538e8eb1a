// SPDX-License-Identifier: GPL-2.0-only
/* Renames: the one operation with two directories to lock. */

#include <linux/dcache.h>
#include <linux/namei.h>
#include "intermezzo.h"
#include "log.h"

/* Both ends of a rename, locked below. */
struct izo_ends {
	struct izo_name from;
	struct izo_name to;
	bool across;
};

/*
 * Lock two lower directories as lock_rename() locked the upper ones: an ancestor before its
 * descendant. The lower s_vfs_rename_mutex keeps d_splice_alias() of a concurrent lower lookup
 * from moving directories.
 */
static void izo_lock_dirs(struct izo_ends *e, const struct dentry *old_parent,
			  const struct dentry *new_parent)
{
	struct inode *old_dir = d_inode(e->from.dir);
	struct inode *new_dir = d_inode(e->to.dir);

	if (!e->across) {
		inode_lock_nested(old_dir, I_MUTEX_PARENT);
		return;
	}
	mutex_lock(&old_dir->i_sb->s_vfs_rename_mutex);
	if (is_subdir((struct dentry *)old_parent, (struct dentry *)new_parent))
		swap(old_dir, new_dir);
	inode_lock_nested(old_dir, I_MUTEX_PARENT);
	inode_lock_nested(new_dir, I_MUTEX_PARENT2);
}

static void izo_unlock_dirs(struct izo_ends *e)
{
	struct inode *old_dir = d_inode(e->from.dir);

	inode_unlock(old_dir);
	if (e->across) {
		inode_unlock(d_inode(e->to.dir));
		mutex_unlock(&old_dir->i_sb->s_vfs_rename_mutex);
	}
}

static int izo_ends_lookup(struct izo_ends *e, struct dentry *old_dentry,
			   struct dentry *new_dentry)
{
	struct super_block *sb = old_dentry->d_sb;
	int err;

	e->from.child = izo_lower_lookup_locked(sb, e->from.dir, &old_dentry->d_name);
	if (IS_ERR(e->from.child))
		return PTR_ERR(e->from.child);
	e->to.child = izo_lower_lookup_locked(sb, e->to.dir, &new_dentry->d_name);
	if (IS_ERR(e->to.child)) {
		dput(e->from.child);
		return PTR_ERR(e->to.child);
	}
	err = izo_name_is(&e->from, d_inode(old_dentry));
	if (!err && d_really_is_positive(new_dentry))
		err = izo_name_is(&e->to, d_inode(new_dentry));
	if (!err && d_really_is_negative(new_dentry) && d_really_is_positive(e->to.child))
		err = -ESTALE;
	if (err) {
		dput(e->to.child);
		dput(e->from.child);
	}
	return err;
}

static int izo_rename_ends(struct izo_ctx *ctx, struct izo_ends *e, struct inode *old_dir,
			   struct dentry *old_dentry, struct inode *new_dir,
			   struct dentry *new_dentry, unsigned int flags)
{
	int err;

	e->across = old_dir != new_dir;
	e->from.dir = izo_lower_dentry(old_dir);
	if (IS_ERR(e->from.dir))
		return PTR_ERR(e->from.dir);
	e->to.dir = izo_lower_dentry(new_dir);
	if (IS_ERR(e->to.dir)) {
		dput(e->from.dir);
		return PTR_ERR(e->to.dir);
	}

	izo_lock_dirs(e, old_dentry->d_parent, new_dentry->d_parent);
	err = izo_ends_lookup(e, old_dentry, new_dentry);
	if (!err) {
		err = izo_lower_rename(ctx, &e->from, &e->to, flags);
		dput(e->to.child);
		dput(e->from.child);
	}
	izo_unlock_dirs(e);
	dput(e->to.dir);
	dput(e->from.dir);
	return err;
}

/**
 * izo_rename_keeps_class - does everything that a rename moves stay in its class?
 * @old_dir: upper directory of the source
 * @old_dentry: the source
 * @new_dir: upper directory of the target
 * @new_dentry: the target, perhaps negative
 * @flags: RENAME_*
 */
bool izo_rename_keeps_class(struct inode *old_dir, struct dentry *old_dentry,
			    struct inode *new_dir, struct dentry *new_dentry, unsigned int flags)
{
	if (!izo_class_keeps(d_inode(old_dentry), new_dir, &new_dentry->d_name))
		return false;
	return !(flags & RENAME_EXCHANGE) ||
	       izo_class_keeps(d_inode(new_dentry), old_dir, &old_dentry->d_name);
}

/**
 * izo_do_rename - rename, exchange or leave a whiteout
 * @ctx: who asks
 * @old_dir: upper directory of the source
 * @old_dentry: the source
 * @new_dir: upper directory of the target
 * @new_dentry: the target, perhaps negative
 * @flags: RENAME_*
 *
 * Context: locked as for ->rename: for two directories with s_vfs_rename_mutex.
 * Return: 0; -EXDEV across a border of classes; another negative errno.
 */
int izo_do_rename(struct izo_ctx *ctx, struct inode *old_dir, struct dentry *old_dentry,
		  struct inode *new_dir, struct dentry *new_dentry, unsigned int flags)
{
	struct inode *source = d_inode(old_dentry);
	struct inode *target = d_inode(new_dentry);
	struct izo_ends ends;
	int err;

	if (izo_i(source)->class == IZO_CLASS_INTERNAL)
		return -EPERM;
	ctx->change.op = IZO_KML_RENAME;
	ctx->change.flags = (flags & RENAME_EXCHANGE ? IZO_KML_EXCHANGE : 0) |
			    (flags & RENAME_WHITEOUT ? IZO_KML_WHITEOUT : 0);
	ctx->change.object = source;
	ctx->change.dir = old_dir;
	ctx->change.name = &old_dentry->d_name;
	ctx->change.to_dir = new_dir;
	ctx->change.to_name = &new_dentry->d_name;
	ctx->change.replaced = target;
	err = izo_change_begin(ctx, new_dir, &new_dentry->d_name);
	if (err)
		return err;
	if (izo_rename_keeps_class(old_dir, old_dentry, new_dir, new_dentry, flags))
		err = izo_rename_ends(ctx, &ends, old_dir, old_dentry, new_dir, new_dentry,
				      flags);
	else
		err = -EXDEV;

	izo_copy_attr(source);
	if (target)
		izo_copy_attr(target);
	/* exchanged, it keeps its links, and may not be locked */
	if (target && !(flags & RENAME_EXCHANGE)) {
		izo_copy_nlink(target);
		izo_body_gone(target);
	}
	izo_copy_attr(old_dir);
	izo_copy_nlink(old_dir);
	izo_copy_attr(new_dir);
	izo_copy_nlink(new_dir);
	izo_change_end(ctx);
	return err;
}

/**
 * izo_rename - ->rename
 * @idmap: of the mount
 * @old_dir: upper directory of the source
 * @old_dentry: the source
 * @new_dir: upper directory of the target
 * @new_dentry: the target
 * @flags: RENAME_*; what the cache does not know it refuses
 *
 * Return: 0 or a negative errno.
 */
int izo_rename(struct mnt_idmap *idmap, struct inode *old_dir, struct dentry *old_dentry,
	       struct inode *new_dir, struct dentry *new_dentry, unsigned int flags)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, old_dir->i_sb);
	return izo_do_rename(&ctx, old_dir, old_dentry, new_dir, new_dentry, flags);
}
