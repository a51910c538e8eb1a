// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a peer's record says of an object is set here exactly, in the transaction that makes it:
 * whatever the umask, set-group-id directories, default ACLs and the clock have made of it.
 *
 * Nothing can be undone within a handle, so what cannot be set is only reported.
 */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/fileattr.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/quotaops.h>
#include <linux/slab.h>
#include <linux/xattr.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

/*
 * Bytes of an object's attributes' names that a new body is given at most. A system call lists
 * XATTR_LIST_MAX, but some caches keep any number.
 */
#define IZO_NAMES_MAX (16 * XATTR_LIST_MAX)

static struct timespec64 izo_time(__le64 seconds, __le32 nsec)
{
	return (struct timespec64){ .tv_sec = le64_to_cpu(seconds), .tv_nsec = le32_to_cpu(nsec) };
}

/**
 * izo_attr_get - attributes of a record, for setattr
 * @a: of the record
 * @type: of the object, S_IFMT
 * @attr: result
 */
void izo_attr_get(const struct izo_kml_attr *a, umode_t type, struct iattr *attr)
{
	u32 valid = le32_to_cpu(a->valid);

	*attr = (struct iattr){ .ia_valid = ATTR_FORCE | ATTR_CTIME };
	/* a symbolic link has all permissions, always */
	if (valid & IZO_ATTR_MODE && type != S_IFLNK) {
		attr->ia_valid |= ATTR_MODE;
		attr->ia_mode = type | (le32_to_cpu(a->mode) & S_IALLUGO);
	}
	if (valid & IZO_ATTR_UID) {
		attr->ia_valid |= ATTR_UID;
		attr->ia_vfsuid = VFSUIDT_INIT(make_kuid(&init_user_ns, le32_to_cpu(a->uid)));
	}
	if (valid & IZO_ATTR_GID) {
		attr->ia_valid |= ATTR_GID;
		attr->ia_vfsgid = VFSGIDT_INIT(make_kgid(&init_user_ns, le32_to_cpu(a->gid)));
	}
	if (valid & IZO_ATTR_MTIME) {
		attr->ia_valid |= ATTR_MTIME | ATTR_MTIME_SET;
		attr->ia_mtime = izo_time(a->mtime, a->mtime_nsec);
	}
	if (valid & IZO_ATTR_ATIME) {
		attr->ia_valid |= ATTR_ATIME | ATTR_ATIME_SET;
		attr->ia_atime = izo_time(a->atime, a->atime_nsec);
	}
}

/* Flags and project; what only xfs has, extent size hints above all, stays as it is. */
static void izo_fileattr_fill(struct fileattr *fa, u32 flags, u32 projid)
{
	const struct fileattr had = *fa;

	fileattr_fill_flags(fa, flags);
	fa->fsx_xflags |= had.fsx_xflags & ~FS_XFLAG_COMMON;
	fa->fsx_extsize = had.fsx_extsize;
	fa->fsx_cowextsize = had.fsx_cowextsize;
	fa->fsx_projid = projid;
	fa->fsx_valid = true;
}

/**
 * izo_fileattr_want - flags and project of a record, for fileattr_set
 * @a: of the record
 * @fa: what the object has; what the record says of it is changed
 *
 * Flags that a user cannot set, and those that move blocks, stay as they are.
 */
void izo_fileattr_want(const struct izo_kml_attr *a, struct fileattr *fa)
{
	const u32 ours = (FS_FL_USER_MODIFIABLE | FS_PROJINHERIT_FL) & ~IZO_FIXED_FSFLAGS;
	u32 flags = (fa->flags & ~ours) | (le32_to_cpu(a->fsflags) & ours);
	u32 projid = fa->fsx_projid;

	if (le32_to_cpu(a->valid) & IZO_ATTR_PROJID)
		projid = le32_to_cpu(a->projid);
	izo_fileattr_fill(fa, flags, projid);
}

static int izo_set_one_xattr(struct super_block *sb, struct dentry *lower,
			     const struct izo_kml_xattr *x)
{
	u32 name_len = le32_to_cpu(x->name_len), size = le32_to_cpu(x->value_len);
	char *name = kmemdup_nul(x->data, name_len, GFP_NOFS);
	struct posix_acl *acl;
	int type, err;

	if (!name)
		return -ENOMEM;
	type = posix_acl_type(name);
	if (izo_xattr_is_local(sb, name)) {
		err = -EPERM;
	} else if (izo_xattr_is_none(name, x->data + name_len, size)) {
		err = -EINVAL;
	} else if (size > XATTR_SIZE_MAX) {
		err = -E2BIG;	/* the VFS alone would ask */
	} else if (type < 0) {
		err = __vfs_setxattr(&nop_mnt_idmap, lower, d_inode(lower), name,
				     x->data + name_len, size, 0);
	} else {
		acl = posix_acl_from_xattr(&init_user_ns, x->data + name_len, size);
		err = PTR_ERR_OR_ZERO(acl);
		if (!err)
			err = set_posix_acl(&nop_mnt_idmap, lower, type, acl);
		if (!IS_ERR(acl))
			posix_acl_release(acl);
	}
	kfree(name);
	return err;
}

static void izo_note_error(struct izo_remote *m, int err)
{
	if (err && !m->inexact)
		m->inexact = err;
}

/* ACLs that the directory has given it. */
static int izo_drop_acls(struct dentry *lower)
{
	struct inode *inode = d_inode(lower);
	int err;

	if (!IS_POSIXACL(inode) || S_ISLNK(inode->i_mode))
		return 0;
	err = set_posix_acl(&nop_mnt_idmap, lower, ACL_TYPE_ACCESS, NULL);
	if (!err && S_ISDIR(inode->i_mode))
		err = set_posix_acl(&nop_mnt_idmap, lower, ACL_TYPE_DEFAULT, NULL);
	return err;
}

static void izo_set_birth_xattrs(struct izo_change *c)
{
	struct izo_remote *m = c->remote;
	const void *item = NULL;
	size_t len;

	while ((item = izo_record_find(m->head, IZO_ITEM_XATTR, item, &len))) {
		int err = izo_set_one_xattr(c->dir->i_sb, c->lower, item);

		izo_note_error(m, err);
		/* others, who learn of it from here, have to fetch them */
		m->cut |= err;
	}
	if (le32_to_cpu(m->head->flags) & IZO_KML_XATTRS_CUT)
		izo_note_error(m, -E2BIG);
}

/**
 * izo_lower_set_fid - store an object's FID with it
 * @lower: lower dentry of the object, which is locked
 * @fid: the FID
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_set_fid(struct dentry *lower, const struct izo_fid *fid)
{
	const struct izo_fid_xattr x = {
		.version = IZO_KML_VERSION,
		.replica = fid->replica,
		.generation = fid->generation,
		.ino = fid->ino,
	};

	return __vfs_setxattr(&nop_mnt_idmap, lower, d_inode(lower), IZO_FID_XATTR, &x, sizeof(x),
			      0);
}

/**
 * izo_lower_set_mtime - set an object's modification time
 * @inode: upper inode; its lower one is locked
 * @mtime: the time
 *
 * Of one that is immutable too: what was changed there was a file's body, which may be, and that it
 * stands in another inode now is nobody's business.
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_set_mtime(const struct inode *inode, const struct timespec64 *mtime)
{
	struct iattr attr = {
		.ia_valid = ATTR_FORCE | ATTR_CTIME | ATTR_MTIME | ATTR_MTIME_SET,
		.ia_mtime = *mtime,
	};
	struct dentry *lower = izo_lower_dentry(inode);
	unsigned int immutable;
	int err;

	if (IS_ERR(lower))
		return PTR_ERR(lower);
	/* file systems keep the flag elsewhere, and ask here */
	immutable = d_inode(lower)->i_flags & S_IMMUTABLE;
	inode_set_flags(d_inode(lower), 0, immutable);
	err = notify_change(&nop_mnt_idmap, lower, &attr, NULL);
	inode_set_flags(d_inode(lower), immutable, immutable);
	dput(lower);
	return err;
}

static int izo_set_birth_flags(struct dentry *lower, const struct izo_kml_attr *a)
{
	struct inode *inode = d_inode(lower);
	struct fileattr fa = { };
	u32 flags, projid;
	int err;

	if (!S_ISREG(inode->i_mode) && !S_ISDIR(inode->i_mode))
		return 0;
	if (!inode->i_op->fileattr_set)
		return le32_to_cpu(a->valid) & IZO_ATTR_FSFLAGS ? -EOPNOTSUPP : 0;
	err = izo_get_fileattr(lower, &fa);
	if (err)
		return err;
	flags = fa.flags;
	projid = fa.fsx_projid;
	izo_fileattr_want(a, &fa);
	if (fa.flags == flags && fa.fsx_projid == projid)
		return 0;
	return inode->i_op->fileattr_set(&nop_mnt_idmap, lower, &fa);
}

/* The owner, whom a quota may forbid, for itself: not to lose the others with it. */
static void izo_set_birth_attr(struct izo_change *c, const struct izo_kml_attr *a)
{
	const unsigned int owner = ATTR_UID | ATTR_GID;
	umode_t type = d_inode(c->lower)->i_mode & S_IFMT;
	struct iattr attr;

	izo_attr_get(a, type, &attr);
	attr.ia_valid &= owner | ATTR_FORCE | ATTR_CTIME;
	if (attr.ia_valid & owner)
		izo_note_error(c->remote, notify_change(&nop_mnt_idmap, c->lower, &attr, NULL));
	izo_attr_get(a, type, &attr);
	attr.ia_valid &= ~owner;
	izo_note_error(c->remote, notify_change(&nop_mnt_idmap, c->lower, &attr, NULL));
}

/*
 * The FID before anything that could take its room. The flags last: an immutable object takes
 * nothing more. Returns why there is no FID, or 0.
 */
static int izo_set_birth(struct izo_change *c, const struct izo_fid *fid,
			 const struct izo_kml_attr *a)
{
	struct inode *inode = d_inode(c->lower);
	int err;

	/* nobody can have it yet; to wait for the lock within a handle would be wrong */
	if (WARN_ON_ONCE(!inode_trylock(inode)))
		return -EAGAIN;
	izo_note_error(c->remote, izo_drop_acls(c->lower));
	err = izo_lower_set_fid(c->lower, fid);
	if (!err) {
		izo_set_birth_xattrs(c);
		izo_set_birth_attr(c, a);
		izo_note_error(c->remote, izo_set_birth_flags(c->lower, a));
	}
	inode_unlock(inode);
	return err;
}

/* Take back what was made in this handle. */
static int izo_unmake(struct izo_change *c)
{
	struct dentry *lower_dir = izo_lower_dentry(c->dir);
	struct inode *dir;
	int err;

	if (IS_ERR(lower_dir))
		return PTR_ERR(lower_dir);
	dir = d_inode(lower_dir);
	/* as in izo_set_birth() */
	if (WARN_ON_ONCE(!inode_trylock(d_inode(c->lower)))) {
		dput(lower_dir);
		return -EAGAIN;
	}
	if (d_is_dir(c->lower))
		err = dir->i_op->rmdir(dir, c->lower);
	else
		err = dir->i_op->unlink(dir, c->lower);
	inode_unlock(d_inode(c->lower));
	if (!err) {
		d_drop(c->lower);
		izo_lower_set_mtime(c->dir, &c->dir_mtime);
	}
	dput(lower_dir);
	return err;
}

/* Without its FID it would be another object to everybody, once its inode has left the memory. */
static int izo_finish_birth(struct izo_ctx *ctx)
{
	struct izo_change *c = &ctx->change;
	const struct inode *inode = d_inode(c->lower);
	int err = izo_set_birth(c, &c->remote->head->object, c->remote->attr);
	int err2 = err ? izo_unmake(c) : 0;

	c->remote->ino = inode->i_ino;
	c->remote->generation = inode->i_generation;
	if (err2)
		izo_log_fail(ctx->log, "an object without identity could not be taken back", err2);
	return err;
}

/* A directory's time is its newest name's, whichever replica's: in every order the same. */
static int izo_set_dir_time(const struct inode *dir, const struct timespec64 *before,
			    const struct izo_kml_place *place)
{
	struct timespec64 theirs = izo_time(place->mtime, place->mtime_nsec);

	return izo_lower_set_mtime(dir, timespec64_compare(before, &theirs) > 0 ? before :
								&theirs);
}

/* A directory that got another parent: locked, and written by that. */
static int izo_set_moved_time(const struct inode *inode, __le64 seconds, __le32 nsec)
{
	struct timespec64 mtime = izo_time(seconds, nsec);

	return S_ISDIR(inode->i_mode) ? izo_lower_set_mtime(inode, &mtime) : 0;
}

static void izo_finish_rename(struct izo_change *c, struct izo_remote *m)
{
	if (c->flags & IZO_KML_WHITEOUT && c->lower)
		izo_note_error(m, izo_set_birth(c, &m->whiteout->fid, &m->whiteout->attr));
	if (c->dir == c->to_dir)
		return;
	if (m->attr && le32_to_cpu(m->attr->valid) & IZO_ATTR_MTIME)
		izo_note_error(m, izo_set_moved_time(c->object, m->attr->mtime,
						     m->attr->mtime_nsec));
	if (c->flags & IZO_KML_EXCHANGE)
		izo_note_error(m, izo_set_moved_time(c->replaced, m->other->mtime,
						     m->other->mtime_nsec));
	izo_note_error(m, izo_set_dir_time(c->to_dir, &c->to_mtime, m->to));
}

/*
 * Whoever sets an ACL and is not of the object's group takes set-group-id away with it. Here nobody
 * does: what applies records is root.
 */
static int izo_finish_acl(const struct izo_change *c, const struct izo_kml_attr *a)
{
	struct iattr attr = { .ia_valid = ATTR_FORCE | ATTR_CTIME | ATTR_MODE };
	const struct inode *inode = izo_lower(c->object);
	struct dentry *lower;
	int err;

	if (!a || !(le32_to_cpu(a->valid) & IZO_ATTR_MODE) ||
	    !(inode->i_mode & ~le32_to_cpu(a->mode) & S_ISGID))
		return 0;
	lower = izo_lower_dentry(c->object);
	if (IS_ERR(lower))
		return PTR_ERR(lower);
	attr.ia_mode = inode->i_mode & ~S_ISGID;
	err = notify_change(&nop_mnt_idmap, lower, &attr, NULL);
	dput(lower);
	return err;
}

/**
 * izo_remote_finish - a peer's record was applied: make it exact
 * @ctx: with its handle; what the change needs is locked
 *
 * ctx->change.remote->inexact says what could not be set.
 *
 * Return: 0; or a negative errno, with the change taken back.
 */
int izo_remote_finish(struct izo_ctx *ctx)
{
	struct izo_change *c = &ctx->change;
	struct izo_remote *m = c->remote;
	int err = 0;

	switch (c->op) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
		err = izo_finish_birth(ctx);
		break;
	case IZO_KML_RENAME:
		izo_finish_rename(c, m);
		break;
	case IZO_KML_SETXATTR:
		if (c->acl_type == ACL_TYPE_ACCESS)
			izo_note_error(m, izo_finish_acl(c, m->attr));
		break;
	default:
		break;
	}
	if (!err && c->dir && c->name)
		izo_note_error(m, izo_set_dir_time(c->dir, &c->dir_mtime, m->place));
	return err;
}

/* Copy what is not the kernel's own; ACLs among them. */
static int izo_copy_xattr(struct dentry *from, struct dentry *to, const char *name, void *value)
{
	ssize_t size = izo_get_xattr(from, name, value, XATTR_SIZE_MAX);
	int type = posix_acl_type(name), err;
	struct posix_acl *acl;

	if (size < 0)
		return size == -ENODATA ? 0 : size;
	if (type < 0)
		return __vfs_setxattr(&nop_mnt_idmap, to, d_inode(to), name, value, size, 0);
	acl = posix_acl_from_xattr(&init_user_ns, value, size);
	err = PTR_ERR_OR_ZERO(acl);
	if (!err) {
		err = set_posix_acl(&nop_mnt_idmap, to, type, acl);
		posix_acl_release(acl);
	}
	return err;
}

/* Names of all attributes; -E2BIG for more than are copied. The caller frees the list. */
static ssize_t izo_names_of(struct dentry *lower, char **list)
{
	ssize_t bytes = izo_list_xattrs(lower, NULL, 0);

	*list = NULL;
	if (bytes <= 0)
		return bytes;
	if (bytes > IZO_NAMES_MAX)
		return -E2BIG;
	*list = kvmalloc(bytes, GFP_KERNEL);
	return *list ? izo_list_xattrs(lower, *list, bytes) : -ENOMEM;
}

static int izo_copy_xattrs(struct izo_step *step, struct dentry *from, struct dentry *to)
{
	char *list;
	ssize_t bytes = izo_names_of(from, &list);
	void *value = kvmalloc(XATTR_SIZE_MAX, GFP_KERNEL);
	int err = value ? 0 : -ENOMEM;

	if (bytes < 0)
		err = bytes;
	for (char *name = list; !err && name < list + bytes; name += strlen(name) + 1)
		if (!izo_xattr_is_local(step->batch->sb, name))
			err = izo_copy_xattr(from, to, name, value);
	kvfree(value);
	kvfree(list);
	return err;
}

/* What only the new file has: an ACL that its directory gave it, what the daemon set. */
static int izo_drop_xattrs(struct izo_step *step, struct dentry *from, struct dentry *to)
{
	char *list;
	ssize_t bytes = izo_names_of(to, &list);
	int err = bytes < 0 ? bytes : izo_drop_acls(to);

	for (char *name = list; !err && name < list + bytes; name += strlen(name) + 1)
		if (!izo_xattr_is_local(step->batch->sb, name) && posix_acl_type(name) < 0 &&
		    izo_get_xattr(from, name, NULL, 0) == -ENODATA)
			err = __vfs_removexattr(&nop_mnt_idmap, to, name);
	kvfree(list);
	/* a capability may have come or gone */
	inode_set_flags(d_inode(to), 0, S_NOSEC);
	return err;
}

static int izo_copy_owner_and_times(struct izo_step *step, struct dentry *from, struct dentry *to)
{
	const struct inode *like = d_inode(from);
	struct iattr attr;

	/* the body's time is the record's */
	izo_attr_get(step->remote.attr, S_IFREG, &attr);
	attr.ia_valid &= ~(ATTR_UID | ATTR_GID | ATTR_MODE | ATTR_ATIME | ATTR_ATIME_SET);
	attr.ia_valid |= ATTR_UID | ATTR_GID | ATTR_MODE | ATTR_ATIME | ATTR_ATIME_SET;
	attr.ia_vfsuid = VFSUIDT_INIT(like->i_uid);
	attr.ia_vfsgid = VFSGIDT_INIT(like->i_gid);
	attr.ia_mode = like->i_mode;
	attr.ia_atime = inode_get_atime(like);
	return notify_change(&nop_mnt_idmap, to, &attr, NULL);
}

/* How its blocks are kept is the cache's decision, and not to be changed. */
static int izo_copy_flags(struct dentry *from, struct dentry *to)
{
	struct fileattr fa = { }, now = { };
	int err = izo_get_fileattr(from, &fa);
	u32 flags;

	if (err || !d_inode(to)->i_op->fileattr_set)
		return err == -ENOIOCTLCMD ? 0 : err;
	err = izo_get_fileattr(to, &now);
	if (err)
		return err;
	flags = (fa.flags & ~IZO_FIXED_FSFLAGS) | (now.flags & IZO_FIXED_FSFLAGS);
	if (now.flags == flags && now.fsx_projid == fa.fsx_projid)
		return 0;
	izo_fileattr_fill(&now, flags, fa.fsx_projid);
	return d_inode(to)->i_op->fileattr_set(&nop_mnt_idmap, to, &now);
}

/**
 * izo_lower_become - give a nameless file all that another has but its body and its FID
 * @step: the CLOSE that the body came with
 * @inode: upper inode of the file, locked
 * @like: upper inode of the other, locked
 *
 * In transactions of their own: until it has a name it is nothing to anybody.
 *
 * Context: freezing of the cache is held off; no handle.
 * Return: 0 or a negative errno: -E2BIG for more attributes than are copied.
 */
int izo_lower_become(struct izo_step *step, struct inode *inode, const struct inode *like)
{
	struct dentry *from = izo_lower_dentry(like), *to = izo_lower_dentry(inode);
	int err;

	err = IS_ERR(from) ? PTR_ERR(from) : PTR_ERR_OR_ZERO(to);
	if (!err) {
		inode_lock(d_inode(to));
		err = dquot_initialize(d_inode(to));
		if (!err)
			err = izo_drop_xattrs(step, from, to);
		if (!err)
			err = izo_copy_xattrs(step, from, to);
		if (!err)
			err = izo_copy_owner_and_times(step, from, to);
		if (!err)
			err = izo_copy_flags(from, to);
		inode_unlock(d_inode(to));
	}
	if (!IS_ERR(from))
		dput(from);
	if (!IS_ERR(to))
		dput(to);
	return err;
}

/**
 * izo_lower_prepare_name - what izo_lower_take_name() or izo_lower_replace_name() needs and may not
 *	find, before any name is taken
 * @log: the log
 * @n: the name; its directory is locked
 * @fresh: result: a dentry for the new file: at the name, or without a journal among the log's
 *	files
 *
 * Return: 0 or a negative errno.
 */
int izo_lower_prepare_name(struct izo_log *log, const struct izo_name *n, struct dentry **fresh)
{
	const struct qstr q = QSTR_INIT(IZO_BODY_NAME, strlen(IZO_BODY_NAME));
	int err = dquot_initialize(d_inode(n->dir));

	if (!err)
		err = dquot_initialize(d_inode(n->child));
	if (err)
		return err;
	*fresh = log->journal ? d_alloc(n->dir, &n->child->d_name) : d_alloc(log->dir, &q);
	return *fresh ? 0 : -ENOMEM;
}

/**
 * izo_lower_replace_name - let one file take another's name where no transaction holds what belongs
 *	together
 * @log: the log; its lower directory is locked
 * @new: lower dentry of the file; both inodes are locked
 * @n: the name; its directory is locked
 * @fresh: of izo_lower_prepare_name()
 *
 * By way of a name among the log's files: the old name always stands for one of the two. What a
 * crash leaves there goes when the log is opened.
 *
 * Return: 0; or a negative errno, with nothing done.
 */
int izo_lower_replace_name(struct izo_log *log, struct dentry *new, const struct izo_name *n,
			   struct dentry *fresh)
{
	struct inode *from = d_inode(log->dir), *dir = d_inode(n->dir);
	int err = from->i_op->link(new, from, fresh);

	if (err)
		return err;
	err = from->i_op->rename(&nop_mnt_idmap, from, fresh, dir, n->child, 0);
	if (err)
		from->i_op->unlink(from, fresh);
	else
		d_move(fresh, n->child);
	return err;
}

/**
 * izo_lower_drop_fid - a file does not get the identity that it was given
 * @lower: its lower dentry; it is locked
 */
void izo_lower_drop_fid(struct dentry *lower)
{
	__vfs_removexattr(&nop_mnt_idmap, lower, IZO_FID_XATTR);
}

/**
 * izo_lower_take_name - let one file take another's name, within a handle
 * @new: lower dentry of the file; both inodes are locked
 * @n: the name; its directory is locked
 * @fresh: of izo_lower_prepare_name()
 *
 * The place that the old entry leaves is enough for the new one.
 *
 * Return: 0; or a negative errno, with the name perhaps gone.
 */
int izo_lower_take_name(struct dentry *new, const struct izo_name *n, struct dentry *fresh)
{
	struct inode *dir = d_inode(n->dir);
	int err = dir->i_op->unlink(dir, n->child);

	if (err)
		return err;
	d_drop(n->child);
	err = dir->i_op->link(new, dir, fresh);
	if (!err)
		d_rehash(fresh);
	return err;
}
