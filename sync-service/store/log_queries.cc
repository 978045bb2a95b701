// The log of a tenant: pages of it, of its heads, and the ends of its batches.
#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/store_queries.h"
#include "sync-service/store/version_columns.h"

namespace ptdoc::sync {
namespace {

constexpr char kLog[] =
    "SELECT " PT_VERSION_COLUMNS " FROM Versions v WHERE v.Id > ? AND v.Id <= ? ORDER BY v.Id";
constexpr char kHeads[] = "SELECT " PT_VERSION_COLUMNS
                          " FROM Versions v WHERE v.Id > ? AND v.Id <= ?"
                          " AND v.Superseded = 0 AND v.Deleted = 0 ORDER BY v.Id";
constexpr char kHeadChecks[] =
    "SELECT Id, TypeId, EntityId, ContentHash FROM Versions WHERE Id > ? AND Id <= ?"
    " AND Superseded = 0 AND Deleted = 0 ORDER BY Id";
constexpr char kLogTypes[] = "SELECT TypeId FROM Versions WHERE Id > ? AND Id <= ?";
constexpr char kHeadTypes[] =
    "SELECT TypeId FROM Versions WHERE Id > ? AND Id <= ? AND Superseded = 0 AND Deleted = 0";
constexpr char kBatchesFrom[] = "SELECT Id FROM Batches WHERE Id >= ? AND Id <= ? ORDER BY Id";
constexpr char kBatch[] = "SELECT Tag FROM Batches WHERE Id = ?";
constexpr char kFirstBatchIn[] =
    "SELECT Id, Tag FROM Batches WHERE Id > ? AND Id <= ? ORDER BY Id LIMIT 1";
constexpr char kLastBatchIn[] =
    "SELECT Id, Tag, CommittedAt FROM Batches WHERE Id > ? AND Id <= ? ORDER BY Id DESC LIMIT 1";

// Walks over the batch ends of a tenant beside a walk over its versions.
class BatchEnds {
 public:
  BatchEnds(sqlite::Statement batches, int64_t tenant) : batches_(std::move(batches)) {
    batches_.Bind(2, RowId(tenant, kSequenceMax));
    tenant_ = tenant;
  }

  // The end of the batch that `revision` belongs to; revisions must rise.
  absl::StatusOr<Revision> EndOf(Revision revision) {
    if (!started_) batches_.Bind(1, RowId(tenant_, revision));
    started_ = true;
    while (end_ < revision) {
      PT_ASSIGN_OR_RETURN(const bool found, batches_.Step());
      if (!found) return absl::DataLossError("a version belongs to no batch");
      end_ = SequenceOf(batches_.Int(0));
    }
    return end_;
  }

 private:
  sqlite::Statement batches_;
  int64_t tenant_ = 0;
  bool started_ = false;
  Revision end_ = 0;
};

// When a page is full. It takes at least one version, however large.
class PageBudget {
 public:
  PageBudget(size_t versions, size_t bytes)
      : versions_(std::max<size_t>(versions, 1)), bytes_(bytes) {}

  bool Fits(size_t bytes) const {
    return taken_ == 0 || (taken_ < versions_ && used_ + bytes <= bytes_);
  }
  void Take(size_t bytes) {
    ++taken_;
    used_ += bytes;
  }

 private:
  size_t versions_;
  size_t bytes_;
  size_t taken_ = 0;
  size_t used_ = 0;
};

Revision InRange(Revision revision) {
  return std::clamp<Revision>(revision, 0, kSequenceMax);
}

}  // namespace

// The wanted types by number. A type that the store never saw has none, and no
// version either.
class StoreQueries::TypeFilter {
 public:
  static TypeFilter All() {
    TypeFilter filter;
    filter.all_ = true;
    return filter;
  }
  void Add(int64_t id) { ids_.insert(std::upper_bound(ids_.begin(), ids_.end(), id), id); }
  bool Wants(int64_t id) const { return all_ || std::binary_search(ids_.begin(), ids_.end(), id); }

 private:
  bool all_ = false;
  std::vector<int64_t> ids_;
};

absl::StatusOr<StoreQueries::TypeFilter> StoreQueries::FilterOf(
    std::span<const std::string> types) {
  if (types.empty()) return TypeFilter::All();
  TypeFilter filter;
  for (const std::string& type : types) {
    PT_ASSIGN_OR_RETURN(const std::optional<int64_t> id, connection_.names.Find(type));
    if (id.has_value()) filter.Add(*id);
  }
  return filter;
}

absl::StatusOr<std::vector<FeedVersion>> StoreQueries::ReadLog(absl::string_view tenant,
                                                               Revision after,
                                                               std::span<const std::string> types,
                                                               size_t limit, size_t bytes_max,
                                                               Revision* covered) {
  std::vector<FeedVersion> page;
  *covered = after;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return page;
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, Newest(tenant));
  PT_ASSIGN_OR_RETURN(const TypeFilter filter, FilterOf(types));
  PT_ASSIGN_OR_RETURN(sqlite::Statement batches, connection_.db.Prepare(kBatchesFrom));
  PT_ASSIGN_OR_RETURN(sqlite::Statement log, connection_.db.Prepare(kLog));
  log.Bind(1, RowId(*tenant_id, InRange(after))).Bind(2, RowId(*tenant_id, kSequenceMax));
  BatchEnds ends(std::move(batches), *tenant_id);
  PageBudget budget(limit, bytes_max);
  Revision end = 0;  // Of the batch that the last row belongs to.
  bool full = false;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, log.Step());
    const Revision revision = found ? SequenceOf(log.Int(kColId)) : newest.sequence + 1;
    if (!found || revision > end) {
      if (!page.empty()) page.back().batch_end = true;
      *covered = std::max(after, revision - 1);
      if (!found || full) return page;
      PT_ASSIGN_OR_RETURN(end, ends.EndOf(revision));
    }
    if (!filter.Wants(log.Int(kColTypeId))) continue;
    const size_t bytes = log.Blob(kColContent).size();
    // The page is closed by the next wanted version: only what comes then tells
    // whether the last one taken ends its batch.
    *covered = revision - 1;
    if (full || !budget.Fits(bytes)) return page;
    PT_ASSIGN_OR_RETURN(Version version, ReadVersion(log));
    page.push_back({.version = std::move(version)});
    budget.Take(bytes);
    full = !budget.Fits(0);
  }
}

absl::StatusOr<std::vector<Version>> StoreQueries::ReadHeads(absl::string_view tenant,
                                                             Revision after, Revision up_to,
                                                             std::span<const std::string> types,
                                                             size_t limit, size_t bytes_max) {
  std::vector<Version> page;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return page;
  PT_ASSIGN_OR_RETURN(const TypeFilter filter, FilterOf(types));
  PT_ASSIGN_OR_RETURN(sqlite::Statement heads, connection_.db.Prepare(kHeads));
  heads.Bind(1, RowId(*tenant_id, InRange(after))).Bind(2, RowId(*tenant_id, InRange(up_to)));
  PageBudget budget(limit, bytes_max);
  while (budget.Fits(0)) {
    PT_ASSIGN_OR_RETURN(const bool found, heads.Step());
    if (!found) break;
    if (!filter.Wants(heads.Int(kColTypeId))) continue;
    const size_t bytes = heads.Blob(kColContent).size();
    if (!budget.Fits(bytes)) break;
    PT_ASSIGN_OR_RETURN(Version version, ReadVersion(heads));
    page.push_back(std::move(version));
    budget.Take(bytes);
  }
  return page;
}

absl::StatusOr<std::vector<HeadCheck>> StoreQueries::ReadHeadChecks(
    absl::string_view tenant, Revision after, Revision up_to, std::span<const std::string> types,
    size_t limit) {
  std::vector<HeadCheck> page;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return page;
  PT_ASSIGN_OR_RETURN(const TypeFilter filter, FilterOf(types));
  PT_ASSIGN_OR_RETURN(sqlite::Statement heads, connection_.db.Prepare(kHeadChecks));
  heads.Bind(1, RowId(*tenant_id, InRange(after))).Bind(2, RowId(*tenant_id, InRange(up_to)));
  while (page.size() < limit) {
    PT_ASSIGN_OR_RETURN(const bool found, heads.Step());
    if (!found) break;
    if (!filter.Wants(heads.Int(1))) continue;
    HeadCheck& head = page.emplace_back();
    PT_ASSIGN_OR_RETURN(const absl::string_view type, connection_.names.NameOf(heads.Int(1)));
    head.key = {std::string(type), std::string(heads.Text(2))};
    head.revision = SequenceOf(heads.Int(0));
    head.check = VersionCheck(head.key, head.revision, heads.Blob(3));
  }
  return page;
}

absl::StatusOr<uint64_t> StoreQueries::CountRange(absl::string_view tenant, Revision after,
                                                  Revision up_to,
                                                  std::span<const std::string> types,
                                                  const char* sql) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, Newest(tenant));
  const Revision from = InRange(after);
  const Revision to = std::min(InRange(up_to), newest.sequence);
  if (!tenant_id.has_value() || to <= from) return 0;
  if (to - from > StoreReader::kCountedRangeMax) return static_cast<uint64_t>(to - from);
  PT_ASSIGN_OR_RETURN(const TypeFilter filter, FilterOf(types));
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows, connection_.db.Prepare(sql));
  rows.Bind(1, RowId(*tenant_id, from)).Bind(2, RowId(*tenant_id, to));
  uint64_t count = 0;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return count;
    if (filter.Wants(rows.Int(0))) ++count;
  }
}

absl::StatusOr<uint64_t> StoreQueries::CountLog(absl::string_view tenant, Revision after,
                                                Revision up_to,
                                                std::span<const std::string> types) {
  return CountRange(tenant, after, up_to, types, kLogTypes);
}

absl::StatusOr<uint64_t> StoreQueries::CountHeads(absl::string_view tenant, Revision after,
                                                  Revision up_to,
                                                  std::span<const std::string> types) {
  return CountRange(tenant, after, up_to, types, kHeadTypes);
}

absl::StatusOr<std::optional<BatchEnd>> StoreQueries::FindBatchEnd(absl::string_view tenant,
                                                                   Revision sequence) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value() || sequence <= 0 || sequence > kSequenceMax) return std::nullopt;
  PT_ASSIGN_OR_RETURN(sqlite::Statement batch, connection_.db.Prepare(kBatch));
  batch.Bind(1, RowId(*tenant_id, sequence));
  PT_ASSIGN_OR_RETURN(const bool found, batch.Step());
  if (!found) return std::nullopt;
  return BatchEnd{.sequence = sequence, .tag = static_cast<uint64_t>(batch.Int(0))};
}

absl::StatusOr<std::optional<BatchSpan>> StoreQueries::BatchAround(absl::string_view tenant,
                                                                   Revision revision) {
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value() || revision <= 0 || revision > kSequenceMax) return std::nullopt;
  const int64_t before = RowId(*tenant_id, revision - 1);
  PT_ASSIGN_OR_RETURN(sqlite::Statement end, connection_.db.Prepare(kFirstBatchIn));
  end.Bind(1, before).Bind(2, RowId(*tenant_id, kSequenceMax));
  PT_ASSIGN_OR_RETURN(const bool found, end.Step());
  if (!found) return std::nullopt;
  BatchSpan span;
  span.end = {SequenceOf(end.Int(0)), static_cast<uint64_t>(end.Int(1))};
  PT_ASSIGN_OR_RETURN(sqlite::Statement start, connection_.db.Prepare(kLastBatchIn));
  start.Bind(1, RowId(*tenant_id, 0)).Bind(2, before);
  PT_ASSIGN_OR_RETURN(const bool is_preceded, start.Step());
  if (is_preceded) span.after = SequenceOf(start.Int(0));
  return span;
}

// Commit times never fall along the log (Append sees to it), so that halving
// finds the place without an index of times.
absl::StatusOr<BatchEnd> StoreQueries::BatchEndAt(absl::string_view tenant, absl::Time at) {
  BatchEnd best;
  PT_ASSIGN_OR_RETURN(const std::optional<int64_t> tenant_id, TenantId(tenant));
  if (!tenant_id.has_value()) return best;
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, Newest(tenant));
  PT_ASSIGN_OR_RETURN(sqlite::Statement last_in, connection_.db.Prepare(kLastBatchIn));
  const int64_t latest = absl::ToUnixNanos(at);
  Revision low = 0;                 // Every batch up to here is early enough,
  Revision high = newest.sequence;  // every batch above here is too late.
  while (low < high) {
    const Revision middle = low + (high - low + 1) / 2;
    last_in.Bind(1, RowId(*tenant_id, low)).Bind(2, RowId(*tenant_id, middle));
    PT_ASSIGN_OR_RETURN(const bool found, last_in.Step());
    if (found && last_in.Int(2) > latest) {
      high = SequenceOf(last_in.Int(0)) - 1;
    } else {
      if (found) best = {SequenceOf(last_in.Int(0)), static_cast<uint64_t>(last_in.Int(1))};
      low = middle;
    }
    last_in.Reset();
  }
  return best;
}

}  // namespace ptdoc::sync
