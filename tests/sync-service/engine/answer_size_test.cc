// Answers stay below the size of a message, whatever the rows hold.
#include <gtest/gtest.h>

#include "sync-service/engine/answer.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kLarge = 1 << 20;

Fields LargeRow(char letter) {
  return Texts({{"Name", std::string(1, letter)}, {"Scan", std::string(kLarge, letter)}});
}

std::string IdOf(int i) {
  return "p" + std::to_string(i);
}

// Eight rows of 1 MiB; returns how they were answered.
std::vector<ChangeResult> CreateLargeRows(TestService& service) {
  std::vector<ChangeResult> results;
  for (int i = 0; i < 8; ++i) {
    results.push_back(
        PushOne(service, "a", At(Create(Patient(IdOf(i)), LargeRow('a')), service.Ago(60))));
  }
  return results;
}

size_t BytesOf(const std::vector<ChangeResult>& results) {
  size_t bytes = 0;
  for (const ChangeResult& result : results) {
    bytes += AnswerBytes(result.key);
    if (result.current.has_value()) bytes += AnswerBytes(*result.current);
  }
  return bytes;
}

TEST(AnswerSizeTest, CurrentIsLeftOutWhereAMessageHasNoMoreRoom) {
  TestService service;
  CreateLargeRows(service);
  PushBatch batch = BatchOf(service, "b", {});
  for (int i = 0; i < 8; ++i) {
    batch.changes.push_back(
        At(Create(Patient(IdOf(i)), Texts({{"Name", "late"}})), service.Ago(600)));
  }

  const PushAnswer answer = MustPush(service, batch);
  const PushAnswer again = MustPush(service, batch);

  for (const PushAnswer* each : {&answer, &again}) {
    EXPECT_LE(BytesOf(each->results), kMessageBytesMax);
    EXPECT_TRUE(each->results[0].current.has_value());
    EXPECT_FALSE(each->results[7].current.has_value());
    EXPECT_EQ(each->results[7].resolution, Resolution::kServerWins);
    EXPECT_EQ(each->results[7].revision, 8);
  }
}

TEST(AnswerSizeTest, ReofferThatNeedsACurrentWithoutRoomIsToBeSentAgain) {
  TestService service;
  PushBatch batch = BatchOf(service, "b", {});
  // Old content that is small beside what stands now.
  for (int i = 0; i < 8; ++i) {
    const ChangeResult small =
        PushOne(service, "a", Create(Patient(IdOf(i)), Texts({{"Name", "small"}})));
    PushOne(service, "a", Delta(Patient(IdOf(i)), small, LargeRow('z')));
    batch.changes.push_back(Reoffer(Patient(IdOf(i)), Texts({{"Name", "small"}})));
  }

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_LE(BytesOf(answer.results), kMessageBytesMax);
  size_t told = 0;
  for (const ChangeResult& result : answer.results) {
    if (result.outcome == Outcome::kUnchanged) {
      EXPECT_TRUE(result.current.has_value());
      ++told;
      continue;
    }
    EXPECT_EQ(result.error_code, ErrorCode::kBatchRefused);
    EXPECT_TRUE(result.retryable);
  }
  EXPECT_EQ(told, 3u);
}

TEST(AnswerSizeTest, BatchOfSmallChangesOfLargeRowsIsTakenInParts) {
  TestService service;
  const std::vector<ChangeResult> bases = CreateLargeRows(service);
  PushBatch batch = BatchOf(service, "a", {});
  // One entity again and again: each change makes another version of 1 MiB.
  for (int i = 0; i < 40; ++i) {
    batch.changes.push_back(
        Delta(Patient(IdOf(0)), bases[0], Texts({{"Name", std::to_string(i)}})));
  }

  const PushAnswer answer = MustPush(service, batch);

  EXPECT_EQ(answer.results[0].outcome, Outcome::kAccepted);
  EXPECT_EQ(answer.results[39].error_code, ErrorCode::kBatchRefused);
  EXPECT_TRUE(answer.results[39].retryable);
  const Revision taken = answer.newest - bases[7].revision;
  EXPECT_GT(taken, 20);
  EXPECT_LE(static_cast<size_t>(taken) * kLarge, kBatchContentBytesMax);
}

TEST(AnswerSizeTest, BatchWhoseBareAnswerIsTooLargeIsRefused) {
  TestService service;
  PushBatch batch = BatchOf(service, "a", {});
  for (int i = 0; i < 3000; ++i) {
    batch.changes.push_back(Create(Patient(std::string(1000, 'x') + IdOf(i)), {}));
  }

  EXPECT_EQ(ReasonOf(service.Push(batch).status()), "MESSAGE_TOO_LARGE");
}

// Six rows of 1 MiB in one batch: no Run can carry it, and none may cut it.
TEST(AnswerSizeTest, RunLeavesOutAPageThatDoesNotFitAndSaysSo) {
  TestService service;
  const std::string start = service.engine().Pull(PullFrom("b", ""))->cursor;
  PushBatch large = BatchOf(service, "a", {});
  for (int i = 0; i < 6; ++i) {
    large.changes.push_back(Create(Patient(IdOf(i)), LargeRow('a')));
  }
  MustPush(service, large);
  PushBatch own = BatchOf(service, "b", {Create(Patient("own"), Texts({{"Name", "b"}}))});

  const absl::StatusOr<RunAnswer> first = service.engine().Run(own, PullFrom("b", start));
  const absl::StatusOr<RunAnswer> next =
      service.engine().Run(BatchOf(service, "b", {}), PullFrom("b", start));

  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->push.results[0].outcome, Outcome::kAccepted);
  EXPECT_TRUE(first->page.versions.empty());
  EXPECT_EQ(first->page.cursor, start);
  EXPECT_TRUE(first->has_more);
  EXPECT_EQ(ReasonOf(next.status()), "MESSAGE_TOO_LARGE");
}

TEST(AnswerSizeTest, PageThatTheAnswerLeftNoRoomForComesWithTheNextRun) {
  TestService service;
  const std::string start = service.engine().Pull(PullFrom("b", ""))->cursor;
  CreateLargeRows(service);
  PushBatch batch = BatchOf(service, "b", {});
  for (int i = 0; i < 8; ++i) {
    batch.changes.push_back(
        At(Create(Patient(IdOf(i)), Texts({{"Name", "late"}})), service.Ago(600)));
  }

  const absl::StatusOr<RunAnswer> first = service.engine().Run(batch, PullFrom("b", start));
  const absl::StatusOr<RunAnswer> next =
      service.engine().Run(BatchOf(service, "b", {}), PullFrom("b", start));

  ASSERT_TRUE(first.ok() && next.ok());
  EXPECT_TRUE(first->page.versions.empty());
  EXPECT_TRUE(first->has_more);
  EXPECT_FALSE(next->page.versions.empty());
  EXPECT_NE(next->page.cursor, start);
}

}  // namespace
}  // namespace ptdoc::sync
