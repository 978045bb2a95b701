// Retention. Every version up to some point of the log is looked at once: by
// then the version before it was superseded long enough ago, and goes.
#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/sqlite_writer.h"

namespace ptdoc::sync {
namespace {

// The index holds nothing but updates and deletions, so that a million rows
// that were inserted once cost nothing here.
constexpr char kToPrune[] =
    "SELECT Id, Previous, Deleted, Superseded FROM Versions INDEXED BY VersionsToPrune"
    " WHERE (Previous > 0 OR Deleted = 1) AND Id > ? AND Id <= ? ORDER BY Id LIMIT ?";
constexpr char kReadPruned[] = "SELECT PrunedUpTo, PruneScannedTo FROM Tenants WHERE TenantId = ?";
constexpr char kWritePruned[] =
    "UPDATE Tenants SET PrunedUpTo = max(PrunedUpTo, ?), PruneScannedTo = ? WHERE TenantId = ?";
constexpr char kIdentity[] = "SELECT TypeId, EntityId, ContentHash FROM Versions WHERE Id = ?";
constexpr char kKeepHash[] =
    "INSERT INTO PrunedHashes (KeyHash, ContentHash) VALUES (?, ?) ON CONFLICT DO NOTHING";
constexpr char kDeleteHead[] = "DELETE FROM Heads WHERE KeyHash = ? AND VersionId = ?";
constexpr char kDeleteVersion[] = "DELETE FROM Versions WHERE Id = ?";
constexpr char kEndChain[] = "UPDATE Versions SET Previous = 0 WHERE Id = ?";
// The batch that a removed version belonged to, if nothing is left of it.
// Cursors at or above PrunedUpTo are still checked against theirs: it stays.
constexpr char kDeleteEmptyBatch[] =
    "DELETE FROM Batches WHERE Id = (SELECT min(Id) FROM Batches WHERE Id >= ?1) AND Id < ?2"
    " AND NOT EXISTS (SELECT 1 FROM Versions v WHERE v.Id <= Batches.Id AND v.Id >"
    "   coalesce((SELECT max(b.Id) FROM Batches b WHERE b.Id < Batches.Id AND b.Id > ?3), ?3))";
constexpr char kOldestReceipts[] =
    "SELECT Id, CommittedAt FROM Receipts WHERE Id > ? AND Id <= ? ORDER BY Id LIMIT ?";
constexpr char kDeleteReceipts[] = "DELETE FROM Receipts WHERE Id > ? AND Id <= ?";
constexpr size_t kLimitMax = 1'000'000;

}  // namespace

struct SqliteWriter::PruneStep {
  Revision revision = 0;
  Revision previous = 0;
  bool is_dead_head = false;  // a tombstone that is still the newest version
};

struct SqliteWriter::PruneState {
  Revision scanned = 0;  // up to here nothing is left to do
  Revision highest = 0;  // that was ever removed
  std::vector<Revision> removed;
  bool out_of_limit = false;
};

absl::StatusOr<size_t> SqliteWriter::Prune(absl::string_view tenant, absl::Time before,
                                           size_t limit) {
  return Write([&]() -> absl::StatusOr<size_t> {
    PT_ASSIGN_OR_RETURN(const std::optional<int64_t> known, connection_.tenants.Find(tenant));
    if (!known.has_value()) return 0;
    const size_t most = std::min(limit, kLimitMax);
    PT_ASSIGN_OR_RETURN(const BatchEnd old,
                        queries_.BatchEndAt(tenant, before - absl::Nanoseconds(1)));
    PT_ASSIGN_OR_RETURN(const size_t versions, PruneVersions(*known, old.sequence, most));
    PT_ASSIGN_OR_RETURN(const size_t receipts, PruneReceipts(*known, before, most));
    return versions + receipts;
  });
}

absl::StatusOr<size_t> SqliteWriter::PruneVersions(int64_t tenant, Revision up_to, size_t limit) {
  PruneState state;
  PT_ASSIGN_OR_RETURN(sqlite::Statement pruned, Prepare(kReadPruned));
  pruned.Bind(1, tenant);
  PT_ASSIGN_OR_RETURN(const bool found, pruned.Step());
  if (found) state.highest = pruned.Int(0);
  if (found) state.scanned = pruned.Int(1);
  pruned.Reset();
  const Revision highest_before = state.highest;
  if (up_to <= state.scanned) return 0;

  PT_ASSIGN_OR_RETURN(const std::vector<PruneStep> steps,
                      ReadPruneSteps(tenant, state.scanned, up_to, limit));
  for (const PruneStep& step : steps) {
    PT_RETURN_IF_ERROR(PruneAt(tenant, step, limit, &state));
    if (state.out_of_limit) break;
    state.scanned = step.revision;
  }
  if (!state.out_of_limit && steps.size() < limit) state.scanned = up_to;

  PT_ASSIGN_OR_RETURN(sqlite::Statement write, Prepare(kWritePruned));
  write.Bind(1, state.highest).Bind(2, state.scanned).Bind(3, tenant);
  PT_RETURN_IF_ERROR(write.Run());
  // The batch at the edge was kept for its cursors until the edge moved.
  PT_RETURN_IF_ERROR(RemoveEmptyBatch(tenant, highest_before, state.highest));
  for (const Revision revision : state.removed) {
    PT_RETURN_IF_ERROR(RemoveEmptyBatch(tenant, revision, state.highest));
  }
  return state.removed.size();
}

// All of them first: the rows that they stand in are changed later.
absl::StatusOr<std::vector<SqliteWriter::PruneStep>> SqliteWriter::ReadPruneSteps(int64_t tenant,
                                                                                  Revision after,
                                                                                  Revision up_to,
                                                                                  size_t limit) {
  std::vector<PruneStep> steps;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, Prepare(kToPrune));
  rows.Bind(1, RowId(tenant, after)).Bind(2, RowId(tenant, up_to));
  rows.Bind(3, static_cast<int64_t>(limit));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return steps;
    const bool is_dead_head = rows.Int(2) != 0 && rows.Int(3) == 0;
    steps.push_back({SequenceOf(rows.Int(0)), rows.Int(1), is_dead_head});
  }
}

// The version before goes. So does this one if it is a tombstone that nothing
// followed; a tombstone that something followed goes with what followed it.
absl::Status SqliteWriter::PruneAt(int64_t tenant, const PruneStep& step, size_t limit,
                                   PruneState* state) {
  if (step.previous > 0) {
    state->out_of_limit = state->removed.size() >= limit;
    if (state->out_of_limit) return absl::OkStatus();
    PT_RETURN_IF_ERROR(RemoveVersion(tenant, step.previous).status());
    PT_ASSIGN_OR_RETURN(sqlite::Statement end, Prepare(kEndChain));
    end.Bind(1, RowId(tenant, step.revision));
    PT_RETURN_IF_ERROR(end.Run());
    state->highest = std::max(state->highest, step.previous);
    state->removed.push_back(step.previous);
  }
  if (!step.is_dead_head) return absl::OkStatus();
  state->out_of_limit = state->removed.size() >= limit;
  if (state->out_of_limit) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const int64_t hash, RemoveVersion(tenant, step.revision));
  PT_ASSIGN_OR_RETURN(sqlite::Statement head, Prepare(kDeleteHead));
  head.Bind(1, hash).Bind(2, RowId(tenant, step.revision));
  PT_RETURN_IF_ERROR(head.Run());
  state->highest = std::max(state->highest, step.revision);
  state->removed.push_back(step.revision);
  return absl::OkStatus();
}

absl::Status SqliteWriter::RemoveEmptyBatch(int64_t tenant, Revision around, Revision below) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement remove, Prepare(kDeleteEmptyBatch));
  remove.Bind(1, RowId(tenant, around)).Bind(2, RowId(tenant, below)).Bind(3, RowId(tenant, 0));
  return remove.Run();
}

absl::StatusOr<int64_t> SqliteWriter::RemoveVersion(int64_t tenant, Revision revision) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement identity, Prepare(kIdentity));
  identity.Bind(1, RowId(tenant, revision));
  PT_ASSIGN_OR_RETURN(const bool found, identity.Step());
  if (!found) return absl::DataLossError("a version that another one follows is not in the store");
  PT_ASSIGN_OR_RETURN(const int64_t hash,
                      connection_.KeyHash(tenant, identity.Int(0), identity.Text(1)));
  PT_ASSIGN_OR_RETURN(sqlite::Statement keep, Prepare(kKeepHash));
  keep.Bind(1, hash).BindBlob(2, identity.Blob(2));
  PT_RETURN_IF_ERROR(keep.Run());
  identity.Reset();
  PT_ASSIGN_OR_RETURN(sqlite::Statement remove, Prepare(kDeleteVersion));
  remove.Bind(1, RowId(tenant, revision));
  PT_RETURN_IF_ERROR(remove.Run());
  return hash;
}

// Receipts stand in the order in which they were committed.
absl::StatusOr<size_t> SqliteWriter::PruneReceipts(int64_t tenant, absl::Time before,
                                                   size_t limit) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement oldest, Prepare(kOldestReceipts));
  oldest.Bind(1, RowId(tenant, 0)).Bind(2, RowId(tenant, kSequenceMax));
  oldest.Bind(3, static_cast<int64_t>(limit));
  int64_t last = RowId(tenant, 0);
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, oldest.Step());
    if (!found || oldest.Int(1) >= absl::ToUnixNanos(before)) break;
    last = oldest.Int(0);
  }
  oldest.Reset();
  PT_ASSIGN_OR_RETURN(sqlite::Statement remove, Prepare(kDeleteReceipts));
  remove.Bind(1, RowId(tenant, 0)).Bind(2, last);
  PT_RETURN_IF_ERROR(remove.Run());
  return static_cast<size_t>(connection_.db.changes());
}

}  // namespace ptdoc::sync
