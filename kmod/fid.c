// SPDX-License-Identifier: GPL-2.0-only
/*
 * FIDs: which replica made an object, and as which inode.
 *
 * An object that was made here needs nothing stored: its inode says it all. One that a peer made
 * carries trusted.izo; one that came with a clone of a peer's disk stands in the table "base".
 */

#include <linux/fs.h>
#include <linux/xattr.h>
#include "intermezzo.h"
#include "log.h"

/**
 * izo_fid_known - is the FID of this object known without asking the cache?
 * @log: the log
 * @inode: upper inode
 */
bool izo_fid_known(const struct izo_log *log, const struct inode *inode)
{
	return log->replicas == 1 || inode == d_inode(inode->i_sb->s_root) ||
	       smp_load_acquire(&izo_i(inode)->fid_known);	/* pairs with izo_fid_find() */
}

/**
 * izo_fid_put_new - the FID of an object just made here
 * @log: the log
 * @lower: its lower inode
 * @fid: result
 */
void izo_fid_put_new(const struct izo_log *log, const struct inode *lower, struct izo_fid *fid)
{
	fid->ino = cpu_to_le64(lower->i_ino);
	fid->generation = cpu_to_le32(lower->i_generation);
	fid->replica = cpu_to_le16(log->self);
	fid->zero = 0;
}

/**
 * izo_fid_put - the FID of an object
 * @log: the log
 * @inode: upper inode; izo_fid_known()
 * @fid: result
 */
void izo_fid_put(const struct izo_log *log, const struct inode *inode, struct izo_fid *fid)
{
	if (inode == d_inode(inode->i_sb->s_root))
		*fid = (struct izo_fid){ .ino = cpu_to_le64(IZO_FID_ROOT_INO) };
	else if (izo_i(inode)->fid.replica)
		*fid = izo_i(inode)->fid;
	else
		izo_fid_put_new(log, izo_lower(inode), fid);
}

/* The peer whose disk this one was copied from, if the inode came with the copy; else 0. */
static int izo_fid_base(struct izo_log *log, const struct inode *lower, u16 *replica)
{
	struct izo_base_entry e;
	u64 at = sizeof(struct izo_base) + (u64)lower->i_ino * sizeof(e);
	int err = izo_log_read_small(log, "base", &e, sizeof(e), at);

	*replica = 0;
	if (err == -ENOENT || err == -ENODATA)
		return 0;
	if (!err && le32_to_cpu(e.generation) == lower->i_generation)
		*replica = le16_to_cpu(e.replica);
	return err;
}

/**
 * izo_fid_find - learn an object's FID from the cache
 * @log: the log
 * @inode: upper inode
 *
 * Context: no handle; the lower inode may be locked.
 * Return: 0 or a negative errno; -EUCLEAN for an attribute that is none of ours.
 */
int izo_fid_find(struct izo_log *log, struct inode *inode)
{
	struct inode *lower = izo_lower(inode);
	struct dentry *dentry = izo_lower_dentry(inode);
	struct izo_fid_xattr x;
	struct izo_fid fid = { };
	ssize_t size;
	int err = 0;

	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	size = izo_get_xattr(dentry, IZO_FID_XATTR, &x, sizeof(x));
	dput(dentry);
	if (size == sizeof(x) && x.version == IZO_KML_VERSION && x.replica) {
		fid = (struct izo_fid){ x.ino, x.generation, x.replica };
	} else if (size == -ENODATA || size == -EOPNOTSUPP) {
		u16 replica;

		err = izo_fid_base(log, lower, &replica);
		if (replica) {
			izo_fid_put_new(log, lower, &fid);
			fid.replica = cpu_to_le16(replica);
		}
	} else {
		err = size < 0 ? size : -EUCLEAN;
	}
	if (err)
		return err;
	spin_lock(&inode->i_lock);
	izo_i(inode)->fid = fid;
	spin_unlock(&inode->i_lock);
	/* pairs with izo_fid_known() */
	smp_store_release(&izo_i(inode)->fid_known, true);
	return 0;
}
