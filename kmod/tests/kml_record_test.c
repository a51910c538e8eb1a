// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit: the kernel's codec of records against the corpus of the user half. A good record is taken,
 * and made again byte by byte; one with a defect is refused, and so is every part of a good one.
 */

#include <kunit/test.h>
#include <linux/hex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include "kml_record.h"
#include "kml_corpus.h"

struct izo_sample_bytes {
	size_t len;
	u8 *data;
};

static struct izo_sample_bytes izo_sample_bytes(struct kunit *test,
						const struct izo_kml_sample *sample)
{
	struct izo_sample_bytes b = { .len = strlen(sample->hex) / 2 };

	b.data = kunit_kzalloc(test, b.len, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, b.data);
	KUNIT_ASSERT_EQ(test, hex2bin(b.data, sample->hex, b.len), 0);
	return b;
}

static bool izo_is_good(const struct izo_kml_sample *sample)
{
	return strstarts(sample->name, "good/");
}

static bool izo_is_filler(const struct izo_kml_sample *sample)
{
	return strstarts(sample->name, "good/filler");
}

static void izo_samples_are_judged(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_kml_samples); i++) {
		const struct izo_kml_sample *sample = &izo_kml_samples[i];
		struct izo_sample_bytes b = izo_sample_bytes(test, sample);
		enum izo_judged wanted = !izo_is_good(sample) ? IZO_JUDGED_BAD :
			izo_is_filler(sample) ? IZO_JUDGED_FILLER : IZO_JUDGED_RECORD;
		size_t len = 0;

		KUNIT_EXPECT_EQ_MSG(test, izo_record_judge(b.data, b.len, &len), wanted, "%s",
				    sample->name);
		if (izo_is_good(sample))
			KUNIT_EXPECT_EQ_MSG(test, len, b.len, "%s", sample->name);
	}
}

/* In a buffer of just that size, so that KASAN sees a byte read beyond it. */
static void izo_parts_need_more(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_kml_samples); i++) {
		const struct izo_kml_sample *sample = &izo_kml_samples[i];
		struct izo_sample_bytes b;
		size_t len;

		if (!izo_is_good(sample))
			continue;
		b = izo_sample_bytes(test, sample);
		for (size_t part = 0; part < b.len; part++) {
			void *copy = kmemdup(b.data, part, GFP_KERNEL);

			KUNIT_ASSERT_NOT_NULL(test, copy);
			KUNIT_EXPECT_EQ_MSG(test, izo_record_judge(copy, part, &len),
					    IZO_JUDGED_MORE, "%zu bytes of %s", part, sample->name);
			kfree(copy);
		}
	}
}

/* What lies between the head and the tail of a filler means nothing. */
static bool izo_counts(const struct izo_kml_sample *sample, size_t at, size_t len)
{
	return !izo_is_filler(sample) || at < IZO_KML_FILLER_HEAD ||
		at >= len - sizeof(struct izo_kml_tail);
}

static void izo_flipped_bytes_are_refused(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_kml_samples); i++) {
		const struct izo_kml_sample *sample = &izo_kml_samples[i];
		struct izo_sample_bytes b;

		if (!izo_is_good(sample))
			continue;
		b = izo_sample_bytes(test, sample);
		for (size_t at = 0; at < b.len; at++) {
			bool counts = izo_counts(sample, at, b.len), refused;
			enum izo_judged judged;
			size_t len;

			b.data[at] ^= 0x21;
			judged = izo_record_judge(b.data, b.len, &len);
			refused = judged == IZO_JUDGED_BAD || judged == IZO_JUDGED_MORE;
			KUNIT_EXPECT_EQ_MSG(test, refused, counts, "byte %zu of %s", at,
					    sample->name);
			if (!counts)
				KUNIT_EXPECT_EQ(test, judged, IZO_JUDGED_FILLER);
			b.data[at] ^= 0x21;
		}
	}
}

/* Puts @b's head and items together anew; a PAD is for the sealing to make. */
static size_t izo_make_again(struct kunit *test, const struct izo_sample_bytes *b, void *buf,
			     size_t size)
{
	const struct izo_kml_head *h = (const void *)b->data;
	const u8 *at = b->data + sizeof(*h), *end = b->data + b->len - sizeof(struct izo_kml_tail);
	unsigned int block = 1;
	struct izo_record r;

	izo_record_start(&r, buf, size);
	*r.head = *h;
	while (at < end) {
		const struct izo_kml_item *item = (const void *)at;
		u32 len = le32_to_cpu(item->len);

		if (le16_to_cpu(item->type) == IZO_ITEM_PAD)
			block = SZ_4K;
		else
			memcpy(izo_record_item(&r, le16_to_cpu(item->type), len), item + 1, len);
		at += IZO_ITEM_ROOM(len);
	}
	KUNIT_EXPECT_EQ(test, r.err, 0);
	return izo_record_seal(&r, le64_to_cpu(h->offset), le64_to_cpu(h->epoch),
			       le64_to_cpu(h->recno), block);
}

static void izo_records_are_made_alike(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(izo_kml_samples); i++) {
		const struct izo_kml_sample *sample = &izo_kml_samples[i];
		struct izo_sample_bytes b;
		size_t size, len;
		void *buf;

		if (!izo_is_good(sample) || izo_is_filler(sample))
			continue;
		b = izo_sample_bytes(test, sample);
		size = b.len + IZO_RECORD_SPARE;
		buf = kunit_kzalloc(test, size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, buf);
		len = izo_make_again(test, &b, buf, size);
		KUNIT_ASSERT_EQ_MSG(test, len, b.len, "%s", sample->name);
		KUNIT_EXPECT_MEMEQ_MSG(test, buf, b.data, len, "%s", sample->name);
	}
}

static void izo_record_without_room(struct kunit *test)
{
	u8 buf[IZO_RECORD_SPARE + IZO_ITEM_ROOM(16)];
	struct izo_record r;

	izo_record_start(&r, buf, sizeof(buf));
	KUNIT_EXPECT_NOT_NULL(test, izo_record_item(&r, IZO_ITEM_GROUPS, 16));
	KUNIT_EXPECT_EQ(test, r.err, 0);
	KUNIT_EXPECT_NULL(test, izo_record_item(&r, IZO_ITEM_GROUPS, 4));
	KUNIT_EXPECT_EQ(test, r.err, -EOVERFLOW);
}

/* RFC 3720, B.4 */
static void izo_checksums(struct kunit *test)
{
	u8 data[32] = { };

	KUNIT_EXPECT_EQ(test, izo_crc_add(0, data, sizeof(data)), 0x8a9136aa);
	memset(data, 0xff, sizeof(data));
	KUNIT_EXPECT_EQ(test, izo_crc_add(0, data, sizeof(data)), 0x62a8ab43);
	KUNIT_EXPECT_EQ(test, izo_crc_add(izo_crc_add(0, data, 9), data + 9, 23), 0x62a8ab43);
}

static struct kunit_case izo_kml_record_cases[] = {
	KUNIT_CASE(izo_samples_are_judged),
	KUNIT_CASE(izo_parts_need_more),
	KUNIT_CASE(izo_flipped_bytes_are_refused),
	KUNIT_CASE(izo_records_are_made_alike),
	KUNIT_CASE(izo_record_without_room),
	KUNIT_CASE(izo_checksums),
	{ }
};

static struct kunit_suite izo_kml_record_suite = {
	.name = "intermezzo_kml_record",
	.test_cases = izo_kml_record_cases,
};

kunit_test_suite(izo_kml_record_suite);
