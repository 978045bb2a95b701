// When large pages wait for an app that is at work: by the gate alone, and by a session.

#include "device-agent/session/page_gate.h"

#include <gtest/gtest.h>

#include "tests/device-agent/session/script.h"

namespace ptdoc::sync {
namespace {

constexpr absl::Duration kStep = absl::Milliseconds(2);
constexpr absl::Duration kStart = absl::Seconds(100);

// An app that writes a row every kStep, and who looks at it as often.
struct App {
  PageGate gate;
  absl::Duration now = kStart;
  int64_t rows = 5000;

  App() { gate.Looked(now, rows); }
  void Write(int count) {
    for (int i = 0; i < count; ++i) {
      now += kStep;
      gate.Looked(now, ++rows);
    }
  }
  void Rest(absl::Duration duration) {
    now += duration;
    gate.Looked(now, rows);
  }
  void Page() { gate.Wrote(now, 1000); }
};

TEST(PageGateTest, IsOpenForTheFirstPage) {
  App app;
  app.Write(1);
  EXPECT_TRUE(app.gate.is_open());
}

TEST(PageGateTest, IsClosedAfterAPageUntilSomebodyLooks) {
  App app;
  app.Write(1);
  app.Page();
  EXPECT_FALSE(app.gate.is_open());
  EXPECT_LE(app.gate.look_at(), app.now);
}

TEST(PageGateTest, LetsOnePageAfterTheOtherInWhileTheAppRests) {
  App app;
  app.Write(1);
  app.Rest(PageGate::kAtRest);
  for (int i = 0; i < 10; ++i) {
    app.Page();
    app.Rest(kStep);
    EXPECT_TRUE(app.gate.is_open());
  }
}

TEST(PageGateTest, TakesWhatWasLoggedBeforeForNoWork) {
  App app;
  EXPECT_TRUE(app.gate.app_rests());
  app.Write(1);
  EXPECT_FALSE(app.gate.app_rests());
  app.Rest(PageGate::kAtRest);
  EXPECT_TRUE(app.gate.app_rests());
}

TEST(PageGateTest, LetsOnePageInAmongManyRows) {
  App app;
  app.Write(1);
  app.Page();
  app.Write(PageGate::kRowsBetween - 1);
  EXPECT_FALSE(app.gate.is_open());
  app.Write(1);
  EXPECT_TRUE(app.gate.is_open());
}

TEST(PageGateTest, WaitsUntilTheAppIsQuiet) {
  App app;
  app.Write(1);
  app.Page();
  app.Write(10);
  app.Rest(PageGate::kQuiet - kStep);
  EXPECT_FALSE(app.gate.is_open());
  app.Rest(kStep);
  EXPECT_TRUE(app.gate.is_open());
}

// The app could not write meanwhile, and it sleeps until it tries again.
TEST(PageGateTest, TakesTheTimeOfAPageForNoSilence) {
  App app;
  app.Write(1);
  app.now += absl::Milliseconds(500);
  app.Page();
  app.Rest(kStep);
  EXPECT_FALSE(app.gate.is_open());
}

TEST(PageGateTest, LetsAPageInAfterAWhileAtTheLatest) {
  App app;
  app.Write(1);
  app.Page();
  const absl::Duration page = app.now;
  while (app.now - page < PageGate::kWaitMax - absl::Milliseconds(20)) {
    app.Rest(absl::Milliseconds(18));
    app.Write(1);
    EXPECT_FALSE(app.gate.is_open());
  }
  app.Rest(absl::Milliseconds(20));
  EXPECT_TRUE(app.gate.is_open());
}

TEST(PageGateTest, DoesNotCountSmallPages) {
  App app;
  app.Write(1);
  app.gate.Wrote(app.now, PageGate::kLargePage - 1);
  EXPECT_TRUE(app.gate.is_open());
}

TEST(PageGateTest, HoldsTheSessionsLargePagesWhileTheAppWrites) {
  Script script;
  script.Start();
  script.CaughtUp();
  script.rows_logged = 10;

  script.Page(1000, "c1");
  const int first = script.versions_applied;
  ++script.rows_logged;
  script.Page(1000, "c2");
  script.Pass(absl::Milliseconds(30), [&] { ++script.rows_logged; });
  const int while_it_writes = script.versions_applied;
  script.Pass(PageGate::kQuiet + PageGate::kLookEvery);

  EXPECT_EQ(first, 1000);
  EXPECT_EQ(while_it_writes, 1000);
  EXPECT_EQ(script.versions_applied, 2000);
}

TEST(PageGateTest, LetsTheSessionsSmallPagesPass) {
  Script script;
  script.Start();
  script.CaughtUp();
  script.Page(1000, "c1");
  ++script.rows_logged;
  for (int i = 0; i < 5; ++i) script.Page(3, absl::StrCat("d", i));

  EXPECT_EQ(script.versions_applied, 1015);
}

}  // namespace
}  // namespace ptdoc::sync
