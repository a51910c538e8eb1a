// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/intermezzoN, the device of channel N: docs/device-protocol.md.
 *
 * A daemon holds it open to serve the channel; only CAP_SYS_ADMIN may (I12), and one at a time.
 * Each read gives one upcall, each write is one answer.
 */

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include "intermezzo.h"

static dev_t izo_first_dev;
static struct cdev izo_cdev;

static int izo_dev_open(struct inode *inode, struct file *file)
{
	struct izo_channel *channel = izo_channel_nr(iminor(inode));
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = izo_upcall_attend(channel);
	if (err)
		return err;
	file->private_data = channel;
	return nonseekable_open(inode, file);
}

static int izo_dev_release(struct inode *inode, struct file *file)
{
	izo_upcall_leave(file->private_data);
	return 0;
}

/* Nothing is understood as meant before both sides have agreed on a version. */
static bool izo_dev_is_agreed(const struct izo_channel *channel)
{
	return READ_ONCE(channel->version);
}

static ssize_t izo_dev_read(struct file *file, char __user *buf, size_t count, loff_t *ppos)
{
	struct izo_channel *channel = file->private_data;
	ssize_t ret;

	if (!izo_dev_is_agreed(channel))
		return -EPROTO;
	for (;;) {
		ret = izo_upcall_read(channel, buf, count);
		if (ret != -EAGAIN || file->f_flags & O_NONBLOCK)
			return ret;
		ret = wait_event_interruptible(channel->arrived, izo_upcall_waits(channel));
		if (ret)
			return ret;
	}
}

static ssize_t izo_dev_write(struct file *file, const char __user *buf, size_t count,
			     loff_t *ppos)
{
	struct izo_channel *channel = file->private_data;
	struct izo_answer answer;
	int err;

	if (!izo_dev_is_agreed(channel))
		return -EPROTO;
	if (count != sizeof(answer))
		return -EINVAL;
	if (copy_from_user(&answer, buf, sizeof(answer)))
		return -EFAULT;
	if (answer.size != sizeof(answer) || answer.version != IZO_DEVICE_VERSION || answer.zero ||
	    answer.error > IZO_ANSWER_ERROR_MAX || answer.reserved)
		return -EINVAL;
	err = izo_upcall_answer(channel, answer.id, answer.error);
	return err ? err : sizeof(answer);
}

static __poll_t izo_dev_poll(struct file *file, struct poll_table_struct *wait)
{
	struct izo_channel *channel = file->private_data;

	poll_wait(file, &channel->arrived, wait);
	if (!izo_dev_is_agreed(channel))
		return EPOLLERR;
	return EPOLLOUT | EPOLLWRNORM |
	       (izo_upcall_waits(channel) ? EPOLLIN | EPOLLRDNORM : 0);
}

static long izo_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct izo_channel *channel = file->private_data;
	u32 __user *said = (u32 __user *)arg;
	u32 version;

	if (cmd != IZO_IOC_VERSION)
		return -ENOTTY;
	if (get_user(version, said))
		return -EFAULT;
	if (version != IZO_DEVICE_VERSION)
		return put_user(IZO_DEVICE_VERSION, said) ? -EFAULT : -EPROTONOSUPPORT;
	WRITE_ONCE(channel->version, version);
	return 0;
}

static const struct file_operations izo_dev_operations = {
	.owner		= THIS_MODULE,
	.open		= izo_dev_open,
	.release	= izo_dev_release,
	.read		= izo_dev_read,
	.write		= izo_dev_write,
	.poll		= izo_dev_poll,
	.unlocked_ioctl	= izo_dev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
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
