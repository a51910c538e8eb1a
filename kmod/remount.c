// SPDX-License-Identifier: GPL-2.0-only
/*
 * Remount: upper before lower, and the rule of the root: mounted read-only without being told what
 * it is, it becomes read-write when fileset= and mtp= are given.
 */

#include <linux/blkdev.h>
#include <linux/dcache.h>
#include "intermezzo.h"

/* What reconfigure_super() (not exported) lets a remount change, of what concerns the cache. */
#define IZO_LOWER_RMT_MASK (SB_RDONLY | SB_SYNCHRONOUS | SB_LAZYTIME)

/*
 * Does anybody still write to the cache, or hold a deleted file that read-only could not free?
 * The VFS has counted the writers of the upper mounts, the mappings of their files among them.
 * It cannot see the mapping of a file of ours that an overlayfs above has closed: that counts
 * in the lower inode, which the upper one pins as long as the mapping lives. New writers are held
 * off by the upper superblock's state.
 */
static bool izo_lower_is_written(struct super_block *sb)
{
	bool written = false;
	struct inode *inode;

	if (atomic_long_read(&izo_lower_sb(sb)->s_remove_count))
		return true;
	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		struct inode *lower = izo_lower(inode);

		/* the logs are ours to close */
		if (izo_i(inode)->class == IZO_CLASS_INTERNAL)
			continue;
		if (lower && inode_is_open_for_write(lower)) {
			written = true;
			break;
		}
	}
	spin_unlock(&sb->s_inode_list_lock);
	return written;
}

/* The part of reconfigure_super() that a superblock with one private mount needs. */
static int izo_reconfigure_locked(struct fs_context *fc, struct fs_context *lower_fc)
{
	struct super_block *lower = lower_fc->root->d_sb;
	unsigned int mask = lower_fc->sb_flags_mask;
	int err;

	if (lower->s_writers.frozen != SB_UNFROZEN)
		return -EBUSY;
	if (mask & SB_RDONLY && !(lower_fc->sb_flags & SB_RDONLY) && lower->s_bdev &&
	    bdev_read_only(lower->s_bdev)) {
		errorfc(fc, "%pg is a read-only device", lower->s_bdev);
		return -EACCES;
	}
	if (lower_fc->ops->reconfigure) {
		err = lower_fc->ops->reconfigure(lower_fc);
		if (err)
			return err;
	}
	WRITE_ONCE(lower->s_flags, (lower->s_flags & ~mask) | (lower_fc->sb_flags & mask));
	/* what a repair tool writes to the read-only device must be seen afterwards */
	if (sb_rdonly(lower) && lower->s_bdev)
		invalidate_bdev(lower->s_bdev);
	return 0;
}

/* Also for going back: @sb_flags and @mask need not be those of @fc. */
static int izo_reconfigure_lower(struct fs_context *fc, unsigned int sb_flags, unsigned int mask)
{
	struct dentry *lower_root = izo_sb(fc->root->d_sb)->lower_mnt->mnt_root;
	const char *option = izo_sb(fc->root->d_sb)->config.cache->option;
	struct super_block *lower = lower_root->d_sb;
	struct fs_context *lower_fc;
	int err;

	/* ext4 looks at the flags, not at the mask: those not asked for must be as they are */
	mask &= IZO_LOWER_RMT_MASK;
	sb_flags = (lower->s_flags & IZO_LOWER_RMT_MASK & ~mask) | (sb_flags & mask);
	lower_fc = fs_context_for_reconfigure(lower_root, sb_flags, mask);
	if (IS_ERR(lower_fc))
		return PTR_ERR(lower_fc);
	if (fc->log.log) {
		refcount_inc(&fc->log.log->usage);
		lower_fc->log.log = fc->log.log;
	}
	lower_fc->oldapi = fc->oldapi;
	err = izo_parse_cache_options(fc, lower_fc);
	/* what the log needs outweighs what is asked for, as at the mount */
	if (!err && option)
		err = vfs_parse_fs_string(lower_fc, option, NULL, 0);
	if (!err) {
		down_write(&lower->s_umount);
		err = izo_reconfigure_locked(fc, lower_fc);
		up_write(&lower->s_umount);
	}
	put_fs_context(lower_fc);
	return err;
}

/* Both words, from the mount or from this remount, or the one that is missing is named. */
static int izo_remount_rw_words(struct fs_context *fc, const struct izo_config *has,
				const struct izo_config *asked)
{
	const char *missing = NULL;

	if (!has->fileset && !asked->fileset)
		missing = has->mtp || asked->mtp ? "fileset=" : "fileset= and mtp=";
	else if (!has->mtp && !asked->mtp)
		missing = "mtp=";
	if (!missing)
		return 0;
	/* mount(8) alone reads the message log of fsconfig(2); a root needs it on the console */
	if (fc->log.log)
		pr_err("%s: cannot become read-write: %s missing in the mount options\n",
		       fc->root->d_sb->s_id, missing);
	return invalfc(fc,
		       "cannot become read-write: %s missing; put it on this mount's line in /etc/fstab",
		       missing);
}

/* Take over what the mount did not know yet. Cannot fail. */
static void izo_config_adopt(struct izo_config *has, struct izo_config *asked)
{
	if (!has->fileset && asked->fileset) {
		/* pairs with izo_show_options(), which has no s_umount */
		smp_store_release(&has->fileset, asked->fileset);
		asked->fileset = NULL;
	}
	if (!has->mtp && asked->mtp) {
		/* likewise */
		smp_store_release(&has->mtp, asked->mtp);
		asked->mtp = NULL;
	}
}

/* The change itself, once channel and name are ours: the cache, and what it needs when writable. */
static int izo_remount_cache(struct fs_context *fc, const char *fileset, bool goes_rw,
			     bool goes_ro)
{
	struct super_block *sb = fc->root->d_sb;
	int err;

	if (goes_ro)
		izo_fileset_settle(sb);
	err = izo_reconfigure_lower(fc, fc->sb_flags, fc->sb_flags_mask);
	if (err && goes_ro)
		izo_fileset_resume(sb);
	if (err || !goes_rw)
		return err;
	err = izo_fileset_open(sb, fileset, fc);
	if (!err) {
		/* a lookup before may have left the name as one that does not exist */
		shrink_dcache_sb(sb);
		izo_sb(sb)->was_rw = true;
	} else if (izo_reconfigure_lower(fc, SB_RDONLY, SB_RDONLY)) {
		pr_err("%s: the cache stays read-write under a read-only mount\n", sb->s_id);
	}
	return err;
}

/* May the mount change to this? Says why not. */
static int izo_remount_check(struct fs_context *fc, bool goes_rw, bool goes_ro)
{
	struct super_block *sb = fc->root->d_sb;
	const struct izo_config *has = &izo_sb(sb)->config;
	const struct izo_config *asked = izo_fc_config(fc);
	bool was_rw = izo_sb(sb)->was_rw;
	int err = izo_config_agree(fc, has, asked);

	if (err)
		return err;
	if (goes_rw && !was_rw)
		return izo_remount_rw_words(fc, has, asked);
	return goes_ro && izo_lower_is_written(sb) ? -EBUSY : 0;
}

/**
 * izo_reconfigure - ->reconfigure
 * @fc: our context; the upper superblock's s_umount is held, and on a change between read-only
 *	and read-write its writers are held off
 *
 * Return: 0, or a negative errno with mode, fileset and channel as they were; options of the
 * cache that its own remount took before the failure may stay in force.
 */
int izo_reconfigure(struct fs_context *fc)
{
	struct super_block *sb = fc->root->d_sb;
	struct izo_sb *sbi = izo_sb(sb);
	struct izo_config *asked = izo_fc_config(fc);
	bool changes = (fc->sb_flags ^ sb->s_flags) & fc->sb_flags_mask & SB_RDONLY;
	bool goes_rw = changes && sb_rdonly(sb);
	const char *fileset = sbi->config.fileset ? sbi->config.fileset : asked->fileset;
	char old_name[INTERMEZZO_FILESET_MAX + 1];
	struct izo_channel *old_channel = sbi->channel;
	int no_filter = READ_ONCE(old_channel->no_filter);
	int err = izo_remount_check(fc, goes_rw, changes && !goes_rw);

	if (err)
		return err;
	strscpy(old_name, sbi->claimed, sizeof(old_name));
	err = izo_channel_settle(sbi, asked->channel, fileset, fc);
	if (err)
		return err;
	err = izo_remount_cache(fc, fileset, goes_rw, changes && !goes_rw);
	if (err) {
		izo_channel_settle(sbi, old_channel->nr, old_name, fc);
		WRITE_ONCE(old_channel->no_filter, no_filter);
		return err;
	}
	izo_config_adopt(&sbi->config, asked);
	/* a root being booted takes the flag along to the channel that its fstab line names */
	if (asked->no_filter || (sbi->channel != old_channel && no_filter))
		WRITE_ONCE(sbi->channel->no_filter, 1);
	izo_upcall_mounted(sb, changes ? !goes_rw : sb_rdonly(sb));
	return 0;
}
