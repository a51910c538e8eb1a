// SPDX-License-Identifier: GPL-2.0-only
/* Attributes, extended attributes and ACLs of lower objects; see lower.c for the rules. */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/fileattr.h>
#include <linux/pagemap.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/quotaops.h>
#include <linux/statfs.h>
#include <linux/xattr.h>
#include "intermezzo.h"
#include "log.h"

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

/* @attr for the lower inode: the file is ours, and O_TRUNC was not passed down. */
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
 * izo_get_fileattr - the flags that chattr(1) sets, of a lower object
 * @lower: its dentry
 * @fa: result
 *
 * Return: 0 or a negative errno.
 */
int izo_get_fileattr(struct dentry *lower, struct fileattr *fa)
{
	return vfs_fileattr_get(lower, fa);
}

/**
 * izo_lower_leave_project - what is made in a directory is to be in no project
 * @dir: lower directory, not locked; it may be written
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_leave_project(struct dentry *dir)
{
	struct inode *inode = d_inode(dir);
	struct fileattr fa = { };
	int err;

	if (!inode->i_op->fileattr_set || vfs_fileattr_get(dir, &fa) ||
	    !(fa.flags & FS_PROJINHERIT_FL))
		return 0;
	fileattr_fill_flags(&fa, fa.flags & ~FS_PROJINHERIT_FL);
	fa.fsx_valid = true;
	inode_lock(inode);
	err = inode->i_op->fileattr_set(&nop_mnt_idmap, dir, &fa);
	inode_unlock(inode);
	return err;
}

/**
 * izo_list_xattrs - names of all attributes of a lower object
 * @lower: its dentry
 * @list: buffer, or NULL
 * @size: its size; 0 asks for the size needed
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

static bool izo_makes_immutable(const struct inode *lower, const struct fileattr *fa)
{
	return S_ISREG(lower->i_mode) && fa->flags & FS_IMMUTABLE_FL && !IS_IMMUTABLE(lower);
}

/*
 * Setting the immutable flag writes the file out: before the handle, and with stores through
 * mappings held off, so that nothing is left to write within.
 */
static int izo_fileattr_flush(struct inode *lower, const struct fileattr *fa)
{
	if (!izo_makes_immutable(lower, fa))
		return 0;
	inode_dio_wait(lower);
	unmap_mapping_range(lower->i_mapping, 0, 0, 0);
	return filemap_write_and_wait(lower->i_mapping);
}

static int izo_fileattr_set_locked(struct izo_ctx *ctx, struct dentry *lower, struct fileattr *fa)
{
	struct inode *inode = d_inode(lower);
	struct fileattr before = { };
	int err = dquot_initialize(inode);

	if (!err)
		err = izo_get_fileattr(lower, &before);
	if (!err && izo_makes_immutable(inode, fa))
		err = izo_body_entry_commit(ctx->change.object, false);
	if (err)
		return err;
	filemap_invalidate_lock(inode->i_mapping);
	err = izo_fileattr_flush(inode, fa);
	if (!err)
		err = izo_log_begin(ctx);
	if (!err) {
		ctx->change.lower = lower;
		ctx->change.old_flags = &before;
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
