#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/rng.h"
#include "device-agent/session/events.h"
#include "device-agent/session/page_gate.h"

namespace ptdoc::sync {

struct SessionOptions {
  // The daemon: pushes each commit, follows the feed, checks every `interval`.
  // False: does nothing but what is requested.
  bool automatic = true;
  absl::Duration interval = absl::Seconds(30);
  size_t batch_changes = 1000;
  size_t batch_bytes = 1 << 20;
};

enum class LinkState : uint8_t {
  kConnecting,  // nothing heard yet
  kOnline,
  kOffline,          // the last attempt failed; another one comes by itself
  kUnauthenticated,  // waits for another token
  kRefused,          // stopped; only a request tries again
};

// What status shows of the cycle. Times are monotonic.
struct SessionView {
  LinkState link = LinkState::kConnecting;
  absl::Status reason;  // why it is not online
  absl::Duration next_attempt = absl::InfiniteDuration();
  bool paused = false;
  absl::Duration paused_until = absl::InfiniteDuration();
  bool blocked_by_app = false;
  absl::Status local_error;  // why the last local action did nothing
  bool requested = false;    // a request is under way
  bool in_sync = false;      // nothing waits, and the feed is read to its end
  uint64_t push_done = 0;    // items answered since the queue was last empty
  uint64_t pull_done = 0;    // versions of this catch-up applied
  uint64_t pull_known = 0;   // and all of them; never below pull_done
};

// One device's sync cycle: takes batches, sends, re-sends and settles them,
// reads the feed, fetches, re-baselines, backs off, waits. A pure state
// machine: no I/O, no threads, no clock. Whoever owns it executes the actions
// in their order and feeds back what comes of them; the same events with the
// same random numbers give the same actions.
//
// Each event first changes the state (On...), then Decide looks at the state
// alone and says what is to be done now: so no order of events is forgotten.
class Session {
 public:
  // Batches sent and not answered; the service closes the stream above it.
  static constexpr size_t kUnansweredMax = 8;
  // Taken, and finished, with one commit: half of what may be unanswered, so that the
  // service has the other half meanwhile.
  static constexpr size_t kBatchesAtOnce = 4;
  // Over a link that is slower than that a batch goes as soon as there is room for one.
  static constexpr absl::Duration kQuickAnswer = absl::Milliseconds(100);
  // Heartbeats come every 20 s; without any message the link is dead.
  static constexpr absl::Duration kSilenceMax = absl::Seconds(60);
  static constexpr absl::Duration kTokenProbe = absl::Seconds(60);
  // A device whose app writes is tried more often than an idle one.
  static constexpr absl::Duration kWriting = absl::Seconds(60);
  static constexpr absl::Duration kBackoffMaxWriting = absl::Seconds(5);
  static constexpr absl::Duration kBackoffMaxIdle = absl::Seconds(60);
  // A stream that lives so long without a word is worth one batch.
  static constexpr absl::Duration kProbeAfter = absl::Seconds(2);
  static constexpr absl::Duration kBlockedDelayMin = absl::Milliseconds(5);
  static constexpr absl::Duration kBlockedDelayMax = absl::Milliseconds(250);
  // A request gives up after that; the cycle itself never does.
  static constexpr absl::Duration kRequestBlockedMax = absl::Seconds(30);
  // A report alone is a commit of the service, as dear as a change: many small changes
  // share one.
  static constexpr absl::Duration kReportEvery = absl::Seconds(1);
  // Between two slices of what Maintain does.
  static constexpr absl::Duration kSliceEvery = absl::Milliseconds(100);
  static constexpr absl::Duration kScanSliceEvery = absl::Milliseconds(10);
  static constexpr size_t kFetchKeysMax = 500;
  static constexpr size_t kPagesAhead = 4;
  // Pages that wait while the app rests are written as one, as long as that does not hold
  // the app's file longer than an app that comes back would wait for it.
  static constexpr size_t kJoinedVersionsMax = 4000;
  static constexpr size_t kJoinedBytesMax = 2 << 20;
  static constexpr absl::Duration kJoinedTimeMax = absl::Milliseconds(250);
  static constexpr size_t kBufferedVersionsMax = 20'000;

  // `rng` must outlive this.
  Session(SessionOptions options, Rng& rng) : options_(options), rng_(rng) {}

  // `more`: another event has happened already and is handled next; what is to be done
  // is decided then.
  std::vector<Action> Handle(Event event, Moment now, bool more = false);

  // When Tick is due (monotonic); infinite if nothing waits for time to pass.
  absl::Duration Deadline() const;

  // False while as many pages wait as are worth having in memory.
  bool WantsPages() const { return pages_.size() < kPagesAhead; }

  SessionView View() const;

 private:
  enum class StreamState : uint8_t { kClosed, kOpen, kClosing };
  struct Stream {
    StreamState state = StreamState::kClosed;
    int failures = 0;  // in a row
    absl::Duration not_before = -absl::InfiniteDuration();
    absl::Duration opened_at;
    absl::Duration heard_at;  // the last message, or when it was opened
    bool heard = false;       // a message came on this stream
    bool dead = false;        // closed by us for its silence
  };
  enum class Recover : uint8_t { kNone, kSettle, kPull };
  enum class Halt : uint8_t { kNone, kToken, kStop };
  enum class Work : uint8_t {
    kNone,
    kDrain,
    kList,
    kTake,
    kFinish,
    kLook,
    kApply,
    kListFetch,
    kApplyFetched,
    kRebaseline,
    kMaintain,
  };
  struct Open {
    events::OpenBatch batch;
    bool sent = false;
    bool alone = false;  // no other one was under way before it
    absl::Duration sent_at;
  };
  struct Request {
    // Not left to the compiler: clang cannot make one inside std::optional while
    // the enclosing class is incomplete.
    Request() {}  // NOLINT(modernize-use-equals-default)

    std::vector<uint64_t> ids;
    bool push = false;
    bool pull = false;
    bool pulling = false;    // the second half has begun
    bool caught_up = false;  // by a pull that began in the second half
    bool ignore_next_attempt = true;
    int failures = 0;
    absl::Duration started;
    RunResult result;
  };

  // Events.
  void On(events::Started event);
  void On(events::Tick) {}
  void On(events::CommitSeen);
  void On(events::Reconnected);
  void On(events::TokenChanged);
  void On(events::QueueChanged);
  void On(events::Paused event);
  void On(events::Resumed);
  void On(events::Requested event);
  void On(events::Drained event);
  void On(events::Listed event);
  void On(events::Took event);
  void On(events::Finished event);
  void On(events::LookedAtApp event);
  void On(events::Applied event);
  void On(events::ListedFetch event);
  void On(events::AppliedFetched event);
  void On(events::BegunRebaseline);
  void On(events::Maintained event);
  void On(const events::LocalFailed& event);
  void On(events::AnswerArrived event);
  void On(const events::PushClosed& event);
  void On(events::PageArrived event);
  void On(const events::PullClosed& event);
  void On(events::FetchArrived event);
  void On(const events::FetchFailed& event);

  // Time.
  void CheckTimers();
  void CheckSilence();
  void WantEverything();

  // Streams and their ends.
  void OpenStream(Stream& stream);
  void Heard(Stream& stream);
  void Closed(Stream& stream, const absl::Status& status);
  void Judge(Stream& stream, const absl::Status& status);
  void BackOff(Stream& stream, const absl::Status& status, absl::Duration at_least);
  void Halted(Halt halt, const absl::Status& status);
  void CutBatches(const absl::Status& status);
  void EnterRecovery(bool begin, Revision shared_revision);
  void ClosePush();
  void ClosePull();

  // Local actions and what they met.
  bool Met(FileIs file, Work work);
  void CountFinished(events::Finished* event);
  void WantAgain(Work work);
  void MaintainIn(std::optional<absl::Duration> scan_due_in);
  void Start(Work work, Action action);

  // Deciding.
  bool Allowed() const;  // to use the network
  bool FileFree() const;
  size_t BatchesToTake() const;
  bool PullWanted() const;
  bool PushDone() const;
  bool PullDone() const;
  void Decide();
  void DrivePush();
  void SendOpen();
  void DrivePull();
  void DriveRecovery();
  void ChooseLocal();
  bool ChooseWaiting();
  bool LargePageWaits() const;
  static void Append(IncomingPage next, IncomingPage* page);
  void JoinPages();
  void DriveRequest();
  void CompleteRequest(const absl::Status& error);
  void FailRequest(const absl::Status& error);
  void NoteSync();
  bool InSync() const;

  const SessionOptions options_;
  Rng& rng_;
  Moment now_{absl::ZeroDuration(), absl::UnixEpoch()};
  std::vector<Action> out_;

  bool started_ = false;
  bool paused_ = false;
  absl::Duration paused_until_ = absl::InfiniteDuration();
  Halt halt_ = Halt::kNone;
  absl::Duration probe_at_ = absl::InfiniteDuration();  // while halted for a token
  absl::Status last_error_;
  bool link_down_ = false;  // the last that is known of the link is a failure

  Stream push_;
  Stream pull_;
  Stream fetch_;  // open = a fetch is under way

  // Sending. Every batch that the ledger holds open is in open_ or answers_,
  // unless list_wanted_ says that the ledger must be asked.
  std::deque<Open> open_;
  std::deque<std::shared_ptr<const IncomingAnswer>> answers_;
  bool list_wanted_ = true;
  bool settle_all_ = false;  // also those that could be sent again
  size_t take_changes_ = 0;  // 0 = as configured
  size_t take_bytes_ = 0;
  absl::Duration answer_time_;  // of the last batch that waited for no other

  // Receiving.
  std::optional<IncomingPage> partial_;  // messages since the last batch end
  std::deque<std::shared_ptr<IncomingPage>> pages_;
  size_t buffered_versions_ = 0;
  absl::Duration apply_began_;
  absl::Duration apply_time_;  // a version of the last large page
  // Nothing is sent before the feed has a place to go on from. A read from the
  // start leaves tombstones out: what this device had sent before, and somebody
  // deleted since, would stay here for ever.
  bool has_cursor_ = false;
  std::string last_cursor_;
  bool feed_at_end_ = false;  // this stream was caught up, and that is applied
  bool end_arrived_ = false;  // this stream said so
  bool opened_for_request_ = false;
  uint64_t pull_done_ = 0;
  uint64_t pull_remaining_ = 0;
  std::shared_ptr<const IncomingFetch> fetched_;
  bool fetch_discarded_ = false;       // the fetch under way is of another history
  std::vector<EntityKey> fetch_keys_;  // asked for last

  Recover recover_ = Recover::kNone;
  bool begin_wanted_ = false;
  Revision shared_revision_ = 0;

  // Wishes: cleared when the action starts, set again if it did not happen.
  bool drain_wanted_ = false;
  bool take_wanted_ = false;
  bool fetch_wanted_ = false;
  bool maintain_wanted_ = false;
  bool report_wanted_ = false;
  absl::Duration report_not_before_ = -absl::InfiniteDuration();

  PageGate gate_;  // for large pages

  Work work_ = Work::kNone;
  absl::Duration file_not_before_ = -absl::InfiniteDuration();
  int file_failures_ = 0;
  std::optional<absl::Duration> blocked_since_;
  absl::Status local_error_;

  absl::Duration interval_at_ = absl::InfiniteDuration();
  absl::Duration due_at_ = absl::InfiniteDuration();
  absl::Duration maintain_at_ = absl::InfiniteDuration();
  absl::Duration last_write_ = -absl::InfiniteDuration();
  absl::Duration synced_at_ = -absl::InfiniteDuration();  // LastSyncAt was recorded
  bool was_in_sync_ = false;
  uint64_t push_done_ = 0;

  std::optional<Request> request_;
};

}  // namespace ptdoc::sync
