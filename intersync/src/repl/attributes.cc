// SPDX-License-Identifier: GPL-2.0
#include "repl/attributes.h"

#include <algorithm>

#include "repl/sml.h"

namespace izo::repl {

using kml::Op;

namespace {

constexpr std::uint32_t kAttributes =
    IZO_ATTR_MODE | IZO_ATTR_UID | IZO_ATTR_GID | IZO_ATTR_FSFLAGS | IZO_ATTR_PROJID;
constexpr const char* kAccessAcl = "system.posix_acl_access";

bool is_xattr(const Record& record) {
  return record.op == Op::kSetxattr || record.op == Op::kRemovexattr;
}

/// What a record says of them, without times.
Record only_attributes(const Record& record) {
  Record out = record;
  if (out.attr) {
    out.attr = part_of(*out.attr, kAttributes);
  }
  if (out.op != Op::kSetattr && out.attr && out.attr->valid == 0) {
    // Of an ACL the kernel has a time there, if no mode.
    out.attr.reset();
  }
  return out;
}

/// Which of them a record sets; with an ACL there can be a mode.
std::uint32_t fields_of(const Record& record) {
  return record.attr ? record.attr->valid & kAttributes : 0;
}

}  // namespace

bool sets_attributes(const Record& record) {
  return is_xattr(record) || sets_owner_or_mode(record);
}

bool sets_owner_or_mode(const Record& record) {
  return (record.op == Op::kSetattr || is_xattr(record)) && (record.aspects & IZO_ASPECT_ATTR) != 0;
}

std::optional<Record> attributes_as_they_are(const Record& record, const Portrait& is) {
  Record out = record;
  if (record.op == Op::kSetattr) {
    out.attr = part_of(is.attr, record.attr->valid & (kAttributes | IZO_ATTR_MTIME));
    return out.attr->valid != 0 ? std::optional(std::move(out)) : std::nullopt;
  }
  const std::string& name = record.xattrs.front().name;
  const auto found = std::find_if(is.xattrs.begin(), is.xattrs.end(),
                                  [&](const kml::Xattr& one) { return one.name == name; });
  out.op = found != is.xattrs.end() ? Op::kSetxattr : Op::kRemovexattr;
  out.xattrs.front().value = found != is.xattrs.end() ? found->value : std::string();
  // One that is not there says with the mode that it is not.
  out.attr = name == kAccessAcl ? std::optional(part_of(is.attr, IZO_ATTR_MODE))
                                : std::optional<kml::Attr>();
  return out;
}

void OwnAttributes::made(const Record& record, bool contested) {
  if (!sets_attributes(record)) {
    return;
  }
  Object& object = objects_[record.object];
  object.last = record.recno;
  object.contested = object.contested || contested;
  for (std::uint32_t field = 1; field <= kAttributes; field <<= 1) {
    if ((fields_of(record) & field) != 0) {
      object.newest[field] = record.recno;
    }
  }
  if (is_xattr(record) && sets_owner_or_mode(record)) {
    object.acls.insert(record.xattrs.front().name);
  } else if (is_xattr(record)) {
    object.newest_xattr[record.xattrs.front().name] = record.recno;
  }
  const Record only = only_attributes(record);
  sent_.insert_or_assign(
      record.recno,
      Sent{.object = only.object, .op = only.op, .attr = only.attr, .xattrs = only.xattrs});
}

std::optional<Record> OwnAttributes::due(const Record& echo) {
  const auto sent = sets_attributes(echo) ? sent_.find(echo.origin_recno) : sent_.end();
  if (sent == sent_.end()) {
    return std::nullopt;
  }
  Record out = only_attributes(echo);
  Object& object = objects_[echo.object];
  object.contested = object.contested || out.op != sent->second.op ||
                     out.attr != sent->second.attr || out.xattrs != sent->second.xattrs;
  if (!object.contested) {
    return std::nullopt;
  }
  return without(std::move(out), object, echo.origin_recno);
}

std::optional<Record> OwnAttributes::apart_from_ours(const Record& record) const {
  const auto found = objects_.find(record.object);
  if (found == objects_.end()) {
    return std::nullopt;
  }
  if (is_xattr(record)) {
    // An ACL, which is the same aspect as what ours set: the echoes tell of that only.
    const bool is_ours =
        !sets_owner_or_mode(record) || found->second.acls.contains(record.xattrs.front().name);
    return is_ours ? std::nullopt : std::optional(record);
  }
  return record.op == Op::kSetattr ? without(record, found->second, 0) : std::nullopt;
}

std::optional<Record> OwnAttributes::without(Record record, const Object& object,
                                             std::uint64_t recno) {
  if (record.op != Op::kSetattr) {
    // An ACL is set all the same: a later one may be as it was, and leave the mode to this one.
    const auto newest = object.newest_xattr.find(record.xattrs.front().name);
    return newest == object.newest_xattr.end() || newest->second <= recno
               ? std::optional(std::move(record))
               : std::nullopt;
  }
  std::uint32_t fields = record.attr->valid;
  for (const auto& [field, newest] : object.newest) {
    fields &= newest > recno ? ~field : ~std::uint32_t{0};
  }
  record.attr = part_of(*record.attr, fields);
  return fields != 0 ? std::optional(std::move(record)) : std::nullopt;
}

void OwnAttributes::forget(std::uint64_t recno) {
  while (!sent_.empty() && sent_.begin()->first <= recno) {
    const auto found = objects_.find(sent_.begin()->second.object);
    if (found != objects_.end() && found->second.last <= recno) {
      objects_.erase(found);
    }
    sent_.erase(sent_.begin());
  }
}

}  // namespace izo::repl
