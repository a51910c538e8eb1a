// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mount options: one table, one parser, one printer. What is not in the table is kept, in order,
 * for the cache's own parser.
 */

#include <linux/ctype.h>
#include <linux/fs_parser.h>
#include <linux/parser.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include "intermezzo.h"

/* One option for the lower file system, to be parsed when its type is known. */
struct izo_cache_option {
	struct list_head link;
	char *value;		/* NULL for a flag */
	char key[];
};

/* fc->fs_private */
struct izo_fc {
	struct izo_config config;
	struct list_head cache_options;
	size_t cache_options_size;	/* bytes kept there */
};

enum {
	OPT_FILESET, OPT_MTP, OPT_PRESTODEV, OPT_CHANNEL, OPT_CACHE_TYPE, OPT_NO_FILTER,
	OPT_PERMIT, OPT_ONDEMAND,
};

static const struct fs_parameter_spec izo_params[] = {
	fsparam_string_empty("fileset",	OPT_FILESET),
	fsparam_string_empty("volume",	OPT_FILESET),
	fsparam_string_empty("mtp",	OPT_MTP),
	fsparam_string_empty("mtpt",	OPT_MTP),
	fsparam_string("prestodev",	OPT_PRESTODEV),
	fsparam_string("channel",	OPT_CHANNEL),
	fsparam_string("cache_type",	OPT_CACHE_TYPE),
	fsparam_flag("no_filter",	OPT_NO_FILTER),
	fsparam_string("permit",	OPT_PERMIT),
	fsparam_flag("ondemand",	OPT_ONDEMAND),
	{}
};

/**
 * izo_fc_config - the options parsed so far
 * @fc: a context of ours
 *
 * Return: the configuration, owned by @fc.
 */
struct izo_config *izo_fc_config(struct fs_context *fc)
{
	return &((struct izo_fc *)fc->fs_private)->config;
}

/**
 * izo_config_free - free what a configuration points to
 * @config: may be all zero; freed fields are set to NULL
 */
void izo_config_free(struct izo_config *config)
{
	kfree(config->fileset);
	kfree(config->mtp);
	kfree(config->source);
	config->fileset = NULL;
	config->mtp = NULL;
	config->source = NULL;
}

/* Store a word given for the first time, accept the same again, refuse another. */
static int izo_set_word(struct fs_context *fc, const char *option, char **word, const char *value)
{
	if (*word && !strcmp(*word, value))
		return 0;
	if (*word)
		return invalfc(fc, "%s=%s contradicts %s=%s given before", option, value, option,
			       *word);
	*word = kstrdup(value, GFP_KERNEL_ACCOUNT);
	return *word ? 0 : -ENOMEM;
}

static int izo_parse_fileset(struct fs_context *fc, struct izo_config *config, const char *value)
{
	const char *c;

	if (!*value || strlen(value) > INTERMEZZO_FILESET_MAX)
		return invalfc(fc, "fileset=%s: a name has 1 to %d bytes", value,
			       INTERMEZZO_FILESET_MAX);
	if (*value == '.')
		return invalfc(fc, "fileset=%s: a name may not begin with a dot", value);
	for (c = value; *c; c++)
		/* isalnum() alone takes the letters of Latin-1 too */
		if (!(isascii(*c) && isalnum(*c)) && !strchr("._-+@:", *c))
			return invalfc(fc, "fileset=%s: a name has letters, digits and ._-+@: only",
				       value);
	return izo_set_word(fc, "fileset", &config->fileset, value);
}

static int izo_parse_mtp(struct fs_context *fc, struct izo_config *config, const char *value)
{
	if (*value != '/')
		return invalfc(fc, "mtp=%s: give the absolute path where the tree will be mounted",
			       value);
	if (strlen(value) > INTERMEZZO_MTP_MAX)
		return invalfc(fc, "mtp=%.32s...: a path has at most %d bytes here", value,
			       INTERMEZZO_MTP_MAX);
	return izo_set_word(fc, "mtp", &config->mtp, value);
}

static int izo_set_channel(struct fs_context *fc, struct izo_config *config, const char *number,
			   const char *option, const char *value)
{
	unsigned int channel;

	if (kstrtouint(number, 10, &channel) || channel >= INTERMEZZO_CHANNELS)
		return invalfc(fc, "%s=%s: channels are 0 to %d", option, value,
			       INTERMEZZO_CHANNELS - 1);
	if (config->channel >= 0 && config->channel != channel)
		return invalfc(fc, "%s=%s contradicts channel %d given before", option, value,
			       config->channel);
	config->channel = channel;
	return 0;
}

static int izo_parse_prestodev(struct fs_context *fc, struct izo_config *config,
			       const char *value)
{
	static const char prefix[] = "/dev/intermezzo";

	if (strncmp(value, prefix, sizeof(prefix) - 1))
		return invalfc(fc, "prestodev=%s: give /dev/intermezzo0 to /dev/intermezzo%d",
			       value, INTERMEZZO_CHANNELS - 1);
	return izo_set_channel(fc, config, value + sizeof(prefix) - 1, "prestodev", value);
}

static int izo_parse_cache_type(struct fs_context *fc, struct izo_config *config,
				const char *value)
{
	bool has_device = fc->fs_type->fs_flags & FS_REQUIRES_DEV;
	const struct izo_cache_type *cache = izo_cache_type_find(value);

	if (!cache)
		return invalfc(fc,
			       "cache_type=%s is not supported; it can be ext4, ext3, xfs, btrfs or tmpfs",
			       value);
	if (cache->needs_device != has_device)
		return invalfc(fc, "cache_type=%s: mount it as %s", value,
			       cache->needs_device ? "intermezzo, from a block device" :
			       "vintermezzo");
	if (config->cache && config->cache != cache)
		return invalfc(fc, "cache_type=%s contradicts cache_type=%s given before", value,
			       config->cache->name);
	config->cache = cache;
	return 0;
}

static int izo_parse_permit(struct fs_context *fc, const char *value)
{
	if (!strcmp(value, "optimistic"))
		return 0;
	if (!strcmp(value, "strict"))
		return invalfc(fc,
			       "permit=strict is not implemented yet: leave it out, or say permit=optimistic");
	return invalfc(fc, "permit=%s: it can be optimistic", value);
}

static int izo_keep_cache_option(struct fs_context *fc, const struct fs_parameter *param)
{
	struct izo_fc *ifc = fc->fs_private;
	struct izo_cache_option *option;
	size_t size;

	if (param->type != fs_value_is_flag && param->type != fs_value_is_string)
		return invalfc(fc, "%s: only words and strings can be passed to the cache",
			       param->key);
	size = strlen(param->key) + 1;
	/* fsopen(2) needs little privilege and takes any number of options; mount(2) a page */
	ifc->cache_options_size += sizeof(*option) + size + param->size;
	if (ifc->cache_options_size > PAGE_SIZE)
		return invalfc(fc, "%s: too many options", param->key);
	option = kmalloc(struct_size(option, key, size), GFP_KERNEL_ACCOUNT);
	if (!option)
		return -ENOMEM;
	memcpy(option->key, param->key, size);
	option->value = NULL;
	if (param->type == fs_value_is_string) {
		option->value = kstrdup(param->string, GFP_KERNEL_ACCOUNT);
		if (!option->value) {
			kfree(option);
			return -ENOMEM;
		}
	}
	list_add_tail(&option->link, &ifc->cache_options);
	return 0;
}

/* Comments that mount(8) and fstab(5) keep for themselves, should they leak through. */
static bool izo_is_comment(const char *key)
{
	return !strncmp(key, "x-", 2) || !strncmp(key, "X-", 2) || !strcmp(key, "comment");
}

static int izo_parse_param(struct fs_context *fc, struct fs_parameter *param)
{
	struct izo_config *config = izo_fc_config(fc);
	struct fs_parse_result result;
	int opt;

	if (!strcmp(param->key, "source"))
		return -ENOPARAM;	/* the VFS takes it */
	if (izo_is_comment(param->key))
		return 0;
	opt = fs_parse(fc, izo_params, param, &result);
	switch (opt) {
	case OPT_FILESET:
		return izo_parse_fileset(fc, config, param->string);
	case OPT_MTP:
		return izo_parse_mtp(fc, config, param->string);
	case OPT_PRESTODEV:
		return izo_parse_prestodev(fc, config, param->string);
	case OPT_CHANNEL:
		return izo_set_channel(fc, config, param->string, "channel", param->string);
	case OPT_CACHE_TYPE:
		return izo_parse_cache_type(fc, config, param->string);
	case OPT_NO_FILTER:
		config->no_filter = true;
		return 0;
	case OPT_PERMIT:
		return izo_parse_permit(fc, param->string);
	case OPT_ONDEMAND:
		return invalfc(fc, "ondemand is not implemented yet: leave it out");
	case -ENOPARAM:
		return izo_keep_cache_option(fc, param);
	default:
		return opt;
	}
}

/**
 * izo_parse_cache_options - hand the options that are not ours to the lower context
 * @fc: our context
 * @lower_fc: the lower file system's, which says what it does not like
 *
 * Return: 0 or the lower parser's negative errno.
 */
int izo_parse_cache_options(struct fs_context *fc, struct fs_context *lower_fc)
{
	struct izo_fc *ifc = fc->fs_private;
	struct izo_cache_option *option;

	list_for_each_entry(option, &ifc->cache_options, link) {
		struct fs_parameter param = {
			.key = option->key,
			.type = option->value ? fs_value_is_string : fs_value_is_flag,
			.size = option->value ? strlen(option->value) : 0,
		};
		int err;

		if (option->value) {
			/* the parser may take the string and set it to NULL */
			param.string = kstrdup(option->value, GFP_KERNEL);
			if (!param.string)
				return -ENOMEM;
		}
		err = vfs_parse_fs_param(lower_fc, &param);
		if (option->value)
			kfree(param.string);
		if (err)
			return err;
	}
	return 0;
}

/**
 * izo_fc_chooses_part - do the options name a part of the device (a subvolume)?
 * @fc: our context
 * @cache: type of the cache
 */
bool izo_fc_chooses_part(struct fs_context *fc, const struct izo_cache_type *cache)
{
	const struct izo_fc *ifc = fc->fs_private;
	const struct izo_cache_option *option;

	if (!cache->part_option)
		return false;
	list_for_each_entry(option, &ifc->cache_options, link)
		if (str_has_prefix(option->key, cache->part_option))
			return true;
	return false;
}

static int izo_word_agrees(struct fs_context *fc, const char *option, const char *has,
			   const char *asked)
{
	if (!has || !asked || !strcmp(has, asked))
		return 0;
	return invalfc(fc, "%s=%s cannot replace %s=%s of a mounted fileset; unmount it first",
		       option, asked, option, has);
}

/**
 * izo_config_agree - are the options asked for those that a superblock already has?
 * @fc: context to complain in
 * @has: configuration in force
 * @asked: what was parsed; what it leaves out agrees with anything
 *
 * Return: 0 or -EINVAL.
 */
int izo_config_agree(struct fs_context *fc, const struct izo_config *has,
		     const struct izo_config *asked)
{
	int err = izo_word_agrees(fc, "fileset", has->fileset, asked->fileset);

	if (!err)
		err = izo_word_agrees(fc, "mtp", has->mtp, asked->mtp);
	if (err)
		return err;
	if (asked->cache && asked->cache->driver != has->cache->driver)
		return invalfc(fc, "cache_type=%s cannot replace cache_type=%s of a mounted cache",
			       asked->cache->name, has->cache->name);
	if (has->fileset && asked->channel >= 0 && asked->channel != has->channel)
		return invalfc(fc, "channel %d cannot replace channel %d of a mounted fileset",
			       asked->channel, has->channel);
	return 0;
}

/**
 * izo_show_options - ->show_options; all of it is accepted back by a remount
 * @m: where to print
 * @root: root of the upper superblock
 *
 * Return: 0 or a negative errno.
 */
int izo_show_options(struct seq_file *m, struct dentry *root)
{
	struct izo_sb *sbi = izo_sb(root->d_sb);
	struct super_block *lower = izo_lower_sb(root->d_sb);

	const char *fileset, *mtp;

	/* a remount may set them meanwhile: pairs with izo_config_adopt() */
	fileset = smp_load_acquire(&sbi->config.fileset);
	/* likewise */
	mtp = smp_load_acquire(&sbi->config.mtp);
	if (fileset)
		seq_show_option(m, "fileset", fileset);
	if (mtp)
		seq_show_option(m, "mtp", mtp);
	seq_printf(m, ",prestodev=/dev/intermezzo%d", sbi->config.channel);
	seq_show_option(m, "cache_type", sbi->config.cache->name);
	if (lower->s_op->show_options)
		return lower->s_op->show_options(m, sbi->lower_mnt->mnt_root);
	return 0;
}

/**
 * izo_show_devname - ->show_devname: the kernel mounts its root from "/dev/root", a name that is
 * gone when anybody can read it
 * @m: where to print
 * @root: root of the upper superblock
 *
 * Return: 0.
 */
int izo_show_devname(struct seq_file *m, struct dentry *root)
{
	const char *source = izo_sb(root->d_sb)->config.source;

	if (izo_sb(root->d_sb)->config.cache->needs_device && !strcmp(source, "/dev/root"))
		seq_printf(m, "/dev/%s", root->d_sb->s_id);
	else
		seq_escape(m, source, " \t\n\\#");
	return 0;
}

static void izo_fc_free(struct fs_context *fc)
{
	struct izo_fc *ifc = fc->fs_private;
	struct izo_cache_option *option, *next;

	list_for_each_entry_safe(option, next, &ifc->cache_options, link) {
		kfree(option->value);
		kfree(option);
	}
	izo_config_free(&ifc->config);
	kfree(ifc);
}

static const struct fs_context_operations izo_context_operations = {
	.free		= izo_fc_free,
	.parse_param	= izo_parse_param,
	.get_tree	= izo_get_tree,
	.reconfigure	= izo_reconfigure,
};

/**
 * izo_init_fs_context - ->init_fs_context of all our types
 * @fc: to set up
 *
 * Return: 0 or -ENOMEM.
 */
int izo_init_fs_context(struct fs_context *fc)
{
	struct izo_fc *ifc = kzalloc(sizeof(*ifc), GFP_KERNEL);

	if (!ifc)
		return -ENOMEM;
	INIT_LIST_HEAD(&ifc->cache_options);
	ifc->config.channel = -1;
	fc->fs_private = ifc;
	fc->ops = &izo_context_operations;
	return 0;
}
