#include "device-agent/session/session.h"

#include <algorithm>
#include <utility>

#include "common/base/backoff.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "device-agent/session/verdict.h"

namespace ptdoc::sync {

std::vector<Action> Session::Handle(Event event, Moment now, bool more) {
  now_ = now;
  out_.clear();
  CheckTimers();
  std::visit([this](auto&& e) { On(std::forward<decltype(e)>(e)); }, std::move(event));
  if (!more) Decide();
  return std::move(out_);
}

// --- What people, the app and the machine do.

void Session::On(events::Started event) {
  started_ = true;
  has_cursor_ = event.has_cursor;
  if (event.recovering) recover_ = Recover::kSettle;
  if (!options_.automatic) return;
  interval_at_ = now_.monotonic + options_.interval;
  WantEverything();
}

void Session::WantEverything() {
  drain_wanted_ = take_wanted_ = fetch_wanted_ = report_wanted_ = true;
  fetch_keys_.clear();
}

void Session::On(events::CommitSeen) {
  drain_wanted_ = true;
  if (options_.automatic) take_wanted_ = true;
  if (!blocked_since_.has_value()) file_not_before_ = now_.monotonic;
}

void Session::On(events::Reconnected) {
  push_.not_before = pull_.not_before = fetch_.not_before = now_.monotonic;
  if (options_.automatic) WantEverything();
}

void Session::On(events::TokenChanged) {
  // A device that was refused for good may have been let in again.
  halt_ = Halt::kNone;
  probe_at_ = absl::InfiniteDuration();
  On(events::Reconnected{});
  // What is open goes on with the old one, and with what that includes.
  ClosePush();
  ClosePull();
}

void Session::On(events::QueueChanged) {
  report_wanted_ = true;
  if (options_.automatic || request_.has_value()) take_wanted_ = fetch_wanted_ = true;
}

void Session::On(events::Paused event) {
  paused_ = true;
  paused_until_ = now_.monotonic + event.duration;
}

void Session::On(events::Resumed) {
  paused_ = false;
  paused_until_ = absl::InfiniteDuration();
  On(events::Reconnected{});
}

void Session::On(events::Requested event) {
  if (!request_.has_value()) {
    request_.emplace();
    request_->started = now_.monotonic;
  }
  request_->ids.push_back(event.id);
  // Who joins in the second half asks for nothing that a first half would give.
  if (!request_->pulling) request_->push |= event.push;
  request_->pull |= event.pull;
  halt_ = Halt::kNone;
  probe_at_ = absl::InfiniteDuration();
  push_.not_before = pull_.not_before = fetch_.not_before = now_.monotonic;
  // Whoever asks may just have made room, or put rights right.
  if (!blocked_since_.has_value()) file_not_before_ = now_.monotonic;
  WantEverything();
}

// --- What local actions met.

bool Session::Met(FileIs file, Work work) {
  PT_CHECK(work_ == work);
  work_ = Work::kNone;
  local_error_ = absl::OkStatus();
  if (file == FileIs::kReady || file == FileIs::kRecovering) {
    file_failures_ = 0;
    blocked_since_.reset();
    return true;
  }
  WantAgain(work);
  ++file_failures_;
  if (file == FileIs::kAway) {
    blocked_since_.reset();
    file_not_before_ = now_.monotonic + options_.interval;
    FailRequest(ReasonError(absl::StatusCode::kFailedPrecondition, "FILE_AWAY",
                            "The app's file cannot be read. Nothing was changed, and what waits "
                            "stays in the queue. `device-agent status` says why."));
    return false;
  }
  if (!blocked_since_.has_value()) blocked_since_ = now_.monotonic;
  const absl::Duration most =
      std::min(kBlockedDelayMax, kBlockedDelayMin * (1 << std::min(file_failures_, 8)));
  file_not_before_ = now_.monotonic + most * (0.5 + static_cast<double>(rng_.Below(512)) / 1024);
  return false;
}

void Session::WantAgain(Work work) {
  switch (work) {
    case Work::kDrain:
      drain_wanted_ = true;
      break;
    case Work::kList:
      list_wanted_ = true;
      break;
    case Work::kTake:
      drain_wanted_ = take_wanted_ = true;
      break;
    case Work::kListFetch:
      fetch_wanted_ = true;
      break;
    case Work::kRebaseline:
      begin_wanted_ = true;
      break;
    default:  // What they work on is kept until it is done.
      break;
  }
}

void Session::On(const events::LocalFailed& event) {
  const Work work = work_;
  work_ = Work::kNone;
  WantAgain(work);
  // Whatever it is now, it is not the app that holds its file.
  blocked_since_.reset();
  local_error_ = event.status;
  const Backoff backoff{absl::Seconds(1), kBackoffMaxIdle};
  file_not_before_ =
      now_.monotonic + absl::Milliseconds(10) + backoff.Delay(++file_failures_, rng_);
  FailRequest(event.status);
}

// The app has committed something that no log row announces.
void Session::MaintainIn(std::optional<absl::Duration> scan_due_in) {
  if (!options_.automatic || !scan_due_in.has_value()) return;
  maintain_at_ = std::min(maintain_at_, now_.monotonic + std::max(*scan_due_in, kScanSliceEvery));
}

void Session::On(events::Drained event) {
  if (!Met(event.file, Work::kDrain)) return;
  MaintainIn(event.scan_due_in);
  if (event.file == FileIs::kRecovering) EnterRecovery(false, 0);
  fetch_wanted_ |= event.wants_fetch;
  drain_wanted_ |= event.more;
  if (event.items == 0) return;
  last_write_ = now_.monotonic;
  report_wanted_ = true;
  if (options_.automatic) take_wanted_ = true;
  // An app that writes is not kept waiting for the long backoff of idle hours.
  const absl::Duration soon = now_.monotonic + kBackoffMaxWriting;
  push_.not_before = std::min(push_.not_before, soon);
  pull_.not_before = std::min(pull_.not_before, soon);
}

void Session::On(events::Listed event) {
  if (!Met(FileIs::kReady, Work::kList)) return;
  open_.clear();
  const bool settle = settle_all_ || recover_ != Recover::kNone;
  for (events::OpenBatch& batch : event.batches) {
    if (settle) batch.in_memory = false;
    open_.push_back(Open{std::move(batch), false, false, {}});
  }
  settle_all_ = false;
}

void Session::On(events::Took event) {
  if (!Met(event.file, Work::kTake)) return;
  MaintainIn(event.scan_due_in);
  if (event.file == FileIs::kRecovering) return EnterRecovery(false, 0);
  due_at_ = absl::InfiniteDuration();
  if (event.next_due_in.has_value()) {
    due_at_ = now_.monotonic + std::max(*event.next_due_in, absl::Milliseconds(1));
  }
  fetch_wanted_ |= event.wants_fetch;
  if (event.batch_ids.empty()) {
    take_wanted_ |= event.more;  // A long log is drained first.
    return;
  }
  last_write_ = now_.monotonic;
  report_wanted_ = true;
  take_wanted_ |= event.more;
  for (std::string& id : event.batch_ids) {
    open_.push_back(Open{events::OpenBatch{std::move(id), true}, false, false, {}});
  }
}

void Session::On(events::Finished event) {
  PT_CHECK(event.answers <= answers_.size());
  answers_.erase(answers_.begin(), answers_.begin() + static_cast<ptrdiff_t>(event.answers));
  CountFinished(&event);
  if (!Met(event.file, Work::kFinish)) return;
  if (event.file == FileIs::kRecovering) return EnterRecovery(false, 0);
  take_wanted_ = fetch_wanted_ = report_wanted_ = true;
  fetch_keys_.clear();
}

void Session::CountFinished(events::Finished* event) {
  push_done_ += event->counts.total();
  if (!request_.has_value()) return;
  // From the first refusal on the items' own times hold: one run is not three attempts.
  if (event->counts.failed > 0) request_->ignore_next_attempt = false;
  request_->result.push.success += event->counts.success;
  request_->result.push.failed += event->counts.failed;
  request_->result.push.conflicts += event->counts.conflicts;
  for (ConflictLine& line : event->conflicts) {
    request_->result.conflicts.push_back(std::move(line));
  }
}

void Session::On(events::LookedAtApp event) {
  if (Met(FileIs::kReady, Work::kLook)) gate_.Looked(now_.monotonic, event.rows);
}

void Session::On(events::Applied event) {
  gate_.Wrote(now_.monotonic, event.counts.applied);
  if (!Met(event.file, Work::kApply)) return;
  if (event.file == FileIs::kRecovering) return EnterRecovery(false, 0);
  if (pages_.empty()) return;  // Dropped meanwhile: another history.
  const std::shared_ptr<const IncomingPage> page = std::move(pages_.front());
  if (!WantsPages()) pull_.heard_at = now_.monotonic;
  pages_.pop_front();
  buffered_versions_ -= page->versions.size();
  if (page->versions.size() >= PageGate::kLargePage) {
    apply_time_ = (now_.monotonic - apply_began_) / static_cast<int64_t>(page->versions.size());
  }
  pull_done_ += page->versions.size();
  if (event.items_made) take_wanted_ = true;
  fetch_wanted_ = true;
  fetch_keys_.clear();
  if (request_.has_value()) {
    request_->result.pull.applied += event.counts.applied;
    request_->result.pull.skipped += event.counts.skipped;
    request_->result.pull.conflicts += event.counts.conflicts;
  }
  if (!page->cursor.empty()) has_cursor_ = true;
  if (!page->caught_up) return;
  feed_at_end_ = true;
  if (request_.has_value() && request_->pulling) request_->caught_up |= opened_for_request_;
  if (recover_ != Recover::kPull) return;
  recover_ = Recover::kNone;
  WantEverything();
  // What is offered now belongs to the first half of the run that found out.
  if (request_.has_value() && request_->push) request_->pulling = request_->caught_up = false;
}

void Session::On(events::ListedFetch event) {
  if (!Met(FileIs::kReady, Work::kListFetch)) return;
  // What a fetch did not cure, the next one does not cure at once either.
  if (event.keys.empty() || event.keys == fetch_keys_) return;
  fetch_keys_ = event.keys;
  OpenStream(fetch_);
  out_.push_back(actions::Fetch{std::move(event.keys)});
}

void Session::On(events::AppliedFetched event) {
  if (!Met(event.file, Work::kApplyFetched)) return;
  fetched_.reset();
  fetch_wanted_ = true;
  if (event.items_made) take_wanted_ = true;
  if (event.file == FileIs::kRecovering) return EnterRecovery(false, 0);
  if (!request_.has_value()) return;
  request_->result.pull.applied += event.counts.applied;
  request_->result.pull.skipped += event.counts.skipped;
  request_->result.pull.conflicts += event.counts.conflicts;
}

void Session::On(events::BegunRebaseline) {
  if (!Met(FileIs::kReady, Work::kRebaseline)) return;
  recover_ = Recover::kPull;
}

void Session::On(events::Maintained event) {
  if (!Met(FileIs::kReady, Work::kMaintain)) return;
  // In slices, so that comparing a large file never holds up the cycle.
  maintain_at_ = event.more ? now_.monotonic + kSliceEvery : absl::InfiniteDuration();
  MaintainIn(event.scan_due_in);
  if (event.items_made && options_.automatic) take_wanted_ = true;
}

// --- What the service sends.

void Session::On(events::AnswerArrived event) {
  if (push_.state != StreamState::kOpen) return;
  Heard(push_);
  const auto it = std::find_if(open_.begin(), open_.end(), [&](const Open& open) {
    return open.batch.id == event.answer.batch_id;
  });
  if (it == open_.end()) return;  // Answered before.
  if (it->alone) answer_time_ = now_.monotonic - it->sent_at;
  open_.erase(it);
  answers_.push_back(std::make_shared<IncomingAnswer>(std::move(event.answer)));
}

void Session::On(events::PageArrived event) {
  if (pull_.state != StreamState::kOpen) return;
  Heard(pull_);
  IncomingPage& page = event.page;
  if (page.remaining.has_value()) pull_remaining_ = *page.remaining;
  const bool whole = page.batch_end || page.caught_up;
  buffered_versions_ += page.versions.size();
  if (!partial_.has_value()) {
    partial_ = std::move(page);
  } else {
    Append(std::move(page), &*partial_);
  }
  // A heartbeat, or the joined messages of a batch that goes on.
  if (!whole) {
    if (partial_->versions.empty()) partial_.reset();
    return;
  }
  const bool news = !partial_->versions.empty() || partial_->cursor != last_cursor_ ||
                    (partial_->caught_up && !end_arrived_);
  end_arrived_ |= partial_->caught_up;
  last_cursor_ = partial_->cursor;
  if (news) pages_.push_back(std::make_shared<IncomingPage>(std::move(*partial_)));
  partial_.reset();
  // The rest stands in the feed; it is read again from the cursor.
  if (buffered_versions_ > kBufferedVersionsMax) ClosePull();
}

void Session::On(const events::PushClosed& event) {
  if (push_.state == StreamState::kClosed) return;
  const bool early = event.status.ok() && push_.state == StreamState::kOpen && !open_.empty() &&
                     open_.front().sent;
  open_.clear();
  list_wanted_ = true;
  Closed(push_, early ? absl::UnavailableError("the stream ended early") : event.status);
}

void Session::On(const events::PullClosed& event) {
  if (pull_.state == StreamState::kClosed) return;
  const bool early = event.status.ok() && pull_.state == StreamState::kOpen && !end_arrived_;
  if (partial_.has_value()) buffered_versions_ -= partial_->versions.size();
  partial_.reset();
  Closed(pull_, early ? absl::UnavailableError("the feed ended early") : event.status);
}

void Session::On(events::FetchArrived event) {
  if (fetch_.state != StreamState::kOpen) return;
  Heard(fetch_);
  fetch_.state = StreamState::kClosed;
  if (!fetch_discarded_ || PT_PLANTED("accept the answer of an old epoch")) {
    fetched_ = std::make_shared<IncomingFetch>(std::move(event.fetch));
  }
  fetch_discarded_ = false;
}

void Session::On(const events::FetchFailed& event) {
  if (fetch_.state != StreamState::kOpen) return;
  fetch_discarded_ = false;
  fetch_wanted_ = true;
  fetch_keys_.clear();
  Closed(fetch_, event.status);
}

// --- Streams and their ends.

void Session::OpenStream(Stream& stream) {
  stream.state = StreamState::kOpen;
  stream.opened_at = stream.heard_at = now_.monotonic;
  stream.heard = stream.dead = false;
}

void Session::Heard(Stream& stream) {
  const bool first = !stream.heard;
  stream.heard = true;
  stream.heard_at = now_.monotonic;
  stream.failures = 0;
  if (request_.has_value()) request_->failures = 0;
  if (!first || !link_down_) return;
  // The link is back: whoever waited for it need not wait any longer.
  link_down_ = false;
  push_.not_before = pull_.not_before = fetch_.not_before = now_.monotonic;
  take_wanted_ |= options_.automatic;
}

void Session::Closed(Stream& stream, const absl::Status& status) {
  const bool by_us = stream.state == StreamState::kClosing && !stream.dead;
  const bool dead = stream.dead;
  stream.state = StreamState::kClosed;
  stream.heard = stream.dead = false;
  if (by_us) return;
  Judge(stream, dead ? absl::DeadlineExceededError("nothing came from the service") : status);
}

void Session::Judge(Stream& stream, const absl::Status& status) {
  switch (VerdictOf(status)) {
    case Verdict::kEnded:
    case Verdict::kSoon:
      // Another instance is up in a moment, or never.
      if (++stream.failures > 3) return BackOff(stream, status, absl::ZeroDuration());
      stream.not_before =
          now_.monotonic + absl::Milliseconds(50 + static_cast<int64_t>(rng_.Below(950)));
      return;
    case Verdict::kFateUnknown:
      link_down_ = true;
      return BackOff(stream, status, absl::ZeroDuration());
    case Verdict::kWait:
      return BackOff(stream, status, RetryAfter(status));
    case Verdict::kToken:
      return Halted(Halt::kToken, status);
    case Verdict::kStop:
      return Halted(Halt::kStop, status);
    case Verdict::kRebaseline:
      // Twice without having caught up: the service is not sure of its history.
      if (recover_ != Recover::kNone) BackOff(stream, status, absl::ZeroDuration());
      return EnterRecovery(true, SharedRevision(status));
    case Verdict::kTooLarge:
      if (&stream == &push_) return CutBatches(status);
      return BackOff(stream, status, absl::ZeroDuration());
  }
}

void Session::BackOff(Stream& stream, const absl::Status& status, absl::Duration at_least) {
  const bool writing = now_.monotonic - last_write_ < kWriting;
  const Backoff backoff{absl::Seconds(1), writing ? kBackoffMaxWriting : kBackoffMaxIdle};
  const absl::Duration delay = backoff.Delay(++stream.failures, rng_);
  stream.not_before = now_.monotonic + std::max(delay, at_least);
  last_error_ = status;
  // A stream that idled may be dead without anybody having noticed: one
  // failure proves nothing.
  if (request_.has_value() && ++request_->failures >= 2) FailRequest(status);
}

void Session::Halted(Halt halt, const absl::Status& status) {
  halt_ = halt;
  last_error_ = status;
  probe_at_ = halt == Halt::kToken ? now_.monotonic + kTokenProbe : absl::InfiniteDuration();
  FailRequest(status);
}

void Session::CutBatches(const absl::Status& status) {
  const size_t changes = take_changes_ == 0 ? options_.batch_changes : take_changes_;
  const size_t bytes = take_bytes_ == 0 ? options_.batch_bytes : take_bytes_;
  if (changes <= 1) return Halted(Halt::kStop, status);
  take_changes_ = std::max<size_t>(changes / 2, 1);
  take_bytes_ = std::max<size_t>(bytes / 2, 1);
  // The batch was not taken; a settle makes its id void, so that its items can
  // go in smaller ones.
  settle_all_ = true;
}

void Session::EnterRecovery(bool begin, Revision shared_revision) {
  recover_ = Recover::kSettle;
  begin_wanted_ |= begin;
  if (begin) shared_revision_ = shared_revision;
  ClosePush();
  ClosePull();
  list_wanted_ = true;
  pages_.clear();
  partial_.reset();
  buffered_versions_ = 0;
  feed_at_end_ = false;
  fetched_.reset();
  fetch_discarded_ = fetch_.state == StreamState::kOpen;
}

void Session::ClosePush() {
  if (push_.state != StreamState::kOpen) return;
  push_.state = StreamState::kClosing;
  out_.push_back(actions::ClosePush{});
}

void Session::ClosePull() {
  if (pull_.state != StreamState::kOpen) return;
  pull_.state = StreamState::kClosing;
  out_.push_back(actions::ClosePull{});
}

}  // namespace ptdoc::sync
