// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a change to its record: what an operation was and what it left behind, as the cache has it.
 *
 * izo_log_begin() stands right before the cache is changed, after all locks are taken;
 * izo_log_end() right after. In between one handle is open, so no inode may be locked, no data
 * written out and no inode deleted there.
 */

#include <linux/fs.h>	/* the others need it before them */
#include <linux/delay.h>
#include <linux/fileattr.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/slab.h>
#include <linux/xattr.h>
#include "intermezzo.h"
#include "log.h"

/* Labels that an object is born with: what fits in here is recorded with it, in bytes. */
#define IZO_BIRTH_XATTRS SZ_1K

/* Where somebody has set attributes before the object had a name. */
#define IZO_COMPLETE_XATTRS SZ_8K

#define IZO_BIRTH_MOST (IZO_BIRTH_XATTRS + 2 * IZO_COMPLETE_XATTRS)

#define IZO_PLACE_ROOM IZO_ITEM_ROOM(sizeof(struct izo_kml_place) + NAME_MAX)

static bool izo_makes(u16 op)
{
	return op >= IZO_KML_CREATE && op <= IZO_KML_SYMLINK;
}

/* Supplementary groups of the caller, or of a peer's: an item that was judged, or NULL. */
static const void *izo_remote_groups(const struct izo_change *c, size_t *len)
{
	return izo_record_find(c->remote->head, IZO_ITEM_GROUPS, NULL, len);
}

static size_t izo_groups_room(const struct izo_change *c)
{
	size_t groups = min(current_cred()->group_info->ngroups, IZO_KML_GROUPS_MAX), len;

	if (c->remote)
		return izo_remote_groups(c, &len) ? IZO_ITEM_ROOM(len) : 0;
	return IZO_ITEM_ROOM(groups * sizeof(__le32));
}

/* What an object made in a directory may have from the start: labels, and up to two ACLs. */
static size_t izo_birth_room(const struct inode *dir)
{
	struct posix_acl *acl = get_inode_acl(izo_lower(dir), ACL_TYPE_DEFAULT);
	size_t room = IZO_BIRTH_XATTRS;

	if (!IS_ERR_OR_NULL(acl))
		room += 2 * posix_acl_xattr_size(acl->a_count);
	if (!IS_ERR(acl))
		posix_acl_release(acl);
	return min(room, IZO_BIRTH_MOST);
}

static size_t izo_change_room(const struct izo_change *c)
{
	size_t room = IZO_RECORD_SPARE + IZO_ITEM_ROOM(sizeof(struct izo_kml_attr)) +
		      izo_groups_room(c) + IZO_PLACE_ROOM;

	BUILD_BUG_ON(IZO_RECORD_SPARE + IZO_ITEM_ROOM(sizeof(struct izo_kml_attr)) +
		     IZO_ITEM_ROOM(IZO_KML_GROUPS_MAX * sizeof(__le32)) + 2 * IZO_PLACE_ROOM +
		     IZO_BIRTH_MOST + IZO_ITEM_ROOM(PATH_MAX) +
		     IZO_ITEM_ROOM(sizeof(struct izo_kml_other)) +
		     IZO_ITEM_ROOM(sizeof(struct izo_kml_whiteout)) > IZO_LOG_NAMES_MOST);
	if (izo_makes(c->op)) {
		room += c->flags & IZO_KML_COMPLETE ? IZO_COMPLETE_XATTRS : izo_birth_room(c->dir);
		if (c->op == IZO_KML_SYMLINK)
			room += IZO_ITEM_ROOM(PATH_MAX);
	}
	if (c->flags & IZO_KML_WHITEOUT)
		room += izo_birth_room(c->dir);
	if (c->op == IZO_KML_RENAME)
		room += IZO_PLACE_ROOM + IZO_ITEM_ROOM(sizeof(struct izo_kml_other)) +
			IZO_ITEM_ROOM(sizeof(struct izo_kml_whiteout));
	if (c->xattr)
		room += IZO_ITEM_ROOM(sizeof(struct izo_kml_xattr) + strlen(c->xattr) + c->size);
	/* the peer's file system may have given it more than ours would */
	if (c->remote)
		room += le32_to_cpu(c->remote->head->len);
	if (c->op == IZO_KML_CLOSE)
		room += IZO_ITEM_ROOM(IZO_KML_RANGES_MAX * sizeof(struct izo_kml_range));
	return room;
}

/* A damaged inode of ext4 may have more nanoseconds than there are; a record must not. */
static __le32 izo_nsec(const struct timespec64 *t)
{
	return cpu_to_le32(min(t->tv_nsec, NSEC_PER_SEC - 1));
}

static void izo_put_place(struct izo_log *log, struct izo_record *r, u16 type,
			  const struct inode *dir, const struct qstr *name)
{
	struct izo_kml_place *p = izo_record_item(r, type, sizeof(*p) + name->len);
	struct timespec64 mtime = inode_get_mtime(izo_lower(dir));

	if (!p)
		return;
	izo_fid_put(log, dir, &p->dir);
	p->mtime = cpu_to_le64(mtime.tv_sec);
	p->mtime_nsec = izo_nsec(&mtime);
	memcpy(p->name, name->name, name->len);
}

/* One name of the object, if there is one without asking the cache. */
static void izo_put_hint(struct izo_log *log, struct izo_record *r, struct dentry *dentry)
{
	struct izo_kml_place *p;
	const struct inode *dir;

	if (!dentry)
		return;
	spin_lock(&dentry->d_lock);
	dir = d_inode(dentry->d_parent);
	if (!IS_ROOT(dentry) && !d_unhashed(dentry) && izo_fid_known(log, dir)) {
		p = izo_record_item(r, IZO_ITEM_HINT, sizeof(*p) + dentry->d_name.len);
		if (p) {
			izo_fid_put(log, dir, &p->dir);
			memcpy(p->name, dentry->d_name.name, dentry->d_name.len);
		}
	}
	spin_unlock(&dentry->d_lock);
}

/* Flags and project of a file or directory; @born: only what is not 0. */
static void izo_fill_flags(struct izo_kml_attr *a, struct dentry *lower, bool born)
{
	struct fileattr fa = { };

	if (izo_get_fileattr(lower, &fa))
		return;
	fa.flags &= FS_FL_USER_MODIFIABLE | FS_PROJINHERIT_FL;
	if (fa.flags || !born)
		a->valid |= cpu_to_le32(IZO_ATTR_FSFLAGS);
	if (fa.fsx_projid || !born)
		a->valid |= cpu_to_le32(IZO_ATTR_PROJID);
	a->fsflags = cpu_to_le32(fa.flags);
	a->projid = cpu_to_le32(fa.fsx_projid);
}

static void izo_fill_attr(struct izo_kml_attr *a, const struct inode *lower, u32 valid)
{
	struct timespec64 mtime = inode_get_mtime(lower), ctime = inode_get_ctime(lower);
	struct timespec64 atime = inode_get_atime(lower);

	a->valid = cpu_to_le32(valid);
	if (valid & IZO_ATTR_MODE)
		a->mode = cpu_to_le32(lower->i_mode);
	if (valid & IZO_ATTR_UID)
		a->uid = cpu_to_le32(i_uid_read(lower));
	if (valid & IZO_ATTR_GID)
		a->gid = cpu_to_le32(i_gid_read(lower));
	if (valid & IZO_ATTR_SIZE)
		a->size = cpu_to_le64(i_size_read(lower));
	if (valid & IZO_ATTR_RDEV)
		a->rdev = cpu_to_le64((u64)MAJOR(lower->i_rdev) << 32 | MINOR(lower->i_rdev));
	if (valid & IZO_ATTR_MTIME) {
		a->mtime = cpu_to_le64(mtime.tv_sec);
		a->mtime_nsec = izo_nsec(&mtime);
	}
	if (valid & IZO_ATTR_CTIME) {
		a->ctime = cpu_to_le64(ctime.tv_sec);
		a->ctime_nsec = izo_nsec(&ctime);
	}
	if (valid & IZO_ATTR_ATIME) {
		a->atime = cpu_to_le64(atime.tv_sec);
		a->atime_nsec = izo_nsec(&atime);
	}
}

static struct izo_kml_attr *izo_put_attr(struct izo_record *r, const struct inode *lower,
					 u32 valid)
{
	struct izo_kml_attr *a = izo_record_item(r, IZO_ITEM_ATTR, sizeof(*a));

	if (a)
		izo_fill_attr(a, lower, valid);
	return a;
}

static void izo_put_xattr(struct izo_record *r, const char *name, const void *value, size_t size)
{
	size_t name_len = strlen(name);
	struct izo_kml_xattr *x = izo_record_item(r, IZO_ITEM_XATTR, sizeof(*x) + name_len + size);

	if (!x)
		return;
	x->name_len = cpu_to_le32(name_len);
	x->value_len = cpu_to_le32(size);
	memcpy(x->data, name, name_len);
	if (size)
		memcpy(x->data + name_len, value, size);
}

/* All attributes that an object has from the start, as many as fit. */
static void izo_put_birth_xattrs(struct izo_change *c, struct izo_record *r)
{
	ssize_t bytes = izo_list_xattrs(c->lower, NULL, 0);
	char *list = NULL;
	void *value;

	if (!bytes)
		return;
	/* not every cache has a limit of its own */
	if (bytes > 0 && bytes <= XATTR_LIST_MAX)
		list = kvmalloc(bytes + IZO_COMPLETE_XATTRS, GFP_KERNEL);
	value = list + bytes;
	if (list)
		bytes = izo_list_xattrs(c->lower, list, bytes);
	if (!list || bytes < 0) {
		c->flags |= IZO_KML_XATTRS_CUT;
		kvfree(list);
		return;
	}
	/* the groups come after them */
	r->limit -= izo_groups_room(c);
	for (char *name = list; name < list + bytes; name += strlen(name) + 1) {
		struct izo_record before = *r;
		ssize_t size;

		if (izo_xattr_is_local(c->dir->i_sb, name))
			continue;
		size = izo_get_xattr(c->lower, name, value, IZO_COMPLETE_XATTRS);
		if (size >= 0)
			izo_put_xattr(r, name, value, size);
		if (size < 0 || r->err) {
			*r = before;
			c->flags |= IZO_KML_XATTRS_CUT;
		}
	}
	r->limit += izo_groups_room(c);
	kvfree(list);
}

/* An ACL as the cache has it now: one that says no more than the mode is not kept. */
static void izo_put_acl(struct izo_change *c, struct izo_record *r, struct inode *lower)
{
	struct posix_acl *acl = get_inode_acl(lower, c->acl_type);
	void *value;
	int size;

	if (IS_ERR(acl)) {
		r->err = PTR_ERR(acl);
		return;
	}
	if (!acl) {
		c->op = IZO_KML_REMOVEXATTR;
		izo_put_xattr(r, c->xattr, NULL, 0);
		return;
	}
	value = kmalloc(c->size, GFP_KERNEL);
	size = value ? posix_acl_to_xattr(&init_user_ns, acl, value, c->size) : -ENOMEM;
	if (size < 0)
		r->err = size;
	else
		izo_put_xattr(r, c->xattr, value, size);
	kfree(value);
	posix_acl_release(acl);
}

static void izo_put_groups(struct izo_change *c, struct izo_record *r)
{
	const struct group_info *groups = current_cred()->group_info;
	int count = min(groups->ngroups, IZO_KML_GROUPS_MAX);
	const void *theirs;
	size_t len;
	__le32 *list;

	if (c->remote) {
		theirs = izo_remote_groups(c, &len);
		list = theirs ? izo_record_item(r, IZO_ITEM_GROUPS, len) : NULL;
		if (list)
			memcpy(list, theirs, len);
		c->flags |= le32_to_cpu(c->remote->head->flags) & IZO_KML_GROUPS_CUT;
		return;
	}
	if (!count)
		return;
	if (count < groups->ngroups)
		c->flags |= IZO_KML_GROUPS_CUT;
	list = izo_record_item(r, IZO_ITEM_GROUPS, count * sizeof(*list));
	for (int i = 0; list && i < count; i++)
		list[i] = cpu_to_le32(from_kgid(&init_user_ns, groups->gid[i]));
}

static void izo_put_ranges(struct izo_change *c, struct izo_record *r)
{
	const struct izo_dirty *d = c->dirty;
	struct izo_kml_range *range;
	const void *theirs;
	size_t len;

	if (c->flags & IZO_KML_WHOLE)
		return;
	if (c->remote) {
		theirs = izo_record_find(c->remote->head, IZO_ITEM_RANGES, NULL, &len);
		range = izo_record_item(r, IZO_ITEM_RANGES, len);
		if (range)
			memcpy(range, theirs, len);
		return;
	}
	if (!d || d->whole || !d->nranges) {
		c->flags |= IZO_KML_WHOLE;
		return;
	}
	range = izo_record_item(r, IZO_ITEM_RANGES, d->nranges * sizeof(*range));
	for (unsigned int i = 0; range && i < d->nranges; i++) {
		range[i].start = cpu_to_le64(d->ranges[i].start);
		range[i].end = cpu_to_le64(d->ranges[i].end);
	}
}

static void izo_put_other(struct izo_log *log, struct izo_record *r, const struct inode *inode,
			  bool moved)
{
	struct izo_kml_other *o = izo_record_item(r, IZO_ITEM_REPLACED, sizeof(*o));
	struct timespec64 mtime = inode_get_mtime(izo_lower(inode));

	if (!o)
		return;
	izo_fid_put(log, inode, &o->fid);
	o->nlink = cpu_to_le32(izo_lower(inode)->i_nlink);
	if (!moved)
		return;
	o->mtime = cpu_to_le64(mtime.tv_sec);
	o->mtime_nsec = izo_nsec(&mtime);
}

static void izo_put_rename(struct izo_log *log, struct izo_change *c, struct izo_record *r)
{
	/*
	 * A directory that moves to another parent is itself written, and locked. Within its parent
	 * it is neither: what others do in it meanwhile changes its time, and is their record's.
	 */
	bool moved = c->dir != c->to_dir;

	izo_put_place(log, r, IZO_ITEM_TO, c->to_dir, c->to_name);
	izo_put_attr(r, izo_lower(c->object), IZO_ATTR_CTIME | (moved ? IZO_ATTR_MTIME : 0));
	if (c->replaced)
		izo_put_other(log, r, c->replaced, moved && c->flags & IZO_KML_EXCHANGE);
	if (c->flags & IZO_KML_WHITEOUT) {
		struct inode *left = c->lower ? d_inode(c->lower) : NULL;
		struct izo_kml_whiteout *w = izo_record_item(r, IZO_ITEM_WHITEOUT, sizeof(*w));

		if (w && left) {
			if (c->remote)
				w->fid = c->remote->whiteout->fid;
			else
				izo_fid_put_new(log, left, &w->fid);
			izo_fill_attr(&w->attr, left, IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID |
				      IZO_ATTR_RDEV | IZO_ATTR_MTIME | IZO_ATTR_CTIME);
			/* it inherits the directory's default ACL */
			izo_put_birth_xattrs(c, r);
		}
	}
}

/* An object being made has all that its inode has. */
static void izo_put_made(struct izo_change *c, struct izo_record *r, const struct inode *lower)
{
	struct izo_kml_attr *a;
	u32 valid = IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_MTIME |
		    IZO_ATTR_CTIME | IZO_ATTR_ATIME;

	if (S_ISREG(lower->i_mode) || S_ISLNK(lower->i_mode))
		valid |= IZO_ATTR_SIZE;
	if (S_ISBLK(lower->i_mode) || S_ISCHR(lower->i_mode))
		valid |= IZO_ATTR_RDEV;
	a = izo_put_attr(r, lower, valid);
	/* what could not be set here others may have all the same */
	if (a && c->remote)
		*a = *c->remote->attr;
	else if (a && (S_ISREG(lower->i_mode) || S_ISDIR(lower->i_mode)))
		izo_fill_flags(a, c->lower, true);
	if (c->op == IZO_KML_SYMLINK) {
		size_t len = strlen(c->target);
		void *target = izo_record_item(r, IZO_ITEM_TARGET, len);

		if (target)
			memcpy(target, c->target, len);
	}
	izo_put_birth_xattrs(c, r);
}

static u32 izo_aspects(const struct izo_change *c, const struct inode *lower, u32 valid)
{
	switch (c->op) {
	case IZO_KML_CREATE:
	case IZO_KML_SYMLINK:
		return IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR | IZO_ASPECT_LINK |
		       IZO_ASPECT_TIMES | IZO_ASPECT_BODY;
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
		return IZO_ASPECT_EXISTENCE | IZO_ASPECT_ATTR | IZO_ASPECT_LINK |
		       IZO_ASPECT_TIMES;
	case IZO_KML_UNLINK:
	case IZO_KML_RMDIR:
		return IZO_ASPECT_LINK | (lower->i_nlink ? 0 : IZO_ASPECT_EXISTENCE);
	case IZO_KML_LINK:
	case IZO_KML_RENAME:
		return IZO_ASPECT_LINK;
	case IZO_KML_CLOSE:
		return IZO_ASPECT_BODY | IZO_ASPECT_TIMES;
	case IZO_KML_SETATTR:
		return (valid & (IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_FSFLAGS |
				 IZO_ATTR_PROJID) ? IZO_ASPECT_ATTR : 0) |
		       (valid & (IZO_ATTR_MTIME | IZO_ATTR_ATIME) ? IZO_ASPECT_TIMES : 0);
	default:	/* SETXATTR, REMOVEXATTR */
		return (c->acl_type ? IZO_ASPECT_ATTR : IZO_ASPECT_XATTR);
	}
}

/* The items of an operation, in the order of docs/kml-format.md. */
static void izo_put_items(struct izo_log *log, struct izo_change *c, struct izo_record *r,
			  struct inode *lower, u32 valid)
{
	struct izo_kml_attr *a;

	if (c->dir && c->name)
		izo_put_place(log, r, IZO_ITEM_PLACE, c->dir, c->name);
	switch (c->op) {
	case IZO_KML_RENAME:
		izo_put_rename(log, c, r);
		break;
	case IZO_KML_CREATE:
	case IZO_KML_MKDIR:
	case IZO_KML_MKNOD:
	case IZO_KML_SYMLINK:
		izo_put_made(c, r, lower);
		break;
	case IZO_KML_LINK:
		izo_put_attr(r, lower, IZO_ATTR_CTIME);
		break;
	case IZO_KML_SETXATTR:
	case IZO_KML_REMOVEXATTR:
		if (c->acl_type)
			izo_put_acl(c, r, lower);
		else
			izo_put_xattr(r, c->xattr, c->value, c->size);
		izo_put_attr(r, lower, valid);
		break;
	case IZO_KML_SETATTR:
		a = izo_put_attr(r, lower, valid);
		if (a && c->lower)
			izo_fill_flags(a, c->lower, false);
		break;
	case IZO_KML_CLOSE:
		izo_put_ranges(c, r);
		izo_put_attr(r, lower, IZO_ATTR_SIZE | IZO_ATTR_MTIME | IZO_ATTR_CTIME);
		break;
	}
	izo_put_hint(log, r, c->hint);
	izo_put_groups(c, r);
}

/* What a peer's record says of an object that is made, and that not all of it could be set here. */
static u32 izo_remote_flags(const struct izo_remote *m)
{
	u32 flags = le32_to_cpu(m->head->flags) & (IZO_KML_COMPLETE | IZO_KML_XATTRS_CUT);

	return m->cut ? flags | IZO_KML_XATTRS_CUT : flags;
}

static void izo_encode(struct izo_ctx *ctx, struct izo_record *r)
{
	struct izo_change *c = &ctx->change;
	struct inode *lower = c->object ? izo_lower(c->object) : d_inode(c->lower);
	u32 valid = c->valid | IZO_ATTR_CTIME;

	/* chown(2) takes set-id bits away, an ACL brings its own group bits */
	if (c->valid && lower->i_mode != c->old_mode)
		valid |= IZO_ATTR_MODE;
	if (c->acl_type == ACL_TYPE_ACCESS && lower->i_mode != c->old_mode)
		valid |= IZO_ATTR_MODE;
	if (c->remote)
		c->flags |= izo_remote_flags(c->remote);
	izo_record_start(r, ctx->buf, ctx->size);
	izo_put_items(ctx->log, c, r, lower, valid);

	r->head->op = cpu_to_le16(c->op);
	r->head->flags = cpu_to_le32(c->flags);
	r->head->aspects = cpu_to_le32(izo_aspects(c, lower, valid));
	r->head->nlink = cpu_to_le32(lower->i_nlink);
	r->head->seen = cpu_to_le64(c->dirty ? c->dirty->seen : c->seen);
	r->head->uid = cpu_to_le32(from_kuid(&init_user_ns, current_fsuid()));
	r->head->gid = cpu_to_le32(from_kgid(&init_user_ns, current_fsgid()));
	if (c->remote) {
		r->head->seen = c->remote->head->seen;
		r->head->uid = c->remote->head->uid;
		r->head->gid = c->remote->head->gid;
	}
	if (c->remote)
		r->head->object = c->remote->head->object;
	else if (c->fid)
		r->head->object = *c->fid;
	else if (c->object)
		izo_fid_put(ctx->log, c->object, &r->head->object);
	else
		izo_fid_put_new(ctx->log, lower, &r->head->object);
}

/**
 * izo_find_fids - learn the FIDs of all objects that a change is about
 * @ctx: the change
 *
 * Context: upper inodes are locked, lower ones not; no handle.
 * Return: 0 or a negative errno.
 */
int izo_find_fids(struct izo_ctx *ctx)
{
	/* pairs with izo_log_open() */
	struct izo_log *log = smp_load_acquire(&izo_sb(ctx->sb)->log);
	const struct izo_change *c = &ctx->change;
	struct inode * const inodes[] = { c->object, c->dir, c->to_dir, c->replaced };
	int err = 0;

	for (size_t i = 0; log && i < ARRAY_SIZE(inodes) && !err; i++)
		if (inodes[i] && !izo_fid_known(log, inodes[i]))
			err = izo_fid_find(log, inodes[i]);
	return err;
}

/* With a peer's record its position is stored. */
static unsigned int izo_change_blocks(const struct izo_ctx *ctx)
{
	return izo_log_blocks(ctx->log, ctx->size) +
	       (ctx->change.remote ? izo_rcvd_blocks(ctx->log) : 0);
}

/* Is there to be a record of it in our log? A peer's may only be applied. */
static bool izo_is_logged(const struct izo_ctx *ctx)
{
	return !ctx->change.remote || ctx->change.remote->forward;
}

/*
 * A change of our own that there is no room to record goes on, and the log ends. A peer's waits: it
 * is not lost where it is, and what it would overwrite is known nowhere once the log has ended.
 */
static int izo_reserve_record(struct izo_ctx *ctx)
{
	int err;

	if (!izo_is_logged(ctx)) {
		ctx->size = 0;
		ctx->reserved = 0;
		/* all is locked: a change that ends the log has set it before it was made */
		if (test_bit(IZO_LOG_OVERFLOW, &ctx->log->state))
			return -ENOSPC;
		return izo_log_check(ctx->sb);
	}
	ctx->size = ctx->change.op ? izo_change_room(&ctx->change) : 0;
	err = izo_log_reserve(ctx, ctx->size);
	if (!err && ctx->change.remote && !ctx->reserved)
		err = -ENOSPC;
	return err;
}

/* Objects without a name are nobody else's business; a link may be about to give them one. */
static bool izo_is_recorded(const struct izo_ctx *ctx)
{
	const struct izo_change *c = &ctx->change;

	if (!ctx->shared)
		return false;
	return c->remote || !c->object || c->object->i_nlink || c->flags & IZO_KML_COMPLETE;
}

/**
 * izo_log_begin_in - izo_log_begin() for a log that the mount does not have yet
 * @ctx: the change
 * @log: the log
 *
 * Return: as izo_log_begin().
 */
int izo_log_begin_in(struct izo_ctx *ctx, struct izo_log *log)
{
	int err;

	ctx->log = log;
	ctx->buf = NULL;
	ctx->handle = NULL;
	if (!ctx->change.seen)
		ctx->change.seen = READ_ONCE(log->seen);
	if (ctx->change.dir)
		ctx->change.dir_mtime = inode_get_mtime(izo_lower(ctx->change.dir));
	if (ctx->change.to_dir)
		ctx->change.to_mtime = inode_get_mtime(izo_lower(ctx->change.to_dir));
	if (ctx->change.object) {
		ctx->change.old_uid = izo_lower(ctx->change.object)->i_uid;
		ctx->change.old_gid = izo_lower(ctx->change.object)->i_gid;
	}
	err = izo_reserve_record(ctx);
	if (!err && ctx->size && ctx->reserved) {
		ctx->buf = kvmalloc(ctx->size, GFP_KERNEL);
		if (!ctx->buf)
			err = -ENOMEM;
	}
	if (!err)
		err = log->ops->start(ctx, izo_change_blocks(ctx));
	if (err) {
		izo_log_unreserve(ctx);
		kvfree(ctx->buf);
		ctx->log = NULL;
	}
	return err;
}

/**
 * izo_log_begin - a change of the cache is about to be made: open the handle it is recorded in
 * @ctx: the change; NULL for one of the log's own files
 *
 * Context: all inodes that the change locks are locked; freezing is held off. May sleep.
 * Return: 0, and izo_log_end() must follow; or a negative errno, with nothing to be undone.
 */
int izo_log_begin(struct izo_ctx *ctx)
{
	struct izo_log *log;

	if (!ctx)
		return 0;
	/* pairs with izo_log_open() */
	log = smp_load_acquire(&izo_sb(ctx->sb)->log);
	ctx->log = NULL;
	return log && izo_is_recorded(ctx) ? izo_log_begin_in(ctx, log) : 0;
}

/* ext4 sets flags before a project that it may have no room for, and a mode before its ACL. */
static bool izo_set_in_part(struct izo_change *c)
{
	const struct inode *lower = izo_lower(c->object);
	struct fileattr now = { };

	c->valid = 0;
	if (lower->i_mode != c->old_mode)
		c->valid |= IZO_ATTR_MODE;
	if (!uid_eq(lower->i_uid, c->old_uid))
		c->valid |= IZO_ATTR_UID;
	if (!gid_eq(lower->i_gid, c->old_gid))
		c->valid |= IZO_ATTR_GID;
	if (c->old_flags && !izo_get_fileattr(c->lower, &now) &&
	    (now.flags != c->old_flags->flags || now.fsx_projid != c->old_flags->fsx_projid))
		c->valid |= IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
	return c->valid;
}

/*
 * A change that failed may have been made in part. That, then, is the change: attributes, or a
 * directory that was touched (ext4 takes a whiteout back that it had not put yet). Returns false if
 * nothing happened.
 */
static bool izo_made_in_part(struct izo_change *c)
{
	struct timespec64 mtime;

	if (c->op == IZO_KML_SETATTR)
		return izo_set_in_part(c);
	if (!c->dir)
		return false;
	mtime = inode_get_mtime(izo_lower(c->dir));
	if (timespec64_equal(&mtime, &c->dir_mtime))
		return false;
	*c = (struct izo_change){
		.op = IZO_KML_SETATTR,
		.object = c->dir,
		.valid = IZO_ATTR_MTIME,
		.old_mode = c->dir->i_mode,
	};
	return true;
}

/* For tests only: time for others between what a record says, its place in the log, and the end. */
static void izo_log_linger(void)
{
	if (izo_debug(IZO_DEBUG_LINGER))
		msleep(20);
}

/*
 * For tests only: an operation in one transaction, and in another its record and, of a peer's, the
 * position, as a crash check must notice.
 */
static int izo_log_split(struct izo_ctx *ctx)
{
	int err;

	if (!izo_debug(IZO_DEBUG_SPLIT))
		return 0;
	err = ctx->log->ops->stop(ctx);
	if (!err && ctx->log->journal)
		err = jbd2_journal_force_commit(ctx->log->journal);
	if (!err)
		err = ctx->log->ops->start(ctx, izo_change_blocks(ctx));
	return err ? err : ctx->log->ops->detach(ctx);
}

static int izo_record(struct izo_ctx *ctx)
{
	struct izo_record r;
	int err;

	izo_encode(ctx, &r);
	izo_log_linger();
	err = izo_log_append(ctx, &r);
	izo_log_linger();
	return err;
}

/*
 * A peer's record was applied or not. Attributes that could not be set are no reason to do nothing:
 * what was done is done, and the position moves with it.
 */
static int izo_remote_end(struct izo_ctx *ctx, int err)
{
	struct izo_remote *m = ctx->change.remote;
	int err2;

	if (!err)
		err = izo_remote_finish(ctx);
	err2 = ctx->log->ops->detach(ctx);
	if (err)
		return err;
	if (!err2)
		err2 = izo_log_split(ctx);
	if (!err2 && m->forward)
		err2 = izo_record(ctx);
	if (!err2)
		err2 = izo_rcvd_store(ctx, &m->next);
	m->stored = !err2;
	if (err2)
		izo_log_fail(ctx->log, "a change and the position of its record came apart", err2);
	return err2;
}

/**
 * izo_log_stop - close a handle in which no record was made, only the log's own files were written
 * @ctx: with its log, whose ->start() has opened the handle
 * @err: 0, or the negative errno that this failed with
 *
 * Return: the first error there was, or 0.
 */
int izo_log_stop(struct izo_ctx *ctx, int err)
{
	int err2 = ctx->log->ops->detach(ctx);

	if (!err)
		err = err2;
	err2 = ctx->log->ops->stop(ctx);
	return err ? err : err2;
}

/* A change of our own was made or failed. */
static int izo_local_end(struct izo_ctx *ctx, int err)
{
	int err2 = ctx->log->ops->detach(ctx);

	if (err2 && !err)
		izo_log_fail(ctx->log, "a change and its record came apart", err2);
	else if (!err && !ctx->reserved)
		err2 = izo_log_store_overflow(ctx);
	else if (ctx->reserved && ctx->change.op && (!err || izo_made_in_part(&ctx->change)))
		err2 = izo_log_split(ctx) ?: izo_record(ctx);
	return err ? err : err2;
}

/**
 * izo_log_end - the change was made or failed: record it, close the handle
 * @ctx: as given to izo_log_begin()
 * @err: 0, or the negative errno that the change failed with
 *
 * Return: @err, or another negative errno if the change was made but the journal failed: the
 * fileset is read-only then.
 */
int izo_log_end(struct izo_ctx *ctx, int err)
{
	int err2;

	if (!ctx || !ctx->log)
		return err;
	err = ctx->change.remote ? izo_remote_end(ctx, err) : izo_local_end(ctx, err);
	err2 = ctx->log->ops->stop(ctx);
	if (!err)
		err = err2;
	izo_log_unreserve(ctx);
	kvfree(ctx->buf);
	ctx->log = NULL;
	return err;
}
