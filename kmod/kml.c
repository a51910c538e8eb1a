// SPDX-License-Identifier: GPL-2.0-only
/*
 * The log of changes (KML): a ring of segments on the cache.
 *
 * A record is appended within the handle of the change it describes, under log->lock, which nests
 * in the handle and covers only the choice of a place and the copy. The rest of the last block is
 * a filler, which the next record of the same transaction replaces; a record of a new transaction
 * begins a new block. So the block under commit is never touched again and nobody waits for the
 * journal's I/O; after a crash the log ends at the end of a block.
 *
 * Room is promised before an operation begins (izo_log_reserve()), so an append can fail only with
 * the journal. When there is none to promise, the log overflows: the change goes on, unrecorded,
 * and a flag in its transaction says that the log is not the whole truth any more.
 */

#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/timekeeping.h>
#include "intermezzo.h"
#include "log.h"

/* How often a log that cannot grow looks for room. */
#define IZO_GROW_INTERVAL (5 * HZ)

/* Bytes of the log that one segment holds. */
static u32 izo_seg_room(const struct izo_log *log)
{
	return log->segment_size - log->block_size;
}

static struct izo_seg *izo_newest(struct izo_log *log)
{
	return list_last_entry(&log->used, struct izo_seg, link);
}

/*
 * The segment that holds an offset, or NULL if the log does not reach there, or no longer does. The
 * log is locked or not yet shared.
 */
static struct izo_seg *izo_log_seg(struct izo_log *log, u64 offset)
{
	struct izo_seg *seg;

	list_for_each_entry_reverse(seg, &log->used, link)
		if (offset >= seg->base)
			return offset - seg->base < izo_seg_room(log) ? seg : NULL;
	return NULL;
}

/* The filler a record leaves behind, and a new transaction's step to the next block, at most. */
static u32 izo_slack(const struct izo_log *log)
{
	return 2 * log->block_size;
}

static u64 izo_free_room(struct izo_log *log)
{
	u64 room = izo_newest(log)->base + izo_seg_room(log) - log->tail;
	struct izo_seg *seg;

	list_for_each_entry(seg, &log->spare, link)
		room += izo_seg_room(log);
	return room;
}

/**
 * izo_log_fail - the log cannot be trusted from here on: the fileset becomes read-only
 * @log: the log
 * @what: what failed
 * @err: negative errno
 *
 * The journal is aborted, so that a transaction with a change and without its record is never
 * committed.
 *
 * Context: may sleep; the change's handle may be open.
 */
void izo_log_fail(struct izo_log *log, const char *what, int err)
{
	if (test_and_set_bit(IZO_LOG_FAILED, &log->state))
		return;
	pr_err("%s: %s (error %d): fileset %pd is read-only; %s\n", log->sb->s_id, what, err,
	       log->dir, izo_sb(log->sb)->config.cache->remedy);
	if (log->journal)
		jbd2_journal_abort(log->journal, err);
	wake_up_all(&log->grew);
	izo_log_tell_end(log);
}

/**
 * izo_log_check_in - izo_log_check() for who has the log
 * @log: the log
 *
 * Return: 0, or -EROFS.
 */
int izo_log_check_in(struct izo_log *log)
{
	if (log->journal && is_journal_aborted(log->journal))
		izo_log_fail(log, "the cache's journal has failed",
			     READ_ONCE(log->journal->j_errno));
	return test_bit(IZO_LOG_FAILED, &log->state) ? -EROFS : 0;
}

/**
 * izo_log_check - may the fileset be changed, as far as its log goes?
 * @sb: upper superblock
 *
 * The first to ask after the cache's journal has failed says so. Asked before the cache itself is,
 * whose answer would be EIO, and which from then on refuses to read too.
 *
 * Return: 0, or -EROFS.
 */
int izo_log_check(const struct super_block *sb)
{
	/* pairs with izo_log_open() */
	struct izo_log *log = smp_load_acquire(&izo_sb(sb)->log);

	return log ? izo_log_check_in(log) : 0;
}

/**
 * izo_log_overflow - the log ends: changes go on and are not recorded any more
 * @log: the log
 * @why: for the kernel log
 *
 * The next change stores it, in its transaction.
 */
void izo_log_overflow(struct izo_log *log, const char *why)
{
	if (test_and_set_bit(IZO_LOG_OVERFLOW, &log->state))
		return;
	pr_warn("%s: the log of changes ends here: %s; changes go on, fileset %pd is not shared any more, see intersync(8)\n",
		log->sb->s_id, why, log->dir);
	wake_up_all(&log->room);
	izo_log_tell_end(log);
}

/* Could there be another segment? */
static bool izo_may_grow(const struct izo_log *log)
{
	return (u64)(log->segments + 1) * log->segment_size <= log->limit &&
	       !(log->state & (BIT(IZO_LOG_STOPPED) | BIT(IZO_LOG_FAILED) |
			       BIT(IZO_LOG_OVERFLOW) | BIT(IZO_LOG_CRAMPED)));
}

/**
 * izo_log_await_room - let the log grow before a change that will be recorded
 * @sb: upper superblock
 *
 * Many changes can wait here while one segment is made, and then come all at once: that is what
 * the half of a segment is for.
 *
 * Context: upper inode locks may be held; no freeze protection of the cache, no handle. May sleep.
 */
void izo_log_await_room(const struct super_block *sb)
{
	/* pairs with izo_log_open() */
	struct izo_log *log = smp_load_acquire(&izo_sb(sb)->log);
	bool tight;

	/* usually there are spares, and no lock is needed to see that */
	if (!log || !list_empty_careful(&log->spare) || !izo_may_grow(log))
		return;
	mutex_lock(&log->lock);
	tight = izo_free_room(log) < log->reserved + izo_seg_room(log) / 2;
	mutex_unlock(&log->lock);
	if (!tight)
		return;
	mod_delayed_work(system_unbound_wq, &log->grow_work, 0);
	flush_delayed_work(&log->grow_work);
}

static bool izo_try_reserve(struct izo_ctx *ctx, u32 need)
{
	struct izo_log *log = ctx->log;
	bool done;

	mutex_lock(&log->lock);
	if (log->reserved + need <= izo_free_room(log)) {
		log->reserved += need;
		ctx->reserved = need;
	}
	/* what others have been promised is most often far more than they use */
	done = ctx->reserved || !log->reserved;
	mutex_unlock(&log->lock);
	return done || log->state & (BIT(IZO_LOG_FAILED) | BIT(IZO_LOG_OVERFLOW));
}

/**
 * izo_log_reserve - promise an operation room in the log
 * @ctx: the operation; ctx->reserved is set, or 0 if it is not to be recorded (overflow)
 * @bytes: that its record takes at most
 *
 * Without room it waits for the operations that have been promised some. They have all their
 * locks, and need nothing of this one's.
 *
 * Context: may sleep.
 * Return: 0; -EROFS if the log has failed; -EAGAIN where @ctx can wait and the log can grow.
 */
int izo_log_reserve(struct izo_ctx *ctx, u32 bytes)
{
	struct izo_log *log = ctx->log;

	ctx->reserved = 0;
	if (izo_log_check_in(log))
		return -EROFS;
	if (READ_ONCE(izo_sb(log->sb)->channel->no_journal))
		izo_log_overflow(log, "no_journal is set on its channel");
	if (test_bit(IZO_LOG_OVERFLOW, &log->state))
		return 0;
	wait_event(log->room, izo_try_reserve(ctx, bytes + izo_slack(log)));
	if (ctx->reserved)
		return 0;
	if (ctx->can_wait && izo_may_grow(log))
		return -EAGAIN;
	izo_log_overflow(log, "there is no room for more records");
	return 0;
}

/**
 * izo_log_unreserve - the operation is over
 * @ctx: the operation
 */
void izo_log_unreserve(struct izo_ctx *ctx)
{
	struct izo_log *log = ctx->log;

	if (!ctx->reserved)
		return;
	mutex_lock(&log->lock);
	log->reserved -= ctx->reserved;
	mutex_unlock(&log->lock);
	wake_up_all(&log->room);
	ctx->reserved = 0;
}

/* Bring the control block up to date. The log is locked. */
static int izo_put_control(struct izo_ctx *ctx)
{
	struct izo_log *log = ctx->log;
	struct izo_kml_control c;
	int err = log->ops->read(log, &log->control, 0, &c, sizeof(c));

	if (err)
		return err;
	if (test_bit(IZO_LOG_OVERFLOW, &log->state))
		c.flags |= cpu_to_le32(IZO_KML_H_OVERFLOW);
	c.trimmed = cpu_to_le64(log->trimmed);
	izo_crc_seal(&c, sizeof(c), &c.crc);
	return log->ops->write(ctx, &log->control, 0, &c, sizeof(c), false);
}

/**
 * izo_log_store_overflow - say in the control block that changes are not recorded any more
 * @ctx: a change that is not, with its handle
 *
 * Return: 0, or a negative errno with the log failed: the change must not be committed.
 */
int izo_log_store_overflow(struct izo_ctx *ctx)
{
	struct izo_log *log = ctx->log;
	int err = 0;

	mutex_lock(&log->lock);
	if (!test_bit(IZO_LOG_OVERFLOW_STORED, &log->state)) {
		err = izo_debug(IZO_DEBUG_REFUSE_END) ? -EIO : izo_put_control(ctx);
		if (!err)
			set_bit(IZO_LOG_OVERFLOW_STORED, &log->state);
	}
	mutex_unlock(&log->lock);
	if (err)
		izo_log_fail(log, "the end of the log could not be recorded", err);
	return err;
}

/**
 * izo_log_store_trimmed - remember across mounts what is not needed any more
 * @ctx: with a handle that has room for a block
 *
 * Return: 0 or a negative errno.
 */
int izo_log_store_trimmed(struct izo_ctx *ctx)
{
	int err;

	mutex_lock(&ctx->log->lock);
	err = izo_put_control(ctx);
	mutex_unlock(&ctx->log->lock);
	return err;
}

/* The next spare segment becomes the newest one; its first record is the next that begins there. */
static int izo_next_segment(struct izo_ctx *ctx, u64 base, u64 first, u64 first_recno)
{
	struct izo_log *log = ctx->log;
	struct izo_seg *seg = list_first_entry_or_null(&log->spare, struct izo_seg, link);
	struct izo_segment h = {
		.magic = cpu_to_le64(IZO_SEGMENT_MAGIC),
		.version = cpu_to_le32(IZO_KML_VERSION),
		.epoch = cpu_to_le64(log->epoch),
		.base = cpu_to_le64(base),
		.first = cpu_to_le64(first),
		.first_recno = cpu_to_le64(first_recno),
	};
	int err;

	if (WARN_ON_ONCE(!seg))
		return -ENOSPC;
	izo_crc_seal(&h, sizeof(h), &h.crc);
	err = log->ops->write(ctx, &seg->area, 0, &h, sizeof(h), true);
	if (err)
		return err;
	seg->base = base;
	seg->first = first;
	seg->first_recno = first_recno;
	list_move_tail(&seg->link, &log->used);
	mod_delayed_work(system_unbound_wq, &log->grow_work, 0);
	return 0;
}

/* Bytes of the log at @offset, which lies in a segment in use; block by block. */
static int izo_log_put(struct izo_ctx *ctx, u64 offset, const void *buf, u32 len)
{
	struct izo_log *log = ctx->log;

	while (len) {
		struct izo_seg *seg = izo_log_seg(log, offset);
		u32 pos = offset - seg->base + log->block_size;
		u32 at = pos % log->block_size, part = min(len, log->block_size - at);
		int err = log->ops->write(ctx, &seg->area, pos, buf, part, !at);

		if (err)
			return err;
		offset += part;
		buf += part;
		len -= part;
	}
	return 0;
}

/* A filler from @offset to the end of its block. */
static int izo_put_filler(struct izo_ctx *ctx, u64 offset)
{
	struct izo_log *log = ctx->log;
	u32 room = -offset & (log->block_size - 1);
	struct izo_kml_head head;
	struct izo_kml_tail tail = {
		.len = cpu_to_le32(room),
		.magic = cpu_to_le32(IZO_KML_TAIL_MAGIC),
	};
	int err;

	if (!room)
		return 0;
	izo_filler_head(&head, offset, log->epoch, room);
	err = izo_log_put(ctx, offset, &head, IZO_KML_FILLER_HEAD);
	return err ? err : izo_log_put(ctx, offset + room - sizeof(tail), &tail, sizeof(tail));
}

/**
 * izo_log_update_committed - drop what is committed from the list of what may not be
 * @log: the log
 *
 * Context: log->lock is held.
 */
void izo_log_update_committed(struct izo_log *log)
{
	unsigned int done = 0;

	if (!log->journal) {
		log->committed = log->tail;
		log->committed_recno = log->recno;
		return;
	}
	while (done < log->nmarks && jbd2_transaction_committed(log->journal, log->marks[done].tid))
		done++;
	/* jbd2 counts a commit that failed as done, but aborts the journal before it does */
	smp_rmb();
	if (!done || is_journal_aborted(log->journal))
		return;
	log->committed = log->marks[done - 1].end;
	log->committed_recno = log->marks[done - 1].recno;
	log->nmarks -= done;
	memmove(log->marks, log->marks + done, log->nmarks * sizeof(*log->marks));
}

static void izo_mark_transaction(struct izo_log *log, tid_t tid)
{
	struct izo_mark *last = log->nmarks ? &log->marks[log->nmarks - 1] : NULL;

	if (!log->journal)
		return;
	if (!last || last->tid != tid) {
		izo_log_update_committed(log);
		if (WARN_ON_ONCE(log->nmarks == IZO_MARKS))
			return;
		last = &log->marks[log->nmarks++];
		last->tid = tid;
	}
	/* the filler belongs to it */
	last->end = round_up(log->tail, log->block_size);
	last->recno = log->recno;
}

static void izo_fill_head(struct izo_ctx *ctx, struct izo_record *r, u64 recno)
{
	struct izo_log *log = ctx->log;

	struct izo_remote *m = ctx->change.remote;

	if (m) {
		r->head->origin = m->head->origin;
		r->head->origin_recno = m->head->origin_recno;
		r->head->time = m->head->time;
		m->recno = recno;
		return;
	}
	r->head->origin = cpu_to_le16(log->self);
	r->head->origin_recno = cpu_to_le64(recno);
	r->head->time = cpu_to_le64(ktime_get_real_ns());
}

static int izo_append_locked(struct izo_ctx *ctx, struct izo_record *r)
{
	struct izo_log *log = ctx->log;
	u64 at = log->tail, room_end = izo_newest(log)->base + izo_seg_room(log);
	u64 recno = log->recno + 1;
	size_t len, judged;
	int err = 0;

	/* the first record of an epoch follows the header */
	if (ctx->handle && ctx->tid != log->tail_tid && log->recno)
		at = round_up(at, log->block_size);
	izo_fill_head(ctx, r, recno);
	len = izo_record_seal(r, at, log->epoch, recno, log->block_size);
	/* what the next mount would refuse must not come before other records */
	if (izo_record_judge(r->head, len, &judged) != IZO_JUDGED_RECORD)
		return -EUCLEAN;
	if (at + len > room_end)
		err = izo_next_segment(ctx, room_end, at == room_end ? at : at + len,
				       at == room_end ? recno : recno + 1);
	if (!err)
		err = izo_log_put(ctx, at, r->head, len);
	if (!err)
		err = izo_put_filler(ctx, at + len);
	if (err)
		return err;
	log->tail = at + len;
	log->recno = recno;
	log->tail_tid = ctx->tid;
	izo_recent_note(ctx, at, le32_to_cpu(r->head->aspects));
	izo_mark_transaction(log, ctx->tid);
	return 0;
}

/**
 * izo_log_append - write a record
 * @ctx: the change, with its handle and enough room reserved
 * @r: the record, complete but for what its place decides
 *
 * A change that cannot be recorded ends the log, in the transaction of the change; where that
 * cannot be written either, the log fails.
 *
 * Context: everything that the record describes is locked, so that the log's order is theirs.
 * Return: 0, or a negative errno with the log failed.
 */
int izo_log_append(struct izo_ctx *ctx, struct izo_record *r)
{
	struct izo_log *log = ctx->log;
	int err = r->err;

	if (izo_debug(IZO_DEBUG_REFUSE))
		err = -EIO;
	/* what is promised is enough for any record */
	WARN_ON_ONCE(err == -EOVERFLOW);
	if (!err) {
		mutex_lock(&log->lock);
		err = izo_append_locked(ctx, r);
		mutex_unlock(&log->lock);
	}
	if (!err) {
		izo_log_tell(log);
		return 0;
	}
	pr_err("%s: a change could not be recorded (error %d)\n", log->sb->s_id, err);
	izo_log_overflow(log, "a record is missing");
	return izo_log_store_overflow(ctx);
}

/**
 * izo_log_committed - how far the log is on the medium
 * @log: the log
 *
 * Return: an offset; records before it survive any crash.
 */
u64 izo_log_committed(struct izo_log *log)
{
	u64 committed;

	mutex_lock(&log->lock);
	izo_log_update_committed(log);
	committed = log->committed;
	mutex_unlock(&log->lock);
	return committed;
}

/**
 * izo_log_commit - bring all records and positions onto the medium
 * @log: the log
 *
 * And what is listed as being changed: who was told of a change counts on its CLOSE, which the next
 * mount writes then.
 *
 * Return: 0 or a negative errno.
 */
int izo_log_commit(struct izo_log *log)
{
	tid_t tid, rcvd, listed;
	bool pending;
	int err = 0;

	mutex_lock(&log->lock);
	izo_log_update_committed(log);
	pending = log->nmarks;
	tid = pending ? log->marks[log->nmarks - 1].tid : 0;
	rcvd = log->rcvd_tid;
	mutex_unlock(&log->lock);
	if (!log->journal)
		return 0;
	mutex_lock(&log->lml_lock);
	listed = log->lml_tid;
	mutex_unlock(&log->lml_lock);
	if (pending)
		err = jbd2_complete_transaction(log->journal, tid);
	/* a client records nothing of what it applies */
	if (!err)
		err = jbd2_complete_transaction(log->journal, rcvd);
	if (!err)
		err = jbd2_complete_transaction(log->journal, listed);
	/* that of a transaction which failed some time ago says nothing */
	return !err && is_journal_aborted(log->journal) ? -EIO : err;
}

/**
 * izo_log_trim - no replica needs what lies before an offset
 * @log: the log
 * @offset: not after what is committed
 *
 * Whole segments before it are used again. izo_log_store_trimmed() makes it last.
 *
 * Return: 0, or -EINVAL for an offset that is not committed.
 */
int izo_log_trim(struct izo_log *log, u64 offset)
{
	struct izo_seg *seg, *next;
	int err = 0;

	mutex_lock(&log->lock);
	izo_log_update_committed(log);
	if (offset > log->committed) {
		err = -EINVAL;
		goto out;
	}
	log->trimmed = max(log->trimmed, offset);
	list_for_each_entry_safe(seg, next, &log->used, link) {
		if (list_is_last(&seg->link, &log->used) || next->first > log->trimmed)
			break;
		list_move_tail(&seg->link, &log->spare);
		log->first = next->first;
		log->first_recno = next->first_recno;
	}
out:
	mutex_unlock(&log->lock);
	return err;
}

/**
 * izo_log_read - bytes of the log as they are on the medium
 * @log: the log
 * @buf: result
 * @len: bytes wanted
 * @pos: offset of the first, not before the oldest record
 *
 * Return: bytes read, 0 at the end of what is committed; -ENODATA if they are gone; another
 * negative errno.
 */
ssize_t izo_log_read(struct izo_log *log, void *buf, size_t len, u64 pos)
{
	struct izo_seg *seg;
	ssize_t ret;

	mutex_lock(&log->lock);
	izo_log_update_committed(log);
	seg = izo_log_seg(log, pos);
	ret = -ENODATA;
	if (pos < log->first)
		goto out;
	ret = 0;
	if (pos >= log->committed || WARN_ON_ONCE(!seg))
		goto out;
	len = min3((u64)len, log->committed - pos, seg->base + izo_seg_room(log) - pos);
	ret = log->ops->read(log, &seg->area, pos - seg->base + log->block_size, buf, len);
	if (!ret)
		ret = len;
out:
	mutex_unlock(&log->lock);
	return ret;
}

/* Read @len bytes at @pos for the search of the tail: across segments, and beyond it. */
static int izo_log_peek(struct izo_log *log, void *buf, size_t len, u64 pos)
{
	while (len) {
		struct izo_seg *seg = izo_log_seg(log, pos);
		size_t part;
		int err;

		if (!seg)
			return -ENODATA;
		part = min((u64)len, seg->base + izo_seg_room(log) - pos);
		err = log->ops->read(log, &seg->area, pos - seg->base + log->block_size, buf, part);
		if (err)
			return err;
		buf += part;
		pos += part;
		len -= part;
	}
	return 0;
}

/*
 * The record or filler at @pos, if it is one of this log and the next in it. Returns its length, 0
 * if there is none, or a negative errno.
 */
static ssize_t izo_log_next(struct izo_log *log, void *buf, u64 pos, u64 recno)
{
	struct izo_kml_head *h = buf;
	enum izo_judged judged;
	size_t len;
	int err = izo_log_peek(log, buf, IZO_KML_FILLER_HEAD, pos);

	if (!err) {
		len = le32_to_cpu(h->len);
		if (le32_to_cpu(h->magic) != IZO_KML_MAGIC || len > IZO_KML_RECORD_MAX)
			return 0;
		err = izo_log_peek(log, buf, max_t(size_t, len, IZO_KML_FILLER_HEAD), pos);
	}
	if (err)
		return err == -ENODATA ? 0 : err;
	judged = izo_record_judge(buf, len, &len);
	if (judged != IZO_JUDGED_RECORD && judged != IZO_JUDGED_FILLER)
		return 0;
	if (le64_to_cpu(h->offset) != pos || le64_to_cpu(h->epoch) != log->epoch)
		return 0;
	return judged == IZO_JUDGED_FILLER || le64_to_cpu(h->recno) == recno ? len : 0;
}

/**
 * izo_log_find_tail - find the end of the log by reading its newest segment
 * @log: the log, not shared yet; its segments are in order
 *
 * Without a journal nothing says that what lies before is whole: then all is read.
 *
 * Return: 0 with tail, recno, committed and recent_from set, or a negative errno.
 */
int izo_log_find_tail(struct izo_log *log)
{
	struct izo_seg *seg = log->journal ? izo_newest(log) :
			      list_first_entry(&log->used, struct izo_seg, link);
	u64 pos = seg->first, recno = seg->first_recno;
	void *buf = kvmalloc(IZO_KML_RECORD_MAX, GFP_KERNEL);
	ssize_t len;

	if (!buf)
		return -ENOMEM;
	log->recent_from = pos;
	for (;;) {
		struct izo_kml_head *h = buf;

		len = izo_log_next(log, buf, pos, recno);
		if (len <= 0)
			break;
		pos += len;
		if (le16_to_cpu(h->op) != IZO_KML_FILLER) {
			recno++;
			/* who has read so far has read all, whatever filler follows */
			log->recent_from = pos;
		}
	}
	kvfree(buf);
	if (len < 0)
		return len;
	log->recno = recno - 1;
	log->tail = pos;
	log->committed = pos;
	log->committed_recno = log->recno;
	/* a block that was committed is not touched again */
	log->tail_tid = 0;
	return 0;
}

/*
 * Asked first, so as not to fill the cache to its last block only to give all of it back. What is
 * free may still not do.
 */
static int izo_log_find_room(struct izo_log *log)
{
	struct kstatfs st;
	int err = izo_lower_statfs(d_inode(log->sb->s_root), &st);

	if (err)
		return err;
	/* a tmpfs without a limit says 0 */
	return !st.f_blocks || st.f_bfree * st.f_bsize > log->segment_size ? 0 : -ENOSPC;
}

static bool izo_wants_spare(struct izo_log *log)
{
	bool wanted;

	mutex_lock(&log->lock);
	wanted = (list_empty(&log->spare) || list_is_singular(&log->spare)) && izo_may_grow(log);
	mutex_unlock(&log->lock);
	return wanted;
}

/**
 * izo_log_grow - make spare segments, now or when there is room (work item)
 * @work: in the log
 *
 * Two, as making one may take longer than filling one.
 */
void izo_log_grow(struct work_struct *work)
{
	struct izo_log *log = container_of(work, struct izo_log, grow_work.work);
	bool was_cramped = test_and_clear_bit(IZO_LOG_CRAMPED, &log->state);
	int err = 0;

	while (!err && izo_wants_spare(log)) {
		err = izo_log_find_room(log);
		if (!err)
			err = izo_log_make_spare(log);
	}
	/* of a log that has failed this says so, and that is all to be said */
	if (!err || izo_log_check_in(log))
		return;
	set_bit(IZO_LOG_CRAMPED, &log->state);
	if (!was_cramped)
		pr_warn("%s: the log of changes cannot grow (error %d): it ends when it is full, and fileset %pd is not shared any more; make room before\n",
			log->sb->s_id, err, log->dir);
	queue_delayed_work(system_unbound_wq, &log->grow_work, IZO_GROW_INTERVAL);
}
