// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names made, removed, linked and renamed as a peer's record says.
 *
 * Locks, checks and notifications are those of vfs_create() and its kin, in their order; what asks
 * for a permission is left out, and what would wait (a lease) does not. A check that fails is an
 * answer, not an error. Mounts stay where they are, in whatever namespace they are.
 */

#include <linux/dcache.h>
#include <linux/filelock.h>
#include <linux/fsnotify.h>
#include <linux/namei.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

/* A name in a directory that is locked. */
struct izo_spot {
	struct dentry *dir;
	struct dentry *dentry;
};

static int izo_lookup_item(struct dentry *dir, const struct izo_remote *m, u16 type,
			   struct dentry **found)
{
	const struct izo_kml_place *place;
	struct dentry *dentry;
	size_t len;

	if (IS_DEADDIR(d_inode(dir)))
		return IZO_REINT_MISSING;
	place = izo_record_find(m->head, type, NULL, &len);
	dentry = lookup_one_len((const char *)place->name, dir, len - sizeof(*place));
	/* another tree of the cache has that name (btrfs) */
	if (dentry == ERR_PTR(-EXDEV))
		return IZO_REINT_CLASS;
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	*found = dentry;
	return 0;
}

/* Lock the directory of the record's PLACE and look its name up. izo_spot_leave() undoes it. */
static int izo_spot_enter(struct izo_step *step, struct izo_spot *s)
{
	int err = izo_reint_find_dir(step, &step->op->dir, &s->dir);

	if (err)
		return err;
	inode_lock_nested(d_inode(s->dir), I_MUTEX_PARENT);
	err = izo_lookup_item(s->dir, &step->remote, IZO_ITEM_PLACE, &s->dentry);
	if (!err)
		return 0;
	inode_unlock(d_inode(s->dir));
	dput(s->dir);
	return err;
}

static void izo_spot_leave(struct izo_spot *s)
{
	inode_unlock(d_inode(s->dir));
	dput(s->dentry);
	dput(s->dir);
}

/* The rules of may_create(), and that the name is shared. */
static int izo_may_make(struct izo_step *step, struct izo_spot *s)
{
	const struct izo_place *below;
	enum izo_class class;

	izo_class_of(d_inode(s->dir), &s->dentry->d_name, &class, &below);
	if (!izo_class_is_shared(step->batch->sb, class))
		return IZO_REINT_CLASS;
	if (d_really_is_positive(s->dentry))
		return izo_reint_in_the_way(step, IZO_REINT_EXISTS, d_inode(s->dentry));
	return IS_IMMUTABLE(d_inode(s->dir)) ? IZO_REINT_REFUSED : 0;
}

/* The rules of may_delete(): is it that object, and may it go? */
static int izo_may_take(struct izo_step *step, struct izo_spot *s, const struct izo_ref *ref)
{
	const struct inode *dir = d_inode(s->dir), *victim = d_inode(s->dentry);
	const struct izo_place *below;
	enum izo_class class;

	if (d_really_is_negative(s->dentry))
		return IZO_REINT_MISSING;
	izo_class_of(dir, &s->dentry->d_name, &class, &below);
	if (!izo_class_is_shared(step->batch->sb, class))
		return IZO_REINT_CLASS;
	if (!izo_ref_is(step, ref, victim))
		return izo_reint_in_the_way(step, IZO_REINT_OTHER, victim);
	/* swapon(2) marks the inode that has the pages */
	if (IS_APPEND(dir) || IS_IMMUTABLE(dir) || IS_APPEND(victim) || IS_IMMUTABLE(victim) ||
	    IS_SWAPFILE(izo_lower(victim)))
		return IZO_REINT_REFUSED;
	return 0;
}

static int izo_new_from_record(struct izo_step *step, struct izo_new *new)
{
	const struct izo_remote *m = &step->remote;
	u64 rdev = le64_to_cpu(m->attr->rdev);
	const void *target;
	size_t len;

	*new = (struct izo_new){
		.mode = le32_to_cpu(m->attr->mode),
		.rdev = MKDEV(rdev >> 32, (u32)rdev),
		.excl = true,
	};
	if (!S_ISLNK(new->mode))
		return 0;
	target = izo_record_find(m->head, IZO_ITEM_TARGET, NULL, &len);
	new->target = kmemdup_nul(target, len, GFP_KERNEL);
	return new->target ? 0 : -ENOMEM;
}

/* It was made, with its position, and there was no memory for its upper inode: others find it. */
static int izo_made_unseen(struct izo_step *step)
{
	step->remote.inexact = -ENOMEM;
	step->result->ino = step->remote.ino;
	step->result->generation = step->remote.generation;
	return 0;
}

static int izo_make_there(struct izo_step *step, struct izo_spot *s, const struct izo_new *new)
{
	struct inode *dir = d_inode(s->dir);
	const struct izo_recent_key keys[] = {
		{ .dir = dir, .name = &s->dentry->d_name },
		{ .inode = dir, .aspects = IZO_ASPECT_EXISTENCE },
	};
	struct izo_ctx ctx;
	size_t len;
	int err = izo_may_make(step, s);

	if (err)
		return err;
	if (izo_reint_changed(step, keys, ARRAY_SIZE(keys)))
		return IZO_REINT_CHANGED;
	if (S_ISDIR(new->mode) && dir->i_sb->s_max_links &&
	    dir->i_nlink >= dir->i_sb->s_max_links)
		return IZO_REINT_REFUSED;
	izo_ctx_remote(&ctx, step);
	err = izo_do_make(&ctx, dir, s->dentry, new);
	/*
	 * A device that the caller may not make; a target longer than this cache can hold; more
	 * attributes than fit into a transaction.
	 */
	if (err == -EPERM || (err == -ENAMETOOLONG && S_ISLNK(new->mode)) ||
	    (err == -EMLINK && izo_record_find(step->remote.head, IZO_ITEM_XATTR, NULL, &len)))
		return IZO_REINT_REFUSED;
	if (err)
		return err == -ENOMEM && izo_reint_is_stored(step) ? izo_made_unseen(step) : err;
	izo_fid_set(d_inode(s->dentry), &step->remote.head->object);
	if (S_ISDIR(new->mode))
		fsnotify_mkdir(dir, s->dentry);
	else
		fsnotify_create(dir, s->dentry);
	step->made = dget(s->dentry);
	return 0;
}

/**
 * izo_reint_make - CREATE, MKDIR, MKNOD, SYMLINK
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_make(struct izo_step *step)
{
	struct izo_new new;
	struct izo_spot s;
	int err = izo_new_from_record(step, &new);

	if (err)
		return err;
	err = izo_spot_enter(step, &s);
	if (!err) {
		err = izo_make_there(step, &s, &new);
		izo_spot_leave(&s);
	}
	kfree(new.target);
	return err;
}

/* Would somebody who writes the file be left with it alone? The name is its last one. */
static bool izo_is_writers_last(const struct inode *inode)
{
	return S_ISREG(inode->i_mode) && inode->i_nlink == 1 && izo_is_being_written(inode);
}

/* What vfs_unlink() and vfs_rmdir() do with the victim locked. */
static int izo_remove_locked(struct izo_step *step, struct izo_spot *s, struct inode *victim)
{
	const struct izo_recent_key keys[] = {
		{ .inode = victim, .aspects = ~IZO_ASPECT_TIMES },
		{ .dir = d_inode(s->dir), .name = &s->dentry->d_name },
	};
	/* before it is asked for changes: who mapped it and goes needs no lock for one */
	bool busy = izo_is_writers_last(victim);
	struct izo_ctx ctx;
	int err;

	if (d_mountpoint(s->dentry))
		return IZO_REINT_MOUNTED;
	if (izo_is_changing(victim) || izo_reint_changed(step, keys, ARRAY_SIZE(keys)))
		return IZO_REINT_CHANGED;
	if (busy)
		return IZO_REINT_BUSY;
	err = S_ISDIR(victim->i_mode) ? 0 : try_break_deleg(victim, NULL);
	if (err)
		return err;
	izo_ctx_remote(&ctx, step);
	err = izo_do_remove(&ctx, d_inode(s->dir), s->dentry);
	if (err)
		return err == -ENOTEMPTY ? IZO_REINT_NOT_EMPTY : err;
	if (S_ISDIR(victim->i_mode)) {
		shrink_dcache_parent(s->dentry);
		inode_set_flags(victim, S_DEAD, S_DEAD);
	}
	dont_mount(s->dentry);
	return 0;
}

static int izo_remove_there(struct izo_step *step, struct izo_spot *s)
{
	bool is_dir = le16_to_cpu(step->remote.head->op) == IZO_KML_RMDIR;
	struct inode *victim;
	int err = izo_may_take(step, s, &step->op->object);

	if (err)
		return err;
	if (d_is_dir(s->dentry) != is_dir)
		return IZO_REINT_TYPE;
	victim = igrab(d_inode(s->dentry));
	inode_lock(victim);
	err = izo_remove_locked(step, s, victim);
	inode_unlock(victim);
	if (!err) {
		if (!is_dir)
			fsnotify_link_count(victim);
		d_delete_notify(d_inode(s->dir), s->dentry);
	}
	iput(victim);
	return err;
}

/**
 * izo_reint_remove - UNLINK, RMDIR
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_remove(struct izo_step *step)
{
	struct izo_spot s;
	int err = izo_spot_enter(step, &s);

	if (err)
		return err;
	err = izo_remove_there(step, &s);
	izo_spot_leave(&s);
	return err;
}

static int izo_link_there(struct izo_step *step, struct izo_spot *s, struct inode *inode)
{
	struct inode *dir = d_inode(s->dir);
	const struct izo_recent_key keys[] = {
		{ .inode = inode, .aspects = IZO_ASPECT_EXISTENCE },
		{ .dir = dir, .name = &s->dentry->d_name },
	};
	struct izo_ctx ctx;
	int err = izo_may_make(step, s);

	if (err)
		return err;
	if (!inode->i_nlink)
		return IZO_REINT_MISSING;
	if (!izo_class_keeps(inode, dir, &s->dentry->d_name))
		return IZO_REINT_CLASS;
	if (IS_APPEND(inode) || IS_IMMUTABLE(inode) ||
	    (dir->i_sb->s_max_links && inode->i_nlink >= dir->i_sb->s_max_links))
		return IZO_REINT_REFUSED;
	if (izo_reint_changed(step, keys, ARRAY_SIZE(keys)))
		return IZO_REINT_CHANGED;
	err = try_break_deleg(inode, NULL);
	if (err)
		return err;
	izo_ctx_remote(&ctx, step);
	err = izo_do_link(&ctx, inode, dir, s->dentry);
	/* of another project */
	if (err == -EXDEV || err == -EMLINK)
		return IZO_REINT_REFUSED;
	if (err)
		return err;
	fsnotify_link(dir, inode, s->dentry);
	return 0;
}

/**
 * izo_reint_link - LINK
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_link(struct izo_step *step)
{
	struct dentry *object;
	struct inode *inode;
	struct izo_spot s;
	int err = izo_reint_find(step, &step->op->object, &object);

	if (err)
		return err;
	inode = d_inode(object);
	err = d_is_dir(object) ? IZO_REINT_TYPE : izo_spot_enter(step, &s);
	if (!err) {
		inode_lock(inode);
		err = izo_link_there(step, &s, inode);
		inode_unlock(inode);
		izo_spot_leave(&s);
	}
	dput(object);
	return err;
}

/* Both names of a rename, in locked directories. */
struct izo_move {
	struct izo_spot from;
	struct izo_spot to;
	struct inode *source;
	struct inode *target;		/* or NULL */
	unsigned int flags;		/* RENAME_* */
	bool across;
};

static bool izo_is_dir(const struct inode *inode)
{
	return inode && S_ISDIR(inode->i_mode);
}

/* As vfs_rename(): subdirectories that get another parent or go, then the rest. */
static void izo_move_lock(struct izo_move *m)
{
	bool lock_target = m->across || !(m->flags & RENAME_EXCHANGE);

	if (izo_is_dir(m->source)) {
		if (m->across)
			inode_lock_nested(m->source, I_MUTEX_CHILD);
		if (m->target && (!izo_is_dir(m->target) || lock_target))
			inode_lock(m->target);
	} else if (izo_is_dir(m->target)) {
		if (lock_target)
			inode_lock_nested(m->target, I_MUTEX_CHILD);
		inode_lock(m->source);
	} else {
		lock_two_nondirectories(m->source, m->target);
	}
}

static void izo_move_unlock(struct izo_move *m)
{
	if (!izo_is_dir(m->source) || m->across)
		inode_unlock(m->source);
	if (m->target && (!izo_is_dir(m->target) || m->across || !(m->flags & RENAME_EXCHANGE)))
		inode_unlock(m->target);
}

/* d_exchange() is not exported; @spare is a dentry of the old name. */
static void izo_move_dentries(struct izo_move *m, struct dentry *spare)
{
	if (spare) {
		d_move(m->from.dentry, m->to.dentry);
		d_move(m->to.dentry, spare);
		return;
	}
	if (m->target) {
		if (izo_is_dir(m->target)) {
			shrink_dcache_parent(m->to.dentry);
			inode_set_flags(m->target, S_DEAD, S_DEAD);
		}
		dont_mount(m->to.dentry);
	}
	d_move(m->from.dentry, m->to.dentry);
}

static int izo_break_delegs(struct izo_move *m)
{
	int err = izo_is_dir(m->source) ? 0 : try_break_deleg(m->source, NULL);

	if (!err && m->target && !izo_is_dir(m->target))
		err = try_break_deleg(m->target, NULL);
	return err;
}

static int izo_move_changed(struct izo_step *step, struct izo_move *m)
{
	bool replaces = m->target && !(m->flags & RENAME_EXCHANGE);
	const struct izo_recent_key keys[] = {
		{ .inode = m->source, .aspects = IZO_ASPECT_EXISTENCE | IZO_ASPECT_LINK },
		{ .inode = m->target, .aspects = replaces ? ~IZO_ASPECT_TIMES : IZO_ASPECT_LINK },
		{ .dir = d_inode(m->from.dir), .name = &m->from.dentry->d_name },
		{ .dir = d_inode(m->to.dir), .name = &m->to.dentry->d_name },
	};

	if (replaces && izo_is_changing(m->target))
		return true;
	return izo_reint_changed(step, keys, ARRAY_SIZE(keys));
}

static int izo_move_locked(struct izo_step *step, struct izo_move *m, struct dentry *spare)
{
	/* as in izo_remove_locked() */
	bool busy = m->target && !(m->flags & RENAME_EXCHANGE) && izo_is_writers_last(m->target);
	struct izo_ctx ctx;
	int err;

	if (d_mountpoint(m->from.dentry) || d_mountpoint(m->to.dentry))
		return IZO_REINT_MOUNTED;
	if (!izo_rename_keeps_class(d_inode(m->from.dir), m->from.dentry, d_inode(m->to.dir),
				    m->to.dentry, m->flags))
		return IZO_REINT_CLASS;
	if (izo_move_changed(step, m))
		return IZO_REINT_CHANGED;
	if (busy)
		return IZO_REINT_BUSY;
	err = izo_break_delegs(m);
	if (err)
		return err;
	izo_ctx_remote(&ctx, step);
	err = izo_do_rename(&ctx, d_inode(m->from.dir), m->from.dentry, d_inode(m->to.dir),
			    m->to.dentry, m->flags);
	if (err == -ENOTEMPTY)
		return IZO_REINT_NOT_EMPTY;
	/* of another project */
	if (err == -EXDEV || err == -EMLINK)
		return IZO_REINT_REFUSED;
	if (!err)
		izo_move_dentries(m, spare);
	return err;
}

static int izo_move_there(struct izo_step *step, struct izo_move *m)
{
	struct inode *old_dir = d_inode(m->from.dir), *new_dir = d_inode(m->to.dir);
	bool exchange = m->flags & RENAME_EXCHANGE, is_dir = izo_is_dir(m->source);
	struct name_snapshot old_name;
	struct dentry *spare = NULL;
	int err;

	if (exchange) {
		spare = d_alloc(m->from.dir, &m->from.dentry->d_name);
		if (!spare)
			return -ENOMEM;
	}
	take_dentry_name_snapshot(&old_name, m->from.dentry);
	izo_move_lock(m);
	err = izo_move_locked(step, m, spare);
	izo_move_unlock(m);
	if (!err) {
		fsnotify_move(old_dir, new_dir, &old_name.name, is_dir,
			      exchange ? NULL : m->target, m->from.dentry);
		if (exchange)
			fsnotify_move(new_dir, old_dir, &m->from.dentry->d_name,
				      izo_is_dir(m->target), NULL, m->to.dentry);
	}
	release_dentry_name_snapshot(&old_name);
	dput(spare);
	return err;
}

/* The whiteout that the rename has left: it is an object that the batch has made. */
static void izo_find_whiteout(struct izo_step *step, struct izo_move *m)
{
	struct dentry *left;

	if (izo_lookup_item(m->from.dir, &step->remote, IZO_ITEM_PLACE, &left))
		return;
	if (d_really_is_positive(left))
		step->made = dget(left);
	dput(left);
}

/* May these two trade places, or one take the other's? */
static int izo_may_move(struct izo_step *step, struct izo_move *m, const struct dentry *trap)
{
	const struct izo_ref *replaced = &step->op->replaced;
	int err = izo_may_take(step, &m->from, &step->op->object);

	if (err)
		return err;
	if (m->from.dentry == trap || m->to.dentry == trap)
		return IZO_REINT_ANCESTRY;
	if (replaced->kind == IZO_REF_NONE)
		err = izo_may_make(step, &m->to);
	else
		err = izo_may_take(step, &m->to, replaced);
	if (err)
		return err;
	m->source = d_inode(m->from.dentry);
	m->target = d_inode(m->to.dentry);
	if (m->source == m->target)
		return izo_reint_in_the_way(step, IZO_REINT_EXISTS, m->target);
	if (m->target && !(m->flags & RENAME_EXCHANGE) &&
	    izo_is_dir(m->source) != izo_is_dir(m->target))
		return IZO_REINT_TYPE;
	return 0;
}

static int izo_move_in_dirs(struct izo_step *step, struct izo_move *m, const struct dentry *trap)
{
	int err = izo_lookup_item(m->from.dir, &step->remote, IZO_ITEM_PLACE, &m->from.dentry);

	if (err)
		return err;
	err = izo_lookup_item(m->to.dir, &step->remote, IZO_ITEM_TO, &m->to.dentry);
	if (!err) {
		err = izo_may_move(step, m, trap);
		if (!err)
			err = izo_move_there(step, m);
		if (!err && m->flags & RENAME_WHITEOUT)
			izo_find_whiteout(step, m);
		dput(m->to.dentry);
	}
	dput(m->from.dentry);
	return err;
}

/**
 * izo_reint_rename - RENAME
 * @step: the operation
 *
 * Return: see reint.h.
 */
int izo_reint_rename(struct izo_step *step)
{
	u32 flags = le32_to_cpu(step->remote.head->flags);
	struct izo_move m = {
		.flags = (flags & IZO_KML_EXCHANGE ? RENAME_EXCHANGE : 0) |
			 (flags & IZO_KML_WHITEOUT ? RENAME_WHITEOUT : 0),
	};
	struct dentry *trap;
	int err = izo_reint_find_dir(step, &step->op->dir, &m.from.dir);

	if (err)
		return err;
	err = izo_reint_find_dir(step, &step->op->to, &m.to.dir);
	if (err) {
		dput(m.from.dir);
		return err;
	}
	m.across = m.from.dir != m.to.dir;
	trap = lock_rename(m.to.dir, m.from.dir);
	if (IS_ERR(trap)) {
		err = IZO_REINT_ANCESTRY;
	} else {
		err = izo_move_in_dirs(step, &m, trap);
		unlock_rename(m.to.dir, m.from.dir);
	}
	dput(m.to.dir);
	dput(m.from.dir);
	return err;
}
