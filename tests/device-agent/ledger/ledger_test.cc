#include "device-agent/ledger/ledger.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>

#include "absl/time/time.h"
#include "device-agent/ledger/schema.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

class LedgerTest : public testing::Test {
 protected:
  LedgerTest() : rng_(7) {
    dir_ = testing::TempDir() + "/ledger-" +
           testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    Reopen();
  }
  ~LedgerTest() override {
    ledger_.reset();
    std::filesystem::remove_all(dir_);
  }

  void Reopen() {
    ledger_.reset();
    auto ledger = Ledger::Open(dir_ + "/app.db.sync", true, "", rng_);
    ASSERT_TRUE(ledger.ok()) << ledger.status();
    ledger_ = std::move(*ledger);
  }

  int64_t Add(const std::string& id, ItemStatus status) {
    QueueItem item;
    item.key = {"Patient", id};
    item.status = status;
    item.enqueued_at = now_;
    item.batch_id = status == ItemStatus::kProcessing ? "b1" : "";
    auto inserted = ledger_->InsertItem(item);
    EXPECT_TRUE(inserted.ok()) << inserted.status();
    return *inserted;
  }

  SeededRng rng_;
  std::string dir_;
  absl::Time now_ = absl::FromUnixSeconds(1'771'303'500);
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(LedgerTest, HashesStayTheSameWhenReopened) {
  const uint64_t before = ledger_->HashOf(Value::Text("x"));

  Reopen();

  EXPECT_EQ(ledger_->HashOf(Value::Text("x")), before);
  EXPECT_NE(ledger_->HashOf(Value::Blob("x")), before);
}

TEST_F(LedgerTest, ItemReadsBackAsWritten) {
  QueueItem item;
  item.key = {"Patient", "p1"};
  item.operation = Operation::kDelete;
  item.status = ItemStatus::kProcessing;
  item.enqueued_at = now_;
  item.time = 123456789;
  item.retry_count = 2;
  item.batch_id = "b";
  item.next_attempt_at = now_ + absl::Seconds(4);
  item.recreated = item.held = true;
  item.sent = {false, 3, {1, 2, 3}};
  item.sent_base = 9;

  const auto id = ledger_->InsertItem(item);
  ASSERT_TRUE(id.ok()) << id.status();
  const auto read = ledger_->FindItem(*id);

  ASSERT_TRUE(read.ok() && read->has_value());
  EXPECT_EQ((*read)->key, item.key);
  EXPECT_EQ((*read)->operation, Operation::kDelete);
  EXPECT_EQ((*read)->time, 123456789);
  EXPECT_EQ((*read)->next_attempt_at, item.next_attempt_at);
  EXPECT_TRUE((*read)->recreated && (*read)->held && !(*read)->reoffer);
  EXPECT_EQ((*read)->sent, item.sent);
  EXPECT_EQ((*read)->sent_base, 9);
}

TEST_F(LedgerTest, ListSendableMergesPendingAndDueFailedByIdWhenBothWait) {
  const int64_t a = Add("a", ItemStatus::kPending);
  const int64_t b = Add("b", ItemStatus::kFailed);
  const int64_t c = Add("c", ItemStatus::kPending);
  Add("d", ItemStatus::kCompleted);
  auto later = *ledger_->FindItem(Add("e", ItemStatus::kFailed));
  later->next_attempt_at = now_ + absl::Seconds(1);
  ASSERT_TRUE(ledger_->UpdateItem(*later).ok());
  auto spent = *ledger_->FindItem(Add("f", ItemStatus::kFailed));
  spent->retry_count = spent->max_retries;
  ASSERT_TRUE(ledger_->UpdateItem(*spent).ok());

  const auto due = ledger_->ListSendable(now_, false, 0, 10);
  const auto forced = ledger_->ListSendable(now_, true, 0, 10);

  ASSERT_TRUE(due.ok()) << due.status();
  ASSERT_EQ(due->size(), 3u);
  EXPECT_EQ((*due)[0].id, a);
  EXPECT_EQ((*due)[1].id, b);
  EXPECT_EQ((*due)[2].id, c);
  EXPECT_EQ(forced->size(), 4u);
}

TEST_F(LedgerTest, SeedSqlResetsFailedItemsWhenRunAsPrinted) {
  auto item = *ledger_->FindItem(Add("a", ItemStatus::kFailed));
  item->retry_count = item->max_retries;
  ASSERT_TRUE(ledger_->UpdateItem(*item).ok());

  const absl::Status status = ledger_->db().Exec(
      "UPDATE SyncQueueItems SET Status = 0, RetryCount = 0 "
      "WHERE Status = 3 AND RetryCount >= MaxRetries;");

  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(ledger_->ListSendable(now_, false, 0, 10)->size(), 1u);
}

TEST_F(LedgerTest, ArchiveStandsOnceWhenPutTwice) {
  ArchiveEntry entry;
  entry.conflict_id = "c1";
  entry.key = {"Patient", "p1"};
  entry.resolution_type = "ServerWins";
  entry.detected_at = now_;
  entry.archived_json = "{}";

  const auto first = ledger_->PutArchive(entry);
  const auto second = ledger_->PutArchive(entry);

  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(ledger_->ListArchives(true, 0, 10)->size(), 1u);
  EXPECT_EQ((*ledger_->FindArchive("1"))->conflict_id, "c1");
}

TEST_F(LedgerTest, StaleNoteKeepsTheGreaterRevisionWhenNotedTwice) {
  ASSERT_TRUE(ledger_->NoteStale({{"T", "1"}, 9, false}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"T", "1"}, 4, true}).ok());

  const auto note = ledger_->FindStale({"T", "1"});

  ASSERT_TRUE(note.ok() && note->has_value());
  EXPECT_EQ((*note)->revision, 9);
  EXPECT_TRUE((*note)->put_back);
}

TEST_F(LedgerTest, StaleNoteKeepsWhatIsToGoWhenNotedAgainWithoutIt) {
  const RowHashes wrong{false, 3, {1, 2}};
  ASSERT_TRUE(ledger_->NoteStale({{"T", "1"}, 4, true, false, wrong}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"T", "1"}, 9, false}).ok());

  const auto note = ledger_->FindStale({"T", "1"});

  ASSERT_TRUE(note.ok() && note->has_value());
  EXPECT_EQ((*note)->revision, 9);
  EXPECT_EQ((*note)->expected, wrong);
}

TEST_F(LedgerTest, NoteThatPutsBackTheWholeRowBeatsOneThatBackfills) {
  ASSERT_TRUE(ledger_->NoteStale({{"T", "1"}, 9, true, true}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"T", "2"}, 9, true, true}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"T", "2"}, 9, true}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"T", "2"}, 9, true, true}).ok());

  EXPECT_TRUE((*ledger_->FindStale({"T", "1"}))->backfill);
  EXPECT_TRUE((*ledger_->FindStale({"T", "1"}))->put_back);
  EXPECT_FALSE((*ledger_->FindStale({"T", "2"}))->backfill);
  EXPECT_EQ(*ledger_->CountStale(), 1u);
  EXPECT_EQ(*ledger_->CountBackfill(), 1u);
}

TEST_F(LedgerTest, FetchableLeavesOutEntitiesWhenAnItemIsOpen) {
  ASSERT_TRUE(ledger_->NoteStale({{"Patient", "a"}, 1, false}).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"Patient", "b"}, 1, false}).ok());
  Add("a", ItemStatus::kPending);
  Add("b", ItemStatus::kCompleted);

  const auto notes = ledger_->ListFetchable(10);

  ASSERT_TRUE(notes.ok());
  ASSERT_EQ(notes->size(), 1u);
  EXPECT_EQ(notes->front().key.id, "b");
}

TEST_F(LedgerTest, OlderSetAsideVersionIsIgnoredWhenANewerStands) {
  SetAside entry;
  entry.version.key = {"T", "1"};
  entry.version.revision = 5;
  entry.version.fields.Set("n", Value::Integer(5));
  entry.code = "SQLITE_CONSTRAINT_UNIQUE";
  ASSERT_TRUE(ledger_->PutSetAside(entry).ok());
  entry.version.revision = 4;
  ASSERT_TRUE(ledger_->PutSetAside(entry).ok());

  const auto found = ledger_->FindSetAside({"T", "1"});

  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->version.revision, 5);
  EXPECT_EQ((*found)->version.fields.Find("n")->integer(), 5);
}

TEST_F(LedgerTest, MarkAllUnconfirmedMakesRevisionsVoid) {
  RowState state;
  state.key = {"Patient", "live"};
  state.revision = 3;
  ASSERT_TRUE(ledger_->PutState(state).ok());
  state.key.id = "open";
  ASSERT_TRUE(ledger_->PutState(state).ok());
  Add("open", ItemStatus::kFailed);
  state.key.id = "gone";
  state.row.absent = true;
  ASSERT_TRUE(ledger_->PutState(state).ok());
  ASSERT_TRUE(ledger_->NoteStale({{"Patient", "live"}, 9, true}).ok());
  SetAside aside;
  for (const char* id : {"live", "open"}) {
    aside.version.key = {"Patient", id};
    aside.version.revision = 9;
    ASSERT_TRUE(ledger_->PutSetAside(aside).ok());
  }

  ASSERT_TRUE(ledger_->MarkAllUnconfirmed().ok());
  const auto listed = ledger_->ListUnconfirmed(10);
  const auto note = ledger_->FindStale({"Patient", "live"});
  const auto void_aside = ledger_->FindSetAside({"Patient", "live"});
  ASSERT_TRUE(ledger_->DropVoidSetAside().ok());

  ASSERT_TRUE(listed.ok() && note.ok() && void_aside.ok());
  EXPECT_EQ(listed->size(), 2u);  // The open one is answered for itself.
  EXPECT_TRUE((*ledger_->FindState({"Patient", "open"}))->unconfirmed);
  EXPECT_EQ((*note)->revision, 0);
  EXPECT_TRUE((*note)->put_back);
  EXPECT_EQ((*void_aside)->version.revision, kVoidRevision);
  EXPECT_FALSE(ledger_->FindSetAside({"Patient", "live"})->has_value());
  EXPECT_TRUE(ledger_->FindSetAside({"Patient", "open"})->has_value());
  EXPECT_TRUE((*ledger_->FindStale({"Patient", "live"}))->put_back);
  EXPECT_FALSE(ledger_->FindStale({"Patient", "open"})->has_value());
}

TEST_F(LedgerTest, ColumnsIdIsForgottenWhenItsTransactionRollsBack) {
  {
    auto tx = ledger_->Begin();
    ASSERT_TRUE(tx.ok());
    ASSERT_TRUE(ledger_->ColumnsId({"a", "b"}).ok());
  }

  const auto id = ledger_->ColumnsId({"a", "b"});

  ASSERT_TRUE(id.ok());
  EXPECT_EQ(*ledger_->ColumnsOf(*id), (std::vector<std::string>{"a", "b"}));
}

TEST_F(LedgerTest, PruneCompletedKeepsTheNewestWhenThereAreTooMany) {
  for (int i = 0; i < 5; ++i) {
    auto item = *ledger_->FindItem(Add(std::to_string(i), ItemStatus::kCompleted));
    item->completed_at = now_;
    ASSERT_TRUE(ledger_->UpdateItem(*item).ok());
  }

  const auto removed = ledger_->PruneCompleted(now_ - absl::Hours(24), 2);

  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(*removed, 3);
  EXPECT_EQ(ledger_->ListItems(true, 0, 10)->size(), 2u);
}

// A condition such as IN (0, 1, 3) in a partial index has SQLite fill a table of its
// own for the old and the new row of every write.
TEST_F(LedgerTest, WritesOfItemsBuildNoTablesOfTheirOwn) {
  QueueItem item;
  item.key = {"Patient", "p1"};
  item.enqueued_at = now_;
  item.id = *ledger_->InsertItem(item);
  ASSERT_TRUE(ledger_->UpdateItem(item).ok());

  std::map<std::string, int> tables;
  std::vector<std::string> writes;
  sqlite3* const db = ledger_->db().handle();
  for (sqlite3_stmt* stmt = sqlite3_next_stmt(db, nullptr); stmt != nullptr;
       stmt = sqlite3_next_stmt(db, stmt)) {
    const std::string sql = sqlite3_sql(stmt);
    if (sql.find("SyncQueueItems") != std::string::npos) writes.push_back(sql);
  }
  for (const std::string& sql : writes) {
    auto rows = ledger_->db().Prepare("EXPLAIN " + sql);
    ASSERT_TRUE(rows.ok()) << rows.status();
    for (auto row = rows->Step(); row.ok() && *row; row = rows->Step()) {
      tables[sql] += rows->Text(1) == "OpenEphemeral" ? 1 : 0;
    }
  }

  EXPECT_EQ(tables.size(), 2u);
  for (const auto& [sql, count] : tables) EXPECT_EQ(count, 0) << sql;
}

TEST_F(LedgerTest, WhatWasRolledBackIsNotRemembered) {
  ASSERT_TRUE(ledger_->PutInt("n", 1).ok());
  {
    const auto transaction = ledger_->Begin();
    ASSERT_TRUE(ledger_->PutInt("n", 2).ok());
    ASSERT_TRUE(ledger_->ColumnsId({"new"}).ok());
    ASSERT_TRUE(ledger_->PutIntent({1, 1, "page", ""}).ok());
    EXPECT_EQ(*ledger_->GetInt("n", 0), 2);
  }

  EXPECT_EQ(*ledger_->GetInt("n", 0), 1);
  EXPECT_FALSE((*ledger_->OpenIntent()).has_value());
  EXPECT_EQ(*ledger_->ColumnsOf(*ledger_->ColumnsId({"new"})), std::vector<std::string>{"new"});
}

TEST_F(LedgerTest, WhatAnotherConnectionWroteIsSeenAfterALook) {
  ASSERT_TRUE(ledger_->Look().ok());
  ASSERT_TRUE(ledger_->PutInt("n", 1).ok());
  auto other = Ledger::Open(dir_ + "/app.db.sync", false, "", rng_);
  ASSERT_TRUE(other.ok()) << other.status();
  ASSERT_TRUE((*other)->PutInt("n", 2).ok());

  EXPECT_TRUE(*ledger_->Look());
  EXPECT_EQ(*ledger_->GetInt("n", 0), 2);
  EXPECT_FALSE(*ledger_->Look());
}

class LedgerBatchTest : public LedgerTest {
 protected:
  // Pending items, of which the last two make the batch "b2", the others "b1".
  void SendAll(int count) {
    std::vector<QueueItem> batches[2];
    for (int i = 0; i < count; ++i) {
      const std::string id = "p" + std::to_string(i);
      QueueItem item = **ledger_->FindItem(Add(id, ItemStatus::kPending));
      const bool second = i + 2 >= count;
      item.batch_id = second ? "b2" : "b1";
      item.sent = {i == 1, 7, {static_cast<uint64_t>(i), 2}};
      item.sent_base = i * 10;
      batches[second ? 1 : 0].push_back(item);
    }
    for (const std::vector<QueueItem>& batch : batches) ASSERT_TRUE(ledger_->PutBatch(batch).ok());
  }

  // What somebody types into the file, beside us.
  void Type(const std::string& sql) {
    auto other = sqlite::Database::Open(dir_ + "/app.db.sync", {});
    ASSERT_TRUE(other.ok()) << other.status();
    ASSERT_TRUE(other->Exec(sql).ok());
  }
};

TEST_F(LedgerBatchTest, BatchIsListedAsItWasSentAlsoAfterARestart) {
  SendAll(5);

  Reopen();

  EXPECT_EQ(*ledger_->OpenBatches(), (std::vector<std::string>{"b1", "b2"}));
  const auto items = ledger_->ListBatch("b1");
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 3u);
  EXPECT_EQ((*items)[1].key.id, "p1");
  EXPECT_EQ((*items)[1].status, ItemStatus::kProcessing);
  EXPECT_EQ((*items)[1].sent, (RowHashes{true, 7, {1, 2}}));
  EXPECT_EQ((*items)[2].sent_base, 20);
  EXPECT_EQ((*ledger_->FindProcessing({"Patient", "p4"}))->sent_base, 40);
  EXPECT_EQ(ledger_->Health()->processing, 5u);
}

TEST_F(LedgerBatchTest, BatchInMemoryIsAsItStandsInTheFile) {
  SendAll(5);

  const auto in_memory = *ledger_->ListBatch("b1");
  const auto in_file = *ledger_->ListBatch("b1");

  ASSERT_EQ(in_memory.size(), 3u);
  ASSERT_EQ(in_file.size(), 3u);
  for (size_t i = 0; i < in_file.size(); ++i) {
    const auto all = [](const QueueItem& item) {
      return std::tie(item.id, item.key, item.status, item.batch_id, item.enqueued_at, item.time,
                      item.sent, item.sent_base, item.completed_at);
    };
    EXPECT_TRUE(all(in_memory[i]) == all(in_file[i]));
  }
}

TEST_F(LedgerBatchTest, ItemThatWasWrittenSinceIsListedAsItIs) {
  SendAll(6);
  QueueItem back = **ledger_->FindProcessing({"Patient", "p1"});
  back.status = ItemStatus::kPending;

  ASSERT_TRUE(ledger_->UpdateItem(back).ok());
  ASSERT_TRUE(ledger_->DeleteItem((*ledger_->FindProcessing({"Patient", "p2"}))->id).ok());
  ASSERT_TRUE(
      ledger_->CompleteItems({(*ledger_->FindProcessing({"Patient", "p4"}))->id}, now_).ok());

  EXPECT_EQ(ledger_->ListBatch("b1")->size(), 2u);
  EXPECT_EQ(ledger_->ListBatch("b2")->size(), 1u);
}

TEST_F(LedgerBatchTest, BatchThatWasRolledBackIsNotListed) {
  QueueItem item = **ledger_->FindItem(Add("p0", ItemStatus::kPending));
  item.batch_id = "b1";
  {
    auto tx = ledger_->Begin();
    ASSERT_TRUE(tx.ok());
    ASSERT_TRUE(ledger_->PutBatch({item}).ok());
  }

  EXPECT_EQ(ledger_->ListBatch("b1")->size(), 0u);
}

TEST_F(LedgerBatchTest, WhatIsCompletedIsOpenNoLongerAndTheRestIs) {
  SendAll(5);
  const auto items = *ledger_->ListBatch("b1");

  ASSERT_TRUE(ledger_->CompleteItems({items[0].id, items[2].id}, now_).ok());

  EXPECT_FALSE(*ledger_->HasOpenItem({"Patient", "p0"}));
  EXPECT_TRUE(*ledger_->HasOpenItem({"Patient", "p1"}));
  EXPECT_FALSE(*ledger_->HasOpenItem({"Patient", "p2"}));
  EXPECT_TRUE(*ledger_->HasOpenItem({"Patient", "p3"}));
  EXPECT_EQ((*ledger_->FindItem(items[0].id))->completed_at, now_);
  EXPECT_EQ(ledger_->ListBatch("b1")->size(), 1u);
  ASSERT_TRUE(ledger_->CloseBatch("b1").ok());
  EXPECT_EQ(*ledger_->OpenBatches(), std::vector<std::string>{"b2"});
}

TEST_F(LedgerBatchTest, ItemThatSomebodyTookOutOfItsBatchIsNotListed) {
  SendAll(5);
  Type("UPDATE SyncQueueItems SET Status = 0 WHERE EntityId = 'p1'");

  ASSERT_TRUE(ledger_->Look().ok());

  EXPECT_EQ(ledger_->ListBatch("b1")->size(), 2u);
  EXPECT_TRUE((*ledger_->FindWaiting({"Patient", "p1"})).has_value());
}

TEST_F(LedgerBatchTest, ItemThatSomebodyMadeOpenAgainByHandIsFoundAsOne) {
  const int64_t completed = Add("p1", ItemStatus::kCompleted);
  const int64_t cancelled = Add("p2", ItemStatus::kCancelled);
  const int64_t pending = Add("p3", ItemStatus::kPending);
  ASSERT_TRUE(ledger_->Look().ok());
  ASSERT_FALSE(*ledger_->HasOpenItem({"Patient", "p1"}));
  Type(
      "UPDATE SyncQueueItems SET Status = 0 WHERE EntityId = 'p1';"
      "UPDATE SyncQueueItems SET Status = 1, BatchId = 'old' WHERE EntityId = 'p2';"
      "UPDATE SyncQueueItems SET Status = 1 WHERE EntityId = 'p3'");

  ASSERT_TRUE(*ledger_->Look());

  EXPECT_EQ((*ledger_->FindWaiting({"Patient", "p1"}))->id, completed);
  EXPECT_EQ((*ledger_->FindProcessing({"Patient", "p2"}))->id, cancelled);
  EXPECT_EQ(*ledger_->OpenBatches(), std::vector<std::string>{"old"});
  EXPECT_EQ(ledger_->ListBatch("old")->size(), 1u);
  // It belongs to no batch: nobody would ever answer it.
  EXPECT_EQ((*ledger_->FindWaiting({"Patient", "p3"}))->id, pending);
  EXPECT_FALSE(*ledger_->Look());
}

TEST_F(LedgerBatchTest, LedgerOfTheFormBeforeKeepsItsBatches) {
  ledger_.reset();
  std::filesystem::remove_all(dir_);
  std::filesystem::create_directories(dir_);
  {
    sqlite::OpenOptions create;
    create.mode = sqlite::OpenOptions::Mode::kCreate;
    auto old = sqlite::Database::Open(dir_ + "/app.db.sync", create);
    ASSERT_TRUE(old.ok()) << old.status();
    const std::vector<std::string>& all = LedgerMigrations();
    ASSERT_TRUE(sqlite::Migrate(*old, {all.begin(), all.begin() + 3}).ok());
    ASSERT_TRUE(old->Exec("INSERT INTO SyncQueueItems(EntityType, EntityId, Operation, EnqueuedAt, "
                          "Status, BatchId, SentHashes, SentBase, CompletedAt) VALUES"
                          "('Patient', 'p1', 1, '2026-01-01T00:00:00.000Z', 1, 'b1', "
                          "x'00070000000000000002', 3, NULL), "
                          "('Patient', 'p2', 1, '2026-01-01T00:00:00.000Z', 2, 'b0', NULL, NULL, "
                          "NULL)")
                    .ok());
  }

  Reopen();

  EXPECT_EQ(*ledger_->OpenBatches(), std::vector<std::string>{"b1"});
  const auto items = *ledger_->ListBatch("b1");
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].sent, (RowHashes{false, 7, {2}}));
  EXPECT_EQ(items[0].sent_base, 3);
  EXPECT_TRUE(*ledger_->HasOpenItem({"Patient", "p1"}));
  EXPECT_FALSE(*ledger_->HasOpenItem({"Patient", "p2"}));
}

TEST_F(LedgerTest, ThatThereIsNothingIsForgottenWhenSomethingComes) {
  const EntityKey key{"Patient", "p1"};
  EXPECT_FALSE((*ledger_->FindStale(key)).has_value());
  EXPECT_FALSE((*ledger_->FindSetAside(key)).has_value());
  EXPECT_FALSE(*ledger_->HasOpenItem(key));

  ASSERT_TRUE(ledger_->NoteStale({key, 4}).ok());
  SetAside aside;
  aside.version.key = key;
  ASSERT_TRUE(ledger_->PutSetAside(aside).ok());
  Add("p1", ItemStatus::kFailed);

  EXPECT_TRUE((*ledger_->FindStale(key)).has_value());
  EXPECT_TRUE((*ledger_->FindSetAside(key)).has_value());
  EXPECT_TRUE(*ledger_->HasOpenItem(key));
  ASSERT_TRUE(ledger_->ClearStale(key).ok());
  ASSERT_TRUE(ledger_->ClearSetAside(key).ok());
  EXPECT_EQ(*ledger_->CountStale(), 0u);
  EXPECT_EQ(*ledger_->CountSetAside(), 0u);
}

TEST_F(LedgerTest, StateIsInsertedOnlyWhereThereIsNone) {
  RowState state{{"Patient", "p1"}, 3, "12345678", 9, {false, 1, {5}}, false};
  EXPECT_TRUE(*ledger_->InsertState(state));
  state.revision = 4;

  EXPECT_FALSE(*ledger_->InsertState(state));

  EXPECT_EQ((*ledger_->FindState(state.key))->revision, 3);
}

TEST_F(LedgerTest, HealthOfAShortQueueIsAlwaysThePresentOne) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(ledger_->RecentHealth()->pending, static_cast<uint32_t>(i));
    Add(std::to_string(i), ItemStatus::kPending);
  }
}

TEST_F(LedgerTest, LongQueueIsCountedAgainAfterAFewBatches) {
  {
    auto tx = ledger_->Begin();
    ASSERT_TRUE(tx.ok());
    for (int i = 0; i < 10'000; ++i) Add(std::to_string(i), ItemStatus::kPending);
    ASSERT_TRUE(tx->Commit().ok());
  }
  EXPECT_EQ(ledger_->RecentHealth()->pending, 10'000u);
  Add("one more", ItemStatus::kPending);

  EXPECT_EQ(ledger_->RecentHealth()->pending, 10'000u);
  EXPECT_EQ(ledger_->Health()->pending, 10'001u);
  EXPECT_EQ(ledger_->RecentHealth()->pending, 10'000u);
  EXPECT_EQ(ledger_->RecentHealth()->pending, 10'001u);
}

// Neither what is over nor what waits behind may be read for each batch or version.
TEST_F(LedgerTest, QueriesForOpenItemsUseAnIndexAndSortNothing) {
  EXPECT_TRUE(ledger_->HasOpenItem({"Patient", "p1"}).ok());
  EXPECT_TRUE(ledger_->FindWaiting({"Patient", "p1"}).ok());
  EXPECT_TRUE(ledger_->FindProcessing({"Patient", "p1"}).ok());
  EXPECT_TRUE(ledger_->ListSendable(now_, false, 0, 10).ok());
  EXPECT_TRUE(ledger_->CountHeld().ok());
  EXPECT_TRUE(ledger_->Health().ok());

  std::set<std::string> compiled;
  sqlite3* const db = ledger_->db().handle();
  for (sqlite3_stmt* stmt = sqlite3_next_stmt(db, nullptr); stmt != nullptr;
       stmt = sqlite3_next_stmt(db, stmt)) {
    const std::string sql = sqlite3_sql(stmt);
    if (sql.find("FROM SyncQueueItems") != std::string::npos) compiled.insert(sql);
  }
  std::map<std::string, std::string> plans;
  for (const std::string& sql : compiled) {
    auto rows = ledger_->db().Prepare("EXPLAIN QUERY PLAN " + sql);
    ASSERT_TRUE(rows.ok()) << rows.status();
    while (true) {
      const auto row = rows->Step();
      ASSERT_TRUE(row.ok()) << row.status();
      if (!*row) break;
      plans[sql] += std::string(rows->Text(3)) + "\n";
    }
  }

  EXPECT_EQ(plans.size(), 10u);
  const std::string quick[] = {"SyncQueueItems_Entity (EntityType=? AND EntityId=?)",
                               "SyncQueueItems_Waiting (Status=? AND rowid>?)",
                               "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
                               "INDEX SyncQueueItems_Initial",
                               "INDEX SyncQueueItems_Held",
                               "SyncQueueItems USING INDEX SyncQueueItems_Entity",
                               "COVERING INDEX SyncQueueItems_"};
  for (const auto& [sql, plan] : plans) {
    const bool by_index = std::any_of(std::begin(quick), std::end(quick), [&](const auto& index) {
      return plan.find(index) != std::string::npos;
    });
    EXPECT_TRUE(by_index) << sql << "\n" << plan;
    const bool scans = plan.find("SCAN SyncQueueItems\n") != std::string::npos;
    EXPECT_FALSE(scans || plan.find("B-TREE") != std::string::npos) << sql << "\n" << plan;
  }
}

}  // namespace
}  // namespace ptdoc::sync
