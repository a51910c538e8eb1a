/* SPDX-License-Identifier: GPL-2.0 */
#pragma once

#include <linux/kernel.h>
#include <string.h>

/* The first byte that is not @c, or NULL. */
static inline const void* memchr_inv(const void* from, int c, size_t bytes) {
  for (const unsigned char* at = from; bytes; at++, bytes--)
    if (*at != (unsigned char)c) return at;
  return NULL;
}
