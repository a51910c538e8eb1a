// SPDX-License-Identifier: GPL-2.0-only
/*
 * What was changed here lately: the last records, by object and by name.
 *
 * A daemon decides about a peer's record by what our log had up to some offset. Before the record
 * is applied, under the locks of the objects it is about, this tells whether one of them has been
 * changed since. What is older than the window counts as changed: the daemon reads on and decides
 * again.
 */

#include <linux/slab.h>
#include <linux/stringhash.h>
#include "intermezzo.h"
#include "log.h"

/* Records kept; a daemon that is further behind has to read first anyway. */
#define IZO_RECENT_MAX 4096

/* One object of a record, and the name that it was given or lost. */
struct izo_recent {
	u64 offset;
	u64 ino;
	u64 dir;
	u32 hash;
	u32 aspects;
	u64 batch;
};

static u32 izo_name_hash(const struct qstr *name)
{
	return name ? full_name_hash(NULL, name->name, name->len) : 0;
}

static u64 izo_ino(const struct inode *inode)
{
	return inode ? izo_lower(inode)->i_ino : 0;
}

/**
 * izo_recent_init - begin to note
 * @log: the log, not shared yet
 *
 * Return: 0 or -ENOMEM. izo_recent_exit() ends it.
 */
int izo_recent_init(struct izo_log *log)
{
	log->recent = kvcalloc(IZO_RECENT_MAX, sizeof(*log->recent), GFP_KERNEL);
	return log->recent ? 0 : -ENOMEM;
}

void izo_recent_exit(struct izo_log *log)
{
	kvfree(log->recent);
}

static void izo_recent_add(struct izo_log *log, const struct izo_recent *new)
{
	struct izo_recent *place = &log->recent[log->recent_count++ % IZO_RECENT_MAX];

	if (place->offset)
		log->recent_from = place->offset + 1;
	*place = *new;
}

/**
 * izo_recent_note - a record was appended
 * @ctx: the change
 * @offset: where its record stands
 * @aspects: of the object that it writes, IZO_ASPECT_*
 *
 * Context: log->lock.
 */
void izo_recent_note(const struct izo_ctx *ctx, u64 offset, u32 aspects)
{
	const struct izo_change *c = &ctx->change;
	struct izo_recent entry = {
		.offset = offset,
		.ino = c->object ? izo_ino(c->object) : c->lower ? d_inode(c->lower)->i_ino : 0,
		.dir = c->name ? izo_ino(c->dir) : 0,
		.hash = izo_name_hash(c->name),
		.aspects = aspects,
		.batch = c->remote ? c->remote->batch : 0,
	};

	izo_recent_add(ctx->log, &entry);
	if (c->op != IZO_KML_RENAME)
		return;
	entry.ino = izo_ino(c->replaced);
	entry.dir = izo_ino(c->to_dir);
	entry.hash = izo_name_hash(c->to_name);
	entry.aspects = IZO_ASPECT_LINK | IZO_ASPECT_EXISTENCE;
	izo_recent_add(ctx->log, &entry);
}

/**
 * izo_recent_moved - an object has another inode from now on: what is known of it is of that one
 * @log: the log
 * @from: upper inode that it had
 * @to: upper inode that it has; both are locked
 */
void izo_recent_moved(struct izo_log *log, const struct inode *from, const struct inode *to)
{
	u64 kept;

	mutex_lock(&log->lock);
	kept = min_t(u64, log->recent_count, IZO_RECENT_MAX);
	for (u64 i = 0; i < kept; i++)
		if (log->recent[i].ino == izo_ino(from))
			log->recent[i].ino = izo_ino(to);
	mutex_unlock(&log->lock);
}

static bool izo_recent_meets(const struct izo_recent *e, const struct izo_recent_key *key)
{
	if (key->inode && e->ino == izo_ino(key->inode) && e->aspects & key->aspects)
		return true;
	return key->dir && e->dir == izo_ino(key->dir) && e->hash == izo_name_hash(key->name);
}

/**
 * izo_recent_changed - has one of these been changed since, by anybody but this batch?
 * @log: the log
 * @since: offset in the log
 * @batch: whose own records do not count
 * @keys: objects with aspects, names
 * @nkeys: how many
 *
 * Context: the objects, and the directories of the names, are locked.
 */
bool izo_recent_changed(struct izo_log *log, u64 since, u64 batch,
			const struct izo_recent_key *keys, unsigned int nkeys)
{
	bool changed;

	mutex_lock(&log->lock);
	changed = since < log->recent_from;
	for (u64 n = log->recent_count; n-- && !changed;) {
		const struct izo_recent *e = &log->recent[n % IZO_RECENT_MAX];

		if (e->offset < since || log->recent_count - n > IZO_RECENT_MAX)
			break;
		if (e->batch == batch)
			continue;
		for (unsigned int i = 0; i < nkeys; i++)
			changed |= izo_recent_meets(e, &keys[i]);
	}
	mutex_unlock(&log->lock);
	return changed;
}
