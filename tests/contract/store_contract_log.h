#pragma once

#include <algorithm>
#include <set>

#include "tests/contract/store_contract_fixture.h"

// The log: pages, batch ends, heads, counts, times.
namespace ptdoc::sync {

// What ReadLog promises, told by a list of all versions.
struct LogModel {
  struct Entry {
    EntityKey key;
    bool deleted = false;
    size_t bytes = 0;
    Revision batch_end = 0;
  };
  std::vector<Entry> entries;  // revision r stands at r - 1

  static bool Wants(const std::vector<std::string>& types, const Entry& entry) {
    return types.empty() || std::count(types.begin(), types.end(), entry.key.type) > 0;
  }
  bool IsHead(size_t index) const {
    return std::none_of(entries.begin() + static_cast<std::ptrdiff_t>(index) + 1, entries.end(),
                        [&](const Entry& later) { return later.key == entries[index].key; });
  }
  std::vector<Revision> Wanted(Revision after, const std::vector<std::string>& types) const {
    std::vector<Revision> wanted;
    for (size_t i = static_cast<size_t>(after); i < entries.size(); ++i) {
      if (Wants(types, entries[i])) wanted.push_back(static_cast<Revision>(i) + 1);
    }
    return wanted;
  }
  std::vector<Revision> Heads(Revision after, Revision up_to,
                              const std::vector<std::string>& types) const {
    std::vector<Revision> heads;
    for (const Revision revision : Wanted(after, types)) {
      const size_t index = static_cast<size_t>(revision) - 1;
      if (revision <= up_to && !entries[index].deleted && IsHead(index)) heads.push_back(revision);
    }
    return heads;
  }
  Revision EndOf(Revision revision) const {
    return entries[static_cast<size_t>(revision) - 1].batch_end;
  }
  size_t Bytes(Revision revision) const { return entries[static_cast<size_t>(revision) - 1].bytes; }
};

// How many of `wanted` a page takes.
inline size_t PageSize(const LogModel& model, const std::vector<Revision>& wanted, size_t limit,
                       size_t bytes_max) {
  size_t count = 0;
  size_t bytes = 0;
  for (const Revision revision : wanted) {
    bytes += model.Bytes(revision);
    if (count > 0 && (count >= limit || bytes > bytes_max)) break;
    ++count;
  }
  return count;
}

inline std::vector<NewVersion> RandomBatch(Rng& rng, LogModel* model) {
  constexpr const char* kTypes[] = {"Patient", "Visit", "Note"};
  std::vector<NewVersion> batch;
  const uint64_t size = 1 + rng.Below(6);
  const Revision end = static_cast<Revision>(model->entries.size() + size);
  for (uint64_t i = 0; i < size; ++i) {
    const EntityKey key = {kTypes[rng.Below(3)], std::to_string(rng.Below(12))};
    const bool deleted = rng.Below(5) == 0;
    batch.push_back(MakeVersion(key, deleted ? Fields() : RandomFields(rng, 4), deleted));
    const Fields& fields = batch.back().stored.version.fields;
    model->entries.push_back({key, deleted, deleted ? 0 : EncodeFields(fields).size(), end});
  }
  return batch;
}

inline std::vector<std::string> RandomTypes(Rng& rng) {
  switch (rng.Below(4)) {
    case 0:
      return {"Visit"};
    case 1:
      return {"Note", "Patient"};
    case 2:
      return {"Unheard of", "Visit"};
    default:
      return {};
  }
}

TEST_P(StoreContractTest, PagesOfTheLogAreWhatAModelSays) {
  SeededRng rng(7);
  LogModel model;
  for (int i = 0; i < 40; ++i) Commit(RandomBatch(rng, &model));
  const auto newest = static_cast<Revision>(model.entries.size());

  for (int round = 0; round < 600; ++round) {
    const auto after = static_cast<Revision>(rng.Below(model.entries.size() + 2));
    const std::vector<std::string> types = RandomTypes(rng);
    const size_t limit = 1 + rng.Below(9);
    const size_t bytes_max = rng.Below(3) == 0 ? rng.Below(200) : kNoLimit;
    const std::vector<Revision> wanted = model.Wanted(after, types);
    const size_t count = PageSize(model, wanted, limit, bytes_max);
    Revision covered = -1;

    const std::vector<FeedVersion> page = Log(after, types, limit, bytes_max, &covered);

    SCOPED_TRACE(testing::Message() << "seed 7, round " << round << ", after " << after);
    ASSERT_EQ(Revisions(page), std::vector(wanted.begin(), wanted.begin() + count));
    for (size_t i = 0; i < count; ++i) {
      const bool ends = i + 1 == wanted.size() || wanted[i + 1] > model.EndOf(wanted[i]);
      ASSERT_EQ(page[i].batch_end, ends) << wanted[i];
    }
    // No wanted version may stand between the page and `covered`.
    const Revision next = count < wanted.size() ? wanted[count] : newest + 1;
    ASSERT_LT(covered, std::max(next, after + 1));
    ASSERT_GE(covered, count == 0 ? std::max(after, newest) : wanted[count - 1]);
    if (count == wanted.size() && count < limit) {
      ASSERT_EQ(covered, std::max(after, newest));
    }
  }
}

TEST_P(StoreContractTest, HeadsAndCountsAreWhatAModelSays) {
  SeededRng rng(8);
  LogModel model;
  for (int i = 0; i < 40; ++i) Commit(RandomBatch(rng, &model));
  const std::unique_ptr<StoreReader> reader = Read();

  for (int round = 0; round < 600; ++round) {
    const auto after = static_cast<Revision>(rng.Below(model.entries.size() + 1));
    const auto up_to = static_cast<Revision>(rng.Below(model.entries.size() + 1));
    const std::vector<std::string> types = RandomTypes(rng);
    const size_t limit = 1 + rng.Below(9);
    const size_t bytes_max = rng.Below(3) == 0 ? rng.Below(200) : kNoLimit;
    const std::vector<Revision> heads = model.Heads(after, up_to, types);
    const size_t count = PageSize(model, heads, limit, bytes_max);
    const std::vector<Revision> wanted = model.Wanted(after, types);
    const auto in_range =
        std::count_if(wanted.begin(), wanted.end(), [&](Revision r) { return r <= up_to; });

    SCOPED_TRACE(testing::Message() << "seed 8, round " << round << ", after " << after);
    ASSERT_EQ(Revisions(Get(reader->ReadHeads(kClinic, after, up_to, types, limit, bytes_max))),
              std::vector(heads.begin(), heads.begin() + count));
    ASSERT_EQ(Get(reader->CountHeads(kClinic, after, up_to, types)), heads.size());
    const std::vector<HeadCheck> checks =
        Get(reader->ReadHeadChecks(kClinic, after, up_to, types, limit));
    ASSERT_EQ(checks.size(), std::min(limit, heads.size()));
    for (size_t i = 0; i < checks.size(); ++i) {
      ASSERT_EQ(checks[i].revision, heads[i]);
      const auto head = Get(reader->Head(kClinic, checks[i].key));
      ASSERT_EQ(checks[i].check, head->version.check);
    }
    ASSERT_EQ(Get(reader->CountLog(kClinic, after, up_to, types)), static_cast<uint64_t>(in_range));
  }
}

TEST_P(StoreContractTest, BatchEndStandsOnTheLastWantedVersionOfABatch) {
  Commit({Named(Patient("a"), "A"), Named({"Visit", "v"}, "V")});
  Commit({Named({"Visit", "w"}, "W"), Named(Patient("b"), "B"), Named(Patient("c"), "C")});

  const std::vector<FeedVersion> patients = Log(0, {"Patient"});
  Revision covered = 0;
  const std::vector<FeedVersion> one = Log(0, {"Patient"}, 1, kNoLimit, &covered);

  EXPECT_THAT(Revisions(patients), testing::ElementsAre(1, 4, 5));
  EXPECT_THAT(BatchEnds(patients), testing::ElementsAre(true, false, true));
  EXPECT_THAT(BatchEnds(one), testing::ElementsAre(true));
  EXPECT_EQ(covered, 2);
}

TEST_P(StoreContractTest, PageTakesOneVersionHoweverLarge) {
  Commit({Named(Patient("a"), std::string(10'000, 'x')), Named(Patient("b"), "B")});

  EXPECT_THAT(Revisions(Log(0, {}, 10, 100)), testing::ElementsAre(1));
  EXPECT_THAT(Revisions(Log(0, {}, 0, 0)), testing::ElementsAre(1));
  EXPECT_THAT(Revisions(Get(Read()->ReadHeads(kClinic, 0, 2, {}, 10, 100))),
              testing::ElementsAre(1));
}

TEST_P(StoreContractTest, LogGivesWholeVersions) {
  std::vector<NewVersion> versions = {Named(Patient("a"), "A"), Tombstone(Patient("b"))};
  versions[0].stored.version.conflict = ConflictNotice{"c", Resolution::kLocalWins, "d2", 9};
  Commit(versions);

  const std::vector<FeedVersion> page = Log(0);

  ASSERT_EQ(page.size(), 2u);
  EXPECT_EQ(page[0].version, versions[0].stored.version);
  EXPECT_EQ(page[1].version, versions[1].stored.version);
}

TEST_P(StoreContractTest, CountsOfLargeRangesAreTheSizeOfTheRange) {
  std::vector<NewVersion> versions;
  for (int i = 0; i <= StoreReader::kCountedRangeMax; ++i) {
    versions.push_back(Tombstone(Patient(std::to_string(i))));
  }
  const BatchEnd end = Commit(versions);
  const std::vector<std::string> visits = {"Visit"};
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_EQ(Get(reader->CountLog(kClinic, 0, end.sequence, {})), versions.size());
  EXPECT_EQ(Get(reader->CountHeads(kClinic, 0, end.sequence, visits)), versions.size());
  EXPECT_EQ(Get(reader->CountHeads(kClinic, 1, end.sequence, visits)), 0u);
  EXPECT_EQ(Get(reader->CountLog(kClinic, 1, end.sequence + 99, {})), versions.size() - 1);
}

TEST_P(StoreContractTest, BatchesAreFoundByTheirEndAndAround) {
  const BatchEnd first = Commit({Named(Patient("a"), "A"), Named(Patient("b"), "B")});
  const BatchEnd second = Commit({Named(Patient("c"), "C")});
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_EQ(Get(reader->FindBatchEnd(kClinic, 2))->tag, first.tag);
  EXPECT_EQ(Get(reader->FindBatchEnd(kClinic, 3))->tag, second.tag);
  for (const Revision none : {-1, 0, 1, 4}) {
    EXPECT_FALSE(Get(reader->FindBatchEnd(kClinic, none)).has_value()) << none;
  }
  const BatchSpan around = *Get(reader->BatchAround(kClinic, 1));
  EXPECT_EQ(around.after, 0);
  EXPECT_EQ(around.end.sequence, 2);
  EXPECT_EQ(around.end.tag, first.tag);
  EXPECT_EQ(Get(reader->BatchAround(kClinic, 3))->after, 2);
  EXPECT_FALSE(Get(reader->BatchAround(kClinic, 4)).has_value());
  EXPECT_FALSE(Get(reader->BatchAround(kClinic, 0)).has_value());
}

TEST_P(StoreContractTest, BatchEndAtGivesTheLastBatchThatIsNotLater) {
  std::vector<BatchEnd> ends;
  for (int i = 0; i < 20; ++i) {
    ends.push_back(
        Commit({Named(Patient("a"), "A"), Named(Patient("b"), "B")}, At(int64_t{10} * i)));
  }
  const std::unique_ptr<StoreReader> reader = Read();

  EXPECT_EQ(Get(reader->BatchEndAt(kClinic, At(-1))).sequence, 0);
  for (int i = 0; i < 20; ++i) {
    const size_t index = static_cast<size_t>(i);
    EXPECT_EQ(Get(reader->BatchEndAt(kClinic, At(int64_t{10} * i))).sequence, ends[index].sequence)
        << i;
    EXPECT_EQ(Get(reader->BatchEndAt(kClinic, At(10 * i + 9))).tag, ends[index].tag) << i;
  }
  EXPECT_EQ(Get(reader->BatchEndAt(kClinic, absl::InfiniteFuture())).sequence, 40);
}

TEST_P(StoreContractTest, BatchEndAtSkipsNoBatchWhenTheClockWasSetBack) {
  Commit({Named(Patient("a"), "A1")}, At(0));
  Commit({Named(Patient("a"), "A2")}, At(100));
  Commit({Named(Patient("a"), "A3")}, At(10));
  Commit({Named(Patient("a"), "A4")}, At(20));
  Commit({Named(Patient("a"), "A5")}, At(110));
  const std::unique_ptr<StoreReader> reader = Read();

  // A reader that starts from "50 s" needs the batch of 100 s.
  EXPECT_EQ(Get(reader->BatchEndAt(kClinic, At(50))).sequence, 1);
  EXPECT_EQ(Get(reader->BatchEndAt(kClinic, At(105))).sequence, 4);
}

}  // namespace ptdoc::sync
