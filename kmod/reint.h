/* SPDX-License-Identifier: GPL-2.0-only */
/* Reintegration, between its files; reint.c has the story. */
#ifndef IZO_REINT_H
#define IZO_REINT_H

#include <linux/fs.h>
#include <linux/intermezzo_reint.h>

struct fileattr;
struct izo_log;
struct izo_remote;

/**
 * struct izo_batch - operations being applied
 * @sb: upper superblock
 * @log: its log; reint_lock is held
 * @arg: what the caller said
 * @nr: number of the batch
 * @ops: the operations, copied in and judged
 * @results: what became of them
 * @made: upper dentries of the objects that they made, or NULL
 */
struct izo_batch {
	struct super_block *sb;
	struct izo_log *log;
	struct izo_reint arg;
	u64 nr;
	void *ops;
	struct izo_reint_result *results;
	struct dentry **made;
};

/**
 * struct izo_step - one operation being applied
 * @batch: whose
 * @op: the operation
 * @remote: its record
 * @result: what is said of it
 * @made: result: the upper dentry of the object that was made (a whiteout too) or has a new body,
 *	referenced
 */
struct izo_step {
	struct izo_batch *batch;
	const struct izo_reint_op *op;
	struct izo_remote remote;
	struct izo_reint_result *result;
	struct dentry *made;
};

/*
 * Functions that apply something return 0; IZO_REINT_* above 0 if the record does not fit, with
 * nothing done; or a negative errno, with nothing done.
 */

/* reint_find.c */
unsigned int izo_depth(struct dentry *dentry);
int izo_reint_find(struct izo_step *step, const struct izo_ref *ref, struct dentry **found);
int izo_reint_find_dir(struct izo_step *step, const struct izo_ref *ref, struct dentry **found);
int izo_reint_find_object(struct izo_step *step, struct dentry **found);
bool izo_ref_is(const struct izo_step *step, const struct izo_ref *ref, const struct inode *inode);

/* reint_names.c */
int izo_reint_make(struct izo_step *step);
int izo_reint_remove(struct izo_step *step);
int izo_reint_link(struct izo_step *step);
int izo_reint_rename(struct izo_step *step);

/* reint_attr.c */
int izo_reint_setattr(struct izo_step *step);
int izo_reint_setxattr(struct izo_step *step);

/* reint_body.c */
int izo_reint_body(struct izo_step *step);

/* lower_exact.c */
int izo_lower_become(struct izo_step *step, struct inode *inode, const struct inode *like);
int izo_lower_prepare_name(struct izo_log *log, const struct izo_name *n, struct dentry **fresh);
int izo_lower_take_name(struct dentry *new, const struct izo_name *n, struct dentry *fresh);
int izo_lower_replace_name(struct izo_log *log, struct dentry *new, const struct izo_name *n,
			   struct dentry *fresh);
void izo_lower_drop_fid(struct dentry *lower);
int izo_lower_set_fid(struct dentry *lower, const struct izo_fid *fid);
int izo_lower_set_mtime(const struct inode *inode, const struct timespec64 *mtime);
void izo_attr_get(const struct izo_kml_attr *a, umode_t type, struct iattr *attr);
void izo_fileattr_want(const struct izo_kml_attr *a, struct fileattr *fa);

/* reint.c */
void izo_ctx_remote(struct izo_ctx *ctx, struct izo_step *step);
bool izo_reint_changed(struct izo_step *step, const struct izo_recent_key *keys,
		       unsigned int nkeys);
bool izo_reint_is_stored(const struct izo_step *step);
int izo_reint_in_the_way(struct izo_step *step, int code, const struct inode *inode);

#endif /* IZO_REINT_H */
