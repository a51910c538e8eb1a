// SPDX-License-Identifier: GPL-2.0
#include "daemon/batch_form.h"

#include <gtest/gtest.h>
#include <linux/intermezzo_reint.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "daemon/test_store.h"
#include "kml/codec.h"
#include "kml/sample_records.h"
#include "kml/wire.h"

namespace izo::daemon {
namespace {

using kml::load;
using kml::Op;
using repl::Batch;
using repl::Handle;
using repl::Operation;
using repl::Passed;
using repl::Ref;
using Buffer = std::vector<std::byte>;

constexpr std::uint64_t kOffset = std::uint64_t{1} << 40;

/// A record as a peer's log has it.
kml::Record record_of(Op op, std::uint64_t seed = 1) {
  kml::Record record = kml::SampleRecords(seed).make(op);
  record.offset = kOffset;
  record.length = static_cast<std::uint32_t>(kml::encode(record).size());
  return record;
}

Operation operation_of(Op op, std::uint64_t seed = 1) {
  Operation out;
  out.record = record_of(op, seed);
  return out;
}

Ref handle(std::uint64_t ino, std::uint32_t generation) {
  Ref out;
  out.handle = {.ino = ino, .generation = generation, .result = {}};
  return out;
}

Ref result(std::uint32_t number) {
  Ref out;
  out.handle.result = number;
  return out;
}

Ref root() {
  Ref out;
  out.root = true;
  return out;
}

Ref named(Ref ref, std::string name) {
  ref.name = std::move(name);
  return ref;
}

/// An operation as the kernel finds it: its head, and all of its bytes.
struct Seen {
  izo_reint_op head;
  Bytes bytes;

  [[nodiscard]] std::string name(const izo_ref& ref) const {
    return std::string(as_text(bytes.subspan(ref.name, ref.name_len)));
  }
  [[nodiscard]] izo_ref listed(std::size_t i) const {
    return load<izo_ref>(bytes.subspan(head.names + i * sizeof(izo_ref), sizeof(izo_ref)));
  }
  [[nodiscard]] kml::Record record() const {
    const kml::Decoded decoded = kml::decode(bytes.subspan(head.record));
    const auto* record = std::get_if<kml::Record>(&decoded);
    EXPECT_NE(record, nullptr);
    return record != nullptr ? *record : kml::Record();
  }
};

/// The operations one behind the other, with what is the same in all of them checked.
std::vector<Seen> split(Bytes bytes) {
  std::vector<Seen> out;
  while (!bytes.empty()) {
    if (bytes.size() < sizeof(izo_reint_op)) {
      ADD_FAILURE() << bytes.size() << " bytes are left";
      break;
    }
    Seen seen{.head = load<izo_reint_op>(bytes.first(sizeof(izo_reint_op))), .bytes = {}};
    const izo_reint_op& head = seen.head;
    EXPECT_EQ(head.zero, 0U);
    EXPECT_EQ(head.size % 8, 0U);
    EXPECT_EQ(head.record % 8, 0U);
    EXPECT_EQ(head.names % 8, 0U);
    EXPECT_GE(head.record, sizeof(izo_reint_op));
    if (head.size > bytes.size() || head.record >= head.size) {
      ADD_FAILURE() << "size " << head.size << ", record " << head.record;
      break;
    }
    seen.bytes = bytes.first(head.size);
    // The record is what comes last.
    EXPECT_EQ(head.record + seen.record().length, head.size);
    bytes = bytes.subspan(head.size);
    out.push_back(seen);
  }
  return out;
}

/// The bytes of one operation; they live as long as this does.
class One {
 public:
  explicit One(const Operation& operation) : bytes_(operations_of({.operations = {operation}})) {
    const std::vector<Seen> all = split(bytes_);
    EXPECT_EQ(all.size(), 1U);
    seen_ = all.at(0);
  }
  const Seen* operator->() const { return &seen_; }
  const Seen& operator*() const { return seen_; }

 private:
  Buffer bytes_;
  Seen seen_{};
};

bool is_nothing(const izo_ref& ref) {
  const izo_ref nothing{};
  return std::memcmp(&ref, &nothing, sizeof(ref)) == 0;
}

TEST(BatchForm, OfNoOperationsThereIsNothing) {
  EXPECT_TRUE(operations_of({}).empty());
}

TEST(BatchForm, AnOperationIsAHeadAndItsRecord) {
  for (const Op op : kml::kOps) {
    const Operation operation = operation_of(op);
    const One one(operation);
    EXPECT_EQ(one->head.record, sizeof(izo_reint_op));
    EXPECT_EQ(one->head.size, sizeof(izo_reint_op) + operation.record.length);
    EXPECT_EQ(one->record(), operation.record);
    EXPECT_EQ(one->head.flags, 0U);
    EXPECT_EQ(one->head.outcome, 0U);
    EXPECT_EQ(one->head.body, 0);
    EXPECT_EQ(one->head.nnames, 0U);
    EXPECT_EQ(one->head.names, 0U);
    for (const izo_ref& ref : {one->head.object, one->head.dir, one->head.to, one->head.replaced}) {
      EXPECT_TRUE(is_nothing(ref));
    }
  }
}

TEST(BatchForm, EachKindOfReferenceStandsAtItsPlace) {
  Operation operation = operation_of(Op::kRename);
  operation.object = handle(0x123456789abc, 0xfedcba98);
  operation.dir = root();
  operation.to = result(1023);
  const One one(operation);
  EXPECT_EQ(one->head.object.kind, static_cast<__u32>(IZO_REF_HANDLE));
  EXPECT_EQ(one->head.object.ino, 0x123456789abcU);
  EXPECT_EQ(one->head.object.generation, 0xfedcba98U);
  EXPECT_EQ(one->head.dir.kind, static_cast<__u32>(IZO_REF_ROOT));
  EXPECT_EQ(one->head.dir.ino, 0U);
  EXPECT_EQ(one->head.to.kind, static_cast<__u32>(IZO_REF_RESULT));
  EXPECT_EQ(one->head.to.ino, 1023U);
  EXPECT_EQ(one->head.to.generation, 0U);
  EXPECT_TRUE(is_nothing(one->head.replaced));
  for (const izo_ref& ref : {one->head.object, one->head.dir, one->head.to}) {
    EXPECT_EQ(ref.name_len, 0U);
    EXPECT_EQ(ref.parent_ino, 0U);
  }
  // The first operation's result has the number 0, which is no inode's.
  operation.to = result(0);
  operation.replaced = handle(5, 6);
  const One other(operation);
  EXPECT_EQ(other->head.to.kind, static_cast<__u32>(IZO_REF_RESULT));
  EXPECT_EQ(other->head.to.ino, 0U);
  EXPECT_EQ(other->head.replaced.ino, 5U);
}

TEST(BatchForm, HintsPointAtNamesBehindTheHead) {
  Operation operation = operation_of(Op::kRename);
  const std::string longest(255, '\xff');
  operation.object = named(handle(11, 1), "file");
  operation.object.parent = {.ino = 12, .generation = 2, .result = {}};
  operation.dir = named(handle(13, 3), longest);
  operation.dir.parent_is_root = true;
  operation.replaced = named(handle(14, 4), "x");
  operation.replaced.parent = {.ino = 15, .generation = 5, .result = {}};
  const One one(operation);
  EXPECT_EQ(one->name(one->head.object), "file");
  EXPECT_EQ(one->head.object.parent_ino, 12U);
  EXPECT_EQ(one->head.object.parent_generation, 2U);
  EXPECT_EQ(one->name(one->head.dir), longest);
  // The root.
  EXPECT_EQ(one->head.dir.parent_ino, 0U);
  EXPECT_EQ(one->head.dir.parent_generation, 0U);
  EXPECT_EQ(one->name(one->head.replaced), "x");
  EXPECT_EQ(one->head.replaced.parent_ino, 15U);
  EXPECT_TRUE(is_nothing(one->head.to));
  // 260 bytes of names; what fills up to the record is 0.
  EXPECT_EQ(one->head.record, sizeof(izo_reint_op) + 264);
  EXPECT_TRUE(std::ranges::all_of(one->bytes.subspan(sizeof(izo_reint_op) + 260, 4),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
  for (const izo_ref& ref : {one->head.object, one->head.dir, one->head.replaced}) {
    EXPECT_GE(ref.name, sizeof(izo_reint_op));
    EXPECT_LE(ref.name + ref.name_len, one->head.record);
  }
  EXPECT_EQ(one->record(), operation.record);
}

TEST(BatchForm, NoneIsNothingWhateverItsName) {
  Operation operation = operation_of(Op::kUnlink);
  operation.object = named(Ref(), "name");
  operation.object.parent = {.ino = 12, .generation = 2, .result = {}};
  const One one(operation);
  EXPECT_TRUE(is_nothing(one->head.object));
  EXPECT_EQ(one->head.record, sizeof(izo_reint_op));
}

TEST(BatchForm, ACloseHasItsBodyAndAllNames) {
  const TemporaryFolder folder;
  StagedBody staged = stage_in(folder);
  const std::shared_ptr<BodyFile> body = staged.finish();
  Operation operation = operation_of(Op::kClose);
  operation.object = named(handle(11, 1), "hint");
  operation.body = body;
  operation.names = {named(root(), "a"), named(handle(12, 2), "second"), named(result(3), "c")};
  const One one(operation);
  EXPECT_EQ(one->head.body, body->fd());
  EXPECT_EQ(one->name(one->head.object), "hint");
  ASSERT_EQ(one->head.nnames, 3U);
  // 12 bytes of names stand before them, the record behind.
  EXPECT_EQ(one->head.names, sizeof(izo_reint_op) + 16);
  EXPECT_EQ(one->head.record, one->head.names + 3 * sizeof(izo_ref));
  EXPECT_EQ(one->listed(0).kind, static_cast<__u32>(IZO_REF_ROOT));
  EXPECT_EQ(one->name(one->listed(0)), "a");
  EXPECT_EQ(one->listed(1).kind, static_cast<__u32>(IZO_REF_HANDLE));
  EXPECT_EQ(one->listed(1).ino, 12U);
  EXPECT_EQ(one->listed(1).generation, 2U);
  EXPECT_EQ(one->name(one->listed(1)), "second");
  EXPECT_EQ(one->listed(2).kind, static_cast<__u32>(IZO_REF_RESULT));
  EXPECT_EQ(one->listed(2).ino, 3U);
  EXPECT_EQ(one->name(one->listed(2)), "c");
  EXPECT_EQ(one->record(), operation.record);
}

TEST(BatchForm, WithoutABodyThereAreNoNames) {
  // The kernel refuses one without the other.
  Operation operation = operation_of(Op::kClose);
  operation.names = {named(root(), "a")};
  operation.skip = Passed::kSuperseded;
  const One one(operation);
  EXPECT_EQ(one->head.body, 0);
  EXPECT_EQ(one->head.nnames, 0U);
  EXPECT_EQ(one->head.names, 0U);
  EXPECT_EQ(one->head.record, sizeof(izo_reint_op));
}

TEST(BatchForm, ASkippedRecordHasItsOutcome) {
  for (const Passed passed : {Passed::kEcho, Passed::kConflict, Passed::kRefused}) {
    Operation operation = operation_of(Op::kMkdir);
    operation.skip = passed;
    const One one(operation);
    EXPECT_EQ(one->head.flags, static_cast<__u32>(IZO_OP_SKIP));
    EXPECT_EQ(one->head.outcome, static_cast<__u32>(passed));
    EXPECT_GT(one->head.outcome, 255U);
  }
}

TEST(BatchForm, OperationsStandOneBehindTheOther) {
  Batch batch;
  for (std::uint32_t i = 0; i < 200; i++) {
    batch.operations.push_back(operation_of(kml::kOps[i % std::size(kml::kOps)], i));
    batch.operations.back().dir = named(handle(i + 1, i + 1), std::string(i % 20, 'n'));
  }
  const Buffer bytes = operations_of(batch);
  const std::vector<Seen> all = split(bytes);
  ASSERT_EQ(all.size(), 200U);
  for (std::uint32_t i = 0; i < 200; i++) {
    // Offsets are from the operation's own beginning.
    EXPECT_EQ(all[i].name(all[i].head.dir), std::string(i % 20, 'n'));
    EXPECT_EQ(all[i].head.dir.ino, i + 1);
    EXPECT_EQ(all[i].record(), batch.operations[i].record);
  }
}

TEST(BatchForm, ARecordEndsWhereItEndedInThePeersLog) {
  // Room that it had for more is not sent; and with another name it may be longer.
  for (const int change : {0, 8, 64, 4096, -8, -64}) {
    Operation operation = operation_of(Op::kCreate, 3);
    const std::uint32_t least = operation.record.length;
    operation.record.length = static_cast<std::uint32_t>(static_cast<int>(least) + change);
    const One one(operation);
    const kml::Record got = one->record();
    EXPECT_EQ(got.length, least) << change;
    EXPECT_EQ(got.offset + got.length, kOffset + operation.record.length) << change;
    kml::Record rest = got;
    rest.offset = operation.record.offset;
    rest.length = operation.record.length;
    EXPECT_EQ(rest, operation.record) << change;
  }
}

TEST(BatchForm, WhatDoesNotFitIsRefused) {
  const TemporaryFolder folder;
  StagedBody staged = stage_in(folder);
  Operation names = operation_of(Op::kClose);
  names.object = handle(11, 1);
  names.body = staged.finish();
  // The last one begins at the last place that its 16 bits can say, or one beyond.
  const std::size_t room = 0xffff - sizeof(izo_reint_op);
  for (std::size_t i = 0; i < room / 255; i++) {
    names.names.push_back(named(root(), std::string(255, 'n')));
  }
  names.names.push_back(named(root(), std::string(room % 255, 'm')));
  names.names.push_back(named(root(), "last"));
  const One one(names);
  EXPECT_EQ(one->name(one->listed(one->head.nnames - 1)), "last");
  names.names.at(0).name.push_back('n');
  EXPECT_THROW(operations_of({.operations = {names}}), std::length_error);

  Operation record = operation_of(Op::kSetxattr);
  record.record.xattrs.at(0).value = std::string(IZO_KML_RECORD_MAX, 'v');
  EXPECT_THROW(operations_of({.operations = {record}}), std::length_error);
}

}  // namespace
}  // namespace izo::daemon
