// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open files: data goes through a backing file of the cache, so there is one page cache.
 *
 * Writers take the upper inode lock shared, so that what runs in parallel on the cache runs in
 * parallel here, and exclusively while a set-id bit or a capability may have to be stripped.
 */

#include <linux/backing-file.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/filelock.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/splice.h>
#include "intermezzo.h"
#include "log.h"

/* Flags of the backing file that fcntl(F_SETFL) may change after the open. */
#define IZO_SETFL_FLAGS (O_APPEND | O_NONBLOCK | O_NDELAY | O_DIRECT)

#define IZO_INHERITED_FMODE (FMODE_NOWAIT | FMODE_CAN_ODIRECT)

static int izo_open_flags(const struct file *file)
{
	return (file->f_flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC)) | IZO_LOWER_OPEN_FLAGS;
}

/*
 * Security modules see in the flags of the backing file what the caller may do with it. But each
 * write says whether it appends, or one that is not to (RWF_NOAPPEND) would.
 */
static int izo_iocb_flags(struct file *lower)
{
	return iocb_flags(lower) & ~IOCB_APPEND;
}

/* From here on @file does I/O through @lower, which it owns. */
static void izo_file_attach(struct file *file, struct file *lower)
{
	lower->f_iocb_flags = izo_iocb_flags(lower);
	file->private_data = lower;
	file->f_mode |= lower->f_mode & IZO_INHERITED_FMODE;
	/*
	 * sync_file_range(2), fadvise(2), cachestat(2) act on the mapping that has the pages. Not
	 * over tmpfs: mmap(2) would take our inode for one of tmpfs's by its mapping.
	 */
	if (izo_sb(file_inode(file)->i_sb)->config.cache->needs_device)
		file->f_mapping = lower->f_mapping;
	file->f_wb_err = filemap_sample_wb_err(file->f_mapping);
}

/*
 * From here on the file is not taken away from a writer. One that has lost its names since they
 * were looked up is not to be written any more: nobody would ever see it.
 */
static int izo_begin_writing(struct inode *inode)
{
	bool replaced;

	atomic_inc(&izo_i(inode)->writers);
	/* pairs with izo_body_may_change() */
	smp_mb__after_atomic();
	if (likely(!READ_ONCE(izo_i(inode)->replaced)))
		return 0;
	/* it may yet come to nothing */
	inode_lock_shared(inode);
	replaced = izo_i(inode)->replaced;
	inode_unlock_shared(inode);
	if (!replaced)
		return 0;
	atomic_dec(&izo_i(inode)->writers);
	return -ESTALE;
}

static int izo_open(struct inode *inode, struct file *file)
{
	const struct cred *old;
	struct file *lower_file;
	struct path lower;
	int err;

	/*
	 * By a mapping, from a descriptor that is closed: the VFS looks at the upper inode. Who is
	 * about to map it just now is missed.
	 */
	if (file->f_flags & __FMODE_EXEC && inode_is_open_for_write(izo_lower(inode)))
		return -ETXTBSY;
	err = izo_lower_path(inode, &lower);
	if (err)
		return err;
	/* The caller's right to open was tested on the upper inode. */
	old = override_creds(izo_sb(inode->i_sb)->creator_cred);
	lower_file = backing_file_open(file, izo_open_flags(file), &lower, current_cred());
	revert_creds(old);
	dput(lower.dentry);
	if (IS_ERR(lower_file))
		return PTR_ERR(lower_file);
	if (file->f_mode & FMODE_WRITE)
		err = izo_begin_writing(inode);
	if (err)
		fput(lower_file);
	else
		izo_file_attach(file, lower_file);
	return err;
}

static int izo_release(struct inode *inode, struct file *file)
{
	fput(izo_lower_file(file));
	if (file->f_mode & FMODE_WRITE && atomic_dec_and_test(&izo_i(inode)->writers))
		izo_body_closed(inode, file->f_path.dentry);
	return 0;
}

/* Bring flags changed by fcntl(2) down to the backing file, which the I/O helpers obey. */
static int izo_sync_flags(struct file *file)
{
	struct file *lower = izo_lower_file(file);
	unsigned int flags = READ_ONCE(file->f_flags) & IZO_SETFL_FLAGS;

	if (likely((lower->f_flags & IZO_SETFL_FLAGS) == flags))
		return 0;
	if (flags & O_DIRECT && !(lower->f_mode & FMODE_CAN_ODIRECT))
		return -EINVAL;
	spin_lock(&lower->f_lock);
	lower->f_flags = (lower->f_flags & ~IZO_SETFL_FLAGS) | flags;
	lower->f_iocb_flags = izo_iocb_flags(lower);
	spin_unlock(&lower->f_lock);
	return 0;
}

static void izo_accessed(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct inode *lower = izo_lower(inode);
	struct timespec64 mtime = inode_get_mtime(inode), lower_mtime = inode_get_mtime(lower);
	struct timespec64 ctime = inode_get_ctime(inode), lower_ctime = inode_get_ctime(lower);

	if (file->f_flags & O_NOATIME)
		return;
	/* relatime compares with these, and a shared mapping changes them below only */
	if (!timespec64_equal(&mtime, &lower_mtime) || !timespec64_equal(&ctime, &lower_ctime))
		izo_copy_attr(inode);
	touch_atime(&file->f_path);
}

/* @pos: where the write ended */
static void izo_end_write(struct file *file, loff_t pos, ssize_t ret)
{
	struct inode *inode = file_inode(file);

	izo_copy_attr(inode);
	if (ret >= 0)
		izo_body_changed(inode, pos - ret, pos);
	else if (ret != -EIOCBQUEUED)
		izo_body_changed(inode, 0, 0);	/* some of it may have been written */
}

/* A direct read has the pages it passes by written out first. */
static ssize_t izo_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	struct backing_file_ctx ctx = {
		.cred = current_cred(),
		.user_file = file,
		.accessed = izo_accessed,
	};
	int err = izo_sync_flags(file);

	if (!err && iocb->ki_flags & IOCB_DIRECT)
		err = izo_body_entry_commit(file_inode(file), iocb->ki_flags & IOCB_NOWAIT);
	if (err)
		return err;
	return backing_file_read_iter(izo_lower_file(file), to, iocb, iocb->ki_flags, &ctx);
}

/*
 * Lock the inode for a write; *exclusive says how, for izo_write_unlock(). S_NOSEC ("nothing to
 * strip") is set and cleared under the exclusive lock only.
 */
static int izo_write_lock(struct inode *inode, bool nowait, bool *exclusive)
{
	*exclusive = false;
	if (!nowait)
		inode_lock_shared(inode);
	else if (!inode_trylock_shared(inode))
		return -EAGAIN;
	if (IS_NOSEC(inode))
		return 0;
	inode_unlock_shared(inode);

	*exclusive = true;
	if (!nowait)
		inode_lock(inode);
	else if (!inode_trylock(inode))
		return -EAGAIN;
	return 0;
}

static void izo_write_unlock(struct inode *inode, bool exclusive)
{
	if (exclusive)
		inode_unlock(inode);
	else
		inode_unlock_shared(inode);
}

/* Has the cache each write to the file on the medium before it returns, whoever writes? */
static bool izo_writes_through(const struct inode *inode)
{
	return IS_SYNC(izo_lower(inode)) || IS_DAX(izo_lower(inode));
}

static ssize_t izo_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct file *file = iocb->ki_filp;
	struct inode *inode = file_inode(file);
	struct backing_file_ctx ctx = {
		.cred = current_cred(),
		.user_file = file,
		.end_write = izo_end_write,
	};
	bool exclusive;
	ssize_t ret;

	ret = izo_sync_flags(file);
	/* no bytes are no change of the body */
	if (ret || !iov_iter_count(from))
		return ret;
	ret = izo_write_lock(inode, iocb->ki_flags & IOCB_NOWAIT, &exclusive);
	if (ret)
		return ret;
	ret = izo_body_dirty(inode, iocb->ki_flags & IOCB_NOWAIT);
	if (!ret && (iocb->ki_flags & (IOCB_DIRECT | IOCB_DSYNC) || izo_writes_through(inode)))
		ret = izo_body_entry_commit(inode, iocb->ki_flags & IOCB_NOWAIT);
	if (!ret)
		ret = backing_file_write_iter(izo_lower_file(file), from, iocb, iocb->ki_flags,
					      &ctx);
	izo_write_unlock(inode, exclusive);
	return ret;
}

static ssize_t izo_splice_read(struct file *in, loff_t *ppos, struct pipe_inode_info *pipe,
			       size_t len, unsigned int flags)
{
	struct backing_file_ctx ctx = {
		.cred = current_cred(),
		.user_file = in,
		.accessed = izo_accessed,
	};
	int err = izo_sync_flags(in);

	/* O_DIRECT was set since the VFS has looked */
	if (!err && izo_lower_file(in)->f_flags & O_DIRECT)
		err = izo_body_entry_commit(file_inode(in), false);
	if (err)
		return err;
	return backing_file_splice_read(izo_lower_file(in), ppos, pipe, len, flags, &ctx);
}

/**
 * izo_fsync - ->fsync of files and directories
 * @file: upper file
 * @start: first byte
 * @end: last byte
 * @datasync: leave out what is not needed to read the data back
 *
 * Return: 0 or a negative errno, writeback errors of the cache among them.
 */
int izo_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	int err = izo_body_entry_commit(file_inode(file), false);

	return err ? err : vfs_fsync_range(izo_lower_file(file), start, end, datasync);
}

static int izo_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct backing_file_ctx ctx = {
		.cred = current_cred(),
		.user_file = file,
		.accessed = izo_accessed,
	};
	int err = 0;

	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE))
		err = izo_body_mapped(file_inode(file));
	return err ? err : backing_file_mmap(izo_lower_file(file), vma, &ctx);
}

/* SEEK_DATA, SEEK_HOLE and the largest offset are the lower file system's to know. */
static loff_t izo_llseek(struct file *file, loff_t offset, int whence)
{
	struct file *lower = izo_lower_file(file);
	loff_t pos;

	if (!offset && whence == SEEK_CUR)
		return file->f_pos;
	if (!offset && whence == SEEK_SET)
		return vfs_setpos(file, 0, 0);

	/* Both positions are under f_pos_lock, where the file is shared at all. */
	lower->f_pos = file->f_pos;
	pos = vfs_llseek(lower, offset, whence);
	file->f_pos = lower->f_pos;
	return pos;
}

static long izo_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct inode *inode = file_inode(file);
	long err;

	inode_lock(inode);
	err = file_remove_privs(file);
	if (!err)
		err = izo_body_dirty(inode, false);
	/* holes and shifts have pages around them written out first */
	if (!err && mode & ~FALLOC_FL_KEEP_SIZE)
		err = izo_body_entry_commit(inode, false);
	if (!err)
		err = vfs_fallocate(izo_lower_file(file), mode, offset, len);
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		izo_body_changed(inode, 0, 0);
	else
		izo_body_changed(inode, offset, offset + len);
	izo_copy_attr(inode);
	inode_unlock(inode);
	return err;
}

static int izo_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	int err = 0;

	/* pages that are not needed any more are written out first */
	if (advice == POSIX_FADV_DONTNEED)
		err = izo_body_entry_commit(file_inode(file), false);
	return err ? err : vfs_fadvise(izo_lower_file(file), offset, len, advice);
}

static ssize_t izo_copy_file_range(struct file *in, loff_t pos_in, struct file *out,
				   loff_t pos_out, size_t len, unsigned int flags)
{
	struct inode *inode = file_inode(out);
	ssize_t ret;

	/* Only between two files of ours are both ends backing files. */
	if (in->f_op != &izo_file_operations)
		return -EOPNOTSUPP;
	ret = izo_sync_flags(in);
	if (!ret)
		ret = izo_sync_flags(out);
	if (ret)
		return ret;
	inode_lock(inode);
	ret = file_remove_privs(out);
	if (!ret)
		ret = izo_body_dirty(inode, false);
	if (!ret && (out->f_iocb_flags & (IOCB_DIRECT | IOCB_DSYNC) || izo_writes_through(inode)))
		ret = izo_body_entry_commit(inode, false);
	/* as a direct read */
	if (!ret && in->f_iocb_flags & IOCB_DIRECT)
		ret = izo_body_entry_commit(file_inode(in), false);
	if (!ret)
		ret = vfs_copy_file_range(izo_lower_file(in), pos_in, izo_lower_file(out), pos_out,
					  len, flags);
	izo_end_write(out, pos_out + max_t(ssize_t, ret, 0), ret);
	inode_unlock(inode);
	return ret;
}

static loff_t izo_remap_file_range(struct file *in, loff_t pos_in, struct file *out,
				   loff_t pos_out, loff_t len, unsigned int remap_flags)
{
	struct inode *inode = file_inode(out);
	loff_t ret;

	if (remap_flags & ~(REMAP_FILE_DEDUP | REMAP_FILE_ADVISORY))
		return -EINVAL;
	/* before the file is listed for nothing */
	if (!izo_lower_file(in)->f_op->remap_file_range)
		return -EOPNOTSUPP;
	inode_lock(inode);
	if (remap_flags & REMAP_FILE_DEDUP) {
		ret = vfs_dedupe_file_range_one(izo_lower_file(in), pos_in, izo_lower_file(out),
						pos_out, len, remap_flags);
	} else {
		ret = file_remove_privs(out);
		if (!ret)
			ret = izo_body_dirty(inode, false);
		if (!ret)
			ret = vfs_clone_file_range(izo_lower_file(in), pos_in,
						   izo_lower_file(out), pos_out, len,
						   remap_flags);
		izo_end_write(out, pos_out + max_t(loff_t, ret, 0), ret);
	}
	izo_copy_attr(inode);
	inode_unlock(inode);
	return ret;
}

/**
 * izo_ioctl - ->unlocked_ioctl of files and directories
 * @file: upper file
 * @cmd: command
 * @arg: its argument
 *
 * A list of what is let through: the cache's own commands could move or free blocks, swap inodes
 * or change generations behind the log. The VFS serves flags, fiemap, freeze and clone itself.
 *
 * Return: as the command, or -ENOTTY.
 */
long izo_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case FITRIM:
	case FS_IOC_GETVERSION:
	case FS_IOC_GETFSLABEL:
		return vfs_ioctl(izo_lower_file(file), cmd, arg);
	case IZO_IOC_OBJECT:
		return izo_object_ioctl(file, (void __user *)arg);
	default:
		return izo_reint_ioctl(file, cmd, arg);
	}
}

/*
 * Those who have it open by a mapping only are counted below: as check_conflicting_open() does. Who
 * is about to map it just now is missed.
 */
static bool izo_lease_conflicts(const struct file *file, int arg)
{
	const struct inode *lower = izo_lower(file_inode(file));
	bool writes = file->f_mode & FMODE_WRITE, reads = !writes && file->f_mode & FMODE_READ;

	if (arg == F_RDLCK)
		return inode_is_open_for_write(lower);
	return arg == F_WRLCK && (atomic_read(&lower->i_writecount) != writes ||
				  atomic_read(&lower->i_readcount) != reads);
}

static int izo_setlease(struct file *file, int arg, struct file_lease **lease, void **priv)
{
	if (izo_lease_conflicts(file, arg) && !((*lease)->c.flc_flags & (FL_LAYOUT | FL_DELEG)))
		return -EAGAIN;
	return generic_setlease(file, arg, lease, priv);
}

static int izo_tmpfile_opened(struct inode *inode, struct file *file)
{
	izo_file_attach(file, file->private_data);
	if (file->f_mode & FMODE_WRITE)
		atomic_inc(&izo_i(inode)->writers);
	return 0;
}

static int izo_do_tmpfile(struct izo_ctx *ctx, struct inode *dir, struct file *file, umode_t mode)
{
	static const struct qstr no_name = QSTR_INIT("", 0);
	struct file *lower_file;
	struct inode *inode;
	struct path lower;
	int err = izo_change_begin(ctx, dir, NULL);

	if (err)
		return err;
	err = izo_lower_path(dir, &lower);
	if (err)
		goto out;
	/* made for the caller, opened for the mounter */
	lower_file = backing_tmpfile_open(file, izo_open_flags(file), &lower, mode,
					  izo_sb(ctx->sb)->creator_cred);
	dput(lower.dentry);
	err = PTR_ERR_OR_ZERO(lower_file);
	if (err)
		goto out;

	inode = izo_iget(ctx->sb, lower_file->f_path.dentry, dir, &no_name);
	err = PTR_ERR_OR_ZERO(inode);
	if (err) {
		fput(lower_file);
		goto out;
	}
	d_mark_tmpfile(file, inode);
	d_instantiate(file->f_path.dentry, inode);
	file->private_data = lower_file;
	err = finish_open(file, file->f_path.dentry, izo_tmpfile_opened);
	/* Once it counts as opened, ->release lets go of the backing file. */
	if (!(file->f_mode & FMODE_OPENED))
		fput(lower_file);
out:
	izo_change_end(ctx);
	return err;
}

/**
 * izo_tmpfile - ->tmpfile: O_TMPFILE
 * @idmap: of the mount
 * @dir: upper directory
 * @file: to be opened
 * @mode: type and permission bits
 *
 * Return: 0 or a negative errno.
 */
int izo_tmpfile(struct mnt_idmap *idmap, struct inode *dir, struct file *file, umode_t mode)
{
	struct izo_ctx ctx;

	izo_ctx_local(&ctx, dir->i_sb);
	return izo_do_tmpfile(&ctx, dir, file, mode);
}

const struct file_operations izo_file_operations = {
	.open			= izo_open,
	.release		= izo_release,
	.llseek			= izo_llseek,
	.read_iter		= izo_read_iter,
	.write_iter		= izo_write_iter,
	.fsync			= izo_fsync,
	.mmap			= izo_mmap,
	.get_unmapped_area	= thp_get_unmapped_area,
	.setlease		= izo_setlease,
	.fallocate		= izo_fallocate,
	.fadvise		= izo_fadvise,
	.splice_read		= izo_splice_read,
	/* waits for the pipe first; then each part is a write like any other, with set-id bits */
	.splice_write		= iter_file_splice_write,
	.copy_file_range	= izo_copy_file_range,
	.remap_file_range	= izo_remap_file_range,
	.unlocked_ioctl		= izo_ioctl,
	.compat_ioctl		= compat_ptr_ioctl,
	.fop_flags		= FOP_DIO_PARALLEL_WRITE,
};
