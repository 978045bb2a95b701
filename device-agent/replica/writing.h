#pragma once

#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

// One write transaction of the app's file. For apply.cc and touched.cc only.
struct ReplicaImpl::Writing {
  Work& work;
  Findings* findings;
  ControlRow control;
  int64_t first_seq = 0;  // the log's last row before this transaction
  int64_t log_seq = 0;    // the log's last row that was looked at
  absl::flat_hash_set<EntityKey> undrained;
  bool undrained_links = false;  // among them are some that are known by what they link
  absl::flat_hash_map<EntityKey, Target*> targets;
  std::vector<Target*> written;
  // Targets that something else than their own statement has written to.
  std::set<EntityKey> touched_targets;
  bool touched_others = false;
  // Rows that this transaction has touched besides, seen to be what their states
  // say before it did.
  absl::flat_hash_set<EntityKey> known_others;
  std::vector<EntityKey> new_others;    // not seen yet
  std::set<EntityKey> inserted_others;  // of those, what a trigger has inserted
  int looks = 0;                        // how often the present statement was undone for a look
  // Of rows with local integers: those that they will get, and those that they
  // had, by which other tables' log rows know them.
  ReservedIds reserved_ids;
  LogKeys::Owners owners;
  // Of rows that foreign keys have written while triggers were off.
  std::set<const Table*> cascaded;
  bool refused_any = false;

  void Refuse(const EntityKey& key, Refused why) {
    findings->refused[key] = std::move(why);
    refused_any = true;
  }
};

// A target that was not written yet, and why the last try failed.
struct ReplicaImpl::Todo {
  Target* target = nullptr;
  absl::Status why;
};

// True if the schema, not the machine, refused a statement.
bool IsRefusal(const absl::Status& status);
// SQLite's code name and the constraint's.
Refused RefusalOf(const absl::Status& status);

}  // namespace ptdoc::sync
