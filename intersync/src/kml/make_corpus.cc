// SPDX-License-Identifier: GPL-2.0
// make_corpus FOLDER: writes the corpus there. make_corpus --kernel: prints
// kmod/tests/kml_corpus.h.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "kml/corpus.h"

namespace {

using izo::kml::CorpusFile;

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) {
    std::cerr << "make_corpus: cannot write " << path << ": " << std::strerror(errno) << '\n';
    std::exit(1);
  }
}

void write_corpus(const std::filesystem::path& folder) {
  std::string manifest = "# What a reader makes of each file. From make_corpus; do not edit.\n";
  for (const CorpusFile& file : izo::kml::make_corpus()) {
    write_file(folder / file.name,
               {reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size()});
    manifest += file.name + ": " + file.verdict + '\n';
  }
  write_file(folder / "MANIFEST", manifest);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_corpus FOLDER | --kernel\n";
    return 2;
  }
  if (std::string_view(argv[1]) == "--kernel") {
    std::cout << izo::kml::corpus_for_the_kernel();
  } else {
    write_corpus(argv[1]);
  }
  return std::cout.flush() ? 0 : 1;
}
