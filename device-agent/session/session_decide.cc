// What is to be done now, by the state alone, and when to look again.

#include <algorithm>
#include <utility>

#include "common/model/reason.h"
#include "device-agent/session/session.h"

namespace ptdoc::sync {

// --- Time.

void Session::CheckTimers() {
  const absl::Duration now = now_.monotonic;
  if (paused_ && now >= paused_until_) On(events::Resumed{});
  if (halt_ == Halt::kToken && now >= probe_at_) {
    // The token may be good again (a clock put right, a renewed account).
    halt_ = Halt::kNone;
    probe_at_ = absl::InfiniteDuration();
    push_.not_before = pull_.not_before = fetch_.not_before = now;
  }
  if (now >= due_at_) {
    due_at_ = absl::InfiniteDuration();
    take_wanted_ = true;
  }
  if (now >= maintain_at_) {
    maintain_at_ = absl::InfiniteDuration();
    maintain_wanted_ = true;
  }
  if (now >= interval_at_) {
    interval_at_ = now + options_.interval;
    WantEverything();
    maintain_wanted_ = true;
  }
  CheckSilence();
}

void Session::CheckSilence() {
  const absl::Duration now = now_.monotonic;
  const bool unanswered = !open_.empty() && open_.front().sent;
  if (push_.state == StreamState::kOpen && unanswered &&
      now >= std::max(open_.front().sent_at, push_.heard_at) + kSilenceMax) {
    push_.dead = true;
    ClosePush();
  }
  // While enough pages wait nobody listens.
  if (pull_.state == StreamState::kOpen && WantsPages() && now >= pull_.heard_at + kSilenceMax) {
    pull_.dead = true;
    ClosePull();
  }
  if (request_.has_value() && blocked_since_.has_value() &&
      now >= std::max(*blocked_since_, request_->started) + kRequestBlockedMax) {
    FailRequest(ReasonError(absl::StatusCode::kUnavailable, "BLOCKED_BY_APP",
                            "The app holds its file. Nothing is lost; the agent goes on as soon as "
                            "the app lets go. Run again then."));
  }
}

absl::Duration Session::Deadline() const {
  absl::Duration next = absl::InfiniteDuration();
  // What is due already waits for an event, not for time.
  const auto at = [&](absl::Duration when) {
    if (when > now_.monotonic) next = std::min(next, when);
  };
  at(interval_at_);
  at(due_at_);
  at(maintain_at_);
  at(probe_at_);
  at(file_not_before_);
  if (paused_) at(paused_until_);
  if (LargePageWaits()) at(gate_.look_at());
  for (const Stream* stream : {&push_, &pull_, &fetch_}) {
    if (stream->state == StreamState::kClosed) at(stream->not_before);
  }
  if (push_.state == StreamState::kOpen) {
    at(push_.opened_at + kProbeAfter);
    if (!open_.empty()) at(std::max(open_.front().sent_at, push_.heard_at) + kSilenceMax);
    if (report_wanted_) at(report_not_before_);
  }
  if (pull_.state == StreamState::kOpen && WantsPages()) at(pull_.heard_at + kSilenceMax);
  if (request_.has_value() && blocked_since_.has_value()) {
    at(std::max(*blocked_since_, request_->started) + kRequestBlockedMax);
  }
  return next;
}

// --- Conditions.

bool Session::Allowed() const {
  if (!started_ || halt_ != Halt::kNone) return false;
  return request_.has_value() || (options_.automatic && !paused_);
}

bool Session::FileFree() const {
  return work_ == Work::kNone && now_.monotonic >= file_not_before_;
}

// A batch is taken where it can be sent: while the device is known to be
// offline its items stay Pending, and later edits melt into them.
// Several share the commits of both files.
size_t Session::BatchesToTake() const {
  if (!take_wanted_ || !has_cursor_ || recover_ != Recover::kNone) return 0;
  if (push_.state != StreamState::kOpen) return 0;
  const size_t under_way = open_.size() + answers_.size();
  if (under_way >= kUnansweredMax) return 0;
  if (push_.heard || pull_.heard) {
    const size_t room = kUnansweredMax - under_way;
    const bool soon_more = answer_time_ < kQuickAnswer;
    return soon_more && room < kBatchesAtOnce ? 0 : std::min(room, kBatchesAtOnce);
  }
  if (under_way > 0) return 0;  // One probes for all.
  const bool may_probe = push_.failures == 0 || request_.has_value() ||
                         now_.monotonic >= push_.opened_at + kProbeAfter;
  return may_probe ? 1 : 0;
}

bool Session::PullWanted() const {
  if (recover_ == Recover::kPull) return true;
  if (recover_ == Recover::kSettle) return false;
  if (options_.automatic && !paused_) return true;
  if (!request_.has_value()) return false;
  return request_->pulling ? !request_->caught_up : !has_cursor_;
}

bool Session::PushDone() const {
  return recover_ == Recover::kNone && !list_wanted_ && open_.empty() && answers_.empty() &&
         !take_wanted_;
}

bool Session::PullDone() const {
  return recover_ == Recover::kNone && request_->caught_up && pages_.empty() && !fetch_wanted_ &&
         fetch_.state == StreamState::kClosed && fetched_ == nullptr;
}

bool Session::InSync() const {
  return PushDone() && feed_at_end_ && pages_.empty() && !partial_.has_value() &&
         pull_.state == StreamState::kOpen && work_ == Work::kNone;
}

// --- Actions.

void Session::Decide() {
  if (!started_) return;
  DriveRequest();
  if (!Allowed()) {
    ClosePush();
    ClosePull();
  }
  DriveRecovery();
  DrivePull();
  DrivePush();
  ChooseLocal();
  NoteSync();
  DriveRequest();
}

void Session::DriveRecovery() {
  if (recover_ != Recover::kSettle || work_ != Work::kNone) return;
  const bool settled = !list_wanted_ && open_.empty() && answers_.empty();
  if (!settled || !FileFree()) return;
  if (!begin_wanted_) {
    recover_ = Recover::kPull;
    return;
  }
  begin_wanted_ = false;
  Start(Work::kRebaseline, actions::BeginRebaseline{shared_revision_});
}

void Session::DrivePush() {
  if (push_.state == StreamState::kOpen) return SendOpen();
  if (push_.state == StreamState::kClosing || !Allowed() || list_wanted_) return;
  if (now_.monotonic < push_.not_before) return;
  const bool new_ones = take_wanted_ && has_cursor_ && recover_ == Recover::kNone &&
                        (options_.automatic || (request_.has_value() && request_->push));
  if (open_.empty() && !new_ones) return;
  OpenStream(push_);
  out_.push_back(actions::OpenPush{});
  SendOpen();
}

void Session::SendOpen() {
  size_t unanswered = 0;
  for (Open& open : open_) {
    if (++unanswered > kUnansweredMax) break;
    if (open.sent) continue;
    open.sent = true;
    open.alone = unanswered == 1;
    open.sent_at = now_.monotonic;
    if (open.batch.in_memory) {
      out_.push_back(actions::SendBatch{open.batch.id});
    } else {
      out_.push_back(actions::SendSettle{open.batch.id});
    }
  }
  if (!report_wanted_ || take_wanted_ || work_ != Work::kNone) return;
  if (!open_.empty() || !answers_.empty() || now_.monotonic < report_not_before_) return;
  report_wanted_ = false;
  report_not_before_ = now_.monotonic + kReportEvery;
  out_.push_back(actions::SendReport{});
}

void Session::DrivePull() {
  if (pull_.state != StreamState::kClosed || !Allowed() || !PullWanted()) return;
  // The cursor is read when the stream opens: what came before must stand in it.
  if (!pages_.empty() || work_ == Work::kApply || now_.monotonic < pull_.not_before) return;
  OpenStream(pull_);
  feed_at_end_ = end_arrived_ = false;
  last_cursor_.clear();
  pull_done_ = pull_remaining_ = 0;
  opened_for_request_ = request_.has_value() && request_->pulling;
  out_.push_back(actions::OpenPull{options_.automatic});
}

void Session::Start(Work work, Action action) {
  work_ = work;
  out_.push_back(std::move(action));
}

// One local action at a time: what has arrived first, then what is to be sent.
void Session::ChooseLocal() {
  if (!FileFree() || ChooseWaiting()) return;
  if (list_wanted_ && push_.state == StreamState::kClosed && Allowed()) {
    list_wanted_ = false;
    return Start(Work::kList, actions::ListOpen{});
  }
  if (const size_t batches = BatchesToTake(); batches > 0) {
    take_wanted_ = drain_wanted_ = false;
    const size_t changes = take_changes_ == 0 ? options_.batch_changes : take_changes_;
    const size_t bytes = take_bytes_ == 0 ? options_.batch_bytes : take_bytes_;
    const bool all = request_.has_value() && request_->ignore_next_attempt;
    return Start(Work::kTake, actions::Take{batches, changes, bytes, all});
  }
  if (drain_wanted_) {
    drain_wanted_ = false;
    return Start(Work::kDrain, actions::Drain{});
  }
  const bool reachable = push_.heard || pull_.heard || request_.has_value();
  if (fetch_wanted_ && reachable && Allowed() && recover_ == Recover::kNone &&
      fetch_.state == StreamState::kClosed && now_.monotonic >= fetch_.not_before) {
    fetch_wanted_ = false;
    return Start(Work::kListFetch, actions::ListFetch{kFetchKeysMax});
  }
  if (maintain_wanted_) {
    maintain_wanted_ = false;
    return Start(Work::kMaintain, actions::Maintain{});
  }
}

bool Session::LargePageWaits() const {
  return !pages_.empty() && pages_.front()->versions.size() >= PageGate::kLargePage;
}

void Session::Append(IncomingPage next, IncomingPage* page) {
  page->versions.insert(page->versions.end(), std::make_move_iterator(next.versions.begin()),
                        std::make_move_iterator(next.versions.end()));
  if (!next.cursor.empty()) page->cursor = std::move(next.cursor);
  if (next.refused_types.has_value()) page->refused_types = std::move(next.refused_types);
  page->batch_end = next.batch_end;
  page->caught_up = next.caught_up;
  page->epoch = std::move(next.epoch);
  page->server_time = next.server_time;
  page->bytes += next.bytes;
}

// Each page costs three syncs, and with random keys nearly every page of an index is
// written again for each.
void Session::JoinPages() {
  IncomingPage& first = *pages_.front();
  // Looked at for a large page only.
  size_t most = PageGate::kLargePage - 1;
  if (LargePageWaits()) most = gate_.app_rests() ? kJoinedVersionsMax : 0;
  if (apply_time_ > absl::ZeroDuration()) {
    most = std::min(most, static_cast<size_t>(kJoinedTimeMax / apply_time_));
  }
  while (pages_.size() > 1 && !first.caught_up) {
    IncomingPage& next = *pages_[1];
    const bool fits = first.versions.size() + next.versions.size() <= most &&
                      first.bytes + next.bytes <= kJoinedBytesMax;
    if (!fits || next.epoch != first.epoch || next.device != first.device) return;
    Append(std::move(next), &first);
    pages_.erase(pages_.begin() + 1);
  }
}

bool Session::ChooseWaiting() {
  if (!answers_.empty()) {
    const size_t count = std::min(answers_.size(), kBatchesAtOnce);
    Start(Work::kFinish,
          actions::Finish{{answers_.begin(), answers_.begin() + static_cast<ptrdiff_t>(count)}});
  } else if (LargePageWaits() && (!gate_.is_open() || now_.monotonic >= gate_.look_at())) {
    if (now_.monotonic >= gate_.look_at()) Start(Work::kLook, actions::LookAtApp{});
  } else if (!pages_.empty()) {
    JoinPages();
    apply_began_ = now_.monotonic;
    Start(Work::kApply, actions::Apply{pages_.front()});
  } else if (fetched_ != nullptr) {
    Start(Work::kApplyFetched, actions::ApplyFetched{fetched_});
  }
  return work_ != Work::kNone;
}

// LastSyncAt, when everything is in step: it costs an fsync, so not after each
// of many small commits.
void Session::NoteSync() {
  const bool in_sync = InSync();
  if (in_sync) push_done_ = 0;
  const absl::Duration pause = was_in_sync_ ? absl::Minutes(1) : absl::Seconds(5);
  if (in_sync && now_.monotonic - synced_at_ >= pause) {
    synced_at_ = now_.monotonic;
    report_wanted_ = true;
    out_.push_back(actions::RecordSync{now_.wall});
    if (push_.state == StreamState::kOpen) SendOpen();
  }
  was_in_sync_ = in_sync;
}

// --- Requests.

void Session::DriveRequest() {
  if (!request_.has_value() || work_ != Work::kNone) return;
  if (!request_->pulling) {
    if (request_->push && !PushDone()) return;
    if (!request_->pull) return CompleteRequest(absl::OkStatus());
    // A pull that begins now, after our own batches were answered, is the one
    // whose end says that we are caught up.
    request_->pulling = true;
    ClosePull();
    return;
  }
  if (PullDone()) CompleteRequest(absl::OkStatus());
}

void Session::CompleteRequest(const absl::Status& error) {
  RunResult result = std::move(request_->result);
  result.error = error;
  result.completed_at = now_.wall;
  result.duration = now_.monotonic - request_->started;
  if (error.ok() && request_->push && request_->pull) {
    synced_at_ = now_.monotonic;
    out_.push_back(actions::RecordSync{now_.wall});
  }
  if (push_.state == StreamState::kOpen) out_.push_back(actions::SendReport{});
  out_.push_back(actions::CompleteRequest{std::move(request_->ids), std::move(result)});
  request_.reset();
  if (Allowed()) return;
  ClosePush();
  ClosePull();
}

void Session::FailRequest(const absl::Status& error) {
  if (request_.has_value()) CompleteRequest(error);
}

SessionView Session::View() const {
  SessionView view;
  if (halt_ == Halt::kStop) {
    view.link = LinkState::kRefused;
  } else if (halt_ == Halt::kToken) {
    view.link = LinkState::kUnauthenticated;
  } else if (push_.heard || pull_.heard) {
    view.link = LinkState::kOnline;
  } else if (push_.failures > 0 || pull_.failures > 0) {
    view.link = LinkState::kOffline;
  }
  if (view.link != LinkState::kOnline && view.link != LinkState::kConnecting) {
    view.reason = last_error_;
    const absl::Duration streams = std::min(push_.not_before, pull_.not_before);
    view.next_attempt = halt_ == Halt::kNone ? streams : probe_at_;
  }
  view.paused = paused_;
  view.paused_until = paused_until_;
  view.blocked_by_app = blocked_since_.has_value();
  view.local_error = local_error_;
  view.requested = request_.has_value();
  view.in_sync = InSync();
  view.push_done = push_done_;
  view.pull_done = pull_done_;
  view.pull_known = pull_done_ + buffered_versions_ + pull_remaining_;
  return view;
}

}  // namespace ptdoc::sync
