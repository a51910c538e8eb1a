/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The journal of a mounted ext4 on a kernel without 03-ext4-journal.patch of kernel-patch.
 * jbd2 shows each journal in procfs and keeps it as the private data of that entry.
 */
#ifndef IZO_COMPAT_EXT4_JOURNAL_H
#define IZO_COMPAT_EXT4_JOURNAL_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/jbd2.h>
#include <linux/magic.h>
#include <linux/proc_fs.h>

/* The inode of an internal journal: Documentation/filesystems/ext4/special_inodes.rst. */
#define COMPAT_EXT4_JOURNAL_INO 8

static inline journal_t *ext4_sb_journal(struct super_block *sb)
{
	char name[64];
	struct file *file;
	journal_t *journal = NULL;

	snprintf(name, sizeof(name), "/proc/fs/jbd2/%pg-%d/info", sb->s_bdev,
		 COMPAT_EXT4_JOURNAL_INO);
	file = filp_open(name, O_RDONLY, 0);
	if (IS_ERR(file))
		return ERR_CAST(file);
	if (file_inode(file)->i_sb->s_magic == PROC_SUPER_MAGIC)
		journal = pde_data(file_inode(file));
	/* ext4 sets both: no other journal has them */
	if (!journal || journal->j_private != sb || journal->j_fs_dev != sb->s_bdev)
		journal = ERR_PTR(-ENODEV);
	fput(file);
	return journal;
}

#endif /* IZO_COMPAT_EXT4_JOURNAL_H */
