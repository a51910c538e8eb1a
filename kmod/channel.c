// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: /dev/intermezzoN, through which one daemon serves the filesets of the mounts attached.
 *
 * A daemon holds the device open to own the channel; only CAP_SYS_ADMIN may (I12), and one at a
 * time. Upcalls come with reintegration; until then the device has nothing to read.
 */

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include "intermezzo.h"

#define IZO_CHANNEL_IN_USE 0

static struct izo_channel izo_channels[INTERMEZZO_CHANNELS];
/* Protects the channels' mounts and every izo_sb's channel and claimed name. A leaf lock. */
static DEFINE_MUTEX(izo_channels_lock);

static dev_t izo_first_dev;
static struct cdev izo_cdev;

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
 * @sbi: the mount; need not be on a channel
 */
void izo_channel_detach(struct izo_sb *sbi)
{
	mutex_lock(&izo_channels_lock);
	if (sbi->channel)
		izo_leave_channel(sbi);
	mutex_unlock(&izo_channels_lock);
}

static int izo_dev_open(struct inode *inode, struct file *file)
{
	struct izo_channel *channel = izo_channel_nr(iminor(inode));

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (test_and_set_bit(IZO_CHANNEL_IN_USE, &channel->in_use))
		return -EBUSY;
	file->private_data = channel;
	return nonseekable_open(inode, file);
}

static int izo_dev_release(struct inode *inode, struct file *file)
{
	struct izo_channel *channel = file->private_data;

	clear_bit(IZO_CHANNEL_IN_USE, &channel->in_use);
	return 0;
}

static const struct file_operations izo_dev_operations = {
	.owner		= THIS_MODULE,
	.open		= izo_dev_open,
	.release	= izo_dev_release,
};

static char *izo_devnode(const struct device *dev, umode_t *mode)
{
	if (mode)
		*mode = 0600;
	return NULL;
}

static const struct class izo_device_class = {
	.name		= "intermezzo",
	.devnode	= izo_devnode,
};

static void izo_remove_devices(unsigned int count)
{
	while (count--)
		device_destroy(&izo_device_class, izo_first_dev + count);
}

static int izo_create_devices(void)
{
	for (unsigned int i = 0; i < INTERMEZZO_CHANNELS; i++) {
		struct device *dev = device_create(&izo_device_class, NULL, izo_first_dev + i,
						   NULL, "intermezzo%u", i);

		if (IS_ERR(dev)) {
			izo_remove_devices(i);
			return PTR_ERR(dev);
		}
	}
	return 0;
}

/**
 * izo_channels_init - make the channels and their devices
 *
 * Return: 0 or a negative errno.
 */
int izo_channels_init(void)
{
	int err;

	for (int i = 0; i < INTERMEZZO_CHANNELS; i++) {
		izo_channels[i].nr = i;
		INIT_LIST_HEAD(&izo_channels[i].mounts);
	}
	err = alloc_chrdev_region(&izo_first_dev, 0, INTERMEZZO_CHANNELS, "intermezzo");
	if (err)
		return err;
	cdev_init(&izo_cdev, &izo_dev_operations);
	izo_cdev.owner = THIS_MODULE;
	err = cdev_add(&izo_cdev, izo_first_dev, INTERMEZZO_CHANNELS);
	if (err)
		goto out_region;
	err = class_register(&izo_device_class);
	if (err)
		goto out_cdev;
	err = izo_create_devices();
	if (!err)
		return 0;

	class_unregister(&izo_device_class);
out_cdev:
	cdev_del(&izo_cdev);
out_region:
	unregister_chrdev_region(izo_first_dev, INTERMEZZO_CHANNELS);
	return err;
}

/**
 * izo_channels_exit - undo izo_channels_init(); nothing is mounted and no device is open
 */
void izo_channels_exit(void)
{
	izo_remove_devices(INTERMEZZO_CHANNELS);
	class_unregister(&izo_device_class);
	cdev_del(&izo_cdev);
	unregister_chrdev_region(izo_first_dev, INTERMEZZO_CHANNELS);
}
