// SPDX-License-Identifier: GPL-2.0
#include "kernel/log_file.h"

#include <fcntl.h>
#include <linux/intermezzo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "kml/wire.h"

namespace izo::kernel {
namespace {

using kml::Corrupt;

static_assert(sizeof(izo_kml_info) == 120);

}  // namespace

DecodedLogInfo decode_log_info(kml::Bytes bytes) {
  constexpr std::uint32_t kKnown = IZO_KML_H_OVERFLOW | IZO_INFO_JOURNALED | IZO_INFO_FAILED;
  if (bytes.size() != sizeof(izo_kml_info)) {
    return Corrupt{"cut short"};
  }
  const auto raw = kml::load<izo_kml_info>(bytes);
  if (raw.size != sizeof(raw)) {
    return Corrupt{"size " + std::to_string(raw.size) + "; this program knows " +
                   std::to_string(sizeof(raw))};
  }
  LogInfo out{.fileset = std::to_array(raw.fileset),
              .replica = std::to_array(raw.replica),
              .self = raw.self,
              .epoch = raw.epoch,
              .first = raw.first,
              .first_recno = raw.first_recno,
              .committed = raw.committed,
              .end = raw.end,
              .end_recno = raw.end_recno,
              .capacity = raw.capacity,
              .limit = raw.limit,
              .dirty = raw.dirty,
              .journaled = (raw.flags & IZO_INFO_JOURNALED) != 0,
              .failed = (raw.flags & IZO_INFO_FAILED) != 0,
              .overflow = (raw.flags & IZO_KML_H_OVERFLOW) != 0};
  if ((raw.flags & ~kKnown) != 0 || raw.zero[0] != 0 || raw.zero[1] != 0 || raw.zero[2] != 0 ||
      out.epoch == 0 || out.self == 0 || out.first < sizeof(izo_kml_header) || out.first % 8 != 0 ||
      out.committed < out.first || out.committed % 8 != 0 || out.end < out.first ||
      out.end % 8 != 0 || out.first_recno == 0 || out.end_recno < out.first_recno - 1) {
    return Corrupt{"a field that no log has"};
  }
  return out;
}

bool LogFile::is_one(int fd) {
  izo_kml_info raw{};
  return ::ioctl(fd, IZO_IOC_KML_INFO, &raw) == 0;
}

LogFile::LogFile(const Fileset& fileset)
    : path_(fileset.log_path()), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  // Of a log that is not open the file may be there, as one that cannot be asked.
  if (!fd_ || !is_one(fd_.get())) {
    if (errno == ENOENT || errno == ENOTTY || errno == EACCES || errno == EPERM) {
      throw Error(fileset.why_no_log(::geteuid() == 0));
    }
    throw SysError(errno, "open", path_);
  }
}

kml::Header LogFile::header() const {
  std::array<std::byte, sizeof(izo_kml_header)> buffer;
  const auto size = static_cast<std::size_t>(
      checked(::pread(fd_.get(), buffer.data(), buffer.size(), 0), "read", path_));
  kml::DecodedHeader decoded = kml::decode_header(std::span(buffer).first(size));
  if (auto* header = std::get_if<kml::Header>(&decoded)) {
    return std::move(*header);
  }
  const auto* fault = std::get_if<Corrupt>(&decoded);
  throw Error(path_ + ": offset 0: " + (fault != nullptr ? fault->what : "no header"));
}

LogInfo LogFile::info() const {
  izo_kml_info raw{};
  checked(::ioctl(fd_.get(), IZO_IOC_KML_INFO, &raw), "ioctl IZO_IOC_KML_INFO", path_);
  DecodedLogInfo decoded = decode_log_info(std::as_bytes(std::span(&raw, 1)));
  if (const auto* fault = std::get_if<Corrupt>(&decoded)) {
    throw Error(path_ + ": the kernel's IZO_IOC_KML_INFO breaks its rules: " + fault->what);
  }
  return std::get<LogInfo>(decoded);
}

std::variant<std::size_t, LogFile::Trimmed> LogFile::read(std::uint64_t offset,
                                                          std::span<std::byte> into) const {
  ssize_t size = 0;
  do {
    size = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == ENODATA) {
    return Trimmed{};
  }
  return static_cast<std::size_t>(checked(size, "read", path_));
}

void LogFile::commit() const {
  checked(::fsync(fd_.get()), "fsync", path_);
}

}  // namespace izo::kernel
