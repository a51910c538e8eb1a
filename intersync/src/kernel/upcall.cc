// SPDX-License-Identifier: GPL-2.0
#include "kernel/upcall.h"

#include <linux/intermezzo.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "kml/wire.h"

namespace izo::kernel {
namespace {

using kml::Bytes;
using kml::Corrupt;

// The kernel asserts the same sizes.
static_assert(sizeof(izo_upcall) == 128);
static_assert(sizeof(izo_upcall_mounted) == 1184);
static_assert(sizeof(izo_upcall_kml_grew) == 160);
static_assert(sizeof(izo_answer) == 24);

/// The text in a field that is filled up with zeros, of which there is at least one.
template <std::size_t N>
std::optional<std::string> text_of(const char (&field)[N]) {
  const auto* end = std::find(std::begin(field), std::end(field), '\0');
  if (end == std::end(field) || std::any_of(end, std::end(field), [](char c) { return c != 0; })) {
    return std::nullopt;
  }
  return std::string(std::begin(field), end);
}

std::size_t size_of(std::uint16_t type) {
  switch (type) {
    case IZO_UPCALL_MOUNTED:
      return sizeof(izo_upcall_mounted);
    case IZO_UPCALL_GONE:
      return sizeof(izo_upcall);
    case IZO_UPCALL_KML_GREW:
      return sizeof(izo_upcall_kml_grew);
    default:
      return 0;
  }
}

/// Why this cannot begin an upcall of so many bytes.
std::optional<Corrupt> fault_of_frame(const izo_upcall& head, std::size_t size) {
  if (head.version != IZO_DEVICE_VERSION) {
    return Corrupt{"version " + std::to_string(head.version) + "; this program knows " +
                   std::to_string(IZO_DEVICE_VERSION)};
  }
  if (size_of(head.type) == 0) {
    return Corrupt{"unknown type " + std::to_string(head.type)};
  }
  if (head.size != size || size != size_of(head.type)) {
    return Corrupt{"type " + std::to_string(head.type) + " with size " + std::to_string(head.size) +
                   " in " + std::to_string(size) + " bytes"};
  }
  const std::uint32_t must = head.type == IZO_UPCALL_MOUNTED ? IZO_UPCALL_ASKS : 0;
  const std::uint32_t may = head.type == IZO_UPCALL_MOUNTED ? IZO_UPCALL_READ_ONLY : 0;
  if ((head.flags & ~may) != must) {
    return Corrupt{"flags " + std::to_string(head.flags)};
  }
  return std::nullopt;
}

std::variant<About, Corrupt> about(const izo_upcall& head) {
  const std::optional<std::string> name = text_of(head.name);
  if (!name || !is_fileset_name(*name)) {
    return Corrupt{"name of the fileset"};
  }
  About out{head.id, head.channel, *name, std::to_array(head.fileset), head.epoch};
  if (out.id == 0 || out.channel >= INTERMEZZO_CHANNELS || head.reserved != 0) {
    return Corrupt{"head with a field that no upcall has"};
  }
  if ((out.epoch == 0) != (out.fileset == kml::Uuid{})) {
    return Corrupt{"epoch without a fileset's UUID, or the other way round"};
  }
  return out;
}

DecodedUpcall decode_mounted(const izo_upcall_mounted& body, About about) {
  std::optional<std::string> mtp = text_of(body.mtp);
  if (!mtp || (!mtp->empty() && mtp->front() != '/')) {
    return Corrupt{"mtp"};
  }
  Mounted out{.about = std::move(about),
              .read_only = (body.head.flags & IZO_UPCALL_READ_ONLY) != 0,
              .replica = std::to_array(body.replica),
              .dev_major = body.dev_major,
              .dev_minor = body.dev_minor,
              .mtp = *std::move(mtp)};
  if ((out.about.epoch == 0) != (out.replica == kml::Uuid{}) || body.reserved != 0) {
    return Corrupt{"MOUNTED with a field that no upcall has"};
  }
  return out;
}

DecodedUpcall decode_grew(const izo_upcall_kml_grew& body, About about) {
  KmlGrew out{.about = std::move(about),
              .committed = body.committed,
              .committed_recno = body.committed_recno,
              .recno = body.recno};
  if (out.about.epoch == 0 || out.committed < sizeof(izo_kml_header) || out.committed % 8 != 0 ||
      out.committed_recno > out.recno || body.reserved != 0) {
    return Corrupt{"KML_GREW with a field that no upcall has"};
  }
  return out;
}

}  // namespace

bool is_fileset_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@:";
  return !name.empty() && name.size() <= INTERMEZZO_FILESET_MAX && name.front() != '.' &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

DecodedUpcall decode_upcall(Bytes bytes) {
  if (bytes.size() < sizeof(izo_upcall)) {
    return Corrupt{"cut short"};
  }
  const auto head = kml::load<izo_upcall>(bytes);
  if (auto fault = fault_of_frame(head, bytes.size())) {
    return *std::move(fault);
  }
  auto common = about(head);
  if (auto* fault = std::get_if<Corrupt>(&common)) {
    return std::move(*fault);
  }
  About whose = std::get<About>(std::move(common));
  switch (head.type) {
    case IZO_UPCALL_MOUNTED:
      return decode_mounted(kml::load<izo_upcall_mounted>(bytes), std::move(whose));
    case IZO_UPCALL_KML_GREW:
      return decode_grew(kml::load<izo_upcall_kml_grew>(bytes), std::move(whose));
    default:
      return Gone{std::move(whose)};
  }
}

}  // namespace izo::kernel
