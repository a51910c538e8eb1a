/* SPDX-License-Identifier: GPL-2.0-only */
/* Records as bytes; see kml_record.c. */
#ifndef IZO_KML_RECORD_H
#define IZO_KML_RECORD_H

#include <linux/intermezzo_kml.h>

/* Room that an empty record takes before its items: head, tail and padding, in bytes. */
#define IZO_RECORD_SPARE (IZO_KML_RECORD_MIN + IZO_KML_FILLER_MIN)

/* Room that an item of @len bytes takes. */
#define IZO_ITEM_ROOM(len) (sizeof(struct izo_kml_item) + ALIGN((len), 8))

/**
 * struct izo_record - a record being put together
 * @head: its first byte, in a buffer of the caller's
 * @len: bytes so far
 * @limit: bytes that head and items may take
 * @err: why it cannot be completed: -EOVERFLOW if something did not fit, or another's
 */
struct izo_record {
	struct izo_kml_head *head;
	size_t len;
	size_t limit;
	int err;
};

enum izo_judged {
	IZO_JUDGED_RECORD,
	IZO_JUDGED_FILLER,
	IZO_JUDGED_MORE,
	IZO_JUDGED_BAD,
};

u32 izo_crc_add(u32 crc, const void *data, size_t len);
void izo_crc_seal(const void *data, size_t len, __le32 *crc);
bool izo_crc_matches(const void *data, size_t len, const __le32 *crc);
void izo_record_start(struct izo_record *r, void *buf, size_t size);
void *izo_record_item(struct izo_record *r, u16 type, size_t len);
size_t izo_record_seal(struct izo_record *r, u64 offset, u64 epoch, u64 recno,
		       unsigned int block_size);
void izo_filler_head(struct izo_kml_head *h, u64 offset, u64 epoch, u32 len);
const void *izo_record_find(const struct izo_kml_head *head, u16 type, const void *after,
			    size_t *len);
enum izo_judged izo_record_judge(const void *buf, size_t avail, size_t *len);

#endif /* IZO_KML_RECORD_H */
