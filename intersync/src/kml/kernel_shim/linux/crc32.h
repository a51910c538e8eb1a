/* SPDX-License-Identifier: GPL-2.0 */
#pragma once

#include <linux/kernel.h>

/* Bit by bit, so that it shares nothing with the table of crc32c.cc. */
static inline u32 __crc32c_le(u32 crc, const void* data, size_t len) {
  for (const unsigned char* at = data; len; at++, len--) {
    crc ^= *at;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return crc;
}
