// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reintegration: a batch of a peer's records is applied through the upper layer, by the same
 * functions as system calls are (izo_do_*()), so that whoever uses the tree sees ordinary changes.
 *
 * Each record's change, the peer's position in last_rcvd and, on a server, the record in our own
 * log are one transaction of the cache: a record is applied exactly once, whenever it stops. One
 * that does not fit is answered and ends the batch, with nothing done and the position unmoved; the
 * caller decides what is to become of it and passes it with IZO_OP_SKIP.
 */

#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

/* Operations applied before others get a turn: freezing, a remount, signals. */
#define IZO_REINT_CHUNK 64

/**
 * izo_ctx_remote - context of a peer's record being applied
 * @ctx: to fill
 * @step: the operation
 */
void izo_ctx_remote(struct izo_ctx *ctx, struct izo_step *step)
{
	izo_ctx_local(ctx, step->batch->sb);
	ctx->change.remote = &step->remote;
}

/**
 * izo_reint_changed - was something changed here since the caller decided?
 * @step: the operation
 * @keys: what it is about
 * @nkeys: how many
 *
 * Context: all of it is locked.
 */
bool izo_reint_changed(struct izo_step *step, const struct izo_recent_key *keys,
		       unsigned int nkeys)
{
	const struct izo_batch *b = step->batch;

	return izo_recent_changed(b->log, b->arg.decided, b->nr, keys, nkeys);
}

/**
 * izo_reint_is_stored - was the record applied, and the position moved with it?
 * @step: the operation
 */
bool izo_reint_is_stored(const struct izo_step *step)
{
	return step->remote.stored;
}

/**
 * izo_reint_in_the_way - answer with a code and the object that is the reason
 * @step: the operation
 * @code: IZO_REINT_*
 * @inode: upper inode
 *
 * Return: @code.
 */
int izo_reint_in_the_way(struct izo_step *step, int code, const struct inode *inode)
{
	step->result->ino = izo_lower(inode)->i_ino;
	step->result->generation = izo_lower(inode)->i_generation;
	return code;
}

static bool izo_ref_ok(const struct izo_batch *b, const struct izo_reint_op *op,
		       const struct izo_ref *ref, unsigned int nr)
{
	if (ref->name_len && (ref->name < sizeof(*op) || ref->name_len > NAME_MAX ||
			      ref->name + ref->name_len > op->record))
		return false;
	switch (ref->kind) {
	case IZO_REF_NONE:
	case IZO_REF_ROOT:
		return true;
	case IZO_REF_HANDLE:
		return ref->ino;
	case IZO_REF_RESULT:
		return ref->ino < nr && b->made[ref->ino];
	default:
		return false;
	}
}

/* The names that a body is to get: whole references, each a directory and a name in it. */
static bool izo_names_ok(const struct izo_batch *b, const struct izo_reint_op *op, unsigned int nr)
{
	const struct izo_ref *name = (const void *)op + op->names;

	if (!op->nnames)
		return !op->names;
	if (op->nnames > IZO_REINT_NAMES_MAX || op->names % 8 || op->names < sizeof(*op) ||
	    op->names > op->record || op->nnames * sizeof(*name) > op->record - op->names)
		return false;
	for (unsigned int i = 0; i < op->nnames; i++)
		if (!name[i].kind || !name[i].name_len || !izo_ref_ok(b, op, &name[i], nr))
			return false;
	return true;
}

/* Does the operation name what its record is about? */
static bool izo_refs_fit(const struct izo_reint_op *op, const struct izo_kml_head *h)
{
	switch (le16_to_cpu(h->op)) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
		return op->dir.kind && !op->object.kind;
	case IZO_KML_LINK:
	case IZO_KML_UNLINK:
	case IZO_KML_RMDIR:
		return op->dir.kind && op->object.kind;
	case IZO_KML_RENAME:
		return op->dir.kind && op->to.kind && op->object.kind &&
		       (op->replaced.kind || !(le32_to_cpu(h->flags) & IZO_KML_EXCHANGE));
	case IZO_KML_CLOSE:
		return op->object.kind && op->nnames;
	default:
		return op->object.kind;
	}
}

static bool izo_place_name_ok(const struct izo_kml_head *h, u16 type)
{
	const struct izo_kml_place *p;
	size_t len;

	p = izo_record_find(h, type, NULL, &len);
	return !p || len - sizeof(*p) <= NAME_MAX;
}

static bool izo_fid_in_table(const struct izo_batch *b, const struct izo_fid *fid)
{
	return le16_to_cpu(fid->replica) <= b->log->replicas;
}

/* The record was judged: what is not there is no item, and FIDs begin the items that have one. */
static bool izo_fids_ok(const struct izo_batch *b, const struct izo_kml_head *h)
{
	static const u16 items[] = {
		IZO_ITEM_PLACE, IZO_ITEM_TO, IZO_ITEM_HINT, IZO_ITEM_REPLACED,
	};
	const struct izo_kml_whiteout *w;
	const struct izo_fid *fid;
	size_t len;

	BUILD_BUG_ON(offsetof(struct izo_kml_place, dir) ||
		     offsetof(struct izo_kml_other, fid));
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		fid = izo_record_find(h, items[i], NULL, &len);
		if (fid && !izo_fid_in_table(b, fid))
			return false;
	}
	w = izo_record_find(h, IZO_ITEM_WHITEOUT, NULL, &len);
	return izo_fid_in_table(b, &h->object) && (!w || izo_fid_in_table(b, &w->fid));
}

/*
 * The operation at @at of the batch's bytes, if it is one. What comes from user space, and in it
 * from a peer, is looked at here and was copied before: nothing of it changes any more.
 */
static const struct izo_reint_op *izo_op_judge(const struct izo_batch *b, u32 at, unsigned int nr)
{
	const struct izo_reint_op *op = b->ops + at;
	const struct izo_kml_head *h;
	size_t room = b->arg.bytes - at, len;

	if (room < sizeof(*op) || op->size > room || op->size % 8 || op->record % 8 ||
	    op->record < sizeof(*op) || op->record >= op->size || op->zero ||
	    (op->body && !op->nnames) || op->flags & ~IZO_OP_SKIP ||
	    !(op->flags & IZO_OP_SKIP) != !op->outcome)
		return NULL;
	h = (const void *)op + op->record;
	if (izo_record_judge(h, op->size - op->record, &len) != IZO_JUDGED_RECORD ||
	    len != op->size - op->record || le64_to_cpu(h->epoch) != b->arg.epoch ||
	    le16_to_cpu(h->origin) > b->log->replicas || !izo_fids_ok(b, h) ||
	    !izo_place_name_ok(h, IZO_ITEM_PLACE) || !izo_place_name_ok(h, IZO_ITEM_TO))
		return NULL;
	if (op->flags & IZO_OP_SKIP)
		return op->outcome > 255 ? op : NULL;
	if (!izo_ref_ok(b, op, &op->object, nr) || !izo_ref_ok(b, op, &op->dir, nr) ||
	    !izo_ref_ok(b, op, &op->to, nr) || !izo_ref_ok(b, op, &op->replaced, nr))
		return NULL;
	return izo_names_ok(b, op, nr) && izo_refs_fit(op, h) ? op : NULL;
}

/* Where the peer's log is applied to once the record is; records of its SML leave that as it is. */
static void izo_step_position(const struct izo_step *step, struct izo_peer *next)
{
	const struct izo_batch *b = step->batch;
	const struct izo_kml_head *h = step->remote.head;
	const struct izo_peer *peer;

	import_uuid(&next->replica, b->arg.peer);
	peer = izo_peer_find(b->log, &next->replica);
	if (b->arg.flags & IZO_REINT_SML) {
		if (peer)
			*next = *peer;
		return;
	}
	next->epoch = b->arg.epoch;
	next->recno = le64_to_cpu(h->recno);
	next->offset = le64_to_cpu(h->offset) + le32_to_cpu(h->len);
	next->outcome = step->op->outcome;
	next->flags = b->arg.flags & IZO_REINT_FORWARD ? 0 : IZO_RCVD_UPSTREAM;
	if (peer)
		next->flags |= peer->flags & IZO_RCVD_PARTIAL;
}

static void izo_step_init(struct izo_step *step, const struct izo_reint_op *op,
			  struct izo_reint_result *result)
{
	const struct izo_kml_head *h = (const void *)op + op->record;
	struct izo_batch *b = step->batch;
	struct izo_remote *m = &step->remote;
	size_t len;

	step->op = op;
	step->made = NULL;
	step->result = result;
	*m = (struct izo_remote){
		.head = h,
		.attr = izo_record_find(h, IZO_ITEM_ATTR, NULL, &len),
		.place = izo_record_find(h, IZO_ITEM_PLACE, NULL, &len),
		.to = izo_record_find(h, IZO_ITEM_TO, NULL, &len),
		.other = izo_record_find(h, IZO_ITEM_REPLACED, NULL, &len),
		.whiteout = izo_record_find(h, IZO_ITEM_WHITEOUT, NULL, &len),
		.names = op->nnames,
		.forward = b->arg.flags & IZO_REINT_FORWARD,
		.batch = b->nr,
	};
	if (!m->place)
		m->place = izo_record_find(h, IZO_ITEM_HINT, NULL, &len);
	izo_step_position(step, &m->next);
}

static int izo_step_apply(struct izo_step *step)
{
	switch (le16_to_cpu(step->remote.head->op)) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
		return izo_reint_make(step);
	case IZO_KML_LINK:
		return izo_reint_link(step);
	case IZO_KML_UNLINK:
	case IZO_KML_RMDIR:
		return izo_reint_remove(step);
	case IZO_KML_RENAME:
		return izo_reint_rename(step);
	case IZO_KML_SETATTR:
		return izo_reint_setattr(step);
	case IZO_KML_SETXATTR:
	case IZO_KML_REMOVEXATTR:
		return izo_reint_setxattr(step);
	case IZO_KML_CLOSE:
		return izo_reint_body(step);
	default:
		return IZO_REINT_REFUSED;
	}
}

/* Move a position in a transaction of its own. reint_lock is held. */
static int izo_store_position(struct izo_log *log, const struct izo_peer *to)
{
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	int err = izo_log_check(log->sb);

	if (err)
		return err;
	err = mnt_want_write(mnt);
	if (err)
		return err;
	err = log->ops->start(&ctx, izo_rcvd_blocks(log));
	if (!err)
		err = izo_log_stop(&ctx, izo_rcvd_store(&ctx, to));
	mnt_drop_write(mnt);
	return err;
}

/*
 * Is it its record's turn? Returns 0; IZO_REINT_ALREADY; a negative errno. A change whose position
 * has no place must not be begun. What was lost with the journal must not be taken for applied.
 */
static int izo_step_is_next(const struct izo_step *step)
{
	const struct izo_batch *b = step->batch;
	const struct izo_peer *peer = izo_peer_find(b->log, &step->remote.next.replica);
	u64 recno = step->remote.next.recno, last = peer ? peer->recno : 0;
	int err = izo_log_check(b->sb);

	if (err)
		return err;
	if (peer && peer->epoch != b->arg.epoch)
		return -ESTALE;
	if (b->arg.flags & IZO_REINT_SML)
		return peer && peer->flags & IZO_RCVD_PARTIAL ? 0 : -EINVAL;
	if (recno <= last)
		return IZO_REINT_ALREADY;
	if (recno != last + 1)
		return -EINVAL;
	return peer || !izo_peers_full(b->log) ? 0 : -ENOSPC;
}

/*
 * Apply one operation. Returns 0 if its outcome is stored, IZO_REINT_*, or a negative errno. A
 * record that the cache had nothing to do for has not moved the position yet.
 */
static int izo_step_run(struct izo_step *step)
{
	struct izo_batch *b = step->batch;
	int err = izo_step_is_next(step);

	if (err == IZO_REINT_ALREADY) {
		step->result->code = IZO_REINT_ALREADY;
		return 0;
	}
	if (err)
		return err;
	step->result->code = step->op->flags & IZO_OP_SKIP ? IZO_REINT_SKIPPED :
							      IZO_REINT_APPLIED;
	if (!(step->op->flags & IZO_OP_SKIP))
		err = izo_step_apply(step);
	if (err < 0)
		step->result->error = err;
	if (err)
		return err < 0 ? IZO_REINT_STOPPED : err;
	if (!izo_reint_is_stored(step) && !(b->arg.flags & IZO_REINT_SML))
		err = izo_store_position(b->log, &step->remote.next);
	if (step->remote.inexact) {
		step->result->code = IZO_REINT_INEXACT;
		step->result->error = step->remote.inexact;
	}
	step->result->recno = step->remote.recno;
	return err;
}

/* The operation at @at: 0, with @at behind it, or why the batch ends. */
static int izo_batch_one(struct izo_batch *b, unsigned int nr, u32 *at)
{
	const struct izo_reint_op *op = izo_op_judge(b, *at, nr);
	struct izo_step step = { .batch = b };
	int err;

	if (!op)
		return -EINVAL;
	izo_step_init(&step, op, &b->results[nr]);
	err = izo_step_run(&step);
	if (step.made) {
		izo_reint_in_the_way(&step, 0, d_inode(step.made));
		b->made[nr] = step.made;
	}
	*at += op->size;
	return err;
}

/*
 * Is the next operation the body of what the last one made? It comes right behind it: an empty file
 * that nobody comes back to would be taken for what the peer has.
 */
static bool izo_batch_is_body_next(const struct izo_batch *b, unsigned int nr, u32 at)
{
	const struct izo_reint_op *op = b->ops + at;

	return nr && b->arg.bytes - at >= sizeof(*op) && op->body &&
	       op->object.kind == IZO_REF_RESULT && op->object.ino == nr - 1;
}

/* Until something ends the batch; others get a turn between chunks. */
static int izo_batch_run(struct izo_batch *b, struct file *file)
{
	unsigned int nr = 0;
	u32 at = 0;
	int err = 0;

	while (nr < b->arg.count && !err) {
		unsigned int end = min(b->arg.count, nr + IZO_REINT_CHUNK);

		if (fatal_signal_pending(current))
			return -EINTR;
		/* a daemon that waits for a thaw could not be killed */
		if (!sb_start_write_trylock(b->sb))
			return -EAGAIN;
		err = mnt_get_write_access(file->f_path.mnt);
		if (!err) {
			while (!err && (nr < end || (nr < b->arg.count &&
						     izo_batch_is_body_next(b, nr, at)))) {
				err = izo_batch_one(b, nr, &at);
				if (!err)
					nr++;
			}
			mnt_put_write_access(file->f_path.mnt);
		}
		sb_end_write(b->sb);
		b->arg.done = nr;
		cond_resched();
	}
	return err;
}

/* What ended it, as the result of the operation that did. Returns what the ioctl returns. */
static int izo_batch_answer(struct izo_batch *b, int err)
{
	struct izo_reint_result *last = &b->results[b->arg.done];

	if (!err || err == -EINVAL || err == -ESTALE || err == -EINTR)
		return err;
	last->code = err > 0 ? err : IZO_REINT_STOPPED;
	if (err < 0)
		last->error = err;
	return 0;
}

static int izo_batch_alloc(struct izo_batch *b)
{
	const struct izo_reint *arg = &b->arg;

	if (arg->version != IZO_REINT_VERSION || arg->size != sizeof(*arg) || arg->done ||
	    arg->flags & ~(IZO_REINT_FORWARD | IZO_REINT_SML) ||
	    arg->flags == (IZO_REINT_FORWARD | IZO_REINT_SML) ||
	    !arg->count || arg->count > IZO_REINT_OPS_MAX ||
	    arg->bytes > IZO_REINT_BYTES_MAX || !arg->epoch)
		return -EINVAL;
	b->ops = vmemdup_user(u64_to_user_ptr(arg->ops), arg->bytes);
	if (IS_ERR(b->ops)) {
		int err = PTR_ERR(b->ops);

		b->ops = NULL;
		return err;
	}
	b->results = kvcalloc(arg->count, sizeof(*b->results), GFP_KERNEL);
	b->made = kvcalloc(arg->count, sizeof(*b->made), GFP_KERNEL);
	return b->results && b->made ? 0 : -ENOMEM;
}

/* A position is kept for those who were made known only: there is not room for many. */
static int izo_batch_check_peer(const struct izo_batch *b)
{
	uuid_t peer;
	int index;

	import_uuid(&peer, b->arg.peer);
	if (izo_peer_find(b->log, &peer))
		return 0;
	index = izo_replica_find(b->log, &peer);
	if (index < 0)
		return index;
	return index && index != b->log->self ? 0 : -EINVAL;
}

static void izo_batch_free(struct izo_batch *b)
{
	for (unsigned int i = 0; b->made && i < b->arg.count; i++)
		dput(b->made[i]);
	kvfree(b->made);
	kvfree(b->results);
	kvfree(b->ops);
}

static int izo_batch_copy_out(const struct izo_batch *b, struct izo_reint __user *to)
{
	u32 answers = min(b->arg.done + 1, b->arg.count);

	if (copy_to_user(u64_to_user_ptr(b->arg.results), b->results,
			 answers * sizeof(*b->results)) ||
	    put_user(b->arg.done, &to->done))
		return -EFAULT;
	return 0;
}

static int izo_reint(struct izo_log *log, struct file *file, struct izo_reint __user *user)
{
	struct izo_batch b = { .sb = log->sb, .log = log };
	int err, err2;

	if (copy_from_user(&b.arg, user, sizeof(b.arg)))
		return -EFAULT;
	err = izo_batch_alloc(&b);
	if (err) {
		izo_batch_free(&b);
		return err;
	}
	err = mutex_lock_killable(&log->reint_lock);
	if (!err) {
		err = izo_batch_check_peer(&b);
		if (!err) {
			b.nr = ++log->batches;
			err = izo_batch_answer(&b, izo_batch_run(&b, file));
		}
		mutex_unlock(&log->reint_lock);
		err2 = izo_batch_copy_out(&b, user);
		if (!err)
			err = err2;
	}
	izo_batch_free(&b);
	return err;
}

/* A position never goes back in the same life of the peer's log. */
static int izo_set_position(struct izo_log *log, const struct izo_position *p,
			    const uuid_t *replica)
{
	const struct izo_peer *peer = izo_peer_find(log, replica);
	struct izo_peer to = {
		.replica = *replica,
		.epoch = p->epoch,
		.recno = p->recno,
		.offset = p->offset,
		.flags = p->flags & IZO_POSITION_UPSTREAM ? IZO_RCVD_UPSTREAM :
			 peer ? peer->flags & IZO_RCVD_UPSTREAM : 0,
	};

	if (p->flags & IZO_POSITION_PARTIAL)
		to.flags |= IZO_RCVD_PARTIAL;

	if (peer && peer->epoch == p->epoch && p->recno < peer->recno)
		return -EINVAL;
	return izo_store_position(log, &to);
}

static int izo_reint_position(struct izo_log *log, struct file *file,
			      struct izo_position __user *user)
{
	struct izo_position p;
	uuid_t replica;
	int err;

	if (copy_from_user(&p, user, sizeof(p)))
		return -EFAULT;
	import_uuid(&replica, p.replica);
	if (p.version != IZO_REINT_VERSION || p.index || uuid_is_null(&replica) ||
	    p.flags & ~(IZO_POSITION_UPSTREAM | IZO_POSITION_PARTIAL) || (p.flags && !p.epoch) ||
	    uuid_equal(&replica, &log->replica))
		return -EINVAL;
	/* as a batch: not to wait for a thaw */
	if (!sb_start_write_trylock(log->sb))
		return -EAGAIN;
	err = mnt_get_write_access(file->f_path.mnt);
	if (err)
		goto frozen;
	err = mutex_lock_killable(&log->reint_lock);
	if (err)
		goto out;
	/* who finds no room is to take no index either: that is for good too */
	err = p.epoch && !izo_peer_find(log, &replica) && izo_peers_full(log) ?
		      -ENOSPC : izo_replica_index(log, &replica);
	if (err > 0) {
		p.index = err;
		err = p.epoch ? izo_set_position(log, &p, &replica) : 0;
	}
	mutex_unlock(&log->reint_lock);
out:
	mnt_put_write_access(file->f_path.mnt);
frozen:
	sb_end_write(log->sb);
	if (!err && put_user(p.index, &user->index))
		err = -EFAULT;
	return err;
}

/**
 * izo_reint_ioctl - commands of reintegration, on the root directory
 * @file: upper directory
 * @cmd: command
 * @arg: its argument
 *
 * Return: 0; -ENOTTY for other commands and files; -EPERM; -ENODATA without a log; -EINVAL for what
 * is no batch, or a record that does not follow the last one; -ESTALE for another life of the
 * peer's log; another negative errno.
 */
long izo_reint_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct super_block *sb = file_inode(file)->i_sb;
	struct izo_log *log;

	if (cmd != IZO_IOC_REINT && cmd != IZO_IOC_REINT_POSITION)
		return -ENOTTY;
	if (file_inode(file) != d_inode(sb->s_root))
		return -ENOTTY;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	/* pairs with izo_log_open() */
	log = smp_load_acquire(&izo_sb(sb)->log);
	if (!log)
		return -ENODATA;
	if (cmd == IZO_IOC_REINT)
		return izo_reint(log, file, (void __user *)arg);
	return izo_reint_position(log, file, (void __user *)arg);
}
