// SPDX-License-Identifier: GPL-2.0-only
/* The life of upper inodes, and attributes: read from and written through to the lower inode. */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/fileattr.h>
#include <linux/fiemap.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include "intermezzo.h"
#include "log.h"

#define IZO_COPIED_FLAGS (S_SYNC | S_APPEND | S_IMMUTABLE | S_NOATIME | S_DIRSYNC)

static struct kmem_cache *izo_inode_cachep;

struct inode *izo_alloc_inode(struct super_block *sb)
{
	struct izo_inode *ii = alloc_inode_sb(sb, izo_inode_cachep, GFP_KERNEL);

	if (!ii)
		return NULL;
	ii->lower = NULL;
	ii->lower_dir = NULL;
	ii->class = IZO_CLASS_SHARED;
	ii->below = NULL;
	atomic_set(&ii->writers, 0);
	ii->replaced = false;
	ii->dirty = NULL;
	ii->body_changes = 0;
	memset(&ii->fid, 0, sizeof(ii->fid));
	ii->fid_known = false;
	return &ii->vfs_inode;
}

void izo_free_inode(struct inode *inode)
{
	kmem_cache_free(izo_inode_cachep, izo_i(inode));
}

/* If the last name is gone too, the lower inode is deleted here, under no lower lock. */
void izo_evict_inode(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	dput(izo_i(inode)->lower_dir);
	iput(izo_lower(inode));
}

static void izo_inode_init_once(void *obj)
{
	struct izo_inode *ii = obj;

	inode_init_once(&ii->vfs_inode);
}

int izo_init_inode_cache(void)
{
	izo_inode_cachep = kmem_cache_create("izo_inode", sizeof(struct izo_inode), 0,
					     SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					     izo_inode_init_once);
	return izo_inode_cachep ? 0 : -ENOMEM;
}

void izo_destroy_inode_cache(void)
{
	rcu_barrier();		/* inodes are freed by RCU */
	kmem_cache_destroy(izo_inode_cachep);
}

/**
 * izo_copy_attr - take over the lower inode's attributes, but its link count
 * @inode: upper inode
 *
 * Context: any. The lower values are read under the upper i_lock, so that of two callers the
 * later one stores what is at least as new; a writer need not hold the inode lock exclusively.
 */
void izo_copy_attr(struct inode *inode)
{
	struct inode *lower = izo_lower(inode);

	spin_lock(&inode->i_lock);
	inode->i_mode = lower->i_mode;
	inode->i_uid = lower->i_uid;
	inode->i_gid = lower->i_gid;
	inode->i_blocks = lower->i_blocks;
	inode->i_bytes = lower->i_bytes;
	inode_set_atime_to_ts(inode, inode_get_atime(lower));
	inode_set_mtime_to_ts(inode, inode_get_mtime(lower));
	inode_set_ctime_to_ts(inode, inode_get_ctime(lower));
	i_size_write(inode, i_size_read(lower));
	inode_set_flags(inode, lower->i_flags & IZO_COPIED_FLAGS, IZO_COPIED_FLAGS);
	spin_unlock(&inode->i_lock);
}

/**
 * izo_copy_nlink - take over the lower inode's link count
 * @inode: upper inode, locked exclusively or new
 */
void izo_copy_nlink(struct inode *inode)
{
	set_nlink(inode, izo_lower(inode)->i_nlink);
}

/**
 * izo_permission - ->permission: ordinary rules, and .intermezzo for administrators' eyes only
 * @idmap: of the mount
 * @inode: upper inode, mode and owner mirror the lower one's
 * @mask: MAY_*
 *
 * Context: perhaps an RCU walk.
 * Return: 0 or -EACCES, -EPERM.
 */
int izo_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	if (unlikely(izo_i(inode)->class == IZO_CLASS_INTERNAL)) {
		if (!capable(CAP_SYS_ADMIN))
			return -EACCES;
		if (mask & (MAY_WRITE | MAY_APPEND))
			return -EPERM;
	}
	return generic_permission(idmap, inode, mask);
}

/* What of a change of attributes others learn; reading a file is no change. */
static u32 izo_valid_of(unsigned int ia_valid)
{
	u32 valid = (ia_valid & (ATTR_MODE | ATTR_KILL_SUID | ATTR_KILL_SGID) ? IZO_ATTR_MODE : 0) |
		    (ia_valid & ATTR_UID ? IZO_ATTR_UID : 0) |
		    (ia_valid & ATTR_GID ? IZO_ATTR_GID : 0) |
		    (ia_valid & ATTR_MTIME ? IZO_ATTR_MTIME : 0);

	return valid && ia_valid & ATTR_ATIME ? valid | IZO_ATTR_ATIME : valid;
}

/**
 * izo_do_setattr - change mode, owner or times
 * @ctx: who asks
 * @dentry: the object, its inode locked
 * @attr: what to change; not the size
 *
 * Return: 0 or a negative errno.
 */
int izo_do_setattr(struct izo_ctx *ctx, struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	int err;

	ctx->change.op = IZO_KML_SETATTR;
	ctx->change.object = inode;
	ctx->change.hint = dentry;
	ctx->change.old_mode = inode->i_mode;
	ctx->change.valid = izo_valid_of(attr->ia_valid);
	err = izo_change_begin(ctx, inode, NULL);
	if (err)
		return err;
	if (!ctx->change.valid)
		ctx->shared = false;
	err = izo_lower_setattr(ctx, inode, attr);
	izo_copy_attr(inode);
	izo_change_end(ctx);
	return err;
}

/* A change of the size is one of the body: listed first, ended by a CLOSE. */
static int izo_do_resize(struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode = d_inode(dentry);
	loff_t from = i_size_read(izo_lower(inode));
	struct vfsmount *mnt = izo_sb(inode->i_sb)->lower_mnt;
	int err = izo_body_dirty(inode, false);

	/* the rest of the last block is made zero, on the medium at once */
	if (!err && IS_DAX(izo_lower(inode)))
		err = izo_body_entry_commit(inode, false);
	if (err)
		return err;
	err = mnt_want_write(mnt);
	if (err)
		return err;
	err = izo_lower_resize(inode, attr);
	izo_copy_attr(inode);
	mnt_drop_write(mnt);
	if (!err)
		izo_body_resized(inode, from, attr->ia_size);
	return err;
}

/* The rest of what came with a new size: truncate(2) takes set-id bits away. */
static int izo_resize_and_setattr(struct izo_ctx *ctx, struct dentry *dentry, struct iattr *attr)
{
	const unsigned int others = ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_KILL_SUID |
				    ATTR_KILL_SGID;
	struct iattr part = *attr;
	int err = 0;

	if (izo_i(d_inode(dentry))->class == IZO_CLASS_INTERNAL)
		return -EPERM;
	if (attr->ia_valid & others) {
		part.ia_valid &= others | ATTR_CTIME | ATTR_FORCE;
		err = izo_do_setattr(ctx, dentry, &part);
	}
	part.ia_valid = attr->ia_valid & ~others;
	if (!err)
		err = izo_do_resize(dentry, &part);
	if (!err)
		izo_body_settled(d_inode(dentry), dentry);
	return err;
}

/**
 * izo_setattr - ->setattr: mode, owner, times and size
 * @idmap: of the mount
 * @dentry: the object, its inode locked
 * @attr: what to change
 *
 * Return: 0; -ESTALE for a truncate(2), or an O_TRUNC, that came too late for its name; another
 * negative errno.
 */
int izo_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	struct izo_ctx ctx;
	int err = setattr_prepare(idmap, dentry, attr);

	if (err)
		return err;
	/* by a name that stands for a new file now: the VFS looks it up again */
	if (izo_i(d_inode(dentry))->replaced && attr->ia_valid & ATTR_SIZE &&
	    (attr->ia_valid & ATTR_OPEN || !(attr->ia_valid & ATTR_FILE)))
		return -ESTALE;
	izo_ctx_local(&ctx, dentry->d_sb);
	if (attr->ia_valid & ATTR_SIZE)
		return izo_resize_and_setattr(&ctx, dentry, attr);
	return izo_do_setattr(&ctx, dentry, attr);
}

/**
 * izo_getattr - ->getattr: what the cache says, under our device number
 * @idmap: unused: idmapped mounts are not offered
 * @path: the object
 * @stat: result
 * @request_mask: STATX_*
 * @flags: AT_STATX_*
 *
 * Return: 0 or a negative errno.
 */
int izo_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		u32 request_mask, unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	int err = izo_lower_getattr(inode, stat, request_mask, flags);

	if (!err) {
		stat->dev = inode->i_sb->s_dev;
		generic_fill_statx_attr(inode, stat);
		izo_log_getattr(inode, stat);
	}
	return err;
}

/**
 * izo_update_time - ->update_time: times that the VFS sets go straight to the cache
 * @inode: upper inode
 * @flags: S_ATIME of any object; S_MTIME and S_CTIME of a FIFO, not recorded (a file's are
 *	set below)
 *
 * Whether an access time is due was decided by the upper mount's options.
 *
 * Return: 0: a time that could not be stored is nobody's error.
 */
int izo_update_time(struct inode *inode, int flags)
{
	struct vfsmount *mnt = izo_sb(inode->i_sb)->lower_mnt;

	if (izo_log_check(inode->i_sb))
		return 0;
	/* As touch_atime(): a path walk must not wait for a thaw. */
	if (!sb_start_write_trylock(mnt->mnt_sb))
		return 0;
	if (!mnt_get_write_access(mnt)) {
		inode_update_time(izo_lower(inode), flags);
		mnt_put_write_access(mnt);
		izo_copy_attr(inode);
	}
	sb_end_write(mnt->mnt_sb);
	return 0;
}

int izo_fileattr_get(struct dentry *dentry, struct fileattr *fa)
{
	return izo_lower_fileattr_get(d_inode(dentry), fa);
}

/**
 * izo_do_fileattr_set - change the flags that chattr(1) sets, or the project
 * @ctx: who asks
 * @dentry: the object, its inode locked
 * @fa: new flags and project
 *
 * Return: 0 or a negative errno.
 */
int izo_do_fileattr_set(struct izo_ctx *ctx, struct dentry *dentry, struct fileattr *fa)
{
	struct inode *inode = d_inode(dentry);
	int err;

	ctx->change.op = IZO_KML_SETATTR;
	ctx->change.object = inode;
	ctx->change.hint = dentry;
	ctx->change.old_mode = inode->i_mode;
	ctx->change.valid = IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
	err = izo_change_begin(ctx, inode, NULL);
	if (err)
		return err;
	err = izo_lower_fileattr_set(ctx, inode, fa);
	izo_copy_attr(inode);
	izo_change_end(ctx);
	return err;
}

/**
 * izo_fileattr_set - ->fileattr_set: chattr(1)
 * @idmap: of the mount
 * @dentry: the object, its inode locked
 * @fa: new flags
 *
 * Return: 0 or a negative errno; -EOPNOTSUPP for data journaling and extents.
 */
int izo_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry, struct fileattr *fa)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dentry->d_sb);
	return izo_do_fileattr_set(&ctx, dentry, fa);
}

static int izo_fiemap(struct inode *inode, struct fiemap_extent_info *fieinfo, u64 start, u64 len)
{
	struct inode *lower = izo_lower(inode);
	int err = 0;

	if (!lower->i_op->fiemap)
		return -EOPNOTSUPP;
	/* dirty pages are written out first */
	if (fieinfo->fi_flags & FIEMAP_FLAG_SYNC)
		err = izo_body_entry_commit(inode, false);
	return err ? err : lower->i_op->fiemap(lower, fieinfo, start, len);
}

/* Only for targets too long for i_link. */
static const char *izo_get_link(struct dentry *dentry, struct inode *inode,
				struct delayed_call *done)
{
	return dentry ? izo_lower_get_link(inode, done) : ERR_PTR(-ECHILD);
}

const struct inode_operations izo_file_inode_operations = {
	.permission	= izo_permission,
	.setattr	= izo_setattr,
	.getattr	= izo_getattr,
	.listxattr	= izo_listxattr,
	.get_inode_acl	= izo_get_inode_acl,
	.set_acl	= izo_set_acl,
	.update_time	= izo_update_time,
	.fiemap		= izo_fiemap,
	.fileattr_get	= izo_fileattr_get,
	.fileattr_set	= izo_fileattr_set,
};

const struct inode_operations izo_symlink_inode_operations = {
	.get_link	= izo_get_link,
	.permission	= izo_permission,
	.setattr	= izo_setattr,
	.getattr	= izo_getattr,
	.listxattr	= izo_listxattr,
	.update_time	= izo_update_time,
};

const struct inode_operations izo_special_inode_operations = {
	.permission	= izo_permission,
	.setattr	= izo_setattr,
	.getattr	= izo_getattr,
	.listxattr	= izo_listxattr,
	.get_inode_acl	= izo_get_inode_acl,
	.set_acl	= izo_set_acl,
	.update_time	= izo_update_time,
};
