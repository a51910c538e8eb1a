// SPDX-License-Identifier: GPL-2.0-only
/*
 * The log's life: found or made when a fileset first becomes read-write, closed with the mount.
 *
 * The control block is the last thing made: without it everything else is made anew, under a new
 * epoch. Nothing here is written through the journal but what recovery records.
 */

#include <linux/bitmap.h>
#include <linux/list_sort.h>
#include <linux/namei.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/uuid.h>
#include "intermezzo.h"
#include "log.h"

#define IZO_CONTROL_NAME	"kml"
#define IZO_FIRST_NAME		"kml.0"
#define IZO_LML_NAME		"lml"
#define IZO_RCVD_NAME		"last_rcvd"
#define IZO_REPLICAS_NAME	"replicas"

/* A segment is this part of the cache, within bounds; so is the LML; the log may take more. */
#define IZO_SEGMENT_PART	1024
#define IZO_SEGMENT_LEAST	SZ_256K
#define IZO_SEGMENT_MOST	SZ_4M
#define IZO_LML_PART		256
#define IZO_LML_LEAST		SZ_256K
#define IZO_LML_MOST		SZ_4M
/* A copy of last_rcvd: some 50 peers. The table of replicas: some 500. */
#define IZO_RCVD_LEAST		SZ_4K
#define IZO_REPLICAS_LEAST	SZ_16K
#define IZO_LIMIT_PART		8
#define IZO_LIMIT_LEAST		8	/* segments */
#define IZO_LIMIT_MOST		SZ_1G
/* Twice as many as the limit leaves room for, whatever the cache's size. */
#define IZO_SEGMENTS_MOST	512

static void izo_seg_name(char name[16], unsigned int nr)
{
	snprintf(name, 16, "kml.%u", nr);
}

/* Is there something of that name? If that cannot be told, it is: nothing is made in its place. */
static bool izo_log_has(struct izo_log *log, const char *name)
{
	struct file *file = izo_table_open(log, name);

	if (IS_ERR(file))
		return PTR_ERR(file) != -ENOENT;
	__fput_sync(file);
	return true;
}

static int izo_seg_add(struct izo_log *log, unsigned int nr)
{
	struct izo_seg *seg = kzalloc(sizeof(*seg), GFP_KERNEL);
	char name[16];
	int err;

	if (!seg)
		return -ENOMEM;
	izo_seg_name(name, nr);
	seg->nr = nr;
	err = izo_area_get(log, &seg->area, name, log->segment_size);
	if (err) {
		kfree(seg);
		return err;
	}
	mutex_lock(&log->lock);
	list_add_tail(&seg->link, &log->spare);
	log->segments++;
	mutex_unlock(&log->lock);
	return 0;
}

/**
 * izo_log_make_spare - one more segment
 * @log: the log
 *
 * Context: one caller at a time: the mount, or the log's work item. No handle.
 * Return: 0 or a negative errno.
 */
int izo_log_make_spare(struct izo_log *log)
{
	unsigned int nr = log->segments;
	char name[16];
	int err;

	izo_seg_name(name, nr);
	err = izo_area_make(log, name, log->segment_size, NULL, 0);
	return err ? err : izo_seg_add(log, nr);
}

static bool izo_control_ok(const struct izo_kml_control *c)
{
	return le64_to_cpu(c->magic) == IZO_CONTROL_MAGIC &&
	       izo_crc_matches(c, sizeof(*c), &c->crc);
}

static u32 izo_part(u64 bytes, u32 part, u32 least, u32 most)
{
	return roundup_pow_of_two(clamp_t(u64, div_u64(bytes, part), least, most));
}

/* Without a control block the others are nothing but room that may be wanted badly. */
static void izo_log_unmake(struct izo_log *log)
{
	izo_area_remove(log, IZO_FIRST_NAME);
	izo_area_remove(log, IZO_LML_NAME);
}

/* What was applied of other logs is in the tree, whatever becomes of ours; a clone begins so. */
static int izo_log_make_rcvd(struct izo_log *log)
{
	u32 bytes = IZO_RCVD_COPIES * max(log->block_size, IZO_RCVD_LEAST);

	if (!izo_area_get(log, &log->rcvd, IZO_RCVD_NAME, bytes)) {
		izo_area_put(log, &log->rcvd);
		return 0;
	}
	return izo_area_make(log, IZO_RCVD_NAME, bytes, NULL, 0);
}

/*
 * An older life may have had segments of another size, or one of them is why it ended. From the
 * last one on: what a crash leaves of them is found again.
 */
static int izo_log_remove_segments(struct izo_log *log)
{
	int err = 0;

	for (unsigned int nr = IZO_SEGMENTS_MOST; nr > 0 && !err; nr--) {
		char name[16];

		izo_seg_name(name, nr);
		err = izo_area_remove(log, name);
	}
	return err;
}

/* A new life of the log: sizes by the cache's, the first segment, and the control block last. */
static int izo_log_begin_epoch(struct izo_log *log, u64 cache_bytes)
{
	struct izo_segment h = {
		.magic = cpu_to_le64(IZO_SEGMENT_MAGIC),
		.version = cpu_to_le32(IZO_KML_VERSION),
		.first = cpu_to_le64(sizeof(struct izo_kml_header)),
		.first_recno = cpu_to_le64(1),
	};
	struct izo_kml_control c = {
		.magic = cpu_to_le64(IZO_CONTROL_MAGIC),
		.version = cpu_to_le32(IZO_KML_VERSION),
		.block_size = cpu_to_le32(log->block_size),
		.self = cpu_to_le16(log->self),
	};
	int err;

	do {
		log->epoch = get_random_u64();
	} while (!log->epoch);
	log->segment_size = izo_part(cache_bytes, IZO_SEGMENT_PART, IZO_SEGMENT_LEAST,
				     IZO_SEGMENT_MOST);
	log->limit = clamp_t(u64, cache_bytes / IZO_LIMIT_PART,
			     (u64)IZO_LIMIT_LEAST * log->segment_size, IZO_LIMIT_MOST);
	h.epoch = cpu_to_le64(log->epoch);
	izo_crc_seal(&h, sizeof(h), &h.crc);
	memcpy(c.fileset, &log->fileset, sizeof(c.fileset));
	memcpy(c.replica, &log->replica, sizeof(c.replica));
	c.epoch = cpu_to_le64(log->epoch);
	c.segment_size = cpu_to_le32(log->segment_size);
	c.limit = cpu_to_le64(log->limit);
	izo_crc_seal(&c, sizeof(c), &c.crc);
	err = izo_log_remove_segments(log);
	if (!err)
		err = izo_area_make(log, IZO_FIRST_NAME, log->segment_size, &h, sizeof(h));
	if (!err)
		err = izo_area_make(log, IZO_LML_NAME,
				    izo_part(cache_bytes, IZO_LML_PART, IZO_LML_LEAST,
					     IZO_LML_MOST), NULL, 0);
	if (!err)
		err = izo_log_make_rcvd(log);
	if (!err)
		err = izo_area_make(log, IZO_CONTROL_NAME, log->block_size, &c, sizeof(c));
	if (err)
		izo_log_unmake(log);
	return err;
}

static int izo_control_take(struct izo_log *log, const struct izo_kml_control *c,
			    struct fs_context *fc)
{
	if (!izo_control_ok(c))
		return invalfc(fc, ".intermezzo/%pd/kml is damaged; remove it on the unmounted cache to begin a new log",
			       log->dir);
	if (le32_to_cpu(c->version) != IZO_KML_VERSION)
		return invalfc(fc, ".intermezzo/%pd/kml has version %u, this kernel knows %u",
			       log->dir, le32_to_cpu(c->version), IZO_KML_VERSION);
	if (memcmp(c->replica, &log->replica, sizeof(c->replica)) ||
	    memcmp(c->fileset, &log->fileset, sizeof(c->fileset)))
		return invalfc(fc, ".intermezzo/%pd/kml belongs to another replica; run mkizofs --clone on the unmounted cache",
			       log->dir);
	log->epoch = le64_to_cpu(c->epoch);
	log->segment_size = le32_to_cpu(c->segment_size);
	log->limit = le64_to_cpu(c->limit);
	log->trimmed = le64_to_cpu(c->trimmed);
	if (le32_to_cpu(c->flags) & IZO_KML_H_OVERFLOW) {
		set_bit(IZO_LOG_OVERFLOW, &log->state);
		set_bit(IZO_LOG_OVERFLOW_STORED, &log->state);
	}
	if (le32_to_cpu(c->block_size) != log->block_size ||
	    log->segment_size < IZO_SEGMENT_LEAST || log->segment_size > IZO_SEGMENT_MOST ||
	    log->segment_size % log->block_size)
		return invalfc(fc, ".intermezzo/%pd/kml was made for blocks of %u bytes, the cache has %u",
			       log->dir, le32_to_cpu(c->block_size), log->block_size);
	return 0;
}

static bool izo_segment_is_of(const struct izo_log *log, const struct izo_segment *h)
{
	return le64_to_cpu(h->magic) == IZO_SEGMENT_MAGIC &&
	       le32_to_cpu(h->version) == IZO_KML_VERSION && le64_to_cpu(h->epoch) == log->epoch &&
	       izo_crc_matches(h, sizeof(*h), &h->crc);
}

/* What a segment's header says; false if it does not hold a part of this log. */
static bool izo_seg_read_header(struct izo_log *log, struct izo_seg *seg)
{
	u32 room = log->segment_size - log->block_size;
	struct izo_segment h;

	if (log->ops->read(log, &seg->area, 0, &h, sizeof(h)) || !izo_segment_is_of(log, &h))
		return false;
	seg->base = le64_to_cpu(h.base);
	seg->first = le64_to_cpu(h.first);
	seg->first_recno = le64_to_cpu(h.first_recno);
	return !do_div((u64){ seg->base }, room) && seg->first >= seg->base &&
	       seg->first - seg->base <= room;
}

static int izo_seg_order(void *unused, const struct list_head *a, const struct list_head *b)
{
	const struct izo_seg *one = list_entry(a, struct izo_seg, link);
	const struct izo_seg *two = list_entry(b, struct izo_seg, link);

	return one->base > two->base;
}

/* Zero what a segment holds from @pos on. */
static int izo_seg_erase(struct izo_log *log, struct izo_seg *seg, u32 pos)
{
	struct izo_ctx ctx = { .sb = log->sb, .log = log };
	void *block = kvmalloc(log->block_size, GFP_KERNEL);
	int err = block ? 0 : -ENOMEM;

	while (!err && pos < log->segment_size) {
		u32 part = log->block_size - pos % log->block_size;

		err = log->ops->read(log, &seg->area, pos, block, part);
		if (!err && memchr_inv(block, 0, part)) {
			memset(block, 0, part);
			err = log->ops->write(&ctx, &seg->area, pos, block, part, false);
		}
		pos += part;
	}
	kvfree(block);
	return err;
}

/*
 * Without a journal an unclean stop may have kept records, even segments, that follow lost ones.
 * They would count again once the log has grown up to where they stand.
 */
static int izo_log_cut(struct izo_log *log)
{
	struct izo_seg *seg, *prev;
	int err = mnt_want_write(izo_sb(log->sb)->lower_mnt);

	if (err)
		return err;
	list_for_each_entry_safe_reverse(seg, prev, &log->used, link) {
		if (seg->base <= log->tail) {
			err = izo_seg_erase(log, seg, log->tail - seg->base + log->block_size);
			break;
		}
		err = izo_seg_erase(log, seg, 0);
		if (err)
			break;
		list_move(&seg->link, &log->spare);
	}
	mnt_drop_write(izo_sb(log->sb)->lower_mnt);
	return err;
}

/* The newest segments that follow one another are the log; the others are free. */
static int izo_log_order(struct izo_log *log, struct fs_context *fc)
{
	u32 room = log->segment_size - log->block_size;
	struct izo_seg *seg, *next;
	int err;

	list_for_each_entry_safe(seg, next, &log->spare, link)
		if (izo_seg_read_header(log, seg))
			list_move_tail(&seg->link, &log->used);
	if (list_empty(&log->used))
		return invalfc(fc, ".intermezzo/%pd/kml.* hold no part of the log; remove .intermezzo/%pd/kml on the unmounted cache to begin a new log",
			       log->dir, log->dir);
	list_sort(NULL, &log->used, izo_seg_order);
	seg = list_last_entry(&log->used, struct izo_seg, link);
	while (!list_is_first(&seg->link, &log->used)) {
		next = list_prev_entry(seg, link);
		if (next->base + room == seg->base && seg->first > log->trimmed) {
			seg = next;
			continue;
		}
		while (!list_is_first(&seg->link, &log->used))
			list_move(log->used.next, &log->spare);
	}
	log->first = seg->first;
	log->first_recno = seg->first_recno;
	err = izo_log_find_tail(log);
	return err || log->journal ? err : izo_log_cut(log);
}

static bool izo_is_misshapen(int err)
{
	return err == -ENOENT || err == -ENODATA || err == -EFBIG;
}

/* A file of the log is not there, or not as it was made: with @bytes, if that is known. */
static int izo_log_complain(struct izo_log *log, const char *name, u32 bytes,
			    struct fs_context *fc)
{
	struct file *file = izo_table_open(log, name);
	loff_t size;

	if (IS_ERR(file) && PTR_ERR(file) != -ENOENT && PTR_ERR(file) != -ENODATA)
		return PTR_ERR(file);
	if (IS_ERR(file))
		return invalfc(fc, ".intermezzo/%pd/%s is missing or is no file; restore it, or remove .intermezzo/%pd/kml on the unmounted cache to begin a new log",
			       log->dir, name, log->dir);
	size = i_size_read(file_inode(file));
	__fput_sync(file);
	if (bytes && size != bytes)
		return invalfc(fc, ".intermezzo/%pd/%s has %lld bytes instead of %u; restore it, or remove .intermezzo/%pd/kml on the unmounted cache to begin a new log",
			       log->dir, name, size, bytes, log->dir);
	return invalfc(fc, ".intermezzo/%pd/%s, %lld bytes, has holes, cannot be read or is not as long as it was made; check the device; restore it, or remove .intermezzo/%pd/kml on the unmounted cache to begin a new log",
		       log->dir, name, size, log->dir);
}

/* Has the log written to a segment that is not as it was made? */
static bool izo_seg_was_used(struct izo_log *log, const char *name)
{
	struct file *file = izo_table_open(log, name);
	struct izo_segment h;
	bool used;

	if (IS_ERR(file))
		return false;
	used = !izo_read_exactly(file, 0, &h, sizeof(h)) && izo_segment_is_of(log, &h);
	__fput_sync(file);
	return used;
}

static int izo_log_find_segments(struct izo_log *log, struct fs_context *fc)
{
	char name[16], next[16];
	int err;

	do {
		err = izo_seg_add(log, log->segments);
	} while (!err);
	if (!izo_is_misshapen(err))
		return err;
	/* one that a crash left incomplete was never used, and is the last */
	izo_seg_name(name, log->segments);
	izo_seg_name(next, log->segments + 1);
	if (err == -EFBIG || izo_log_has(log, next) || izo_seg_was_used(log, name))
		return izo_log_complain(log, name, log->segment_size, fc);
	return izo_log_order(log, fc);
}

static int izo_replicas_read(struct file *file, struct izo_replicas *head,
			     struct izo_replica *self)
{
	int err = izo_read_exactly(file, 0, head, sizeof(*head));
	u64 at = sizeof(*head) + (le16_to_cpu(head->self) - 1ULL) * sizeof(*self);

	return err ? err : izo_read_exactly(file, at, self, sizeof(*self));
}

static int izo_replicas_complain(struct izo_log *log, struct fs_context *fc)
{
	return invalfc(fc, ".intermezzo/%pd/replicas is missing or damaged; restore it from another copy of this cache, or save the tree and make the cache anew",
		       log->dir);
}

/* Who this replica is, from the table that mkizofs made, or as a new fileset. */
static int izo_log_identity(struct izo_log *log, bool is_new, struct fs_context *fc)
{
	struct izo_replicas head = { };
	struct izo_replica self = { };
	struct file *file = izo_table_open(log, IZO_REPLICAS_NAME);
	int err = PTR_ERR_OR_ZERO(file);

	/* a crash of the first mount may leave the name without the contents */
	if (!err && is_new && !i_size_read(file_inode(file))) {
		__fput_sync(file);
		err = -ENOENT;
	}
	/* it is made before all else */
	if (err == -ENOENT && (!is_new || izo_log_has(log, IZO_RCVD_NAME)))
		return izo_replicas_complain(log, fc);
	if (err == -ENOENT) {
		struct { struct izo_replicas head; struct izo_replica self; } new = { };

		generate_random_uuid(new.head.fileset);
		generate_random_uuid(new.self.uuid);
		new.head.magic = cpu_to_le64(IZO_REPLICAS_MAGIC);
		new.head.version = cpu_to_le32(IZO_KML_VERSION);
		new.head.self = cpu_to_le16(1);
		new.head.count = cpu_to_le16(1);
		izo_crc_seal(&new.head, sizeof(new.head), &new.head.crc);
		new.self.index = cpu_to_le16(1);
		izo_crc_seal(&new.self, sizeof(new.self), &new.self.crc);
		BUILD_BUG_ON(sizeof(new) != sizeof(head) + sizeof(self));
		err = izo_area_make(log, IZO_REPLICAS_NAME,
				    max(log->block_size, IZO_REPLICAS_LEAST), &new, sizeof(new));
		head = new.head;
		self = new.self;
	} else if (!err) {
		err = izo_replicas_read(file, &head, &self);
		__fput_sync(file);
	}
	if (err && err != -ENODATA)
		return err;
	if (err || le64_to_cpu(head.magic) != IZO_REPLICAS_MAGIC || !head.self ||
	    le16_to_cpu(head.self) > le16_to_cpu(head.count) || self.index != head.self ||
	    !izo_crc_matches(&head, sizeof(head), &head.crc) ||
	    !izo_crc_matches(&self, sizeof(self), &self.crc))
		return izo_replicas_complain(log, fc);
	import_uuid(&log->fileset, head.fileset);
	import_uuid(&log->replica, self.uuid);
	log->self = le16_to_cpu(head.self);
	log->replicas = le16_to_cpu(head.count);
	return 0;
}

static int izo_log_cache_bytes(struct izo_log *log, u64 *bytes)
{
	struct kstatfs st;
	int err = izo_lower_statfs(d_inode(log->sb->s_root), &st);

	/* a tmpfs without a limit says 0 */
	*bytes = st.f_blocks ? st.f_blocks * st.f_bsize : SZ_1G;
	return err;
}

/* A file that is not there without a control block. */
static int izo_log_get(struct izo_log *log, struct izo_area *area, const char *name,
		       struct fs_context *fc)
{
	int err = izo_area_get(log, area, name, 0);

	return izo_is_misshapen(err) ? izo_log_complain(log, name, 0, fc) : err;
}

static int izo_log_get_lml(struct izo_log *log, struct fs_context *fc)
{
	int err = izo_log_get(log, &log->lml, IZO_LML_NAME, fc);

	if (!err && (!is_power_of_2(log->lml.bytes) || log->lml.bytes > IZO_LML_MOST))
		err = izo_log_complain(log, IZO_LML_NAME, 0, fc);
	return err;
}

static int izo_log_get_rcvd(struct izo_log *log, struct fs_context *fc)
{
	int err = izo_log_get(log, &log->rcvd, IZO_RCVD_NAME, fc);

	if (!err)
		err = izo_rcvd_load(log);
	return err == -EUCLEAN ? izo_log_complain(log, IZO_RCVD_NAME, 0, fc) : err;
}

/* Everything but the control block is there: map it all, find the end, and be ready to grow. */
static int izo_log_load(struct izo_log *log, struct fs_context *fc)
{
	struct izo_kml_control c;
	int err = log->ops->read(log, &log->control, 0, &c, sizeof(c));

	if (!err)
		err = izo_control_take(log, &c, fc);
	if (!err)
		err = izo_log_get_lml(log, fc);
	if (!err)
		err = izo_log_get_rcvd(log, fc);
	if (!err) {
		err = izo_area_get(log, &log->table, IZO_REPLICAS_NAME, 0);
		if (izo_is_misshapen(err))
			err = izo_replicas_complain(log, fc);
	}
	/* what a crash left of a body being installed is in the way of the next one only */
	if (!err && !log->journal && izo_area_remove(log, IZO_BODY_NAME))
		pr_warn("%s: the left-over %s cannot be removed: bodies of peers are not taken\n",
			log->sb->s_id, IZO_BODY_NAME);
	if (!err)
		err = izo_log_find_segments(log, fc);
	if (!err && list_empty(&log->spare) && log->segments * (u64)log->segment_size < log->limit)
		err = izo_log_make_spare(log);
	/* with the cache full the log goes on to its end, and looks for room until then */
	if (err == -ENOSPC)
		err = 0;
	if (err)
		return err;
	log->nslots = log->lml.bytes / sizeof(struct izo_lml_entry);
	err = izo_recent_init(log);
	if (err)
		return err;
	log->slots = bitmap_zalloc(log->nslots, GFP_KERNEL);
	log->stale = bitmap_zalloc(log->nslots, GFP_KERNEL);
	return log->slots && log->stale ? 0 : -ENOMEM;
}

static int izo_log_make_or_load(struct izo_log *log, struct fs_context *fc)
{
	const struct izo_cache_type *cache = izo_sb(log->sb)->config.cache;
	int err = log->ops->attach(log), found;
	char second[16];
	bool is_new;
	u64 bytes;

	if (err)
		return err;
	found = izo_area_get(log, &log->control, IZO_CONTROL_NAME, 0);
	is_new = found == -ENOENT || found == -ENODATA;
	/* others than the first segment are made after it, and removed before it is made again */
	izo_seg_name(second, 1);
	if (found == -EFBIG || (found == -ENODATA && izo_log_has(log, second)))
		return izo_log_complain(log, IZO_CONTROL_NAME, 0, fc);
	err = izo_log_identity(log, is_new, fc);
	if (!err)
		err = izo_base_open(log, fc);
	if (err)
		return err;
	if (is_new) {
		err = izo_log_cache_bytes(log, &bytes);
		if (!err)
			err = izo_log_begin_epoch(log, bytes);
		if (err)
			return err;
		found = izo_area_get(log, &log->control, IZO_CONTROL_NAME, 0);
	}
	err = found ? found : izo_log_load(log, fc);
	if (!err && !is_new && cache->outlive)
		err = cache->outlive(log);
	return err;
}

static struct izo_log *izo_log_alloc(struct super_block *sb, struct dentry *dir)
{
	struct izo_log *log = kzalloc(sizeof(*log), GFP_KERNEL);

	if (!log)
		return NULL;
	log->sb = sb;
	log->ops = izo_sb(sb)->config.cache->ops;
	log->dir = dget(dir);
	log->block_size = izo_lower_sb(sb)->s_blocksize;
	mutex_init(&log->lock);
	mutex_init(&log->reint_lock);
	mutex_init(&log->lml_lock);
	mutex_init(&log->free_lock);
	INIT_LIST_HEAD(&log->used);
	INIT_LIST_HEAD(&log->spare);
	INIT_LIST_HEAD(&log->dirty);
	init_waitqueue_head(&log->grew);
	init_waitqueue_head(&log->room);
	INIT_DELAYED_WORK(&log->grow_work, izo_log_grow);
	INIT_WORK(&log->tell_work, izo_log_await_commits);
	INIT_DELAYED_WORK(&log->lml_work, izo_lml_work);
	return log;
}

/**
 * izo_log_none - say that there is no log and no room for one
 * @sb: upper superblock
 *
 * Nothing goes unnoticed: what a new log begins with is the tree as it is then.
 */
void izo_log_none(const struct super_block *sb)
{
	pr_warn("%s: the cache has no room for a log of changes: they are not recorded until it has at a mount\n",
		sb->s_id);
}

/* There is no log and no room for one. Returns 1 if the mount may go on, or -ENOSPC. */
static int izo_log_without(struct izo_log *log, struct fs_context *fc)
{
	/* others know what a clone began with, and would miss what is not in its log */
	if (log->replicas > 1) {
		errorfc(fc, "the cache has no room for a log of changes, which a clone needs from its first change on");
		return -ENOSPC;
	}
	izo_log_none(log->sb);
	return 1;
}

/**
 * izo_log_open - find or make the logs of a fileset, and record what a crash left open
 * @sb: upper superblock; nobody writes yet
 * @dir: lower directory .intermezzo/FILESET
 * @fc: context to complain in
 *
 * Context: s_umount held; the cache is read-write; no freeze protection held.
 * Return: 0 with the superblock's log set, or without one if there is none yet and no room for it;
 * or a negative errno.
 */
int izo_log_open(struct super_block *sb, struct dentry *dir, struct fs_context *fc)
{
	struct izo_log *log = izo_log_alloc(sb, dir);
	int err;

	if (!log)
		return -ENOMEM;
	err = izo_log_make_or_load(log, fc);
	if (!err)
		err = izo_lml_recover(log);
	if (err == -ENOSPC && !log->control.inode)
		err = izo_log_without(log, fc);
	else if (err && err != -EINVAL)
		errorfc(fc, "cannot make or read the log of changes (error %d)", err);
	if (err) {
		izo_log_close(log);
		return err < 0 ? err : 0;
	}
	/* pairs with the readers of sb->log, who hold no lock of the mount */
	smp_store_release(&izo_sb(sb)->log, log);
	queue_delayed_work(system_unbound_wq, &log->grow_work, 0);
	return 0;
}

static void izo_segs_free(struct izo_log *log, struct list_head *list)
{
	struct izo_seg *seg, *next;

	list_for_each_entry_safe(seg, next, list, link) {
		izo_area_put(log, &seg->area);
		kfree(seg);
	}
}

/**
 * izo_log_close - let go of the log's files
 * @log: the log, which nobody uses any more, or NULL
 */
void izo_log_close(struct izo_log *log)
{
	if (!log)
		return;
	set_bit(IZO_LOG_STOPPED, &log->state);
	cancel_delayed_work_sync(&log->grow_work);
	cancel_delayed_work_sync(&log->lml_work);
	if (log->journal)
		wake_up_all(&log->journal->j_wait_done_commit);
	cancel_work_sync(&log->tell_work);
	izo_segs_free(log, &log->used);
	izo_segs_free(log, &log->spare);
	izo_area_put(log, &log->control);
	izo_area_put(log, &log->lml);
	izo_area_put(log, &log->rcvd);
	izo_area_put(log, &log->table);
	if (log->base)
		__fput_sync(log->base);
	izo_recent_exit(log);
	kvfree(log->peers);
	bitmap_free(log->slots);
	bitmap_free(log->stale);
	dput(log->dir);
	kfree(log);
}
