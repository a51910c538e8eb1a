// SPDX-License-Identifier: GPL-2.0-only
/* /proc/sys/intermezzo/intermezzoN/no_filter, one directory for each channel. */

#include <linux/sysctl.h>
#include "intermezzo.h"

/* Each channel's table: the entries differ in where they store. */
static struct ctl_table izo_channel_table[INTERMEZZO_CHANNELS][1];
static struct ctl_table_header *izo_headers[INTERMEZZO_CHANNELS];

static struct ctl_table_header *izo_register_channel(unsigned int nr)
{
	char path[sizeof("intermezzo/intermezzo") + 2];
	struct ctl_table *entry = &izo_channel_table[nr][0];

	entry->procname = "no_filter";
	entry->data = &izo_channel_nr(nr)->no_filter;
	entry->maxlen = sizeof(int);
	entry->mode = 0644;
	entry->proc_handler = proc_dointvec_minmax;
	entry->extra1 = SYSCTL_ZERO;
	entry->extra2 = SYSCTL_ONE;
	snprintf(path, sizeof(path), "intermezzo/intermezzo%u", nr);
	return register_sysctl_sz(path, izo_channel_table[nr], 1);
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
}

/**
 * izo_sysctl_init - make a directory for each channel
 *
 * Return: 0 or -ENOMEM.
 */
int izo_sysctl_init(void)
{
	for (unsigned int nr = 0; nr < INTERMEZZO_CHANNELS; nr++) {
		izo_headers[nr] = izo_register_channel(nr);
		if (!izo_headers[nr]) {
			izo_sysctl_exit();
			return -ENOMEM;
		}
	}
	return 0;
}
