// SPDX-License-Identifier: GPL-2.0
// An unmounted ext2, ext3 or ext4 on a device or in an image file, through libext2fs: as much of it
// as a cache's own files need. Needs no privilege but that to read or write the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct struct_ext2_filsys;

namespace izo::ext {

using Inode = std::uint32_t;

/// An inode in use.
struct InodeInfo {
  Inode number = 0;
  std::uint32_t generation = 0;
};

class Image {
 public:
  enum class Access { kRead, kWrite };

  /// Does this file or device begin as ext2, ext3 and ext4 do?
  static bool is_on(int fd);

  /// Throws Error if there is no ext file system; for kWrite also if it is mounted, or was not
  /// unmounted cleanly.
  Image(const std::string& path, Access access);
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  /// Why the kernel would not take it for a cache, as kmod/cache.c has it; nullopt if it would.
  [[nodiscard]] std::optional<std::string> unfit_as_cache() const;

  [[nodiscard]] std::uint32_t block_size() const;  ///< Bytes.
  [[nodiscard]] std::uint64_t free_blocks() const;
  [[nodiscard]] Inode first_inode() const;  ///< The first that is not reserved.
  /// Does it keep account of owners itself, so that e2fsck must look after a change?
  [[nodiscard]] bool has_quota() const;
  /// Does its journal hold what its blocks do not have yet? (It is mounted, or has crashed.)
  [[nodiscard]] bool needs_recovery() const;

  [[nodiscard]] static Inode root();
  [[nodiscard]] std::optional<Inode> lookup(Inode directory, const std::string& name) const;
  /// All but "." and "..".
  [[nodiscard]] std::vector<std::string> names(Inode directory) const;
  [[nodiscard]] bool is_directory(Inode inode) const;
  /// The contents of a regular file.
  [[nodiscard]] std::vector<std::byte> read(Inode inode) const;
  [[nodiscard]] bool has_xattr(Inode inode, const std::string& name) const;
  /// Calls for every inode in use, in the order of their numbers.
  void each_inode(const std::function<void(const InodeInfo&)>& function) const;

  /// A new directory of root's with mode 0700.
  Inode make_directory(Inode parent, const std::string& name);
  /// A file of root's with mode 0600; one of that name is replaced.
  void write(Inode directory, const std::string& name, std::span<const std::byte> bytes);
  /// Removes a regular file.
  void remove(Inode directory, const std::string& name);

  /// Writes what is pending; throws Error. Without it changes may be lost.
  void close();

 private:
  void check(long error, const std::string& what) const;
  void load_bitmaps();
  void link(Inode directory, const std::string& name, Inode inode);
  void fill(Inode inode, std::span<const std::byte> bytes);

  struct Close {
    void operator()(struct_ext2_filsys* fs) const;
  };
  std::string path_;
  std::unique_ptr<struct_ext2_filsys, Close> fs_;
};

}  // namespace izo::ext
