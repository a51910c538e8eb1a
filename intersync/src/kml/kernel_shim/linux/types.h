/* SPDX-License-Identifier: GPL-2.0 */
#pragma once

#include_next <linux/types.h>

typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
