// SPDX-License-Identifier: GPL-2.0-only
/* What can serve as a cache, and what an ext4 must not be to serve well. */

#include <linux/buffer_head.h>
#include "intermezzo.h"
#include "log.h"

/*
 * The ext4 superblock, read from the disk: its in-memory form is private to ext4, the disk format
 * is not. Offsets and bits: Documentation/filesystems/ext4/super.rst.
 */
#define EXT4_SUPER_OFFSET	1024
#define EXT4_INODE_SIZE		88	/* __le16 */
#define EXT4_FEATURE_COMPAT	92	/* __le32 */
#define EXT4_COMPAT_FAST_COMMIT	0x400
#define EXT4_FEATURE_INCOMPAT	96	/* __le32 */
#define EXT4_INCOMPAT_EA_INODE	0x400

/* The smallest inode that holds nanoseconds and a FID next to the usual attributes, in bytes. */
#define IZO_MIN_INODE_SIZE	256

static int izo_check_ext4(struct super_block *lower, struct fs_context *fc)
{
	unsigned int offset = EXT4_SUPER_OFFSET % lower->s_blocksize;
	struct buffer_head *bh = sb_bread(lower, EXT4_SUPER_OFFSET / lower->s_blocksize);
	unsigned int inode_size;
	u32 compat, incompat;

	if (!bh) {
		errorfc(fc, "%pg: cannot read the ext4 superblock", lower->s_bdev);
		return -EIO;
	}
	inode_size = le16_to_cpup((__le16 *)(bh->b_data + offset + EXT4_INODE_SIZE));
	compat = le32_to_cpup((__le32 *)(bh->b_data + offset + EXT4_FEATURE_COMPAT));
	incompat = le32_to_cpup((__le32 *)(bh->b_data + offset + EXT4_FEATURE_INCOMPAT));
	brelse(bh);

	if (inode_size < IZO_MIN_INODE_SIZE)
		return invalfc(fc,
			       "%pg: inodes of %u bytes are too small; make the file system anew with mke2fs -I %u",
			       lower->s_bdev, inode_size, IZO_MIN_INODE_SIZE);
	if (compat & EXT4_COMPAT_FAST_COMMIT)
		return invalfc(fc,
			       "%pg: ext4's fast_commit leaves the log out; turn it off with tune2fs -O ^fast_commit",
			       lower->s_bdev);
	if (incompat & EXT4_INCOMPAT_EA_INODE)
		return invalfc(fc,
			       "%pg: ext4's ea_inode takes several transactions for one change; make the file system anew without it",
			       lower->s_bdev);
	return 0;
}

/* noauto_da_alloc: ext4 must not write data out within a handle of ours; we do it before. */
#define IZO_EXT4_CACHE \
	.driver = "ext4", .needs_device = true, .check = izo_check_ext4, .ops = &izo_ext4_ops, \
	.option = "noauto_da_alloc"

static const struct izo_cache_type izo_cache_types[] = {
	{ .name = "ext4", IZO_EXT4_CACHE },
	{ .name = "ext3", IZO_EXT4_CACHE },
	{ .name = "tmpfs", .driver = "tmpfs", .ops = &izo_generic_ops },
};

/**
 * izo_cache_type_find - the cache type of this name
 * @name: as in cache_type=
 *
 * Return: the type, or NULL if it is not supported.
 */
const struct izo_cache_type *izo_cache_type_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_cache_types); i++)
		if (!strcmp(name, izo_cache_types[i].name))
			return &izo_cache_types[i];
	return NULL;
}

/**
 * izo_cache_type_default - the cache type of a mount that names none
 * @needs_device: whether the mount is of a block device
 *
 * Return: ext4 or tmpfs.
 */
const struct izo_cache_type *izo_cache_type_default(bool needs_device)
{
	return izo_cache_type_find(needs_device ? "ext4" : "tmpfs");
}
