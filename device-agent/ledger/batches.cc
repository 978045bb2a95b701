// Items that are under way to the service, a batch at a time.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/base/time_text.h"
#include "device-agent/ledger/codec.h"
#include "device-agent/ledger/ledger.h"

namespace ptdoc::sync {
namespace {

std::string EncodeSent(const std::vector<QueueItem>& items) {
  // Ids, bases and what stands before the hashes take less, mostly.
  constexpr size_t kBesideHashes = 20;
  size_t bytes = 0;
  for (const QueueItem& item : items) bytes += kBesideHashes + 8 * item.sent.hashes.size();
  ByteWriter out;
  out.Reserve(bytes);
  for (const QueueItem& item : items) {
    out.Varint(static_cast<uint64_t>(item.id));
    out.Varint(static_cast<uint64_t>(item.sent_base));
    out.String(EncodeRowHashes(item.sent));
  }
  return out.Take();
}

}  // namespace

// Runs of numbers without a gap, so that one statement stands for each.
std::vector<Ledger::IdRun> Ledger::RunsOf(std::vector<int64_t> ids) {
  std::sort(ids.begin(), ids.end());
  std::vector<IdRun> runs;
  for (const int64_t id : ids) {
    if (runs.empty() || runs.back().last + 1 < id) runs.push_back({id, id});
    runs.back().last = id;
  }
  return runs;
}

// Here and in CompleteItems OR FAIL, for what fails takes the whole transaction back
// anyway: to take back one statement of many rows, SQLite first copies every page
// that it changes into a file of its own.
absl::Status Ledger::PutBatch(std::vector<QueueItem> items) {
  ForgetRolledBack();
  const std::string batch_id = items.front().batch_id;
  PT_ASSIGN_OR_RETURN(auto batch,
                      db_.Prepare("INSERT INTO SyncBatches(BatchId, Items) VALUES(?1, ?2)"));
  PT_RETURN_IF_ERROR(batch.Bind(1, batch_id).BindBlob(2, EncodeSent(items)).Run());
  std::vector<int64_t> ids;
  ids.reserve(items.size());
  for (const QueueItem& item : items) ids.push_back(item.id);
  PT_ASSIGN_OR_RETURN(auto mark,
                      db_.Prepare("UPDATE OR FAIL SyncQueueItems SET Status = 1, BatchId = ?3 "
                                  "WHERE Id BETWEEN ?1 AND ?2"));
  for (const IdRun& run : RunsOf(std::move(ids))) {
    PT_RETURN_IF_ERROR(mark.Bind(1, run.first).Bind(2, run.last).Bind(3, batch_id).Run());
  }
  for (QueueItem& item : items) {
    item.status = ItemStatus::kProcessing;
    item.completed_at.reset();
  }
  std::sort(items.begin(), items.end(),
            [](const QueueItem& a, const QueueItem& b) { return a.id < b.id; });
  batch_items_[batch_id] = std::move(items);
  return absl::OkStatus();
}

void Ledger::ForgetBatchesOf(int64_t first_id, int64_t last_id) {
  std::erase_if(batch_items_, [&](const auto& batch) {
    return batch.second.front().id <= last_id && batch.second.back().id >= first_id;
  });
}

// What a batch was sent with never changes, and its id is never another one's.
absl::StatusOr<const Ledger::SentItems*> Ledger::SentOf(const std::string& batch_id) {
  const auto known = sent_.find(batch_id);
  if (known != sent_.end()) return &known->second;
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT Items FROM SyncBatches WHERE BatchId = ?1"));
  PT_ASSIGN_OR_RETURN(const bool found, stmt.Bind(1, batch_id).Step());
  SentItems sent;
  ByteReader in(found ? stmt.Blob(0) : absl::string_view());
  while (in.ok() && !in.AtEnd()) {
    const auto id = static_cast<int64_t>(in.Varint());
    const auto base = static_cast<Revision>(in.Varint());
    PT_ASSIGN_OR_RETURN(RowHashes row, DecodeRowHashes(in.String()));
    sent[id] = {std::move(row), base};
  }
  if (!in.ok()) return absl::DataLossError("a batch in the ledger is malformed");
  return &(sent_[batch_id] = std::move(sent));
}

absl::Status Ledger::FillSent(QueueItem* item) {
  PT_ASSIGN_OR_RETURN(const SentItems* sent, SentOf(item->batch_id));
  const auto found = sent->find(item->id);
  if (found == sent->end()) return absl::OkStatus();
  item->sent = found->second.row;
  item->sent_base = found->second.base;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Ledger::IdRun>> Ledger::RunsOfBatch(const std::string& batch_id) {
  PT_ASSIGN_OR_RETURN(const SentItems* sent, SentOf(batch_id));
  std::vector<int64_t> ids;
  ids.reserve(sent->size());
  for (const auto& [id, row] : *sent) ids.push_back(id);
  std::vector<IdRun> runs = RunsOf(std::move(ids));
  // Of an earlier form, or made by hand: whatever says that it belongs here.
  if (runs.empty()) runs.push_back({0, std::numeric_limits<int64_t>::max()});
  return runs;
}

absl::StatusOr<std::vector<QueueItem>> Ledger::ListBatch(const std::string& batch_id) {
  ForgetRolledBack();
  if (auto known = batch_items_.extract(batch_id)) return std::move(known.mapped());
  PT_ASSIGN_OR_RETURN(const std::vector<IdRun> runs, RunsOfBatch(batch_id));
  std::vector<QueueItem> items;
  for (const IdRun& run : runs) PT_RETURN_IF_ERROR(ReadRun(run, batch_id, &items));
  return items;
}

absl::Status Ledger::CompleteItems(std::vector<int64_t> ids, absl::Time at) {
  has_open_.reset();
  PT_ASSIGN_OR_RETURN(
      auto complete,
      db_.Prepare("UPDATE OR FAIL SyncQueueItems SET Status = 2, CompletedAt = ?3, "
                  "ErrorMessage = NULL, NextAttemptAt = NULL, SentHashes = NULL, SentBase = NULL "
                  "WHERE Id BETWEEN ?1 AND ?2"));
  complete.Bind(3, FormatUtc(at));
  for (const IdRun& run : RunsOf(std::move(ids))) {
    ForgetBatchesOf(run.first, run.last);
    PT_RETURN_IF_ERROR(complete.Bind(1, run.first).Bind(2, run.last).Run());
  }
  return absl::OkStatus();
}

absl::Status Ledger::CloseBatch(const std::string& batch_id) {
  sent_.erase(batch_id);
  batch_items_.erase(batch_id);
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("DELETE FROM SyncBatches WHERE BatchId = ?1"));
  return stmt.Bind(1, batch_id).Run();
}

absl::StatusOr<std::vector<std::string>> Ledger::OpenBatches() {
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT BatchId FROM SyncBatches ORDER BY Id"));
  std::vector<std::string> batches;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return batches;
    batches.emplace_back(stmt.Text(0));
  }
}

absl::StatusOr<uint32_t> Ledger::CountProcessing() {
  ForgetRolledBack();
  int64_t count = 0;
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> batches, OpenBatches());
  PT_ASSIGN_OR_RETURN(auto stmt, db_.Prepare("SELECT count(*) FROM SyncQueueItems WHERE Id BETWEEN "
                                             "?1 AND ?2 AND +Status = 1 AND BatchId = ?3"));
  for (const std::string& batch : batches) {
    const auto known = batch_items_.find(batch);
    if (known != batch_items_.end()) {
      count += static_cast<int64_t>(known->second.size());
      continue;
    }
    PT_ASSIGN_OR_RETURN(const std::vector<IdRun> runs, RunsOfBatch(batch));
    for (const IdRun& run : runs) {
      stmt.Bind(1, run.first).Bind(2, run.last).Bind(3, batch);
      PT_RETURN_IF_ERROR(stmt.Step().status());
      count += stmt.Int(0);
      stmt.Reset();
    }
  }
  return static_cast<uint32_t>(count);
}

// What people write by hand is a status and no more: an item that is open again
// must be found as one, and one that is under way belongs to a batch.
absl::Status Ledger::Mend() {
  constexpr char kOpenAgain[] =
      "WHERE Status IN (0, 1, 3) AND (CompletedAt IS NOT NULL OR (Status = 1 AND (BatchId IS NULL "
      "OR BatchId NOT IN (SELECT BatchId FROM SyncBatches))))";
  PT_ASSIGN_OR_RETURN(
      const int64_t any,
      db_.QueryInt(absl::StrCat("SELECT EXISTS(SELECT 1 FROM SyncQueueItems ", kOpenAgain, ")")));
  if (any == 0) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, Begin());
  PT_RETURN_IF_ERROR(
      db_.Exec(absl::StrCat("INSERT INTO SyncBatches(BatchId, Items) SELECT BatchId, x'' FROM "
                            "SyncQueueItems ",
                            kOpenAgain,
                            " AND Status = 1 AND BatchId IS NOT NULL AND BatchId NOT IN (SELECT "
                            "BatchId FROM SyncBatches) GROUP BY BatchId; "
                            "UPDATE SyncQueueItems SET CompletedAt = NULL, "
                            "Status = iif(Status = 1 AND BatchId IS NULL, 0, Status) ",
                            kOpenAgain)));
  return tx.Commit();
}

}  // namespace ptdoc::sync
