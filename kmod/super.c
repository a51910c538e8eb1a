// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mounting: a superblock of ours over a private mount of the cache.
 *
 * The upper superblock has the device's number (st_dev, mountinfo, lsblk) but does not hold the
 * device; the lower one does, alone: it is made new (exclusive) and born retired, so that no other
 * ext4 mount of the device, before or after, shares it.
 */

#include <linux/blkdev.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include "intermezzo.h"
#include "log.h"

/* Flags of a mount that the cache must obey too. */
#define IZO_LOWER_SB_FLAGS (SB_RDONLY | SB_SYNCHRONOUS | SB_DIRSYNC | SB_LAZYTIME | SB_SILENT)

static int izo_statfs(struct dentry *dentry, struct kstatfs *buf)
{
	int err = izo_lower_statfs(d_inode(dentry), buf);

	buf->f_type = INTERMEZZO_SUPER_MAGIC;
	return err;
}

/* syncfs(2) reports what the upper superblock has noted; the cache notes in its own. */
static void izo_forward_wb_err(struct super_block *sb)
{
	struct izo_sb *sbi = izo_sb(sb);
	int err;

	spin_lock(&sbi->wb_err_lock);
	err = errseq_check_and_advance(&izo_lower_sb(sb)->s_wb_err, &sbi->lower_wb_err);
	spin_unlock(&sbi->wb_err_lock);
	if (err)
		errseq_set(&sb->s_wb_err, err);
}

static int izo_sync_fs(struct super_block *sb, int wait)
{
	struct super_block *lower = izo_lower_sb(sb);
	int err;

	/* sync(2) visits the lower superblock by itself; both passes here would write twice */
	if (!wait)
		return 0;
	down_read(&lower->s_umount);
	err = sync_filesystem(lower);
	up_read(&lower->s_umount);
	izo_forward_wb_err(sb);
	return err;
}

static int izo_freeze_fs(struct super_block *sb)
{
	return freeze_super(izo_lower_sb(sb), FREEZE_HOLDER_KERNEL);
}

static int izo_unfreeze_fs(struct super_block *sb)
{
	return thaw_super(izo_lower_sb(sb), FREEZE_HOLDER_KERNEL);
}

static const struct super_operations izo_super_operations = {
	.alloc_inode	= izo_alloc_inode,
	.free_inode	= izo_free_inode,
	.evict_inode	= izo_evict_inode,
	.statfs		= izo_statfs,
	.sync_fs	= izo_sync_fs,
	.freeze_fs	= izo_freeze_fs,
	.unfreeze_fs	= izo_unfreeze_fs,
	.show_options	= izo_show_options,
	.show_devname	= izo_show_devname,
};

/*
 * A context of the cache's type with our source, flags, message log and left-over options.
 *
 * SB_NOUSER: the cache is the kernel's own. Path-based security modules mediate the upper file
 * and must not look for a path of the lower one; nobody can graft or pick its superblock.
 */
static struct fs_context *izo_lower_context(struct fs_context *fc,
					    const struct izo_cache_type *cache)
{
	struct file_system_type *type = get_fs_type(cache->driver);
	struct fs_context *lower_fc;
	int err;

	if (!type) {
		errorfc(fc, "cache_type=%s: the kernel has no %s", cache->name, cache->driver);
		return ERR_PTR(-ENODEV);
	}
	lower_fc = fs_context_for_mount(type, SB_NOUSER | (fc->sb_flags & IZO_LOWER_SB_FLAGS));
	module_put(type->owner);
	if (IS_ERR(lower_fc))
		return lower_fc;

	if (cache->needs_device) {
		lower_fc->exclusive = true;
		lower_fc->s_iflags |= SB_I_RETIRED;	/* nobody ever finds it */
	}
	if (fc->log.log) {
		refcount_inc(&fc->log.log->usage);
		lower_fc->log.log = fc->log.log;
	}
	err = vfs_parse_fs_string(lower_fc, "source", fc->source, strlen(fc->source));
	if (!err)
		err = izo_parse_cache_options(fc, lower_fc);
	if (!err && cache->option)
		err = vfs_parse_fs_string(lower_fc, cache->option, NULL, 0);
	if (!err)
		return lower_fc;
	put_fs_context(lower_fc);
	return ERR_PTR(err);
}

/*
 * A splice to a file of ours holds the pipe while it writes to the cache; one to a file system of
 * the cache's type holds freezing off first and then takes the pipe. Nobody but us writes to this
 * one, so the two orders cannot meet; lockdep must not take them for one.
 */
static void izo_name_freeze_locks(struct super_block *lower)
{
	static struct lock_class_key keys[SB_FREEZE_LEVELS];

	for (int level = 0; level < SB_FREEZE_LEVELS; level++)
		lockdep_set_class(&lower->s_writers.rw_sem[level], &keys[level]);
}

static struct vfsmount *izo_mount_private(struct fs_context *lower_fc)
{
	int err = vfs_get_tree(lower_fc);

	if (err)
		return ERR_PTR(err);
	izo_name_freeze_locks(lower_fc->root->d_sb);
	up_write(&lower_fc->root->d_sb->s_umount);
	/*
	 * For MNT_INTERNAL: the mount's end is not deferred. Not earlier: a tmpfs superblock made
	 * with it has no limits.
	 */
	lower_fc->sb_flags |= SB_KERNMOUNT;
	return vfs_create_mount(lower_fc);
}

/* Was it device @dev that was mounted? Where the superblock does not tell, the name must do. */
static int izo_check_device(struct fs_context *fc, const struct super_block *lower,
			    const struct izo_cache_type *cache, dev_t dev)
{
	dev_t now = lower->s_dev;
	int err = 0;

	if (!cache->needs_device)
		return 0;
	if (cache->has_own_number)
		err = lookup_bdev(fc->source, &now);
	if (!err && now == dev)
		return 0;
	errorfc(fc, "%s became another device during the mount", fc->source);
	return -ESTALE;
}

/*
 * Before the upper superblock is made: then the cache's is the first one of the device that
 * quotactl(2) and ustat(2) find by its number.
 */
static int izo_mount_lower(struct fs_context *fc, struct izo_sb *sbi, dev_t dev)
{
	const struct izo_cache_type *cache = sbi->config.cache;
	struct fs_context *lower_fc = izo_lower_context(fc, cache);
	struct vfsmount *mnt;
	int err = 0;

	if (IS_ERR(lower_fc))
		return PTR_ERR(lower_fc);
	mnt = izo_mount_private(lower_fc);
	put_fs_context(lower_fc);
	if (IS_ERR(mnt)) {
		err = PTR_ERR(mnt);
		if (err == -EBUSY)
			errorfc(fc, "%s is in use: mounted elsewhere, or held open", fc->source);
		else
			errorfc(fc, "%s cannot be mounted as %s (error %d)", fc->source,
				cache->name, err);
		return err;
	}

	err = izo_check_device(fc, mnt->mnt_sb, cache, dev);
	if (!err && cache->check)
		err = cache->check(mnt, fc);
	if (!err && sb_has_encoding(mnt->mnt_sb))
		err = invalfc(fc, "%s has the casefold feature, which is not supported",
			      fc->source);
	if (!err && mnt->mnt_sb->s_stack_depth >= FILESYSTEM_MAX_STACK_DEPTH)
		err = invalfc(fc, "%s is stacked too deep already", fc->source);
	if (err) {
		mntput(mnt);
		return err;
	}
	mnt_make_longterm(mnt);
	sbi->lower_mnt = mnt;
	sbi->lower_wb_err = errseq_sample(&mnt->mnt_sb->s_wb_err);
	return 0;
}

static void izo_inherit(struct super_block *sb, const struct super_block *lower)
{
	sb->s_magic = INTERMEZZO_SUPER_MAGIC;
	sb->s_stack_depth = lower->s_stack_depth + 1;
	sb->s_blocksize = lower->s_blocksize;
	sb->s_blocksize_bits = lower->s_blocksize_bits;
	sb->s_maxbytes = lower->s_maxbytes;
	sb->s_max_links = lower->s_max_links;
	sb->s_time_gran = lower->s_time_gran;
	sb->s_time_min = lower->s_time_min;
	sb->s_time_max = lower->s_time_max;
	/* S_NOSEC spares a look-up of security.capability for each write. */
	sb->s_flags |= SB_NOSEC | (lower->s_flags & SB_POSIXACL);
	super_set_uuid(sb, lower->s_uuid.b, lower->s_uuid_len);
	strscpy(sb->s_id, lower->s_id, sizeof(sb->s_id));
}

/*
 * Put the mount on its channel. Read-write it needs a fileset, the default one if none is named;
 * read-only without both words it is a root being booted, and nothing can be validated yet.
 */
static int izo_fileset_start(struct super_block *sb, struct fs_context *fc)
{
	struct izo_sb *sbi = izo_sb(sb);
	struct izo_config *config = &sbi->config;
	int err;

	if (!config->fileset && !sb_rdonly(sb)) {
		config->fileset = kstrdup(INTERMEZZO_FILESET_DEFAULT, GFP_KERNEL);
		if (!config->fileset)
			return -ENOMEM;
	}
	err = izo_channel_settle(sbi, config->channel, config->fileset, fc);
	if (err)
		return err;
	if (config->no_filter || (sb_rdonly(sb) && !(config->fileset && config->mtp)))
		WRITE_ONCE(sbi->channel->no_filter, 1);
	if (sb_rdonly(sb))
		return 0;
	sbi->was_rw = true;
	return izo_fileset_open(sb, config->fileset, fc);
}

static int izo_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct izo_sb *sbi = izo_sb(sb);
	struct inode *root;
	int err;

	sb->s_op = &izo_super_operations;
	sb->s_xattr = izo_xattr_handlers;
	izo_inherit(sb, sbi->lower_mnt->mnt_sb);

	root = izo_iget(sb, sbi->lower_mnt->mnt_root, NULL, NULL);
	if (IS_ERR(root))
		return PTR_ERR(root);
	sb->s_root = d_make_root(root);
	if (!sb->s_root)
		return -ENOMEM;

	err = izo_fileset_accept_cache(sb, fc);
	if (!err)
		err = izo_fileset_start(sb, fc);
	if (err)
		return err;
	sb->s_flags |= SB_ACTIVE;
	izo_upcall_mounted(sb, sb_rdonly(sb));
	return 0;
}

static int izo_same_device(struct super_block *sb, struct fs_context *fc)
{
	return sb->s_dev == *(dev_t *)fc->sget_key;
}

/* For a search only. */
static int izo_make_none(struct super_block *sb, struct fs_context *fc)
{
	return -ENOENT;
}

static int izo_set_device(struct super_block *sb, struct fs_context *fc)
{
	sb->s_dev = *(dev_t *)fc->sget_key;
	return 0;
}

/* The device is mounted already: the same superblock serves, if nothing else was asked for. */
static int izo_share_super(struct super_block *sb, struct fs_context *fc)
{
	const struct izo_sb *unused = fc->s_fs_info;
	int err = izo_config_agree(fc, &izo_sb(sb)->config, &unused->config);

	if (!err && izo_fc_chooses_part(fc, izo_sb(sb)->config.cache)) {
		errorfc(fc, "%s is mounted already; unmount it to choose another part of it",
			fc->source);
		err = -EBUSY;
	}
	if (!err && (fc->sb_flags ^ sb->s_flags) & SB_RDONLY) {
		errorfc(fc, "%s is mounted %s already", fc->source,
			sb_rdonly(sb) ? "read-only" : "read-write");
		err = -EBUSY;
	}
	return err;
}

static void izo_sb_free(struct izo_sb *sbi)
{
	if (!sbi)
		return;
	izo_notice_free(sbi->notice);
	if (sbi->lower_mnt)
		kern_unmount(sbi->lower_mnt);
	if (sbi->creator_cred)
		put_cred(sbi->creator_cred);
	izo_config_free(&sbi->config);
	kfree(sbi);
}

static struct izo_sb *izo_sb_from_context(struct fs_context *fc)
{
	struct izo_config *config = izo_fc_config(fc);
	struct izo_sb *sbi = kzalloc(sizeof(*sbi), GFP_KERNEL);

	if (!sbi)
		return NULL;
	INIT_LIST_HEAD(&sbi->on_channel);
	spin_lock_init(&sbi->wb_err_lock);
	sbi->creator_cred = prepare_creds();
	sbi->notice = izo_notice_alloc();
	sbi->config.source = kstrdup(fc->source, GFP_KERNEL);
	if (!sbi->creator_cred || !sbi->notice || !sbi->config.source) {
		izo_sb_free(sbi);
		return NULL;
	}
	sbi->config.cache = config->cache ? config->cache :
			    izo_cache_type_default(fc->fs_type->fs_flags & FS_REQUIRES_DEV);
	sbi->config.channel = config->channel;
	sbi->config.no_filter = config->no_filter;
	swap(sbi->config.fileset, config->fileset);
	swap(sbi->config.mtp, config->mtp);
	return sbi;
}

/* A new superblock, which takes over fc->s_fs_info, over a new mount of the cache. */
static struct super_block *izo_make_super(struct fs_context *fc, dev_t dev)
{
	struct super_block *sb;
	int err = izo_mount_lower(fc, fc->s_fs_info, dev);

	if (err)
		return ERR_PTR(err);
	/* nobody else can have one of this device: its cache is ours alone */
	if (fc->fs_type->fs_flags & FS_REQUIRES_DEV)
		sb = sget_fc(fc, NULL, izo_set_device);
	else
		sb = sget_fc(fc, NULL, set_anon_super_fc);
	if (IS_ERR(sb))
		return sb;

	err = izo_fill_super(sb, fc);
	if (err) {
		deactivate_locked_super(sb);
		return ERR_PTR(err);
	}
	return sb;
}

/* The superblock that has the device already. Returns -ENOENT if there is none. */
static struct super_block *izo_find_super(struct fs_context *fc)
{
	struct super_block *sb;
	int err;

	if (!(fc->fs_type->fs_flags & FS_REQUIRES_DEV))
		return ERR_PTR(-ENOENT);
	sb = sget_fc(fc, izo_same_device, izo_make_none);
	if (IS_ERR(sb))
		return sb;
	err = izo_share_super(sb, fc);
	if (err) {
		deactivate_locked_super(sb);
		return ERR_PTR(err);
	}
	return sb;
}

/**
 * izo_get_tree - ->get_tree: the superblock for the options parsed
 * @fc: our context
 *
 * Return: 0 with @fc->root set and its superblock locked, or a negative errno.
 */
int izo_get_tree(struct fs_context *fc)
{
	struct super_block *sb;
	dev_t dev = 0;
	int err;

	if (!fc->source)
		return invalfc(fc,
			       "no source: give the cache's block device, or \"none\" for vintermezzo");
	if (fc->fs_type->fs_flags & FS_REQUIRES_DEV) {
		err = lookup_bdev(fc->source, &dev);
		if (err) {
			errorfc(fc, "%s is not a block device (error %d)", fc->source, err);
			return err;
		}
	}

	fc->s_fs_info = izo_sb_from_context(fc);
	if (!fc->s_fs_info)
		return -ENOMEM;
	fc->sget_key = &dev;
	sb = izo_find_super(fc);
	if (sb == ERR_PTR(-ENOENT))
		sb = izo_make_super(fc, dev);
	fc->sget_key = NULL;
	/* still here if no new superblock took it over */
	izo_sb_free(fc->s_fs_info);
	fc->s_fs_info = NULL;
	if (IS_ERR(sb))
		return PTR_ERR(sb);
	fc->root = dget(sb->s_root);
	return 0;
}

/**
 * izo_kill_sb - ->kill_sb: evict everything, then let go of the cache
 * @sb: upper superblock, s_umount held
 *
 * The lower mount's end is not deferred (MNT_INTERNAL), so the device is free when umount(2)
 * returns.
 */
void izo_kill_sb(struct super_block *sb)
{
	struct izo_sb *sbi = izo_sb(sb);

	izo_fileset_end(sb);
	if (sb->s_type->fs_flags & FS_REQUIRES_DEV)
		generic_shutdown_super(sb);	/* the number is the device's */
	else
		kill_anon_super(sb);
	izo_upcall_withdraw(sbi);
	izo_log_close(sbi->log);
	izo_channel_detach(sbi);
	izo_sb_free(sbi);
}
