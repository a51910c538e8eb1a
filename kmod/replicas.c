// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of replicas: which UUID has which index in FIDs and records. It only grows; indices
 * are this replica's own and mean nothing to others.
 */

#include <linux/mount.h>
#include "intermezzo.h"
#include "log.h"

static u32 izo_replica_at(u16 index)
{
	return sizeof(struct izo_replicas) + (index - 1) * sizeof(struct izo_replica);
}

static unsigned int izo_replicas_max(const struct izo_log *log)
{
	return min_t(u32, U16_MAX, (log->table.bytes - sizeof(struct izo_replicas)) /
				   sizeof(struct izo_replica));
}

/**
 * izo_replica_find - the index of a replica
 * @log: the log; reint_lock is held
 * @replica: UUID
 *
 * Return: 1 or more; 0 if it is not in the table; a negative errno.
 */
int izo_replica_find(struct izo_log *log, const uuid_t *replica)
{
	for (unsigned int index = 1; index <= log->replicas; index++) {
		struct izo_replica entry;
		int err = log->ops->read(log, &log->table, izo_replica_at(index), &entry,
					 sizeof(entry));

		if (err)
			return err;
		if (!memcmp(entry.uuid, replica, sizeof(entry.uuid)))
			return index;
	}
	return 0;
}

/* The entry and the count go into one transaction; an entry beyond the count is none. */
static int izo_replica_write(struct izo_ctx *ctx, const uuid_t *replica, u16 index)
{
	struct izo_log *log = ctx->log;
	struct izo_replica entry = { .index = cpu_to_le16(index) };
	struct izo_replicas head;
	int err = log->ops->read(log, &log->table, 0, &head, sizeof(head));

	if (err)
		return err;
	export_uuid(entry.uuid, replica);
	izo_crc_seal(&entry, sizeof(entry), &entry.crc);
	head.count = cpu_to_le16(index);
	izo_crc_seal(&head, sizeof(head), &head.crc);
	err = izo_area_write(ctx, &log->table, izo_replica_at(index), &entry, sizeof(entry));
	return err ? err : izo_area_write(ctx, &log->table, 0, &head, sizeof(head));
}

static int izo_replica_add(struct izo_log *log, const uuid_t *replica)
{
	struct vfsmount *mnt = izo_sb(log->sb)->lower_mnt;
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	u16 index = log->replicas + 1;
	int err;

	if (log->replicas >= izo_replicas_max(log))
		return -ENOSPC;
	err = mnt_want_write(mnt);
	if (err)
		return err;
	err = log->ops->start(&ctx, 3);
	if (!err)
		err = izo_log_stop(&ctx, izo_replica_write(&ctx, replica, index));
	mnt_drop_write(mnt);
	if (err)
		return err;
	/* from now on objects are asked who made them (izo_fid_known()) */
	WRITE_ONCE(log->replicas, index);
	return index;
}

/**
 * izo_replica_index - the index of a replica, which it is given if it has none
 * @log: the log; reint_lock is held
 * @replica: UUID
 *
 * Context: no freeze protection held. May sleep.
 * Return: 1 or more; -ENOSPC if the table is full; another negative errno.
 */
int izo_replica_index(struct izo_log *log, const uuid_t *replica)
{
	int index = izo_replica_find(log, replica);

	return index ? index : izo_replica_add(log, replica);
}
