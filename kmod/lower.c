// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every call into the lower file system that takes a lower dentry is here: its name space,
 * attributes and extended attributes. Open files are in file.c and readdir.c.
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
#include <linux/fileattr.h>
#include <linux/dcache.h>
#include <linux/namei.h>
#include <linux/posix_acl.h>
#include <linux/pagemap.h>
#include <linux/posix_acl_xattr.h>
#include <linux/quotaops.h>
#include <linux/statfs.h>
#include <linux/xattr.h>
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
 * the cache has gone read-only (an error with errors=remount-ro).
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
 * Return: a referenced dentry, perhaps negative, or an ERR_PTR.
 */
struct dentry *izo_lower_lookup(struct super_block *sb, struct dentry *dir,
				const struct qstr *name)
{
	const struct cred *old = override_creds(izo_sb(sb)->creator_cred);
	struct dentry *child = lookup_one_len_unlocked(name->name, dir, name->len);

	revert_creds(old);
	return child;
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
	return child;
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

static int izo_rename_begin(struct izo_ctx *ctx, struct izo_name *from, struct izo_name *to,
			    unsigned int flags)
{
	struct inode *source = d_inode(from->child), *target = d_inode(to->child);
	int err = izo_quota_begin(d_inode(from->dir), source);

	if (!err)
		err = izo_quota_begin(d_inode(to->dir), target);
	/*
	 * ext4 would write out a file that replaces another, to leave no empty one after a crash;
	 * not in a handle of ours (noauto_da_alloc), so here.
	 */
	if (!err && target && !(flags & RENAME_EXCHANGE) && S_ISREG(source->i_mode))
		filemap_flush(source->i_mapping);
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

/**
 * izo_lower_statfs - the cache's sizes and counts
 * @inode: any upper inode
 * @buf: result
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_statfs(const struct inode *inode, struct kstatfs *buf)
{
	struct path lower;
	int err = izo_lower_path(inode, &lower);

	if (err)
		return err;
	err = vfs_statfs(&lower, buf);
	dput(lower.dentry);
	return err;
}

/**
 * izo_lower_getattr - what stat(2) of the lower object would say
 * @inode: upper inode
 * @stat: result, with the cache's device number
 * @request_mask: STATX_*
 * @flags: AT_STATX_*
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_getattr(const struct inode *inode, struct kstat *stat, u32 request_mask,
		      unsigned int flags)
{
	struct path lower;
	int err = izo_lower_path(inode, &lower);

	if (err)
		return err;
	err = vfs_getattr_nosec(&lower, stat, request_mask, flags);
	dput(lower.dentry);
	return err;
}

/**
 * izo_lower_fileattr_get - the flags that chattr(1) sets
 * @inode: upper inode
 * @fa: result
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_fileattr_get(const struct inode *inode, struct fileattr *fa)
{
	struct dentry *lower = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	err = vfs_fileattr_get(lower, fa);
	dput(lower);
	return err;
}

/**
 * izo_lower_get_link - the target of a symbolic link
 * @inode: upper inode
 * @done: what to do when the caller is done with it
 *
 * Return: the target, or an ERR_PTR.
 */
const char *izo_lower_get_link(const struct inode *inode, struct delayed_call *done)
{
	struct dentry *lower = izo_lower_dentry(inode);
	const char *link;

	if (IS_ERR(lower))
		return ERR_CAST(lower);
	link = vfs_get_link(lower, done);
	dput(lower);
	return link;
}

/**
 * izo_lower_listxattr - names of the extended attributes that the caller may know of
 * @inode: upper inode
 * @list: buffer, or NULL
 * @size: its size; 0 asks for the size needed
 *
 * Return: bytes used or a negative errno.
 */
ssize_t izo_lower_listxattr(const struct inode *inode, char *list, size_t size)
{
	struct dentry *lower = izo_lower_dentry(inode);
	ssize_t ret;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	ret = vfs_listxattr(lower, list, size);
	dput(lower);
	return ret;
}

/* @attr for the lower inode: the file is ours, not the lower one, and O_TRUNC was not passed down. */
static struct iattr izo_lower_attr(const struct iattr *attr)
{
	struct iattr lower = *attr;

	lower.ia_valid &= ~(ATTR_FILE | ATTR_OPEN);
	/* notify_change() works out the mode from ATTR_KILL_* itself and forbids both at once */
	if (lower.ia_valid & (ATTR_KILL_SUID | ATTR_KILL_SGID))
		lower.ia_valid &= ~ATTR_MODE;
	return lower;
}

/**
 * izo_lower_setattr - change attributes, but not the size
 * @ctx: the change
 * @inode: the upper inode, locked
 * @attr: what to change; the VFS has resolved ATTR_KILL_* against the upper mode
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_setattr(struct izo_ctx *ctx, struct inode *inode, struct iattr *attr)
{
	struct iattr lower_attr = izo_lower_attr(attr);
	struct dentry *lower = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	inode_lock(d_inode(lower));
	err = dquot_initialize(d_inode(lower));
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		err = notify_change(&nop_mnt_idmap, lower, &lower_attr, NULL);
		err = izo_log_end(ctx, err);
	}
	inode_unlock(d_inode(lower));
	dput(lower);
	return err;
}

/**
 * izo_lower_resize - cut or extend a file: several transactions of the cache, none of ours
 * @inode: the upper inode, locked
 * @attr: with ATTR_SIZE
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_resize(struct inode *inode, struct iattr *attr)
{
	struct iattr lower_attr = izo_lower_attr(attr);
	struct dentry *lower = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	inode_lock(d_inode(lower));
	err = notify_change(&nop_mnt_idmap, lower, &lower_attr, NULL);
	inode_unlock(d_inode(lower));
	dput(lower);
	return err;
}

/**
 * izo_list_xattrs - names of all attributes of a lower object
 * @lower: its dentry
 * @list: buffer
 * @size: its size
 *
 * Return: bytes used or a negative errno.
 */
ssize_t izo_list_xattrs(struct dentry *lower, char *list, size_t size)
{
	struct inode *inode = d_inode(lower);

	return inode->i_op->listxattr ? inode->i_op->listxattr(lower, list, size) : 0;
}

/**
 * izo_get_xattr - an attribute of a lower object, an ACL among them
 * @lower: its dentry
 * @name: full name
 * @value: buffer
 * @size: its size
 *
 * Return: bytes used or a negative errno.
 */
ssize_t izo_get_xattr(struct dentry *lower, const char *name, void *value, size_t size)
{
	int type = posix_acl_type(name);
	struct posix_acl *acl;
	ssize_t ret;

	if (type < 0)
		return __vfs_getxattr(lower, d_inode(lower), name, value, size);
	acl = get_inode_acl(d_inode(lower), type);
	if (IS_ERR_OR_NULL(acl))
		return acl ? PTR_ERR(acl) : -ENODATA;
	ret = posix_acl_to_xattr(&init_user_ns, acl, value, size);
	posix_acl_release(acl);
	return ret;
}

/**
 * izo_lower_setxattr - set or remove an extended attribute
 * @ctx: the change
 * @inode: the upper inode, locked
 * @name: full name, with prefix
 * @value: new value, or NULL to remove
 * @size: bytes at @value
 * @flags: XATTR_CREATE, XATTR_REPLACE
 *
 * The VFS has asked for permission above and converted the value for the caller's user
 * namespace: it goes down as it is, without asking again. A writer who may not set
 * security.capability still makes the VFS remove it.
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_setxattr(struct izo_ctx *ctx, struct inode *inode, const char *name,
		       const void *value, size_t size, int flags)
{
	struct dentry *lower = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	inode_lock(d_inode(lower));
	err = dquot_initialize(d_inode(lower));
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		if (value)
			err = __vfs_setxattr(&nop_mnt_idmap, lower, d_inode(lower), name, value,
					     size, flags);
		else
			err = __vfs_removexattr(&nop_mnt_idmap, lower, name);
		err = izo_log_end(ctx, err);
	}
	if (!strncmp(name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN))
		d_inode(lower)->i_flags &= ~S_NOSEC;
	inode_unlock(d_inode(lower));
	dput(lower);
	return err;
}

/**
 * izo_lower_set_acl - set or remove an ACL
 * @ctx: the change
 * @inode: the upper inode, locked
 * @acl: new ACL, or NULL to remove
 * @type: ACL_TYPE_ACCESS or ACL_TYPE_DEFAULT
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_set_acl(struct izo_ctx *ctx, struct inode *inode, struct posix_acl *acl, int type)
{
	struct dentry *lower = izo_lower_dentry(inode);
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	/* not vfs_set_acl(), which locks the inode itself; its checks were made on the upper one */
	inode_lock(d_inode(lower));
	err = dquot_initialize(d_inode(lower));
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		err = set_posix_acl(&nop_mnt_idmap, lower, type, acl);
		err = izo_log_end(ctx, err);
	}
	inode_unlock(d_inode(lower));
	dput(lower);
	return err;
}

/*
 * Flags that move a file's blocks or switch its journaling mode: the log's blocks are mapped
 * once, and ext4 waits for all handles, ours among them, to switch data journaling.
 */
#define IZO_FIXED_FSFLAGS (FS_JOURNAL_DATA_FL | FS_EXTENT_FL)

/*
 * Setting the immutable flag writes the file out: before the handle, and with stores through
 * mappings held off, so that nothing is left to write within.
 */
static int izo_fileattr_flush(struct inode *lower, const struct fileattr *fa)
{
	if (!S_ISREG(lower->i_mode) || !(fa->flags & FS_IMMUTABLE_FL) || IS_IMMUTABLE(lower))
		return 0;
	inode_dio_wait(lower);
	unmap_mapping_range(lower->i_mapping, 0, 0, 0);
	return filemap_write_and_wait(lower->i_mapping);
}

static int izo_fileattr_set_locked(struct izo_ctx *ctx, struct dentry *lower, struct fileattr *fa)
{
	struct inode *inode = d_inode(lower);
	int err = dquot_initialize(inode);

	if (err)
		return err;
	filemap_invalidate_lock(inode->i_mapping);
	err = izo_fileattr_flush(inode, fa);
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		ctx->change.lower = lower;
		err = inode->i_op->fileattr_set(&nop_mnt_idmap, lower, fa);
		err = izo_log_end(ctx, err);
	}
	filemap_invalidate_unlock(inode->i_mapping);
	return err;
}

/**
 * izo_lower_fileattr_set - set what chattr(1) and project quotas set
 * @ctx: the change
 * @inode: the upper inode, locked; the VFS has checked and completed @fa
 * @fa: new values
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP for data journaling and extents.
 */
int izo_lower_fileattr_set(struct izo_ctx *ctx, struct inode *inode, struct fileattr *fa)
{
	struct fileattr now = { .flags_valid = true };
	struct dentry *lower = izo_lower_dentry(inode);
	int err = 0;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	if (!d_inode(lower)->i_op->fileattr_set)
		err = -ENOIOCTLCMD;
	if (!err && fa->flags_valid) {
		err = vfs_fileattr_get(lower, &now);
		if (!err && (now.flags ^ fa->flags) & IZO_FIXED_FSFLAGS)
			err = -EOPNOTSUPP;
	}
	if (!err) {
		inode_lock(d_inode(lower));
		err = izo_fileattr_set_locked(ctx, lower, fa);
		inode_unlock(d_inode(lower));
	}
	dput(lower);
	return err;
}
