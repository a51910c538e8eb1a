// SPDX-License-Identifier: GPL-2.0
// The files in corpus/: what the format allows, what it does not, and logs that end in the middle.
// They test this codec, the kernel's (kmod/tests) and whoever writes another one.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace izo::kml {

/// One file of the corpus.
struct CorpusFile {
  std::string name;  ///< "good/create", "fail/magic", "crash/torn-head".
  std::vector<std::byte> bytes;
  /// good: "record" or "filler"; fail: why it is refused; crash: how many records a reader gets,
  /// where it stops and why.
  std::string verdict;
};

/// All files, always the same ones.
std::vector<CorpusFile> make_corpus();

/// The good and the fail files that are not large, as C: kmod/tests/kml_corpus.h.
std::string corpus_for_the_kernel();

/// What decode() says of the bytes of a good or fail file.
std::string verdict_on_record(const std::vector<std::byte>& bytes);

/// What StreamReader says of those of a crash file.
std::string verdict_on_stream(const std::vector<std::byte>& bytes);

}  // namespace izo::kml
