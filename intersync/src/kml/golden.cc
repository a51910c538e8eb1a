// SPDX-License-Identifier: GPL-2.0
#include "kml/golden.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kml/codec.h"
#include "kml/corpus.h"

namespace izo::kml {

std::string differs_from_golden(const std::string& path,
                                const std::function<std::string(const Record&)>& show) {
  std::string shown;
  for (const CorpusFile& file : make_corpus()) {
    const Decoded decoded = decode(file.bytes);
    if (const auto* record = std::get_if<Record>(&decoded)) {
      shown += file.name + ": " + show(*record) + '\n';
    }
  }
  if (std::getenv("IZO_WRITE_GOLDEN") != nullptr) {
    std::ofstream(path) << shown;
    return {};
  }
  std::istringstream is(shown);
  std::ifstream expected(path);
  std::string out;
  for (std::string line, wanted; std::getline(is, line);) {
    if (!std::getline(expected, wanted) || line != wanted) {
      out.append("is:     ").append(line).append("\ngolden: ").append(wanted).append("\n");
    }
  }
  std::string more;
  if (std::getline(expected, more)) {
    out.append("golden: ").append(more).append("\n");
  }
  return out;
}

}  // namespace izo::kml
