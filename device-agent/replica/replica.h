#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "device-agent/capture/plan.h"
#include "device-agent/ledger/ledger.h"
#include "device-agent/replica/verify.h"
#include "device-agent/session/peer.h"

namespace ptdoc::sync {

struct ReplicaOptions {
  std::string database;   // the app's file
  std::string state;      // the ledger; empty = database + ".sync"
  std::string device_id;  // empty = what the ledger holds (random at first)
  std::string user;       // [device] user: the claim where the app names none
  PlanRequest plan;
  int max_retries = 3;
  absl::Duration completed_retention = absl::Hours(24);
  size_t completed_max = 10'000;
  absl::Duration archive_retention = absl::Hours(24 * 30);
  // A file whose commits leave no log rows, and where comparing found nothing, is
  // compared more and more rarely, but as often as this.
  absl::Duration scan_delay_max = absl::Hours(1);
  // So many rows of the capture log that were sent may stay in the app's file.
  int64_t trim_rows_min = 10'000;
  // So many of them go into the queue in one transaction, where more wait.
  int64_t drain_rows_max = 16'384;
  // In a rollback-journal mode: so long a check of the whole file keeps an app waiting at
  // first; each check that gave way lets the next one keep it twice as long.
  absl::Duration check_patience = absl::Milliseconds(100);
  std::string vfs;  // empty = the default
  // With a VFS of its own: which file stands at `database`, 0 = none. Null: the
  // file system's inode tells, or with a VFS nobody.
  std::function<uint64_t()> identity;
  // flock on <database>.sync.lock, of the file itself, and on <state>.lock. The
  // simulation has one process.
  bool take_lock = true;
  bool stays = false;  // a daemon, which keeps the lock until it is stopped
};

// SECOND_AGENT tells whether waiting helps: is the other one a daemon, or a verb
// that soon ends?
inline constexpr char kMetaHolder[] = "holder";
inline constexpr char kHolderStays[] = "stays";
inline constexpr char kHolderPasses[] = "passes";

struct TakeLimits {
  size_t batches = 1;
  size_t changes = 1000;  // here and below: of each batch
  size_t bytes = 1 << 20;
  size_t row_bytes = 3 << 20;
  // An explicit run tries Failed items whatever their NextAttemptAt.
  bool ignore_next_attempt = false;
};

// What is in the way of the app's file, if anything.
enum class FileState : uint8_t {
  kReady,
  kBlockedByApp,  // the app holds it exclusively or busily: try again later
  kMissing,       // no such file, no synced table, or a key column is gone
  kUnreadable,    // not a database, corrupt, read-only
  kRecovering,    // was set back or replaced: a recovery has begun
};

struct DrainReport {
  FileState file = FileState::kReady;
  int64_t log_rows = 0;
  int64_t items = 0;     // made or refreshed
  bool touched = false;  // rows that a write of ours had changed besides are to be fetched
  bool recovery_begun = false;
  bool more = false;                  // the log goes on: call again
  std::vector<std::string> problems;  // sentences for status; no content
};

struct TakeReport {
  FileState file = FileState::kReady;
  std::vector<std::shared_ptr<const OutgoingBatch>> batches;  // to be sent in this order
  bool more = false;         // another batch could be taken at once
  int64_t completed = 0;     // nothing to send: equal to the base, or never sent
  bool wants_fetch = false;  // items wait for what the service holds, or touched rows do
  // When the next Failed item is due, if that is all that waits.
  std::optional<absl::Time> next_due;
};

struct AnswerReport {
  // kBlockedByApp: the answers behind `finished` are to be given again.
  FileState file = FileState::kReady;
  size_t finished = 0;  // answers, in their order; the rest counts what these brought
  uint32_t success = 0;
  uint32_t failed = 0;
  uint32_t conflicts_count = 0;
  struct ConflictLine {
    EntityKey key;
    Resolution resolution = Resolution::kNone;
    std::string reason;
  };
  std::vector<ConflictLine> conflicts;
  bool send_again_at_once = false;  // BASE_UNKNOWN, BATCH_REFUSED
};

struct PageReport {
  FileState file = FileState::kReady;  // kBlockedByApp: nothing happened, call again
  uint32_t applied = 0;
  uint32_t skipped = 0;     // the device has it, or has an open item (noted stale), or set aside
  uint32_t conflicts = 0;   // own accepted versions that lost
  bool items_made = false;  // rows that nobody announced were found, or others touched
};

// What status shows beside the queue.
struct ReplicaFacts {
  QueueHealth queue;
  uint32_t held = 0;
  uint32_t stale = 0;
  uint32_t backfill = 0;  // rows that wait for a column which the app has gained
  bool initial = false;   // first upload or first catch-up not ended
  bool recovering = false;
  bool rebaselining = false;
  FileState file = FileState::kReady;
  std::string file_problem;  // of kMissing and kUnreadable: path, SQLite's code and words
  std::vector<std::string> warnings;
  std::optional<absl::Time> next_due;
};

// The device's two files as one thing: capture log, ledger and the app's
// tables. All calls are synchronous, belong to one thread and leave both files
// right if the process dies at any instruction. FileState tells what stands in
// the way; an error status is a bug, a broken ledger or a full disk
// (RESOURCE_EXHAUSTED): then nothing happened.
class Replica {
 public:
  // ALREADY_EXISTS (reason SECOND_AGENT, kMetaHolder) if another agent works on this file;
  // FAILED_PRECONDITION (NOT_INITIALISED) if `init` never ran on it. Finishes
  // or drops the intent that a dead process left.
  static absl::StatusOr<std::unique_ptr<Replica>> Open(const ReplicaOptions& options,
                                                       const Clock& clock, Rng& rng);
  virtual ~Replica() = default;

  // Installs capture and enqueues the rows that are there (as `initial`). Part
  // of `init`; idempotent. Returns how many rows were enqueued.
  static absl::StatusOr<int64_t> Initialise(const ReplicaOptions& options, const Clock& clock,
                                            Rng& rng);

  // Moves what was captured into the queue, and takes everything of ours out of
  // the app's file; from then on Open says NOT_INITIALISED, so that no verb puts
  // it back unasked. The ledger stays, for its queue and archives, and so that a
  // later Initialise compares the rows instead of taking them for new.
  // Idempotent. BLOCKED_BY_APP (UNAVAILABLE) while the app holds its file.
  static absl::Status Uninstall(const ReplicaOptions& options, const Clock& clock, Rng& rng);

  virtual Ledger& ledger() = 0;
  virtual const Plan& plan() const = 0;

  // True if anybody committed since the last call, the agent's own writes
  // included (PRAGMA data_version of a connection that only reads).
  virtual absl::StatusOr<bool> AppChanged() = 0;
  // How many rows the app has logged so far: only the growth means anything. Cheap.
  virtual absl::StatusOr<int64_t> RowsLogged() = 0;

  // Sending.
  virtual absl::StatusOr<DrainReport> Drain() = 0;
  // Drains, chooses, reads and marks in one snapshot. No batch while a
  // recovery or re-baseline is under way.
  virtual absl::StatusOr<TakeReport> Take(const TakeLimits& limits) = 0;
  // Batches whose fate is unknown, oldest first. Those whose bytes this process
  // still has can be sent again; the others must be settled.
  virtual absl::StatusOr<std::vector<std::string>> OpenBatches() = 0;
  virtual const OutgoingBatch* InMemory(const std::string& batch_id) const = 0;
  // All of them with one commit, as far as no row of the app has to be replaced.
  virtual absl::StatusOr<AnswerReport> Finish(
      absl::Span<const std::shared_ptr<const IncomingAnswer>> answers) = 0;

  // Receiving.
  virtual absl::StatusOr<std::string> Cursor() = 0;
  // True if the cursor passes for one that covers types of which nothing is known
  // any more: a re-baseline comes first.
  virtual absl::StatusOr<bool> CursorSkipsTypes() = 0;
  // What a pull names: the types of the plan, and those that are configured and that
  // the service has refused so far, for it may show them again.
  virtual std::vector<std::string> TypesToAsk() const = 0;
  // A whole number of batches with the cursor after them (all messages since
  // the last batch end, joined). `caught_up` ends a recovery or re-baseline.
  virtual absl::StatusOr<PageReport> Apply(const IncomingPage& page) = 0;
  // Entities to fetch now: stale ones without an open item, put-backs.
  virtual absl::StatusOr<std::vector<EntityKey>> ToFetch(size_t limit) = 0;
  virtual absl::StatusOr<PageReport> ApplyFetched(const IncomingFetch& fetch) = 0;

  // FAILED_PRECONDITION of the service: first OpenBatches must be settled (the
  // session does), then this.
  virtual absl::Status BeginRebaseline(Revision shared_revision) = 0;

  // People.
  virtual absl::StatusOr<int64_t> RetryItems(const std::vector<int64_t>& ids, bool all) = 0;
  // Archives the local row, closes the item; the service's version is fetched
  // and put back (never sent: the row is removed). kBlockedByApp as above.
  virtual absl::StatusOr<FileState> CancelItem(int64_t id) = 0;
  virtual absl::StatusOr<int64_t> ConfirmDeletions() = 0;
  // Restores an archived row into the app's table as a new edit.
  virtual absl::StatusOr<FileState> RestoreArchived(const std::string& conflict_id) = 0;

  // Verify: every row against the service, in slices that each see one moment of
  // both files. The caller keeps `progress`, asks the service what a slice wants to
  // know, and has it judged. Not kReady: nothing happened, `progress` is as it was.
  // A new one, or the one that was saved less than kVerifyResumeMax ago.
  virtual absl::StatusOr<VerifyProgress> BeginVerify() = 0;
  virtual absl::Status SaveVerify(const VerifyProgress* progress) = 0;  // null: it is over
  // The next slice of the phases kRows, kStates and kAround, which are over when
  // type_at is behind the last type. `ask`: entities to be looked at singly.
  virtual absl::StatusOr<FileState> VerifySlice(VerifyProgress* progress,
                                                std::vector<EntityKey>* ask) = 0;
  virtual absl::StatusOr<FileState> VerifyJudge(const TheirRows& theirs,
                                                VerifyProgress* progress) = 0;
  // Archives the device's row and notes it for a fetch; with `push` a row that was
  // changed here becomes an item instead, and so does in any case one that the
  // service never had. Left alone, with repaired = false, if it was edited since.
  virtual absl::StatusOr<FileState> RepairRow(bool push, VerifyFinding* finding) = 0;

  virtual absl::StatusOr<ReplicaFacts> Facts() = 0;
  // A slice of comparing rows with states, trimming, pruning; true if more can be
  // done at once. Cheap when nothing is to be done.
  virtual absl::StatusOr<bool> Maintain() = 0;
  // In how long Maintain will look for edits that no log row announces; absent: for
  // none. Some time after a commit, and after each slice so long that looking takes
  // 2 % of a core at most.
  virtual std::optional<absl::Duration> ScanDueIn() const = 0;
  // Whether edits were found so that wait for a Take.
  virtual bool HasFound() = 0;
  // The service's clock at this moment, for the offset that the triggers add: to
  // be told when a message arrives. What carries it may be applied much later.
  virtual void ObserveServerTime(absl::Time server_time) = 0;
  virtual absl::Status RecordSync(absl::Time at) = 0;  // LastSyncAt
};

}  // namespace ptdoc::sync
