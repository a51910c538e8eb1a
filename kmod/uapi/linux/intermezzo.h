/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What user space may know of the InterMezzo file system: its numbers and names. */
#ifndef _UAPI_LINUX_INTERMEZZO_H
#define _UAPI_LINUX_INTERMEZZO_H

/* f_type of statfs(2): "IzoS". */
#define INTERMEZZO_SUPER_MAGIC	0x497a6f53

/* Channels: /dev/intermezzo0 ... /dev/intermezzo15, one daemon each. */
#define INTERMEZZO_CHANNELS	16

/* The directory at a cache's root that marks it and holds the logs; never listed. */
#define INTERMEZZO_DIR		".intermezzo"

/* Longest name of a fileset, in bytes, without the terminating NUL. */
#define INTERMEZZO_FILESET_MAX	64

/* The fileset of a mount that names none. */
#define INTERMEZZO_FILESET_DEFAULT	"rootset"

#endif /* _UAPI_LINUX_INTERMEZZO_H */
