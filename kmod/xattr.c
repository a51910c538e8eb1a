// SPDX-License-Identifier: GPL-2.0-only
/* Extended attributes and ACLs: the lower inode's, but for those that are ours. */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/unaligned.h>
#include <linux/xattr.h>
#include "intermezzo.h"

/* trusted.izo and trusted.izo.*: identity and marks that no copy of a file may carry along. */
#define IZO_XATTR_OWN XATTR_TRUSTED_PREFIX "izo"

/* Is this an attribute that no copy of a file may carry along? */
static bool izo_xattr_is_own(const char *name)
{
	size_t len = sizeof(IZO_XATTR_OWN) - 1;

	return !strncmp(name, IZO_XATTR_OWN, len) && (!name[len] || name[len] == '.');
}

/**
 * izo_xattr_is_local - does this attribute say something of this replica's object only?
 * @sb: upper superblock
 * @name: full name
 *
 * Ours, and the cache's: those say in its own way what is recorded as flags or an ACL.
 */
bool izo_xattr_is_local(const struct super_block *sb, const char *name)
{
	const char *prefix = izo_sb(sb)->config.cache->xattr_prefix;

	return izo_xattr_is_own(name) || (prefix && str_has_prefix(name, prefix));
}

/**
 * izo_xattr_is_none - is this the value of an attribute that no system call would set?
 * @name: full name
 * @value: the value
 * @size: bytes at @value
 *
 * File capabilities, which the VFS alone looks at: of others no one could read them, nor copy the
 * file with all that it has. What it takes is what cap_convert_nscap() does.
 */
bool izo_xattr_is_none(const char *name, const void *value, size_t size)
{
	const struct vfs_ns_cap_data *cap = value;
	u32 revision;

	if (strcmp(name, XATTR_NAME_CAPS))
		return false;
	if (size < sizeof(revision))
		return true;
	revision = get_unaligned_le32(&cap->magic_etc) & ~VFS_CAP_FLAGS_EFFECTIVE;
	if (size == XATTR_CAPS_SZ_3 && revision == VFS_CAP_REVISION_3)
		return get_unaligned_le32(&cap->rootid) == U32_MAX;
	return size != XATTR_CAPS_SZ_2 || revision != VFS_CAP_REVISION_2;
}

/**
 * izo_do_setxattr - set or remove an extended attribute
 * @ctx: who asks
 * @inode: the object, locked
 * @name: full name
 * @value: new value, or NULL to remove it
 * @size: bytes at @value
 * @flags: XATTR_CREATE, XATTR_REPLACE
 *
 * Return: 0 or a negative errno.
 */
int izo_do_setxattr(struct izo_ctx *ctx, struct inode *inode, const char *name,
		    const void *value, size_t size, int flags)
{
	int err;

	ctx->change.op = value ? IZO_KML_SETXATTR : IZO_KML_REMOVEXATTR;
	ctx->change.object = inode;
	ctx->change.old_mode = inode->i_mode;
	ctx->change.xattr = name;
	ctx->change.value = value;
	ctx->change.size = size;
	err = izo_change_begin(ctx, inode, NULL);
	if (err)
		return err;
	err = izo_lower_setxattr(ctx, inode, name, value, size, flags);
	izo_copy_attr(inode);
	izo_change_end(ctx);
	return err;
}

static int izo_xattr_get(const struct xattr_handler *handler, struct dentry *dentry,
			 struct inode *inode, const char *name, void *buffer, size_t size)
{
	struct dentry *lower;
	int ret;

	if (izo_xattr_is_own(name))
		return -EOPNOTSUPP;
	lower = izo_lower_dentry(inode);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	/* The right to read it was tested on the upper inode. */
	ret = __vfs_getxattr(lower, d_inode(lower), name, buffer, size);
	dput(lower);
	return ret;
}

static int izo_xattr_set(const struct xattr_handler *handler, struct mnt_idmap *idmap,
			 struct dentry *dentry, struct inode *inode, const char *name,
			 const void *value, size_t size, int flags)
{
	struct izo_ctx ctx;

	if (izo_xattr_is_local(inode->i_sb, name))
		return -EOPNOTSUPP;
	izo_ctx_local(&ctx, inode->i_sb);
	ctx.change.hint = dentry;
	return izo_do_setxattr(&ctx, inode, name, value, size, flags);
}

static const struct xattr_handler izo_xattr_handler = {
	.prefix	= "",		/* every name */
	.get	= izo_xattr_get,
	.set	= izo_xattr_set,
};

const struct xattr_handler * const izo_xattr_handlers[] = {
	&izo_xattr_handler,
	NULL
};

/* Close up a list of NUL-ended names over those that are ours. Returns the bytes left. */
static ssize_t izo_xattr_strip_own(char *list, ssize_t bytes)
{
	char *name = list, *end = list + bytes;

	while (name < end) {
		size_t len = strnlen(name, end - name) + 1;

		if (WARN_ON_ONCE(len > end - name))
			return -EIO;
		if (izo_xattr_is_own(name)) {
			memmove(name, name + len, end - name - len);
			end -= len;
		} else {
			name += len;
		}
	}
	return end - list;
}

/**
 * izo_listxattr - ->listxattr
 * @dentry: the object
 * @list: buffer, or NULL
 * @size: its size; 0 asks for the size needed, which may be more than a second call returns
 *
 * Return: bytes used or a negative errno.
 */
ssize_t izo_listxattr(struct dentry *dentry, char *list, size_t size)
{
	ssize_t ret = izo_lower_listxattr(d_inode(dentry), list, size);

	if (ret <= 0 || !size)
		return ret;
	return izo_xattr_strip_own(list, ret);
}

/**
 * izo_get_inode_acl - ->get_inode_acl: for permission checks and getxattr(2)
 * @inode: upper inode
 * @type: ACL_TYPE_*
 * @rcu: an RCU walk: only what the lower inode has cached
 *
 * Return: a referenced ACL, NULL, or an ERR_PTR.
 */
struct posix_acl *izo_get_inode_acl(struct inode *inode, int type, bool rcu)
{
	struct inode *lower = izo_lower(inode);

	if (!IS_POSIXACL(lower))
		return NULL;
	if (rcu)
		return get_cached_acl_rcu(lower, type);
	return get_inode_acl(lower, type);
}

/**
 * izo_do_set_acl - set or remove an ACL
 * @ctx: who asks
 * @inode: the object, locked
 * @acl: new ACL, or NULL to remove it
 * @type: ACL_TYPE_*
 *
 * Return: 0 or a negative errno.
 */
int izo_do_set_acl(struct izo_ctx *ctx, struct inode *inode, struct posix_acl *acl, int type)
{
	int err;

	ctx->change.op = IZO_KML_SETXATTR;
	ctx->change.object = inode;
	ctx->change.old_mode = inode->i_mode;
	ctx->change.acl_type = type;
	ctx->change.xattr = posix_acl_xattr_name(type);
	ctx->change.size = posix_acl_xattr_size(acl ? acl->a_count : 0);
	err = izo_change_begin(ctx, inode, NULL);
	if (err)
		return err;
	err = izo_lower_set_acl(ctx, inode, acl, type);
	izo_copy_attr(inode);
	izo_change_end(ctx);
	return err;
}

/**
 * izo_set_acl - ->set_acl; the lower file system derives the mode bits
 * @idmap: of the mount
 * @dentry: the object, its inode locked
 * @acl: new ACL or NULL
 * @type: ACL_TYPE_*
 *
 * Return: 0 or a negative errno.
 */
int izo_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, struct posix_acl *acl, int type)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dentry->d_sb);
	ctx.change.hint = dentry;
	return izo_do_set_acl(&ctx, d_inode(dentry), acl, type);
}
