// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names: create, mkdir, mknod, symlink, link, unlink, rmdir.
 *
 * Each operation is one izo_do_*() function that takes a context; the inode operation makes a
 * local context and calls it. The upper dentry gets its inode last, still under the directory's
 * lock: nobody can use an object whose creation is not complete.
 */

#include <linux/namei.h>
#include "intermezzo.h"
#include "log.h"

static int izo_lower_make(struct izo_ctx *ctx, struct izo_name *n, const struct izo_new *new)
{
	switch (new->mode & S_IFMT) {
	case S_IFREG:
		return izo_lower_create(ctx, n, new->mode, new->excl);
	case S_IFDIR:
		return izo_lower_mkdir(ctx, n, new->mode);
	case S_IFLNK:
		return izo_lower_symlink(ctx, n, new->target);
	default:
		return izo_lower_mknod(ctx, n, new->mode, new->rdev);
	}
}

/*
 * The object exists below: give its name the upper inode. Without memory for one the name is
 * dropped, and the next lookup finds the object.
 */
static int izo_instantiate(struct inode *dir, struct dentry *dentry, struct izo_name *n)
{
	struct inode *inode = izo_iget(dir->i_sb, n->child, dir, &dentry->d_name);

	if (IS_ERR(inode)) {
		d_drop(dentry);
		return PTR_ERR(inode);
	}
	d_instantiate(dentry, inode);
	return 0;
}

static u16 izo_op_that_makes(umode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return IZO_KML_CREATE;
	case S_IFDIR:
		return IZO_KML_MKDIR;
	case S_IFLNK:
		return IZO_KML_SYMLINK;
	default:
		return IZO_KML_MKNOD;
	}
}

/**
 * izo_do_make - make an object
 * @ctx: who asks
 * @dir: upper directory, locked
 * @dentry: the name, negative
 * @new: what is to be made
 *
 * Return: 0 or a negative errno.
 */
int izo_do_make(struct izo_ctx *ctx, struct inode *dir, struct dentry *dentry,
		const struct izo_new *new)
{
	struct izo_name n;
	int err;

	ctx->change.op = izo_op_that_makes(new->mode);
	ctx->change.dir = dir;
	ctx->change.name = &dentry->d_name;
	ctx->change.target = new->target;
	err = izo_change_begin(ctx, dir, &dentry->d_name);
	if (err)
		return err;
	err = izo_name_lock(&n, dir, &dentry->d_name);
	if (err)
		goto out;
	err = izo_lower_make(ctx, &n, new);
	if (!err)
		err = izo_instantiate(dir, dentry, &n);
	izo_name_unlock(&n);
	izo_copy_attr(dir);
	izo_copy_nlink(dir);
out:
	izo_change_end(ctx);
	return err;
}

static int izo_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
		      umode_t mode, bool excl)
{
	const struct izo_new new = { .mode = (mode & S_IALLUGO) | S_IFREG, .excl = excl };
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_make(&ctx, dir, dentry, &new);
}

static int izo_mkdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
		     umode_t mode)
{
	const struct izo_new new = { .mode = (mode & S_IALLUGO) | S_IFDIR };
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_make(&ctx, dir, dentry, &new);
}

static int izo_mknod(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
		     umode_t mode, dev_t rdev)
{
	const struct izo_new new = { .mode = mode, .rdev = rdev };
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_make(&ctx, dir, dentry, &new);
}

static int izo_symlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry,
		       const char *target)
{
	const struct izo_new new = { .mode = S_IFLNK | 0777, .target = target };
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_make(&ctx, dir, dentry, &new);
}

/* A first name (of an O_TMPFILE) makes the object known to others, with all that it has. */
static void izo_link_describe(struct izo_change *c, struct inode *inode)
{
	c->op = IZO_KML_LINK;
	if (inode->i_nlink)
		return;
	c->op = izo_op_that_makes(inode->i_mode);
	c->flags = IZO_KML_COMPLETE;
}

/**
 * izo_do_link - give an object one more name
 * @ctx: who asks
 * @inode: the object, locked
 * @dir: upper directory, locked
 * @dentry: the name, negative
 *
 * Return: 0; -EXDEV across a border of classes; another negative errno.
 */
int izo_do_link(struct izo_ctx *ctx, struct inode *inode, struct inode *dir,
		struct dentry *dentry)
{
	struct izo_name n;
	int err;

	if (!izo_class_keeps(inode, dir, &dentry->d_name))
		return -EXDEV;
	izo_link_describe(&ctx->change, inode);
	/* listed before others can see the name */
	if (ctx->change.flags & IZO_KML_COMPLETE && S_ISREG(inode->i_mode)) {
		err = izo_body_named(inode);
		if (err)
			return err;
	}
	ctx->change.object = inode;
	ctx->change.dir = dir;
	ctx->change.name = &dentry->d_name;
	err = izo_change_begin(ctx, dir, &dentry->d_name);
	if (err)
		return err;
	err = izo_name_lock(&n, dir, &dentry->d_name);
	if (err)
		goto out;
	err = izo_lower_link(ctx, inode, &n);
	izo_name_unlock(&n);
	izo_copy_attr(inode);
	izo_copy_nlink(inode);
	izo_copy_attr(dir);
	if (!err) {
		ihold(inode);
		d_instantiate(dentry, inode);
	}
out:
	izo_change_end(ctx);
	if (!err && ctx->change.flags & IZO_KML_COMPLETE)
		izo_body_settled(inode, dentry);
	return err;
}

static int izo_link(struct dentry *old_dentry, struct inode *dir, struct dentry *dentry)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_link(&ctx, d_inode(old_dentry), dir, dentry);
}

/**
 * izo_do_remove - remove a name
 * @ctx: who asks
 * @dir: upper directory, locked
 * @dentry: the name; its inode is locked
 *
 * Return: 0 or a negative errno.
 */
int izo_do_remove(struct izo_ctx *ctx, struct inode *dir, struct dentry *dentry)
{
	struct inode *victim = d_inode(dentry);
	struct izo_name n;
	int err;

	ctx->change.op = S_ISDIR(victim->i_mode) ? IZO_KML_RMDIR : IZO_KML_UNLINK;
	ctx->change.object = victim;
	ctx->change.dir = dir;
	ctx->change.name = &dentry->d_name;
	err = izo_change_begin(ctx, dir, &dentry->d_name);
	if (err)
		return err;
	err = izo_name_lock(&n, dir, &dentry->d_name);
	if (err)
		goto out;
	err = izo_name_is(&n, victim);
	if (!err)
		err = S_ISDIR(victim->i_mode) ? izo_lower_rmdir(ctx, &n) :
						izo_lower_unlink(ctx, &n);
	izo_name_unlock(&n);
	izo_copy_attr(victim);
	izo_copy_nlink(victim);
	izo_body_gone(victim);
	izo_copy_attr(dir);
	izo_copy_nlink(dir);
out:
	izo_change_end(ctx);
	return err;
}

static int izo_remove(struct inode *dir, struct dentry *dentry)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_remove(&ctx, dir, dentry);
}

const struct inode_operations izo_dir_inode_operations = {
	.lookup		= izo_lookup,
	.create		= izo_create,
	.link		= izo_link,
	.unlink		= izo_remove,
	.symlink	= izo_symlink,
	.mkdir		= izo_mkdir,
	.rmdir		= izo_remove,
	.mknod		= izo_mknod,
	.rename		= izo_rename,
	.tmpfile	= izo_tmpfile,
	.permission	= izo_permission,
	.setattr	= izo_setattr,
	.getattr	= izo_getattr,
	.listxattr	= izo_listxattr,
	.get_inode_acl	= izo_get_inode_acl,
	.set_acl	= izo_set_acl,
	.update_time	= izo_update_time,
	.fileattr_get	= izo_fileattr_get,
	.fileattr_set	= izo_fileattr_set,
};
