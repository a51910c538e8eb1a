// SPDX-License-Identifier: GPL-2.0-only
/* InterMezzo: the module's life, and its three file system types. */

#include <linux/fs.h>
#include <linux/module.h>
#include "intermezzo.h"

static struct file_system_type izo_type = {
	.owner			= THIS_MODULE,
	.name			= "intermezzo",
	.fs_flags		= FS_REQUIRES_DEV,
	.init_fs_context	= izo_init_fs_context,
	.kill_sb		= izo_kill_sb,
};
MODULE_ALIAS_FS("intermezzo");

/* The spelling of the first documentation: append="rootfstype=InterMezzo". */
static struct file_system_type izo_old_spelling_type = {
	.owner			= THIS_MODULE,
	.name			= "InterMezzo",
	.fs_flags		= FS_REQUIRES_DEV,
	.init_fs_context	= izo_init_fs_context,
	.kill_sb		= izo_kill_sb,
};
MODULE_ALIAS_FS("InterMezzo");

static struct file_system_type izo_nodev_type = {
	.owner			= THIS_MODULE,
	.name			= "vintermezzo",
	.init_fs_context	= izo_init_fs_context,
	.kill_sb		= izo_kill_sb,
};
MODULE_ALIAS_FS("vintermezzo");

static struct file_system_type * const izo_types[] = {
	&izo_type, &izo_old_spelling_type, &izo_nodev_type,
};

static void izo_unregister_types(size_t count)
{
	while (count--)
		unregister_filesystem(izo_types[count]);
}

static int izo_register_types(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_types); i++) {
		int err = register_filesystem(izo_types[i]);

		if (err) {
			izo_unregister_types(i);
			return err;
		}
	}
	return 0;
}

static int __init izo_init(void)
{
	int err = izo_init_inode_cache();

	if (err)
		return err;
	izo_channels_init();
	err = izo_psdev_init();
	if (err)
		goto out_inodes;
	err = izo_sysctl_init();
	if (err)
		goto out_psdev;
	err = izo_register_types();
	if (!err)
		return 0;

	izo_sysctl_exit();
out_psdev:
	izo_psdev_exit();
out_inodes:
	izo_destroy_inode_cache();
	return err;
}

static void __exit izo_exit(void)
{
	izo_unregister_types(ARRAY_SIZE(izo_types));
	izo_sysctl_exit();
	izo_psdev_exit();
	izo_destroy_inode_cache();
}

module_init(izo_init);
module_exit(izo_exit);
MODULE_DESCRIPTION("InterMezzo replicated file system");
MODULE_LICENSE("GPL");
