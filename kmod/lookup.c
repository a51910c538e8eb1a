// SPDX-License-Identifier: GPL-2.0-only
/* From a name to an upper inode over the lower one that the name stands for. */

#include <linux/namei.h>
#include "intermezzo.h"

static int izo_inode_test(struct inode *inode, void *lower)
{
	return izo_lower(inode) == lower;
}

/* Under inode_hash_lock: may not sleep. izo_evict_inode() drops the reference. */
static int izo_inode_set(struct inode *inode, void *lower)
{
	ihold(lower);
	izo_i(inode)->lower = lower;
	/* a search by these may meet the inode when it has no lower one any more */
	inode->i_ino = ((struct inode *)lower)->i_ino;
	inode->i_generation = ((struct inode *)lower)->i_generation;
	return 0;
}

static void izo_inode_init(struct inode *inode)
{
	struct inode *lower = izo_lower(inode);

	inode->i_mode = lower->i_mode;
	izo_copy_attr(inode);
	izo_copy_nlink(inode);
	/* The lower inode caches them; two caches would have to be kept in step. */
	inode->i_acl = ACL_DONT_CACHE;
	inode->i_default_acl = ACL_DONT_CACHE;

	switch (lower->i_mode & S_IFMT) {
	case S_IFREG:
		inode->i_op = &izo_file_inode_operations;
		if (izo_i(inode)->class == IZO_CLASS_INTERNAL)
			inode->i_fop = &izo_log_file_operations;
		else
			inode->i_fop = &izo_file_operations;
		break;
	case S_IFDIR:
		inode->i_op = &izo_dir_inode_operations;
		inode->i_fop = &izo_dir_operations;
		break;
	case S_IFLNK:
		inode->i_op = &izo_symlink_inode_operations;
		/* A short target lives in the lower inode, which we pin: RCU walks may read it. */
		inode->i_link = lower->i_link;
		break;
	default:
		inode->i_op = &izo_special_inode_operations;
		init_special_inode(inode, lower->i_mode, lower->i_rdev);
		break;
	}
}

/**
 * izo_iget - the upper inode over a lower one
 * @sb: upper superblock
 * @lower: positive lower dentry; references of its own are taken
 * @dir: upper directory in which it was found, or NULL for the root
 * @name: its name there
 *
 * Context: @dir is locked, so that nobody gives the object another name and class meanwhile.
 * Return: a referenced inode, or ERR_PTR(-ENOMEM).
 */
struct inode *izo_iget(struct super_block *sb, struct dentry *lower, const struct inode *dir,
		       const struct qstr *name)
{
	struct inode *inode = iget5_locked(sb, d_inode(lower)->i_ino, izo_inode_test,
					   izo_inode_set, d_inode(lower));
	struct izo_inode *ii;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	if (!(inode->i_state & I_NEW))
		return inode;

	ii = izo_i(inode);
	if (d_is_dir(lower))
		ii->lower_dir = dget(lower);
	if (dir) {
		izo_class_of(dir, name, &ii->class, &ii->below);
	} else {
		ii->class = IZO_CLASS_SHARED;
		ii->below = izo_root_places;
	}
	izo_inode_init(inode);
	unlock_new_inode(inode);
	return inode;
}

/**
 * izo_lookup - ->lookup of directories
 * @dir: upper directory, locked shared or exclusively
 * @dentry: the name
 * @flags: unused: a negative dentry serves every intent
 *
 * Return: as ->lookup.
 */
struct dentry *izo_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	struct dentry *lower_dir = izo_lower_dentry(dir);
	struct inode *inode = NULL;
	struct dentry *lower;

	if (IS_ERR(lower_dir))
		return lower_dir;
	lower = izo_lower_lookup(dir->i_sb, lower_dir, &dentry->d_name);
	dput(lower_dir);
	if (IS_ERR(lower))
		return lower;
	if (d_really_is_positive(lower))
		inode = izo_iget(dir->i_sb, lower, dir, &dentry->d_name);
	dput(lower);
	return d_splice_alias(inode, dentry);
}
