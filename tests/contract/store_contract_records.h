#pragma once

#include "tests/contract/store_contract_fixture.h"

// Receipts, archives, audit, devices, tokens.
namespace ptdoc::sync {

inline Receipt MakeReceipt() {
  Receipt receipt;
  receipt.entities_digest = std::string("\0digest", 7);
  receipt.last_revision = 7;
  receipt.tag = 0xffff'ffff'ffff'fff0;
  receipt.committed_at = At(3) + absl::Nanoseconds(5);
  ChangeResult accepted;
  accepted.key = Patient("a");
  accepted.outcome = Outcome::kAccepted;
  accepted.revision = 7;
  accepted.check = std::string("\0\1\2\3\4\5\6\7", 8);
  accepted.rule = "6";
  ChangeResult failed;
  failed.key = {"Visit", "v"};
  failed.outcome = Outcome::kFailed;
  failed.resolution = Resolution::kKeyCollision;
  failed.rule = "6c";
  failed.conflict_id = "c-1";
  failed.error_code = ErrorCode::kKeyCollision;
  failed.error_message = "Another entity has this key already.";
  failed.retryable = true;
  receipt.results = {accepted, failed};
  return receipt;
}

inline ArchiveRow MakeArchive(const std::string& conflict_id, const EntityKey& key) {
  ArchiveRow row;
  row.conflict_id = conflict_id;
  row.key = key;
  row.resolution = Resolution::kServerWins;
  row.resolution_type = "ServerWins";
  row.rule = "8";
  row.reason = "The service's version stands";
  row.detected_at = At(1) + absl::Milliseconds(7);
  row.archived_json = R"({"Name":"lost"})";
  row.chosen_json = R"({"Name":"won"})";
  row.base_json = "null";
  row.archived_time = ToTimeNs(At(-20));
  row.chosen_time = ToTimeNs(At(-10));
  row.archived_user = "u1";
  row.archived_device = "d1";
  row.chosen_user = "u2";
  row.chosen_device = "d2";
  return row;
}

inline AuditEvent MakeEvent(int64_t number) {
  AuditEvent event;
  event.at = At(number) + absl::Microseconds(1'999);
  event.event = "change";
  event.device = "d1";
  event.user = "u1";
  event.claimed = "u2";
  event.key = Patient(std::to_string(number));
  event.outcome = "Accepted";
  event.rule = "6";
  event.revision = number;
  event.reason = "";
  return event;
}

TEST_P(StoreContractTest, ReceiptIsFoundAsItWasPut) {
  const Receipt receipt = MakeReceipt();
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutReceipt(kClinic, "d1", "batch-1", receipt), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const std::optional<Receipt> found = Get(Read()->FindReceipt(kClinic, "d1", "batch-1"));

  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->voided);
  EXPECT_EQ(found->entities_digest, receipt.entities_digest);
  EXPECT_EQ(found->last_revision, receipt.last_revision);
  EXPECT_EQ(found->tag, receipt.tag);
  EXPECT_EQ(found->committed_at, receipt.committed_at);
  ASSERT_EQ(found->results.size(), 2u);
  ExpectEqual(found->results[0], receipt.results[0]);
  ExpectEqual(found->results[1], receipt.results[1]);
}

TEST_P(StoreContractTest, ReceiptBelongsToItsTenantDeviceAndBatch) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutReceipt(kClinic, "d1", "batch-1", MakeReceipt()), absl::OkStatus());
  ASSERT_EQ(writer->PutReceipt(kOtherClinic, "d2", "batch-2", MakeReceipt()), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_FALSE(Get(reader->FindReceipt(kOtherClinic, "d1", "batch-1")).has_value());
  EXPECT_FALSE(Get(reader->FindReceipt(kClinic, "d2", "batch-1")).has_value());
  EXPECT_FALSE(Get(reader->FindReceipt(kClinic, "d1", "batch-2")).has_value());
  EXPECT_TRUE(Get(reader->FindReceipt(kOtherClinic, "d2", "batch-2")).has_value());
}

TEST_P(StoreContractTest, VoidedReceiptHasNoResults) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  Receipt voided;
  voided.voided = true;
  voided.committed_at = At(0);
  ASSERT_EQ(writer->PutReceipt(kClinic, "d1", "batch-1", voided), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const std::optional<Receipt> found = Get(Read()->FindReceipt(kClinic, "d1", "batch-1"));

  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->voided);
  EXPECT_TRUE(found->results.empty());
}

TEST_P(StoreContractTest, SecondReceiptOfABatchIsAnError) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutReceipt(kClinic, "d1", "batch-1", MakeReceipt()), absl::OkStatus());

  EXPECT_FALSE(writer->PutReceipt(kClinic, "d1", "batch-1", MakeReceipt()).ok());
}

TEST_P(StoreContractTest, ConflictIsFoundAsItWasArchived) {
  const ArchiveRow row = MakeArchive("c-1", Patient("a"));
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->Archive(kClinic, row), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Read();

  const std::optional<ArchiveRow> found = Get(reader->FindConflict(kClinic, "c-1"));

  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->key, row.key);
  EXPECT_EQ(found->resolution, row.resolution);
  EXPECT_EQ(found->resolution_type, row.resolution_type);
  EXPECT_EQ(found->rule, row.rule);
  EXPECT_EQ(found->reason, row.reason);
  EXPECT_EQ(found->detected_at, row.detected_at);
  EXPECT_EQ(found->archived_json, row.archived_json);
  EXPECT_EQ(found->chosen_json, row.chosen_json);
  EXPECT_EQ(found->base_json, row.base_json);
  EXPECT_EQ(found->archived_time, row.archived_time);
  EXPECT_EQ(found->chosen_time, row.chosen_time);
  EXPECT_EQ(found->archived_user, row.archived_user);
  EXPECT_EQ(found->archived_device, row.archived_device);
  EXPECT_EQ(found->chosen_user, row.chosen_user);
  EXPECT_EQ(found->chosen_device, row.chosen_device);
  EXPECT_FALSE(found->is_resolved);
  EXPECT_FALSE(found->resolved_at.has_value());
  EXPECT_GT(found->id, 0);
  EXPECT_FALSE(Get(reader->FindConflict(kOtherClinic, "c-1")).has_value());
}

TEST_P(StoreContractTest, ConflictThatIsNoResolutionKeepsItsType) {
  ArchiveRow row = MakeArchive("c-1", Patient("a"));
  row.resolution = Resolution::kNone;
  row.resolution_type = "Repaired";
  row.base_json = "";
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->Archive(kClinic, row), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const ArchiveRow found = *Get(Read()->FindConflict(kClinic, "c-1"));

  EXPECT_EQ(found.resolution, Resolution::kNone);
  EXPECT_EQ(found.resolution_type, "Repaired");
  EXPECT_EQ(found.base_json, "");
}

TEST_P(StoreContractTest, ConflictsAreListedByFilterWithoutContents) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->Archive(kClinic, MakeArchive("c-1", Patient("a"))), absl::OkStatus());
  ASSERT_EQ(writer->Archive(kClinic, MakeArchive("c-2", Patient("b"))), absl::OkStatus());
  ASSERT_EQ(writer->Archive(kClinic, MakeArchive("c-3", {"Visit", "a"})), absl::OkStatus());
  ArchiveRow resolved = MakeArchive("c-4", Patient("a"));
  resolved.is_resolved = true;
  ASSERT_EQ(writer->Archive(kClinic, resolved), absl::OkStatus());
  ASSERT_EQ(writer->Archive(kOtherClinic, MakeArchive("c-5", Patient("a"))), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Read();
  const auto list = [&](const EntityKey& key, bool include_resolved = false, int64_t after_id = 0,
                        size_t limit = 100) {
    const StoreReader::ConflictFilter filter = {include_resolved, key, after_id, limit};
    std::vector<std::string> ids;
    for (const ArchiveRow& row : Get(reader->ListConflicts(kClinic, filter))) {
      EXPECT_EQ(row.archived_json + row.chosen_json + row.base_json, "");
      ids.push_back(row.conflict_id);
    }
    return ids;
  };

  EXPECT_THAT(list({}), testing::ElementsAre("c-1", "c-2", "c-3"));
  EXPECT_THAT(list(Patient("a"), true), testing::ElementsAre("c-1", "c-4"));
  EXPECT_THAT(list({"Patient", ""}), testing::ElementsAre("c-1", "c-2"));
  EXPECT_THAT(list({"", "a"}), testing::ElementsAre("c-1", "c-3"));
  EXPECT_THAT(list({}, false, 0, 1), testing::ElementsAre("c-1"));
  const int64_t first = Get(reader->FindConflict(kClinic, "c-1"))->id;
  EXPECT_THAT(list({}, false, first), testing::ElementsAre("c-2", "c-3"));
  EXPECT_EQ(Get(reader->CountOpenConflicts(kClinic)), 3u);
  EXPECT_EQ(Get(reader->CountOpenConflicts("nobody")), 0u);
}

TEST_P(StoreContractTest, ResolvedConflictIsOpenNoMore) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->Archive(kClinic, MakeArchive("c-1", Patient("a"))), absl::OkStatus());
  ASSERT_EQ(writer->Archive(kOtherClinic, MakeArchive("c-1", Patient("a"))), absl::OkStatus());

  ASSERT_EQ(writer->MarkConflictResolved(kClinic, "c-1", At(9), "reviewer", "Restored"),
            absl::OkStatus());
  EXPECT_TRUE(
      absl::IsNotFound(writer->MarkConflictResolved(kClinic, "c-2", At(9), "reviewer", "Kept")));
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const ArchiveRow row = *Get(Read()->FindConflict(kClinic, "c-1"));
  EXPECT_TRUE(row.is_resolved);
  EXPECT_EQ(row.resolved_at, At(9));
  EXPECT_EQ(row.resolved_by, "reviewer");
  EXPECT_EQ(row.resolved_action, "Restored");
  EXPECT_EQ(Get(Read()->CountOpenConflicts(kClinic)), 0u);
  EXPECT_EQ(Get(Read()->CountOpenConflicts(kOtherClinic)), 1u);
}

TEST_P(StoreContractTest, AuditRowsFormAnUnbrokenChainPerTenant) {
  for (int64_t i = 1; i <= 4; ++i) {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    ASSERT_EQ(writer->Audit(kClinic, MakeEvent(2 * i - 1)), absl::OkStatus());
    ASSERT_EQ(writer->Audit(kOtherClinic, MakeEvent(100)), absl::OkStatus());
    ASSERT_EQ(writer->Audit(kClinic, MakeEvent(2 * i)), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }
  const std::unique_ptr<StoreReader> reader = Read();

  const AuditVerdict verdict = Get(VerifyAudit(*reader, kClinic));

  EXPECT_TRUE(verdict.intact);
  EXPECT_EQ(verdict.entries, 8u);
  EXPECT_EQ(verdict.head_hash, Get(reader->ReadAuditHead(kClinic)).hash);
  EXPECT_EQ(Get(VerifyAudit(*reader, kOtherClinic)).entries, 4u);
  EXPECT_EQ(Get(VerifyAudit(*reader, "nobody")).entries, 0u);
  EXPECT_TRUE(Get(VerifyAudit(*reader, "nobody")).intact);
}

TEST_P(StoreContractTest, AuditIsReadInPages) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  for (int64_t i = 1; i <= 5; ++i) {
    ASSERT_EQ(writer->Audit(kClinic, MakeEvent(i)), absl::OkStatus());
  }
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const std::vector<AuditRow> page = Get(Read()->ReadAudit(kClinic, 2, 2));

  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].sequence, 3);
  const AuditEvent expected = MakeEvent(3);
  EXPECT_EQ(page[0].event.at, At(3) + absl::Milliseconds(1));
  EXPECT_EQ(page[0].event.event, expected.event);
  EXPECT_EQ(page[0].event.device, expected.device);
  EXPECT_EQ(page[0].event.user, expected.user);
  EXPECT_EQ(page[0].event.claimed, expected.claimed);
  EXPECT_EQ(page[0].event.key, expected.key);
  EXPECT_EQ(page[0].event.outcome, expected.outcome);
  EXPECT_EQ(page[0].event.rule, expected.rule);
  EXPECT_EQ(page[0].event.revision, expected.revision);
  EXPECT_EQ(page[0].event.reason, expected.reason);
  EXPECT_EQ(page[1].sequence, 4);
}

TEST_P(StoreContractTest, DeviceKeepsWhatATouchDoesNotSay) {
  QueueHealth queue;
  queue.pending = 1;
  queue.processing = 2;
  queue.failed = 3;
  queue.open_conflicts = 4;
  queue.set_aside = 5;
  queue.initial = true;
  queue.oldest_pending_at = At(-5);
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->TouchDevice(kClinic, "d1", At(0), "agent/1", queue), absl::OkStatus());
  ASSERT_EQ(writer->TouchDevice(kClinic, "d1", At(9), "", std::nullopt), absl::OkStatus());
  ASSERT_EQ(writer->TouchDevice(kClinic, "d0", At(9), "", std::nullopt), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Read();

  const std::optional<DeviceRow> device = Get(reader->FindDevice(kClinic, "d1"));

  ASSERT_TRUE(device.has_value());
  EXPECT_EQ(device->first_seen_at, At(0));
  EXPECT_EQ(device->last_seen_at, At(9));
  EXPECT_EQ(device->agent, "agent/1");
  EXPECT_FALSE(device->revoked);
  ASSERT_TRUE(device->queue.has_value());
  EXPECT_EQ(device->queue->pending, 1u);
  EXPECT_EQ(device->queue->processing, 2u);
  EXPECT_EQ(device->queue->failed, 3u);
  EXPECT_EQ(device->queue->open_conflicts, 4u);
  EXPECT_EQ(device->queue->set_aside, 5u);
  EXPECT_TRUE(device->queue->initial);
  EXPECT_EQ(device->queue->oldest_pending_at, At(-5));
  EXPECT_FALSE(device->queue->last_sync_at.has_value());
  const std::vector<DeviceRow> all = Get(reader->ListDevices(kClinic));
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].device, "d0");
  EXPECT_FALSE(all[0].queue.has_value());
  EXPECT_FALSE(Get(reader->FindDevice(kOtherClinic, "d1")).has_value());
}

TEST_P(StoreContractTest, RevokedDeviceStaysRevokedWhenItComesAgain) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->TouchDevice(kClinic, "d1", At(0), "", std::nullopt), absl::OkStatus());

  ASSERT_EQ(writer->RevokeDevice(kClinic, "d1", At(1)), absl::OkStatus());
  ASSERT_EQ(writer->TouchDevice(kClinic, "d1", At(2), "", std::nullopt), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(writer->RevokeDevice(kClinic, "d2", At(1))));
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_TRUE(Get(Read()->FindDevice(kClinic, "d1"))->revoked);
}

TEST_P(StoreContractTest, TokenIsFoundByItsHash) {
  TokenRow token = MakeToken("t1");
  token.hash = std::string("\0hash", 5);
  EXPECT_FALSE(Get(Read()->AnyToken()));
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutToken(token), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());
  const std::unique_ptr<StoreReader> reader = Read();

  const std::optional<TokenRow> found = Get(reader->FindToken(token.hash));

  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->id, token.id);
  EXPECT_EQ(found->hash, token.hash);
  EXPECT_EQ(found->tenant, token.tenant);
  EXPECT_EQ(found->device, token.device);
  EXPECT_EQ(found->user, token.user);
  EXPECT_EQ(found->role, token.role);
  EXPECT_EQ(found->created_at, token.created_at);
  EXPECT_EQ(found->expires_at, token.expires_at);
  EXPECT_FALSE(found->revoked_at.has_value());
  EXPECT_FALSE(found->rights.limited());
  EXPECT_FALSE(Get(reader->FindToken("hash")).has_value());
  EXPECT_TRUE(Get(reader->AnyToken()));
}

TEST_P(StoreContractTest, TokenKeepsItsTypes) {
  TokenRow token = MakeToken("t1");
  token.rights = {{"Patient", "Clinical note"}, {"Übung"}};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutToken(token), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_EQ(Get(Read()->FindToken(token.hash))->rights, token.rights);
  EXPECT_EQ(Get(Read()->ListTokens()).at(0).rights, token.rights);
}

TEST_P(StoreContractTest, RevokedTokenKeepsItsFirstTime) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutToken(MakeToken("t1")), absl::OkStatus());

  ASSERT_EQ(writer->RevokeToken("t1", At(5)), absl::OkStatus());
  ASSERT_EQ(writer->RevokeToken("t1", At(6)), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(writer->RevokeToken("t2", At(5))));
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const std::vector<TokenRow> tokens = Get(Read()->ListTokens());
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_EQ(tokens[0].revoked_at, At(5));
  EXPECT_TRUE(Get(Read()->AnyToken()));
}

}  // namespace ptdoc::sync
