// SPDX-License-Identifier: GPL-2.0-only
/*
 * From what an operation of a batch names to an upper dentry, connected and looked up.
 *
 * No paths: an object is named by inode number and generation, and found in the upper caches; or by
 * the name that the caller believes it has, which is checked; or, a directory, through the file
 * handles of the cache, from where its names up to the root are looked up in the upper tree. So
 * nothing outside of the tree can be named, and nothing of the kernel's own in it.
 */

#include <linux/exportfs.h>
#include <linux/namei.h>
#include "intermezzo.h"
#include "log.h"
#include "reint.h"

struct izo_handle {
	u64 ino;
	u32 generation;
};

/* An upper inode has the numbers of its lower one. */
static bool izo_handle_is(const struct izo_handle *h, const struct inode *inode)
{
	return inode->i_ino == h->ino && inode->i_generation == h->generation;
}

/* Of an inode that is being evicted too: it has let go of its lower one, and has its numbers. */
static int izo_handle_test(struct inode *inode, void *handle)
{
	return izo_handle_is(handle, inode);
}

/**
 * izo_ref_is - does the reference mean this object?
 * @step: the operation
 * @ref: by handle, result, or the root
 * @inode: upper inode
 */
bool izo_ref_is(const struct izo_step *step, const struct izo_ref *ref, const struct inode *inode)
{
	const struct izo_handle h = { ref->ino, ref->generation };
	const struct dentry *made;

	switch (ref->kind) {
	case IZO_REF_ROOT:
		return inode == d_inode(step->batch->sb->s_root);
	case IZO_REF_HANDLE:
		return izo_handle_is(&h, izo_lower(inode));
	case IZO_REF_RESULT:
		made = step->batch->made[ref->ino];
		return made && d_inode(made) == inode;
	default:
		return false;
	}
}

static bool izo_is_in_tree(struct dentry *dentry)
{
	return IS_ROOT(dentry) || !d_unhashed(dentry);
}

/* A name of an object that somebody has in use or had lately. */
static struct dentry *izo_find_cached(struct super_block *sb, struct izo_handle *h)
{
	struct inode *inode = ilookup5(sb, h->ino, izo_handle_test, h);
	struct dentry *dentry = inode ? d_find_alias(inode) : NULL;

	iput(inode);
	if (dentry && !izo_is_in_tree(dentry)) {
		dput(dentry);
		dentry = NULL;
	}
	return dentry;
}

/* The name in a directory, if it stands for that object. */
static struct dentry *izo_find_named(struct dentry *dir, const struct qstr *name,
				     const struct izo_handle *h)
{
	struct dentry *child;

	if (!d_is_dir(dir))
		return NULL;
	child = lookup_one_len_unlocked(name->name, dir, name->len);
	if (IS_ERR(child))
		return NULL;
	if (d_really_is_positive(child) && izo_handle_is(h, izo_lower(d_inode(child))))
		return child;
	dput(child);
	return NULL;
}

static int izo_any_will_do(void *context, struct dentry *dentry)
{
	return 1;
}

/* The lower dentry of a directory, connected to the root. */
static struct dentry *izo_decode_dir(struct super_block *sb, const struct izo_handle *h)
{
	struct vfsmount *mnt = izo_sb(sb)->lower_mnt;
	struct fid fid = { .i32.ino = h->ino, .i32.gen = h->generation };
	struct dentry *dentry;

	/* what is kept by larger numbers has handles of other forms, and is found by its names */
	if (h->ino > U32_MAX || !mnt->mnt_sb->s_export_op)
		return NULL;
	dentry = exportfs_decode_fh_raw(mnt, &fid, 2, FILEID_INO32_GEN, EXPORT_FH_DIR_ONLY,
					izo_any_will_do, NULL);
	if (IS_ERR_OR_NULL(dentry))
		return NULL;
	if (d_is_dir(dentry) && izo_handle_is(h, d_inode(dentry)))
		return dentry;
	dput(dentry);
	return NULL;
}

/* One step down the upper tree, to where the lower dentry stands. */
static struct dentry *izo_step_down(struct dentry *dir, struct dentry *lower)
{
	const struct izo_handle h = { d_inode(lower)->i_ino, d_inode(lower)->i_generation };
	struct name_snapshot name;
	struct dentry *child;

	take_dentry_name_snapshot(&name, lower);
	child = izo_find_named(dir, &name.name, &h);
	release_dentry_name_snapshot(&name);
	return child;
}

/**
 * izo_depth - how many directories lie above a dentry
 * @dentry: upper or lower
 *
 * Only s_vfs_rename_mutex keeps it so.
 */
unsigned int izo_depth(struct dentry *dentry)
{
	struct dentry *parent;
	unsigned int depth = 0;

	for (dget(dentry); !IS_ROOT(dentry); dentry = parent, depth++) {
		parent = dget_parent(dentry);
		dput(dentry);
	}
	dput(dentry);
	return depth;
}

/*
 * The upper dentry of a lower directory, by its names from the root down. A name that somebody
 * changes meanwhile, or that then lies deeper, is not found: the caller asks again.
 */
static struct dentry *izo_find_from_root(struct super_block *sb, struct dentry *lower)
{
	unsigned int count = izo_depth(lower), depth = 0;
	struct dentry **chain, *found, *next;

	/* users make trees of any depth */
	chain = kvmalloc_array(count, sizeof(*chain), GFP_KERNEL_ACCOUNT);
	if (!chain)
		return NULL;
	for (next = dget(lower); !IS_ROOT(next) && depth < count; depth++) {
		chain[depth] = next;
		next = dget_parent(next);
	}
	found = next == izo_sb(sb)->lower_mnt->mnt_root ? dget(sb->s_root) : NULL;
	dput(next);
	while (depth--) {
		if (found) {
			next = izo_step_down(found, chain[depth]);
			dput(found);
			found = next;
		}
		dput(chain[depth]);
	}
	kvfree(chain);
	return found;
}

static struct dentry *izo_find_decoded(struct super_block *sb, const struct izo_handle *h)
{
	struct dentry *lower = izo_decode_dir(sb, h), *found;

	if (!lower)
		return NULL;
	found = izo_find_from_root(sb, lower);
	dput(lower);
	return found;
}

/* A directory that a hint names: without a hint of its own. */
static struct dentry *izo_find_parent(struct super_block *sb, const struct izo_ref *ref)
{
	struct izo_handle h = { ref->parent_ino, ref->parent_generation };
	struct dentry *found;

	if (!h.ino)
		return dget(sb->s_root);
	found = izo_find_cached(sb, &h);
	return found ? found : izo_find_decoded(sb, &h);
}

static struct dentry *izo_find_handle(struct izo_step *step, const struct izo_ref *ref)
{
	struct super_block *sb = step->batch->sb;
	struct izo_handle h = { ref->ino, ref->generation };
	const struct qstr name = QSTR_INIT((const char *)step->op + ref->name, ref->name_len);
	struct dentry *found = izo_find_cached(sb, &h), *parent;

	if (found)
		return found;
	if (name.len) {
		parent = izo_find_parent(sb, ref);
		found = parent ? izo_find_named(parent, &name, &h) : NULL;
		dput(parent);
	}
	return found ? found : izo_find_decoded(sb, &h);
}

/**
 * izo_reint_find - the object that an operation names
 * @step: the operation, judged
 * @ref: in it
 * @found: result: a referenced upper dentry
 *
 * Context: nothing is locked.
 * Return: 0; IZO_REINT_NEED_NAME; IZO_REINT_CLASS for what is not shared.
 */
int izo_reint_find(struct izo_step *step, const struct izo_ref *ref, struct dentry **found)
{
	struct super_block *sb = step->batch->sb;
	struct dentry *dentry = NULL;

	if (ref->kind == IZO_REF_ROOT)
		dentry = dget(sb->s_root);
	else if (ref->kind == IZO_REF_RESULT)
		dentry = dget(step->batch->made[ref->ino]);
	else if (ref->kind == IZO_REF_HANDLE)
		dentry = izo_find_handle(step, ref);
	if (!dentry)
		return IZO_REINT_NEED_NAME;
	if (!izo_class_is_shared(sb, izo_i(d_inode(dentry))->class)) {
		dput(dentry);
		return IZO_REINT_CLASS;
	}
	*found = dentry;
	return 0;
}

/**
 * izo_reint_find_dir - the same for what must be a directory
 * @step: the operation, judged
 * @ref: in it
 * @found: result: a referenced upper dentry
 *
 * Return: as izo_reint_find(); IZO_REINT_TYPE.
 */
int izo_reint_find_dir(struct izo_step *step, const struct izo_ref *ref, struct dentry **found)
{
	int code = izo_reint_find(step, ref, found);

	if (!code && !d_is_dir(*found)) {
		dput(*found);
		return IZO_REINT_TYPE;
	}
	return code;
}

/**
 * izo_reint_find_object - what a record is about, by the name that the record gives if it still
 *	has it
 * @step: the operation, judged
 * @found: result: a referenced upper dentry
 *
 * Of several names of a file the one that the peer used, so that those who watch its directory are
 * told.
 *
 * Return: as izo_reint_find().
 */
int izo_reint_find_object(struct izo_step *step, struct dentry **found)
{
	const struct izo_ref *ref = &step->op->object;
	const struct izo_handle h = { ref->ino, ref->generation };
	const struct izo_kml_place *hint = step->remote.place;
	struct dentry *dir, *child = NULL;
	size_t len;

	if (!hint || ref->kind != IZO_REF_HANDLE || step->op->dir.kind == IZO_REF_NONE)
		return izo_reint_find(step, ref, found);
	if (!izo_reint_find_dir(step, &step->op->dir, &dir)) {
		izo_record_find(step->remote.head, IZO_ITEM_HINT, NULL, &len);
		child = izo_find_named(dir, &(struct qstr)QSTR_INIT(hint->name,
								    len - sizeof(*hint)), &h);
		dput(dir);
	}
	if (!child)
		return izo_reint_find(step, ref, found);
	if (!izo_class_is_shared(step->batch->sb, izo_i(d_inode(child))->class)) {
		dput(child);
		return IZO_REINT_CLASS;
	}
	*found = child;
	return 0;
}
