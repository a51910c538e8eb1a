// SPDX-License-Identifier: GPL-2.0-only
/*
 * last_rcvd: how far the logs of other replicas have been applied here.
 *
 * The file has several copies of one table, each with a slot for every peer. The position of a peer
 * moves in the transaction of the record that it passes. The first move of a transaction goes to
 * the next copy, so that nobody waits for the block that the committing transaction writes; of the
 * copies the one with the largest serial number counts.
 */

#include <linux/slab.h>
#include "intermezzo.h"
#include "log.h"

static u32 izo_rcvd_copy_bytes(const struct izo_log *log)
{
	return log->rcvd.bytes / IZO_RCVD_COPIES;
}

/* How many peers the file has room for. */
static unsigned int izo_peers_max(const struct izo_log *log)
{
	return izo_rcvd_copy_bytes(log) / sizeof(struct izo_rcvd_slot);
}

/**
 * izo_peers_full - is there no place for another peer's position?
 * @log: the log; reint_lock is held
 */
bool izo_peers_full(const struct izo_log *log)
{
	return log->npeers == izo_peers_max(log);
}

/**
 * izo_rcvd_blocks - blocks of the log's files that storing a position changes
 * @log: the log
 */
unsigned int izo_rcvd_blocks(const struct izo_log *log)
{
	return izo_rcvd_copy_bytes(log) / log->block_size;
}

/**
 * izo_peer_find - where we are in a replica's log
 * @log: the log; reint_lock is held
 * @replica: the peer
 *
 * Return: the peer's entry, or NULL if nothing of it was ever applied here.
 */
struct izo_peer *izo_peer_find(const struct izo_log *log, const uuid_t *replica)
{
	for (unsigned int i = 0; i < log->npeers; i++)
		if (uuid_equal(&log->peers[i].replica, replica))
			return &log->peers[i];
	return NULL;
}

static bool izo_rcvd_is_empty(const struct izo_rcvd_slot *s)
{
	return !memchr_inv(s, 0, sizeof(*s));
}

/* Slots are filled from the first on: each is what was written, until one is empty and the rest. */
static bool izo_rcvd_is_damaged(const struct izo_log *log, const struct izo_rcvd_slot *slots)
{
	bool ended = false;

	for (unsigned int i = 0; i < izo_peers_max(log); i++) {
		const struct izo_rcvd_slot *s = &slots[i];

		if (izo_rcvd_is_empty(s))
			ended = true;
		else if (ended || le32_to_cpu(s->magic) != IZO_RCVD_MAGIC ||
			 !izo_crc_matches(s, sizeof(*s), &s->crc))
			return true;
	}
	return false;
}

static void izo_rcvd_take(const struct izo_rcvd_slot *s, struct izo_peer *p)
{
	import_uuid(&p->replica, s->replica);
	p->epoch = le64_to_cpu(s->epoch);
	p->recno = le64_to_cpu(s->recno);
	p->offset = le64_to_cpu(s->offset);
	p->outcome = le32_to_cpu(s->outcome);
	p->flags = le32_to_cpu(s->flags);
}

static void izo_rcvd_fill(const struct izo_peer *p, u64 serial, struct izo_rcvd_slot *s)
{
	*s = (struct izo_rcvd_slot){
		.magic = cpu_to_le32(IZO_RCVD_MAGIC),
		.epoch = cpu_to_le64(p->epoch),
		.recno = cpu_to_le64(p->recno),
		.offset = cpu_to_le64(p->offset),
		.serial = cpu_to_le64(serial),
		.outcome = cpu_to_le32(p->outcome),
		.flags = cpu_to_le32(p->flags),
	};
	export_uuid(s->replica, &p->replica);
	izo_crc_seal(s, sizeof(*s), &s->crc);
}

/*
 * Of a copy whose serial is larger than the known one. A crash leaves a damaged one only where
 * there is no journal, and what it says was not promised there.
 */
static void izo_rcvd_take_copy(struct izo_log *log, const struct izo_rcvd_slot *slots,
			       unsigned int copy)
{
	if (izo_rcvd_is_damaged(log, slots)) {
		pr_warn("%s: copy %u of last_rcvd is damaged: if it was the newest, records of peers are applied again; check the device\n",
			log->sb->s_id, copy);
		return;
	}
	if (le64_to_cpu(slots->serial) <= log->rcvd_serial)
		return;
	log->rcvd_serial = le64_to_cpu(slots->serial);
	log->rcvd_copy = copy;
	log->npeers = 0;
	while (log->npeers < izo_peers_max(log) && !izo_rcvd_is_empty(&slots[log->npeers])) {
		izo_rcvd_take(&slots[log->npeers], &log->peers[log->npeers]);
		log->npeers++;
	}
}

/* What of the peers the rest of the log's code asks for without a lock. */
static void izo_rcvd_publish(struct izo_log *log)
{
	for (unsigned int i = 0; i < log->npeers; i++)
		if (log->peers[i].flags & IZO_RCVD_UPSTREAM)
			WRITE_ONCE(log->seen, log->peers[i].recno);
}

/**
 * izo_rcvd_load - learn the positions from the cache
 * @log: the log, not shared yet; its file last_rcvd is open
 *
 * Return: 0 or a negative errno.
 */
int izo_rcvd_load(struct izo_log *log)
{
	u32 bytes = izo_rcvd_copy_bytes(log);
	void *buf;
	int err = 0;

	if (log->rcvd.bytes % (IZO_RCVD_COPIES * log->block_size))
		return -EUCLEAN;
	log->peers = kvcalloc(izo_peers_max(log), sizeof(*log->peers), GFP_KERNEL);
	buf = kvmalloc(bytes, GFP_KERNEL);
	if (!log->peers || !buf)
		err = -ENOMEM;
	for (unsigned int copy = 0; copy < IZO_RCVD_COPIES && !err; copy++) {
		err = log->ops->read(log, &log->rcvd, copy * bytes, buf, bytes);
		if (!err)
			izo_rcvd_take_copy(log, buf, copy);
	}
	kvfree(buf);
	izo_rcvd_publish(log);
	return err;
}

static int izo_rcvd_write(struct izo_ctx *ctx, const struct izo_rcvd_slot *slots)
{
	struct izo_log *log = ctx->log;
	u32 bytes = izo_rcvd_copy_bytes(log), at = log->rcvd_copy * bytes;
	int err = 0;

	for (u32 done = 0; done < bytes && !err; done += log->block_size)
		err = log->ops->write(ctx, &log->rcvd, at + done, (const void *)slots + done,
				      log->block_size, true);
	return err;
}

/**
 * izo_rcvd_store - move a peer's position
 * @ctx: with its handle, which has room for izo_rcvd_blocks()
 * @to: the new position
 *
 * Context: reint_lock is held.
 * Return: 0; -ENOSPC if there are too many peers, as izo_peers_full() tells before; another
 * negative errno, with the journal failed.
 */
int izo_rcvd_store(struct izo_ctx *ctx, const struct izo_peer *to)
{
	struct izo_log *log = ctx->log;
	struct izo_peer *peer = izo_peer_find(log, &to->replica);
	struct izo_rcvd_slot *slots;
	int err;

	if (!peer) {
		if (izo_peers_full(log))
			return -ENOSPC;
		peer = &log->peers[log->npeers++];
	}
	*peer = *to;
	/* nofail: the change that it belongs to is made */
	slots = kvzalloc(izo_rcvd_copy_bytes(log), GFP_NOFS | __GFP_NOFAIL);
	log->rcvd_serial++;
	for (unsigned int i = 0; i < log->npeers; i++)
		izo_rcvd_fill(&log->peers[i], log->rcvd_serial, &slots[i]);
	if (!ctx->handle || ctx->tid != log->rcvd_tid)
		log->rcvd_copy = (log->rcvd_copy + 1) % IZO_RCVD_COPIES;
	mutex_lock(&log->lock);
	log->rcvd_tid = ctx->tid;
	mutex_unlock(&log->lock);
	err = izo_rcvd_write(ctx, slots);
	kvfree(slots);
	izo_rcvd_publish(log);
	return err;
}
