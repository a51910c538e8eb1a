// SPDX-License-Identifier: GPL-2.0
#include "base/fs_at.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace izo {
namespace {

constexpr std::string_view kNew = ".new-";
constexpr std::size_t kNewDigits = 16;

/// A name that nobody else uses, next to `name`: two writers of one file each have their own.
std::string name_while_new(const std::string& name) {
  std::array<char, kNewDigits + 1> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx",
                static_cast<unsigned long long>(SystemRandom().number()));
  return "." + name + std::string(kNew) + digits.data();
}

bool is_leftover(std::string_view name) {
  constexpr std::size_t kTail = kNew.size() + kNewDigits;
  if (name.size() <= kTail + 1 || name.front() != '.') {
    return false;
  }
  const std::string_view tail = name.substr(name.size() - kTail);
  return tail.starts_with(kNew) &&
         tail.find_first_not_of("0123456789abcdef", kNew.size()) == std::string_view::npos;
}

/// Removes its file unless that was renamed.
class NewFile {
 public:
  NewFile(int directory, std::string name, mode_t mode)
      : directory_(directory), name_(std::move(name)) {
    fd_ = UniqueFd(checked(::openat(directory_, name_.c_str(),
                                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode),
                           "openat", name_));
  }
  ~NewFile() {
    if (!name_.empty()) {
      ::unlinkat(directory_, name_.c_str(), 0);
    }
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(Bytes contents) const {
    while (!contents.empty()) {
      const ssize_t done = ::write(fd_.get(), contents.data(), contents.size());
      if (done < 0 && errno == EINTR) {
        continue;
      }
      contents = contents.subspan(static_cast<std::size_t>(checked(done, "write", name_)));
    }
    checked(::fsync(fd_.get()), "fsync", name_);
  }

  void rename_to(const std::string& name) {
    checked(::renameat(directory_, name_.c_str(), directory_, name.c_str()), "renameat", name);
    name_.clear();
  }

 private:
  int directory_;
  std::string name_;
  UniqueFd fd_;
};

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};

}  // namespace

UniqueFd open_directory(const std::string& path) {
  return UniqueFd(checked(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", path));
}

UniqueFd make_directory(int directory, const std::string& name, mode_t mode) {
  if (::mkdirat(directory, name.c_str(), mode) != 0 && errno != EEXIST) {
    throw SysError(errno, "mkdirat", name);
  }
  return UniqueFd(
      checked(::openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
              "openat", name));
}

std::optional<std::string> read_file(int directory, const std::string& name, std::size_t most) {
  // Non-blocking: a FIFO that somebody put there must not stop the program.
  const UniqueFd fd(
      ::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    return std::nullopt;
  }
  checked(fd.get(), "openat", name);
  struct stat status{};
  checked(::fstat(fd.get(), &status), "fstat", name);
  if (!S_ISREG(status.st_mode)) {
    throw Error(name + ": not a regular file");
  }
  // The size is only a hint: the file may grow while it is read.
  std::string contents;
  std::size_t used = 0;
  for (;;) {
    const std::size_t left = static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) > used
                                 ? static_cast<std::size_t>(status.st_size) - used
                                 : 0;
    contents.resize(std::min(used + std::max<std::size_t>(left, 1), most + 1));
    const ssize_t got = ::read(fd.get(), contents.data() + used, contents.size() - used);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    used += static_cast<std::size_t>(checked(got, "read", name));
    if (used > most) {
      throw Error(name + ": longer than " + std::to_string(most) + " bytes");
    }
    if (got == 0) {
      contents.resize(used);
      return contents;
    }
  }
}

void write_file(int directory, const std::string& name, Bytes contents, mode_t mode) {
  NewFile file(directory, name_while_new(name), mode);
  file.write(contents);
  file.rename_to(name);
  checked(::fsync(directory), "fsync of the directory of", name);
}

void remove_leftovers(int directory) {
  UniqueFd again(checked(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "openat"));
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(again.get()));
  if (!stream) {
    throw SysError(errno, "fdopendir");
  }
  static_cast<void>(again.release());  // closedir(3) closes it
  std::vector<std::string> found;
  while (const dirent* entry = ::readdir(stream.get())) {
    if (is_leftover(entry->d_name)) {
      found.emplace_back(entry->d_name);
    }
  }
  for (const std::string& name : found) {
    checked(::unlinkat(directory, name.c_str(), 0), "unlinkat", name);
  }
}

}  // namespace izo
