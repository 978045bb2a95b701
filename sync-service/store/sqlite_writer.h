#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "sync-service/store/sqlite_reads.h"

namespace ptdoc::sync {

// The write transaction of SqliteStore. Numbers that rise (revisions, audit
// sequence) are kept in memory while the transaction runs, and written before
// each savepoint and the commit; a rollback drops them, so that they are read
// anew. So they go back with their savepoint.
class SqliteWriter final : public SqliteReads<StoreWriter> {
 public:
  // `transaction` is open on `connection`, which must outlive this; `done` is
  // called when this is destroyed.
  SqliteWriter(StoreConnection& connection, sqlite::Transaction transaction,
               absl::AnyInvocable<void()> done);
  ~SqliteWriter() override;

  absl::Status BeginSavepoint() override;
  absl::Status ReleaseSavepoint() override;
  absl::Status RollbackSavepoint() override;

  absl::StatusOr<BatchEnd> Append(absl::string_view tenant, std::span<NewVersion> versions,
                                  uint64_t tag, absl::Time committed_at) override;
  absl::Status Archive(absl::string_view tenant, const ArchiveRow& row) override;
  absl::Status Audit(absl::string_view tenant, const AuditEvent& event) override;
  absl::Status PutReceipt(absl::string_view tenant, absl::string_view device,
                          absl::string_view batch_id, const Receipt& receipt) override;
  absl::Status RaiseTime(absl::string_view tenant, const EntityKey& key, Revision revision,
                         TimeNs time, absl::string_view device, std::span<const TimeNs> field_times,
                         std::span<const std::string> field_writers) override;
  absl::Status MarkConflictResolved(absl::string_view tenant, absl::string_view conflict_id,
                                    absl::Time at, absl::string_view by,
                                    absl::string_view action) override;
  absl::Status TouchDevice(absl::string_view tenant, absl::string_view device, absl::Time at,
                           absl::string_view agent,
                           const std::optional<QueueHealth>& queue) override;
  absl::Status RevokeDevice(absl::string_view tenant, absl::string_view device,
                            absl::Time at) override;
  absl::Status PutToken(const TokenRow& token) override;
  absl::Status RevokeToken(absl::string_view id, absl::Time at) override;
  absl::StatusOr<size_t> Prune(absl::string_view tenant, absl::Time before, size_t limit) override;
  absl::Status Commit() override;

  // These see what this transaction has not written yet.
  absl::StatusOr<AuditHead> ReadAuditHead(absl::string_view tenant) override;

 private:
  // The tenant's row while this transaction runs.
  struct TenantState {
    int64_t id = 0;
    BatchEnd newest;
    int64_t committed_at = 0;  // ns, of the newest batch
    AuditHead audit;
    bool dirty = false;  // the audit head is not written yet
  };
  struct PruneStep;
  struct PruneState;

  // Keeps the status of the first write that failed. NOT_FOUND of our own does
  // not count: it changed nothing.
  absl::Status Noted(const absl::Status& status);
  template <typename T>
  absl::StatusOr<T> Noted(absl::StatusOr<T> result) {
    if (!result.ok()) return Noted(result.status());
    return result;
  }
  // Runs `write` unless an earlier one failed.
  template <typename F>
  auto Write(F write) -> decltype(write()) {
    if (!failed_.ok()) return failed_;
    return Noted(write());
  }

  void Forget();
  absl::StatusOr<TenantState*> Tenant(absl::string_view tenant);
  absl::Status Flush();
  absl::StatusOr<sqlite::Statement> Prepare(absl::string_view sql) {
    return connection_.db.Prepare(sql);
  }
  // The statement of `slot`, compiled at its first use in this transaction.
  absl::StatusOr<sqlite::Statement*> Hot(std::optional<sqlite::Statement>* slot, const char* sql);
  const std::string& TimeText(absl::Time time);
  // As column FieldWriters has them; empty for NULL.
  absl::StatusOr<std::string> WritersOf(absl::string_view device,
                                        std::span<const std::string> writers);
  // Runs an UPDATE of one row; NOT_FOUND with `missing` if there is none.
  absl::Status UpdateOne(sqlite::Statement* update, const char* missing);

  absl::StatusOr<BatchEnd> AppendVersions(TenantState* state, std::span<NewVersion> versions,
                                          uint64_t tag, absl::Time committed_at);
  // Returns the head before.
  absl::StatusOr<Revision> MoveHead(int64_t tenant, int64_t type, const NewVersion& added);
  absl::Status InsertVersion(int64_t tenant, int64_t type, Revision previous,
                             const StoredVersion& stored);
  absl::Status CloseBatch(TenantState* state, BatchEnd end, absl::Time committed_at);
  absl::Status AppendAudit(TenantState* state, const AuditEvent& event);

  absl::StatusOr<size_t> PruneVersions(int64_t tenant, Revision up_to, size_t limit);
  absl::StatusOr<std::vector<PruneStep>> ReadPruneSteps(int64_t tenant, Revision after,
                                                        Revision up_to, size_t limit);
  absl::Status PruneAt(int64_t tenant, const PruneStep& step, size_t limit, PruneState* state);
  // Returns the entity's KeyHash.
  absl::StatusOr<int64_t> RemoveVersion(int64_t tenant, Revision revision);
  absl::Status RemoveEmptyBatch(int64_t tenant, Revision around, Revision below);
  absl::StatusOr<size_t> PruneReceipts(int64_t tenant, absl::Time before, size_t limit);

  StoreConnection& connection_;
  absl::AnyInvocable<void()> done_;
  sqlite::Transaction transaction_;
  std::vector<sqlite::Savepoint> savepoints_;
  absl::Status failed_;
  bool committed_ = false;
  absl::flat_hash_map<std::string, TenantState> tenants_;
  absl::Time time_;
  std::string time_text_;
  std::optional<sqlite::Statement> insert_head_;
  std::optional<sqlite::Statement> insert_version_;
  std::optional<sqlite::Statement> insert_audit_;
};

}  // namespace ptdoc::sync
