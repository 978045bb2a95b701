#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "common/model/reason.h"
#include "device-agent/session/session.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync {

// A session with a small queue in memory in place of the two files. Local
// actions are answered at once; calls of the peer are written down in `sent`
// and answered by the test.
class Script {
 public:
  explicit Script(SessionOptions options = {}, uint64_t seed = 1)
      : rng_(seed), session_(std::make_unique<Session>(options, rng_)) {}

  // --- The device.
  struct Item {
    int id = 0;
    bool failed = false;
    int retry_count = 0;
    absl::Duration due;
  };
  std::deque<Item> waiting;                       // Pending and Failed
  std::map<std::string, std::vector<Item>> open;  // Processing, by batch
  std::set<std::string> in_memory;
  std::vector<size_t> take_limits;
  std::vector<std::string> sent;  // calls of the peer
  std::vector<std::string> done;  // local actions that changed something
  std::vector<RunResult> results;
  std::vector<EntityKey> to_fetch;
  int64_t rows_logged = 0;
  absl::Duration apply_time;   // of one action
  std::string applied_cursor;  // of what was applied last
  std::string pull_epoch;      // of the pages that come
  size_t page_bytes = 0;       // of each of them
  FileIs file = FileIs::kReady;
  bool follows = false;  // of the last OpenPull
  bool drain_touches = false;
  FakeClock clock;

  void Write(int count) {
    for (int i = 0; i < count; ++i) waiting.push_back(Item{++last_item_, false, 0, {}});
  }

  // Another life of the process: what was in memory is gone.
  void Restart(SessionOptions options = {}) {
    in_memory.clear();
    push_open = pull_open = false;
    session_ = std::make_unique<Session>(options, rng_);
  }

  // --- Events.
  void Do(Event event) {
    events_.push_back(std::move(event));
    while (!events_.empty()) {
      Event next = std::move(events_.front());
      events_.pop_front();
      if (std::holds_alternative<events::PushClosed>(next)) push_open = false;
      if (std::holds_alternative<events::PullClosed>(next)) pull_open = false;
      const Moment now{clock.Monotonic(), clock.Now()};
      for (Action& action : session_->Handle(std::move(next), now)) {
        std::visit([this](const auto& one) { Local(one); }, action);
      }
    }
  }
  void Start(bool in_recovery = false) { Do(events::Started{in_recovery, true}); }
  // A device that never read the feed.
  void StartNew() { Do(events::Started{}); }
  void Commit(int items) {
    Write(items);
    Do(events::CommitSeen{});
  }
  void Request(bool push = true, bool pull = true) {
    Do(events::Requested{++last_request_, push, pull});
  }

  // Lets time pass, with a tick at every deadline.
  void Pass(absl::Duration duration, const std::function<void()>& at_each = nullptr) {
    const absl::Duration end = clock.Monotonic() + duration;
    while (true) {
      const absl::Duration next = session_->Deadline();
      if (next > end) break;
      clock.Advance(next - clock.Monotonic());
      ++ticks;
      Do(events::Tick{});
      if (at_each) at_each();
    }
    clock.Advance(end - clock.Monotonic());
    Do(events::Tick{});
    if (at_each) at_each();
  }
  int ticks = 0;

  // --- The service.
  void Answer(const std::string& batch_id, bool voided = false) {
    IncomingAnswer answer;
    answer.batch_id = batch_id;
    answer.voided = voided;
    Do(events::AnswerArrived{answer});
  }
  void CaughtUp(const std::string& cursor = "end") {
    IncomingPage page;
    page.cursor = cursor;
    page.batch_end = page.caught_up = true;
    page.remaining = 0;
    Do(events::PageArrived{page});
  }
  void Page(int versions, const std::string& cursor, uint64_t remaining = 0) {
    IncomingPage page;
    page.versions.resize(static_cast<size_t>(versions));
    page.epoch = pull_epoch;
    page.bytes = page_bytes;
    page.cursor = cursor;
    page.batch_end = !cursor.empty();
    page.remaining = remaining;
    Do(events::PageArrived{page});
  }
  void Heartbeat() { Do(events::PageArrived{IncomingPage{}}); }
  void ClosePush(const absl::Status& status) { Do(events::PushClosed{status}); }
  void ClosePull(const absl::Status& status) { Do(events::PullClosed{status}); }
  // Both streams end with it, if they are open.
  void Cut(const absl::Status& status) {
    if (push_open) ClosePush(status);
    if (pull_open) ClosePull(status);
  }

  // The calls of the peer since the last call of this.
  std::vector<std::string> Sent() { return std::exchange(sent, {}); }
  SessionView View() const { return session_->View(); }
  bool WantsPages() const { return session_->WantsPages(); }
  absl::Duration Deadline() const { return session_->Deadline(); }

  bool push_open = false;
  bool pull_open = false;
  // What the service answers for an item; the default is that it takes it.
  std::function<bool(const Item&)> refuses;
  int reports = 0;
  int synced = 0;
  int finishes = 0;  // actions
  int pages_applied = 0;
  std::shared_ptr<const IncomingPage> page_applied;  // the last one
  int versions_applied = 0;
  bool set_back = false;  // the next look at the file finds that it was replaced

 private:
  void Reply(Event event) { events_.push_front(std::move(event)); }

  void Local(const actions::Drain&) {
    const FileIs met = std::exchange(set_back, false) ? FileIs::kRecovering : file;
    Reply(events::Drained{met, static_cast<int64_t>(waiting.size()), drain_touches});
  }
  void Local(const actions::ListOpen&) {
    events::Listed listed;
    for (const auto& [id, items] : open) listed.batches.push_back({id, in_memory.contains(id)});
    Reply(std::move(listed));
  }
  void Local(const actions::Take& take) {
    take_limits.push_back(take.changes);
    events::Took took;
    took.file = std::exchange(set_back, false) ? FileIs::kRecovering : file;
    while (took.file == FileIs::kReady && took.batch_ids.size() < take.batches) {
      took.more = false;
      std::vector<Item> batch = TakeItems(take, &took);
      if (batch.empty()) break;
      const std::string& id = took.batch_ids.emplace_back(absl::StrCat("b", ++last_batch_));
      open[id] = std::move(batch);
      in_memory.insert(id);
    }
    Reply(std::move(took));
  }
  std::vector<Item> TakeItems(const actions::Take& take, events::Took* took) {
    std::vector<Item> batch;
    for (auto it = waiting.begin(); it != waiting.end();) {
      const bool due = !it->failed || take.ignore_next_attempt || it->due <= clock.Monotonic();
      if (it->retry_count >= 3 || !due) {
        if (it->retry_count < 3) took->next_due_in = it->due - clock.Monotonic();
        ++it;
        continue;
      }
      if (batch.size() == take.changes) {
        took->more = true;
        break;
      }
      batch.push_back(*it);
      it = waiting.erase(it);
    }
    return batch;
  }
  void Local(const actions::Finish& finish) {
    ++finishes;
    events::Finished finished;
    finished.file = file;
    if (file == FileIs::kReady) {
      finished.answers = finish.answers.size();
      for (const auto& one : finish.answers) {
        const IncomingAnswer& answer = *one;
        done.push_back(absl::StrCat(answer.voided ? "void " : "finish ", answer.batch_id));
        for (Item& item : open[answer.batch_id]) FinishItem(item, answer.voided, &finished.counts);
        open.erase(answer.batch_id);
      }
    }
    Reply(std::move(finished));
  }
  void FinishItem(Item item, bool voided, PushCounts* counts) {
    if (voided) return waiting.push_back(item);
    if (!refuses || !refuses(item)) {
      ++counts->success;
      return;
    }
    ++counts->failed;
    item.failed = true;
    item.due = clock.Monotonic() + absl::Seconds(1 << item.retry_count);
    ++item.retry_count;
    waiting.push_back(item);
  }
  void Local(const actions::LookAtApp&) { Reply(events::LookedAtApp{rows_logged}); }
  void Local(const actions::Apply& apply) {
    events::Applied applied;
    applied.file = file;
    if (file == FileIs::kReady) {
      ++pages_applied;
      clock.Advance(apply_time);
      page_applied = apply.page;
      applied_cursor = apply.page->cursor;
      versions_applied += static_cast<int>(apply.page->versions.size());
      applied.counts.applied = static_cast<uint32_t>(apply.page->versions.size());
    }
    Reply(applied);
  }
  void Local(const actions::ListFetch&) { Reply(events::ListedFetch{to_fetch}); }
  void Local(const actions::ApplyFetched&) {
    to_fetch.clear();
    Reply(events::AppliedFetched{});
  }
  void Local(const actions::BeginRebaseline& begin) {
    done.push_back(absl::StrCat("rebaseline ", begin.shared_revision));
    Reply(events::BegunRebaseline{});
  }
  void Local(const actions::Maintain&) { Reply(events::Maintained{}); }
  void Local(const actions::OpenPush&) {
    push_open = true;
    sent.push_back("open push");
  }
  void Local(const actions::SendBatch& send) { sent.push_back("batch " + send.batch_id); }
  void Local(const actions::SendSettle& send) { sent.push_back("settle " + send.batch_id); }
  void Local(const actions::SendReport&) { ++reports; }
  void Local(const actions::ClosePush&) {
    sent.push_back("close push");
    events_.push_back(events::PushClosed{absl::CancelledError("")});
  }
  void Local(const actions::OpenPull& open_pull) {
    pull_open = true;
    follows = open_pull.follow;
    sent.push_back("open pull");
  }
  void Local(const actions::ClosePull&) {
    sent.push_back("close pull");
    events_.push_back(events::PullClosed{absl::CancelledError("")});
  }
  void Local(const actions::Fetch& fetch) {
    sent.push_back(absl::StrCat("fetch ", fetch.keys.size()));
  }
  void Local(const actions::RecordSync&) { ++synced; }
  void Local(const actions::CompleteRequest& complete) {
    for (size_t i = 0; i < complete.ids.size(); ++i) results.push_back(complete.result);
  }

  SeededRng rng_;
  std::unique_ptr<Session> session_;
  std::deque<Event> events_;
  int last_item_ = 0;
  int last_batch_ = 0;
  uint64_t last_request_ = 0;
};

// Online and with nothing to do.
inline void Connect(Script* script) {
  script->Start();
  script->CaughtUp();
  script->Sent();
}

}  // namespace ptdoc::sync
