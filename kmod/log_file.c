// SPDX-License-Identifier: GPL-2.0-only
/*
 * The logs as files: .intermezzo/FILESET/{kml,lml,last_rcvd,replicas} for readers.
 *
 * In kml a position of the file is an offset of the log, with the stream's header at 0; only what
 * is on the medium can be read. The others are what their blocks hold. The blocks of all of them
 * change behind the cache's pages, so nothing else may open them, or the segments.
 */

#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "intermezzo.h"
#include "log.h"

/* The log's file below an inode of class internal; false if it is none. */
static bool izo_is_log_file(const struct izo_log *log, const struct inode *inode)
{
	const struct inode *lower = izo_lower(inode);

	return log && (lower == log->control.inode || lower == log->lml.inode ||
		       lower == log->rcvd.inode || lower == log->table.inode);
}

static struct izo_log *izo_log_of(const struct inode *inode)
{
	/* pairs with izo_log_open() */
	return smp_load_acquire(&izo_sb(inode->i_sb)->log);
}

/* Files of the log are marked (izo_area_get()): those that are not read here are not read. */
static int izo_log_file_open(struct inode *inode, struct file *file)
{
	struct izo_log *log = izo_log_of(inode);

	if (file->f_mode & FMODE_WRITE)
		return -EPERM;
	if (izo_is_log_file(log, inode)) {
		file->private_data = log;
		return 0;
	}
	if (IS_IMMUTABLE(izo_lower(inode)))
		return -EPERM;
	file->f_op = &izo_file_operations;
	return file->f_op->open(inode, file);
}

static void izo_log_header(struct izo_log *log, struct izo_kml_header *h)
{
	*h = (struct izo_kml_header){
		.magic = cpu_to_le64(IZO_KML_HEADER_MAGIC),
		.version = cpu_to_le32(IZO_KML_VERSION),
		.len = cpu_to_le32(sizeof(*h)),
		.self = cpu_to_le16(log->self),
		.block_size = cpu_to_le32(log->block_size),
		.epoch = cpu_to_le64(log->epoch),
	};
	export_uuid(h->fileset, &log->fileset);
	export_uuid(h->replica, &log->replica);
	if (test_bit(IZO_LOG_OVERFLOW, &log->state))
		h->flags = cpu_to_le32(IZO_KML_H_OVERFLOW);
	mutex_lock(&log->lock);
	h->first = cpu_to_le64(log->first);
	h->first_recno = cpu_to_le64(log->first_recno);
	mutex_unlock(&log->lock);
	izo_crc_seal(h, sizeof(*h), &h->crc);
}

static ssize_t izo_log_read_at(struct izo_log *log, const struct inode *inode, void *buf,
			       size_t len, u64 pos)
{
	const struct inode *lower = izo_lower(inode);
	struct izo_area *area = lower == log->lml.inode ? &log->lml :
				lower == log->rcvd.inode ? &log->rcvd : &log->table;
	struct izo_kml_header h;
	int err;

	if (lower == log->control.inode) {
		if (pos >= sizeof(h))
			return izo_log_read(log, buf, len, pos);
		izo_log_header(log, &h);
		len = min(len, sizeof(h) - (size_t)pos);
		memcpy(buf, (void *)&h + pos, len);
		return len;
	}
	if (pos >= area->bytes)
		return 0;
	len = min_t(u64, len, area->bytes - pos);
	err = log->ops->read(log, area, pos, buf, len);
	return err ? err : len;
}

static ssize_t izo_log_file_read(struct file *file, char __user *to, size_t count, loff_t *ppos)
{
	struct izo_log *log = file->private_data;
	void *page = (void *)__get_free_page(GFP_KERNEL);
	ssize_t done = 0, ret = 0;

	if (!page)
		return -ENOMEM;
	while (count) {
		ret = izo_log_read_at(log, file_inode(file), page, min(count, PAGE_SIZE), *ppos);
		if (ret <= 0)
			break;
		if (copy_to_user(to + done, page, ret)) {
			ret = -EFAULT;
			break;
		}
		*ppos += ret;
		done += ret;
		count -= ret;
		if (fatal_signal_pending(current))
			break;
	}
	free_page((unsigned long)page);
	return done ? done : ret;
}

static loff_t izo_log_size(struct izo_log *log, const struct inode *inode)
{
	if (izo_lower(inode) == log->control.inode)
		return izo_log_committed(log);
	return i_size_read(izo_lower(inode));
}

static loff_t izo_log_file_llseek(struct file *file, loff_t offset, int whence)
{
	struct izo_log *log = file->private_data;
	const struct inode *inode = file_inode(file);
	loff_t size = izo_log_size(log, inode), first = 0;

	if (whence == SEEK_DATA && izo_lower(inode) == log->control.inode) {
		mutex_lock(&log->lock);
		first = log->first;
		mutex_unlock(&log->lock);
		if (offset >= (loff_t)sizeof(struct izo_kml_header) && offset < first)
			offset = first;
	}
	return generic_file_llseek_size(file, offset, whence, MAX_LFS_FILESIZE, size);
}

static int izo_log_file_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	return izo_log_commit(file->private_data);
}

static __poll_t izo_log_file_poll(struct file *file, struct poll_table_struct *wait)
{
	struct izo_log *log = file->private_data;

	poll_wait(file, &log->grew, wait);
	izo_log_tell(log);
	if (test_bit(IZO_LOG_FAILED, &log->state))
		return EPOLLERR | EPOLLIN | EPOLLRDNORM;
	return izo_log_size(log, file_inode(file)) > file->f_pos ? EPOLLIN | EPOLLRDNORM : 0;
}

static void izo_log_info(struct izo_log *log, struct izo_kml_info *info)
{
	*info = (struct izo_kml_info){
		.size = sizeof(*info),
		.epoch = log->epoch,
		.limit = log->limit,
		.self = log->self,
	};
	export_uuid(info->fileset, &log->fileset);
	export_uuid(info->replica, &log->replica);
	if (log->journal)
		info->flags |= IZO_INFO_JOURNALED;
	if (test_bit(IZO_LOG_FAILED, &log->state))
		info->flags |= IZO_INFO_FAILED;
	if (test_bit(IZO_LOG_OVERFLOW, &log->state))
		info->flags |= IZO_KML_H_OVERFLOW;
	info->committed = izo_log_committed(log);
	mutex_lock(&log->lml_lock);
	info->dirty = log->ndirty;
	mutex_unlock(&log->lml_lock);
	mutex_lock(&log->lock);
	info->first = log->first;
	info->first_recno = log->first_recno;
	info->end = log->tail;
	info->end_recno = log->recno;
	info->capacity = (u64)log->segments * log->segment_size;
	mutex_unlock(&log->lock);
}

static int izo_log_trim_durably(struct izo_log *log, u64 offset)
{
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	int err = mnt_want_write(mnt);

	if (err)
		return err;
	err = izo_log_trim(log, offset);
	if (!err)
		err = log->ops->start(&ctx, 1);
	if (!err)
		err = izo_log_stop(&ctx, izo_log_store_trimmed(&ctx));
	mnt_drop_write(mnt);
	return err;
}

static long izo_log_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct izo_log *log = file->private_data;
	struct izo_kml_info info;
	u64 offset;
	int err;

	if (izo_lower(file_inode(file)) != log->control.inode)
		return -ENOTTY;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	switch (cmd) {
	case IZO_IOC_KML_INFO:
		izo_log_info(log, &info);
		return copy_to_user((void __user *)arg, &info, sizeof(info)) ? -EFAULT : 0;
	case IZO_IOC_KML_TRIM:
		if (copy_from_user(&offset, (void __user *)arg, sizeof(offset)))
			return -EFAULT;
		/* a remount to read-only waits for writers of this mount, not of the cache's */
		err = mnt_want_write(file->f_path.mnt);
		if (err)
			return err;
		err = izo_log_trim_durably(log, offset);
		mnt_drop_write(file->f_path.mnt);
		return err;
	default:
		return -ENOTTY;
	}
}

/**
 * izo_log_getattr - sizes of the log's files are the logs'
 * @inode: upper inode
 * @stat: what the cache says, to be corrected
 */
void izo_log_getattr(const struct inode *inode, struct kstat *stat)
{
	struct izo_log *log = izo_log_of(inode);

	if (izo_i(inode)->class == IZO_CLASS_INTERNAL && izo_is_log_file(log, inode))
		stat->size = izo_log_size(log, inode);
}

const struct file_operations izo_log_file_operations = {
	.open		= izo_log_file_open,
	.read		= izo_log_file_read,
	.llseek		= izo_log_file_llseek,
	.fsync		= izo_log_file_fsync,
	.poll		= izo_log_file_poll,
	.unlocked_ioctl	= izo_log_file_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
