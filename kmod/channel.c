// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: one daemon serves the filesets of the mounts on a channel. Here is which mount is on
 * which, under what name; psdev.c has the device, upcall.c what passes through it.
 */

#include <linux/fs.h>
#include <linux/mutex.h>
#include "intermezzo.h"

static struct izo_channel izo_channels[INTERMEZZO_CHANNELS];
/*
 * Protects the channels' mounts and every izo_sb's channel and claimed name. Only a channel's
 * upcall_lock nests in it.
 */
static DEFINE_MUTEX(izo_channels_lock);

/**
 * izo_channel_nr - the channel of this number
 * @nr: less than INTERMEZZO_CHANNELS
 *
 * Return: the channel; it lives as long as the module.
 */
struct izo_channel *izo_channel_nr(unsigned int nr)
{
	return &izo_channels[nr];
}

static struct izo_channel *izo_first_free_channel(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_channels); i++)
		if (list_empty(&izo_channels[i].mounts))
			return &izo_channels[i];
	return NULL;
}

static bool izo_name_is_taken(const struct izo_channel *channel, const struct izo_sb *sbi,
			      const char *fileset)
{
	struct izo_sb *other;

	list_for_each_entry(other, &channel->mounts, on_channel)
		if (other != sbi && !strcmp(other->claimed, fileset))
			return true;
	return false;
}

static void izo_leave_channel(struct izo_sb *sbi)
{
	struct izo_channel *channel = sbi->channel;

	list_del_init(&sbi->on_channel);
	/* the next mount starts as a fresh one would */
	if (list_empty(&channel->mounts)) {
		WRITE_ONCE(channel->no_filter, 0);
		WRITE_ONCE(channel->no_journal, 0);
	}
	sbi->channel = NULL;
}

static void izo_join_channel(struct izo_sb *sbi, struct izo_channel *channel)
{
	if (sbi->channel == channel)
		return;
	if (sbi->channel)
		izo_leave_channel(sbi);
	list_add_tail(&sbi->on_channel, &channel->mounts);
	sbi->channel = channel;
	sbi->config.channel = channel->nr;
}

/**
 * izo_channel_settle - put a mount on a channel and make a fileset's name its own there
 * @sbi: the mount; its configuration gets the channel's number
 * @nr: the channel; if negative the one it is on, or else the first without a mount
 * @fileset: a valid name; NULL or "" to have none (again)
 * @fc: context to complain in
 *
 * Calling it again with the former channel and name undoes it and cannot fail; no_filter of a
 * channel that was left empty is 0 then, and the caller's to restore.
 *
 * Return: 0, or -EBUSY with nothing changed.
 */
int izo_channel_settle(struct izo_sb *sbi, int nr, const char *fileset, struct fs_context *fc)
{
	struct izo_channel *channel;
	bool taken = false;

	mutex_lock(&izo_channels_lock);
	if (nr >= 0)
		channel = &izo_channels[nr];
	else
		channel = sbi->channel ? sbi->channel : izo_first_free_channel();
	if (channel && fileset && *fileset)
		taken = izo_name_is_taken(channel, sbi, fileset);
	if (channel && !taken) {
		izo_join_channel(sbi, channel);
		strscpy(sbi->claimed, fileset ? fileset : "", sizeof(sbi->claimed));
	}
	mutex_unlock(&izo_channels_lock);

	if (!channel)
		errorfc(fc, "all %d channels have a mount; name one with channel=N",
			INTERMEZZO_CHANNELS);
	else if (taken)
		errorfc(fc,
			"channel %d serves a fileset %s already; name another channel=, or another fileset=",
			channel->nr, fileset);
	return channel && !taken ? 0 : -EBUSY;
}

/**
 * izo_channel_detach - take a mount off its channel; its fileset's name is free again
 * @sbi: the mount; need not be on a channel; izo_upcall_withdraw() was called
 */
void izo_channel_detach(struct izo_sb *sbi)
{
	mutex_lock(&izo_channels_lock);
	if (sbi->channel) {
		/* before the name is free for the next one's MOUNTED */
		izo_upcall_gone(sbi);
		izo_leave_channel(sbi);
	}
	mutex_unlock(&izo_channels_lock);
}

/**
 * izo_channels_init - make the channels
 */
void izo_channels_init(void)
{
	for (int i = 0; i < INTERMEZZO_CHANNELS; i++) {
		izo_channels[i].nr = i;
		INIT_LIST_HEAD(&izo_channels[i].mounts);
		izo_upcalls_init(&izo_channels[i]);
	}
}
