/* SPDX-License-Identifier: GPL-2.0 */
/* Forced into every file of the module build; the kernel-tree build knows nothing of it. */
#ifndef IZO_COMPAT_H
#define IZO_COMPAT_H

#ifdef COMPAT_BACKING_FILE_OPEN_TAKES_PATH
/* Linux 6.12 up to the stable release that changed the first argument to the user's file. */
#include <linux/backing-file.h>
#define backing_file_open(user_file, flags, path, cred) \
	backing_file_open(&(user_file)->f_path, flags, path, cred)
#define backing_tmpfile_open(user_file, flags, path, mode, cred) \
	backing_tmpfile_open(&(user_file)->f_path, flags, path, mode, cred)
#endif

#ifdef COMPAT_NO_MNT_MAKE_LONGTERM
/* A kernel without our patch: closing a file takes mount_lock; kern_unmount() works as well. */
struct vfsmount;
static inline void mnt_make_longterm(struct vfsmount *mnt)
{
}
#endif

#ifdef COMPAT_NO_EXT4_SB_JOURNAL
#include "ext4_journal.h"
#endif

#ifdef COMPAT_NO_FS_KEEPS_RETIRED
/* A kernel without our patch: no file system says so of itself. */
#define FS_KEEPS_RETIRED 0
#endif

#endif /* IZO_COMPAT_H */
