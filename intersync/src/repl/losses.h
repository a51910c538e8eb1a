// SPDX-License-Identifier: GPL-2.0
// Records of a peer's that were passed although they changed something there: what people are told.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "repl/tree.h"

namespace izo::repl {

/// A change of a peer's that is not made here.
struct Loss {
  Record record;
  std::string path;      ///< What it is about, below the root, as it is named here if it is here.
  Passed why;            ///< kConflict, kNotHere or kRefused.
  bool in_part = false;  ///< It is made, but for what the file system does not take of it.
};

using OnLosses = std::function<void(const std::vector<Loss>&)>;

/// Collects them while records are decided, some of them more than once, and some in vain.
class Losses {
 public:
  void begin() { last_.clear(); }
  /// What was decided last of a record counts, and of several reasons to pass it the first.
  void decided(const Record& record, const Tree::Decision& decision);
  /// Those of records whose outcome is stored now; `inexact`: which were applied in part. A body
  /// that lost is none: it is kept as a copy, which is listed.
  [[nodiscard]] std::vector<Loss> of(std::span<const Record> stored,
                                     const std::set<std::uint64_t>& inexact,
                                     const Index& index) const;

 private:
  std::map<std::uint64_t, Passed> last_;  // by the record's number
};

}  // namespace izo::repl
