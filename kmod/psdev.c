// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/intermezzoN, the device of channel N.
 *
 * A daemon holds it open to serve the channel; only CAP_SYS_ADMIN may (I12), and one at a time.
 * Upcalls come with reintegration; until then the device has nothing to read.
 */

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include "intermezzo.h"

#define IZO_CHANNEL_IN_USE 0

static dev_t izo_first_dev;
static struct cdev izo_cdev;

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
 * izo_psdev_init - make the channels' devices
 *
 * Return: 0 or a negative errno.
 */
int izo_psdev_init(void)
{
	int err;

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
 * izo_psdev_exit - undo izo_psdev_init(); no device is open
 */
void izo_psdev_exit(void)
{
	izo_remove_devices(INTERMEZZO_CHANNELS);
	class_unregister(&izo_device_class);
	cdev_del(&izo_cdev);
	unregister_chrdev_region(izo_first_dev, INTERMEZZO_CHANNELS);
}
