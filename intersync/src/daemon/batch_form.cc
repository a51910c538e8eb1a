// SPDX-License-Identifier: GPL-2.0
#include "daemon/batch_form.h"

#include <linux/intermezzo_reint.h>

#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "daemon/body_file.h"
#include "kml/codec.h"

namespace izo::daemon {
namespace {

using repl::Handle;
using repl::Operation;
using repl::Ref;
using Buffer = std::vector<std::byte>;

template <typename T>
void append(Buffer& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>);
  const std::size_t at = out.size();
  out.resize(at + sizeof(T));
  std::memcpy(&out[at], &value, sizeof(T));
}

void pad(Buffer& out) {
  out.resize((out.size() + 7) / 8 * 8);
}

/// References with the names that they point at, which come behind the operation's head.
class Names {
 public:
  explicit Names(std::size_t start) : start_(start) {}

  izo_ref ref(const Ref& from) {
    izo_ref out{};
    const Handle& handle = from.handle;
    if (from.root) {
      out.kind = IZO_REF_ROOT;
    } else if (handle.result) {
      out.kind = IZO_REF_RESULT;
      out.ino = *handle.result;
    } else if (handle.ino != 0) {
      out.kind = IZO_REF_HANDLE;
      out.ino = handle.ino;
      out.generation = handle.generation;
    }
    if (!from.name.empty() && out.kind != IZO_REF_NONE) {
      out.parent_ino = from.parent.ino;
      out.parent_generation = from.parent.generation;
      out.name = offset();
      out.name_len = static_cast<__u16>(from.name.size());
      const auto* text = reinterpret_cast<const std::byte*>(from.name.data());
      bytes_.insert(bytes_.end(), text, text + from.name.size());
    }
    return out;
  }

  [[nodiscard]] const Buffer& bytes() const { return bytes_; }

 private:
  [[nodiscard]] __u16 offset() const {
    const std::size_t at = start_ + bytes_.size();
    if (at > std::numeric_limits<__u16>::max()) {
      throw std::length_error("the names of an operation take more than 64 KiB");
    }
    return static_cast<__u16>(at);
  }

  std::size_t start_;
  Buffer bytes_;
};

/// The record, which ends where it ends in the peer's log however long it has become.
Buffer record_of(kml::Record record) {
  const std::uint64_t end = record.offset + record.length;
  record.length = 0;
  record.offset = end - kml::encode(record).size();
  return kml::encode(record);
}

void append_operation(Buffer& out, const Operation& operation) {
  const std::size_t start = out.size();
  Names names(sizeof(izo_reint_op));
  izo_reint_op head{};
  head.object = names.ref(operation.object);
  head.dir = names.ref(operation.dir);
  head.to = names.ref(operation.to);
  head.replaced = names.ref(operation.replaced);
  std::vector<izo_ref> its_names;
  if (operation.body) {
    head.body = dynamic_cast<const BodyFile&>(*operation.body).fd();
    for (const Ref& name : operation.names) {
      its_names.push_back(names.ref(name));
    }
  }
  if (operation.skip) {
    head.flags = IZO_OP_SKIP;
    head.outcome = static_cast<__u32>(*operation.skip);
  }
  out.resize(start + sizeof(head));
  out.insert(out.end(), names.bytes().begin(), names.bytes().end());
  pad(out);
  if (!its_names.empty()) {
    head.nnames = static_cast<__u32>(its_names.size());
    head.names = static_cast<__u32>(out.size() - start);
    for (const izo_ref& name : its_names) {
      append(out, name);
    }
  }
  head.record = static_cast<__u32>(out.size() - start);
  const Buffer record = record_of(operation.record);
  out.insert(out.end(), record.begin(), record.end());
  head.size = static_cast<__u32>(out.size() - start);
  std::memcpy(&out[start], &head, sizeof(head));
}

}  // namespace

std::vector<std::byte> operations_of(const repl::Batch& batch) {
  Buffer out;
  for (const Operation& operation : batch.operations) {
    append_operation(out, operation);
  }
  return out;
}

}  // namespace izo::daemon
