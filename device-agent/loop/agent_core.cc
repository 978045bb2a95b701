#include "device-agent/loop/agent_core.h"

#include <algorithm>
#include <utility>

#include "common/base/log.h"
#include "common/base/planted.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

FileIs Translate(FileState state) {
  switch (state) {
    case FileState::kReady:
      return FileIs::kReady;
    case FileState::kBlockedByApp:
      return FileIs::kBlockedByApp;
    case FileState::kRecovering:
      return FileIs::kRecovering;
    case FileState::kMissing:
    case FileState::kUnreadable:
      return FileIs::kAway;
  }
  return FileIs::kAway;
}

absl::string_view LinkName(LinkState state) {
  switch (state) {
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kOnline:
      return "online";
    case LinkState::kOffline:
      return "offline";
    case LinkState::kUnauthenticated:
      return "unauthenticated";
    case LinkState::kRefused:
      return "refused";
  }
  return "";
}

bool HasArrived(const Event& event) {
  return std::holds_alternative<events::AnswerArrived>(event) ||
         std::holds_alternative<events::PageArrived>(event);
}

PullCounts CountsOf(const PageReport& report) {
  return PullCounts{report.applied, report.skipped, report.conflicts};
}

}  // namespace

AgentCore::AgentCore(Replica& replica, Peer& peer, const Clock& clock, Rng& rng,
                     CoreOptions options)
    : replica_(replica),
      peer_(peer),
      clock_(clock),
      options_(std::move(options)),
      session_(options_.session, rng) {}

AgentCore::~AgentCore() {
  if (dead_) return;
  RunResult result;
  result.error = absl::CancelledError("the agent stops; what waits stays in the queue");
  result.completed_at = clock_.Now();
  for (const auto& [id, done] : requests_) done(result);
}

void AgentCore::Post(Event event) {
  events_.push_back(std::move(event));
  Pump();
}

void AgentCore::PostArrived(Event event) {
  events_.push_back(std::move(event));
  if (!gathering_) Pump();
}

void AgentCore::Gather() {
  gathering_ = true;
}

void AgentCore::Gathered() {
  gathering_ = false;
  if (!events_.empty()) Pump();
}

void AgentCore::Pump() {
  if (pumping_) return;
  pumping_ = true;
  while (!events_.empty() && !dead_) {
    Event next = std::move(events_.front());
    events_.pop_front();
    const Moment now{clock_.Monotonic(), clock_.Now()};
    // What has arrived together is looked at together.
    const bool more = !events_.empty() && HasArrived(events_.front());
    for (const Action& action : session_.Handle(std::move(next), now, more)) {
      if (options_.before_action && !options_.before_action(action)) dead_ = true;
      if (dead_) break;
      std::visit([this](const auto& one) { Do(one); }, action);
    }
  }
  pumping_ = false;
  if (dead_) return;
  const bool wants = session_.WantsPages();
  if (!std::exchange(wanted_pages_, wants) && wants) peer_.ReadOn();
  LogChanges();
  if (observer_) observer_();
}

void AgentCore::LogChanges() {
  const SessionView view = session_.View();
  if (view.local_error != logged_error_) {
    logged_error_ = view.local_error;
    if (!logged_error_.ok()) {
      Log(LogLevel::kError, "local_action_failed", {LogField::Error(logged_error_)});
    }
  }
  if (view.link == logged_) return;
  logged_ = view.link;
  Log(view.link == LinkState::kOnline ? LogLevel::kInfo : LogLevel::kWarning, "link",
      {LogField::Code("state", LinkName(view.link)), LogField::Error(view.reason)});
}

void AgentCore::Start() {
  const absl::StatusOr<ReplicaFacts> facts = replica_.Facts();
  events::Started started;
  if (facts.ok()) started.recovering = facts->recovering || facts->rebaselining;
  const absl::StatusOr<std::string> cursor = replica_.Cursor();
  started.has_cursor = cursor.ok() && !cursor->empty();
  Post(started);
}

void AgentCore::OnCommitSeen() {
  Post(events::CommitSeen{});
}
void AgentCore::Look() {
  const absl::StatusOr<bool> changed = replica_.AppChanged();
  if (changed.ok() && *changed) OnCommitSeen();
}
void AgentCore::OnReconnected() {
  Post(events::Reconnected{});
}
void AgentCore::OnTokenChanged() {
  Post(events::TokenChanged{});
}
void AgentCore::OnQueueChanged() {
  Post(events::QueueChanged{});
}
void AgentCore::Pause(absl::Duration duration) {
  Post(events::Paused{duration});
}
void AgentCore::Resume() {
  Post(events::Resumed{});
}
void AgentCore::Tick() {
  Post(events::Tick{});
}

void AgentCore::RequestRun(RunKind kind, RunCallback done) {
  requests_[++last_request_] = std::move(done);
  Post(events::Requested{last_request_, kind != RunKind::kPull, kind != RunKind::kPush});
}

// --- What the Peer reports.

void AgentCore::OnPushAnswer(IncomingAnswer answer) {
  replica_.ObserveServerTime(answer.server_time);
  PostArrived(events::AnswerArrived{std::move(answer)});
}
void AgentCore::OnPushClosed(const absl::Status& status) {
  Post(events::PushClosed{status});
}
void AgentCore::OnPullPage(IncomingPage page) {
  replica_.ObserveServerTime(page.server_time);
  PostArrived(events::PageArrived{std::move(page)});
}
void AgentCore::OnPullClosed(const absl::Status& status) {
  Post(events::PullClosed{status});
}
void AgentCore::OnFetched(IncomingFetch fetch) {
  replica_.ObserveServerTime(fetch.server_time);
  Post(events::FetchArrived{std::move(fetch)});
}
void AgentCore::OnFetchFailed(const absl::Status& status) {
  Post(events::FetchFailed{status});
}

// --- Local actions.

void AgentCore::Failed(const absl::Status& status) {
  Post(events::LocalFailed{status});
}

void AgentCore::Do(const actions::Drain&) {
  const absl::StatusOr<DrainReport> report = replica_.Drain();
  if (!report.ok()) return Failed(report.status());
  Post(events::Drained{Translate(report->file), report->items, report->touched, report->more,
                       replica_.ScanDueIn()});
}

void AgentCore::Do(const actions::ListOpen&) {
  const absl::StatusOr<std::vector<std::string>> ids = replica_.OpenBatches();
  if (!ids.ok()) return Failed(ids.status());
  events::Listed listed;
  for (const std::string& id : *ids) {
    listed.batches.push_back({id, replica_.InMemory(id) != nullptr});
  }
  Post(std::move(listed));
}

void AgentCore::Do(const actions::Take& action) {
  const absl::StatusOr<TakeReport> report =
      replica_.Take(TakeLimits{action.batches, action.changes, action.bytes, options_.row_bytes_max,
                               action.ignore_next_attempt});
  if (!report.ok()) return Failed(report.status());
  events::Took took;
  took.file = Translate(report->file);
  for (const auto& batch : report->batches) took.batch_ids.push_back(batch->batch_id);
  took.more = report->more;
  took.wants_fetch = report->wants_fetch;
  took.scan_due_in = replica_.ScanDueIn();
  if (report->next_due.has_value()) took.next_due_in = *report->next_due - clock_.Now();
  Post(std::move(took));
}

void AgentCore::Do(const actions::Finish& action) {
  const absl::StatusOr<AnswerReport> report = replica_.Finish(action.answers);
  if (!report.ok()) return Failed(report.status());
  events::Finished finished;
  finished.file = Translate(report->file);
  finished.answers = report->finished;
  finished.counts = PushCounts{report->success, report->failed, report->conflicts_count};
  for (const AnswerReport::ConflictLine& line : report->conflicts) {
    finished.conflicts.push_back(ConflictLine{line.key, line.resolution, line.reason});
  }
  Post(std::move(finished));
}

void AgentCore::Do(const actions::LookAtApp&) {
  // Whatever is in the way, the page itself meets it next.
  const absl::StatusOr<int64_t> rows = replica_.RowsLogged();
  Post(events::LookedAtApp{rows.ok() ? *rows : 0});
}

void AgentCore::Do(const actions::Apply& action) {
  const absl::StatusOr<PageReport> report = replica_.Apply(*action.page);
  if (!report.ok()) return Failed(report.status());
  Post(events::Applied{Translate(report->file), CountsOf(*report), report->items_made});
}

void AgentCore::Do(const actions::ListFetch& action) {
  absl::StatusOr<std::vector<EntityKey>> keys = replica_.ToFetch(action.limit);
  if (!keys.ok()) return Failed(keys.status());
  Post(events::ListedFetch{std::move(*keys)});
}

void AgentCore::Do(const actions::ApplyFetched& action) {
  const absl::StatusOr<PageReport> report = replica_.ApplyFetched(*action.fetch);
  if (!report.ok()) return Failed(report.status());
  Post(events::AppliedFetched{Translate(report->file), CountsOf(*report), report->items_made});
}

void AgentCore::Do(const actions::BeginRebaseline& action) {
  const absl::Status status = replica_.BeginRebaseline(action.shared_revision);
  if (!status.ok()) return Failed(status);
  Log(LogLevel::kWarning, "rebaseline",
      {LogField::Count("shared_revision", action.shared_revision)});
  Post(events::BegunRebaseline{});
}

void AgentCore::Do(const actions::Maintain&) {
  const absl::StatusOr<bool> more = replica_.Maintain();
  if (!more.ok()) return Failed(more.status());
  Post(events::Maintained{*more, replica_.HasFound(), replica_.ScanDueIn()});
}

// --- Calls of the Peer.

// A report alone is exact: it is the last word of a cycle.
QueueHealth AgentCore::Queue(bool exact) {
  Ledger& ledger = replica_.ledger();
  absl::StatusOr<QueueHealth> health = exact ? ledger.Health() : ledger.RecentHealth();
  return health.ok() ? *health : QueueHealth{};
}

std::vector<std::string> AgentCore::Types() const {
  std::vector<std::string> types;
  for (const TablePlan& table : replica_.plan().tables) types.push_back(table.type);
  return types;
}

// Unread it is not shown, and nothing is checked; the next call shows it.
void AgentCore::ShowWitness() {
  const absl::StatusOr<std::string> witness = replica_.ledger().Get("witness");
  peer_.SetWitness(witness.ok() ? *witness : std::string());
}

void AgentCore::Do(const actions::OpenPush&) {
  peer_.OpenPush();
}

void AgentCore::Do(const actions::SendBatch& action) {
  const OutgoingBatch* batch = replica_.InMemory(action.batch_id);
  ShowWitness();
  if (batch == nullptr) return peer_.SendSettle(action.batch_id, Queue(/*exact=*/false));
  const absl::StatusOr<std::string> cursor = replica_.Cursor();
  if (PT_PLANTED("rebuild a batch on re-sending") && batch->changes.size() > 1) {
    // As if the last of its rows had changed back meanwhile.
    OutgoingBatch rebuilt = *batch;
    static std::string sent_once;
    if (sent_once == batch->batch_id) rebuilt.changes.pop_back();
    sent_once = batch->batch_id;
    return peer_.SendBatch(rebuilt, cursor.ok() ? *cursor : std::string(), Queue(/*exact=*/false));
  }
  // Without a cursor the service checks nothing; it decides all the same.
  if (PT_PLANTED("push without cursor")) return peer_.SendBatch(*batch, "", Queue(/*exact=*/false));
  peer_.SendBatch(*batch, cursor.ok() ? *cursor : std::string(), Queue(/*exact=*/false));
}

void AgentCore::Do(const actions::SendSettle& action) {
  ShowWitness();
  peer_.SendSettle(action.batch_id, Queue(/*exact=*/false));
}

void AgentCore::Do(const actions::SendReport&) {
  ShowWitness();
  peer_.SendReport(Queue(/*exact=*/true));
}

void AgentCore::Do(const actions::ClosePush&) {
  peer_.ClosePush();
}

void AgentCore::Do(const actions::OpenPull& action) {
  const absl::StatusOr<std::string> cursor = replica_.Cursor();
  const std::vector<std::string> types = replica_.TypesToAsk();
  if (!cursor.ok()) return Post(events::PullClosed{cursor.status()});
  if (types.empty()) {
    // An empty list would mean every type.
    return Post(events::PullClosed{
        ReasonError(absl::StatusCode::kUnavailable, "NO_TABLE",
                    "The app's file could not be read yet, or has no synced table: until it can, "
                    "nothing is asked of the service.")});
  }
  const absl::StatusOr<bool> skips = replica_.CursorSkipsTypes();
  if (!skips.ok()) return Post(events::PullClosed{skips.status()});
  if (*skips) {
    return Post(
        events::PullClosed{ReasonError(absl::StatusCode::kFailedPrecondition, "SCOPE_CHANGED",
                                       "A type is synced again that was not for a while.")});
  }
  ShowWitness();
  peer_.OpenPull(*cursor, types, action.follow, Queue(/*exact=*/false));
}

void AgentCore::Do(const actions::ClosePull&) {
  peer_.ClosePull();
}

void AgentCore::Do(const actions::Fetch& action) {
  ShowWitness();
  peer_.Fetch(action.keys);
}

void AgentCore::Do(const actions::RecordSync& action) {
  const absl::Status status = replica_.RecordSync(action.at);
  if (!status.ok()) Log(LogLevel::kError, "record_sync_failed", {LogField::Error(status)});
}

void AgentCore::Do(const actions::CompleteRequest& action) {
  for (const uint64_t id : action.ids) {
    const auto it = requests_.find(id);
    if (it == requests_.end()) continue;
    const RunCallback done = std::move(it->second);
    requests_.erase(it);
    done(action.result);
  }
}

absl::StatusOr<CoreSnapshot> AgentCore::Snapshot() {
  CoreSnapshot snapshot;
  snapshot.session = session_.View();
  absl::StatusOr<ReplicaFacts> facts = replica_.Facts();
  if (!facts.ok()) return facts.status();
  snapshot.facts = std::move(*facts);
  const absl::Duration now = clock_.Monotonic();
  const SessionView& view = snapshot.session;
  if (view.next_attempt != absl::InfiniteDuration()) {
    snapshot.next_attempt_at =
        clock_.Now() + std::max(view.next_attempt - now, absl::ZeroDuration());
  }
  if (view.paused && view.paused_until != absl::InfiniteDuration()) {
    snapshot.paused_until = clock_.Now() + (view.paused_until - now);
  }
  const QueueHealth& queue = snapshot.facts.queue;
  snapshot.push_done = view.push_done;
  snapshot.push_known = view.push_done + queue.pending + queue.processing;
  snapshot.pull_done = view.pull_done;
  snapshot.pull_known = std::max(view.pull_known, view.pull_done);
  return snapshot;
}

}  // namespace ptdoc::sync
