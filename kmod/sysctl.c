// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/sys/intermezzo/debug, and /proc/sys/intermezzo/intermezzoN/{no_filter,no_journal}: one
 * directory for each channel.
 */

#include <linux/module.h>
#include <linux/sysctl.h>
#include "intermezzo.h"

static int izo_debug_mask;
static int izo_debug_most = IZO_DEBUG_SPLIT | IZO_DEBUG_REFUSE | IZO_DEBUG_REFUSE_END |
			      IZO_DEBUG_LINGER;

module_param_named(debug, izo_debug_mask, int, 0444);
MODULE_PARM_DESC(debug, "with CONFIG_INTERMEZZO_DEBUG: what is to go wrong, for tests; see IZO_DEBUG_*");

/* Each channel's table: the entries differ in where they store. */
static struct ctl_table izo_channel_table[INTERMEZZO_CHANNELS][2];
static struct ctl_table_header *izo_headers[INTERMEZZO_CHANNELS];

static struct ctl_table izo_table[] = {
	{
		.procname	= "debug",
		.data		= &izo_debug_mask,
		.maxlen		= sizeof(int),
		.mode		= IS_ENABLED(CONFIG_INTERMEZZO_DEBUG) ? 0644 : 0444,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= &izo_debug_most,
	},
};

static struct ctl_table_header *izo_header;

/**
 * izo_debug - is this to go wrong, to see what a test or the log makes of it?
 * @what: IZO_DEBUG_*
 */
bool izo_debug(int what)
{
	return IS_ENABLED(CONFIG_INTERMEZZO_DEBUG) && READ_ONCE(izo_debug_mask) & what;
}

static void izo_channel_entry(struct ctl_table *entry, const char *name, int *flag)
{
	entry->procname = name;
	entry->data = flag;
	entry->maxlen = sizeof(int);
	entry->mode = 0644;
	entry->proc_handler = proc_dointvec_minmax;
	entry->extra1 = SYSCTL_ZERO;
	entry->extra2 = SYSCTL_ONE;
}

static struct ctl_table_header *izo_register_channel(unsigned int nr)
{
	char path[sizeof("intermezzo/intermezzo") + 2];
	struct izo_channel *channel = izo_channel_nr(nr);

	izo_channel_entry(&izo_channel_table[nr][0], "no_filter", &channel->no_filter);
	izo_channel_entry(&izo_channel_table[nr][1], "no_journal", &channel->no_journal);
	snprintf(path, sizeof(path), "intermezzo/intermezzo%u", nr);
	return register_sysctl_sz(path, izo_channel_table[nr],
				  ARRAY_SIZE(izo_channel_table[nr]));
}

/**
 * izo_sysctl_exit - take the directories away
 */
void izo_sysctl_exit(void)
{
	for (unsigned int nr = 0; nr < INTERMEZZO_CHANNELS; nr++) {
		unregister_sysctl_table(izo_headers[nr]);
		izo_headers[nr] = NULL;
	}
	unregister_sysctl_table(izo_header);
	izo_header = NULL;
}

/**
 * izo_sysctl_init - make the directories
 *
 * Return: 0 or -ENOMEM.
 */
int izo_sysctl_init(void)
{
	izo_header = register_sysctl("intermezzo", izo_table);
	if (!izo_header)
		return -ENOMEM;
	for (unsigned int nr = 0; nr < INTERMEZZO_CHANNELS; nr++) {
		izo_headers[nr] = izo_register_channel(nr);
		if (!izo_headers[nr]) {
			izo_sysctl_exit();
			return -ENOMEM;
		}
	}
	return 0;
}
