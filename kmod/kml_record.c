// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the log as bytes: putting one together, sealing it for its place, and judging bytes
 * that claim to be one. Nothing here knows of inodes or of the cache; docs/kml-format.md has the
 * rules, and the corpus of the user half tests this file too.
 */

#include <linux/crc32.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include "kml_record.h"

/* Pieces of a record that its length does not name. */
#define IZO_HEAD sizeof(struct izo_kml_head)
#define IZO_TAIL sizeof(struct izo_kml_tail)

/*
 * CRC-32C as RFC 3720 has it, of bytes that follow those with the checksum @crc (0: of none). The
 * kernel's function leaves both inversions to the caller.
 */
u32 izo_crc_add(u32 crc, const void *data, size_t len)
{
	return ~__crc32c_le(~crc, data, len);
}

/* The checksum of a structure over itself with its own field, at @field, 0. */
static u32 izo_crc_without(const void *data, size_t len, size_t field)
{
	static const __le32 zero;
	u32 crc = izo_crc_add(0, data, field);

	crc = izo_crc_add(crc, &zero, sizeof(zero));
	return izo_crc_add(crc, data + field + sizeof(zero), len - field - sizeof(zero));
}

/* Set a structure's checksum, which is at @crc within it. */
void izo_crc_seal(const void *data, size_t len, __le32 *crc)
{
	*crc = cpu_to_le32(izo_crc_without(data, len, (const void *)crc - data));
}

/* Does a structure's checksum, which is at @crc within it, match? */
bool izo_crc_matches(const void *data, size_t len, const __le32 *crc)
{
	return le32_to_cpu(*crc) == izo_crc_without(data, len, (const void *)crc - data);
}

/**
 * izo_record_start - begin a record
 * @r: to fill
 * @buf: where it is put together; must outlive @r
 * @size: bytes there, at least IZO_RECORD_SPARE
 */
void izo_record_start(struct izo_record *r, void *buf, size_t size)
{
	r->head = buf;
	r->len = IZO_HEAD;
	/* what sealing adds: padding and the tail */
	r->limit = size - IZO_KML_FILLER_MIN - IZO_TAIL;
	r->err = 0;
	memset(r->head, 0, IZO_HEAD);
}

/**
 * izo_record_item - add an item
 * @r: the record
 * @type: IZO_ITEM_*
 * @len: bytes of its contents
 *
 * Return: @len zero bytes to fill, or NULL without room, with @r->err set.
 */
void *izo_record_item(struct izo_record *r, u16 type, size_t len)
{
	size_t room = sizeof(struct izo_kml_item) + ALIGN(len, 8);
	struct izo_kml_item *item = (void *)r->head + r->len;

	if (r->len + room > r->limit) {
		r->err = -EOVERFLOW;
		return NULL;
	}
	memset(item, 0, room);
	item->type = cpu_to_le16(type);
	item->len = cpu_to_le32(len);
	r->len += room;
	return item + 1;
}

/**
 * izo_record_seal - finish a record for its place in the log
 * @r: the record; its head is complete but for what is given here
 * @offset: where it will stand
 * @epoch: of the log
 * @recno: its number
 * @block_size: of the cache
 *
 * So that a filler fits into what is left of the last block, the record ends a little before that
 * block's end or exactly there.
 *
 * Return: its length in bytes.
 */
size_t izo_record_seal(struct izo_record *r, u64 offset, u64 epoch, u64 recno,
		       unsigned int block_size)
{
	size_t len = r->len + IZO_TAIL;
	size_t room = -(offset + len) & (block_size - 1);
	struct izo_kml_head *h = r->head;
	struct izo_kml_tail *tail;

	if (room && room < IZO_KML_FILLER_MIN) {
		struct izo_kml_item *pad = (void *)h + r->len;

		memset(pad, 0, room);
		pad->type = cpu_to_le16(IZO_ITEM_PAD);
		pad->len = cpu_to_le32(room - sizeof(*pad));
		r->len += room;
		len += room;
	}
	tail = (void *)h + r->len;
	tail->len = cpu_to_le32(len);
	tail->magic = cpu_to_le32(IZO_KML_TAIL_MAGIC);
	h->magic = cpu_to_le32(IZO_KML_MAGIC);
	h->len = tail->len;
	h->offset = cpu_to_le64(offset);
	h->epoch = cpu_to_le64(epoch);
	h->recno = cpu_to_le64(recno);
	h->crc = 0;
	h->crc = cpu_to_le32(izo_crc_add(0, h, len));
	return len;
}

/**
 * izo_filler_head - the first bytes of a filler
 * @h: to fill; the first IZO_KML_FILLER_HEAD bytes of it are used
 * @offset: where it will stand
 * @epoch: of the log
 * @len: its length in bytes, at least IZO_KML_FILLER_MIN
 */
void izo_filler_head(struct izo_kml_head *h, u64 offset, u64 epoch, u32 len)
{
	memset(h, 0, IZO_KML_FILLER_HEAD);
	h->magic = cpu_to_le32(IZO_KML_MAGIC);
	h->len = cpu_to_le32(len);
	h->op = cpu_to_le16(IZO_KML_FILLER);
	h->offset = cpu_to_le64(offset);
	h->epoch = cpu_to_le64(epoch);
	h->crc = cpu_to_le32(izo_crc_add(0, h, IZO_KML_FILLER_HEAD));
}

/**
 * izo_record_find - an item of a record that was judged
 * @head: the record
 * @type: IZO_ITEM_*
 * @after: an item of the record behind which to look, or NULL
 * @len: result: bytes of its contents
 *
 * Return: its contents, or NULL.
 */
const void *izo_record_find(const struct izo_kml_head *head, u16 type, const void *after,
			    size_t *len)
{
	const void *at = (const void *)head + IZO_HEAD;
	const void *end = (const void *)head + le32_to_cpu(head->len) - IZO_TAIL;

	while (at < end) {
		const struct izo_kml_item *item = at;
		const void *data = item + 1;

		*len = le32_to_cpu(item->len);
		if (le16_to_cpu(item->type) == type && data > after)
			return data;
		at = data + ALIGN(*len, 8);
	}
	return NULL;
}

static bool izo_time_ok(__le32 nsec)
{
	return le32_to_cpu(nsec) < 1000000000;
}

static bool izo_fid_ok(const struct izo_fid *fid)
{
	u64 ino = le64_to_cpu(fid->ino);

	if (fid->zero)
		return false;
	if (!fid->replica)	/* the root, or no object */
		return ino == IZO_FID_ROOT_INO && !fid->generation;
	return ino;
}

static bool izo_place_ok(const struct izo_kml_place *p, size_t len)
{
	size_t name_len = len - sizeof(*p);

	if (len <= sizeof(*p) || name_len > 255 || p->zero || !izo_time_ok(p->mtime_nsec) ||
	    !izo_fid_ok(&p->dir))
		return false;
	if (memchr(p->name, '/', name_len) || memchr(p->name, 0, name_len))
		return false;
	return p->name[0] != '.' || (name_len != 1 && (name_len != 2 || p->name[1] != '.'));
}

static bool izo_attr_ok(const struct izo_kml_attr *a)
{
	u32 valid = le32_to_cpu(a->valid);

	if (!valid || valid & ~IZO_ATTR_ALL || a->zero)
		return false;
	if (!izo_time_ok(a->mtime_nsec) || !izo_time_ok(a->ctime_nsec) ||
	    !izo_time_ok(a->atime_nsec))
		return false;
	return (valid & IZO_ATTR_MODE || !a->mode) && (valid & IZO_ATTR_UID || !a->uid) &&
	       (valid & IZO_ATTR_GID || !a->gid) && (valid & IZO_ATTR_SIZE || !a->size) &&
	       (valid & IZO_ATTR_MTIME || (!a->mtime && !a->mtime_nsec)) &&
	       (valid & IZO_ATTR_CTIME || (!a->ctime && !a->ctime_nsec)) &&
	       (valid & IZO_ATTR_ATIME || (!a->atime && !a->atime_nsec)) &&
	       (valid & IZO_ATTR_RDEV || !a->rdev) && (valid & IZO_ATTR_FSFLAGS || !a->fsflags) &&
	       (valid & IZO_ATTR_PROJID || !a->projid) && le64_to_cpu(a->size) <= S64_MAX;
}

static bool izo_xattr_ok(const struct izo_kml_xattr *x, size_t len)
{
	u32 name_len, value_len;

	if (len < sizeof(*x))
		return false;
	name_len = le32_to_cpu(x->name_len);
	value_len = le32_to_cpu(x->value_len);
	return name_len && name_len <= 255 && value_len <= IZO_KML_RECORD_MAX &&
	       sizeof(*x) + name_len + value_len == len && !memchr(x->data, 0, name_len);
}

static bool izo_ranges_ok(const struct izo_kml_range *range, size_t len)
{
	size_t count = len / sizeof(*range);
	u64 last = 0;

	if (!count || count > IZO_KML_RANGES_MAX || len % sizeof(*range))
		return false;
	for (size_t i = 0; i < count; i++) {
		u64 start = le64_to_cpu(range[i].start), end = le64_to_cpu(range[i].end);

		if (start >= end || (i && start <= last) || end > S64_MAX)
			return false;
		last = end;
	}
	return true;
}

static bool izo_item_ok(u16 type, const void *data, size_t len)
{
	switch (type) {
	case IZO_ITEM_PAD:
		/* as izo_record_seal() makes it: for more a filler stands there */
		return len % 8 == 0 && sizeof(struct izo_kml_item) + len < IZO_KML_FILLER_MIN &&
		       !memchr_inv(data, 0, len);
	case IZO_ITEM_PLACE:
	case IZO_ITEM_TO:
		return izo_place_ok(data, len);
	case IZO_ITEM_HINT:
		return izo_place_ok(data, len) &&
		       !((const struct izo_kml_place *)data)->mtime &&
		       !((const struct izo_kml_place *)data)->mtime_nsec;
	case IZO_ITEM_ATTR:
		return len == sizeof(struct izo_kml_attr) && izo_attr_ok(data);
	case IZO_ITEM_REPLACED:
		return len == sizeof(struct izo_kml_other) &&
		       izo_fid_ok(&((const struct izo_kml_other *)data)->fid) &&
		       izo_time_ok(((const struct izo_kml_other *)data)->mtime_nsec);
	case IZO_ITEM_WHITEOUT:
		return len == sizeof(struct izo_kml_whiteout) &&
		       izo_fid_ok(&((const struct izo_kml_whiteout *)data)->fid) &&
		       ((const struct izo_kml_whiteout *)data)->fid.replica &&
		       izo_attr_ok(&((const struct izo_kml_whiteout *)data)->attr);
	case IZO_ITEM_TARGET:
		return len && len < 4096 && !memchr(data, 0, len);
	case IZO_ITEM_XATTR:
		return izo_xattr_ok(data, len);
	case IZO_ITEM_GROUPS:
		return len && len % sizeof(__le32) == 0 &&
		       len / sizeof(__le32) <= IZO_KML_GROUPS_MAX;
	case IZO_ITEM_RANGES:
		return izo_ranges_ok(data, len);
	default:
		return false;
	}
}

#define IZO_HAS(item)	BIT(IZO_ITEM_ ## item)
#define IZO_ANY		(IZO_HAS(PAD) | IZO_HAS(GROUPS))

/* The items that an operation's record must have and may have besides, its flags and its type. */
static const struct izo_op_form {
	u16 must, may, flags, type;
} izo_op_forms[] = {
	[IZO_KML_CREATE] = { IZO_HAS(PLACE) | IZO_HAS(ATTR), IZO_HAS(XATTR),
			     IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT, 0100000 },
	[IZO_KML_MKDIR] = { IZO_HAS(PLACE) | IZO_HAS(ATTR), IZO_HAS(XATTR), IZO_KML_XATTRS_CUT,
			    0040000 },
	[IZO_KML_MKNOD] = { IZO_HAS(PLACE) | IZO_HAS(ATTR), IZO_HAS(XATTR),
			    IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT },
	[IZO_KML_SYMLINK] = { IZO_HAS(PLACE) | IZO_HAS(ATTR) | IZO_HAS(TARGET), IZO_HAS(XATTR),
			      IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT, 0120000 },
	[IZO_KML_LINK] = { IZO_HAS(PLACE), IZO_HAS(ATTR) },
	[IZO_KML_UNLINK] = { IZO_HAS(PLACE), 0 },
	[IZO_KML_RMDIR] = { IZO_HAS(PLACE), 0 },
	[IZO_KML_RENAME] = { IZO_HAS(PLACE) | IZO_HAS(TO),
			     IZO_HAS(ATTR) | IZO_HAS(REPLACED) | IZO_HAS(WHITEOUT) | IZO_HAS(XATTR),
			     IZO_KML_EXCHANGE | IZO_KML_WHITEOUT | IZO_KML_XATTRS_CUT },
	[IZO_KML_SETATTR] = { IZO_HAS(ATTR), IZO_HAS(HINT) },
	[IZO_KML_SETXATTR] = { IZO_HAS(XATTR), IZO_HAS(ATTR) | IZO_HAS(HINT) },
	[IZO_KML_REMOVEXATTR] = { IZO_HAS(XATTR), IZO_HAS(ATTR) | IZO_HAS(HINT) },
	[IZO_KML_CLOSE] = { IZO_HAS(ATTR), IZO_HAS(HINT) | IZO_HAS(RANGES),
			    IZO_KML_WHOLE | IZO_KML_RECOVERED },
};

static bool izo_op_known(u16 op)
{
	return op < ARRAY_SIZE(izo_op_forms) && izo_op_forms[op].must;
}

/* The root is not made by a record, and has no body. */
static bool izo_may_be_of_root(u16 op)
{
	switch (op) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
	case IZO_KML_CLOSE:
		return false;
	default:
		return true;
	}
}

/* Do the items agree with the operation and its flags? */
static bool izo_items_fit(const struct izo_kml_head *h, u32 seen, u32 xattrs)
{
	const struct izo_op_form *form = &izo_op_forms[le16_to_cpu(h->op)];
	u32 flags = le32_to_cpu(h->flags);

	if (!h->object.replica && !izo_may_be_of_root(le16_to_cpu(h->op)))
		return false;
	if ((seen & form->must) != form->must || seen & ~(form->must | form->may | IZO_ANY))
		return false;
	if (flags & ~(form->flags | IZO_KML_GROUPS_CUT))
		return false;
	switch (le16_to_cpu(h->op)) {
	case IZO_KML_SETXATTR:
	case IZO_KML_REMOVEXATTR:
		return xattrs == 1;
	case IZO_KML_RENAME:
		if (flags & IZO_KML_EXCHANGE &&
		    (!(seen & IZO_HAS(REPLACED)) || flags & IZO_KML_WHITEOUT))
			return false;
		if (xattrs && !(flags & IZO_KML_WHITEOUT))
			return false;
		return !(flags & IZO_KML_WHITEOUT) == !(seen & IZO_HAS(WHITEOUT));
	case IZO_KML_CLOSE:
		if (flags & IZO_KML_RECOVERED && !(flags & IZO_KML_WHOLE))
			return false;
		return !(flags & IZO_KML_WHOLE) == !!(seen & IZO_HAS(RANGES));
	default:
		return true;
	}
}

/* ATTR of an object being made has its type; that of a body its size; a SETATTR never one. */
static bool izo_attr_fits(const struct izo_kml_head *h, const struct izo_kml_attr *a)
{
	u16 op = le16_to_cpu(h->op), type = le32_to_cpu(a->mode) & 0170000;
	u32 valid = le32_to_cpu(a->valid);

	switch (op) {
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_SYMLINK:
		return valid & IZO_ATTR_MODE && type == izo_op_forms[op].type;
	case IZO_KML_MKNOD:
		return valid & IZO_ATTR_MODE && (type == 0010000 || type == 0020000 ||
						 type == 0060000 || type == 0140000);
	case IZO_KML_CLOSE:
		return valid & IZO_ATTR_SIZE;
	default:
		return !(valid & IZO_ATTR_SIZE);
	}
}

static bool izo_items_ok(const struct izo_kml_head *h, size_t len)
{
	const void *at = (const void *)h + IZO_HEAD, *end = (const void *)h + len - IZO_TAIL;
	u32 seen = 0, xattrs = 0;

	while (at < end) {
		const struct izo_kml_item *item = at;
		const void *data = item + 1;
		size_t room = end - at;
		u16 type;
		u32 bytes;

		if (room < sizeof(*item) || seen & IZO_HAS(PAD))
			return false;
		type = le16_to_cpu(item->type);
		bytes = le32_to_cpu(item->len);
		if (item->zero || type > IZO_ITEM_RANGES || bytes > room - sizeof(*item))
			return false;
		if (seen & BIT(type) && type != IZO_ITEM_XATTR)
			return false;
		if (!izo_item_ok(type, data, bytes))
			return false;
		if (type == IZO_ITEM_ATTR && !izo_attr_fits(h, data))
			return false;
		if (type == IZO_ITEM_XATTR && le16_to_cpu(h->op) == IZO_KML_REMOVEXATTR &&
		    ((const struct izo_kml_xattr *)data)->value_len)
			return false;
		if (memchr_inv(data + bytes, 0, ALIGN(bytes, 8) - bytes))
			return false;
		seen |= BIT(type);
		xattrs += type == IZO_ITEM_XATTR;
		at = data + ALIGN(bytes, 8);
	}
	return izo_items_fit(h, seen, xattrs);
}

static bool izo_head_ok(const struct izo_kml_head *h)
{
	u32 aspects = IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR | IZO_ASPECT_XATTR |
		      IZO_ASPECT_BODY | IZO_ASPECT_LINK | IZO_ASPECT_TIMES;

	return izo_op_known(le16_to_cpu(h->op)) && !h->zero && h->recno && h->origin_recno &&
	       h->origin && !(le32_to_cpu(h->aspects) & ~aspects) && izo_fid_ok(&h->object);
}

/**
 * izo_record_judge - do these bytes begin with a record?
 * @buf: the bytes
 * @avail: how many there are
 * @len: result: the record's length
 *
 * Nothing behind @avail is read, whatever the bytes say.
 *
 * Return: IZO_JUDGED_RECORD or IZO_JUDGED_FILLER; IZO_JUDGED_MORE if @avail is too little to
 * tell; IZO_JUDGED_BAD if it is neither.
 */
enum izo_judged izo_record_judge(const void *buf, size_t avail, size_t *len)
{
	const struct izo_kml_head *h = buf;
	const struct izo_kml_tail *tail;
	bool filler;
	size_t size;

	if (avail < IZO_KML_FILLER_HEAD)
		return IZO_JUDGED_MORE;
	size = le32_to_cpu(h->len);
	filler = le16_to_cpu(h->op) == IZO_KML_FILLER;
	if (le32_to_cpu(h->magic) != IZO_KML_MAGIC || size % 8 || size > IZO_KML_RECORD_MAX ||
	    size < (filler ? IZO_KML_FILLER_MIN : IZO_KML_RECORD_MIN))
		return IZO_JUDGED_BAD;
	if (avail < size)
		return IZO_JUDGED_MORE;
	tail = buf + size - IZO_TAIL;
	if (tail->len != h->len || le32_to_cpu(tail->magic) != IZO_KML_TAIL_MAGIC)
		return IZO_JUDGED_BAD;
	if (le32_to_cpu(h->crc) !=
	    izo_crc_without(buf, filler ? IZO_KML_FILLER_HEAD : size, offsetof(typeof(*h), crc)))
		return IZO_JUDGED_BAD;
	*len = size;
	if (filler)
		return h->origin ? IZO_JUDGED_BAD : IZO_JUDGED_FILLER;
	return izo_head_ok(h) && izo_items_ok(h, size) ? IZO_JUDGED_RECORD : IZO_JUDGED_BAD;
}
