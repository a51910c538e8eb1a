// SPDX-License-Identifier: GPL-2.0-only
/* The log's files on the cache: found or made, and written a piece at a time. */

#include <linux/buffer_head.h>
#include <linux/fs.h>	/* fileattr.h needs it before */
#include <linux/fileattr.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/uio.h>
#include "intermezzo.h"
#include "log.h"

/* Nothing of a log is larger, in bytes; where all its blocks are is kept in memory. */
#define IZO_AREA_MOST SZ_16M

static struct dentry *izo_area_lookup(struct izo_log *log, const char *name)
{
	const struct qstr q = QSTR_INIT(name, strlen(name));
	struct dentry *child;

	inode_lock_nested(d_inode(log->dir), I_MUTEX_PARENT);
	child = izo_lower_lookup_locked(log->sb, log->dir, &q);
	inode_unlock(d_inode(log->dir));
	return child;
}

/**
 * izo_area_remove_locked - remove a file of the log
 * @log: the log; its lower directory is locked, and may be written
 * @name: of the file, which is not in use; it need not be there
 *
 * Return: 0; -EISDIR; another negative errno.
 */
int izo_area_remove_locked(struct izo_log *log, const char *name)
{
	const struct qstr q = QSTR_INIT(name, strlen(name));
	struct izo_name n = { .dir = log->dir };
	int err = 0;

	n.child = izo_lower_lookup_locked(log->sb, n.dir, &q);
	if (IS_ERR(n.child))
		return PTR_ERR(n.child);
	if (d_is_dir(n.child))
		err = -EISDIR;
	else if (d_really_is_positive(n.child))
		err = izo_lower_unlink(NULL, &n);
	/* who makes it does not ask the dcache: izo_lower_replace_name() */
	if (!err)
		d_drop(n.child);
	dput(n.child);
	return err;
}

/**
 * izo_area_remove - the same, with the directory not locked
 * @log: the log; its directory is there
 * @name: of the file, which is not in use; it need not be there
 *
 * Return: 0 or a negative errno.
 */
int izo_area_remove(struct izo_log *log, const char *name)
{
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	int err = mnt_want_write(mnt);

	if (err)
		return err;
	inode_lock_nested(d_inode(log->dir), I_MUTEX_PARENT);
	err = izo_area_remove_locked(log, name);
	inode_unlock(d_inode(log->dir));
	mnt_drop_write(mnt);
	return err;
}

/*
 * Give a new file of the log, whose directory is locked, the flags it should have. Without them
 * the log may end sooner, for want of room: no reason to have none at all.
 */
static void izo_area_set_flags(struct izo_log *log, struct dentry *dentry)
{
	struct inode *inode = d_inode(dentry);
	struct fileattr fa;

	if (!izo_sb(log->sb)->config.cache->log_flags || !inode->i_op->fileattr_set)
		return;
	fileattr_fill_flags(&fa, izo_sb(log->sb)->config.cache->log_flags);
	inode_lock(inode);
	if (inode->i_op->fileattr_set(&nop_mnt_idmap, dentry, &fa))
		pr_warn_once("%s: the log's files cannot be kept in place\n", log->sb->s_id);
	inode_unlock(inode);
}

/* A new empty file, open for writing. */
static struct file *izo_area_create(struct izo_log *log, const char *name)
{
	const struct qstr q = QSTR_INIT(name, strlen(name));
	struct izo_name n = { .dir = log->dir };
	struct path path = { .mnt = izo_sb(log->sb)->lower_mnt };
	struct file *file;
	int err = mnt_want_write(path.mnt);

	if (err)
		return ERR_PTR(err);
	inode_lock_nested(d_inode(n.dir), I_MUTEX_PARENT);
	n.child = izo_lower_lookup_locked(log->sb, n.dir, &q);
	if (IS_ERR(n.child))
		err = PTR_ERR(n.child);
	else
		err = izo_lower_create(NULL, &n, 0600, true);
	if (!err)
		izo_area_set_flags(log, n.child);
	inode_unlock(d_inode(n.dir));
	mnt_drop_write(path.mnt);
	if (IS_ERR(n.child))
		return ERR_PTR(err);
	path.dentry = n.child;
	if (err)
		file = ERR_PTR(err);
	else
		file = dentry_open(&path, O_RDWR | O_LARGEFILE | IZO_LOWER_OPEN_FLAGS,
				   izo_sb(log->sb)->creator_cred);
	dput(n.child);
	return file;
}

/*
 * Zeros are to be on the medium. Where the log goes through the journal that is enough: a record in
 * these blocks is committed with what maps them, or after it, and a commit that is not forced makes
 * nobody wait. What has a head is to stay.
 */
static int izo_area_settle(const struct izo_log *log, struct file *file, const void *head)
{
	if (log->journal && !head)
		return file_write_and_wait_range(file, 0, LLONG_MAX);
	return vfs_fsync(file, 0);
}

/* Zeros, not fallocate(): blocks must be mapped and written, also where there are no extents. */
static int izo_area_fill(const struct izo_log *log, struct file *file, u32 bytes, const void *head,
			 u32 head_len)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	loff_t pos = 0;
	int err = 0;

	if (!page)
		return -ENOMEM;
	memcpy(page, head, head_len);
	while (pos < bytes && !err) {
		ssize_t ret = kernel_write(file, page, min_t(loff_t, PAGE_SIZE, bytes - pos), &pos);

		err = ret < 0 ? ret : 0;
		memset(page, 0, head_len);
	}
	free_page((unsigned long)page);
	return err ? err : izo_area_settle(log, file, head);
}

static bool izo_folio_is_journaled(struct folio *folio)
{
	struct buffer_head *first, *bh;
	bool journaled = false;

	folio_lock(folio);
	first = folio_buffers(folio);
	for (bh = first; bh && !journaled; bh = bh->b_this_page != first ? bh->b_this_page : NULL)
		journaled = buffer_jbd(bh);
	folio_unlock(folio);
	return journaled;
}

/* Has any data of the file gone through the journal, and not arrived at its place yet? */
static bool izo_is_journaled(struct address_space *mapping)
{
	pgoff_t end = DIV_ROUND_UP(i_size_read(mapping->host), PAGE_SIZE), index = 0;
	bool journaled = false;

	while (index < end && !journaled) {
		struct folio *folio = filemap_get_folio(mapping, index);

		/* what is on its way is in memory */
		if (IS_ERR(folio)) {
			index++;
			continue;
		}
		journaled = izo_folio_is_journaled(folio);
		index = folio_next_index(folio);
		folio_put(folio);
	}
	return journaled;
}

/*
 * Blocks that a journal of data has written (data=journal) may still be on their way to their
 * place: they must not arrive after ours. All changes wait meanwhile, so only where it is so.
 */
static int izo_area_checkpoint(struct izo_log *log, struct file *file)
{
	int err;

	if (!log->journal || !izo_is_journaled(file->f_mapping))
		return 0;
	jbd2_journal_lock_updates(log->journal);
	err = jbd2_journal_flush(log->journal, 0);
	jbd2_journal_unlock_updates(log->journal);
	return err;
}

/**
 * izo_area_make - make a file of the log in place of one of that name
 * @log: the log; its directory is there
 * @name: of the file; not in use
 * @bytes: its size, a multiple of the block size
 * @head: what it begins with, and zeros follow: the file is there for good; NULL: it may be gone
 *	after a crash, unless something was written there through the journal
 * @head_len: bytes of @head, at most a page
 *
 * Context: no handle, no freeze protection.
 * Return: 0 or a negative errno with the file gone.
 */
int izo_area_make(struct izo_log *log, const char *name, u32 bytes, const void *head,
		  u32 head_len)
{
	struct file *file;
	int err = izo_area_remove(log, name);

	if (err)
		return err;
	file = izo_area_create(log, name);
	if (IS_ERR(file))
		return PTR_ERR(file);
	err = izo_area_fill(log, file, bytes, head, head_len);
	if (!err)
		err = izo_area_checkpoint(log, file);
	__fput_sync(file);
	if (err)
		izo_area_remove(log, name);
	return err;
}

/**
 * izo_area_get - make a file of the log usable
 * @log: the log; its directory is there
 * @area: to fill; izo_area_put() ends it
 * @name: of the file
 * @bytes: the size it must have, or 0: what it has
 *
 * Return: 0; -ENOENT; -ENODATA if a crash left it incomplete; -EFBIG if no kernel made it;
 * another negative errno.
 */
int izo_area_get(struct izo_log *log, struct izo_area *area, const char *name, u32 bytes)
{
	struct dentry *dentry = izo_area_lookup(log, name);
	struct path path = { .mnt = izo_sb(log->sb)->lower_mnt, .dentry = dentry };
	int err;

	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	err = -ENOENT;
	if (d_really_is_negative(dentry))
		goto out;
	err = -EFBIG;
	if (i_size_read(d_inode(dentry)) > IZO_AREA_MOST)
		goto out;
	err = -ENODATA;
	if (!d_is_reg(dentry) || !i_size_read(d_inode(dentry)) ||
	    (bytes && i_size_read(d_inode(dentry)) != bytes) ||
	    i_size_read(d_inode(dentry)) % log->block_size)
		goto out;
	area->inode = igrab(d_inode(dentry));
	area->bytes = i_size_read(area->inode);
	err = log->ops->open(log, area, &path);
	if (err) {
		iput(area->inode);
		area->inode = NULL;
	} else {
		/*
		 * S_SWAPFILE is the kernel's own mark of a file whose blocks are known elsewhere;
		 * such a file cannot be written.
		 */
		inode_set_flags(area->inode, S_IMMUTABLE | (area->map ? S_SWAPFILE : 0),
				S_SWAPFILE | S_IMMUTABLE);
	}
out:
	dput(dentry);
	return err;
}

/**
 * izo_area_put - undo izo_area_get(); the file stays
 * @log: the log
 * @area: the area, or one that was never got
 */
void izo_area_put(struct izo_log *log, struct izo_area *area)
{
	if (!area->inode)
		return;
	log->ops->close(area);
	inode_set_flags(area->inode, 0, S_SWAPFILE | S_IMMUTABLE);
	iput(area->inode);
	area->inode = NULL;
}

/**
 * izo_area_write - change bytes of an area, whatever blocks they lie in
 * @ctx: whose handle is open
 * @area: the area
 * @pos: first byte
 * @buf: the bytes
 * @len: how many
 *
 * Return: 0 or a negative errno, with part of it perhaps written.
 */
int izo_area_write(struct izo_ctx *ctx, struct izo_area *area, u32 pos, const void *buf, u32 len)
{
	struct izo_log *log = ctx->log;
	int err = 0;

	while (len && !err) {
		u32 part = min(len, log->block_size - pos % log->block_size);

		err = log->ops->write(ctx, area, pos, buf, part, false);
		buf += part;
		pos += part;
		len -= part;
	}
	return err;
}

/**
 * izo_table_open - open a file that is not written through the journal, to be read
 * @log: the log; its directory is there
 * @name: of the file
 *
 * Return: the file, or an ERR_PTR: -ENOENT; -ENODATA if it is no regular file; another.
 */
struct file *izo_table_open(struct izo_log *log, const char *name)
{
	struct path path = { .mnt = izo_sb(log->sb)->lower_mnt };
	struct file *file;

	path.dentry = izo_area_lookup(log, name);
	if (IS_ERR(path.dentry))
		return ERR_CAST(path.dentry);
	if (d_really_is_negative(path.dentry))
		file = ERR_PTR(-ENOENT);
	else if (!d_is_reg(path.dentry))
		file = ERR_PTR(-ENODATA);
	else
		file = dentry_open(&path, O_RDONLY | O_LARGEFILE | IZO_LOWER_OPEN_FLAGS,
				   izo_sb(log->sb)->creator_cred);
	dput(path.dentry);
	return file;
}

/**
 * izo_read_exactly - read from a file of the cache
 * @file: lower file
 * @pos: of the first byte
 * @buf: result
 * @len: bytes
 *
 * Not kernel_read(), which must not be called with freezing held off.
 *
 * Return: 0; -ENODATA if the file ends before; another negative errno.
 */
int izo_read_exactly(struct file *file, u64 pos, void *buf, u32 len)
{
	struct kvec vec = { .iov_base = buf, .iov_len = len };
	struct iov_iter iter;
	struct kiocb kiocb;
	ssize_t ret;

	init_sync_kiocb(&kiocb, file);
	kiocb.ki_pos = pos;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, len);
	ret = file->f_op->read_iter(&kiocb, &iter);
	if (ret < 0)
		return ret;
	return ret == len ? 0 : -ENODATA;
}
