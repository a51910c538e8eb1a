// SPDX-License-Identifier: GPL-2.0-only
/* Open directories: the cache's listing, without .intermezzo. */

#include <linux/namei.h>
#include "intermezzo.h"

static int izo_dir_open(struct inode *inode, struct file *file)
{
	struct izo_sb *sbi = izo_sb(inode->i_sb);
	const struct cred *old;
	struct file *lower_file;
	struct path lower;
	int err = izo_lower_path(inode, &lower);

	if (err)
		return err;
	old = override_creds(sbi->creator_cred);
	lower_file = dentry_open(&lower, O_RDONLY | O_DIRECTORY | IZO_LOWER_OPEN_FLAGS,
				 current_cred());
	revert_creds(old);
	dput(lower.dentry);
	if (IS_ERR(lower_file))
		return PTR_ERR(lower_file);
	file->private_data = lower_file;
	return 0;
}

static int izo_dir_release(struct inode *inode, struct file *file)
{
	/* It holds no upper mount, as a backing file does: gone before umount(2) can return. */
	__fput_sync(izo_lower_file(file));
	return 0;
}

struct izo_listing {
	struct dir_context ctx;		/* what the lower file system fills */
	struct dir_context *caller;
};

static bool izo_list_name(struct dir_context *ctx, const char *name, int len, loff_t pos, u64 ino,
			  unsigned int type)
{
	struct izo_listing *listing = container_of(ctx, struct izo_listing, ctx);

	if (len == sizeof(INTERMEZZO_DIR) - 1 && !memcmp(name, INTERMEZZO_DIR, len))
		return true;
	listing->caller->pos = pos;
	return listing->caller->actor(listing->caller, name, len, pos, ino, type);
}

static int izo_iterate(struct file *file, struct dir_context *ctx)
{
	struct file *lower = izo_lower_file(file);
	struct izo_listing listing = { .ctx.actor = izo_list_name, .caller = ctx };
	int err;

	lower->f_pos = ctx->pos;
	if (IS_ROOT(file->f_path.dentry)) {
		err = iterate_dir(lower, &listing.ctx);
		ctx->pos = listing.ctx.pos;
	} else {
		err = iterate_dir(lower, ctx);
	}
	return err;
}

/* Positions are the lower file system's (ext4: name hashes), so it alone can seek. */
static loff_t izo_dir_llseek(struct file *file, loff_t offset, int whence)
{
	struct file *lower = izo_lower_file(file);
	loff_t pos;

	lower->f_pos = file->f_pos;
	pos = vfs_llseek(lower, offset, whence);
	if (pos >= 0)
		file->f_pos = pos;
	return pos;
}

const struct file_operations izo_dir_operations = {
	.open		= izo_dir_open,
	.release	= izo_dir_release,
	.read		= generic_read_dir,
	.iterate_shared	= izo_iterate,
	.llseek		= izo_dir_llseek,
	.fsync		= izo_fsync,
	.unlocked_ioctl	= izo_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
