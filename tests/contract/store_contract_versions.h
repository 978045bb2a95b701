#pragma once

#include <set>

#include "tests/contract/store_contract_fixture.h"

// Versions of one entity, and the transactions they are written in.
namespace ptdoc::sync {

TEST_P(StoreContractTest, AppendGivesOutTheNextRevisionsInOrder) {
  std::vector<NewVersion> first = {Named(Patient("a"), "A"), Named(Patient("b"), "B")};
  std::vector<NewVersion> second = {Named(Patient("c"), "C")};

  const BatchEnd first_end = Commit(first);
  const BatchEnd second_end = Commit(second);

  EXPECT_EQ(first[0].stored.version.revision, 1);
  EXPECT_EQ(first[1].stored.version.revision, 2);
  EXPECT_EQ(first_end.sequence, 2);
  EXPECT_EQ(second[0].stored.version.revision, 3);
  EXPECT_EQ(second_end.sequence, 3);
  EXPECT_EQ(second[0].stored.version.check,
            VersionCheck(Patient("c"), 3, second[0].stored.content_hash));
}

TEST_P(StoreContractTest, AHeadThatTheCallerHasReadIsMoved) {
  Commit({Named(Patient("a"), "A")});
  std::vector<NewVersion> versions = {Named(Patient("a"), "A2"), Named(Patient("b"), "B"),
                                      Named(Patient("b"), "B2")};
  versions[0].previous = 1;
  versions[1].previous = 0;

  Commit(versions);

  EXPECT_EQ(Get(Read()->Head(kClinic, Patient("a")))->version.revision, 2);
  EXPECT_EQ(Get(Read()->Head(kClinic, Patient("b")))->version.revision, 4);
  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a"))).size(), 2);
  EXPECT_EQ(Get(Read()->ReadHeads(kClinic, 0, 4, {}, kNoLimit, kNoLimit)).size(), 2);
}

TEST_P(StoreContractTest, AVersionThatFollowsNoHeadIsRefused) {
  Commit({Named(Patient("a"), "A"), Named(Patient("b"), "B")});
  std::vector<NewVersion> versions = {Named(Patient("a"), "A2")};
  versions[0].previous = 2;
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  const absl::Status appended = writer->Append(kClinic, versions, 7, At(0)).status();

  EXPECT_FALSE(appended.ok());
  EXPECT_EQ(writer->Commit(), appended);
}

TEST_P(StoreContractTest, HeadHasEverythingThatWasAppended) {
  SeededRng rng(1);
  std::vector<Field> fields;
  for (int i = 0; i < 20; ++i) fields.push_back({"f" + std::to_string(i), RandomValue(rng)});
  std::vector<NewVersion> versions = {MakeVersion({"Typ \"1\"", "[\"ä\",1]"}, Fields(fields))};
  StoredVersion& stored = versions[0].stored;
  stored.version.last_modified = 1'771'303'500'123'456'789;
  stored.claimed_time = stored.version.last_modified + 77;
  stored.version.modified_by = "a claim";
  stored.user = "";
  stored.device = "Gerät 1";
  stored.raised_by = "Gerät 2";
  stored.version.conflict = ConflictNotice{"c-1", Resolution::kMerged, "device-2", 4};
  for (size_t i = 0; i < stored.version.fields.size(); ++i) {
    stored.field_times.push_back(stored.version.last_modified - static_cast<TimeNs>(i * i));
  }
  Commit(versions);

  const std::optional<StoredVersion> head = Get(Read()->Head(kClinic, stored.version.key));

  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->version, stored.version);
  EXPECT_EQ(head->device, stored.device);
  EXPECT_EQ(head->raised_by, stored.raised_by);
  EXPECT_EQ(head->user, stored.user);
  EXPECT_EQ(head->claimed_time, stored.claimed_time);
  EXPECT_EQ(head->content_hash, stored.content_hash);
  EXPECT_EQ(head->field_times, stored.field_times);
}

TEST_P(StoreContractTest, FieldWritersReturnAsTheyWere) {
  std::vector<NewVersion> versions = {
      MakeVersion(Patient("a"),
                  Fields({{"x", Value::Integer(1)}, {"y", Value::Null()}, {"z", Value::Null()}}))};
  versions[0].stored.field_writers = {"device-2", "", "device-1"};
  Commit(versions);
  const std::unique_ptr<Store> other = harness_->Open();

  const StoredVersion head = *Get(Get(other->BeginRead())->Head(kClinic, Patient("a")));

  EXPECT_THAT(head.field_writers, testing::ElementsAre("device-2", "", "device-1"));
  EXPECT_EQ(Get(Read()->FindVersion(kClinic, Patient("a"), 1))->field_writers, head.field_writers);
}

TEST_P(StoreContractTest, FieldWritersAreNotKeptWhereAllAreTheVersionsDevice) {
  std::vector<NewVersion> versions = {Named(Patient("a"), "A"), Named(Patient("b"), "B")};
  versions[0].stored.field_writers = {"device-1"};
  Commit(versions);

  EXPECT_THAT(Get(Read()->Head(kClinic, Patient("a")))->field_writers, testing::IsEmpty());
  EXPECT_THAT(Get(Read()->Head(kClinic, Patient("b")))->field_writers, testing::IsEmpty());
}

TEST_P(StoreContractTest, RaiseTimeSetsFieldWritersWhenTheyAreGiven) {
  std::vector<NewVersion> versions = {
      MakeVersion(Patient("a"), Fields({{"x", Value::Integer(1)}, {"y", Value::Integer(2)}}))};
  versions[0].stored.field_writers = {"device-2", "device-1"};
  Commit(versions);
  const std::vector<std::string> writers = {"device-1", "device-3"};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 6'000, "", {}, {}), absl::OkStatus());
  const auto kept = Get(writer->Head(kClinic, Patient("a")))->field_writers;
  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 6'000, "", {}, writers), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_EQ(kept, versions[0].stored.field_writers);
  EXPECT_EQ(Get(Read()->Head(kClinic, Patient("a")))->field_writers, writers);
}

TEST_P(StoreContractTest, FieldTimesAreTheVersionsTimeWhenNoneWereGiven) {
  Commit({MakeVersion(Patient("a"), Fields({{"x", Value::Integer(1)}, {"y", Value::Null()}}))});

  const std::optional<StoredVersion> head = Get(Read()->Head(kClinic, Patient("a")));

  ASSERT_TRUE(head.has_value());
  EXPECT_THAT(head->field_times, testing::ElementsAre(5'000, 5'000));
}

TEST_P(StoreContractTest, ReadsOfWhatIsNotThereAreEmpty) {
  Commit({Named(Patient("a"), "A")});
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_FALSE(Get(reader->Head(kClinic, Patient("b"))).has_value());
  EXPECT_FALSE(Get(reader->Head(kClinic, {"Visit", "a"})).has_value());
  EXPECT_FALSE(Get(reader->Head("nobody", Patient("a"))).has_value());
  EXPECT_FALSE(Get(reader->KnowsContent("nobody", Patient("a"), std::string(32, 'x'))));
  EXPECT_TRUE(Get(reader->History("nobody", Patient("a"))).empty());
  EXPECT_EQ(Get(reader->Newest("nobody")).sequence, 0);
  EXPECT_EQ(Get(reader->PrunedUpTo("nobody")), 0);
  EXPECT_EQ(Get(reader->SharedRevision("nobody")), 0);
  EXPECT_FALSE(Get(reader->BatchAround("nobody", 1)).has_value());
  EXPECT_FALSE(Get(reader->FindReceipt("nobody", "d", "b")).has_value());
}

TEST_P(StoreContractTest, FindVersionGivesVersionsOfThisEntityOnly) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("b"), "B1")});
  Commit({Named(Patient("a"), "A2"), Named({"Visit", "a"}, "V")});
  const std::unique_ptr<StoreReader> reader = Read();

  const std::optional<StoredVersion> old = Get(reader->FindVersion(kClinic, Patient("a"), 1));

  ASSERT_TRUE(old.has_value());
  EXPECT_EQ(*old->version.fields.Find("Name"), Value::Text("A1"));
  EXPECT_FALSE(Get(reader->FindVersion(kClinic, Patient("a"), 2)).has_value());
  EXPECT_FALSE(Get(reader->FindVersion(kClinic, {"Visit", "a"}, 1)).has_value());
  for (const Revision revision : {Revision{0}, Revision{-1}, Revision{5}, Revision{1} << 40 | 1,
                                  std::numeric_limits<Revision>::max()}) {
    EXPECT_FALSE(Get(reader->FindVersion(kClinic, Patient("a"), revision)).has_value()) << revision;
  }
}

TEST_P(StoreContractTest, HistoryIsOldestFirstWithoutContents) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("b"), "B1")});
  Commit({Named(Patient("a"), "A2")});
  Commit({Tombstone(Patient("a"))});

  const std::vector<StoredVersion> history = Get(Read()->History(kClinic, Patient("a")));

  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].version.revision, 1);
  EXPECT_EQ(history[1].version.revision, 3);
  EXPECT_EQ(history[1].content_hash, HashOf(Patient("a"), "A2"));
  EXPECT_TRUE(history[1].version.fields.empty());
  EXPECT_TRUE(history[2].version.deleted);
}

TEST_P(StoreContractTest, OneBatchCanHoldSeveralVersionsOfAnEntity) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("a"), "A2"), Named(Patient("a"), "A3")});
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_EQ(Get(reader->History(kClinic, Patient("a"))).size(), 3u);
  EXPECT_EQ(Get(reader->Head(kClinic, Patient("a")))->version.revision, 3);
  EXPECT_THAT(Revisions(Get(reader->ReadHeads(kClinic, 0, 3, {}, 10, kNoLimit))),
              testing::ElementsAre(3));
}

TEST_P(StoreContractTest, KnowsContentOfEveryVersionOfThisEntity) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("b"), "B1")});
  Commit({Named(Patient("a"), "A2")});
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_TRUE(Get(reader->KnowsContent(kClinic, Patient("a"), HashOf(Patient("a"), "A1"))));
  EXPECT_TRUE(Get(reader->KnowsContent(kClinic, Patient("a"), HashOf(Patient("a"), "A2"))));
  EXPECT_FALSE(Get(reader->KnowsContent(kClinic, Patient("a"), HashOf(Patient("a"), "A3"))));
  EXPECT_FALSE(Get(reader->KnowsContent(kClinic, Patient("b"), HashOf(Patient("a"), "A1"))));
}

TEST_P(StoreContractTest, TenantsShareNothing) {
  Commit({Named(Patient("a"), "A"), Named(Patient("b"), "B")}, At(0), kClinic);

  const BatchEnd other = Commit({Named(Patient("a"), "Other")}, At(0), kOtherClinic);

  EXPECT_EQ(other.sequence, 1);
  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_EQ(*Get(reader->Head(kClinic, Patient("a")))->version.fields.Find("Name"),
            Value::Text("A"));
  EXPECT_FALSE(Get(reader->Head(kOtherClinic, Patient("b"))).has_value());
  EXPECT_FALSE(Get(reader->KnowsContent(kOtherClinic, Patient("a"), HashOf(Patient("a"), "A"))));
  EXPECT_FALSE(Get(reader->FindVersion(kOtherClinic, Patient("a"), 2)).has_value());
  Revision covered = 0;
  EXPECT_EQ(Get(reader->ReadLog(kOtherClinic, 0, {}, 10, kNoLimit, &covered)).size(), 1u);
  EXPECT_EQ(Get(reader->ReadHeads(kOtherClinic, 0, 9, {}, 10, kNoLimit)).size(), 1u);
  EXPECT_THAT(Get(reader->ListTenants()), testing::ElementsAre(kClinic, kOtherClinic));
}

TEST_P(StoreContractTest, AppendWithoutVersionsChangesNothing) {
  const BatchEnd before = Commit({Named(Patient("a"), "A")});

  const BatchEnd end = Commit({});

  EXPECT_EQ(end.sequence, before.sequence);
  EXPECT_EQ(end.tag, before.tag);
  EXPECT_EQ(Get(Read()->Newest(kClinic)).tag, before.tag);
}

TEST_P(StoreContractTest, NothingStaysOfATransactionThatWasNotCommitted) {
  std::vector<NewVersion> versions = {Named({"NewType", "a"}, "A")};
  {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    Get(writer->Append("new tenant", versions, 1, At(0)));
    ASSERT_EQ(writer->Audit("new tenant", Happened("change")), absl::OkStatus());
  }

  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_FALSE(Get(reader->Head("new tenant", {"NewType", "a"})).has_value());
  EXPECT_EQ(Get(reader->ReadAuditHead("new tenant")).sequence, 0);
}

TEST_P(StoreContractTest, NamesOfATransactionThatWasNotCommittedAreNotTakenForOthers) {
  std::vector<NewVersion> versions = {Named({"LostType", "a"}, "lost")};
  {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    Get(writer->Append("lost tenant", versions, 1, At(0)));
  }
  Commit({Named({"KeptType", "a"}, "kept")}, At(0), "kept tenant");

  Commit({Named({"LostType", "a"}, "again")}, At(0), "lost tenant");

  const std::unique_ptr<Store> other = harness_->Open();
  const std::unique_ptr<StoreReader> reader = Get(other->BeginRead());
  EXPECT_THAT(Get(reader->ListTenants()), testing::ElementsAre("kept tenant", "lost tenant"));
  EXPECT_EQ(Get(reader->Head("kept tenant", {"KeptType", "a"}))->version.revision, 1);
  EXPECT_EQ(Get(reader->Head("lost tenant", {"LostType", "a"}))->version.revision, 1);
  EXPECT_FALSE(Get(reader->Head("kept tenant", {"LostType", "a"})).has_value());
}

TEST_P(StoreContractTest, ReaderKeepsItsSnapshotWhileOthersCommit) {
  Commit({Named(Patient("a"), "A1")});
  const std::unique_ptr<StoreReader> reader = Read();

  Commit({Named(Patient("a"), "A2")});

  EXPECT_EQ(Get(reader->Newest(kClinic)).sequence, 1);
  EXPECT_EQ(Get(reader->Head(kClinic, Patient("a")))->version.revision, 1);
  EXPECT_EQ(Get(Read()->Newest(kClinic)).sequence, 2);
}

TEST_P(StoreContractTest, WriterSeesItsOwnWrites) {
  std::vector<NewVersion> versions = {Named(Patient("a"), "A")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  const BatchEnd end = Get(writer->Append(kClinic, versions, 7, At(0)));
  ASSERT_EQ(writer->Audit(kClinic, Happened("change")), absl::OkStatus());

  EXPECT_EQ(Get(writer->Newest(kClinic)).sequence, end.sequence);
  EXPECT_TRUE(Get(writer->Head(kClinic, Patient("a"))).has_value());
  EXPECT_EQ(Get(writer->ReadAuditHead(kClinic)).sequence, 1);
  EXPECT_EQ(Get(Read()->Newest(kClinic)).sequence, 0);
}

TEST_P(StoreContractTest, RevisionsAreGivenOutAgainWhenTheirSavepointIsRolledBack) {
  std::vector<NewVersion> lost = {Named(Patient("a"), "lost"), Named(Patient("b"), "lost")};
  std::vector<NewVersion> kept = {Named(Patient("a"), "kept")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  Get(writer->Append(kClinic, lost, 1, At(0)));
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());

  const BatchEnd end = Get(writer->Append(kClinic, kept, 2, At(0)));
  ASSERT_EQ(writer->ReleaseSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_EQ(end.sequence, 1);
  EXPECT_THAT(Revisions(Log(0)), testing::ElementsAre(1));
  EXPECT_FALSE(Get(Read()->Head(kClinic, Patient("b"))).has_value());
  EXPECT_EQ(Get(Read()->FindBatchEnd(kClinic, 1))->tag, 2u);
  EXPECT_FALSE(Get(Read()->FindBatchEnd(kClinic, 2)).has_value());
}

TEST_P(StoreContractTest, AuditChainGoesOnWhenASavepointIsRolledBack) {
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->Audit(kClinic, Happened("one")), absl::OkStatus());
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->Audit(kClinic, Happened("lost")), absl::OkStatus());
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->Audit(kClinic, Happened("two")), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const std::unique_ptr<StoreReader> reader = Read();
  const std::vector<AuditRow> rows = Get(reader->ReadAudit(kClinic, 0, 10));
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].event.event, "two");
  EXPECT_EQ(rows[1].sequence, 2);
  EXPECT_TRUE(Get(VerifyAudit(*reader, kClinic)).intact);
}

TEST_P(StoreContractTest, NamesOfARolledBackSavepointAreNotTakenForOthers) {
  std::vector<NewVersion> lost = {Named({"LostType", "a"}, "lost")};
  std::vector<NewVersion> kept = {Named({"KeptType", "a"}, "kept")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  Get(writer->Append("lost tenant", lost, 1, At(0)));
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());
  Get(writer->Append("kept tenant", kept, 2, At(0)));
  lost = {Named({"LostType", "a"}, "again")};
  Get(writer->Append("kept tenant", lost, 3, At(0)));
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  // Read by one that has never seen the lost names.
  const std::unique_ptr<Store> other = harness_->Open();
  const std::unique_ptr<StoreReader> reader = Get(other->BeginRead());
  EXPECT_THAT(Get(reader->ListTenants()), testing::ElementsAre("kept tenant"));
  EXPECT_EQ(Get(reader->Head("kept tenant", {"KeptType", "a"}))->version.revision, 1);
  EXPECT_EQ(Get(reader->Head("kept tenant", {"LostType", "a"}))->version.revision, 2);
  EXPECT_EQ(Get(reader->Head("kept tenant", {"LostType", "a"}))->device, "device-1");
}

TEST_P(StoreContractTest, SavepointsNest) {
  std::vector<NewVersion> outer = {Named(Patient("a"), "outer")};
  std::vector<NewVersion> inner = {Named(Patient("a"), "inner")};
  std::vector<NewVersion> last = {Named(Patient("b"), "last")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  Get(writer->Append(kClinic, outer, 1, At(0)));
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  Get(writer->Append(kClinic, inner, 2, At(0)));
  ASSERT_EQ(writer->ReleaseSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());

  EXPECT_EQ(Get(writer->Append(kClinic, last, 3, At(0))).sequence, 1);
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_FALSE(Get(Read()->Head(kClinic, Patient("a"))).has_value());
  EXPECT_TRUE(Get(Read()->Head(kClinic, Patient("b"))).has_value());
}

TEST_P(StoreContractTest, NothingCanBeCommittedAfterAFailedWrite) {
  const TokenRow token = MakeToken("t1");
  std::vector<NewVersion> versions = {Named(Patient("a"), "A")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->PutToken(token), absl::OkStatus());
  const absl::Status twice = writer->PutToken(token);
  ASSERT_FALSE(twice.ok());

  EXPECT_EQ(writer->Append(kClinic, versions, 1, At(0)).status(), twice);
  EXPECT_EQ(writer->Commit(), twice);

  EXPECT_FALSE(Get(Read()->AnyToken()));
}

TEST_P(StoreContractTest, RolledBackSavepointHealsAFailedWrite) {
  const TokenRow token = MakeToken("t1");
  std::vector<NewVersion> versions = {Named(Patient("a"), "A")};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->PutToken(token), absl::OkStatus());
  ASSERT_FALSE(writer->PutToken(token).ok());
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());

  EXPECT_EQ(Get(writer->Append(kClinic, versions, 1, At(0))).sequence, 1);
  EXPECT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_FALSE(Get(Read()->AnyToken()));
  EXPECT_TRUE(Get(Read()->Head(kClinic, Patient("a"))).has_value());
}

TEST_P(StoreContractTest, RaiseTimeMovesTheVersionAndLeavesItsFields) {
  std::vector<NewVersion> versions = {
      MakeVersion(Patient("a"), Fields({{"x", Value::Integer(1)}, {"y", Value::Integer(2)}}))};
  versions[0].stored.field_times = {4'000, 5'000};
  Commit(versions);
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 9'000, "", {}, {}), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const StoredVersion head = *Get(Read()->Head(kClinic, Patient("a")));
  EXPECT_EQ(head.version.last_modified, 9'000);
  EXPECT_EQ(head.claimed_time, 5'000);
  EXPECT_EQ(head.raised_by, "");
  EXPECT_THAT(head.field_times, testing::ElementsAre(4'000, 5'000));
  EXPECT_EQ(head.version.fields, versions[0].stored.version.fields);
  EXPECT_EQ(Get(Read()->Newest(kClinic)).sequence, 1);
}

TEST_P(StoreContractTest, RaiseTimeSetsFieldTimesWhenTheyAreGiven) {
  Commit({MakeVersion(Patient("a"), Fields({{"x", Value::Integer(1)}, {"y", Value::Null()}}))});
  const std::vector<TimeNs> times = {9'000, 5'000};
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 9'000, "", times, {}), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_EQ(Get(Read()->Head(kClinic, Patient("a")))->field_times, times);
}

TEST_P(StoreContractTest, RaiseTimeNamesWhoRaisedItAndStillWhoWroteIt) {
  Commit({Named(Patient("a"), "A")});
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 5'000, "device-2", {}, {}),
            absl::OkStatus());
  ASSERT_EQ(writer->RaiseTime(kClinic, Patient("a"), 1, 6'000, "", {}, {}), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  const StoredVersion head = *Get(Read()->Head(kClinic, Patient("a")));
  EXPECT_EQ(head.version.last_modified, 6'000);
  EXPECT_EQ(head.raised_by, "device-2");
  EXPECT_EQ(head.device, "device-1");
  EXPECT_EQ(Get(Read()->FindVersion(kClinic, Patient("a"), 1))->raised_by, "device-2");
  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a")))[0].raised_by, "device-2");
}

TEST_P(StoreContractTest, RaiseTimeOfAnotherEntitysVersionIsNotFound) {
  Commit({Named(Patient("a"), "A"), Named(Patient("b"), "B")});
  const std::unique_ptr<StoreWriter> writer = BeginWrite();

  const absl::Status status = writer->RaiseTime(kClinic, Patient("a"), 2, 9'000, "z", {}, {});

  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(writer->Commit(), absl::OkStatus());
}

TEST_P(StoreContractTest, SecondStoreGoesOnWhereTheFirstStopped) {
  const std::unique_ptr<Store> other = harness_->Open();
  std::vector<NewVersion> second = {Named({"Visit", "v"}, "V")};
  Commit({Named(Patient("a"), "A")});
  {
    const std::unique_ptr<StoreWriter> writer = Get(other->BeginWrite());
    Get(writer->Append(kClinic, second, 5, At(0)));
    ASSERT_EQ(writer->Audit(kClinic, Happened("two")), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }

  const BatchEnd third = Commit({Named({"Visit", "v"}, "V2"), Named({"Note", "n"}, "N")});

  EXPECT_EQ(second[0].stored.version.revision, 2);
  EXPECT_EQ(third.sequence, 4);
  EXPECT_EQ(Get(Read()->History(kClinic, {"Visit", "v"})).size(), 2u);
  EXPECT_EQ(Get(Get(other->BeginRead())->Head(kClinic, {"Note", "n"}))->version.revision, 4);
}

TEST_P(StoreContractTest, ChangeCounterGrowsWithEveryCommitOfAnyStore) {
  const std::unique_ptr<Store> other = harness_->Open();
  std::set<int64_t> seen = {Get(store_->ChangeCounter())};
  int64_t last = *seen.begin();

  for (Store* writing : {store_.get(), other.get(), store_.get()}) {
    const std::unique_ptr<StoreWriter> writer = Get(writing->BeginWrite());
    ASSERT_EQ(writer->Audit(kClinic, Happened("change")), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
    const int64_t now = Get(store_->ChangeCounter());
    EXPECT_GT(now, last);
    last = now;
  }

  EXPECT_EQ(Get(store_->ChangeCounter()), last);
}

TEST_P(StoreContractTest, MetaIsOneForAllStoresOnTheData) {
  const StoreMeta meta = Get(Read()->Meta());

  const std::unique_ptr<Store> other = harness_->Open();

  EXPECT_EQ(meta.epoch.size(), 32u);
  EXPECT_EQ(meta.mac_key.size(), 32u);
  EXPECT_EQ(Get(Get(other->BeginRead())->Meta()).epoch, meta.epoch);
  EXPECT_EQ(Get(Get(other->BeginRead())->Meta()).mac_key, meta.mac_key);
}

}  // namespace ptdoc::sync
