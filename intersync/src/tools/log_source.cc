// SPDX-License-Identifier: GPL-2.0
#include "tools/log_source.h"

#include <fcntl.h>
#include <linux/intermezzo.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/error.h"
#include "base/unique_fd.h"
#include "ext/image.h"
#include "kml/wire.h"
#include "tools/cache_log.h"
#include "tools/copied_log.h"
#include "tools/mounted_log.h"

namespace izo::tools {
namespace {

namespace fs = std::filesystem;

std::uint64_t magic_at_start(int fd) {
  std::array<std::byte, sizeof(std::uint64_t)> bytes{};
  return pread(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())
             ? kml::little(kml::load<std::uint64_t>(bytes))
             : 0;
}

UniqueFd open_to_read(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) {
    throw SysError(errno, "open", path);
  }
  return fd;
}

/// The control block and the segments in .intermezzo/FILESET of a cache whose log is not open.
std::unique_ptr<LogSource> open_folder(const fs::path& folder) {
  return std::make_unique<CacheLog>(
      folder.string(),
      [folder](const std::string& name) -> std::optional<std::vector<std::byte>> {
        const fs::path path = folder / name;
        std::ifstream file(path, std::ios::binary | std::ios::ate);
        if (!file) {
          return std::nullopt;
        }
        std::vector<std::byte> bytes(static_cast<std::size_t>(file.tellg()));
        file.seekg(0);
        if (!file.read(reinterpret_cast<char*>(bytes.data()),
                       static_cast<std::streamsize>(bytes.size()))) {
          throw Error(path.string() + ": cannot be read");
        }
        return bytes;
      },
      "");
}

/// The log whose first file is `path`, .intermezzo/FILESET/kml.
std::unique_ptr<LogSource> open_kml(const std::string& path, UniqueFd fd) {
  if (kernel::LogFile::is_one(fd.get())) {
    return std::make_unique<MountedLog>(path, std::move(fd));
  }
  return open_folder(fs::canonical(path).parent_path());
}

std::unique_ptr<LogSource> open_copy(const std::string& name, UniqueFd fd,
                                     const std::string& fileset) {
  if (!fileset.empty()) {
    throw Error(name + ": a copy of a log has no fileset to choose; leave out " +
                "--fileset=" + fileset);
  }
  return std::make_unique<CopiedLog>(name, std::move(fd));
}

std::unique_ptr<LogSource> open_file(const std::string& path, UniqueFd fd,
                                     const std::string& fileset) {
  if (!kernel::LogFile::is_one(fd.get()) && magic_at_start(fd.get()) != IZO_CONTROL_MAGIC) {
    return open_copy(path, std::move(fd), fileset);
  }
  choose_fileset({fs::canonical(path).parent_path().filename().string()}, fileset, path);
  return open_kml(path, std::move(fd));
}

std::vector<std::string> folders_in(const fs::path& path) {
  std::vector<std::string> out;
  std::error_code failed;
  for (fs::directory_iterator at(path, failed), end; !failed && at != end; at.increment(failed)) {
    if (at->is_directory()) {
      out.push_back(at->path().filename().string());
    }
  }
  if (failed) {
    throw SysError(failed.value(), "read", path.string());
  }
  return out;
}

/// A mount point, or a cache that is mounted as what it is.
std::unique_ptr<LogSource> open_directory(const std::string& path, const std::string& fileset) {
  const fs::path mark = fs::path(path) / INTERMEZZO_DIR;
  std::error_code missing;
  if (!fs::is_directory(mark, missing)) {
    throw Error(path + ": neither a mount point of an intermezzo nor a cache");
  }
  try {
    const std::string name = choose_fileset(folders_in(mark), fileset, path);
    const std::string kml = (mark / name / "kml").string();
    return open_kml(kml, open_to_read(kml));
  } catch (const SysError& error) {
    if (error.code() == EACCES || error.code() == EPERM) {
      throw Error(path + ": only root (CAP_SYS_ADMIN) may read the log of a fileset");
    }
    if (error.code() == ENOENT) {
      throw Error(path + ": the fileset has no log yet");
    }
    throw;
  }
}

std::unique_ptr<LogSource> open_image(const std::string& path, const std::string& fileset) {
  auto image = std::make_shared<ext::Image>(path, ext::Image::Access::kRead);
  const auto below = [&](ext::Inode directory, const std::string& name) {
    const std::optional<ext::Inode> inode = image->lookup(directory, name);
    if (!inode || !image->is_directory(*inode)) {
      throw Error(path + ": it is no cache: it has no " INTERMEZZO_DIR);
    }
    return *inode;
  };
  const ext::Inode mark = below(ext::Image::root(), INTERMEZZO_DIR);
  std::vector<std::string> names = image->names(mark);
  std::erase_if(names, [&](const std::string& name) {
    return !image->is_directory(image->lookup(mark, name).value());
  });
  const ext::Inode folder = below(mark, choose_fileset(names, fileset, path));
  return std::make_unique<CacheLog>(
      path,
      [image, folder](const std::string& name) -> std::optional<std::vector<std::byte>> {
        const std::optional<ext::Inode> inode = image->lookup(folder, name);
        return inode ? std::optional(image->read(*inode)) : std::nullopt;
      },
      image->needs_recovery()
          ? "the journal of its file system is not replayed: the newest records may be missing"
          : "");
}

}  // namespace

bool LogSource::may_end_at(std::uint64_t /*offset*/) const {
  return false;
}

std::string LogSource::warning() const {
  return {};
}

std::string choose_fileset(const std::vector<std::string>& names, const std::string& wanted,
                           const std::string& path) {
  if (!wanted.empty() && std::ranges::find(names, wanted) == names.end()) {
    throw Error(path + ": it has no fileset " + wanted);
  }
  if (!wanted.empty()) {
    return wanted;
  }
  if (names.empty()) {
    throw Error(path + ": it has no fileset yet");
  }
  if (names.size() > 1) {
    std::string all;
    for (const std::string& name : names) {
      all += (all.empty() ? "" : ", ") + name;
    }
    throw Error(path + ": it has several filesets (" + all + "); choose one with " +
                "--fileset=NAME");
  }
  return names.front();
}

kml::Position end_of(LogSource& log) {
  const kml::Header header = log.header();
  kml::StreamReader reader(
      kml::Position{.epoch = header.epoch, .offset = header.first, .recno = header.first_recno});
  std::vector<std::byte> buffer(std::size_t{1} << 16);
  for (;;) {
    const kml::StreamReader::Next next = reader.next();
    const std::uint64_t offset = reader.position().offset;
    if (std::holds_alternative<kml::Record>(next)) {
      continue;
    }
    const auto* corrupt = std::get_if<kml::Corrupt>(&next);
    const std::size_t count =
        corrupt == nullptr ? log.read(offset + reader.waiting(), buffer).value_or(0) : 0;
    if (count != 0) {
      reader.feed(std::span(buffer).first(count));
    } else if ((corrupt == nullptr && reader.waiting() == 0) || log.may_end_at(offset)) {
      return reader.position();
    } else {
      throw Damaged("the log at offset " + std::to_string(offset) + ": " +
                    (corrupt != nullptr ? corrupt->what : "it is cut off"));
    }
  }
}

std::unique_ptr<LogSource> open_log(const std::string& path, const std::string& fileset) {
  if (path == "-") {
    return open_copy("standard input", UniqueFd(dup(STDIN_FILENO)), fileset);
  }
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    throw SysError(errno, "stat", path);
  }
  if (S_ISDIR(status.st_mode)) {
    return open_directory(path, fileset);
  }
  UniqueFd fd = open_to_read(path);
  if (ext::Image::is_on(fd.get()) && magic_at_start(fd.get()) != IZO_KML_HEADER_MAGIC) {
    return open_image(path, fileset);
  }
  return open_file(path, std::move(fd), fileset);
}

}  // namespace izo::tools
