// SPDX-License-Identifier: GPL-2.0-only
/* Attributes, extended attributes and ACLs set as a peer's record says. */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/fileattr.h>
#include <linux/filelock.h>
#include <linux/fsnotify.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/xattr.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

/* No attribute needs more free blocks; on tmpfs, where user attributes take their room, inodes. */
#define IZO_ROOM_ENOUGH 256

/* Find the object, lock it, see whether it may be changed. */
static int izo_object_enter(struct izo_step *step, u32 aspects, struct dentry **object)
{
	struct izo_recent_key key = { .aspects = aspects | IZO_ASPECT_EXISTENCE };
	int err = izo_reint_find_object(step, object);

	if (err)
		return err;
	key.inode = d_inode(*object);
	inode_lock(d_inode(*object));
	if (!key.inode->i_nlink)
		err = IZO_REINT_MISSING;
	else if (izo_reint_changed(step, &key, 1))
		err = IZO_REINT_CHANGED;
	if (!err && !S_ISDIR(key.inode->i_mode))
		err = try_break_deleg(d_inode(*object), NULL);
	if (!err)
		return 0;
	inode_unlock(d_inode(*object));
	dput(*object);
	return err;
}

static void izo_object_leave(struct dentry *object)
{
	inode_unlock(d_inode(object));
	dput(object);
}

/*
 * An attribute that finds no place while there is room for files is too large for this cache, and
 * will stay so.
 */
static bool izo_cannot_hold(struct izo_step *step, const struct dentry *object)
{
	bool in_memory = !izo_sb(step->batch->sb)->config.cache->needs_device;
	struct kstatfs st;

	if (test_bit(IZO_LOG_OVERFLOW, &step->batch->log->state) ||
	    izo_lower_statfs(d_inode(object), &st))
		return false;
	return st.f_bavail >= IZO_ROOM_ENOUGH &&
	       (!in_memory || !st.f_files || st.f_ffree >= IZO_ROOM_ENOUGH);
}

/* What only the flags or the kind of cache forbid is no error of the cache. */
static int izo_as_answer(struct izo_step *step, const struct dentry *object, int err)
{
	switch (err) {
	case -EPERM:
		return IS_IMMUTABLE(d_inode(object)) || IS_APPEND(d_inode(object)) ?
		       IZO_REINT_REFUSED : err;
	case -ENOSPC:
		return izo_cannot_hold(step, object) ? IZO_REINT_REFUSED : err;
	case -EOPNOTSUPP:
	case -E2BIG:
	case -ERANGE:
		return IZO_REINT_REFUSED;
	default:
		return err;
	}
}

static int izo_set_flags(struct izo_ctx *ctx, struct dentry *object, const struct izo_kml_attr *a)
{
	struct fileattr fa = { };
	int err = izo_lower_fileattr_get(d_inode(object), &fa);

	if (err)
		return err == -ENOIOCTLCMD ? IZO_REINT_REFUSED : err;
	izo_fileattr_want(a, &fa);
	return izo_do_fileattr_set(ctx, object, &fa);
}

static int izo_setattr_locked(struct izo_step *step, struct dentry *object)
{
	const struct izo_kml_attr *a = step->remote.attr;
	struct inode *inode = d_inode(object);
	struct iattr attr;
	struct izo_ctx ctx;
	int err;

	izo_ctx_remote(&ctx, step);
	ctx.change.hint = object;
	if (le32_to_cpu(a->valid) & (IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID))
		return izo_set_flags(&ctx, object, a);
	if (IS_IMMUTABLE(inode) || IS_APPEND(inode))
		return IZO_REINT_REFUSED;
	izo_attr_get(a, inode->i_mode & S_IFMT, &attr);
	/* the VFS does it for calls: the next writer may have something to strip */
	inode_set_flags(inode, 0, S_NOSEC);
	err = izo_do_setattr(&ctx, object, &attr);
	if (!err)
		fsnotify_change(object, attr.ia_valid);
	return err;
}

/**
 * izo_reint_setattr - SETATTR
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_setattr(struct izo_step *step)
{
	u32 times = IZO_ATTR_MTIME | IZO_ATTR_ATIME | IZO_ATTR_CTIME;
	bool only_times = !(le32_to_cpu(step->remote.attr->valid) & ~times);
	struct dentry *object;
	int err = izo_object_enter(step, only_times ? 0 : IZO_ASPECT_ATTR, &object);

	if (err)
		return err;
	err = izo_as_answer(step, object, izo_setattr_locked(step, object));
	izo_object_leave(object);
	return err;
}

/*
 * The ACL that a record sets. One that says no more than a mode, as cp(1) sets it, is kept nowhere:
 * where it was set the mode became that, and the record says the mode and that no ACL is left.
 */
static struct posix_acl *izo_acl_of(const struct izo_step *step, int type, const void *value,
				    u32 size)
{
	const struct izo_kml_attr *a = step->remote.attr;

	if (size)
		return posix_acl_from_xattr(&init_user_ns, value, size);
	if (type == ACL_TYPE_ACCESS && a && le32_to_cpu(a->valid) & IZO_ATTR_MODE)
		return posix_acl_from_mode(le32_to_cpu(a->mode), GFP_KERNEL);
	return NULL;
}

/*
 * On a cache without ACLs: the object gets the mode that the record gives, which is all that it can
 * have. None is there to be removed.
 */
static int izo_set_mode_of_acl(struct izo_step *step, struct izo_ctx *ctx, struct dentry *object,
			       u32 size)
{
	const struct izo_kml_attr *a = step->remote.attr;
	struct iattr attr;
	int err;

	if (!a || !(le32_to_cpu(a->valid) & IZO_ATTR_MODE))
		return size ? -EOPNOTSUPP : -ENODATA;
	izo_attr_get(a, d_inode(object)->i_mode & S_IFMT, &attr);
	attr.ia_valid &= ATTR_FORCE | ATTR_CTIME | ATTR_MODE;
	err = izo_do_setattr(ctx, object, &attr);
	if (!err && size)
		step->remote.inexact = -EOPNOTSUPP;
	return err;
}

static int izo_set_acl_of(struct izo_step *step, struct izo_ctx *ctx, struct dentry *object,
			  int type, const void *value, u32 size)
{
	struct posix_acl *acl;
	int err;

	if (!IS_POSIXACL(izo_lower(d_inode(object))))
		return izo_set_mode_of_acl(step, ctx, object, size);
	acl = izo_acl_of(step, type, value, size);
	err = PTR_ERR_OR_ZERO(acl);
	if (err)
		return err == -ENOMEM ? err : IZO_REINT_REFUSED;
	err = izo_do_set_acl(ctx, d_inode(object), acl, type);
	posix_acl_release(acl);
	return err;
}

static int izo_setxattr_locked(struct izo_step *step, struct dentry *object, const char *name,
			       const void *value, u32 size)
{
	bool removes = le16_to_cpu(step->remote.head->op) == IZO_KML_REMOVEXATTR;
	int type = posix_acl_type(name), err;
	struct izo_ctx ctx;

	izo_ctx_remote(&ctx, step);
	ctx.change.hint = object;
	inode_set_flags(d_inode(object), 0, S_NOSEC);
	if (type >= 0)
		err = izo_set_acl_of(step, &ctx, object, type, value, removes ? 0 : size);
	else
		err = izo_do_setxattr(&ctx, d_inode(object), name, removes ? NULL : value, size,
				      0);
	if (err == -ENODATA)
		return IZO_REINT_MISSING;
	/* a name or a value that is none stays so */
	if (err == -EINVAL)
		return IZO_REINT_REFUSED;
	if (!err)
		fsnotify_xattr(object);
	return err;
}

/**
 * izo_reint_setxattr - SETXATTR, REMOVEXATTR
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_setxattr(struct izo_step *step)
{
	bool removes = le16_to_cpu(step->remote.head->op) == IZO_KML_REMOVEXATTR;
	const struct izo_kml_xattr *x;
	struct dentry *object;
	const void *value;
	size_t len;
	char *name;
	u32 size;
	int err;

	x = izo_record_find(step->remote.head, IZO_ITEM_XATTR, NULL, &len);
	value = x->data + le32_to_cpu(x->name_len);
	size = le32_to_cpu(x->value_len);
	name = kmemdup_nul(x->data, le32_to_cpu(x->name_len), GFP_KERNEL);
	if (!name)
		return -ENOMEM;
	/* identities are ours to give; what a file system keeps in its own way is no attribute */
	if (izo_xattr_is_local(step->batch->sb, name) || size > XATTR_SIZE_MAX ||
	    (!removes && izo_xattr_is_none(name, value, size)))
		err = IZO_REINT_REFUSED;
	else
		err = izo_object_enter(step, posix_acl_type(name) < 0 ? IZO_ASPECT_XATTR :
								       IZO_ASPECT_ATTR, &object);
	if (!err) {
		err = izo_as_answer(step, object,
				    izo_setxattr_locked(step, object, name, value, size));
		izo_object_leave(object);
	}
	kfree(name);
	return err;
}
