#pragma once

#include <algorithm>
#include <map>
#include <thread>

#include "tests/contract/store_contract_fixture.h"
#include "tests/contract/store_contract_records.h"

// Retention, and many users at once.
namespace ptdoc::sync {

inline size_t PruneAll(Store& store, absl::Time before, size_t limit = 1000) {
  size_t total = 0;
  while (true) {
    const std::unique_ptr<StoreWriter> writer = Get(store.BeginWrite());
    const size_t pruned = Get(writer->Prune(kClinic, before, limit));
    EXPECT_EQ(writer->Commit(), absl::OkStatus());
    total += pruned;
    if (pruned < limit) return total;
  }
}

TEST_P(StoreContractTest, PruneDropsWhatWasSupersededLongAgo) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("b"), "B1")}, At(0));
  Commit({Named(Patient("a"), "A2")}, At(10));
  Commit({Named(Patient("a"), "A3")}, At(100));

  const size_t pruned = PruneAll(*store_, At(50));

  EXPECT_EQ(pruned, 1u);
  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_FALSE(Get(reader->FindVersion(kClinic, Patient("a"), 1)).has_value());
  // Superseded at 100 only: until then devices edited it, and it is their base.
  EXPECT_TRUE(Get(reader->FindVersion(kClinic, Patient("a"), 3)).has_value());
  EXPECT_TRUE(Get(reader->Head(kClinic, Patient("b"))).has_value());
  EXPECT_EQ(Get(reader->History(kClinic, Patient("a"))).size(), 2u);
  EXPECT_EQ(Get(reader->PrunedUpTo(kClinic)), 1);
  EXPECT_EQ(Get(reader->Newest(kClinic)).sequence, 4);
}

TEST_P(StoreContractTest, ContentHashesOutlivePruning) {
  Commit({Named(Patient("a"), "A1")}, At(0));
  Commit({Named(Patient("a"), "A2")}, At(1));
  Commit({Tombstone(Patient("a"))}, At(2));

  PruneAll(*store_, At(50));

  const std::unique_ptr<StoreReader> reader = Read();
  for (const char* name : {"A1", "A2"}) {
    EXPECT_TRUE(Get(reader->KnowsContent(kClinic, Patient("a"), HashOf(Patient("a"), name))));
  }
  const std::string deleted = Tombstone(Patient("a")).stored.content_hash;
  EXPECT_TRUE(Get(reader->KnowsContent(kClinic, Patient("a"), deleted)));
}

TEST_P(StoreContractTest, OldTombstoneGoesCompletely) {
  Commit({Named(Patient("a"), "A1"), Named(Patient("b"), "B1")}, At(0));
  Commit({Tombstone(Patient("a"))}, At(1));
  Commit({Tombstone(Patient("b"))}, At(100));

  const size_t pruned = PruneAll(*store_, At(50));

  EXPECT_EQ(pruned, 2u);
  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_FALSE(Get(reader->Head(kClinic, Patient("a"))).has_value());
  EXPECT_TRUE(Get(reader->History(kClinic, Patient("a"))).empty());
  EXPECT_TRUE(Get(reader->Head(kClinic, Patient("b")))->version.deleted);
  // A puller below the tombstone would never hear of the deletion.
  EXPECT_EQ(Get(reader->PrunedUpTo(kClinic)), 3);
}

TEST_P(StoreContractTest, EntityCanReturnAfterItsTombstoneWasPruned) {
  Commit({Named(Patient("a"), "A1")}, At(0));
  Commit({Tombstone(Patient("a"))}, At(1));
  PruneAll(*store_, At(50));

  const BatchEnd end = Commit({Named(Patient("a"), "A2")}, At(60));

  EXPECT_EQ(end.sequence, 3);
  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a"))).size(), 1u);
  EXPECT_TRUE(Get(Read()->KnowsContent(kClinic, Patient("a"), HashOf(Patient("a"), "A1"))));
}

TEST_P(StoreContractTest, PruneOfOneTenantLeavesTheOthers) {
  for (const char* tenant : {kClinic, kOtherClinic}) {
    Commit({Named(Patient("a"), "A1")}, At(0), tenant);
    Commit({Named(Patient("a"), "A2")}, At(1), tenant);
  }

  PruneAll(*store_, At(50));

  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_FALSE(Get(reader->FindVersion(kClinic, Patient("a"), 1)).has_value());
  EXPECT_TRUE(Get(reader->FindVersion(kOtherClinic, Patient("a"), 1)).has_value());
  EXPECT_EQ(Get(reader->PrunedUpTo(kOtherClinic)), 0);
}

TEST_P(StoreContractTest, PruneTakesAtMostItsLimit) {
  for (int i = 0; i < 5; ++i) Commit({Named(Patient("a"), std::to_string(i))}, At(i));
  Commit({Tombstone(Patient("a"))}, At(9));
  const auto prune = [&](size_t limit) {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    const size_t pruned = Get(writer->Prune(kClinic, At(50), limit));
    EXPECT_EQ(writer->Commit(), absl::OkStatus());
    return pruned;
  };

  EXPECT_EQ(prune(2), 2u);
  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a"))).size(), 4u);
  EXPECT_EQ(prune(3), 3u);
  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a"))).size(), 1u);
  EXPECT_EQ(prune(3), 1u);
  EXPECT_EQ(prune(3), 0u);
}

TEST_P(StoreContractTest, OldReceiptsGo) {
  {
    const std::unique_ptr<StoreWriter> writer = BeginWrite();
    for (int i = 0; i < 6; ++i) {
      Receipt receipt = MakeReceipt();
      receipt.committed_at = At(int64_t{10} * i);
      ASSERT_EQ(writer->PutReceipt(kClinic, "d1", std::to_string(i), receipt), absl::OkStatus());
    }
    ASSERT_EQ(writer->PutReceipt(kOtherClinic, "d1", "0", MakeReceipt()), absl::OkStatus());
    ASSERT_EQ(writer->Commit(), absl::OkStatus());
  }

  EXPECT_EQ(PruneAll(*store_, At(30), 2), 3u);

  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_FALSE(Get(reader->FindReceipt(kClinic, "d1", "2")).has_value());
  EXPECT_TRUE(Get(reader->FindReceipt(kClinic, "d1", "3")).has_value());
  EXPECT_TRUE(Get(reader->FindReceipt(kOtherClinic, "d1", "0")).has_value());
}

TEST_P(StoreContractTest, PrunedRowsComeBackWithTheirSavepoint) {
  Commit({Named(Patient("a"), "A1")}, At(0));
  Commit({Named(Patient("a"), "A2")}, At(1));
  const std::unique_ptr<StoreWriter> writer = BeginWrite();
  ASSERT_EQ(writer->BeginSavepoint(), absl::OkStatus());
  EXPECT_EQ(Get(writer->Prune(kClinic, At(50), 10)), 1u);
  ASSERT_EQ(writer->RollbackSavepoint(), absl::OkStatus());
  ASSERT_EQ(writer->Commit(), absl::OkStatus());

  EXPECT_EQ(Get(Read()->History(kClinic, Patient("a"))).size(), 2u);
  EXPECT_EQ(Get(Read()->PrunedUpTo(kClinic)), 0);
}

// Random histories, pruned at random moments: what a puller and a decider need
// is the same as if nothing had been pruned.
TEST_P(StoreContractTest, PrunedStoreAnswersAsTheWholeOneForEverythingYoung) {
  SeededRng rng(11);
  std::vector<NewVersion> log;
  std::map<Revision, uint64_t> tags;
  std::map<EntityKey, Revision> heads;
  std::map<Revision, int> committed;  // second of each version
  Revision pruned_before = 0;
  int before = 0;
  for (int second = 0; second < 150; ++second) {
    std::vector<NewVersion> batch;
    for (uint64_t i = 1 + rng.Below(3); i > 0; --i) {
      const EntityKey key = Patient(std::to_string(rng.Below(20)));
      batch.push_back(rng.Below(4) == 0 ? Tombstone(key) : Named(key, std::to_string(rng.Next())));
    }
    const BatchEnd end = Commit(batch, At(second));
    tags[end.sequence] = end.tag;
    for (const NewVersion& added : batch) {
      heads[added.stored.version.key] = added.stored.version.revision;
      committed[added.stored.version.revision] = second;
      log.push_back(added);
    }
    if (rng.Below(10) != 0) continue;
    before = std::max(before, static_cast<int>(rng.Below(static_cast<uint64_t>(second) + 1)));
    PruneAll(*store_, At(before), 1 + rng.Below(9));
    const std::unique_ptr<StoreReader> reader = Read();
    const Revision pruned = Get(reader->PrunedUpTo(kClinic));
    SCOPED_TRACE(testing::Message() << "seed 11, second " << second << ", pruned " << pruned);

    EXPECT_GE(pruned, pruned_before);
    pruned_before = pruned;
    // Whoever synced since `before` has a cursor that is still good.
    for (const auto& [revision, at] : committed) {
      if (at >= before) {
        EXPECT_LT(pruned, revision);
      }
    }
    std::vector<Revision> above;
    for (Revision r = pruned + 1; r <= end.sequence; ++r) above.push_back(r);
    EXPECT_EQ(Revisions(Log(pruned)), above);
    for (const auto& [sequence, tag] : tags) {
      if (sequence < pruned) continue;
      const std::optional<BatchEnd> found = Get(reader->FindBatchEnd(kClinic, sequence));
      ASSERT_TRUE(found.has_value()) << sequence;
      EXPECT_EQ(found->tag, tag);
    }
    for (const NewVersion& added : log) {
      const Version& version = added.stored.version;
      EXPECT_TRUE(Get(reader->KnowsContent(kClinic, version.key, added.stored.content_hash)));
      const bool is_head = heads[version.key] == version.revision;
      const std::optional<StoredVersion> kept =
          Get(reader->FindVersion(kClinic, version.key, version.revision));
      if ((is_head && !version.deleted) || version.revision > pruned) {
        ASSERT_TRUE(kept.has_value()) << version.revision;
      }
      if (!kept.has_value()) continue;
      EXPECT_EQ(kept->version, version);
      // Its batch can still be told.
      const BatchSpan span = *Get(reader->BatchAround(kClinic, version.revision));
      EXPECT_EQ(tags.lower_bound(version.revision)->first, span.end.sequence);
      EXPECT_LT(span.after, version.revision);
    }
    for (const auto& [key, revision] : heads) {
      const std::optional<StoredVersion> head = Get(reader->Head(kClinic, key));
      if (head.has_value()) {
        EXPECT_EQ(head->version.revision, revision);
      }
      const std::vector<StoredVersion> history = Get(reader->History(kClinic, key));
      EXPECT_EQ(history.empty(), !head.has_value());
    }
  }
}

TEST_P(StoreContractTest, WritersOfSeveralThreadsAndStoresFormOneLog) {
  constexpr int kWriters = 4;
  constexpr int kBatches = 25;
  const std::unique_ptr<Store> other = harness_->Open();
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      Store& store = w % 2 == 0 ? *store_ : *other;
      for (int b = 0; b < kBatches; ++b) {
        std::vector<NewVersion> batch = {Named(Patient(std::to_string(w)), std::to_string(b)),
                                         Named(Patient("shared"), std::to_string(100 * w + b))};
        const std::unique_ptr<StoreWriter> writer = Get(store.BeginWrite());
        Get(writer->Append(kClinic, batch, 1, At(b)));
        EXPECT_EQ(writer->Audit(kClinic, MakeEvent(b)), absl::OkStatus());
        EXPECT_EQ(writer->Commit(), absl::OkStatus());
      }
    });
  }
  // A puller that follows meanwhile never sees a gap or half of a batch.
  Revision at = 0;
  while (at < Revision{2} * kWriters * kBatches) {
    const std::vector<FeedVersion> page = Log(at, {}, 7);
    for (const FeedVersion& entry : page) {
      ASSERT_EQ(entry.version.revision, ++at);
      ASSERT_EQ(entry.batch_end, at % 2 == 0);
    }
    ASSERT_EQ(store_->Checkpoint(), absl::OkStatus());
  }
  for (std::thread& thread : threads) thread.join();

  const std::unique_ptr<StoreReader> reader = Read();
  EXPECT_EQ(Get(VerifyAudit(*reader, kClinic)).entries, uint64_t{kWriters} * kBatches);
  EXPECT_TRUE(Get(VerifyAudit(*reader, kClinic)).intact);
  EXPECT_EQ(Get(reader->History(kClinic, Patient("shared"))).size(),
            static_cast<size_t>(kWriters * kBatches));
}

}  // namespace ptdoc::sync
