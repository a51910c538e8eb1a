// SPDX-License-Identifier: GPL-2.0-only
/*
 * Upcalls: what waits to be read on a channel, and what was read and waits for its answer.
 *
 * Nobody waits for room here and nothing is allocated to say something: whoever has something to
 * say brings its struct izo_call along. What a daemon is told of a fileset is in a struct
 * izo_notice, which is made with the mount: each of its upcalls is there once and is brought up to
 * date while it waits. So the queue is bounded by what is mounted, and by one GONE for each fileset
 * that was MOUNTED for the daemon: the next MOUNTED is read after it.
 *
 * A daemon that goes away leaves the questions that it did not answer at the head of the queue, for
 * the next one.
 */

#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uuid.h>
#include "intermezzo.h"
#include "log.h"

static_assert(sizeof(struct izo_upcall) == 128);
static_assert(sizeof(struct izo_upcall_mounted) == 1184);
static_assert(sizeof(struct izo_upcall_kml_grew) == 160);
static_assert(sizeof(struct izo_answer) == 24);

/**
 * struct izo_call - an upcall; its owner sees to it that it is in no queue when it ends
 * @link: in the channel's unread or unanswered; else empty
 * @message: what is read; the caller's, and stays as long as this
 * @was_read: a daemon has it; called with upcall_lock, may free the call if it asks nothing
 * @was_answered: called with upcall_lock when the call has left the queue; NULL if it asks nothing
 */
struct izo_call {
	struct list_head link;
	struct izo_upcall *message;
	void (*was_read)(struct izo_call *call);
	void (*was_answered)(struct izo_call *call, u32 error);
};

/**
 * struct izo_notice - what the channel's daemon is told of one fileset
 * @on_channel: in the channel's notices from the first MOUNTED on
 * @log: whose records it is told of, or NULL; goes before the log does
 * @known: the daemon has read MOUNTED and must be told GONE
 * @withdrawn: the fileset is going: of it only GONE is left to be said
 * @seen: what the daemon has read of the log last; 0: nothing
 * @ended: why the log told of in @grew has no more to come
 * @mounted_call: MOUNTED
 * @grew_call: KML_GREW
 * @gone_call: GONE; while it is queued the notice is the queue's
 * @mounted: message
 * @grew: message
 * @gone: message
 */
struct izo_notice {
	struct list_head on_channel;
	struct izo_log *log;
	bool known;
	bool withdrawn;
	struct izo_log_reach seen;
	unsigned long ended;
	struct izo_call mounted_call;
	struct izo_call grew_call;
	struct izo_call gone_call;
	struct izo_upcall_mounted mounted;
	struct izo_upcall_kml_grew grew;
	struct izo_upcall gone;
};

static bool izo_call_is_queued(const struct izo_call *call)
{
	return !list_empty(&call->link);
}

/* At the end of what is to be read, under a new number; @channel is locked. */
static void izo_call_queue(struct izo_channel *channel, struct izo_call *call)
{
	call->message->id = ++channel->last_id;
	list_move_tail(&call->link, &channel->unread);
	wake_up_interruptible(&channel->arrived);
}

static void izo_call_init(struct izo_call *call, struct izo_upcall *message, u32 size, u16 type,
			  void (*was_read)(struct izo_call *call))
{
	INIT_LIST_HEAD(&call->link);
	call->message = message;
	call->was_read = was_read;
	message->size = size;
	message->version = IZO_DEVICE_VERSION;
	message->type = type;
}

static void izo_mounted_was_read(struct izo_call *call)
{
	container_of(call, struct izo_notice, mounted_call)->known = true;
}

/* Nobody waits for it; the daemon's word is for the administrator. */
static void izo_mounted_was_answered(struct izo_call *call, u32 error)
{
	if (error)
		pr_warn_ratelimited("channel %u: the daemon does not serve fileset %s (error %u); its own log says why\n",
				    call->message->channel, call->message->name, error);
}

static void izo_grew_was_read(struct izo_call *call)
{
	struct izo_notice *notice = container_of(call, struct izo_notice, grew_call);

	notice->seen = (struct izo_log_reach){
		.committed = notice->grew.committed,
		.committed_recno = notice->grew.committed_recno,
		.recno = notice->grew.recno,
		.ended = notice->ended,
	};
}

static void izo_gone_was_read(struct izo_call *call)
{
	struct izo_notice *notice = container_of(call, struct izo_notice, gone_call);

	list_del(&notice->on_channel);
	kfree(notice);
}

/**
 * izo_notice_alloc - what a mount will need to be told of
 *
 * Return: the notice, not on any channel yet, or NULL.
 */
struct izo_notice *izo_notice_alloc(void)
{
	struct izo_notice *notice = kzalloc(sizeof(*notice), GFP_KERNEL);

	if (!notice)
		return NULL;
	INIT_LIST_HEAD(&notice->on_channel);
	izo_call_init(&notice->mounted_call, &notice->mounted.head, sizeof(notice->mounted),
		      IZO_UPCALL_MOUNTED, izo_mounted_was_read);
	notice->mounted_call.was_answered = izo_mounted_was_answered;
	izo_call_init(&notice->grew_call, &notice->grew.head, sizeof(notice->grew),
		      IZO_UPCALL_KML_GREW, izo_grew_was_read);
	izo_call_init(&notice->gone_call, &notice->gone, sizeof(notice->gone), IZO_UPCALL_GONE,
		      izo_gone_was_read);
	return notice;
}

/**
 * izo_notice_free - undo izo_notice_alloc()
 * @notice: not on any channel; or NULL
 */
void izo_notice_free(struct izo_notice *notice)
{
	kfree(notice);
}

/**
 * izo_upcalls_init - make a channel's queue
 * @channel: the channel
 */
void izo_upcalls_init(struct izo_channel *channel)
{
	spin_lock_init(&channel->upcall_lock);
	init_waitqueue_head(&channel->arrived);
	INIT_LIST_HEAD(&channel->unread);
	INIT_LIST_HEAD(&channel->unanswered);
	INIT_LIST_HEAD(&channel->notices);
}

/**
 * izo_upcall_attend - a daemon has come: it is told of all that is mounted
 * @channel: the channel
 *
 * Return: 0, or -EBUSY if there is one already.
 */
int izo_upcall_attend(struct izo_channel *channel)
{
	struct izo_notice *notice;
	int err = 0;

	spin_lock(&channel->upcall_lock);
	if (channel->attended) {
		err = -EBUSY;
		goto out;
	}
	/* pairs with izo_log_is_followed(), which may ask before this lock is released */
	smp_store_mb(channel->attended, true);
	list_for_each_entry(notice, &channel->notices, on_channel) {
		if (notice->withdrawn)
			continue;
		if (!izo_call_is_queued(&notice->mounted_call))
			izo_call_queue(channel, &notice->mounted_call);
		if (notice->log)
			izo_log_tell(notice->log);
	}
out:
	spin_unlock(&channel->upcall_lock);
	return err;
}

/**
 * izo_upcall_leave - the daemon is gone: what it was only told is dropped, what it was asked stays
 * @channel: the channel
 */
void izo_upcall_leave(struct izo_channel *channel)
{
	struct izo_notice *notice, *next;

	spin_lock(&channel->upcall_lock);
	list_splice_init(&channel->unanswered, &channel->unread);
	list_for_each_entry_safe(notice, next, &channel->notices, on_channel) {
		notice->known = false;
		notice->seen = (struct izo_log_reach){ };
		list_del_init(&notice->grew_call.link);
		if (izo_call_is_queued(&notice->gone_call)) {
			list_del(&notice->gone_call.link);
			list_del(&notice->on_channel);
			kfree(notice);
		}
	}
	channel->version = 0;
	WRITE_ONCE(channel->attended, false);
	spin_unlock(&channel->upcall_lock);
}

/**
 * izo_upcall_waits - is there something to read?
 * @channel: the channel; nothing need be locked
 */
bool izo_upcall_waits(const struct izo_channel *channel)
{
	return !list_empty_careful(&channel->unread);
}

static void izo_call_was_read(struct izo_channel *channel, struct izo_call *call)
{
	if (call->message->flags & IZO_UPCALL_ASKS)
		list_move_tail(&call->link, &channel->unanswered);
	else
		list_del_init(&call->link);
	call->was_read(call);
}

/*
 * Give out the first upcall, or leave it where it is. User memory is touched with the lock held, so
 * only if it is there: whoever has something to say must not wait for a page of the daemon's.
 */
static ssize_t izo_upcall_take(struct izo_channel *channel, char __user *buf, size_t count,
			       size_t *size)
{
	struct izo_call *call;
	ssize_t ret;

	spin_lock(&channel->upcall_lock);
	call = list_first_entry_or_null(&channel->unread, struct izo_call, link);
	*size = call ? call->message->size : 0;
	if (!call)
		ret = -EAGAIN;
	else if (count < *size)
		ret = -EMSGSIZE;
	else
		ret = copy_to_user_nofault(buf, call->message, *size);
	if (!ret) {
		izo_call_was_read(channel, call);
		ret = *size;
	}
	spin_unlock(&channel->upcall_lock);
	return ret;
}

/**
 * izo_upcall_read - give the daemon the next upcall
 * @channel: the channel
 * @buf: user memory
 * @count: bytes there
 *
 * An upcall that is not given out in full stays the first one.
 *
 * Context: may sleep, for pages of @buf.
 * Return: its size; -EAGAIN if none waits, -EMSGSIZE if it is larger than @count, or another
 * negative errno.
 */
ssize_t izo_upcall_read(struct izo_channel *channel, char __user *buf, size_t count)
{
	size_t size;
	ssize_t ret;

	for (;;) {
		ret = izo_upcall_take(channel, buf, count, &size);
		if (ret != -EFAULT || fault_in_writeable(buf, size))
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
}

/**
 * izo_upcall_answer - the daemon answers what it was asked
 * @channel: the channel
 * @id: of the upcall
 * @error: 0 or a positive errno
 *
 * Return: 0, or -ENOENT if no upcall of this number waits for an answer, or none does any more.
 */
int izo_upcall_answer(struct izo_channel *channel, u64 id, u32 error)
{
	struct izo_call *call;
	int err = -ENOENT;

	spin_lock(&channel->upcall_lock);
	list_for_each_entry(call, &channel->unanswered, link) {
		if (call->message->id != id)
			continue;
		list_del_init(&call->link);
		call->was_answered(call, error);
		err = 0;
		break;
	}
	spin_unlock(&channel->upcall_lock);
	return err;
}

/* Would MOUNTED say something else than it did last? */
static bool izo_mounted_is_news(const struct izo_sb *sbi, bool read_only)
{
	const struct izo_notice *notice = sbi->notice;
	const char *mtp = sbi->config.mtp ? sbi->config.mtp : "";

	return list_empty(&notice->on_channel) || sbi->log != notice->log ||
	       read_only != !!(notice->mounted.head.flags & IZO_UPCALL_READ_ONLY) ||
	       strcmp(mtp, notice->mounted.mtp);
}

static void izo_fill_head(struct izo_upcall *head, const struct izo_sb *sbi, u32 flags)
{
	head->flags = flags;
	head->channel = sbi->channel->nr;
	strscpy_pad(head->name, sbi->claimed, sizeof(head->name));
	if (!sbi->log)
		return;
	export_uuid(head->fileset, &sbi->log->fileset);
	head->epoch = sbi->log->epoch;
}

/**
 * izo_upcall_mounted - a fileset is mounted, or a remount has changed something about it
 * @sb: upper superblock; nothing is said as long as it is no fileset, or nothing has changed
 * @read_only: what it is or is about to be
 *
 * Context: s_umount held; the mount or remount cannot fail any more.
 */
void izo_upcall_mounted(struct super_block *sb, bool read_only)
{
	struct izo_sb *sbi = izo_sb(sb);
	struct izo_channel *channel = sbi->channel;
	struct izo_notice *notice = sbi->notice;

	if (!*sbi->claimed || !izo_mounted_is_news(sbi, read_only))
		return;
	spin_lock(&channel->upcall_lock);
	izo_fill_head(&notice->mounted.head, sbi,
		      IZO_UPCALL_ASKS | (read_only ? IZO_UPCALL_READ_ONLY : 0));
	izo_fill_head(&notice->grew.head, sbi, 0);
	izo_fill_head(&notice->gone, sbi, 0);
	if (sbi->log)
		export_uuid(notice->mounted.replica, &sbi->log->replica);
	notice->mounted.dev_major = MAJOR(sb->s_dev);
	notice->mounted.dev_minor = MINOR(sb->s_dev);
	if (sbi->config.mtp)
		strscpy_pad(notice->mounted.mtp, sbi->config.mtp, sizeof(notice->mounted.mtp));
	notice->log = sbi->log;
	if (list_empty(&notice->on_channel))
		list_add_tail(&notice->on_channel, &channel->notices);
	izo_call_queue(channel, &notice->mounted_call);
	/* comes after it, told anew */
	list_del_init(&notice->grew_call.link);
	spin_unlock(&channel->upcall_lock);
	if (sbi->log)
		izo_log_tell(sbi->log);
}

/* Is this worth an upcall, to a daemon that has read @seen? */
static bool izo_grew_is_news(const struct izo_log_reach *seen, const struct izo_log_reach *reach)
{
	if (reach->committed != seen->committed || reach->ended != seen->ended)
		return true;
	/* the first records not on the medium: whoever follows has to ask for a commit */
	return reach->recno > reach->committed_recno && seen->recno <= seen->committed_recno;
}

/**
 * izo_upcall_grew - tell the daemon of new records, or that there will be no more, if there is one
 *	and it does not know
 * @sbi: the mount
 * @reach: of its log
 *
 * Context: any that may not sleep; the log is not being closed.
 */
void izo_upcall_grew(struct izo_sb *sbi, const struct izo_log_reach *reach)
{
	struct izo_channel *channel = sbi->channel;
	struct izo_notice *notice = sbi->notice;

	spin_lock(&channel->upcall_lock);
	if (channel->attended && notice->log && izo_grew_is_news(&notice->seen, reach)) {
		notice->grew.committed = reach->committed;
		notice->grew.committed_recno = reach->committed_recno;
		notice->grew.recno = reach->recno;
		notice->ended = reach->ended;
		if (!izo_call_is_queued(&notice->grew_call))
			izo_call_queue(channel, &notice->grew_call);
	}
	spin_unlock(&channel->upcall_lock);
}

/**
 * izo_upcall_withdraw - a fileset is going: what was to be said of it is not said any more
 * @sbi: the mount; need not be on a channel
 *
 * From here on nobody uses its log because of the daemon.
 */
void izo_upcall_withdraw(struct izo_sb *sbi)
{
	struct izo_channel *channel = sbi->channel;
	struct izo_notice *notice = sbi->notice;

	if (!channel)
		return;
	spin_lock(&channel->upcall_lock);
	notice->withdrawn = true;
	notice->log = NULL;
	list_del_init(&notice->mounted_call.link);
	list_del_init(&notice->grew_call.link);
	spin_unlock(&channel->upcall_lock);
}

/**
 * izo_upcall_gone - tell the daemon that a fileset is not mounted any more, if it knew that it was
 * @sbi: a mount on a channel, withdrawn; its notice is taken over
 */
void izo_upcall_gone(struct izo_sb *sbi)
{
	struct izo_channel *channel = sbi->channel;
	struct izo_notice *notice = sbi->notice;

	sbi->notice = NULL;
	spin_lock(&channel->upcall_lock);
	if (notice->known) {
		izo_call_queue(channel, &notice->gone_call);
		notice = NULL;
	} else {
		list_del(&notice->on_channel);
	}
	spin_unlock(&channel->upcall_lock);
	izo_notice_free(notice);
}
