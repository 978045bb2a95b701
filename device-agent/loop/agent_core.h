#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "device-agent/replica/replica.h"
#include "device-agent/session/events.h"
#include "device-agent/session/peer.h"
#include "device-agent/session/session.h"

namespace ptdoc::sync {

struct CoreOptions {
  SessionOptions session;
  size_t row_bytes_max = 3 << 20;
  // Asked before each action; false = the core does nothing any more. For the
  // simulation, whose devices die between any two actions.
  std::function<bool(const Action&)> before_action;
};

enum class RunKind : uint8_t { kRun, kPush, kPull };

// What status shows; `done` never exceeds `known`.
struct CoreSnapshot {
  SessionView session;
  ReplicaFacts facts;
  std::optional<absl::Time> next_attempt_at;
  std::optional<absl::Time> paused_until;  // absent while paused: until resumed
  uint64_t push_done = 0;
  uint64_t push_known = 0;
  uint64_t pull_done = 0;
  uint64_t pull_known = 0;
};

// Executes a Session's actions on a Replica and a Peer, and feeds what comes of
// them back. One thread, never blocking on the network: Replica calls are local
// and synchronous, the Peer's answers come later as PeerEvents, on this thread.
class AgentCore final : public PeerEvents {
 public:
  using RunCallback = std::function<void(const RunResult&)>;

  // All must outlive this.
  AgentCore(Replica& replica, Peer& peer, const Clock& clock, Rng& rng, CoreOptions options);
  // Requests under way end with CANCELLED.
  ~AgentCore() override;

  // The four triggers, and what else can happen.
  void Start();
  void OnCommitSeen();
  // Drains what the app has committed so far, if its file is free: whoever asks
  // next sees it.
  void Look();
  void OnReconnected();
  void OnTokenChanged();
  // Items were retried or cancelled, deletions confirmed, archives restored.
  void OnQueueChanged();
  void Pause(absl::Duration duration = absl::InfiniteDuration());
  void Resume();
  // Push until nothing is left and everything is answered, then pull until
  // caught up; a second request joins the first. `done` is called once, on this
  // thread, perhaps before this returns.
  void RequestRun(RunKind kind, RunCallback done);

  // To be called at NextDeadline (of the clock's Monotonic; may be infinite) or
  // any time earlier or later.
  void Tick();
  absl::Duration NextDeadline() const { return session_.Deadline(); }

  // From Gather to Gathered answers and pages wait, unless something else happens: so
  // several of them share a commit.
  void Gather();
  void Gathered();

  void OnPushAnswer(IncomingAnswer answer) override;
  void OnPushClosed(const absl::Status& status) override;
  void OnPullPage(IncomingPage page) override;
  bool WantsPages() const override { return session_.WantsPages(); }
  void OnPullClosed(const absl::Status& status) override;
  void OnFetched(IncomingFetch fetch) override;
  void OnFetchFailed(const absl::Status& status) override;

  SessionView View() const { return session_.View(); }
  absl::StatusOr<CoreSnapshot> Snapshot();
  // Called after anything that may have changed the snapshot. One at most.
  void SetObserver(std::function<void()> observer) { observer_ = std::move(observer); }

  Replica& replica() { return replica_; }
  // What is pulled.
  std::vector<std::string> Types() const;

  // Does nothing any more, as if the process had died inside a local action.
  void Abandon() { dead_ = true; }

 private:
  // Handles the event and all that follows from it.
  void Post(Event event);
  void PostArrived(Event event);
  void Pump();
  void LogChanges();

  void Do(const actions::Drain&);
  void Do(const actions::ListOpen&);
  void Do(const actions::Take& action);
  void Do(const actions::Finish& action);
  void Do(const actions::LookAtApp&);
  void Do(const actions::Apply& action);
  void Do(const actions::ListFetch& action);
  void Do(const actions::ApplyFetched& action);
  void Do(const actions::BeginRebaseline& action);
  void Do(const actions::Maintain&);
  void ShowWitness();
  void Do(const actions::OpenPush&);
  void Do(const actions::SendBatch& action);
  void Do(const actions::SendSettle& action);
  void Do(const actions::SendReport&);
  void Do(const actions::ClosePush&);
  void Do(const actions::OpenPull& action);
  void Do(const actions::ClosePull&);
  void Do(const actions::Fetch& action);
  void Do(const actions::RecordSync& action);
  void Do(const actions::CompleteRequest& action);

  QueueHealth Queue(bool exact);
  void Failed(const absl::Status& status);

  Replica& replica_;
  Peer& peer_;
  const Clock& clock_;
  const CoreOptions options_;
  Session session_;
  std::deque<Event> events_;
  bool pumping_ = false;
  bool gathering_ = false;
  bool wanted_pages_ = true;
  bool dead_ = false;
  LinkState logged_ = LinkState::kConnecting;
  absl::Status logged_error_;
  std::map<uint64_t, RunCallback> requests_;
  uint64_t last_request_ = 0;
  std::function<void()> observer_;
};

}  // namespace ptdoc::sync
