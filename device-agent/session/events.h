#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/model/change.h"
#include "device-agent/session/peer.h"

// What goes into a Session (events) and what comes out of it (actions).
namespace ptdoc::sync {

// The time of an event. Delays are measured in `monotonic`; `wall` only stamps.
struct Moment {
  absl::Duration monotonic;
  absl::Time wall;
};

// What a call on the two files met.
enum class FileIs : uint8_t {
  kReady,
  kBlockedByApp,  // nothing happened; the same again in a moment
  kAway,          // missing or unreadable; the same again after a while
  // It was found to be set back or replaced: everything must be pulled anew.
  // Told once for each time; whatever the call was about did not happen.
  kRecovering,
};

struct ConflictLine {
  EntityKey key;
  Resolution resolution = Resolution::kNone;
  std::string reason;  // a sentence without content
};

struct PushCounts {
  uint32_t success = 0;
  uint32_t failed = 0;
  uint32_t conflicts = 0;
  uint32_t total() const { return success + failed + conflicts; }
};

struct PullCounts {
  uint32_t applied = 0;
  uint32_t skipped = 0;
  uint32_t conflicts = 0;
  uint32_t total() const { return applied + skipped + conflicts; }
};

// The answer to a request: Run's answer of the seed. `error` says why a run did
// not come to its end; what it did until then stands, and nothing is lost.
struct RunResult {
  absl::Status error;
  absl::Time completed_at;
  absl::Duration duration;
  PushCounts push;
  PullCounts pull;
  std::vector<ConflictLine> conflicts;
  bool success() const { return error.ok(); }
};

namespace events {

// The process is up. `recovering`: an earlier life began a recovery or a
// re-baseline that has not ended. `has_cursor`: the feed was read before.
struct Started {
  bool recovering = false;
  bool has_cursor = false;
};
struct Tick {};          // a deadline passed
struct CommitSeen {};    // somebody committed to the app's file
struct Reconnected {};   // the machine has a network again
struct TokenChanged {};  // there is another token
struct QueueChanged {};  // a person retried, cancelled or confirmed something
struct Paused {
  absl::Duration duration = absl::InfiniteDuration();
};
struct Resumed {};
struct Requested {
  uint64_t id = 0;
  bool push = true;
  bool pull = true;
};

// Each ends the local action of its name.
struct Drained {
  FileIs file = FileIs::kReady;
  int64_t items = 0;
  bool wants_fetch = false;
  bool more = false;  // the same again at once
  std::optional<absl::Duration> scan_due_in =
      std::nullopt;  // until Maintain is worth it, if it will be
};
struct OpenBatch {
  std::string id;
  bool in_memory = false;  // can be sent again byte for byte
};
struct Listed {
  std::vector<OpenBatch> batches;  // oldest first
};
struct Took {
  FileIs file = FileIs::kReady;
  std::vector<std::string> batch_ids;         // oldest first; none = nothing to take, or not yet
  bool more = false;                          // the same again at once
  std::optional<absl::Duration> next_due_in;  // until the next Failed item may go
  bool wants_fetch = false;                   // items wait for what a fetch brings
  std::optional<absl::Duration> scan_due_in = std::nullopt;
};
struct Finished {
  FileIs file = FileIs::kReady;  // what the first answer met that is not finished
  size_t answers = 0;            // finished, in their order
  PushCounts counts;
  std::vector<ConflictLine> conflicts;
};
struct LookedAtApp {
  int64_t rows = 0;  // that the app has logged so far; only its growth counts
};
struct Applied {
  FileIs file = FileIs::kReady;
  PullCounts counts;
  bool items_made = false;
};
struct ListedFetch {
  std::vector<EntityKey> keys;
};
struct AppliedFetched {
  FileIs file = FileIs::kReady;
  PullCounts counts;
  bool items_made = false;
};
struct BegunRebaseline {};
struct Maintained {
  bool more = false;
  bool items_made = false;
  std::optional<absl::Duration> scan_due_in = std::nullopt;
};
// Ends any local action: nothing happened (a full disk, a broken ledger).
struct LocalFailed {
  absl::Status status;
};

// What the Peer reports.
struct AnswerArrived {
  IncomingAnswer answer;
};
struct PushClosed {
  absl::Status status;
};
struct PageArrived {
  IncomingPage page;
};
struct PullClosed {
  absl::Status status;
};
struct FetchArrived {
  IncomingFetch fetch;
};
struct FetchFailed {
  absl::Status status;
};

}  // namespace events

using Event =
    std::variant<events::Started, events::Tick, events::CommitSeen, events::Reconnected,
                 events::TokenChanged, events::QueueChanged, events::Paused, events::Resumed,
                 events::Requested, events::Drained, events::Listed, events::Took, events::Finished,
                 events::LookedAtApp, events::Applied, events::ListedFetch, events::AppliedFetched,
                 events::BegunRebaseline, events::Maintained, events::LocalFailed,
                 events::AnswerArrived, events::PushClosed, events::PageArrived, events::PullClosed,
                 events::FetchArrived, events::FetchFailed>;

namespace actions {

// Local actions: at most one is under way, until its event comes.
struct Drain {};
struct ListOpen {};
struct Take {
  size_t batches = 1;  // at most
  size_t changes = 0;  // in each
  size_t bytes = 0;
  bool ignore_next_attempt = false;
};
struct Finish {
  std::vector<std::shared_ptr<const IncomingAnswer>> answers;
};
// How much the app has written, before a large page.
struct LookAtApp {};
struct Apply {
  std::shared_ptr<const IncomingPage> page;
};
struct ListFetch {
  size_t limit = 0;
};
struct ApplyFetched {
  std::shared_ptr<const IncomingFetch> fetch;
};
struct BeginRebaseline {
  Revision shared_revision = 0;
};
struct Maintain {};

// Calls of the Peer.
struct OpenPush {};
struct SendBatch {
  std::string batch_id;
};
struct SendSettle {
  std::string batch_id;
};
struct SendReport {};
struct ClosePush {};
struct OpenPull {
  bool follow = false;  // from the ledger's cursor
};
struct ClosePull {};
struct Fetch {
  std::vector<EntityKey> keys;
};

// Both halves ended: LastSyncAt.
struct RecordSync {
  absl::Time at;
};
struct CompleteRequest {
  std::vector<uint64_t> ids;
  RunResult result;
};

}  // namespace actions

using Action =
    std::variant<actions::Drain, actions::ListOpen, actions::Take, actions::Finish,
                 actions::LookAtApp, actions::Apply, actions::ListFetch, actions::ApplyFetched,
                 actions::BeginRebaseline, actions::Maintain, actions::OpenPush, actions::SendBatch,
                 actions::SendSettle, actions::SendReport, actions::ClosePush, actions::OpenPull,
                 actions::ClosePull, actions::Fetch, actions::RecordSync, actions::CompleteRequest>;

}  // namespace ptdoc::sync
