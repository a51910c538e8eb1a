// SPDX-License-Identifier: GPL-2.0
// Records to test with: from a seed, all that the format allows and nothing else.
#pragma once

#include <cstdint>
#include <random>

#include "kml/record.h"

namespace izo::kml {

/// All operations that a record can have.
inline constexpr Op kOps[] = {Op::kCreate,  Op::kMkdir,    Op::kMknod,       Op::kSymlink,
                              Op::kLink,    Op::kUnlink,   Op::kRmdir,       Op::kRename,
                              Op::kSetattr, Op::kSetxattr, Op::kRemovexattr, Op::kClose};

/// Makes records; the same seed makes the same ones everywhere.
class SampleRecords {
 public:
  explicit SampleRecords(std::uint64_t seed) : random_(seed) {}

  /// A record of this operation with `length` 0, for any place of any log.
  Record make(Op op);
  /// One of any operation.
  Record make() { return make(kOps[below(std::size(kOps))]); }

  /// A number below `end`, which is not 0. Not by a standard distribution: those differ between
  /// libraries.
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

 private:
  bool maybe() { return below(2) == 0; }
  std::string text(std::size_t most);
  Fid fid();
  Fid fid_of_made();  ///< Not the root.
  Time time();
  Place place();
  Attr attr(std::uint32_t valid, std::uint32_t type);
  std::vector<Xattr> xattrs(std::uint64_t most);
  void born(Record& record, std::uint32_t type);
  void renamed(Record& record);
  void closed(Record& record);

  std::mt19937_64 random_;
};

}  // namespace izo::kml
