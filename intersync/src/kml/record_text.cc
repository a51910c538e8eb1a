// SPDX-License-Identifier: GPL-2.0
#include "kml/record_text.h"

#include <array>
#include <cstdio>

#include "kml/quoted.h"

namespace izo::kml {
namespace {

/// Values of attributes up to this many bytes are shown.
constexpr std::size_t kValueShown = 64;

std::string where(const Place& place) {
  return to_string(place.dir) + '/' + quoted(place.name);
}

/// Words with a blank between them.
class Line {
 public:
  void word(std::string_view text) {
    text_ += text_.empty() ? "" : " ";
    text_ += text;
  }
  void field(std::string_view name, std::string_view value) {
    word(name);
    text_ += '=';
    text_ += value;
  }
  void field(std::string_view name, std::uint64_t value) { field(name, std::to_string(value)); }
  void number(std::string_view name, const char* format, std::uint32_t value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), format, value);
    field(name, text.data());
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void add_attr(Line& line, const Attr& attr, bool with_times) {
  if (attr.has(IZO_ATTR_MODE)) {
    line.number("mode", "%07o", attr.mode);
  }
  if (attr.has(IZO_ATTR_UID)) {
    line.field("uid", attr.uid);
  }
  if (attr.has(IZO_ATTR_GID)) {
    line.field("gid", attr.gid);
  }
  if (attr.has(IZO_ATTR_SIZE)) {
    line.field("size", attr.size);
  }
  if (attr.has(IZO_ATTR_RDEV)) {
    line.field("rdev",
               std::to_string(attr.rdev >> 32) + ':' + std::to_string(attr.rdev & 0xffffffff));
  }
  if (attr.has(IZO_ATTR_FSFLAGS)) {
    line.number("fsflags", "0x%x", attr.fsflags);
  }
  if (attr.has(IZO_ATTR_PROJID)) {
    line.field("projid", attr.projid);
  }
  if (with_times && attr.has(IZO_ATTR_MTIME)) {
    line.field("mtime", to_string(attr.mtime));
  }
  if (with_times && attr.has(IZO_ATTR_ATIME)) {
    line.field("atime", to_string(attr.atime));
  }
}

void add_xattrs(Line& line, const Record& record) {
  for (const Xattr& xattr : record.xattrs) {
    std::string text = quoted(xattr.name);
    if (record.op != Op::kRemovexattr) {
      text += '=';
      text += xattr.value.size() <= kValueShown
                  ? quoted(xattr.value)
                  : '(' + std::to_string(xattr.value.size()) + " bytes)";
    }
    line.field("xattr", text);
  }
}

template <typename T, typename Show>
std::string list(const std::vector<T>& values, const Show& show) {
  std::string out;
  for (const T& value : values) {
    out += out.empty() ? "" : ",";
    out += show(value);
  }
  return out;
}

void add_names(Line& line, const Record& record) {
  if (record.place) {
    line.word(where(*record.place));
  }
  if (record.to) {
    line.word(record.op == Op::kRename && (record.flags & IZO_KML_EXCHANGE) != 0 ? "<->" : "->");
    line.word(where(*record.to));
  }
  line.word(to_string(record.object));
  if (record.hint) {
    line.field("perhaps", where(*record.hint));
  }
  if (record.target) {
    line.field("target", quoted(*record.target));
  }
  if (record.replaced) {
    line.field("replaced", to_string(record.replaced->fid));
    line.field("replaced-nlink", record.replaced->nlink);
  }
  if (record.whiteout) {
    line.field("left", to_string(record.whiteout->fid));
  }
}

}  // namespace

std::string to_text(const Record& record, std::uint16_t self) {
  Line line;
  line.word(std::to_string(record.recno));
  line.word(std::to_string(record.offset));
  line.word(to_string(logged_at(record)));
  line.word(name_of(record.op));
  add_names(line, record);
  if (record.attr) {
    add_attr(line, *record.attr, record.op == Op::kSetattr);
  }
  add_xattrs(line, record);
  if (!record.ranges.empty()) {
    line.field("ranges", list(record.ranges, [](const Range& range) {
                 return std::to_string(range.start) + '-' + std::to_string(range.end);
               }));
  }
  line.field("nlink", record.nlink);
  line.field("by", std::to_string(record.uid) + ':' + std::to_string(record.gid));
  if (!record.groups.empty()) {
    line.field("groups",
               list(record.groups, [](std::uint32_t group) { return std::to_string(group); }));
  }
  if (record.origin != self) {
    line.field("from", std::to_string(record.origin) + ':' + std::to_string(record.origin_recno));
  }
  if (record.seen != 0) {
    line.field("seen", record.seen);
  }
  for (const std::string_view flag : names_of_flags(record.flags)) {
    line.word(flag);
  }
  return line.take();
}

}  // namespace izo::kml
