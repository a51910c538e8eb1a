// SPDX-License-Identifier: GPL-2.0-only
/*
 * FIDs: which replica made an object, and as which inode.
 *
 * An object that was made here needs nothing stored: its inode says it all. One that a peer made
 * carries trusted.izo; one that came with a clone of a peer's disk stands in the table "base".
 */

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/gfp.h>
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
	return READ_ONCE(log->replicas) == 1 || inode == d_inode(inode->i_sb->s_root) ||
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

/**
 * izo_fid_set - an object's FID is known now
 * @inode: upper inode
 * @fid: its FID, or 0 if it was made here
 */
void izo_fid_set(struct inode *inode, const struct izo_fid *fid)
{
	spin_lock(&inode->i_lock);
	izo_i(inode)->fid = *fid;
	spin_unlock(&inode->i_lock);
	/* pairs with izo_fid_known() */
	smp_store_release(&izo_i(inode)->fid_known, true);
}

/* Add the entries that a piece of the table holds to its checksum. Returns 0 or -EUCLEAN. */
static int izo_base_check_part(const struct izo_log *log, const struct izo_base_entry *e,
			       unsigned int count, u32 *crc)
{
	*crc = izo_crc_add(*crc, e, count * sizeof(*e));
	for (unsigned int i = 0; i < count; i++)
		if (le16_to_cpu(e[i].replica) > log->replicas || e[i].zero)
			return -EUCLEAN;
	return 0;
}

/* Is the table what mkizofs wrote? Returns 0, -EUCLEAN or -ENODATA if not, or another errno. */
static int izo_base_check(const struct izo_log *log, struct file *file)
{
	loff_t pos = sizeof(struct izo_base), size = i_size_read(file_inode(file));
	struct izo_base head;
	int err = izo_read_exactly(file, 0, &head, sizeof(head));
	u32 crc, wanted;
	void *page;

	if (err)
		return err;
	if (le64_to_cpu(head.magic) != IZO_BASE_MAGIC ||
	    le32_to_cpu(head.version) != IZO_KML_VERSION || head.reserved ||
	    (size - pos) % sizeof(struct izo_base_entry) ||
	    le64_to_cpu(head.count) != (size - pos) / sizeof(struct izo_base_entry))
		return -EUCLEAN;
	page = (void *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	wanted = le32_to_cpu(head.crc);
	head.crc = 0;
	crc = izo_crc_add(0, &head, sizeof(head));
	while (pos < size && !err) {
		u32 part = min_t(loff_t, PAGE_SIZE, size - pos);

		err = izo_read_exactly(file, pos, page, part);
		if (!err)
			err = izo_base_check_part(log, page, part / sizeof(struct izo_base_entry),
						  &crc);
		pos += part;
	}
	free_page((unsigned long)page);
	return err ? err : crc == wanted ? 0 : -EUCLEAN;
}

/**
 * izo_base_open - open the table of the objects that a clone was copied with, if there is one
 * @log: the log; its replicas are known
 * @fc: context to complain in
 *
 * A wrong FID is a change of a wrong object on every replica: the table is right or not used.
 *
 * Return: 0; -EINVAL with a message if it is damaged; another negative errno.
 */
int izo_base_open(struct izo_log *log, struct fs_context *fc)
{
	struct file *file;
	int err;

	if (log->replicas == 1)
		return 0;
	file = izo_table_open(log, "base");
	err = PTR_ERR_OR_ZERO(file);
	if (!err) {
		log->base = file;
		err = izo_base_check(log, file);
	}
	if (err == -ENOENT)
		return 0;
	if (err != -EUCLEAN && err != -ENODATA)
		return err;
	return invalfc(fc, ".intermezzo/%pd/base is damaged; restore it from another copy of this cache, or save the tree and make the cache anew",
		       log->dir);
}

/* The peer whose disk this one was copied from, if the inode came with the copy; else 0. */
static int izo_base_find(const struct izo_log *log, const struct inode *lower, u16 *replica)
{
	struct izo_base_entry e;
	u64 at = sizeof(struct izo_base) + (u64)lower->i_ino * sizeof(e);
	int err = log->base ? izo_read_exactly(log->base, at, &e, sizeof(e)) : -ENODATA;

	*replica = 0;
	if (err == -ENODATA)	/* a newer inode number */
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
	if (size == sizeof(x) && x.version == IZO_KML_VERSION && x.replica && x.ino &&
	    le16_to_cpu(x.replica) <= log->replicas) {
		fid = (struct izo_fid){ x.ino, x.generation, x.replica };
	} else if (size == -ENODATA || size == -EOPNOTSUPP) {
		u16 replica;

		err = izo_base_find(log, lower, &replica);
		if (replica) {
			izo_fid_put_new(log, lower, &fid);
			fid.replica = cpu_to_le16(replica);
		}
	} else {
		err = size < 0 && size != -ERANGE ? size : -EUCLEAN;
	}
	if (err)
		return err;
	izo_fid_set(inode, &fid);
	return 0;
}
