// SPDX-License-Identifier: GPL-2.0-only
/* Filesets on a cache: whether a cache is one, and what is made there when it becomes writable. */

#include <linux/namei.h>
#include "intermezzo.h"
#include "log.h"

struct izo_emptiness {
	struct dir_context ctx;
	bool has_names;
};

/* mke2fs puts lost+found into a new file system. */
static bool izo_note_name(struct dir_context *ctx, const char *name, int len, loff_t pos, u64 ino,
			  unsigned int type)
{
	struct izo_emptiness *e = container_of(ctx, struct izo_emptiness, ctx);
	const struct qstr q = QSTR_INIT(name, len);
	static const struct qstr ignored[] = {
		QSTR_INIT(".", 1), QSTR_INIT("..", 2), QSTR_INIT("lost+found", 10),
	};

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (q.len == ignored[i].len && !memcmp(q.name, ignored[i].name, q.len))
			return true;
	e->has_names = true;
	return false;
}

/* Return: 1 if the cache's root holds nothing, 0 if it does, or a negative errno. */
static int izo_cache_is_empty(struct super_block *sb)
{
	struct izo_emptiness e = { .ctx.actor = izo_note_name };
	struct path root = {
		.mnt = izo_sb(sb)->lower_mnt,
		.dentry = izo_sb(sb)->lower_mnt->mnt_root,
	};
	struct file *dir = dentry_open(&root, O_RDONLY | O_DIRECTORY | IZO_LOWER_OPEN_FLAGS,
				       izo_sb(sb)->creator_cred);
	int err;

	if (IS_ERR(dir))
		return PTR_ERR(dir);
	err = iterate_dir(dir, &e.ctx);
	__fput_sync(dir);
	return err ? err : !e.has_names;
}

static int izo_cache_is_marked(struct super_block *sb)
{
	const struct qstr name = QSTR_INIT(INTERMEZZO_DIR, sizeof(INTERMEZZO_DIR) - 1);
	struct dentry *mark = izo_lower_lookup(sb, izo_sb(sb)->lower_mnt->mnt_root, &name);
	int marked;

	if (IS_ERR(mark))
		return PTR_ERR(mark);
	marked = d_is_dir(mark);
	dput(mark);
	return marked;
}

/**
 * izo_fileset_accept_cache - is this file system ours to mount?
 * @sb: upper superblock being made
 * @fc: context to complain in
 *
 * Tools that try every type on a device must not turn somebody's ext4 into a cache: without our
 * mark the mount must say what it is (fileset=), or be a read-write mount, by its type alone, of a
 * file system that holds nothing yet (the quick start: mke2fs, mount).
 *
 * Return: 0, -EINVAL with a message, or another negative errno.
 */
int izo_fileset_accept_cache(struct super_block *sb, struct fs_context *fc)
{
	int ret;

	if (izo_sb(sb)->config.fileset || !izo_sb(sb)->config.cache->needs_device)
		return 0;
	ret = izo_cache_is_marked(sb);
	if (!ret && !sb_rdonly(sb) && !(fc->sb_flags & SB_SILENT))
		ret = izo_cache_is_empty(sb);
	if (ret < 0)
		return ret;
	if (ret)
		return 0;
	return invalfc(fc,
		       "%s has no .intermezzo and is not a cache yet; to make it one mount it read-write with fileset=NAME",
		       fc->source);
}

/* Make @name in the locked-for-us lower directory @dir unless it is there. */
static struct dentry *izo_make_dir(struct super_block *sb, struct dentry *dir, const char *name,
				   struct fs_context *fc)
{
	const struct qstr q = QSTR_INIT(name, strlen(name));
	struct dentry *child;
	int err = 0;

	inode_lock_nested(d_inode(dir), I_MUTEX_PARENT);
	child = izo_lower_lookup_locked(sb, dir, &q);
	if (!IS_ERR(child) && d_really_is_negative(child))
		err = izo_lower_mkdir(NULL, &(struct izo_name){ dir, child }, 0700);
	else if (!IS_ERR(child) && !d_is_dir(child))
		err = -ENOTDIR;
	inode_unlock(d_inode(dir));
	if (IS_ERR(child))
		err = PTR_ERR(child);
	if (!err)
		return child;
	if (!IS_ERR(child))
		dput(child);
	if (err != -ENOSPC)	/* izo_fileset_open() goes on */
		errorfc(fc, "cannot make the directory %s on the cache (error %d)", name, err);
	return ERR_PTR(err);
}

/* .intermezzo/FILESET, made where it is missing. Returns its lower dentry. */
static struct dentry *izo_fileset_dir(struct super_block *sb, const char *fileset,
				      struct fs_context *fc)
{
	struct izo_sb *sbi = izo_sb(sb);
	struct inode *root = d_inode(sb->s_root);
	struct dentry *mark, *dir;
	int err;

	/* no lookup of the name may run meanwhile and keep what it did not find */
	inode_lock(root);
	err = mnt_want_write(sbi->lower_mnt);
	if (err) {
		errorfc(fc, "the cache cannot be written (error %d)", err);
		dir = ERR_PTR(err);
		goto out;
	}
	mark = izo_make_dir(sb, sbi->lower_mnt->mnt_root, INTERMEZZO_DIR, fc);
	dir = mark;
	if (!IS_ERR(mark)) {
		dir = izo_make_dir(sb, mark, fileset, fc);
		dput(mark);
	}
	/* a project is not to end the log by its quota, nor to keep others' bodies from passing */
	if (!IS_ERR(dir) && izo_lower_leave_project(dir))
		pr_warn("%s: the log stays in the project of its directory\n", sb->s_id);
	mnt_drop_write(sbi->lower_mnt);
	/* .intermezzo counts in the root's links */
	izo_copy_attr(root);
	izo_copy_nlink(root);
out:
	inode_unlock(root);
	return dir;
}

/**
 * izo_fileset_open - make a fileset ready to be changed: its directory and its logs
 * @sb: upper superblock, s_umount held; the cache is read-write already
 * @fileset: its name
 * @fc: context to complain in
 *
 * All that is written by recovery is written from here on, never by a read-only mount.
 *
 * Return: 0 or a negative errno.
 */
int izo_fileset_open(struct super_block *sb, const char *fileset, struct fs_context *fc)
{
	const struct cred *old = override_creds(izo_sb(sb)->creator_cred);
	struct dentry *dir = izo_fileset_dir(sb, fileset, fc);
	int err = PTR_ERR_OR_ZERO(dir);

	if (!err) {
		if (izo_sb(sb)->log)
			izo_fileset_resume(sb);
		else
			err = izo_log_open(sb, dir, fc);
		dput(dir);
	} else if (err == -ENOSPC) {
		izo_log_none(sb);
		err = 0;
	}
	revert_creds(old);
	return err;
}

/**
 * izo_fileset_settle - nobody writes any more: end what is open in the logs
 * @sb: upper superblock, s_umount held; writers are held off or gone
 *
 * The cache may have become read-only without us (emergency remount): the workers stop then too.
 */
void izo_fileset_settle(struct super_block *sb)
{
	struct izo_log *log = izo_sb(sb)->log;

	if (!log)
		return;
	izo_lml_settle(log);
	set_bit(IZO_LOG_STOPPED, &log->state);
	cancel_delayed_work_sync(&log->grow_work);
}

/**
 * izo_fileset_end - izo_fileset_settle(), and no inode is referenced by the logs any more
 * @sb: upper superblock being shut down, s_umount held
 */
void izo_fileset_end(struct super_block *sb)
{
	if (!sb->s_fs_info || !izo_sb(sb)->log)
		return;
	izo_fileset_settle(sb);
	izo_lml_drop(izo_sb(sb)->log);
}

/**
 * izo_fileset_resume - undo izo_fileset_settle()
 * @sb: upper superblock, s_umount held
 */
void izo_fileset_resume(struct super_block *sb)
{
	struct izo_log *log = izo_sb(sb)->log;

	if (!log)
		return;
	clear_bit(IZO_LOG_STOPPED, &log->state);
	queue_delayed_work(system_unbound_wq, &log->grow_work, 0);
	/* for what an error left */
	izo_lml_kick(log);
}
