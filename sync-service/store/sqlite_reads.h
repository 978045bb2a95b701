#pragma once

#include "sync-service/store/store_error.h"
#include "sync-service/store/store_queries.h"

namespace ptdoc::sync {

// The reads of StoreReader for the reader and the writer: StoreQueries, with
// errors as store.h promises them.
template <typename Base>
class SqliteReads : public Base {
 public:
  explicit SqliteReads(StoreConnection& connection) : queries_(connection) {}

  absl::StatusOr<StoreMeta> Meta() override { return Mapped(queries_.Meta()); }
  absl::StatusOr<Revision> SharedRevision(absl::string_view tenant) override {
    return Mapped(queries_.SharedRevision(tenant));
  }
  absl::StatusOr<std::optional<StoredVersion>> Head(absl::string_view tenant,
                                                    const EntityKey& key) override {
    return Mapped(queries_.Head(tenant, key));
  }
  absl::StatusOr<std::optional<StoredVersion>> FindVersion(absl::string_view tenant,
                                                           const EntityKey& key,
                                                           Revision revision) override {
    return Mapped(queries_.FindVersion(tenant, key, revision));
  }
  absl::StatusOr<bool> KnowsContent(absl::string_view tenant, const EntityKey& key,
                                    absl::string_view content_hash) override {
    return Mapped(queries_.KnowsContent(tenant, key, content_hash));
  }
  absl::StatusOr<std::optional<Receipt>> FindReceipt(absl::string_view tenant,
                                                     absl::string_view device,
                                                     absl::string_view batch_id) override {
    return Mapped(queries_.FindReceipt(tenant, device, batch_id));
  }
  absl::StatusOr<BatchEnd> Newest(absl::string_view tenant) override {
    return Mapped(queries_.Newest(tenant));
  }
  absl::StatusOr<std::optional<BatchEnd>> FindBatchEnd(absl::string_view tenant,
                                                       Revision sequence) override {
    return Mapped(queries_.FindBatchEnd(tenant, sequence));
  }
  absl::StatusOr<std::optional<BatchSpan>> BatchAround(absl::string_view tenant,
                                                       Revision revision) override {
    return Mapped(queries_.BatchAround(tenant, revision));
  }
  absl::StatusOr<BatchEnd> BatchEndAt(absl::string_view tenant, absl::Time at) override {
    return Mapped(queries_.BatchEndAt(tenant, at));
  }
  absl::StatusOr<Revision> PrunedUpTo(absl::string_view tenant) override {
    return Mapped(queries_.PrunedUpTo(tenant));
  }
  absl::StatusOr<std::vector<FeedVersion>> ReadLog(absl::string_view tenant, Revision after,
                                                   std::span<const std::string> types, size_t limit,
                                                   size_t bytes_max, Revision* covered) override {
    return Mapped(queries_.ReadLog(tenant, after, types, limit, bytes_max, covered));
  }
  absl::StatusOr<std::vector<Version>> ReadHeads(absl::string_view tenant, Revision after,
                                                 Revision up_to, std::span<const std::string> types,
                                                 size_t limit, size_t bytes_max) override {
    return Mapped(queries_.ReadHeads(tenant, after, up_to, types, limit, bytes_max));
  }
  absl::StatusOr<std::vector<HeadCheck>> ReadHeadChecks(absl::string_view tenant, Revision after,
                                                        Revision up_to,
                                                        std::span<const std::string> types,
                                                        size_t limit) override {
    return Mapped(queries_.ReadHeadChecks(tenant, after, up_to, types, limit));
  }
  absl::StatusOr<uint64_t> CountLog(absl::string_view tenant, Revision after, Revision up_to,
                                    std::span<const std::string> types) override {
    return Mapped(queries_.CountLog(tenant, after, up_to, types));
  }
  absl::StatusOr<uint64_t> CountHeads(absl::string_view tenant, Revision after, Revision up_to,
                                      std::span<const std::string> types) override {
    return Mapped(queries_.CountHeads(tenant, after, up_to, types));
  }
  absl::StatusOr<std::vector<ArchiveRow>> ListConflicts(
      absl::string_view tenant, const StoreReader::ConflictFilter& filter) override {
    return Mapped(queries_.ListConflicts(tenant, filter));
  }
  absl::StatusOr<std::optional<ArchiveRow>> FindConflict(absl::string_view tenant,
                                                         absl::string_view conflict_id) override {
    return Mapped(queries_.FindConflict(tenant, conflict_id));
  }
  absl::StatusOr<uint64_t> CountOpenConflicts(absl::string_view tenant) override {
    return Mapped(queries_.CountOpenConflicts(tenant));
  }
  absl::StatusOr<std::vector<StoredVersion>> History(absl::string_view tenant,
                                                     const EntityKey& key) override {
    return Mapped(queries_.History(tenant, key));
  }
  absl::StatusOr<std::vector<DeviceRow>> ListDevices(absl::string_view tenant) override {
    return Mapped(queries_.ListDevices(tenant));
  }
  absl::StatusOr<std::optional<DeviceRow>> FindDevice(absl::string_view tenant,
                                                      absl::string_view device) override {
    return Mapped(queries_.FindDevice(tenant, device));
  }
  absl::StatusOr<AuditHead> ReadAuditHead(absl::string_view tenant) override {
    return Mapped(queries_.ReadAuditHead(tenant));
  }
  absl::StatusOr<std::vector<AuditRow>> ReadAudit(absl::string_view tenant, int64_t after_sequence,
                                                  size_t limit) override {
    return Mapped(queries_.ReadAudit(tenant, after_sequence, limit));
  }
  absl::StatusOr<std::vector<std::string>> ListTenants() override {
    return Mapped(queries_.ListTenants());
  }
  absl::StatusOr<bool> AnyToken() override { return Mapped(queries_.AnyToken()); }
  absl::StatusOr<std::optional<TokenRow>> FindToken(absl::string_view hash) override {
    return Mapped(queries_.FindToken(hash));
  }
  absl::StatusOr<std::vector<TokenRow>> ListTokens() override {
    return Mapped(queries_.ListTokens());
  }

 protected:
  StoreQueries queries_;
};

}  // namespace ptdoc::sync
