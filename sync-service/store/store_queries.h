#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sync-service/store/store.h"
#include "sync-service/store/store_connection.h"

namespace ptdoc::sync {

// The reads of StoreReader over one connection, inside whatever transaction is
// open there. Statuses are SQLite's: the reader and the writer map them.
class StoreQueries {
 public:
  // `connection` must outlive this.
  explicit StoreQueries(StoreConnection& connection) : connection_(connection) {}

  // Lets go of the connection's statements: before another thread may have it.
  void Release();

  absl::StatusOr<StoreMeta> Meta();
  absl::StatusOr<Revision> SharedRevision(absl::string_view tenant);
  absl::StatusOr<std::vector<std::string>> ListTenants();

  absl::StatusOr<std::optional<StoredVersion>> Head(absl::string_view tenant, const EntityKey& key);
  absl::StatusOr<std::optional<StoredVersion>> FindVersion(absl::string_view tenant,
                                                           const EntityKey& key, Revision revision);
  absl::StatusOr<bool> KnowsContent(absl::string_view tenant, const EntityKey& key,
                                    absl::string_view content_hash);
  absl::StatusOr<std::vector<StoredVersion>> History(absl::string_view tenant,
                                                     const EntityKey& key);

  absl::StatusOr<BatchEnd> Newest(absl::string_view tenant);
  absl::StatusOr<std::optional<BatchEnd>> FindBatchEnd(absl::string_view tenant, Revision sequence);
  absl::StatusOr<std::optional<BatchSpan>> BatchAround(absl::string_view tenant, Revision revision);
  absl::StatusOr<BatchEnd> BatchEndAt(absl::string_view tenant, absl::Time at);
  absl::StatusOr<Revision> PrunedUpTo(absl::string_view tenant);
  absl::StatusOr<std::vector<FeedVersion>> ReadLog(absl::string_view tenant, Revision after,
                                                   std::span<const std::string> types, size_t limit,
                                                   size_t bytes_max, Revision* covered);
  absl::StatusOr<std::vector<Version>> ReadHeads(absl::string_view tenant, Revision after,
                                                 Revision up_to, std::span<const std::string> types,
                                                 size_t limit, size_t bytes_max);
  absl::StatusOr<std::vector<HeadCheck>> ReadHeadChecks(absl::string_view tenant, Revision after,
                                                        Revision up_to,
                                                        std::span<const std::string> types,
                                                        size_t limit);
  absl::StatusOr<uint64_t> CountLog(absl::string_view tenant, Revision after, Revision up_to,
                                    std::span<const std::string> types);
  absl::StatusOr<uint64_t> CountHeads(absl::string_view tenant, Revision after, Revision up_to,
                                      std::span<const std::string> types);

  absl::StatusOr<std::optional<Receipt>> FindReceipt(absl::string_view tenant,
                                                     absl::string_view device,
                                                     absl::string_view batch_id);
  absl::StatusOr<std::vector<ArchiveRow>> ListConflicts(absl::string_view tenant,
                                                        const StoreReader::ConflictFilter& filter);
  absl::StatusOr<std::optional<ArchiveRow>> FindConflict(absl::string_view tenant,
                                                         absl::string_view conflict_id);
  absl::StatusOr<uint64_t> CountOpenConflicts(absl::string_view tenant);
  absl::StatusOr<std::vector<DeviceRow>> ListDevices(absl::string_view tenant);
  absl::StatusOr<std::optional<DeviceRow>> FindDevice(absl::string_view tenant,
                                                      absl::string_view device);
  absl::StatusOr<AuditHead> ReadAuditHead(absl::string_view tenant);
  absl::StatusOr<std::vector<AuditRow>> ReadAudit(absl::string_view tenant, int64_t after_sequence,
                                                  size_t limit);
  absl::StatusOr<bool> AnyToken();
  absl::StatusOr<std::optional<TokenRow>> FindToken(absl::string_view hash);
  absl::StatusOr<std::vector<TokenRow>> ListTokens();

  // The revision of an entity's head; 0 if it has none. `hash` is its KeyHash.
  absl::StatusOr<Revision> HeadRevision(int64_t tenant, int64_t type, const std::string& id,
                                        int64_t hash);

 private:
  class TypeFilter;

  // The tenant's number; absent if nothing was ever stored for it.
  absl::StatusOr<std::optional<int64_t>> TenantId(absl::string_view tenant);
  // One column of the tenant's row; 0 for an unknown tenant.
  absl::StatusOr<int64_t> TenantColumn(const char* sql, absl::string_view tenant);
  absl::StatusOr<TypeFilter> FilterOf(std::span<const std::string> types);
  absl::StatusOr<uint64_t> CountRange(absl::string_view tenant, Revision after, Revision up_to,
                                      std::span<const std::string> types, const char* sql);
  absl::StatusOr<Version> ReadVersion(const sqlite::Statement& row);
  absl::StatusOr<StoredVersion> ReadStoredVersion(const sqlite::Statement& row);
  absl::Status ReadWriters(absl::string_view bytes, StoredVersion* stored);

  StoreConnection& connection_;
  // Asked for once a row: kept from one call to the next, always reset.
  std::optional<sqlite::Statement> head_;
  std::optional<sqlite::Statement> head_revision_;
};

}  // namespace ptdoc::sync
