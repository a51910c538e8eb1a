// SPDX-License-Identifier: GPL-2.0-only
/* What can serve as a cache, and what an ext4 or xfs must not be to serve well. */

#include <linux/blkdev.h>
#include <linux/buffer_head.h>
#include <linux/exportfs.h>
#include <linux/xattr.h>
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

/* The XFS superblock, likewise: struct xfs_dsb in fs/xfs/libxfs/xfs_format.h, all big-endian. */
#define XFS_VERSION		100	/* __be16 */
#define XFS_VERSION_ASCII_CI	0x4000

/* The smallest inode that holds nanoseconds and a FID next to the usual attributes, in bytes. */
#define IZO_MIN_INODE_SIZE	256

static int izo_check_ext4(const struct vfsmount *mnt, struct fs_context *fc)
{
	struct super_block *lower = mnt->mnt_sb;
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

/* Generation 0, which mke2fs -d gives to all that it makes, would be any to ext4. */
static struct dentry *izo_find_ext4(const struct vfsmount *mnt, u64 ino, u32 generation)
{
	struct fid fid = { .i32.ino = ino, .i32.gen = generation };
	struct dentry *dentry;

	dentry = mnt->mnt_sb->s_export_op->fh_to_dentry(mnt->mnt_sb, &fid, 2, FILEID_INO32_GEN);
	if (!IS_ERR_OR_NULL(dentry) && d_inode(dentry)->i_generation != generation) {
		dput(dentry);
		dentry = ERR_PTR(-ESTALE);
	}
	return dentry;
}

/* A FID holds what inodes are known by to the kernel, which must be all of an inode number. */
static int izo_check_numbers(const struct vfsmount *mnt, struct fs_context *fc)
{
	if (sizeof_field(struct inode, i_ino) >= sizeof(u64))
		return 0;
	return invalfc(fc, "%s needs a 64-bit kernel", mnt->mnt_sb->s_type->name);
}

static int izo_check_xfs(const struct vfsmount *mnt, struct fs_context *fc)
{
	struct block_device *bdev = mnt->mnt_sb->s_bdev;
	struct buffer_head *bh = __bread(bdev, 0, bdev_logical_block_size(bdev));
	u16 version;

	if (!bh) {
		errorfc(fc, "%pg: cannot read the XFS superblock", bdev);
		return -EIO;
	}
	version = be16_to_cpup((__be16 *)(bh->b_data + XFS_VERSION));
	brelse(bh);
	/* XFS does not write through the device's pages: let none get old there */
	invalidate_bdev(bdev);
	if (version & XFS_VERSION_ASCII_CI)
		return invalfc(fc,
			       "%pg: names that ignore case are not supported; make the file system anew without -n version=ci",
			       bdev);
	return izo_check_numbers(mnt, fc);
}

static struct dentry *izo_find_xfs(const struct vfsmount *mnt, u64 ino, u32 generation)
{
	struct {
		u64 ino;
		u32 generation;
	} __packed __aligned(4) handle = { ino, generation };

	return mnt->mnt_sb->s_export_op->fh_to_dentry(mnt->mnt_sb, (struct fid *)&handle,
						      sizeof(handle) / sizeof(u32),
						      FILEID_INO64_GEN);
}

/* noauto_da_alloc: ext4 must not write data out within a handle of ours; we do it before. */
#define IZO_EXT4_CACHE \
	.driver = "ext4", .needs_device = true, .check = izo_check_ext4, .ops = &izo_ext4_ops, \
	.option = "noauto_da_alloc", .find = izo_find_ext4, \
	.remedy = "check the device, unmount, run e2fsck on it, mount again"

static const struct izo_cache_type izo_cache_types[] = {
	{ .name = "ext4", IZO_EXT4_CACHE },
	{ .name = "ext3", IZO_EXT4_CACHE },
	{
		.name = "xfs", .driver = "xfs", .needs_device = true, .ops = &izo_generic_ops,
		.xattr_prefix = XATTR_TRUSTED_PREFIX "SGI_ACL_", .check = izo_check_xfs,
		.find = izo_find_xfs,
		/* xfs_repair refuses a log that was not replayed */
		.remedy = "check the device, unmount, mount it as xfs and unmount it, run xfs_repair on it, mount again",
	},
	/* FS_NOCOW_FL: a record is written in place and needs no room that may not be there */
	{
		.name = "btrfs", .driver = "btrfs", .needs_device = true, .has_own_number = true,
		.ops = &izo_generic_ops, .part_option = "subvol",
		.xattr_prefix = XATTR_BTRFS_PREFIX, .log_flags = FS_NOCOW_FL,
		.check = izo_btrfs_check, .find = izo_btrfs_find,
		.is_foreign = izo_btrfs_is_foreign, .outlive = izo_btrfs_outlive,
		.remedy = "check the device, unmount, run btrfs check on it (it tells, and repairs nothing), mount again",
	},
	{
		/* nothing is written back: a page that was read is stored into without a fault */
		.name = "tmpfs", .driver = "tmpfs", .ops = &izo_generic_ops, .misses_stores = true,
		.remedy = "unmount, mount a new one",
	},
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
