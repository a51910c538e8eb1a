// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who waits for records, at the log's file or at the channel's device, is told of new ones and of
 * those that have reached the medium; at the device also of an overflow.
 */

#include <linux/wait.h>
#include "intermezzo.h"
#include "log.h"

/* Does somebody wait for records, at the file or at the channel's device? */
static bool izo_log_is_followed(struct izo_log *log)
{
	/* the barrier in wq_has_sleeper() serves both; pairs with izo_upcall_attend() */
	return wq_has_sleeper(&log->grew) || READ_ONCE(izo_sb(log->sb)->channel->attended);
}

/**
 * izo_log_tell - see to it that those who wait for records are told of new ones, or of the end
 * @log: the log
 *
 * Context: any that may not sleep.
 */
void izo_log_tell(struct izo_log *log)
{
	if (izo_log_is_followed(log))
		queue_work(system_unbound_wq, &log->tell_work);
}

/**
 * izo_log_tell_end - tell of an end: the log has failed or overflowed
 * @log: the log
 *
 * No commit brings it: the work may sleep until the next one, which may be long.
 *
 * Context: any that may not sleep.
 */
void izo_log_tell_end(struct izo_log *log)
{
	izo_log_tell(log);
	if (log->journal)
		wake_up_all(&log->journal->j_wait_done_commit);
}

/* Why there will be no more records: bits of enum izo_log_state, or 0. */
static unsigned long izo_log_ended(const struct izo_log *log)
{
	return READ_ONCE(log->state) & (BIT(IZO_LOG_OVERFLOW) | BIT(IZO_LOG_FAILED));
}

/* Tell what there is to tell, @ended of it. Is there a transaction to wait for, @tid? */
static bool izo_log_tell_now(struct izo_log *log, unsigned long *ended, tid_t *tid)
{
	struct izo_log_reach reach;
	bool more, pending;

	*ended = izo_log_ended(log);
	mutex_lock(&log->lock);
	izo_log_update_committed(log);
	more = log->committed != log->told;
	log->told = log->committed;
	pending = log->nmarks;
	if (pending)
		*tid = log->marks[0].tid;
	reach = (struct izo_log_reach){
		.committed = log->committed,
		.committed_recno = log->committed_recno,
		.recno = log->recno,
		.ended = *ended,
	};
	mutex_unlock(&log->lock);
	if (more)
		wake_up_interruptible(&log->grew);
	izo_upcall_grew(izo_sb(log->sb), &reach);
	return pending && izo_log_is_followed(log) && !is_journal_aborted(log->journal) &&
	       !test_bit(IZO_LOG_STOPPED, &log->state);
}

/**
 * izo_log_await_commits - as long as somebody waits for records, wait for the journal (work item)
 * @work: in the log
 *
 * jbd2 tells of a commit in no other way. izo_log_close() cuts the waiting short. The wait is an
 * idle one: a commit interval may be long, and is no load.
 */
void izo_log_await_commits(struct work_struct *work)
{
	struct izo_log *log = container_of(work, struct izo_log, tell_work);
	unsigned long ended;
	tid_t tid;

	while (izo_log_tell_now(log, &ended, &tid))
		wait_event_idle(log->journal->j_wait_done_commit,
				jbd2_transaction_committed(log->journal, tid) ||
				is_journal_aborted(log->journal) ||
				izo_log_ended(log) != ended ||
				test_bit(IZO_LOG_STOPPED, &log->state));
	/* a journal that has failed wakes them for good */
	izo_log_check_in(log);
}
