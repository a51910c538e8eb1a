// SPDX-License-Identifier: GPL-2.0
#include "kml/corpus.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace izo::kml {
namespace {

constexpr const char* kFolder = IZO_TOP "/intersync/src/kml/corpus";

std::string contents(const std::filesystem::path& path) {
  const std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Corpus, CommittedFilesAreWhatTheGeneratorMakes) {
  std::set<std::string> names{"MANIFEST"};
  for (const CorpusFile& file : make_corpus()) {
    const std::string bytes(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
    EXPECT_TRUE(contents(std::filesystem::path(kFolder) / file.name) == bytes)
        << file.name << ": run make_corpus " << kFolder;
    EXPECT_TRUE(names.insert(file.name).second) << "two files of the name " << file.name;
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kFolder)) {
    if (entry.is_regular_file()) {
      const std::string name = entry.path().lexically_relative(kFolder).string();
      EXPECT_TRUE(names.contains(name)) << name << " comes from nowhere";
    }
  }
}

TEST(Corpus, KernelHasTheSame) {
  EXPECT_TRUE(contents(IZO_TOP "/kmod/tests/kml_corpus.h") == corpus_for_the_kernel())
      << "run make_corpus --kernel > kmod/tests/kml_corpus.h";
}

TEST(Corpus, CommittedFilesAreJudgedAsTheManifestSays) {
  std::istringstream manifest(contents(std::filesystem::path(kFolder) / "MANIFEST"));
  int files = 0;
  for (std::string line; std::getline(manifest, line);) {
    if (line.starts_with('#')) {
      continue;
    }
    const std::size_t colon = line.find(": ");
    ASSERT_NE(colon, std::string::npos) << line;
    const std::string name = line.substr(0, colon);
    const std::string text = contents(std::filesystem::path(kFolder) / name);
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    const std::vector<std::byte> bytes(data, data + text.size());
    EXPECT_EQ(name.starts_with("crash/") ? verdict_on_stream(bytes) : verdict_on_record(bytes),
              line.substr(colon + 2))
        << name;
    files++;
  }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace izo::kml
