// SPDX-License-Identifier: GPL-2.0
// The device library against a kernel: kernel_in_guest MOUNTPOINT. Run as root, with nothing else
// changing the fileset that is mounted there. Prints one line and fails at the first surprise.
#include <linux/intermezzo.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernel/channel.h"
#include "kernel/fileset.h"
#include "kernel/log_file.h"
#include "kml/stream_reader.h"

namespace izo::kernel {
namespace {

void expect(bool held, const std::string& what) {
  if (!held) {
    throw Error("not so: " + what);
  }
}

void await(int fd, const std::string& what) {
  pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
  expect(::poll(&waiting, 1, 20'000) == 1 && (waiting.revents & POLLIN) != 0,
         what + " within 20 seconds");
}

template <typename T>
T next(Channel& channel, const std::string& what) {
  await(channel.fd(), what);
  const std::optional<Upcall> upcall = channel.read();
  expect(upcall && std::holds_alternative<T>(*upcall), what);
  return std::get<T>(*upcall);
}

/// Reads KML_GREW until the records up to `recno` are on the medium; asks for that once.
KmlGrew follow(Channel& channel, const LogFile& log, std::uint64_t recno) {
  for (bool asked = false;;) {
    KmlGrew grew = next<KmlGrew>(channel, "KML_GREW follows");
    if (grew.committed_recno >= recno) {
      return grew;
    }
    if (!asked && grew.has_uncommitted()) {
      log.commit();
      asked = true;
    }
  }
}

std::vector<kml::Record> records_from(const LogFile& log, const kml::Position& position) {
  std::vector<std::byte> buffer(1 << 16);
  std::vector<kml::Record> out;
  kml::StreamReader reader(position);
  for (std::uint64_t offset = position.offset;;) {
    const auto got = log.read(offset, buffer);
    expect(std::holds_alternative<std::size_t>(got), "the records are still there");
    const std::size_t size = std::get<std::size_t>(got);
    if (size == 0) {
      return out;
    }
    offset += size;
    reader.feed(kml::Bytes(buffer).first(size));
    for (;;) {
      kml::StreamReader::Next record = reader.next();
      if (auto* one = std::get_if<kml::Record>(&record)) {
        out.push_back(std::move(*one));
        continue;
      }
      expect(std::holds_alternative<kml::NeedMore>(record), "the log is whole");
      break;
    }
  }
}

/// No replica needs what lies before `offset`: EINVAL if it is not on the medium.
void trim(const LogFile& log, std::uint64_t offset) {
  __u64 argument = offset;
  checked(::ioctl(log.fd(), IZO_IOC_KML_TRIM, &argument), "ioctl IZO_IOC_KML_TRIM");
}

void second_daemon_is_refused(unsigned channel) {
  try {
    const Channel second(channel);
    expect(false, "a second daemon is refused");
  } catch (const SysError& error) {
    expect(error.code() == EBUSY, "EBUSY for a second daemon");
  }
}

void run(const std::string& mount_point) {
  const Fileset fileset = find_fileset(mount_point);
  Channel channel(fileset.channel);
  second_daemon_is_refused(fileset.channel);

  const Mounted mounted = next<Mounted>(channel, "MOUNTED comes first");
  expect(mounted.about.name == fileset.name && mounted.about.channel == fileset.channel &&
             mounted.dev_major == fileset.dev_major && mounted.dev_minor == fileset.dev_minor,
         "MOUNTED is about the fileset at the mount point");
  expect(channel.answer(mounted.about.id), "the answer is taken");
  expect(!channel.answer(mounted.about.id), "a second answer is not");

  const LogFile log(fileset);
  const LogInfo info = log.info();
  const kml::Header header = log.header();
  expect(info.epoch == mounted.about.epoch && header.epoch == info.epoch &&
             info.fileset == mounted.about.fileset && info.replica == mounted.replica,
         "device, header and INFO agree on who it is");
  const KmlGrew before = follow(channel, log, info.end_recno);
  expect(!channel.read(), "nothing else waits");

  // The kernel tells of what lies behind the file's position.
  checked(::lseek(log.fd(), static_cast<off_t>(before.committed), SEEK_SET), "lseek");
  checked(::mkdir((mount_point + "/made").c_str(), 0755), "mkdir");
  const KmlGrew after = follow(channel, log, before.recno + 1);
  await(log.fd(), "the log's file is readable");
  const std::vector<kml::Record> records =
      records_from(log, {info.epoch, before.committed, before.committed_recno + 1});
  expect(records.size() == 1 && records[0].op == kml::Op::kMkdir &&
             records[0].place->name == "made" && records[0].recno == after.committed_recno,
         "the record is that of the change");

  trim(log, after.committed);
  std::vector<std::byte> buffer(8);
  expect(std::get<std::size_t>(log.read(after.committed, buffer)) == 0, "0 bytes at the end");
  const bool moved = log.info().first > info.first;
  expect(std::holds_alternative<LogFile::Trimmed>(log.read(sizeof(izo_kml_header), buffer)) ==
             (moved || info.first > sizeof(izo_kml_header)),
         "what was trimmed is gone, what was not is there");
  try {
    trim(log, after.committed + 8);
    expect(false, "what is not on the medium cannot be trimmed");
  } catch (const SysError& error) {
    expect(error.code() == EINVAL, "EINVAL for it");
  }
}

}  // namespace
}  // namespace izo::kernel

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: kernel_in_guest MOUNTPOINT\n", stderr);
    return 2;
  }
  try {
    izo::kernel::run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_in_guest: %s\n", error.what());
    return 1;
  }
  std::puts("the library and the kernel agree");
  return 0;
}
