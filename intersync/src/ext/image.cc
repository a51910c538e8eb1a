// SPDX-License-Identifier: GPL-2.0
#include "ext/image.h"

// Its header does not say that it is C.
extern "C" {
#include <et/com_err.h>
}
#include <ext2fs/ext2fs.h>
// Debian 13's (1.47) has a macro of the name of one of <algorithm>'s functions.
#undef clamp
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <random>

#include "base/error.h"

namespace izo::ext {
namespace {

constexpr std::uint32_t kLeastInodeSize = 256;

/// A callback of libext2fs for each name of a directory.
int add_name(ext2_dir_entry* entry, int /*offset*/, int /*block_size*/, char* /*block*/, void* to) {
  const std::string name(entry->name, static_cast<std::size_t>(ext2fs_dirent_name_len(entry)));
  if (name != "." && name != "..") {
    static_cast<std::vector<std::string>*>(to)->push_back(name);
  }
  return 0;
}

struct CloseFile {
  void operator()(ext2_file* file) const { ext2fs_file_close(file); }
};
using File = std::unique_ptr<ext2_file, CloseFile>;

}  // namespace

void Image::Close::operator()(struct_ext2_filsys* fs) const {
  ext2fs_free(fs);
}

void Image::check(long error, const std::string& what) const {
  if (error != 0) {
    throw Error(path_ + ": " + what + ": " + error_message(error));
  }
}

bool Image::is_on(int fd) {
  ext2_super_block super{};
  return ::pread(fd, &super, sizeof(super), SUPERBLOCK_OFFSET) ==
             static_cast<ssize_t>(sizeof(super)) &&
         ext2fs_le16_to_cpu(super.s_magic) == EXT2_SUPER_MAGIC;
}

Image::Image(const std::string& path, Access access) : path_(path) {
  initialize_ext2_error_table();
  int flags = EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES;
  if (access == Access::kWrite) {
    int mounted = 0;
    check(ext2fs_check_if_mounted(path.c_str(), &mounted), "cannot find out whether it is mounted");
    if ((mounted & (EXT2_MF_MOUNTED | EXT2_MF_BUSY)) != 0) {
      throw Error(path_ + ": it is mounted or in use; unmount it first");
    }
    flags |= EXT2_FLAG_RW | EXT2_FLAG_EXCLUSIVE;
  }
  ext2_filsys fs = nullptr;
  const errcode_t error = ext2fs_open(path.c_str(), flags, 0, 0, unix_io_manager, &fs);
  if (error == EXT2_ET_BAD_MAGIC || error == EXT2_ET_SHORT_READ) {
    throw Error(path_ + ": no ext2, ext3 or ext4 is on it; make one with mkizofs --mkfs");
  }
  check(error, "cannot open it");
  fs_.reset(fs);
  const ext2_super_block& super = *fs->super;
  if (access == Access::kWrite &&
      (ext2fs_has_feature_journal_needs_recovery(fs->super) != 0 ||
       (super.s_state & EXT2_VALID_FS) == 0 || (super.s_state & EXT2_ERROR_FS) != 0)) {
    throw Error(path_ + ": it was not unmounted cleanly; run e2fsck -f " + path_ + " first");
  }
}

Image::~Image() = default;

std::optional<std::string> Image::unfit_as_cache() const {
  const ext2_super_block* super = fs_->super;
  if (EXT2_INODE_SIZE(super) < kLeastInodeSize) {
    return "inodes of " + std::to_string(EXT2_INODE_SIZE(super)) +
           " bytes are too small; make the file system anew with mke2fs -I 256";
  }
  if (ext2fs_has_feature_fast_commit(fs_->super) != 0) {
    return "ext4's fast_commit leaves the log out; turn it off with tune2fs -O ^fast_commit";
  }
  if (ext2fs_has_feature_ea_inode(fs_->super) != 0) {
    return "ext4's ea_inode takes several transactions for one change; make the file system anew "
           "without it";
  }
  if (ext2fs_has_feature_casefold(fs_->super) != 0) {
    return "the casefold feature is not supported; make the file system anew without it";
  }
  return std::nullopt;
}

std::uint32_t Image::block_size() const {
  return fs_->blocksize;
}

std::uint64_t Image::free_blocks() const {
  return ext2fs_free_blocks_count(fs_->super);
}

Inode Image::first_inode() const {
  return EXT2_FIRST_INODE(fs_->super);
}

bool Image::has_quota() const {
  return ext2fs_has_feature_quota(fs_->super) != 0;
}

bool Image::needs_recovery() const {
  return ext2fs_has_feature_journal_needs_recovery(fs_->super) != 0;
}

Inode Image::root() {
  return EXT2_ROOT_INO;
}

std::optional<Inode> Image::lookup(Inode directory, const std::string& name) const {
  ext2_ino_t found = 0;
  const errcode_t error = ext2fs_lookup(fs_.get(), directory, name.c_str(),
                                        static_cast<int>(name.size()), nullptr, &found);
  if (error == EXT2_ET_FILE_NOT_FOUND) {
    return std::nullopt;
  }
  check(error, name);
  return found;
}

std::vector<std::string> Image::names(Inode directory) const {
  std::vector<std::string> out;
  check(ext2fs_dir_iterate(fs_.get(), directory, 0, nullptr, add_name, &out), "a directory");
  return out;
}

bool Image::is_directory(Inode inode) const {
  return ext2fs_check_directory(fs_.get(), inode) == 0;
}

std::vector<std::byte> Image::read(Inode inode) const {
  ext2_file_t opened = nullptr;
  check(ext2fs_file_open(fs_.get(), inode, 0, &opened),
        "cannot open inode " + std::to_string(inode));
  const File file(opened);
  __u64 size = 0;
  check(ext2fs_file_get_lsize(opened, &size), "size of inode " + std::to_string(inode));
  std::vector<std::byte> out(size);
  for (std::size_t at = 0; at < out.size();) {
    unsigned int got = 0;
    const std::size_t part = std::min<std::size_t>(out.size() - at, 1U << 20);
    check(ext2fs_file_read(opened, &out[at], static_cast<unsigned>(part), &got),
          "cannot read inode " + std::to_string(inode));
    if (got == 0) {
      throw Error(path_ + ": inode " + std::to_string(inode) + " ends too early; run e2fsck -f");
    }
    at += got;
  }
  return out;
}

bool Image::has_xattr(Inode inode, const std::string& name) const {
  ext2_xattr_handle* handle = nullptr;
  check(ext2fs_xattrs_open(fs_.get(), inode, &handle), "attributes");
  void* value = nullptr;
  std::size_t size = 0;
  errcode_t error = ext2fs_xattrs_read(handle);
  if (error == 0) {
    error = ext2fs_xattr_get(handle, name.c_str(), &value, &size);
  }
  if (error == 0) {
    ext2fs_free_mem(static_cast<void*>(&value));
  }
  ext2fs_xattrs_close(&handle);
  if (error != EXT2_ET_EA_KEY_NOT_FOUND) {
    check(error, "attributes of inode " + std::to_string(inode));
  }
  return error == 0;
}

void Image::each_inode(const std::function<void(const InodeInfo&)>& function) const {
  ext2_inode_scan scan = nullptr;
  check(ext2fs_open_inode_scan(fs_.get(), 0, &scan), "cannot read the inodes");
  const std::unique_ptr<std::remove_pointer_t<ext2_inode_scan>, decltype(&ext2fs_close_inode_scan)>
      closing(scan, ext2fs_close_inode_scan);
  for (;;) {
    ext2_ino_t number = 0;
    ext2_inode inode{};
    check(ext2fs_get_next_inode(scan, &number, &inode), "cannot read the inodes");
    if (number == 0) {
      return;
    }
    if (inode.i_links_count != 0) {
      function({.number = number, .generation = inode.i_generation});
    }
  }
}

void Image::load_bitmaps() {
  if (fs_->inode_map == nullptr) {
    check(ext2fs_read_bitmaps(fs_.get()), "cannot read its bitmaps");
  }
}

void Image::link(Inode directory, const std::string& name, Inode inode) {
  errcode_t error = ext2fs_link(fs_.get(), directory, name.c_str(), inode, EXT2_FT_REG_FILE);
  if (error == EXT2_ET_DIR_NO_SPACE) {
    check(ext2fs_expand_dir(fs_.get(), directory), "cannot make room for " + name);
    error = ext2fs_link(fs_.get(), directory, name.c_str(), inode, EXT2_FT_REG_FILE);
  }
  check(error, "cannot make " + name);
}

Inode Image::make_directory(Inode parent, const std::string& name) {
  load_bitmaps();
  errcode_t error = ext2fs_mkdir(fs_.get(), parent, 0, name.c_str());
  if (error == EXT2_ET_DIR_NO_SPACE) {
    check(ext2fs_expand_dir(fs_.get(), parent), "cannot make room for " + name);
    error = ext2fs_mkdir(fs_.get(), parent, 0, name.c_str());
  }
  check(error, "cannot make the directory " + name);
  const Inode made = lookup(parent, name).value();
  ext2_inode inode{};
  check(ext2fs_read_inode(fs_.get(), made, &inode), name);
  inode.i_mode = S_IFDIR | 0700;
  check(ext2fs_write_inode(fs_.get(), made, &inode), name);
  return made;
}

void Image::fill(Inode inode, std::span<const std::byte> bytes) {
  ext2_file_t opened = nullptr;
  check(ext2fs_file_open(fs_.get(), inode, EXT2_FILE_WRITE, &opened), "cannot open a new file");
  const File file(opened);
  while (!bytes.empty()) {
    unsigned int put = 0;
    const std::size_t part = std::min<std::size_t>(bytes.size(), 1U << 20);
    check(ext2fs_file_write(opened, bytes.data(), static_cast<unsigned>(part), &put),
          "cannot write; is there room on it?");
    bytes = bytes.subspan(put);
  }
  check(ext2fs_file_flush(opened), "cannot write; is there room on it?");
}

void Image::write(Inode directory, const std::string& name, std::span<const std::byte> bytes) {
  load_bitmaps();
  if (lookup(directory, name)) {
    remove(directory, name);
  }
  ext2_ino_t number = 0;
  check(ext2fs_new_inode(fs_.get(), directory, S_IFREG | 0600, nullptr, &number),
        "no inode is free for " + name);
  ext2_inode inode{};
  inode.i_mode = S_IFREG | 0600;
  inode.i_links_count = 1;
  inode.i_atime = inode.i_ctime = inode.i_mtime = static_cast<__u32>(std::time(nullptr));
  inode.i_generation = std::random_device()();
  check(ext2fs_write_new_inode(fs_.get(), number, &inode), name);
  ext2fs_inode_alloc_stats2(fs_.get(), number, +1, 0);
  if (ext2fs_has_feature_extents(fs_->super) != 0) {
    ext2_extent_handle_t handle = nullptr;
    check(ext2fs_extent_open2(fs_.get(), number, &inode, &handle), name);
    ext2fs_extent_free(handle);
    check(ext2fs_write_inode(fs_.get(), number, &inode), name);
  }
  link(directory, name, number);
  fill(number, bytes);
}

void Image::remove(Inode directory, const std::string& name) {
  load_bitmaps();
  const std::optional<Inode> found = lookup(directory, name);
  if (!found) {
    return;
  }
  ext2_inode inode{};
  check(ext2fs_read_inode(fs_.get(), *found, &inode), name);
  if (!LINUX_S_ISREG(inode.i_mode)) {
    throw Error(path_ + ": " + name + " is not a regular file; remove it by hand");
  }
  check(ext2fs_unlink(fs_.get(), directory, name.c_str(), *found, 0), "cannot remove " + name);
  if (--inode.i_links_count == 0) {
    check(ext2fs_punch(fs_.get(), *found, &inode, nullptr, 0, ~0ULL), "cannot free " + name);
    inode.i_dtime = static_cast<__u32>(std::time(nullptr));
    ext2fs_inode_alloc_stats2(fs_.get(), *found, -1, 0);
  }
  check(ext2fs_write_inode(fs_.get(), *found, &inode), name);
}

void Image::close() {
  ext2_filsys fs = fs_.release();
  check(ext2fs_close_free(&fs), "cannot write it out; run e2fsck -f " + path_);
}

}  // namespace izo::ext
