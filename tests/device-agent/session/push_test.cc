// The sending half of the cycle, as transcripts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/device-agent/session/script.h"

namespace ptdoc::sync {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

SessionOptions SmallBatches(size_t changes) {
  SessionOptions options;
  options.batch_changes = changes;
  return options;
}

TEST(SessionPushTest, SendsACommitAtOnceWhileOnline) {
  Script script;
  Connect(&script);

  script.Commit(1);

  EXPECT_THAT(script.Sent(), ElementsAre("batch b1"));
}

TEST(SessionPushTest, SendsNothingBeforeTheFeedWasReadForTheFirstTime) {
  Script script;
  script.Write(1);

  script.StartNew();
  const std::vector<std::string> before = script.Sent();
  script.Page(10, "c1", 90);

  EXPECT_THAT(before, ElementsAre("open pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open push", "batch b1"));
}

TEST(SessionPushTest, LeavesAtMostEightBatchesUnanswered) {
  Script script(SmallBatches(1));
  Connect(&script);

  script.Commit(20);
  const std::vector<std::string> first = script.Sent();
  const size_t taken = script.open.size();
  for (const char* id : {"b1", "b2", "b3"}) script.Answer(id);
  const std::vector<std::string> meanwhile = script.Sent();
  script.Answer("b4");

  EXPECT_THAT(first, SizeIs(8));
  EXPECT_EQ(taken, 8u);
  EXPECT_THAT(meanwhile, IsEmpty());
  EXPECT_THAT(script.Sent(), ElementsAre("batch b9", "batch b10", "batch b11", "batch b12"));
}

TEST(SessionPushTest, FillsTheRoomOfEachAnswerWhereAnswersTakeLong) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Commit(20);
  const std::vector<std::string> first = script.Sent();
  script.Pass(Session::kQuickAnswer);

  script.Answer("b1");

  EXPECT_THAT(first, SizeIs(8));
  EXPECT_THAT(script.Sent(), ElementsAre("batch b9"));
}

TEST(SessionPushTest, FinishesTogetherWhatIsAnsweredWhileTheFileIsBlocked) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Commit(8);
  script.file = FileIs::kBlockedByApp;
  for (int i = 1; i <= 6; ++i) script.Answer(absl::StrCat("b", i));
  const int before = script.finishes;
  script.file = FileIs::kReady;

  script.Pass(absl::Seconds(1));

  EXPECT_EQ(script.finishes - before, 2);
  EXPECT_THAT(script.open, SizeIs(2));
}

// What arrived together is looked at together.
TEST(SessionPushTest, DecidesNothingBeforeTheLastOfWhatHasHappened) {
  FakeClock clock;
  SeededRng rng(1);
  Session session({}, rng);
  const Moment now{clock.Monotonic(), clock.Now()};

  const std::vector<Action> none = session.Handle(events::Started{false, true}, now, true);
  const std::vector<Action> all = session.Handle(events::CommitSeen{}, now);

  EXPECT_THAT(none, IsEmpty());
  EXPECT_THAT(all, Not(IsEmpty()));
}

TEST(SessionPushTest, ReportsTheQueueWhenItHasDrained) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Pass(Session::kReportEvery);
  const int before = script.reports;

  script.Answer("b1");

  EXPECT_EQ(script.reports, before + 1);
}

TEST(SessionPushTest, ManySmallChangesShareAReportThatComesAfterTheLast) {
  Script script;
  Connect(&script);
  script.Pass(2 * Session::kReportEvery);
  const int before = script.reports;

  for (int i = 1; i <= 5; ++i) {
    script.Commit(1);
    script.Answer("b" + std::to_string(i));
  }
  const int at_once = script.reports - before;
  script.Pass(Session::kReportEvery);

  EXPECT_EQ(at_once, 1);
  EXPECT_EQ(script.reports, before + 2);
}

TEST(SessionPushTest, SendsTheSameBatchesAgainInOrderWhenTheirAnswersAreLost) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Commit(3);
  script.Answer("b1");
  script.Sent();

  script.Cut(absl::UnavailableError("reset"));
  script.Pass(absl::Seconds(10));
  script.CaughtUp();

  EXPECT_THAT(script.Sent(), ElementsAre("open pull", "open push", "batch b2", "batch b3"));
  EXPECT_THAT(script.done, ElementsAre("finish b1"));
}

TEST(SessionPushTest, TakesNothingNewBeforeTheOldBatchesWentOut) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Commit(1);
  script.Cut(absl::UnavailableError("reset"));
  script.Sent();

  script.Commit(1);
  script.Pass(absl::Seconds(10));
  script.CaughtUp();

  EXPECT_THAT(script.Sent(), ElementsAre("open pull", "open push", "batch b1", "batch b2"));
}

TEST(SessionPushTest, SettlesWhatAnEarlierLifeSent) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Commit(2);
  script.Sent();

  script.Restart(SmallBatches(1));
  script.Start();
  const std::vector<std::string> sent = script.Sent();
  script.Answer("b1");
  script.Answer("b2", /*voided=*/true);

  EXPECT_THAT(sent, Contains("settle b1"));
  EXPECT_THAT(sent, Contains("settle b2"));
  EXPECT_THAT(sent, Not(Contains("batch b1")));
  EXPECT_THAT(script.done, ElementsAre("finish b1", "void b2"));
  EXPECT_THAT(script.Sent(), ElementsAre("batch b3"));
}

TEST(SessionPushTest, TriesARefusedItemAgainAtTheTimesOfItsBackoff) {
  Script script;
  Connect(&script);
  script.refuses = [](const Script::Item&) { return true; };
  std::vector<int64_t> sent_at_ms;
  const auto answer = [&] {
    for (const std::string& call : script.Sent()) {
      if (call.substr(0, 6) != "batch ") continue;
      sent_at_ms.push_back(absl::ToInt64Milliseconds(script.clock.Monotonic()));
      script.Answer(call.substr(6));
    }
  };

  script.Commit(1);
  answer();
  script.Pass(absl::Seconds(25), answer);

  EXPECT_THAT(sent_at_ms, ElementsAre(0, 1000, 3000));  // Then RetryCount = MaxRetries.
}

TEST(SessionPushTest, CountsNothingDuringAnOutageOfAWeek) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Cut(absl::UnavailableError("no route"));
  script.Sent();
  int probes = 0;

  script.Pass(absl::Hours(24 * 7), [&] {
    probes += script.pull_open ? 1 : 0;
    script.Cut(absl::UnavailableError("no route"));
  });

  // Full jitter below 60 s: about one in half a minute.
  EXPECT_GT(probes, 7 * 24 * 60);
  EXPECT_LT(probes, 7 * 24 * 60 * 4);
  EXPECT_THAT(script.open["b1"], ElementsAre(::testing::Field(&Script::Item::retry_count, 0)));
  EXPECT_EQ(script.View().link, LinkState::kOffline);
}

TEST(SessionPushTest, ProbesWithinFiveSecondsWhileTheAppIsWriting) {
  Script script;
  Connect(&script);
  script.Cut(absl::UnavailableError("no route"));
  absl::Duration longest;
  absl::Duration last = script.clock.Monotonic();

  for (int i = 0; i < 600; ++i) {
    script.Commit(1);
    script.Pass(absl::Seconds(1), [&] {
      if (!script.pull_open) return;
      longest = std::max(longest, script.clock.Monotonic() - last);
      last = script.clock.Monotonic();
      script.Cut(absl::UnavailableError("no route"));
    });
  }

  EXPECT_LE(longest, absl::Seconds(5));
  EXPECT_GT(longest, absl::Seconds(3));
}

TEST(SessionPushTest, LeavesEditsPendingWhileKnownToBeOffline) {
  Script script;
  Connect(&script);
  script.Cut(absl::UnavailableError("no route"));

  script.Commit(1);
  script.Pass(absl::Seconds(1));
  const bool tries_again = script.push_open;
  script.Commit(1);

  EXPECT_TRUE(tries_again);
  EXPECT_THAT(script.open, IsEmpty());
  EXPECT_THAT(script.waiting, SizeIs(2));
}

TEST(SessionPushTest, ProbesWithOneBatchWhereNothingElseTellsThatTheLinkIsBack) {
  Script script(SmallBatches(1));
  Connect(&script);
  script.Cut(absl::UnavailableError("no route"));
  script.Commit(3);

  script.Pass(absl::Seconds(5));

  EXPECT_TRUE(script.push_open);
  EXPECT_THAT(script.open, SizeIs(1));
}

TEST(SessionPushTest, TakesAStatusWithoutOurReasonForALostLink) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kInternal, absl::StatusCode::kUnauthenticated,
        absl::StatusCode::kPermissionDenied, absl::StatusCode::kInvalidArgument,
        absl::StatusCode::kFailedPrecondition, absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kCancelled, absl::StatusCode::kDeadlineExceeded}) {
    Script script;
    Connect(&script);
    script.Commit(1);
    script.Sent();

    script.ClosePush(absl::Status(code, "by a proxy"));
    script.Pass(absl::Seconds(5));

    EXPECT_THAT(script.Sent(), Contains("batch b1")) << absl::StatusCodeToString(code);
    EXPECT_THAT(script.done, IsEmpty());
  }
}

TEST(SessionPushTest, WaitsForATokenAndGoesOnWithTheNewOne) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.ClosePush(ReasonError(absl::StatusCode::kUnauthenticated, "TOKEN_EXPIRED", "expired"));
  script.Pass(absl::Seconds(59));
  const std::vector<std::string> waiting = script.Sent();
  const LinkState link = script.View().link;
  script.Do(events::TokenChanged{});

  EXPECT_THAT(waiting, ElementsAre("close pull"));
  EXPECT_EQ(link, LinkState::kUnauthenticated);
  EXPECT_THAT(script.Sent(), ElementsAre("open pull", "open push", "batch b1"));
}

// The old one may still be good, and include other types.
TEST(SessionPushTest, OpensItsStreamsAnewWithANewTokenAndSendsAgainWhatHasNoAnswer) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.Do(events::TokenChanged{});
  script.ClosePush(absl::CancelledError("closed"));
  script.ClosePull(absl::CancelledError("closed"));

  EXPECT_THAT(script.Sent(),
              ElementsAre("close push", "close pull", "open push", "batch b1", "open pull"));
}

TEST(SessionPushTest, GoesOnWithANewTokenAfterItsDeviceWasRevoked) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.ClosePush(ReasonError(absl::StatusCode::kPermissionDenied, "DEVICE_REVOKED", "revoked"));
  script.Pass(absl::Hours(1));
  const std::vector<std::string> waiting = script.Sent();
  script.Do(events::TokenChanged{});

  EXPECT_THAT(waiting, ElementsAre("close pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open pull", "open push", "batch b1"));
}

TEST(SessionPushTest, ProbesOnceAMinuteWithTheOldToken) {
  Script script;
  Connect(&script);
  int probes = 0;
  const absl::Status expired =
      ReasonError(absl::StatusCode::kUnauthenticated, "TOKEN_EXPIRED", "expired");

  script.ClosePull(expired);
  script.Pass(absl::Hours(1), [&] {
    probes += script.pull_open ? 1 : 0;
    script.Cut(expired);
  });

  EXPECT_EQ(probes, 60);
}

TEST(SessionPushTest, StopsWhenItIsNotPermittedUntilSomebodyAsks) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.ClosePush(ReasonError(absl::StatusCode::kPermissionDenied, "DEVICE_REVOKED", "revoked"));
  script.Pass(absl::Hours(10));
  const std::vector<std::string> stopped = script.Sent();
  const LinkState link = script.View().link;
  script.Request();

  EXPECT_THAT(stopped, ElementsAre("close pull"));
  EXPECT_EQ(link, LinkState::kRefused);
  EXPECT_THAT(script.Sent(), Contains("batch b1"));
}

TEST(SessionPushTest, CutsABatchThatIsTooLarge) {
  Script script(SmallBatches(8));
  Connect(&script);
  script.Commit(8);
  script.Sent();

  script.ClosePush(
      ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE", "too large"));
  const std::vector<std::string> again = script.Sent();
  script.Answer("b1", /*voided=*/true);

  EXPECT_THAT(again, ElementsAre("open push", "settle b1"));
  EXPECT_THAT(script.done, ElementsAre("void b1"));
  EXPECT_THAT(script.Sent(), ElementsAre("batch b2", "batch b3"));
  EXPECT_THAT(script.open["b2"], SizeIs(4));
}

TEST(SessionPushTest, WaitsAsLongAsAnOverloadedServiceSays) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.ClosePush(WithRetryAfterMs(
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED", "busy"), 20'000));
  for (int i = 0; i < 19; ++i) {
    script.Pass(absl::Seconds(1));
    script.Heartbeat();
  }
  const std::vector<std::string> waiting = script.Sent();
  script.Pass(absl::Seconds(1));

  EXPECT_THAT(waiting, IsEmpty());
  EXPECT_THAT(script.Sent(), ElementsAre("open push", "batch b1"));
}

TEST(SessionPushTest, ComesBackSoonToAServiceThatDrains) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.Cut(ReasonError(absl::StatusCode::kUnavailable, "DRAINING", "stops"));
  script.Pass(absl::Seconds(1));

  EXPECT_THAT(script.Sent(), Contains("batch b1"));
}

TEST(SessionPushTest, TakesABatchWithoutAnswerForLost) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  for (int i = 0; i < 13; ++i) {
    script.Pass(absl::Seconds(5));
    script.Heartbeat();
  }

  EXPECT_THAT(script.Sent(), ElementsAre("close push", "open push", "batch b1"));
}

TEST(SessionPushTest, FinishesAnAnswerWhenTheAppLetsGoOfItsFile) {
  Script script;
  Connect(&script);
  script.Commit(1);

  script.file = FileIs::kBlockedByApp;
  script.Answer("b1");
  const bool blocked = script.View().blocked_by_app;
  script.ticks = 0;
  script.Pass(absl::Seconds(10));
  const int ticks = script.ticks;
  script.file = FileIs::kReady;
  script.Pass(absl::Milliseconds(250));

  EXPECT_TRUE(blocked);
  EXPECT_GT(ticks, 40);   // At most 250 ms apart,
  EXPECT_LT(ticks, 120);  // and not in a hot loop.
  EXPECT_THAT(script.done, ElementsAre("finish b1"));
  EXPECT_FALSE(script.View().blocked_by_app);
}

TEST(SessionPushTest, SendsNothingWhilePausedAndAllOfItAfterwards) {
  Script script;
  Connect(&script);

  script.Do(events::Paused{absl::Hours(2)});
  script.Commit(1);
  script.Pass(absl::Minutes(119));
  const std::vector<std::string> paused = script.Sent();
  script.Pass(absl::Minutes(1));

  EXPECT_THAT(paused, ElementsAre("close push", "close pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open pull", "open push", "batch b1"));
}

TEST(SessionPushTest, SleepsBetweenHeartbeatsWhenNothingHappens) {
  Script script;
  Connect(&script);
  script.ticks = 0;

  for (int i = 0; i < 180; ++i) {
    script.Pass(absl::Seconds(20));
    script.Heartbeat();
  }

  EXPECT_LT(script.ticks, 600);
  EXPECT_THAT(script.Sent(), IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
