#include "tests/simulation/oracle.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/merge/policy.h"
#include "common/model/row_json.h"
#include "tests/simulation/content.h"

namespace ptdoc::sync::sim {
namespace {

// Everything that the service holds, read once.
struct Held {
  const std::map<EntityKey, std::vector<Version>>& history;  // oldest first
  const std::multimap<EntityKey, std::string>& archived;     // row JSON, "null" = a deletion
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

// The column that apps gain while they run: NULL in it and its absence are one.
constexpr char kGained[] = "Allergy";
constexpr char kGainedFirst[] = R"({"Allergy":)";

std::string WithoutGained(const std::string& json) {
  if (!absl::StartsWith(json, kGainedFirst)) return json;
  return "{" + json.substr(json.find(',') + 1);
}

// What an app saw, which may lack the column, and what was kept of it.
bool IsSame(const std::string& kept, const std::string& seen) {
  if (kept == seen) return true;
  const bool kept_none = !absl::StartsWith(kept, kGainedFirst);
  const bool saw_none = !absl::StartsWith(seen, kGainedFirst) ||
                        absl::StartsWith(seen, absl::StrCat(kGainedFirst, "null"));
  return (kept_none || saw_none) && WithoutGained(kept) == WithoutGained(seen);
}

bool IsSame(const Fields& row, const Fields& held) {
  for (const Field& field : row) {
    const Value* const value = held.Find(field.name);
    // Made anew by an app without the column, a row keeps elsewhere what stood there.
    if (value == nullptr && field.name == kGained) continue;
    if (value == nullptr || *value != field.value) return false;
  }
  return std::all_of(held.begin(), held.end(),
                     [&](const Field& field) { return row.Find(field.name) != nullptr; });
}

bool Contains(const std::multimap<EntityKey, std::string>& archived, const EntityKey& key,
              const std::string& json) {
  const auto [first, last] = archived.equal_range(key);
  return std::any_of(first, last, [&](const auto& one) { return IsSame(one.second, json); });
}

bool InHistory(const Held& held, const EntityKey& key, const std::string& json) {
  const auto versions = held.history.find(key);
  return versions != held.history.end() &&
         std::any_of(versions->second.begin(), versions->second.end(),
                     [&](const Version& version) { return IsSame(Json(version), json); });
}

// A version may be replaced by its descendant, or after its archive row stands.
void CheckAncestry(World& world, const SimService& service, const Held& held) {
  for (const auto& [key, versions] : held.history) {
    for (size_t i = 0; i + 1 < versions.size(); ++i) {
      const Version& old = versions[i];
      const auto next = service.record().origins.find({key, versions[i + 1].revision});
      if (next == service.record().origins.end()) continue;  // A lost answer's version has none.
      if (next->second.base == old.revision) continue;
      if (next->second.rule == "9") continue;  // By field: merge_referee.cc.
      // A tombstone counts as nothing there for what is made without a base.
      if (old.deleted && next->second.base == 0) continue;
      if (Contains(held.archived, key, Json(old))) continue;
      world.Fail(absl::StrCat("an acknowledged version was replaced and stands nowhere (P6): ",
                              Name(key), " r", old.revision, " by r", versions[i + 1].revision));
    }
  }
}

// Whoever lost a value by a merge stands in the archive, whole.
void CheckMergeLosers(World& world, const SimService& service, const Held& held) {
  for (const auto& [key, json] : service.record().merges.losers()) {
    if (Contains(held.archived, key, json)) continue;
    world.Fail(absl::StrCat("what lost by a merge stands nowhere (P6): ", Name(key), " ", json));
  }
  world.Count("losers of merges looked for",
              static_cast<int64_t>(service.record().merges.losers().size()));
}

// An administrator may open a locked form, which changes nothing else.
bool OnlyUnlocked(const TypePolicy& policy, const Version& locked, const Version& next) {
  if (next.deleted || IsLocked(policy, next.fields)) return false;
  for (const Field& field : locked.fields) {
    if (field.name == "IsLocked") continue;
    const Value* const kept = next.fields.Find(field.name);
    if (kept == nullptr || *kept != field.value) return false;
  }
  return true;
}

void CheckBinding(World& world, const Held& held) {
  const PolicySet policies = SimService::Options().policies;
  for (const auto& [key, versions] : held.history) {
    const TypePolicy& policy = policies.For(key.type);
    for (size_t i = 0; i + 1 < versions.size(); ++i) {
      const Fields& fields = versions[i].fields;
      if (versions[i].deleted) continue;
      if (IsSigned(policy, fields)) world.Fail("a signed row changed (P7): " + Name(key));
      if (IsLocked(policy, fields) && !OnlyUnlocked(policy, versions[i], versions[i + 1])) {
        world.Fail("a locked row changed (P7): " + Name(key));
      }
    }
  }
}

// The service holds both halves of a transfer or none.
void CheckTransfers(World& world, const Held& held) {
  std::map<std::string, int64_t> sums;
  for (const auto& [key, versions] : held.history) {
    if (key.type != "Transfer" || versions.back().deleted) continue;
    const std::string pair = key.id.substr(0, key.id.size() - 1);
    if (world.broken_pairs().contains(pair)) continue;
    sums[pair] += versions.back().fields.Find("Amount")->integer();
  }
  for (const auto& [pair, sum] : sums) {
    if (sum != 0) world.Fail("the service holds half of the transfer (P8) " + pair);
  }
  world.Count("transfers whole to the end", static_cast<int64_t>(sums.size()));
  if (!sums.empty()) world.Count("halves of transfers looked for to the end");
}

std::string KnownOf(SimDevice& device, const EntityKey& key) {
  const absl::StatusOr<std::optional<RowState>> state = device.replica().ledger().FindState(key);
  const absl::StatusOr<std::optional<StaleNote>> note = device.replica().ledger().FindStale(key);
  PT_CHECK(state.ok() && note.ok());
  std::string known = ", no state";
  if (state->has_value()) {
    known = absl::StrCat(", state r", (*state)->revision, (*state)->row.absent ? " absent" : "",
                         (*state)->unconfirmed ? " unconfirmed" : "");
  }
  if (note->has_value()) absl::StrAppend(&known, ", stale r", (*note)->revision);
  return known;
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
    if (!device.Syncs(key.type)) {
      if (row != rows.end()) rows.erase(row);
      continue;
    }
    const bool equal =
        head.deleted ? row == rows.end() : row != rows.end() && IsSame(row->second, head.fields);
    const auto set_aside = aside.find(key);
    // Of a tombstone that retention took the service only says that nothing is there.
    const bool waits = set_aside != aside.end() && (set_aside->second == head.revision ||
                                                    (head.deleted && set_aside->second == 0));
    if (!equal && !waits) {
      world.Fail(absl::StrCat(
          device.name(), " differs from the service (P4): ", Name(key), " r", head.revision, " ",
          Json(head), " here ", row == rows.end() ? "null" : FieldsToJson(row->second),
          KnownOf(device, key),
          set_aside == aside.end() ? "" : absl::StrCat(", set aside r", set_aside->second)));
    }
    if (row != rows.end()) rows.erase(row);
  }
  for (const auto& [key, fields] : rows) {
    if (!device.Syncs(key.type)) continue;
    // Its removal waits: the schema refused it, because of children.
    const auto set_aside = aside.find(key);
    if (set_aside != aside.end() && set_aside->second == 0) continue;
    world.Fail(absl::StrCat(device.name(), " holds what the service does not (P4): ", Name(key)));
  }
  if (const std::string broken = device.app().Check(); !broken.empty()) {
    world.Fail(device.name() + ": " + broken);
  }
}

// A device whose change lost keeps it, too, under the service's ConflictId (P6);
// unless the row was edited again meanwhile, or old archives have gone.
void CheckOwnLosses(World& world, const SimService& service, SimDevice& device) {
  const auto& counters = world.counters();
  const bool clock_jumped =
      counters.contains("clock set by years") || counters.contains("clock set by hours");
  // Without its receipt a late copy of a batch loses anew, and nobody hears of it.
  const bool forgot =
      counters.contains("service restored") || counters.contains("service rolled back");
  if (!device.has_own_files() || clock_jumped || forgot) return;
  for (const auto& [id, loss] : service.record().losses) {
    if (loss.sender != device.name() || !loss.sent_lost) continue;
    if (device.HasNewerItem(loss.key, loss.batch_id)) continue;
    // Where the type had left when the answer came, the row stays in the app's table.
    if (device.HasLeft(loss.key.type)) continue;
    world.Count("own loss looked for");
    const auto entry = device.replica().ledger().FindArchive(id);
    PT_CHECK(entry.ok());
    if (entry->has_value() && (*entry)->conflict_id == id && (*entry)->key == loss.key) continue;
    world.Fail(absl::StrCat(device.name(), " has not kept what it lost (P6): ", loss.key.type, "/",
                            loss.key.id, " ", ResolutionName(loss.resolution)));
  }
}

// Nothing that befell the files gave reason to ask for everything anew.
void CheckRecoveries(World& world, const std::vector<std::unique_ptr<SimDevice>>& devices) {
  const bool had_reason = std::any_of(devices.begin(), devices.end(),
                                      [](const auto& device) { return !device->has_own_files(); });
  if (!had_reason && world.counters().contains("recovery begun")) {
    world.Fail("a recovery began, and no file had been set back");
  }
}

bool EveryWriteWasCaptured(const World& world) {
  for (const char* const what :
       {"app wrote with triggers off", "trigger dropped", "ambush: deleted unseen while sent"}) {
    if (world.counters().contains(what)) return false;
  }
  return true;
}

// What was captured of a type before it left stands in the queue, if it was not
// answered. (What no trigger announced stands in the app's table alone.)
void CheckWaits(World& world, SimDevice& device, const SimDevice::Promise& promise, bool is_kept) {
  const bool all_captured = device.has_own_files() && EveryWriteWasCaptured(world);
  if (is_kept || !all_captured || !promise.captured) return;
  if (!promise.content.has_value() && !promise.known) return;
  world.Count("edit of a type that left looked for");
  const absl::StatusOr<bool> waits = device.replica().ledger().HasOpenItem(promise.key);
  PT_CHECK(waits.ok());
  if (*waits) return;
  // A store that was set back is healed by those who still sync the type.
  const bool forgot = world.counters().contains("service restored") ||
                      world.counters().contains("service rolled back");
  if (forgot && device.WasAnswered(promise.key)) return;
  world.Fail(absl::StrCat("an edit of ", device.name(), " left with its type (P1): ",
                          Name(promise.key), " ", Json(promise.content)));
}

// Whatever an app committed is known to the service or stands in an archive.
void CheckKept(World& world, const SimService& service, SimDevice& device, const Held& held) {
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
  CheckOwnLosses(world, service, device);
  for (const SimDevice::Promise& promise : device.promises()) {
    const std::string json = Json(promise.content);
    if (!device.Syncs(promise.key.type)) {
      CheckWaits(world, device, promise,
                 InHistory(held, promise.key, json) || Contains(held.archived, promise.key, json) ||
                     Contains(own, promise.key, json));
      continue;
    }
    // Made and deleted again before anybody heard of it.
    if (!promise.content.has_value() && !promise.known) continue;
    // A deletion that waited for its type, of a row that a store which was set back
    // meanwhile has lost: where it was known from is of a history that is gone.
    const bool forgot = world.counters().contains("service restored") ||
                        world.counters().contains("service rolled back");
    // Or one that no trigger announced, of a type that left before a comparison found it:
    // nothing shows that the row was there.
    const bool no_trace = forgot || !EveryWriteWasCaptured(world);
    if (!promise.content.has_value() && no_trace && device.HasLeft(promise.key.type)) continue;
    if (InHistory(held, promise.key, json) || Contains(held.archived, promise.key, json) ||
        Contains(own, promise.key, json)) {
      continue;
    }
    world.Fail(absl::StrCat("an edit of ", device.name(), " is gone (P1): ", Name(promise.key), " ",
                            json));
  }
}

}  // namespace

bool IsKept(const std::map<EntityKey, std::vector<Version>>& history,
            const std::multimap<EntityKey, std::string>& archived, const EntityKey& key,
            const std::optional<Fields>& content) {
  const Held held{history, archived};
  return InHistory(held, key, Json(content)) || Contains(archived, key, Json(content));
}

void CheckPromises(World& world, SimService& service,
                   const std::vector<std::unique_ptr<SimDevice>>& devices) {
  const std::multimap<EntityKey, std::string> archived = service.Archived();
  const Held held{service.record().history, archived};
  CheckAncestry(world, service, held);
  CheckMergeLosers(world, service, held);
  CheckBinding(world, held);
  CheckTransfers(world, held);
  service.CheckAcknowledged();
  CheckPlacesOfContent(world, service, devices);
  CheckRecoveries(world, devices);
  for (const std::unique_ptr<SimDevice>& device : devices) {
    CheckEqual(world, *device, held);
    CheckKept(world, service, *device, held);
  }
}

}  // namespace ptdoc::sync::sim
