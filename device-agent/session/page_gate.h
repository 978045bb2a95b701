#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace ptdoc::sync {

// When the next large page may be written into the app's file. SQLite has one writer:
// while a page is written the app's own commit waits. A person does not feel that; an app
// that works through thousands of rows would at every commit. So while the app writes,
// large pages come so rarely that fewer than one in a hundred of its commits meets one.
// Pure; times are monotonic.
class PageGate {
 public:
  // Smaller ones are over in a moment.
  static constexpr size_t kLargePage = 64;  // versions
  // Rows that the app writes between two pages.
  static constexpr int64_t kRowsBetween = 300;
  // So long without one, and its work has ended. (An app that met a page looks again after
  // up to 50 ms: SQLite's own waiting.)
  static constexpr absl::Duration kQuiet = absl::Milliseconds(60);
  // So long without one, and it was not at work.
  static constexpr absl::Duration kAtRest = absl::Seconds(1);
  // What others changed comes in all the same.
  static constexpr absl::Duration kWaitMax = absl::Seconds(2);
  static constexpr absl::Duration kLookEvery = absl::Milliseconds(10);

  // A large page waits; the app has logged `rows` rows so far.
  void Looked(absl::Duration now, int64_t rows);
  // A page was written, with so many versions.
  void Wrote(absl::Duration now, size_t versions);
  // True if it may be written now, by what was seen last.
  bool is_open() const { return open_; }
  // True if the app had not written for a while when it was last looked at.
  bool app_rests() const { return app_rests_; }
  // When to look (again).
  absl::Duration look_at() const { return look_at_; }

 private:
  bool open_ = false;
  bool app_rests_ = false;
  absl::Duration look_at_ = -absl::InfiniteDuration();
  std::optional<int64_t> rows_;  // none: not looked at yet
  int64_t rows_at_page_ = 0;
  absl::Duration last_row_ = -absl::InfiniteDuration();
  absl::Duration last_page_ = -absl::InfiniteDuration();
};

}  // namespace ptdoc::sync
