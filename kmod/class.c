// SPDX-License-Identifier: GPL-2.0-only
/*
 * Classes of paths: what of a root is shared with other replicas and what is this machine's own.
 *
 * The class is found once, when an inode is read in, from its parent's class and its name, and
 * then lives in the inode. In a root a rename or link that would give an object another class than
 * it has is refused with EXDEV, so the class cannot go stale, whatever name is used.
 */

#include "intermezzo.h"

static const struct izo_place izo_systemd_places[] = {
	{ "random-seed", IZO_CLASS_LOCAL },
	{ }
};

static const struct izo_place izo_var_lib_places[] = {
	{ "systemd", IZO_CLASS_SHARED, izo_systemd_places },
	{ }
};

static const struct izo_place izo_var_places[] = {
	{ "intermezzo-*", IZO_CLASS_LOCAL },
	{ "cache", IZO_CLASS_LOCAL },
	{ "lib", IZO_CLASS_SHARED, izo_var_lib_places },
	{ "log", IZO_CLASS_LOCAL },
	{ "tmp", IZO_CLASS_LOCAL },
	{ }
};

static const struct izo_place izo_default_places[] = {
	{ "intersync*", IZO_CLASS_LOCAL },
	{ }
};

static const struct izo_place izo_etc_places[] = {
	{ "default", IZO_CLASS_SHARED, izo_default_places },
	{ "fstab", IZO_CLASS_LOCAL },
	{ "machine-id", IZO_CLASS_LOCAL },
	{ }
};

/* The list documented in docs/root-filesystem.md. */
const struct izo_place izo_root_places[] = {
	{ INTERMEZZO_DIR, IZO_CLASS_INTERNAL },
	{ "etc", IZO_CLASS_SHARED, izo_etc_places },
	{ "lost+found", IZO_CLASS_CACHE },
	{ "run", IZO_CLASS_LOCAL },
	{ "tmp", IZO_CLASS_LOCAL },
	{ "var", IZO_CLASS_SHARED, izo_var_places },
	{ }
};

static bool izo_place_matches(const struct izo_place *place, const struct qstr *name)
{
	size_t len = strlen(place->name);

	if (place->name[len - 1] == '*')
		return name->len >= len - 1 && !memcmp(place->name, name->name, len - 1);
	return name->len == len && !memcmp(place->name, name->name, len);
}

/**
 * izo_class_of - the class that an object of this name has in this directory
 * @dir: upper directory
 * @name: one component
 * @class: result
 * @below: result: built-in names below it, or NULL
 */
void izo_class_of(const struct inode *dir, const struct qstr *name, enum izo_class *class,
		  const struct izo_place **below)
{
	const struct izo_place *place = izo_i(dir)->below;

	*class = izo_i(dir)->class;
	*below = NULL;
	for (; place && place->name; place++) {
		if (izo_place_matches(place, name)) {
			*class = place->class;
			*below = place->below;
			return;
		}
	}
}

/**
 * izo_class_is_shared - are changes of objects of this class other replicas' business?
 * @sb: upper superblock
 * @class: of the object
 */
bool izo_class_is_shared(const struct super_block *sb, enum izo_class class)
{
	const char *mtp = izo_sb(sb)->config.mtp;

	/* only a root has local names, and what may be one */
	return class == IZO_CLASS_SHARED ||
	       (class == IZO_CLASS_LOCAL && mtp && strcmp(mtp, "/"));
}

/**
 * izo_class_keeps - would an object keep its class under this name?
 * @inode: the object
 * @dir: upper directory of the new name
 * @name: the new name
 *
 * Only a root has local names, and what may be one: a mount whose mtp= is still to come. Nothing
 * anywhere may enter or leave .intermezzo and lost+found.
 *
 * Return: false if the name lies across a border: EXDEV.
 */
bool izo_class_keeps(const struct inode *inode, const struct inode *dir, const struct qstr *name)
{
	const char *mtp = izo_sb(inode->i_sb)->config.mtp;
	const struct izo_place *below;
	enum izo_class class;

	izo_class_of(dir, name, &class, &below);
	if (mtp && strcmp(mtp, "/"))
		return izo_i(inode)->class == class ||
		       (izo_class_is_shared(inode->i_sb, izo_i(inode)->class) &&
			izo_class_is_shared(inode->i_sb, class));
	if (!S_ISDIR(inode->i_mode))
		return izo_i(inode)->class == class;
	return izo_i(inode)->class == class && izo_i(inode)->below == below;
}
