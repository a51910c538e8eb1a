// SPDX-License-Identifier: GPL-2.0-only
/*
 * ext4 as a cache: the record of a change goes into the transaction of the change.
 *
 * ext4's own handles nest in ours, so one jbd2 transaction carries the operation and the blocks of
 * the log that describe it. The log is written as quota files are: its blocks are mapped once, and
 * changed as buffers of the block device under the journal, never through the file. What made this
 * the way is in docs/decisions/0007-log-through-the-journal.md.
 *
 * Without a journal the same buffers are only marked dirty: logged, with no promise after a crash.
 */

#include <linux/buffer_head.h>
#include <linux/quotaops.h>
#include "intermezzo.h"
#include "log.h"

/*
 * References that a handle of ours has to spare: on some errors ext4 stops a handle that it did
 * not start (four seen; ext4_create() and its like after a failed ext4_new_inode()).
 */
#define IZO_SPARE_REFS 15

/* What ext4 may need for the operations, in blocks; fs/ext4/ext4_jbd2.h and namei.c. */
#define IZO_EXT4_DATA		27	/* EXT4_DATA_TRANS_BLOCKS */
#define IZO_EXT4_INDEX		12	/* EXT4_INDEX_EXTRA_TRANS_BLOCKS */
#define IZO_EXT4_XATTR		7	/* one attribute, perhaps in a block of its own */
#define IZO_EXT4_QUOTA_INIT	73	/* EXT4_QUOTA_INIT_BLOCKS: an owner's first use of it */
#define IZO_EXT4_QUOTA_DEL	9	/* EXT4_QUOTA_DEL_BLOCKS: an owner's last */

static unsigned int izo_ext4_op_credits(const struct izo_ctx *ctx)
{
	switch (ctx->change.op) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
		/* two ACLs and two labels may be inherited */
		return IZO_EXT4_DATA + IZO_EXT4_INDEX + 7 + 4 * IZO_EXT4_XATTR;
	case IZO_KML_LINK:
		return IZO_EXT4_DATA + IZO_EXT4_INDEX + 5;
	case IZO_KML_UNLINK:
	case IZO_KML_RMDIR:
		return IZO_EXT4_DATA;
	case IZO_KML_RENAME:
		return 2 * IZO_EXT4_DATA + IZO_EXT4_INDEX + 10 +
		       (ctx->change.flags & IZO_KML_WHITEOUT ? 16 : 0);
	case IZO_KML_SETATTR:
		return 3 + 2 * IZO_EXT4_XATTR;
	case IZO_KML_SETXATTR:
	case IZO_KML_REMOVEXATTR:
		return 3 + 4 * IZO_EXT4_XATTR;
	default:
		return 0;	/* only the log is written */
	}
}

/* To set attributes as a peer's record has them: the FID, times of two directories, owner, rest. */
static unsigned int izo_ext4_remote_credits(const struct izo_ctx *ctx)
{
	const struct izo_remote *m = ctx->change.remote;
	unsigned int xattrs = 3;	/* the FID, and ACLs that it must not inherit */
	const void *item = NULL;
	size_t len;

	if (!m)
		return 0;
	while ((item = izo_record_find(m->head, IZO_ITEM_XATTR, item, &len)))
		xattrs++;
	xattrs = xattrs * IZO_EXT4_XATTR + 5 * (3 + IZO_EXT4_XATTR);
	/* to take back what is made, if its FID finds no room */
	if (ctx->change.op >= IZO_KML_CREATE && ctx->change.op <= IZO_KML_SYMLINK)
		xattrs += IZO_EXT4_DATA;
	/* a name that a body takes: two blocks of its directory, its inode, and as much again */
	return m->names ? xattrs + 2 * IZO_EXT4_DATA + IZO_EXT4_INDEX + 5 + 10 * m->names : xattrs;
}

/* What jbd2 gives one handle at most; it refuses more with a warning. */
static int izo_ext4_limit(const struct izo_log *log)
{
	return log->journal->j_max_transaction_buffers -
	       log->journal->j_transaction_overhead_buffers;
}

/* Only a peer's record can ask for more: a body with many names, a birth with many attributes. */
static bool izo_ext4_is_too_much(const struct izo_ctx *ctx, unsigned int credits)
{
	return ctx->change.remote && (int)credits >= izo_ext4_limit(ctx->log);
}

static bool izo_ext4_makes(const struct izo_change *c)
{
	return (c->op >= IZO_KML_CREATE && c->op <= IZO_KML_SYMLINK) ||
	       (c->op == IZO_KML_RENAME && c->flags & IZO_KML_WHITEOUT);
}

/* What entries in the cache's quotas may need: a new object has an owner, chown(2) changes one. */
static unsigned int izo_ext4_quota_credits(const struct izo_ctx *ctx)
{
	const struct izo_change *c = &ctx->change;
	unsigned int quotas = 0;

	for (int type = 0; type < MAXQUOTAS; type++)
		quotas += sb_has_quota_loaded(izo_lower_sb(ctx->sb), type);
	/* a peer's gets another owner than it was made with; see izo_ext4_hold_quotas() */
	if (izo_ext4_makes(c))
		return quotas * (c->remote ? IZO_EXT4_QUOTA_DEL : IZO_EXT4_QUOTA_INIT);
	/* owner and group, or the project */
	if (c->op == IZO_KML_SETATTR)
		return min(quotas, 2U) * (IZO_EXT4_QUOTA_INIT + IZO_EXT4_QUOTA_DEL);
	return 0;
}

static unsigned int izo_ext4_credits(const struct izo_ctx *ctx, unsigned int blocks)
{
	return blocks + izo_ext4_op_credits(ctx) + izo_ext4_quota_credits(ctx) +
	       izo_ext4_remote_credits(ctx);
}

/*
 * Does the largest change fit into a transaction, with a block for what it revokes? jbd2 refuses a
 * handle that does not, with a warning. Most for ext4 needs a rename that leaves a whiteout, most
 * for the log an attribute; a peer's record needs less where there are three quotas.
 */
static bool izo_ext4_journal_fits(struct izo_log *log)
{
	struct izo_ctx rename = {
		.sb = log->sb,
		.change = { .op = IZO_KML_RENAME, .flags = IZO_KML_WHITEOUT },
	};
	struct izo_ctx xattr = { .sb = log->sb, .change.op = IZO_KML_SETXATTR };
	int limit = izo_ext4_limit(log);

	return izo_ext4_credits(&rename, izo_log_blocks(log, IZO_LOG_NAMES_MOST)) < limit &&
	       izo_ext4_credits(&xattr, izo_log_blocks(log, IZO_KML_RECORD_MAX)) < limit;
}

static int izo_ext4_attach(struct izo_log *log)
{
	log->journal = ext4_sb_journal(izo_lower_sb(log->sb));
	/* only the module on a kernel without our patch can fail to find it */
	if (IS_ERR(log->journal)) {
		int err = PTR_ERR(log->journal);

		pr_err("%s: cannot find the journal of ext4: is /proc mounted?\n", log->sb->s_id);
		log->journal = NULL;
		return err;
	}
	if (log->journal && !izo_ext4_journal_fits(log)) {
		pr_err("%s: ext4's journal of %u blocks is too small for changes with its quotas; on the unmounted cache take it away with tune2fs -O ^has_journal and make one of at least 4096 blocks with tune2fs -J size=\n",
		       log->sb->s_id, log->journal->j_total_len);
		return -EINVAL;
	}
	return 0;
}

static void izo_ext4_close(struct izo_area *area)
{
	kvfree(area->map);
	area->map = NULL;
}

/* A block that was never written has no number, or none that may be written behind ext4's back. */
static int izo_ext4_open(struct izo_log *log, struct izo_area *area, const struct path *path)
{
	u32 blocks = area->bytes / log->block_size;

	area->map = kvcalloc(blocks, sizeof(*area->map), GFP_KERNEL);
	if (!area->map)
		return -ENOMEM;
	for (u32 i = 0; i < blocks; i++) {
		int err;

		area->map[i] = i;
		err = bmap(area->inode, &area->map[i]);
		if (!err && !area->map[i])
			err = -ENODATA;
		if (err) {
			izo_ext4_close(area);
			return err;
		}
	}
	/* from here on the file's own pages are stale */
	invalidate_mapping_pages(area->inode->i_mapping, 0, -1);
	return 0;
}

static void izo_ext4_drop_quotas(struct izo_ctx *ctx)
{
	for (size_t i = 0; i < ARRAY_SIZE(ctx->quotas); i++) {
		izo_quota_put(ctx->quotas[i]);
		ctx->quotas[i] = NULL;
	}
}

static int izo_ext4_hold_owners(struct izo_ctx *ctx, const struct izo_kml_attr *a)
{
	const struct kqid ids[] = {
		make_kqid_uid(current_fsuid()),
		make_kqid_gid(current_fsgid()),
		make_kqid(&init_user_ns, USRQUOTA, le32_to_cpu(a->uid)),
		make_kqid(&init_user_ns, GRPQUOTA, le32_to_cpu(a->gid)),
		make_kqid(&init_user_ns, PRJQUOTA, le32_to_cpu(a->projid)),
	};

	BUILD_BUG_ON(ARRAY_SIZE(ids) != ARRAY_SIZE(ctx->quotas));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct dquot *dquot = izo_quota_get(izo_lower_sb(ctx->sb), ids[i]);

		/* ESRCH: there is no such quota */
		if (IS_ERR(dquot) && dquot != ERR_PTR(-ESRCH)) {
			izo_ext4_drop_quotas(ctx);
			return PTR_ERR(dquot);
		}
		ctx->quotas[i] = IS_ERR(dquot) ? NULL : dquot;
	}
	return 0;
}

/*
 * Whom a peer's record makes something for, and who owns it until then: the quotas know them before
 * the handle begins, as a small journal has no room for new ones in it, and until it ends.
 */
static int izo_ext4_hold_quotas(struct izo_ctx *ctx)
{
	const struct izo_remote *m = ctx->change.remote;

	if (!m || !izo_ext4_makes(&ctx->change))
		return 0;
	return izo_ext4_hold_owners(ctx, m->whiteout ? &m->whiteout->attr : m->attr);
}

/*
 * The only way to a handle. jbd2 asks nobody whether the file system is frozen or read-only; ext4
 * does, for its own handles; here the caller has, by mnt_want_write().
 */
static int izo_ext4_start(struct izo_ctx *ctx, unsigned int blocks)
{
	struct izo_log *log = ctx->log;
	unsigned int credits = izo_ext4_credits(ctx, blocks);
	handle_t *handle;
	int err;

	if (!log->journal)
		return 0;
	lockdep_assert(sb_write_started(izo_lower_sb(ctx->sb)) ||
		       __sb_write_started(izo_lower_sb(ctx->sb), SB_FREEZE_PAGEFAULT));
	if (izo_ext4_is_too_much(ctx, credits))
		return -EMLINK;
	err = izo_ext4_hold_quotas(ctx);
	if (err)
		return err;
	handle = jbd2__journal_start(log->journal, credits, 0, 16, GFP_NOFS, 0, __LINE__);
	if (IS_ERR(handle)) {
		izo_ext4_drop_quotas(ctx);
		return PTR_ERR(handle);
	}
	handle->h_ref += IZO_SPARE_REFS;
	ctx->handle = handle;
	ctx->tid = handle->h_transaction->t_tid;
	return 0;
}

static int izo_ext4_detach(struct izo_ctx *ctx)
{
	handle_t *handle = ctx->handle;

	if (!handle)
		return 0;
	handle->h_ref = 1;
	/* restarted by ext4, the operation and its record are in two transactions */
	if (WARN_ON_ONCE(journal_current_handle() != handle || !handle->h_transaction ||
			 handle->h_transaction->t_tid != ctx->tid))
		return -EIO;
	return 0;
}

static int izo_ext4_stop(struct izo_ctx *ctx)
{
	handle_t *handle = ctx->handle;
	int err = handle ? jbd2_journal_stop(handle) : 0;

	ctx->handle = NULL;
	izo_ext4_drop_quotas(ctx);
	return err;
}

static struct buffer_head *izo_ext4_block(struct izo_log *log, struct izo_area *area, u32 pos,
					  bool fresh)
{
	sector_t block = area->map[pos / log->block_size];
	struct buffer_head *bh;

	if (!fresh)
		return sb_bread(izo_lower_sb(log->sb), block);
	bh = sb_getblk(izo_lower_sb(log->sb), block);
	if (!bh || buffer_uptodate(bh))
		return bh;
	/* all of it will be written: what the disk has does not matter */
	lock_buffer(bh);
	if (!buffer_uptodate(bh)) {
		memset(bh->b_data, 0, bh->b_size);
		set_buffer_uptodate(bh);
	}
	unlock_buffer(bh);
	return bh;
}

static int izo_ext4_write(struct izo_ctx *ctx, struct izo_area *area, u32 pos, const void *buf,
			  u32 len, bool fresh)
{
	struct izo_log *log = ctx->log;
	struct buffer_head *bh = izo_ext4_block(log, area, pos, fresh);
	u32 at = pos % log->block_size;
	int err = 0;

	if (!bh)
		return -EIO;
	if (ctx->handle)
		err = jbd2_journal_get_write_access(ctx->handle, bh);
	if (!err) {
		lock_buffer(bh);
		if (fresh) {
			memset(bh->b_data, 0, at);
			memset(bh->b_data + at + len, 0, bh->b_size - at - len);
		}
		memcpy(bh->b_data + at, buf, len);
		unlock_buffer(bh);
		if (ctx->handle)
			err = jbd2_journal_dirty_metadata(ctx->handle, bh);
		else
			mark_buffer_dirty(bh);
	}
	brelse(bh);
	return err;
}

static int izo_ext4_read(struct izo_log *log, struct izo_area *area, u32 pos, void *buf, u32 len)
{
	while (len) {
		u32 at = pos % log->block_size, part = min(len, log->block_size - at);
		struct buffer_head *bh = sb_bread(izo_lower_sb(log->sb),
						  area->map[pos / log->block_size]);

		if (!bh)
			return -EIO;
		memcpy(buf, bh->b_data + at, part);
		brelse(bh);
		buf += part;
		pos += part;
		len -= part;
	}
	return 0;
}

const struct izo_cache_ops izo_ext4_ops = {
	.attach	= izo_ext4_attach,
	.open	= izo_ext4_open,
	.close	= izo_ext4_close,
	.start	= izo_ext4_start,
	.detach	= izo_ext4_detach,
	.stop	= izo_ext4_stop,
	.write	= izo_ext4_write,
	.read	= izo_ext4_read,
};
