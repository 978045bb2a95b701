#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sync-service/store/store.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {

// What a store gives to be tested: fresh data, and any number of Store objects
// on it, each as another process would have one.
class StoreHarness {
 public:
  virtual ~StoreHarness() = default;
  virtual std::unique_ptr<Store> Open() = 0;
};
using HarnessFactory = std::unique_ptr<StoreHarness> (*)();

inline constexpr char kClinic[] = "clinic";
inline constexpr char kOtherClinic[] = "other clinic";
inline constexpr size_t kNoLimit = 1 << 30;

// The value, or a failed check that shows the status.
template <typename T>
T Get(absl::StatusOr<T> result, const char* what = "") {
  EXPECT_TRUE(result.ok()) << what << result.status();
  if (!result.ok()) std::abort();
  return *std::move(result);
}

inline absl::Time At(int64_t seconds) {
  return absl::FromUnixSeconds(1'771'303'500 + seconds);
}

inline EntityKey Patient(const std::string& id) {
  return {"Patient", id};
}

// A version as the engine gives it to Append.
inline NewVersion MakeVersion(EntityKey key, Fields fields, bool deleted = false) {
  NewVersion added;
  added.stored.version.key = std::move(key);
  added.stored.version.deleted = deleted;
  added.stored.version.fields = std::move(fields);
  added.stored.version.last_modified = 5'000;
  added.stored.version.modified_by = "u1";
  added.stored.claimed_time = 5'000;
  added.stored.device = "device-1";
  added.stored.user = "token-user";
  const Version& version = added.stored.version;
  added.stored.content_hash = ContentHash(version.key, version.deleted, version.fields);
  return added;
}

inline NewVersion Named(const EntityKey& key, const std::string& name) {
  return MakeVersion(key, Fields({{"Name", Value::Text(name)}}));
}

inline NewVersion Tombstone(const EntityKey& key) {
  return MakeVersion(key, Fields(), /*deleted=*/true);
}

inline std::string HashOf(const EntityKey& key, const std::string& name) {
  return Named(key, name).stored.content_hash;
}

inline void ExpectEqual(const ChangeResult& a, const ChangeResult& b) {
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.outcome, b.outcome);
  EXPECT_EQ(a.resolution, b.resolution);
  EXPECT_EQ(a.revision, b.revision);
  EXPECT_EQ(a.check, b.check);
  EXPECT_EQ(a.current, b.current);
  EXPECT_EQ(a.rule, b.rule);
  EXPECT_EQ(a.conflict_id, b.conflict_id);
  EXPECT_EQ(a.error_code, b.error_code);
  EXPECT_EQ(a.error_message, b.error_message);
  EXPECT_EQ(a.retryable, b.retryable);
}

inline AuditEvent Happened(const std::string& what) {
  AuditEvent event;
  event.at = At(0);
  event.event = what;
  return event;
}

inline TokenRow MakeToken(const std::string& id) {
  TokenRow token;
  token.id = id;
  token.hash = "hash of " + id;
  token.tenant = kClinic;
  token.device = "d1";
  token.user = "u1";
  token.role = Role::kReviewer;
  token.created_at = At(0);
  token.expires_at = At(1000);
  return token;
}

class StoreContractTest : public testing::TestWithParam<HarnessFactory> {
 protected:
  StoreContractTest() : harness_(GetParam()()), store_(harness_->Open()) {}

  std::unique_ptr<StoreWriter> BeginWrite() { return Get(store_->BeginWrite()); }
  std::unique_ptr<StoreReader> Read() { return Get(store_->BeginRead()); }

  // Commits one batch; `versions` gets its revisions.
  BatchEnd Commit(std::vector<NewVersion>& versions, absl::Time at = At(0),
                  const char* tenant = kClinic) {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    const BatchEnd end = Get(writer->Append(tenant, versions, ++tag_, at));
    EXPECT_EQ(writer->Commit(), absl::OkStatus());
    return end;
  }
  BatchEnd Commit(std::vector<NewVersion>&& versions, absl::Time at = At(0),
                  const char* tenant = kClinic) {
    return Commit(versions, at, tenant);
  }

  std::vector<FeedVersion> Log(Revision after, std::vector<std::string> types = {},
                               size_t limit = kNoLimit, size_t bytes_max = kNoLimit,
                               Revision* covered = nullptr) {
    Revision unused = 0;
    return Get(Read()->ReadLog(kClinic, after, types, limit, bytes_max,
                               covered == nullptr ? &unused : covered));
  }

  std::unique_ptr<StoreHarness> harness_;
  std::unique_ptr<Store> store_;
  uint64_t tag_ = 0x8000'0000'0000'0000;  // Tags use all 64 bits.
};

inline std::vector<Revision> Revisions(const std::vector<FeedVersion>& page) {
  std::vector<Revision> revisions;
  for (const FeedVersion& entry : page) revisions.push_back(entry.version.revision);
  return revisions;
}

inline std::vector<Revision> Revisions(const std::vector<Version>& page) {
  std::vector<Revision> revisions;
  for (const Version& version : page) revisions.push_back(version.revision);
  return revisions;
}

inline std::vector<bool> BatchEnds(const std::vector<FeedVersion>& page) {
  std::vector<bool> ends;
  for (const FeedVersion& entry : page) ends.push_back(entry.batch_end);
  return ends;
}

}  // namespace ptdoc::sync
