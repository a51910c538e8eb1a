/* SPDX-License-Identifier: GPL-2.0-only */
/* Prototypes of the InterMezzo file system, under the name of the file that has them. */
#ifndef IZO_INTERMEZZO_H
#define IZO_INTERMEZZO_H

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/intermezzo.h>
#include <linux/intermezzo_reint.h>
#include <linux/mount.h>
#include "types.h"

#undef pr_fmt
#define pr_fmt(fmt) "intermezzo: " fmt

/*
 * Every lower file: access times are the upper mount's decision (izo_update_time()), and events
 * are the upper file's.
 */
#define IZO_LOWER_OPEN_FLAGS (O_NOATIME | __FMODE_NONOTIFY)

static inline struct izo_sb *izo_sb(const struct super_block *sb)
{
	return sb->s_fs_info;
}

static inline struct super_block *izo_lower_sb(const struct super_block *sb)
{
	return izo_sb(sb)->lower_mnt->mnt_sb;
}

static inline struct izo_inode *izo_i(const struct inode *inode)
{
	return container_of(inode, struct izo_inode, vfs_inode);
}

/* The inode of the cache; pinned by @inode, so no reference is taken. */
static inline struct inode *izo_lower(const struct inode *inode)
{
	return izo_i(inode)->lower;
}

/* The open file of the cache below an open file of ours; owned by @file. */
static inline struct file *izo_lower_file(const struct file *file)
{
	return file->private_data;
}

/* super.c */
int izo_get_tree(struct fs_context *fc);
void izo_kill_sb(struct super_block *sb);

/* params.c */
int izo_init_fs_context(struct fs_context *fc);
int izo_parse_cache_options(struct fs_context *fc, struct fs_context *lower_fc);
bool izo_fc_chooses_part(struct fs_context *fc, const struct izo_cache_type *cache);
struct izo_config *izo_fc_config(struct fs_context *fc);
void izo_config_free(struct izo_config *config);
int izo_config_agree(struct fs_context *fc, const struct izo_config *has,
		     const struct izo_config *asked);
int izo_show_options(struct seq_file *m, struct dentry *root);
int izo_show_devname(struct seq_file *m, struct dentry *root);

/* remount.c */
int izo_reconfigure(struct fs_context *fc);

/* fileset.c */
int izo_fileset_accept_cache(struct super_block *sb, struct fs_context *fc);
int izo_fileset_open(struct super_block *sb, const char *fileset, struct fs_context *fc);
void izo_fileset_settle(struct super_block *sb);
void izo_fileset_end(struct super_block *sb);
void izo_fileset_resume(struct super_block *sb);

/* channel.c */
int izo_channel_settle(struct izo_sb *sbi, int nr, const char *fileset, struct fs_context *fc);
void izo_channel_detach(struct izo_sb *sbi);
struct izo_channel *izo_channel_nr(unsigned int nr);
void izo_channels_init(void);

/* upcall.c */
void izo_upcalls_init(struct izo_channel *channel);
struct izo_notice *izo_notice_alloc(void);
void izo_notice_free(struct izo_notice *notice);
int izo_upcall_attend(struct izo_channel *channel);
void izo_upcall_leave(struct izo_channel *channel);
bool izo_upcall_waits(const struct izo_channel *channel);
ssize_t izo_upcall_read(struct izo_channel *channel, char __user *buf, size_t count);
int izo_upcall_answer(struct izo_channel *channel, u64 id, u32 error);
void izo_upcall_mounted(struct super_block *sb, bool read_only);
void izo_upcall_grew(struct izo_sb *sbi, const struct izo_log_reach *reach);
void izo_upcall_withdraw(struct izo_sb *sbi);
void izo_upcall_gone(struct izo_sb *sbi);

/* psdev.c */
int izo_psdev_init(void);
void izo_psdev_exit(void);

/* sysctl.c */
/* An operation and its record go into two transactions: a crash check must notice. */
#define IZO_DEBUG_SPLIT		1
/* A record cannot be written; with the other one neither can it be said that it is missing. */
#define IZO_DEBUG_REFUSE	2
#define IZO_DEBUG_REFUSE_END	4
/* A record that is made waits before it gets its place in the log, and its maker behind that. */
#define IZO_DEBUG_LINGER	8
bool izo_debug(int what);
int izo_sysctl_init(void);
void izo_sysctl_exit(void);

/* cache.c */
const struct izo_cache_type *izo_cache_type_find(const char *name);
const struct izo_cache_type *izo_cache_type_default(bool needs_device);

/* cache_btrfs.c */
int izo_btrfs_check(const struct vfsmount *mnt, struct fs_context *fc);
struct dentry *izo_btrfs_find(const struct vfsmount *mnt, u64 ino, u32 generation);
bool izo_btrfs_is_foreign(const struct inode *lower);
int izo_btrfs_outlive(struct izo_log *log);

/* class.c */
extern const struct izo_place izo_root_places[];
void izo_class_of(const struct inode *dir, const struct qstr *name, enum izo_class *class,
		  const struct izo_place **below);
bool izo_class_is_shared(const struct super_block *sb, enum izo_class class);
bool izo_class_keeps(const struct inode *inode, const struct inode *dir, const struct qstr *name);

/* lookup.c */
struct inode *izo_iget(struct super_block *sb, struct dentry *lower, const struct inode *dir,
		       const struct qstr *name);
struct dentry *izo_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags);

/* inode.c */
extern const struct inode_operations izo_file_inode_operations;
extern const struct inode_operations izo_symlink_inode_operations;
extern const struct inode_operations izo_special_inode_operations;
void izo_copy_attr(struct inode *inode);
void izo_copy_nlink(struct inode *inode);
int izo_permission(struct mnt_idmap *idmap, struct inode *inode, int mask);
int izo_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr);
int izo_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
		u32 request_mask, unsigned int flags);
int izo_update_time(struct inode *inode, int flags);
int izo_do_setattr(struct izo_ctx *ctx, struct dentry *dentry, struct iattr *attr);
int izo_do_fileattr_set(struct izo_ctx *ctx, struct dentry *dentry, struct fileattr *fa);
int izo_fileattr_get(struct dentry *dentry, struct fileattr *fa);
int izo_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry, struct fileattr *fa);
int izo_init_inode_cache(void);
void izo_destroy_inode_cache(void);
struct inode *izo_alloc_inode(struct super_block *sb);
void izo_free_inode(struct inode *inode);
void izo_evict_inode(struct inode *inode);

/* dir.c */
extern const struct inode_operations izo_dir_inode_operations;
int izo_do_make(struct izo_ctx *ctx, struct inode *dir, struct dentry *dentry,
		const struct izo_new *new);
int izo_do_link(struct izo_ctx *ctx, struct inode *inode, struct inode *dir,
		struct dentry *dentry);
int izo_do_remove(struct izo_ctx *ctx, struct inode *dir, struct dentry *dentry);

/* rename.c */
bool izo_rename_keeps_class(struct inode *old_dir, struct dentry *old_dentry,
			    struct inode *new_dir, struct dentry *new_dentry, unsigned int flags);
int izo_do_rename(struct izo_ctx *ctx, struct inode *old_dir, struct dentry *old_dentry,
		  struct inode *new_dir, struct dentry *new_dentry, unsigned int flags);
int izo_rename(struct mnt_idmap *idmap, struct inode *old_dir, struct dentry *old_dentry,
	       struct inode *new_dir, struct dentry *new_dentry, unsigned int flags);

/* readdir.c */
extern const struct file_operations izo_dir_operations;

/* file.c */
extern const struct file_operations izo_file_operations;
int izo_tmpfile(struct mnt_idmap *idmap, struct inode *dir, struct file *file, umode_t mode);
long izo_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int izo_fsync(struct file *file, loff_t start, loff_t end, int datasync);

/* log_file.c */
extern const struct file_operations izo_log_file_operations;
void izo_log_getattr(const struct inode *inode, struct kstat *stat);

/* xattr.c */
bool izo_xattr_is_local(const struct super_block *sb, const char *name);
bool izo_xattr_is_none(const char *name, const void *value, size_t size);
extern const struct xattr_handler * const izo_xattr_handlers[];
ssize_t izo_listxattr(struct dentry *dentry, char *list, size_t size);
struct posix_acl *izo_get_inode_acl(struct inode *inode, int type, bool rcu);
int izo_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, struct posix_acl *acl, int type);
int izo_do_setxattr(struct izo_ctx *ctx, struct inode *inode, const char *name,
		    const void *value, size_t size, int flags);
int izo_do_set_acl(struct izo_ctx *ctx, struct inode *inode, struct posix_acl *acl, int type);

/* reint.c */
long izo_reint_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* object.c */
long izo_object_ioctl(struct file *file, struct izo_object __user *user);

/* lower.c */
void izo_ctx_local(struct izo_ctx *ctx, struct super_block *sb);
int izo_change_begin(struct izo_ctx *ctx, const struct inode *inode, const struct qstr *name);
void izo_change_end(struct izo_ctx *ctx);
struct dentry *izo_lower_dentry(const struct inode *inode);
int izo_lower_path(const struct inode *inode, struct path *path);
struct dentry *izo_lower_lookup(struct super_block *sb, struct dentry *dir,
				const struct qstr *name);
struct dentry *izo_lower_lookup_locked(struct super_block *sb, struct dentry *dir,
				       const struct qstr *name);
int izo_name_lock(struct izo_name *n, struct inode *dir, const struct qstr *name);
void izo_name_unlock(struct izo_name *n);
int izo_name_is(const struct izo_name *n, const struct inode *inode);
int izo_lower_create(struct izo_ctx *ctx, struct izo_name *n, umode_t mode, bool excl);
int izo_lower_mkdir(struct izo_ctx *ctx, struct izo_name *n, umode_t mode);
int izo_lower_mknod(struct izo_ctx *ctx, struct izo_name *n, umode_t mode, dev_t rdev);
int izo_lower_symlink(struct izo_ctx *ctx, struct izo_name *n, const char *target);
int izo_lower_unlink(struct izo_ctx *ctx, struct izo_name *n);
int izo_lower_rmdir(struct izo_ctx *ctx, struct izo_name *n);
int izo_lower_link(struct izo_ctx *ctx, struct inode *inode, struct izo_name *n);
int izo_lower_rename(struct izo_ctx *ctx, struct izo_name *from, struct izo_name *to,
		     unsigned int flags);

/* lower_attr.c */
/*
 * Flags that move a file's blocks or switch its journaling mode: the log's blocks are mapped
 * once, and ext4 waits for all handles, ours among them, to switch data journaling.
 */
#define IZO_FIXED_FSFLAGS (FS_JOURNAL_DATA_FL | FS_EXTENT_FL)
int izo_lower_statfs(const struct inode *inode, struct kstatfs *buf);
int izo_lower_getattr(const struct inode *inode, struct kstat *stat, u32 request_mask,
		      unsigned int flags);
int izo_lower_fileattr_get(const struct inode *inode, struct fileattr *fa);
const char *izo_lower_get_link(const struct inode *inode, struct delayed_call *done);
ssize_t izo_lower_listxattr(const struct inode *inode, char *list, size_t size);
int izo_get_fileattr(struct dentry *lower, struct fileattr *fa);
int izo_lower_leave_project(struct dentry *dir);
ssize_t izo_list_xattrs(struct dentry *lower, char *list, size_t size);
ssize_t izo_get_xattr(struct dentry *lower, const char *name, void *value, size_t size);
int izo_lower_setattr(struct izo_ctx *ctx, struct inode *inode, struct iattr *attr);
int izo_lower_resize(struct inode *inode, struct iattr *attr);
int izo_lower_setxattr(struct izo_ctx *ctx, struct inode *inode, const char *name,
		       const void *value, size_t size, int flags);
int izo_lower_set_acl(struct izo_ctx *ctx, struct inode *inode, struct posix_acl *acl, int type);
int izo_lower_fileattr_set(struct izo_ctx *ctx, struct inode *inode, struct fileattr *fa);

#endif /* IZO_INTERMEZZO_H */
