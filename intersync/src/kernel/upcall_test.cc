// SPDX-License-Identifier: GPL-2.0
#include "kernel/upcall.h"

#include <gtest/gtest.h>
#include <linux/intermezzo.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <vector>

namespace izo::kernel {
namespace {

using Buffer = std::vector<std::byte>;

template <typename T>
Buffer bytes_of(const T& raw) {
  Buffer out(sizeof(T));
  std::memcpy(out.data(), &raw, sizeof(T));
  return out;
}

izo_upcall raw_head(const About& about, std::uint16_t type, std::size_t size) {
  izo_upcall head{.size = static_cast<__u32>(size),
                  .version = IZO_DEVICE_VERSION,
                  .type = type,
                  .id = about.id,
                  .channel = about.channel,
                  .epoch = about.epoch};
  std::copy(about.fileset.begin(), about.fileset.end(), head.fileset);
  std::copy(about.name.begin(), about.name.end(), head.name);
  return head;
}

/// What the kernel gives for it.
Buffer encode(const Mounted& mounted) {
  izo_upcall_mounted raw{.head = raw_head(mounted.about, IZO_UPCALL_MOUNTED, sizeof(raw)),
                         .dev_major = mounted.dev_major,
                         .dev_minor = mounted.dev_minor};
  raw.head.flags = IZO_UPCALL_ASKS | (mounted.read_only ? IZO_UPCALL_READ_ONLY : 0);
  std::copy(mounted.replica.begin(), mounted.replica.end(), raw.replica);
  std::copy(mounted.mtp.begin(), mounted.mtp.end(), raw.mtp);
  return bytes_of(raw);
}

Buffer encode(const Gone& gone) {
  return bytes_of(raw_head(gone.about, IZO_UPCALL_GONE, sizeof(izo_upcall)));
}

Buffer encode(const KmlGrew& grew) {
  return bytes_of(izo_upcall_kml_grew{
      .head = raw_head(grew.about, IZO_UPCALL_KML_GREW, sizeof(izo_upcall_kml_grew)),
      .committed = grew.committed,
      .committed_recno = grew.committed_recno,
      .recno = grew.recno});
}

Buffer encode(const Upcall& upcall) {
  return std::visit([](const auto& one) { return encode(one); }, upcall);
}

kml::Uuid uuid(std::uint8_t first) {
  kml::Uuid out;
  for (std::size_t i = 0; i < out.size(); i++) {
    out[i] = static_cast<std::uint8_t>(first + i);
  }
  return out;
}

Mounted sample_mounted() {
  return {.about = {.id = 7, .channel = 3, .name = "home", .fileset = uuid(1), .epoch = 99},
          .read_only = false,
          .replica = uuid(101),
          .dev_major = 98,
          .dev_minor = 32,
          .mtp = "/srv/home"};
}

std::vector<Upcall> samples() {
  const Mounted mounted = sample_mounted();
  Mounted bare{.about = {.id = 1, .channel = 15, .name = std::string(64, 'n')}, .read_only = true};
  Mounted longest = mounted;
  longest.mtp = "/" + std::string(INTERMEZZO_MTP_MAX - 1, 'm');
  return {mounted,
          bare,
          longest,
          Gone{mounted.about},
          Gone{bare.about},
          KmlGrew{mounted.about, 120, 0, 0},
          KmlGrew{mounted.about, 1 << 20, 5000, 5001}};
}

TEST(Upcall, DecodesWhatTheKernelGives) {
  for (const Upcall& upcall : samples()) {
    EXPECT_EQ(decode_upcall(encode(upcall)), DecodedUpcall(upcall));
  }
}

TEST(Upcall, NoPartOfOneIsOne) {
  for (const Upcall& upcall : samples()) {
    const Buffer whole = encode(upcall);
    for (std::size_t size = 0; size < whole.size(); size++) {
      const Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_TRUE(std::holds_alternative<kml::Corrupt>(decode_upcall(part))) << size;
    }
    Buffer more = whole;
    more.emplace_back();
    EXPECT_TRUE(std::holds_alternative<kml::Corrupt>(decode_upcall(more)));
  }
}

// There is no checksum between kernel and daemon: a changed byte is refused, or is another upcall
// that has exactly these bytes.
TEST(Upcall, NoChangedByteIsOverlooked) {
  for (const Upcall& upcall : samples()) {
    const Buffer whole = encode(upcall);
    for (std::size_t at = 0; at < whole.size(); at++) {
      for (const unsigned flip : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 255U}) {
        Buffer changed = whole;
        changed[at] ^= static_cast<std::byte>(flip);
        const DecodedUpcall decoded = decode_upcall(changed);
        if (const auto* other = std::get_if<Upcall>(&decoded)) {
          ASSERT_NE(*other, upcall) << at << " ^ " << flip;
          ASSERT_EQ(encode(*other), changed) << at << " ^ " << flip;
        }
      }
    }
  }
}

void expect_refused(const Upcall& upcall, std::string_view why,
                    const std::function<void(Buffer&)>& spoil) {
  Buffer bytes = encode(upcall);
  spoil(bytes);
  const DecodedUpcall decoded = decode_upcall(bytes);
  ASSERT_TRUE(std::holds_alternative<kml::Corrupt>(decoded)) << why;
  EXPECT_NE(std::get<kml::Corrupt>(decoded).what.find(why), std::string::npos)
      << std::get<kml::Corrupt>(decoded).what;
}

TEST(Upcall, SaysWhyItIsRefused) {
  const Upcall mounted = sample_mounted();
  const auto set = [](std::size_t at, std::uint8_t value) {
    return [=](Buffer& bytes) { bytes[at] = std::byte{value}; };
  };
  expect_refused(mounted, "version 2; this program knows 1", set(offsetof(izo_upcall, version), 2));
  expect_refused(mounted, "unknown type 200", set(offsetof(izo_upcall, type), 200));
  expect_refused(mounted, "type 2 with size 1184 in 1184 bytes",
                 set(offsetof(izo_upcall, type), IZO_UPCALL_GONE));
  expect_refused(mounted, "flags 0", set(offsetof(izo_upcall, flags), 0));
  expect_refused(mounted, "name", set(offsetof(izo_upcall, name), '.'));
  expect_refused(mounted, "name", set(offsetof(izo_upcall, name) + 1, '/'));
  expect_refused(mounted, "name", set(offsetof(izo_upcall, name) + 50, 'x'));
  expect_refused(mounted, "mtp", set(offsetof(izo_upcall_mounted, mtp), 'x'));
}

// They become directories below .intermezzo (I9).
TEST(FilesetName, TakesOneComponentOfSaneBytes) {
  for (const char* name : {"a", "rootset", "root.set-1_x", "A+b@c:d"}) {
    EXPECT_TRUE(is_fileset_name(name)) << name;
  }
  EXPECT_TRUE(is_fileset_name(std::string(64, 'n')));
  for (const char* name : {"", ".", "..", ".a", "a/b", "a b", "a,b", "\xc3\xa9"}) {
    EXPECT_FALSE(is_fileset_name(name)) << name;
  }
  EXPECT_FALSE(is_fileset_name(std::string(65, 'n')));
  EXPECT_FALSE(is_fileset_name(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace izo::kernel
