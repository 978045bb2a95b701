// The receiving half, re-baselines and requests, as transcripts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/device-agent/session/script.h"

namespace ptdoc::sync {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Optional;
using ::testing::SizeIs;

absl::Status EpochChanged(int shared_revision) {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "EPOCH_CHANGED", "restored",
                     {{kMetaSharedRevision, absl::StrCat(shared_revision)}});
}

SessionOptions OnRequest() {
  SessionOptions options;
  options.automatic = false;
  return options;
}

TEST(SessionPullTest, AppliesTheMessagesOfABatchAsOnePage) {
  Script script;
  Connect(&script);
  const int before = script.pages_applied;

  script.Page(500, "");
  script.Page(500, "");
  const int inside = script.pages_applied;
  script.Page(7, "c2");

  EXPECT_EQ(inside, before);
  EXPECT_EQ(script.pages_applied, before + 1);
  EXPECT_EQ(script.versions_applied, 1007);
}

TEST(SessionPullTest, JoinedPageSaysWhichTypesAreRefused) {
  Script script;
  Connect(&script);
  IncomingPage first;
  first.versions.resize(500);
  first.refused_types = {"Note"};
  IncomingPage last;
  last.versions.resize(1);
  last.cursor = "c2";
  last.batch_end = true;

  script.Do(events::PageArrived{first});
  script.Do(events::PageArrived{last});

  ASSERT_NE(script.page_applied, nullptr);
  EXPECT_EQ(script.page_applied->versions.size(), 501u);
  EXPECT_THAT(script.page_applied->refused_types, Optional(ElementsAre("Note")));
}

TEST(SessionPullTest, TokenWithoutAnyOfItsTypesIsTriedAgain) {
  Script script;
  script.Start();
  script.ClosePull(
      ReasonError(absl::StatusCode::kPermissionDenied, "TYPE_FORBIDDEN", "none of them"));

  EXPECT_EQ(script.View().link, LinkState::kOffline);
  EXPECT_LT(script.View().next_attempt, absl::InfiniteDuration());
}

TEST(SessionPullTest, AppliesNothingForHeartbeats) {
  Script script;
  Connect(&script);
  const int before = script.pages_applied;

  script.Heartbeat();
  script.Heartbeat();

  EXPECT_EQ(script.pages_applied, before);
}

TEST(SessionPullTest, AsksAtOnceForRowsThatADrainFoundTouched) {
  Script script;
  Connect(&script);
  // Nothing can be sent for now: the log is drained by itself.
  script.ClosePush(absl::UnavailableError("reset"));
  script.to_fetch = {EntityKey{"Patient", "1"}};
  script.Do(events::CommitSeen{});
  const std::vector<std::string> plain = script.Sent();

  script.drain_touches = true;
  script.Do(events::CommitSeen{});

  EXPECT_THAT(plain, Not(Contains("fetch 1")));
  EXPECT_THAT(script.Sent(), Contains("fetch 1"));
}

TEST(SessionPullTest, DropsHalfABatchWhenTheStreamBreaks) {
  Script script;
  Connect(&script);

  script.Page(500, "");
  script.ClosePull(absl::UnavailableError("reset"));
  script.Pass(absl::Seconds(10));
  script.Page(3, "c2");

  EXPECT_EQ(script.versions_applied, 3);
}

TEST(SessionPullTest, TakesAMinuteOfSilenceForADeadLink) {
  Script script;
  Connect(&script);

  script.Pass(absl::Seconds(59));
  const std::vector<std::string> before = script.Sent();
  script.Pass(absl::Seconds(3));

  EXPECT_THAT(before, IsEmpty());
  EXPECT_THAT(script.Sent(), ElementsAre("close pull", "open pull"));
}

TEST(SessionPullTest, ReadsTheRestAgainWhenTheAppBlocksAndTooMuchArrives) {
  Script script;
  Connect(&script);
  script.file = FileIs::kBlockedByApp;

  for (int i = 0; i < 30; ++i) script.Page(1000, absl::StrCat("c", i));
  const std::vector<std::string> blocked = script.Sent();
  script.file = FileIs::kReady;
  script.Pass(absl::Seconds(1));

  EXPECT_THAT(blocked, ElementsAre("close pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open pull"));
  EXPECT_EQ(script.versions_applied, 21'000);
}

TEST(SessionPullTest, WantsNoMorePagesWhileSomeWait) {
  Script script;
  Connect(&script);
  script.file = FileIs::kBlockedByApp;

  // Such that no two are written as one.
  const int size = static_cast<int>(PageGate::kLargePage) - 1;
  for (size_t i = 1; i < Session::kPagesAhead; ++i) script.Page(size, absl::StrCat("c", i));
  const bool before = script.WantsPages();
  script.Page(size, "more");
  const bool full = script.WantsPages();
  // Nobody listens meanwhile: silence says nothing about the link.
  script.Pass(absl::Minutes(3));
  const std::vector<std::string> sent = script.Sent();
  script.file = FileIs::kReady;
  script.Pass(absl::Seconds(1));

  EXPECT_TRUE(before);
  EXPECT_FALSE(full);
  EXPECT_THAT(sent, Not(Contains("close pull")));
  EXPECT_TRUE(script.WantsPages());
  EXPECT_EQ(script.versions_applied, size * static_cast<int>(Session::kPagesAhead));
  script.Pass(absl::Seconds(50));
  EXPECT_THAT(script.Sent(), Not(Contains("close pull")));
}

TEST(SessionPullTest, WritesLargePagesThatWaitAsOneWhileTheAppRests) {
  Script script;
  Connect(&script);
  script.file = FileIs::kBlockedByApp;
  script.Page(1000, "c1");
  script.Page(1000, "c2");
  script.Page(1000, "c3");
  script.file = FileIs::kReady;
  const int before = script.pages_applied;

  script.Pass(absl::Seconds(1));

  EXPECT_EQ(script.pages_applied - before, 1);
  EXPECT_EQ(script.versions_applied, 3000);
  EXPECT_EQ(script.applied_cursor, "c3");
}

TEST(SessionPullTest, WritesNoTwoLargePagesAsOneWhileTheAppWrites) {
  Script script;
  Connect(&script);
  script.Page(1000, "c0");
  script.file = FileIs::kBlockedByApp;
  ++script.rows_logged;
  script.Page(1000, "c1");
  script.Page(1000, "c2");
  script.file = FileIs::kReady;
  const int before = script.pages_applied;

  script.Pass(absl::Seconds(5), [&] { ++script.rows_logged; });

  EXPECT_EQ(script.pages_applied - before, 2);
  EXPECT_EQ(script.versions_applied, 3000);
}

TEST(SessionPullTest, WritesNoMoreAsOneThanTheAppWaitsFor) {
  Script script;
  Connect(&script);
  // A page takes so long that two of them are all that may be written at once.
  script.apply_time = Session::kJoinedTimeMax * 0.5;
  script.Page(1000, "c0");
  script.file = FileIs::kBlockedByApp;
  for (int i = 1; i <= 4; ++i) script.Page(1000, absl::StrCat("c", i));
  script.file = FileIs::kReady;
  const int before = script.pages_applied;

  script.Pass(absl::Seconds(5));

  EXPECT_EQ(script.pages_applied - before, 2);
  EXPECT_EQ(script.versions_applied, 5000);
}

TEST(SessionPullTest, WritesNoMoreBytesAsOneThanItsLimit) {
  Script script;
  Connect(&script);
  // Three of them are just above it.
  script.page_bytes = Session::kJoinedBytesMax / 3 + 1;
  script.file = FileIs::kBlockedByApp;
  for (int i = 1; i <= 4; ++i) script.Page(1000, absl::StrCat("c", i));
  script.file = FileIs::kReady;
  const int before = script.pages_applied;

  script.Pass(absl::Seconds(5));

  EXPECT_EQ(script.pages_applied - before, 2);
  EXPECT_EQ(script.versions_applied, 4000);
}

TEST(SessionPullTest, WritesPagesOfTwoHistoriesApart) {
  Script script;
  Connect(&script);
  script.file = FileIs::kBlockedByApp;
  script.Page(3, "c1");
  script.pull_epoch = "other";
  script.Page(3, "c2");
  script.file = FileIs::kReady;
  const int before = script.pages_applied;

  script.Pass(absl::Seconds(1));

  EXPECT_EQ(script.pages_applied - before, 2);
}

TEST(SessionPullTest, SettlesEveryOpenBatchBeforeItRebaselines) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.ClosePush(EpochChanged(42));
  const std::vector<std::string> settling = script.Sent();
  const std::vector<std::string> done_before = script.done;
  script.Commit(1);  // Must wait.
  script.Answer("b1", /*voided=*/true);
  const std::vector<std::string> pulling = script.Sent();
  script.CaughtUp();

  EXPECT_THAT(settling, ElementsAre("close pull", "open push", "settle b1"));
  EXPECT_THAT(done_before, IsEmpty());
  EXPECT_THAT(script.done, ElementsAre("void b1", "rebaseline 42"));
  EXPECT_THAT(pulling, ElementsAre("open pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("batch b2"));
}

TEST(SessionPullTest, RebaselinesAtOnceWhenNothingIsOpen) {
  Script script;
  Connect(&script);

  script.ClosePull(EpochChanged(7));

  EXPECT_THAT(script.done, ElementsAre("rebaseline 7"));
  EXPECT_THAT(script.Sent(), Contains("open pull"));
}

TEST(SessionPullTest, BacksOffFromAServiceThatKeepsChangingItsHistory) {
  Script script;
  Connect(&script);
  int opened = 0;

  script.ClosePull(EpochChanged(7));
  script.Pass(absl::Minutes(10), [&] {
    opened += script.pull_open ? 1 : 0;
    if (script.pull_open) script.ClosePull(EpochChanged(7));
  });

  EXPECT_GT(opened, 10);
  EXPECT_LT(opened, 60);
}

TEST(SessionPullTest, SettlesAndPullsAnewWhenTheFileWasSetBack) {
  Script script;
  Connect(&script);
  script.Commit(1);
  script.Sent();

  script.set_back = true;
  script.Do(events::CommitSeen{});
  const std::vector<std::string> settling = script.Sent();
  script.Answer("b1");
  const std::vector<std::string> pulling = script.Sent();
  script.CaughtUp();
  script.Commit(1);

  EXPECT_THAT(settling, ElementsAre("close push", "close pull", "open push", "settle b1"));
  EXPECT_THAT(pulling, ElementsAre("open pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("batch b2"));
}

TEST(SessionPullTest, GoesOnWithARecoveryOfAnEarlierLife) {
  Script script;
  script.Write(1);

  script.Start(/*in_recovery=*/true);
  const std::vector<std::string> before = script.Sent();
  script.CaughtUp();

  EXPECT_THAT(before, ElementsAre("open pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open push", "batch b1"));
}

TEST(SessionPullTest, FetchesWhatIsStaleAndThenNoMore) {
  Script script;
  Connect(&script);
  script.to_fetch = {EntityKey{"Patient", "1"}};

  script.Page(1, "c2");
  const std::vector<std::string> sent = script.Sent();
  script.Do(events::FetchArrived{});
  script.Pass(absl::Seconds(1));

  EXPECT_THAT(sent, ElementsAre("fetch 1"));
  EXPECT_THAT(script.Sent(), IsEmpty());
}

TEST(SessionPullTest, FetchesAgainAfterTheLinkBroke) {
  Script script;
  Connect(&script);
  script.to_fetch = {EntityKey{"Patient", "1"}};
  script.Page(1, "c2");
  script.Sent();

  script.Do(events::FetchFailed{absl::UnavailableError("reset")});
  script.Pass(absl::Seconds(5));

  EXPECT_THAT(script.Sent(), Contains("fetch 1"));
}

TEST(SessionRunTest, PushesThenPullsAnewThenAnswers) {
  Script script;
  Connect(&script);
  script.Write(2);

  script.Request();
  const std::vector<std::string> pushing = script.Sent();
  script.Answer("b1");
  const std::vector<std::string> pulling = script.Sent();
  script.Page(3, "c2");
  const bool early = !script.results.empty();
  script.CaughtUp();

  EXPECT_THAT(pushing, ElementsAre("batch b1"));
  EXPECT_THAT(pulling, ElementsAre("close pull", "open pull"));
  EXPECT_FALSE(early);
  ASSERT_THAT(script.results, SizeIs(1));
  EXPECT_TRUE(script.results[0].success());
  EXPECT_EQ(script.results[0].push.success, 2u);
  EXPECT_EQ(script.results[0].pull.applied, 3u);
}

TEST(SessionRunTest, ASecondRequestJoinsTheFirst) {
  Script script;
  Connect(&script);
  script.Write(1);

  script.Request();
  script.Request();
  script.Answer("b1");
  script.CaughtUp();

  EXPECT_THAT(script.results, SizeIs(2));
  EXPECT_THAT(script.open, IsEmpty());
}

TEST(SessionRunTest, WithoutADaemonItDoesOnlyWhatIsAsked) {
  Script script(OnRequest());
  script.Start();
  script.Commit(1);
  script.Pass(absl::Hours(1));
  const std::vector<std::string> before = script.Sent();

  script.Request();
  script.Answer("b1");
  const bool follows = script.follows;
  script.CaughtUp();

  EXPECT_THAT(before, IsEmpty());
  EXPECT_FALSE(follows);
  EXPECT_THAT(script.Sent(),
              ElementsAre("open push", "batch b1", "open pull", "close push", "close pull"));
  EXPECT_THAT(script.results, SizeIs(1));
  EXPECT_EQ(script.synced, 1);
}

TEST(SessionRunTest, SendsWhatARebaselineOffersBeforeItAnswers) {
  Script script(OnRequest());
  script.Start();
  script.Request();
  script.ClosePull(EpochChanged(7));
  script.Write(1);  // What the re-baseline offers.

  script.CaughtUp();
  const bool early = !script.results.empty();
  script.Answer("b1");
  script.CaughtUp();

  EXPECT_FALSE(early);
  ASSERT_THAT(script.results, SizeIs(1));
  EXPECT_EQ(script.results[0].push.success, 1u);
  EXPECT_THAT(script.open, IsEmpty());
}

TEST(SessionRunTest, APushOnANewDeviceReadsTheFeedFirst) {
  Script script(OnRequest());
  script.StartNew();
  script.Write(1);

  script.Request(/*push=*/true, /*pull=*/false);
  const std::vector<std::string> before = script.Sent();
  script.CaughtUp();
  script.Answer("b1");

  EXPECT_THAT(before, ElementsAre("open pull"));
  EXPECT_THAT(script.Sent(), ElementsAre("open push", "batch b1", "close push", "close pull"));
  EXPECT_THAT(script.results, SizeIs(1));
}

TEST(SessionRunTest, LooksAtTheFilesAtOnceWhenAskedAfterALocalFailure) {
  SeededRng rng(1);
  Session session(OnRequest(), rng);
  const Moment now{absl::Seconds(100), absl::FromUnixSeconds(4'000'000'000)};
  const auto is_local = [](const Action& action) {
    return std::holds_alternative<actions::Drain>(action) ||
           std::holds_alternative<actions::ListOpen>(action);
  };
  session.Handle(events::Started{false, true}, now);
  session.Handle(events::CommitSeen{}, now);
  const std::vector<Action> failed =
      session.Handle(events::LocalFailed{absl::ResourceExhaustedError("full")}, now);

  const std::vector<Action> asked = session.Handle(events::Requested{1, true, true}, now);

  EXPECT_FALSE(std::any_of(failed.begin(), failed.end(), is_local));
  EXPECT_TRUE(std::any_of(asked.begin(), asked.end(), is_local));
}

// The app held its file once, and then the agent's own disk was full: what is in
// the way now is the disk, however long the app's lock has been forgotten.
TEST(SessionRunTest, BlamesTheAppNoLongerWhenALocalFailureCameAfterItsLock) {
  SeededRng rng(1);
  Session session(OnRequest(), rng);
  Moment now{absl::Seconds(100), absl::FromUnixSeconds(4'000'000'000)};
  const auto is_local = [](const Action& action) {
    return std::holds_alternative<actions::Drain>(action) ||
           std::holds_alternative<actions::ListOpen>(action);
  };
  session.Handle(events::Started{false, true}, now);
  session.Handle(events::CommitSeen{}, now);
  session.Handle(events::Drained{FileIs::kBlockedByApp, 0}, now);
  const bool blocked = session.View().blocked_by_app;
  now.monotonic += absl::Seconds(1);
  session.Handle(events::Tick{}, now);
  session.Handle(events::LocalFailed{absl::ResourceExhaustedError("full")}, now);

  const std::vector<Action> asked = session.Handle(events::Requested{1, true, true}, now);

  EXPECT_TRUE(blocked);
  EXPECT_FALSE(session.View().blocked_by_app);
  EXPECT_TRUE(std::any_of(asked.begin(), asked.end(), is_local));
}

TEST(SessionRunTest, SaysSoonThatTheServiceIsAway) {
  Script script(OnRequest());
  script.Start();
  script.Write(1);

  script.Request();
  script.Pass(absl::Seconds(5), [&] { script.Cut(absl::UnavailableError("refused")); });

  ASSERT_THAT(script.results, SizeIs(1));
  EXPECT_EQ(script.results[0].error.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(script.open["b1"], SizeIs(1));
}

TEST(SessionRunTest, TriesFailedItemsWhateverTheirTimeButOnlyOnce) {
  Script script;
  Connect(&script);
  script.refuses = [](const Script::Item&) { return true; };
  script.Commit(1);
  script.Answer("b1");
  script.Sent();

  script.Request();
  const std::vector<std::string> sent = script.Sent();
  script.Answer("b2");
  script.CaughtUp();

  EXPECT_THAT(sent, ElementsAre("batch b2"));
  EXPECT_THAT(script.Sent(), Not(Contains("batch b3")));
  ASSERT_THAT(script.results, SizeIs(1));
  EXPECT_EQ(script.results[0].push.failed, 1u);
}

TEST(SessionRunTest, GivesUpWhenTheAppHoldsItsFileButTheCycleDoesNot) {
  Script script;
  Connect(&script);
  script.Write(1);
  script.file = FileIs::kBlockedByApp;

  script.Request();
  for (int i = 0; i < 2; ++i) {
    script.Pass(absl::Seconds(16));
    script.Heartbeat();
  }
  script.file = FileIs::kReady;
  script.Pass(absl::Seconds(1));

  ASSERT_THAT(script.results, SizeIs(1));
  EXPECT_EQ(ReasonOf(script.results[0].error), "BLOCKED_BY_APP");
  EXPECT_THAT(script.Sent(), Contains("batch b1"));
}

TEST(SessionRunTest, WorksWhilePausedAndStaysPaused) {
  Script script;
  Connect(&script);
  script.Do(events::Paused{});
  script.Write(1);
  script.Sent();

  script.Request();
  script.Answer("b1");
  script.CaughtUp();
  script.Sent();
  script.Commit(1);

  EXPECT_THAT(script.results, SizeIs(1));
  EXPECT_THAT(script.Sent(), IsEmpty());
  EXPECT_TRUE(script.View().paused);
}

TEST(SessionRunTest, ProgressNeverExceedsWhatIsKnown) {
  Script script;
  script.Start();

  for (uint64_t remaining : {900, 800, 0}) {
    script.Page(100, absl::StrCat("c", remaining), remaining);
    const SessionView view = script.View();
    EXPECT_LE(view.pull_done, view.pull_known);
    EXPECT_EQ(view.pull_known, view.pull_done + remaining);
  }
}

}  // namespace
}  // namespace ptdoc::sync
