// SPDX-License-Identifier: GPL-2.0
// A mounted fileset as the engine's replica: its tree, its log and its positions, through the
// kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/body_file.h"
#include "daemon/fileset_tree.h"
#include "kernel/fileset.h"
#include "kernel/log_file.h"
#include "repl/replica.h"

namespace izo::daemon {

class KernelReplica final : public repl::Replica {
 public:
  /// What its peers' logs are to this replica.
  enum class Role {
    kServer,
    kClient,  ///< The one peer is upstream: changes made here have seen its log.
  };

  /// Throws SysError, or Error for a log that is none.
  KernelReplica(const kernel::Fileset& fileset, Role role);

  /// A body that comes from elsewhere is staged here.
  [[nodiscard]] StagedBody new_body() const { return StagedBody(tree_.new_file()); }

  State state() override;
  void use(const repl::Index& index) override { index_ = &index; }
  void commit() override;
  Records read(std::uint64_t offset) override;
  std::uint16_t index_of(const kml::Uuid& replica) override;
  std::optional<repl::Received> received(const kml::Uuid& peer) override;
  void set_received(const kml::Uuid& peer, const repl::Received& position) override;
  void look_up(const kml::Record& record) override;
  std::vector<repl::Result> apply(const repl::Batch& batch) override;
  std::vector<kml::Fid> walk(const kml::Fid& top,
                             const std::function<void(const repl::Found&)>& visit) override;
  std::optional<repl::Portrait> portrait(const kml::Fid& fid) override;
  Reading read_body(const repl::Name& name, const repl::Handle& handle) override;
  Kept keep_copy(const repl::Name& name, const repl::Body& body, const repl::Name& like) override;
  bool move(const repl::Handle& what, const repl::Name& from, const repl::Name& to) override;
  bool add_name(const repl::Handle& what, const repl::Name& from, const repl::Name& to) override;
  bool remove(const repl::Handle& what, const repl::Name& name) override;
  std::optional<kml::Time> mtime(const kml::Fid& fid) override;
  void set_mtime(const kml::Fid& dir, const kml::Time& mtime) override;
  std::vector<std::string> list(const kml::Fid& dir) override;

 private:
  [[nodiscard]] UniqueFd open_directory(const kml::Fid& fid) {
    return tree_.open_directory(*index_, fid);
  }
  /// The directory of a name that stands for that object; empty if it does not any more.
  [[nodiscard]] UniqueFd directory_of(const repl::Name& name, const repl::Handle& what);
  /// Gives a file without a name, which has all that it is to have, that name.
  Kept name_copy(int copy, int directory, const std::string& name, const repl::Name& like);
  void look_at_peers();
  [[nodiscard]] std::string path_of(const std::string& file) const;

  kernel::Fileset fileset_;
  Role role_;
  FilesetTree tree_;
  std::set<std::uint64_t> unreadable_;  ///< Inodes of files of which it was said.
  kernel::LogFile log_;
  const repl::Index* index_ = nullptr;
  std::vector<UniqueFd> at_hand_;  // directories that the next apply() needs
  std::vector<kml::Uuid> table_;
  std::map<kml::Uuid, repl::Received> received_;
  std::size_t most_received_ = 0;  // positions that there is room for
};

}  // namespace izo::daemon
