#include "tests/simulation/oracle.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/merge/policy.h"
#include "common/model/row_json.h"

namespace ptdoc::sync::sim {
namespace {

// Everything that the service holds, read once.
struct Held {
  std::map<EntityKey, std::vector<Version>> history;  // oldest first
  std::multimap<EntityKey, std::string> archived;     // row JSON, "null" = a deletion
  std::set<std::string> conflict_ids;
};

std::string Json(const Version& version) {
  return version.deleted ? "null" : FieldsToJson(version.fields);
}

std::string Json(const std::optional<Fields>& content) {
  return content.has_value() ? FieldsToJson(*content) : "null";
}

std::string Name(const EntityKey& key) {
  return absl::StrCat(key.type, "/", key.id);
}

bool Contains(const std::multimap<EntityKey, std::string>& archived, const EntityKey& key,
              const std::string& json) {
  const auto [first, last] = archived.equal_range(key);
  return std::any_of(first, last, [&](const auto& one) { return one.second == json; });
}

bool InHistory(const Held& held, const EntityKey& key, const std::string& json) {
  const auto versions = held.history.find(key);
  return versions != held.history.end() &&
         std::any_of(versions->second.begin(), versions->second.end(),
                     [&](const Version& version) { return Json(version) == json; });
}

void ReadHistory(StoreReader& reader, Held* held) {
  Revision at = 0;
  while (true) {
    Revision covered = 0;
    const auto log = reader.ReadLog(kTenant, at, {}, 1000, 1 << 24, &covered);
    PT_CHECK(log.ok());
    for (const FeedVersion& one : *log) held->history[one.version.key].push_back(one.version);
    if (log->empty() || covered <= at) return;
    at = covered;
  }
}

void ReadArchives(World& world, StoreReader& reader, Held* held) {
  StoreReader::ConflictFilter filter;
  filter.include_resolved = true;
  while (true) {
    const absl::StatusOr<std::vector<ArchiveRow>> rows = reader.ListConflicts(kTenant, filter);
    PT_CHECK(rows.ok());
    for (const ArchiveRow& row : *rows) {
      filter.after_id = row.id;
      if (!held->conflict_ids.insert(row.conflict_id).second) {
        world.Fail("a loser stands in the archive twice (P6): " + Name(row.key));
      }
      const auto whole = reader.FindConflict(kTenant, row.conflict_id);
      PT_CHECK(whole.ok() && whole->has_value());
      held->archived.emplace(row.key, (*whole)->archived_json);
    }
    if (rows->size() < filter.limit) return;
  }
}

// A version may be replaced by its descendant, or after its archive row stands.
void CheckAncestry(World& world, const SimService& service, const Held& held) {
  for (const auto& [key, versions] : held.history) {
    for (size_t i = 0; i + 1 < versions.size(); ++i) {
      const Version& old = versions[i];
      const auto next = service.origins.find({key, versions[i + 1].revision});
      if (next == service.origins.end()) continue;  // A lost answer's version has none.
      if (next->second.base == old.revision) continue;
      // A tombstone counts as nothing there for what is made without a base.
      if (old.deleted && next->second.base == 0) continue;
      if (Contains(held.archived, key, Json(old))) continue;
      world.Fail(absl::StrCat("an acknowledged version was replaced and stands nowhere (P6): ",
                              Name(key), " r", old.revision, " by r", versions[i + 1].revision));
    }
  }
}

void CheckLosers(World& world, const SimService& service, const Held& held) {
  for (const auto& [id, loss] : service.losses) {
    if (!held.conflict_ids.contains(id)) {
      world.Fail("an answered conflict has no archive row (P6): " + Name(loss.key));
    }
  }
}

void CheckBinding(World& world, const Held& held) {
  const PolicySet policies = SimService::Options().policies;
  for (const auto& [key, versions] : held.history) {
    const TypePolicy& policy = policies.For(key.type);
    for (size_t i = 0; i + 1 < versions.size(); ++i) {
      const Fields& fields = versions[i].fields;
      if (versions[i].deleted) continue;
      if (IsSigned(policy, fields)) world.Fail("a signed row changed (P7): " + Name(key));
      if (IsLocked(policy, fields)) world.Fail("a locked row changed (P7): " + Name(key));
    }
  }
}

std::string KnownOf(SimDevice& device, const EntityKey& key) {
  const absl::StatusOr<std::optional<RowState>> state = device.replica().ledger().FindState(key);
  PT_CHECK(state.ok());
  if (!state->has_value()) return ", no state";
  return absl::StrCat(", state r", (*state)->revision, (*state)->row.absent ? " absent" : "");
}

// Every device holds what the service holds, in its table or set aside.
void CheckEqual(World& world, SimDevice& device, const Held& held) {
  Rows rows = device.app().ReadAll();
  std::map<EntityKey, Revision> aside;
  const absl::StatusOr<std::vector<SetAside>> entries =
      device.replica().ledger().ListSetAside(100'000);
  PT_CHECK(entries.ok());
  for (const SetAside& entry : *entries) aside[entry.version.key] = entry.version.revision;
  for (const auto& [key, versions] : held.history) {
    const Version& head = versions.back();
    const auto row = rows.find(key);
    const bool equal =
        head.deleted ? row == rows.end() : row != rows.end() && row->second == head.fields;
    const auto set_aside = aside.find(key);
    if (!equal && (set_aside == aside.end() || set_aside->second != head.revision)) {
      world.Fail(absl::StrCat(device.name(), " differs from the service (P4): ", Name(key), " r",
                              head.revision, " ", Json(head), " here ",
                              row == rows.end() ? "null" : FieldsToJson(row->second),
                              KnownOf(device, key), set_aside == aside.end() ? "" : ", set aside ",
                              set_aside == aside.end() ? 0 : set_aside->second));
    }
    if (row != rows.end()) rows.erase(row);
  }
  for (const auto& [key, fields] : rows) {
    world.Fail(absl::StrCat(device.name(), " holds what the service does not (P4): ", Name(key)));
  }
  if (const std::string broken = device.app().Check(); !broken.empty()) {
    world.Fail(device.name() + ": " + broken);
  }
}

// Whatever an app committed is known to the service or stands in an archive.
void CheckKept(World& world, SimDevice& device, const Held& held) {
  std::multimap<EntityKey, std::string> own;
  const absl::StatusOr<std::vector<ArchiveEntry>> archives =
      device.replica().ledger().ListArchives(true, 0, 100'000);
  PT_CHECK(archives.ok());
  for (const ArchiveEntry& entry : *archives) {
    const absl::StatusOr<std::optional<ArchiveEntry>> whole =
        device.replica().ledger().FindArchive(absl::StrCat(entry.id));
    PT_CHECK(whole.ok() && whole->has_value());
    own.emplace(entry.key, (*whole)->archived_json);
  }
  for (const SimDevice::Promise& promise : device.promises()) {
    const std::string json = Json(promise.content);
    // Made and deleted again before anybody heard of it.
    if (!promise.content.has_value() && !promise.known) continue;
    if (InHistory(held, promise.key, json) || Contains(held.archived, promise.key, json) ||
        Contains(own, promise.key, json)) {
      continue;
    }
    world.Fail(absl::StrCat("an edit of ", device.name(), " is gone (P1): ", Name(promise.key), " ",
                            json));
  }
}

}  // namespace

void CheckPromises(World& world, SimService& service,
                   const std::vector<std::unique_ptr<SimDevice>>& devices) {
  Held held;
  const std::unique_ptr<StoreReader> reader = service.Read();
  ReadHistory(*reader, &held);
  ReadArchives(world, *reader, &held);
  CheckAncestry(world, service, held);
  CheckLosers(world, service, held);
  CheckBinding(world, held);
  for (const std::unique_ptr<SimDevice>& device : devices) {
    CheckEqual(world, *device, held);
    CheckKept(world, *device, held);
  }
}

}  // namespace ptdoc::sync::sim
