/* SPDX-License-Identifier: GPL-2.0 */
/* What kmod/kml_record.c needs of the kernel, so that its judge can be tested in user space. */
#pragma once

#include <endian.h>
#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S64_MAX INT64_MAX
#define BIT(n) (1UL << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN(n, to) (((n) + (to) - 1) & ~((__typeof__(n))(to) - 1))
#define le16_to_cpu le16toh
#define le32_to_cpu le32toh
#define le64_to_cpu le64toh
#define cpu_to_le16 htole16
#define cpu_to_le32 htole32
#define cpu_to_le64 htole64
