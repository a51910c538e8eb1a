// SPDX-License-Identifier: GPL-2.0-only
/*
 * btrfs as a cache: one subvolume of it, alone.
 *
 * Each subvolume numbers its inodes itself, so only one can belong to a fileset: the others are
 * fenced off by name. A generation is that of the transaction which made the inode. See
 * docs/decisions/0012-caches-that-keep-no-transaction-of-ours.md.
 */

#include <linux/exportfs.h>
#include <linux/fs_context.h>
#include "intermezzo.h"
#include "log.h"

/* Inode numbers, the same in all subvolumes; fs/btrfs, include/uapi/linux/btrfs_tree.h. */
#define BTRFS_SUBVOL_ROOT	256	/* BTRFS_FIRST_FREE_OBJECTID */
#define BTRFS_SUBVOL_GONE	2	/* BTRFS_EMPTY_SUBVOL_DIR_OBJECTID: in a snapshot */

/* The part of a file handle that says which inode; struct btrfs_fid of fs/btrfs/export.h. */
struct izo_btrfs_handle {
	u64 ino;
	u64 subvol;
	u32 generation;
} __packed __aligned(4);

#define IZO_BTRFS_HANDLE_WORDS (sizeof(struct izo_btrfs_handle) / sizeof(u32))

/* The handle of the cache's root. Returns false if handles are not what they are known to be. */
static bool izo_btrfs_root_handle(const struct vfsmount *mnt, struct izo_btrfs_handle *handle)
{
	struct inode *root = d_inode(mnt->mnt_root);
	int words = IZO_BTRFS_HANDLE_WORDS;
	int type = mnt->mnt_sb->s_export_op->encode_fh(root, (u32 *)handle, &words, NULL);

	return type == FILEID_BTRFS_WITHOUT_PARENT && words == IZO_BTRFS_HANDLE_WORDS &&
	       handle->ino == root->i_ino && handle->generation == root->i_generation;
}

/**
 * izo_btrfs_check - can this mount serve as a cache?
 * @mnt: private mount of the cache
 * @fc: context to complain in
 *
 * Return: 0 or -EINVAL with a message.
 */
int izo_btrfs_check(const struct vfsmount *mnt, struct fs_context *fc)
{
	struct izo_btrfs_handle handle;

	/*
	 * It finds its superblock by the devices, whatever its flags say: another mount of the
	 * device would share ours, and change the tree behind the log.
	 */
	if (!(mnt->mnt_sb->s_type->fs_flags & FS_KEEPS_RETIRED))
		return invalfc(fc,
			       "cache_type=btrfs needs a kernel with kernel-patch/series/*/04-btrfs-alone.patch: this one would let others mount the device meanwhile");
	if (sizeof_field(struct inode, i_ino) < sizeof(u64))
		return invalfc(fc, "cache_type=btrfs needs a 64-bit kernel");
	if (!izo_btrfs_root_handle(mnt, &handle))
		return invalfc(fc, "this kernel's btrfs has file handles of an unknown form");
	return 0;
}

/**
 * izo_btrfs_find - an inode of the cache's subvolume
 * @mnt: private mount of the cache
 * @ino: its number
 * @generation: its generation
 *
 * Return: a referenced dentry, or an ERR_PTR or NULL if there is none.
 */
struct dentry *izo_btrfs_find(const struct vfsmount *mnt, u64 ino, u32 generation)
{
	struct izo_btrfs_handle handle;

	/* generation 0 would be any */
	if (!generation || !izo_btrfs_root_handle(mnt, &handle))
		return ERR_PTR(-ESTALE);
	handle.ino = ino;
	handle.generation = generation;
	return mnt->mnt_sb->s_export_op->fh_to_dentry(mnt->mnt_sb, (struct fid *)&handle,
						      IZO_BTRFS_HANDLE_WORDS,
						      FILEID_BTRFS_WITHOUT_PARENT);
}

/**
 * izo_btrfs_is_foreign - is this the root of another subvolume?
 * @lower: lower inode that a name stands for; the cache's own root has none
 */
bool izo_btrfs_is_foreign(const struct inode *lower)
{
	return lower->i_ino == BTRFS_SUBVOL_ROOT || lower->i_ino == BTRFS_SUBVOL_GONE;
}

/*
 * Commit a transaction: the control block is written as it is, so that there is something to
 * commit.
 */
static int izo_btrfs_commit(struct izo_log *log)
{
	struct super_block *lower = izo_lower_sb(log->sb);
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	int err = mnt_want_write(izo_sb(log->sb)->lower_mnt);

	if (err)
		return err;
	err = izo_log_store_trimmed(&ctx);
	mnt_drop_write(izo_sb(log->sb)->lower_mnt);
	if (err)
		return err;
	down_read(&lower->s_umount);
	err = sync_filesystem(lower);
	up_read(&lower->s_umount);
	return err;
}

/**
 * izo_btrfs_outlive - let the transactions of lost objects pass
 * @log: the log, not shared yet
 *
 * A generation is the number of the transaction, and the numbers of those that a crash has lost
 * are used again; so are the inode numbers made in them. One may have been committing then, and
 * one gathering. Others may have learned of these objects, and would take new ones for them.
 *
 * Context: s_umount held; the cache is read-write; no freeze protection held.
 * Return: 0 or a negative errno.
 */
int izo_btrfs_outlive(struct izo_log *log)
{
	int err = izo_btrfs_commit(log);

	return err ? err : izo_btrfs_commit(log);
}
