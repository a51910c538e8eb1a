// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a daemon asks of single objects: who made them, how IZO_IOC_REINT is to find them, and
 * whether their bodies are at rest. docs/reintegration.md explains the command.
 */

#include <linux/fs.h>	/* fileattr.h needs it before */
#include <linux/fileattr.h>
#include <linux/namei.h>
#include <linux/uaccess.h>
#include <linux/wait_bit.h>
#include "intermezzo.h"
#include "log.h"

/* The object that is meant: the open one, or what a name in it stands for. Referenced. */
static struct dentry *izo_object_find(struct file *file, const struct izo_object *o)
{
	struct dentry *dentry = file->f_path.dentry;
	char name[NAME_MAX];

	if (!o->name_len)
		return dget(dentry);
	if (!d_is_dir(dentry))
		return ERR_PTR(-ENOTDIR);
	if (o->name_len > sizeof(name))
		return ERR_PTR(-ENAMETOOLONG);
	if (copy_from_user(name, u64_to_user_ptr(o->name), o->name_len))
		return ERR_PTR(-EFAULT);
	/* whatever is mounted there; -EACCES for ".", ".." and what is no component */
	dentry = lookup_one_len_unlocked(name, dentry, o->name_len);
	if (!IS_ERR(dentry) && d_really_is_negative(dentry)) {
		dput(dentry);
		dentry = ERR_PTR(-ENOENT);
	}
	return dentry;
}

/*
 * Both are read in one hold: a change that ends in between would be missed. False: a CLOSE is being
 * written.
 */
static bool izo_object_look(struct inode *inode, struct izo_object *o)
{
	struct izo_dirty *d;
	bool is_known;

	spin_lock(&inode->i_lock);
	d = izo_i(inode)->dirty;
	is_known = !d || d->open || !d->closing;
	o->flags = d ? IZO_OBJECT_LISTED : 0;
	if (d && d->open) {
		o->flags |= IZO_OBJECT_CHANGING;
		d->awaited = true;
	}
	o->body_changes = izo_i(inode)->body_changes;
	spin_unlock(&inode->i_lock);
	return is_known;
}

/*
 * A CLOSE that is being written may be in the log already or not: it is waited for. Who has read it
 * there would wait for another one.
 */
static int izo_object_body(struct inode *inode, struct izo_object *o)
{
	/* pairs with izo_lml_change_ended() */
	return wait_var_event_killable(inode, izo_object_look(inode, o));
}

/* Not every object, nor every cache, has them. */
static int izo_object_fsflags(struct inode *inode, struct izo_object *o)
{
	struct fileattr fa = { };
	int err = izo_lower_fileattr_get(inode, &fa);

	if (err == -ENOIOCTLCMD || err == -ENOTTY || err == -EOPNOTSUPP)
		return 0;
	if (err)
		return err;
	o->flags |= IZO_OBJECT_FSFLAGS;
	o->fsflags = fa.flags;
	o->projid = fa.fsx_projid;
	return 0;
}

static int izo_object_fill(struct izo_log *log, struct inode *inode, struct izo_object *o)
{
	enum izo_class class = izo_i(inode)->class;
	struct izo_fid fid;
	int err = 0;

	if (class == IZO_CLASS_INTERNAL || !inode->i_nlink)
		return -ENOENT;
	o->mode = inode->i_mode;
	o->ino = izo_lower(inode)->i_ino;
	o->generation = izo_lower(inode)->i_generation;
	if (!izo_class_is_shared(inode->i_sb, class)) {
		o->flags = IZO_OBJECT_LOCAL;
		return 0;
	}
	if (!izo_fid_known(log, inode))
		err = izo_fid_find(log, inode);
	if (err)
		return err;
	izo_fid_put(log, inode, &fid);
	o->replica = le16_to_cpu(fid.replica);
	o->fid_ino = le64_to_cpu(fid.ino);
	o->fid_generation = le32_to_cpu(fid.generation);
	return izo_object_body(inode, o);
}

/**
 * izo_object_ioctl - IZO_IOC_OBJECT: what an object is to other replicas
 * @file: upper file or directory: the object, or the directory that has its name
 * @user: struct izo_object
 *
 * Return: 0; -EPERM without CAP_SYS_ADMIN; -ENODATA without a log; -EINVAL for another version or
 * fields that must be 0; -ENOENT for a name that is not there, is the kernel's own, and for an
 * object that has lost its last; -ENOTDIR, -ENAMETOOLONG, -EACCES for what cannot be a name there;
 * -ERESTARTSYS if the caller is killed while it waits for a CLOSE that is being written; another
 * negative errno.
 */
long izo_object_ioctl(struct file *file, struct izo_object __user *user)
{
	/* pairs with izo_log_open() */
	struct izo_log *log = smp_load_acquire(&izo_sb(file_inode(file)->i_sb)->log);
	struct dentry *dentry;
	struct izo_object o;
	bool fsflags;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!log)
		return -ENODATA;
	if (copy_from_user(&o, user, sizeof(o)))
		return -EFAULT;
	if (o.version != IZO_REINT_VERSION || o.replica || o.flags & ~IZO_OBJECT_FSFLAGS ||
	    o.mode || o.ino || o.generation || o.fid_generation || o.fid_ino || o.body_changes ||
	    o.fsflags || o.projid)
		return -EINVAL;
	fsflags = o.flags & IZO_OBJECT_FSFLAGS;
	o.flags = 0;
	dentry = izo_object_find(file, &o);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	err = izo_object_fill(log, d_inode(dentry), &o);
	if (!err && fsflags)
		err = izo_object_fsflags(d_inode(dentry), &o);
	dput(dentry);
	if (!err && copy_to_user(user, &o, sizeof(o)))
		err = -EFAULT;
	return err;
}
