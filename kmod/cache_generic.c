// SPDX-License-Identifier: GPL-2.0-only
/*
 * Any other cache (xfs, btrfs, tmpfs): the log is written through its files, after the change.
 * There is no transaction to put both into, so nothing is promised after a crash.
 */

#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include "intermezzo.h"
#include "log.h"

/*
 * The logs' own inodes are locked, and their pages read in, inside the locks of the object that a
 * record is about.
 */
static struct lock_class_key izo_generic_log_key;
static struct lock_class_key izo_generic_mapping_key;

static int izo_generic_attach(struct izo_log *log)
{
	return 0;
}

static int izo_generic_open(struct izo_log *log, struct izo_area *area, const struct path *path)
{
	struct file *file = dentry_open(path, O_RDWR | O_LARGEFILE | IZO_LOWER_OPEN_FLAGS,
					izo_sb(log->sb)->creator_cred);

	if (IS_ERR(file))
		return PTR_ERR(file);
	lockdep_set_class(&area->inode->i_rwsem, &izo_generic_log_key);
	lockdep_set_class(&area->inode->i_mapping->invalidate_lock, &izo_generic_mapping_key);
	area->file = file;
	return 0;
}

static void izo_generic_close(struct izo_area *area)
{
	if (area->file)
		__fput_sync(area->file);
	area->file = NULL;
}

static int izo_generic_start(struct izo_ctx *ctx, unsigned int blocks)
{
	return 0;
}

static int izo_generic_detach(struct izo_ctx *ctx)
{
	return 0;
}

static int izo_generic_stop(struct izo_ctx *ctx)
{
	return 0;
}

/* A write for somebody who waits for it. */
struct izo_generic_job {
	struct work_struct work;
	struct file *file;
	loff_t pos;
	struct kvec vec;
	ssize_t ret;
};

/*
 * Not kernel_write(): freezing is held off already, and a second time would deadlock with a
 * freeze that waits in between.
 */
static void izo_generic_do(struct work_struct *work)
{
	struct izo_generic_job *job = container_of(work, struct izo_generic_job, work);
	struct iov_iter iter;
	struct kiocb kiocb;

	init_sync_kiocb(&kiocb, job->file);
	kiocb.ki_pos = job->pos;
	iov_iter_kvec(&iter, ITER_SOURCE, &job->vec, 1, job->vec.iov_len);
	job->ret = job->file->f_op->write_iter(&kiocb, &iter);
}

/* By a kernel thread, which a caller's file size limit, memory limit or death does not concern. */
static int izo_generic_write(struct izo_ctx *ctx, struct izo_area *area, u32 pos, const void *buf,
			     u32 len, bool fresh)
{
	struct izo_generic_job job = {
		.file = area->file,
		.pos = pos,
		.vec = { .iov_base = (void *)buf, .iov_len = len },
	};

	INIT_WORK_ONSTACK(&job.work, izo_generic_do);
	queue_work(system_unbound_wq, &job.work);
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
	if (job.ret < 0)
		return job.ret;
	return job.ret == len ? 0 : -EIO;
}

static int izo_generic_read(struct izo_log *log, struct izo_area *area, u32 pos, void *buf, u32 len)
{
	int err = izo_read_exactly(area->file, pos, buf, len);

	return err == -ENODATA ? -EIO : err;
}

const struct izo_cache_ops izo_generic_ops = {
	.attach	= izo_generic_attach,
	.open	= izo_generic_open,
	.close	= izo_generic_close,
	.start	= izo_generic_start,
	.detach	= izo_generic_detach,
	.stop	= izo_generic_stop,
	.write	= izo_generic_write,
	.read	= izo_generic_read,
};
