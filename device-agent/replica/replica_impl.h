#pragma once

// The replica keeps the app's file and the ledger as one thing, though no
// transaction spans both. What holds between any two instructions:
//  1. What the app committed stands in the log after the drained mark, in an
//     item, in a state (the service has it), or in an archive.
//  2. A row of the app's file is only replaced when it is exactly what its
//     state (or the item, as it was sent) says: anything else is an edit that
//     nobody announced, and becomes an item.
//  3. The commit of the app's file is the commit point. An intent stands in the
//     ledger before it and is finished after it; the page mark inside the app's
//     file tells which of both a dead process reached.
//  4. Nothing is sent that a power cut could take back from the app's file, and
//     nothing leaves before its Processing mark is durable.
//  5. A state moves only together with the row it describes, and its hashes are
//     those of the row as sent or applied, never of what stands there later.
//  6. Content stands in the app's file, in archives, in set-aside versions and in
//     the intent that is open; nowhere else.

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "device-agent/capture/capture.h"
#include "device-agent/replica/log_keys.h"
#include "device-agent/replica/replica.h"
#include "device-agent/replica/table.h"
#include "device-agent/replica/work.h"

namespace ptdoc::sync {

// Chunks and bounds.
inline constexpr char kUninstalled[] = "uninstalled";  // in the ledger: 1 after `uninstall`
inline constexpr size_t kLogChunkRows = 4096;
inline constexpr char kCorrupt[] = "corrupt";  // in the ledger: 1 until integrity_check passes
inline constexpr absl::Duration kWholeCheckEvery = absl::Seconds(10);
// And at least so many times as long as it took.
inline constexpr int kWholeCheckPause = 9;
// In the ledger: 1 while a comparison has found edits, and nobody has asked yet whether
// it is damage that makes them.
inline constexpr char kUnproven[] = "unproven";
inline constexpr size_t kSliceRows = 1000;
inline constexpr size_t kSetAsideRetriesMax = 1000;
// After commits of the app; doubled while nothing passes.
inline constexpr absl::Duration kRetryDelayMin = absl::Seconds(10);
inline constexpr absl::Duration kRetryDelayMax = absl::Minutes(10);
inline constexpr int kAttemptsMax = 40;
inline constexpr size_t kBrakeRows = 20;      // deletions without a person's consent: at most
inline constexpr int64_t kBrakePercent = 10;  // this many rows, or this part of a type
inline constexpr size_t kCompletedAtOnceMax = 10'000;
inline constexpr int64_t kTrimPart = 5;  // of them, in one transaction
// So many times as many are trimmed while the app writes, too.
inline constexpr int64_t kTrimAtOnce = 100;
// How the message of an item begins whose row refers to one that is not there.
inline constexpr char kDangling[] = "DANGLING_REFERENCE";

enum class Mode : uint8_t { kNormal, kRecovering, kRebaselining };

// How an attempt to carry out a Work ended.
enum class Attempt : uint8_t {
  kDone,
  kBlocked,  // busy: nothing happened
  kAgain,    // something stands in the way that is known now: plan it anew
};

// Why the schema does not take a version: SQLite's code name and the constraint.
struct Refused {
  std::string code;
  std::string constraint;
};

// What earlier attempts at one Work have found out.
struct Findings {
  bool defers_keys = false;  // one was refused whose foreign keys were not deferred
  std::map<EntityKey, Refused> refused;
  std::set<EntityKey> look_at;  // rows that are not what was expected
  bool touched_others = false;  // what was written changed other rows
  bool one_by_one = false;      // some statement writes more than its row
};

// One comparison of rows with states over all tables, in slices.
struct Comparison {
  bool wanted = false;  // by WantComparison; else it is a scan's
  std::vector<std::string> types;
  size_t at = 0;
  bool rows_done = false;  // of the present type: its states are next
  std::vector<Value> after;
  std::string after_id;
  std::vector<EntityKey> gone;
  int64_t found = 0;
};

class ReplicaImpl final : public Replica {
 public:
  ReplicaImpl(ReplicaOptions options, const Clock& clock, Rng& rng);
  ~ReplicaImpl() override;

  // A test's fault: true stops the call at this point with an error, as if the
  // process had died there. The object must be destroyed then.
  using FailPoint = std::function<bool(const char* point)>;
  void SetFailPoint(FailPoint fail_point) { fail_point_ = std::move(fail_point); }

  // Every row is to be compared from now on, before anything is judged.
  absl::Status WantComparison();  // compare.cc

  absl::Status OpenFiles();                   // open.cc
  absl::StatusOr<int64_t> InitialiseFiles();  // initialise.cc
  absl::Status UninstallFiles();              // initialise.cc

  Ledger& ledger() override { return *ledger_; }
  const Plan& plan() const override { return plan_; }
  absl::StatusOr<bool> AppChanged() override;
  absl::StatusOr<int64_t> RowsLogged() override;
  absl::StatusOr<DrainReport> Drain() override;
  absl::StatusOr<TakeReport> Take(const TakeLimits& limits) override;
  absl::StatusOr<std::vector<std::string>> OpenBatches() override;
  const OutgoingBatch* InMemory(const std::string& batch_id) const override;
  absl::StatusOr<AnswerReport> Finish(
      absl::Span<const std::shared_ptr<const IncomingAnswer>> answers) override;
  absl::StatusOr<std::string> Cursor() override;
  absl::StatusOr<bool> CursorSkipsTypes() override;
  std::vector<std::string> TypesToAsk() const override;
  absl::StatusOr<PageReport> Apply(const IncomingPage& page) override;
  absl::StatusOr<std::vector<EntityKey>> ToFetch(size_t limit) override;
  absl::StatusOr<PageReport> ApplyFetched(const IncomingFetch& fetch) override;
  absl::Status BeginRebaseline(Revision shared_revision) override;
  absl::StatusOr<int64_t> RetryItems(const std::vector<int64_t>& ids, bool all) override;
  absl::StatusOr<FileState> CancelItem(int64_t id) override;
  absl::StatusOr<int64_t> ConfirmDeletions() override;
  absl::StatusOr<FileState> RestoreArchived(const std::string& conflict_id) override;
  absl::StatusOr<VerifyProgress> BeginVerify() override;
  absl::Status SaveVerify(const VerifyProgress* progress) override;
  absl::StatusOr<FileState> VerifySlice(VerifyProgress* progress,
                                        std::vector<EntityKey>* ask) override;
  absl::StatusOr<FileState> VerifyJudge(const TheirRows& theirs, VerifyProgress* progress) override;
  absl::StatusOr<FileState> RepairRow(bool push, VerifyFinding* finding) override;
  absl::StatusOr<ReplicaFacts> Facts() override;
  absl::StatusOr<bool> Maintain() override;
  std::optional<absl::Duration> ScanDueIn() const override;
  bool HasFound() override;
  void ObserveServerTime(absl::Time server_time) override;
  absl::Status RecordSync(absl::Time at) override;

 private:
  // --- open.cc: the two files, and whether the app's is the one we know.
  absl::StatusOr<bool> IsOfAppsCollation(sqlite::Database& db, const std::string& index);
  absl::StatusOr<bool> IsDamage(sqlite::Database& db, absl::string_view line);
  absl::Status FindDamage(sqlite::Database& db);
  // For `init`: names the file.
  absl::Status AsDatabaseError(const absl::Status& status) const;
  absl::Status CheckPrepared();
  absl::Status TakeLock();
  absl::Status Lock(const std::string& path, int* error);
  absl::Status OpenLedger(bool create);
  absl::Status OpenConnections();
  absl::Status Reconnect();
  void CloseConnections();
  // The preamble of every call: connections, intent, identity, schema, recovery.
  // Busy and missing files come back as a FileState, not as an error.
  absl::StatusOr<FileState> Ready();
  // FileStateOf, kept for status.
  std::optional<FileState> NoteFileState(const absl::Status& status);
  absl::Status CheckFile();
  // After SQLite has called the app's file corrupt: nothing before it is whole.
  absl::Status CheckWhole();
  absl::Status LearnName(const std::string& device);
  // Device and inode of the file that stands there now; absent: none.
  using FileIdentity = std::pair<uint64_t, uint64_t>;
  std::optional<FileIdentity> IdentityNow() const;
  uint64_t WalNow() const;
  // Its commits went with it: what is open is not what the app works on.
  bool IsWalGone() const;
  // Whether `control` and the log are those that the ledger knows.
  absl::StatusOr<bool> IsOurs(const ControlRow& control);
  absl::StatusOr<bool> LogIsOurs();
  absl::Status LoadMode();
  // kRecovering once for whoever asks first, so that the pull starts anew.
  FileState News();

  // --- types.cc: types that leave the configuration or are refused, and come back.
  bool NamesTables() const;
  bool IsConfigured(absl::string_view type) const;
  bool IsWanted(absl::string_view type) const;
  absl::Status LoadRefusedTypes();
  absl::Status LearnRefusedTypes(const std::optional<std::vector<std::string>>& refused);
  void NoticeRefusedTypes();
  absl::Status RememberTypes();
  absl::Status LoadRejoining();
  absl::Status EndRejoining();
  absl::Status LeaveTypes(int64_t schema_version);
  absl::Status DrainLeft(const std::vector<std::string>& left, int64_t schema_version);

  // --- schema.cc: the plan, and our objects in the app's file.
  absl::Status RefreshSchema();
  absl::StatusOr<PlanRequest> RequestOf();
  absl::StatusOr<Plan> PlanOfWhatIsThere();
  absl::StatusOr<Plan> PlanOfTables();
  absl::Status LeaveOutOtherKeys(Plan* plan);
  absl::Status RememberPlan();
  absl::Status RememberNumbers();
  absl::Status NoticeLostTypes();
  absl::Status MakeTables();
  absl::Status PutObjectsBack();
  Table* TableOf(absl::string_view type);

  // --- intent.cc: one Work, in both files.
  absl::StatusOr<Attempt> Execute(Work& work, Findings* findings);
  absl::Status SettleOpenIntent();
  absl::Status SettleInLedger(const Work& work, const Intent* intent);
  absl::Status SettleTarget(const Target& target);
  absl::StatusOr<Intent> OpenNewIntent(const Work& work);
  absl::Status DropIntent(const Intent& intent);
  absl::Status PutMark(absl::string_view which, const LogMark& mark);
  absl::StatusOr<LogMark> GetMark(absl::string_view which);

  // --- apply.cc: the transaction of the app's file.
  struct Writing;  // one such transaction
  absl::StatusOr<Attempt> WriteToApp(Work& work, const Intent& intent, Findings* findings);
  bool NeedsDeferredKeys(const Work& work, const Findings& findings) const;
  absl::StatusOr<bool> IsFileUnchanged(const ControlRow& control);
  absl::StatusOr<Attempt> CheckBeforeWriting(Writing& writing);
  absl::StatusOr<bool> ReadUndrained(Writing& writing);
  absl::StatusOr<Attempt> WriteAll(Writing& writing);
  // Writes what can be written; the rest stays in `todo` with its error.
  struct Todo;
  void PutLinksFirst(std::vector<Todo>* todo);
  absl::StatusOr<Attempt> WritePlainly(Writing& writing, std::vector<Todo>* todo);
  absl::StatusOr<bool> WriteEachPlainly(Writing& writing, const std::vector<Todo>& todo);
  absl::Status WriteRound(Writing& writing, std::vector<Todo>* todo);
  absl::Status WriteOne(Writing& writing, Target& target);
  absl::StatusOr<std::optional<std::vector<Value>>> LocalKeyNow(const Target& target);
  absl::StatusOr<bool> WriteValues(Writing& writing, Target& target);
  absl::Status ParkUniqueValues(const Target& target);
  // False if the schema refuses these.
  absl::StatusOr<bool> ParkValues(const Target& target, const std::vector<Value>& parked,
                                  const std::vector<bool>& written);
  absl::Status ReserveFreeId(Writing& writing, const Target& target);
  absl::Status ReserveLocalIds(Writing& writing, const std::vector<Todo>& todo);
  absl::Status SetTriggers(bool on);
  // --- cascade.cc: children of rows that are written while triggers are off.
  struct Cascaded;  // a row that a foreign key deletes or changes
  // Before the write; `key` is LocalKeyNow. `after_local` as for UpdateRow; null: the
  // row is deleted.
  absl::StatusOr<std::vector<Cascaded>> FindCascades(const Target& target,
                                                     const std::optional<std::vector<Value>>& key,
                                                     const std::vector<Value>* after_local,
                                                     const std::vector<bool>& written);
  absl::StatusOr<std::vector<Cascaded>> CascadesOf(const Cascaded& parent);
  // After it: as our triggers would have logged them, without a time.
  absl::Status LogCascades(const std::vector<Cascaded>& cascades);
  std::vector<std::string> ColumnsForCascade(absl::string_view table) const;
  absl::Status FinishWriting(Writing& writing, const Intent& intent);
  bool MayBeLost(const std::optional<RowState>& state) const;
  absl::StatusOr<std::optional<EntityKey>> LookAtOthers(Writing& writing);
  absl::Status DropOwnLogRows(const Writing& writing);
  // --- touched.cc: what the app's triggers and foreign keys did meanwhile.
  absl::StatusOr<std::optional<EntityKey>> NoteTouched(Writing& writing, const EntityKey* own);
  struct Touched {
    bool again = false;             // undone, for a look at rows; to be done once more
    std::optional<EntityKey> edit;  // undone: it would change this row's unsent edit
  };
  // Judges what was written in `savepoint`, when the log ended with `log_seq`.
  absl::StatusOr<Touched> JudgeTouched(Writing& writing, sqlite::Savepoint& savepoint,
                                       int64_t log_seq, const EntityKey* own);
  absl::Status RunAfterApply(Writing& writing);
  absl::StatusOr<bool> RunOneAfterApply(Writing& writing, const std::string& sql);
  absl::Status PutTouchedBack(Writing& writing);
  absl::Status CheckForeignKeys(Writing& writing);
  absl::StatusOr<bool> LacksParent(const Target& target);
  absl::StatusOr<bool> LeavesChildren(const Target& target);
  absl::Status RebuildSearchIndexes(Writing& writing);

  // --- page.cc: from versions to a Work and its end.
  enum class Source : uint8_t { kPage, kFetch, kSetAside };
  struct Planning;
  absl::StatusOr<PageReport> ApplyVersions(const std::vector<Version>& versions, Source source,
                                           const Work& prototype);
  // Everything that must be so before rows are judged. Not kReady: come again.
  absl::StatusOr<FileState> ReadyToJudge(bool drain);
  // And the app's file can be locked. An app may hold it for minutes: nothing is
  // planned, and no intent written and dropped, for every try of them.
  absl::StatusOr<FileState> ReadyToWrite(bool drain);
  absl::Status PlanVersions(Planning& planning, const std::vector<Version>& versions);
  absl::StatusOr<std::vector<EntityKey>> KeysToFetch(size_t limit);
  // Deletions only where the service has just been heard: what a foreign key deletes
  // with them may be lost to it.
  enum class Deletions : uint8_t { kTry, kLeave };
  absl::Status RetrySetAside(bool caught_up, PageReport* report,
                             Deletions deletions = Deletions::kTry);
  absl::Status RetryAfterCommits();
  absl::Status LookAtHeld();
  // One round of the above; `*tried` = how many versions it looked at.
  absl::StatusOr<uint32_t> RetrySomeSetAside(PageReport* report, size_t* tried,
                                             Deletions deletions);
  absl::StatusOr<bool> EndCatchUp();
  // --- classify.cc: what becomes of one version.
  absl::Status Classify(Planning& planning, const Version& version);
  absl::Status ClassifyKnown(Planning& planning, const Version& version, Table& table,
                             const std::optional<RowState>& state);
  absl::Status ClassifyByRow(Planning& planning, const Version& version, Table& table,
                             const std::optional<RowState>& state, bool put_back);
  absl::Status ClassifyRecovered(Planning& planning, const Version& version, Table& table);
  absl::Status ClassifyRebaselined(Planning& planning, const Version& version, Table& table,
                                   const std::optional<RowState>& state, bool put_back);
  absl::StatusOr<bool> GoesAnyway(const EntityKey& key, Table& table, const Row& row);
  absl::StatusOr<bool> JudgeGained(Planning& planning, const Version& version, Table& table,
                                   const std::optional<RowState>& state);
  absl::StatusOr<bool> AdoptOffered(Planning& planning, const Version& version, Table& table);
  absl::Status PlanTarget(Planning& planning, const Version& version, Table& table,
                          const RowHashes& expected, const Row* row);
  // False: it cannot be stored; `target` says why. Its version gets no content: that
  // stands in its values.
  absl::StatusOr<bool> FillTarget(const Version& version, Target* target, const Row* row);
  absl::StatusOr<bool> HoldsNoMore(const Target& target, const Row& row);
  absl::StatusOr<bool> FillMissing(Target* target, const Row* row);
  absl::Status ArchiveOwnLosses(Planning& planning, const std::vector<Version>& versions);

  // --- drain.cc
  struct Hint;  // what the log says of one entity
  struct Hints;
  // In one snapshot of the app's file and one transaction of the ledger.
  absl::Status DrainIn(sqlite::Database& db, DrainReport* report,
                       int64_t rows_max = std::numeric_limits<int64_t>::max());
  absl::Status DrainSome(DrainReport* report);
  absl::StatusOr<bool> IsLogLong();
  // kAborted if `db` is no longer as Ready() saw it.
  absl::Status CheckSnapshot(sqlite::Database& db);
  static void NoteLogRow(const LogRow& row, Hint* hint);
  static bool IsNewKey(const LogRow& before, const LogRow& row);
  absl::Status CollectHints(sqlite::Database& db, const std::vector<LogRow>& rows, LogKeys& keys,
                            Hints* hints);
  // Rows that were refused because of what they refer to get their turn again.
  absl::Status RetryDangling();
  absl::Status DrainEdit(const Hint& hint, int64_t drain);
  absl::StatusOr<bool> DrainTouched(sqlite::Database& db, const EntityKey& key);
  absl::StatusOr<bool> IsMassDeletion(const std::string& type, size_t count);
  absl::Status HoldDeletion(const EntityKey& key);
  absl::Status RememberFirstSchema();
  absl::Status HoldMassDeletions(sqlite::Database& db, const std::vector<EntityKey>& deleted);
  // Makes the item of an edit that only looking at the row has found.
  absl::Status EnqueueFound(const EntityKey& key, const std::optional<RowState>& state,
                            const Row& row);
  absl::Status DrainNow();

  // --- take.cc
  struct Taking;
  absl::StatusOr<TakeReport> TakeFrom(sqlite::Database& db, const TakeLimits& limits,
                                      const Intent* mark);
  absl::Status TakeBatches(Taking& taking);
  absl::Status SyncAppJournal(sqlite::Database& db);
  absl::Status ChooseItems(Taking& taking);
  absl::Status LoadUnanswered();
  absl::Status TakeItem(Taking& taking, QueueItem item);
  absl::StatusOr<bool> MustAskFirst(Taking& taking, const QueueItem& item, Table& table,
                                    const Row& row, const std::optional<RowState>& state);
  absl::Status CompleteItem(Taking& taking, QueueItem item);
  absl::Status FailItem(QueueItem item, absl::string_view message);
  absl::StatusOr<Change> MakeChange(QueueItem& item, Table& table, Row& row,
                                    const std::optional<RowState>& state);
  // The message of an item whose row has a number that is not this device's; empty:
  // it may be sent.
  absl::StatusOr<std::string> OutOfRange(const Table& table, const Row& row);
  absl::StatusOr<bool> AnyIsUndecided(Taking& taking, const EntityKey& child,
                                      const std::vector<EntityKey>& parents);
  absl::StatusOr<std::vector<EntityKey>> IntegerParents(sqlite::Database& db, const Table& table,
                                                        const Row& row);
  absl::StatusOr<bool> ParentIsUndecided(Taking& taking, const EntityKey& child, const Table& table,
                                         const Row& row);

  // --- answer.cc
  struct Answering;
  absl::StatusOr<bool> FinishOne(Answering& answering, FileState* file);
  bool RemoveAnswered(const std::string& batch_id);
  absl::Status SettleResults(Answering& answering);
  absl::Status AskWhatVoidLeaves(const EntityKey& key);
  absl::Status RememberWitness(const std::string& witness, Revision newest);
  absl::Status SettleResult(Answering& answering, QueueItem item, const ChangeResult& result);
  absl::Status FailResult(Answering& answering, QueueItem item, const ChangeResult& result);
  absl::StatusOr<bool> HasGainedColumns(const QueueItem& item);
  absl::Status MoveState(const QueueItem& item, const ChangeResult& result);
  absl::Status BackToWaiting(QueueItem item);
  absl::StatusOr<FileState> ReplaceLosers(Answering& answering);
  absl::Status PlanReplacement(Answering& answering, const Findings& findings,
                               const QueueItem& item, const ChangeResult& result, Work* work);
  absl::Status KeepBoth(QueueItem item, const ChangeResult& result, const Change* sent, Work* work);
  absl::StatusOr<Target> TargetOfWinner(const QueueItem& loser, const Version& winner,
                                        const Findings& findings, Table& table, const Row& row);
  absl::StatusOr<ArchiveEntry> ArchiveOf(const QueueItem& loser, const ChangeResult& result,
                                         const std::optional<Fields>& lost,
                                         const std::string& user);
  absl::StatusOr<bool> LostNothing(const QueueItem& item, const Fields& sent,
                                   const Version& merged);
  ArchiveEntry LossOf(const EntityKey& key, const std::string& conflict_id, Resolution resolution,
                      absl::string_view rule, const Version* winner,
                      const std::optional<Fields>& lost) const;
  const Change* SentChange(const std::string& batch_id, const EntityKey& key) const;

  // --- recovery.cc
  absl::Status BeginRecovery();
  absl::Status StepRecovery();
  absl::Status MendObjects();
  absl::Status EndRecovery();
  absl::Status ReadLogTimes(sqlite::Database& db, absl::flat_hash_map<EntityKey, TimeNs>* times);
  absl::Status OfferRows(sqlite::Database& db, Table& table,
                         const absl::flat_hash_map<EntityKey, TimeNs>& times);
  absl::Status OfferRow(const EntityKey& key, Table& table, const Row& row, TimeNs time);
  absl::Status NoteGoneRows(sqlite::Database& db, Table& table);

  // --- rebaseline.cc
  absl::Status RememberShared(Revision shared_revision);
  absl::Status OfferUnconfirmed(const RowState& state);
  absl::Status EndRebaseline(bool* blocked);
  absl::StatusOr<bool> PlanUnconfirmed(const Findings& findings, Work* work);
  absl::Status PlanRemoval(const Findings& findings, Table& table, const RowState& state,
                           Work* work);

  // --- compare.cc
  absl::Status CompareAll();
  absl::Status NoteCompared();
  // A bounded part; true if more is left.
  absl::StatusOr<bool> CompareSlice();
  absl::Status CompareRows(sqlite::Database& db, Table& table);
  absl::Status CompareStates(sqlite::Database& db, Table& table);
  absl::Status CompareRow(const EntityKey& key, Table& table, const Row& row);
  absl::StatusOr<bool> IsGone(sqlite::Database& db, Table& table, const RowState& state);
  absl::Status EnqueueGone(sqlite::Database& db, Table& table);
  absl::Status CompareSending(sqlite::Database& db, Table& table);
  absl::Status EnqueueCompared(const EntityKey& key, const std::optional<RowState>& state,
                               const Row& row);
  absl::Status ProveFound();
  absl::StatusOr<int64_t> CountLiveStates(absl::string_view type);
  absl::Status NoticeSilentCommit(int64_t log_rows);
  absl::StatusOr<bool> ScanSlice();
  void HoldScan(absl::Duration by);

  // --- verify.cc
  absl::StatusOr<FileState> InVerifySnapshot(
      VerifyProgress* next, const std::function<absl::Status(sqlite::Database&)>& work);
  absl::Status VerifyNextType(VerifyProgress* next);
  absl::Status VerifyRowsOf(sqlite::Database& db, Table& table, VerifyProgress* next,
                            std::vector<EntityKey>* ask);
  absl::Status VerifyStatesOf(sqlite::Database& db, Table& table, VerifyProgress* next,
                              std::vector<EntityKey>* ask);
  absl::Status VerifyAround(Table& table, VerifyProgress* next, std::vector<EntityKey>* ask);
  absl::StatusOr<bool> VerifyWaits(const TheirRows& theirs, const TheirRow& row,
                                   const std::optional<RowState>& state);
  absl::Status JudgeRow(sqlite::Database& db, const TheirRows& theirs, const TheirRow& row,
                        VerifyProgress* next);
  absl::StatusOr<std::vector<std::string>> DifferingColumns(Table& table,
                                                            const VerifyProgress& progress,
                                                            const TheirRow& row,
                                                            const std::optional<RowState>& state,
                                                            const Row& ours);
  absl::Status PutServiceVersionBack(Table& table, const VerifyFinding& finding,
                                     const std::optional<RowState>& state, const Row& row);

  // --- people.cc, maintain.cc, initialise.cc
  absl::StatusOr<bool> IsReferredTo(const Table& table, const Row& row);
  absl::StatusOr<FileState> RemoveUnsent(const QueueItem& item, Table& table,
                                         const ArchiveEntry& entry);
  absl::Status WriteRestored(Table& table, const Version& version);
  absl::Status WriteAsApp(const Target& target, const Row& row);
  absl::StatusOr<bool> TrimAppLog();
  void WarnOfNumbers(std::vector<std::string>* warnings);
  absl::Status InstallAtFirst();
  // The synced tables, each after those that its foreign keys lead to (a cycle
  // is cut anywhere): rows that are offered in this order are accepted in it.
  std::vector<Table*> ParentsFirst() const;
  absl::StatusOr<int64_t> EnqueuePresentRows(sqlite::Database& db, Table& table);

  absl::Status At(const char* point);
  bool Recovering() const { return mode_ == Mode::kRecovering; }
  // True for errors that say something of the app's file or a busy ledger.
  std::optional<FileState> FileStateOf(const absl::Status& status) const;

  const ReplicaOptions options_;
  const Clock& clock_;
  Rng& rng_;
  FailPoint fail_point_;

  std::vector<int> lock_fds_;
  std::string device_id_;
  std::unique_ptr<Ledger> ledger_;
  // On the app's file: for writes; for snapshots and data_version.
  std::optional<sqlite::Database> app_;
  std::optional<sqlite::Database> snapshot_;
  FileIdentity file_;            // the one that is open
  uint64_t wal_ = 0;             // the inode of its -wal; 0 = it has none
  int64_t schema_version_ = -1;  // as last checked; -1 = never
  int64_t watched_version_ = -1;
  bool triggers_on_ = true;
  bool blocked_ = false;  // the last work found the app's file locked
  // The app's file and what the ledger says of it, as last found in order: data
  // version and changes of our own. While they stand, it is.
  struct Checked {
    int64_t data_version = -1;
    int64_t changes = -1;
    friend bool operator==(const Checked&, const Checked&) = default;
  };
  Checked checked_;
  FileState last_state_ = FileState::kReady;
  // What SQLite said when it found the file corrupt; OK = it never did.
  mutable absl::Status corrupt_;
  absl::Duration check_patience_ = options_.check_patience;  // grows while the app is in the way
  absl::Duration whole_check_at_;  // of the monotonic clock: when it is looked at again
  std::string file_problem_;       // why it is kMissing or kUnreadable

  Plan plan_;
  std::map<std::string, std::unique_ptr<Table>, std::less<>> tables_;
  std::vector<Reference> references_;  // of the whole file
  // What the service showed this device no version of when it was last asked: as if
  // they were not configured.
  std::set<std::string, std::less<>> refused_types_;
  // Types that had left and are synced again: merely old content of their rows
  // must not win. Until a catch-up has ended.
  std::set<std::string, std::less<>> rejoining_;
  // Something was applied since every set-aside version had its turn.
  bool set_aside_may_pass_ = true;
  int64_t held_seen_ = 0;  // up to this item they were looked at
  absl::Duration held_look_at_ = -absl::InfiniteDuration();
  std::vector<std::string> problems_;
  bool accepts_new_keys_ = false;  // `init` runs
  bool recheck_objects_ = false;   // something of ours in the app's file is not as it was

  Mode mode_ = Mode::kNormal;
  bool recovery_ready_ = false;  // the old ledger is forgotten, versions may come
  bool recovery_news_ = false;   // nobody has been told yet
  Revision shared_revision_ = 0;

  std::map<std::string, std::shared_ptr<const OutgoingBatch>> in_memory_;
  // Entities with an unanswered item; where a newer edit waits behind it, the
  // drain that brought it, else 0.
  absl::flat_hash_map<EntityKey, int64_t> unanswered_;
  bool unanswered_loaded_ = false;
  // Of answers that the app keeps from being finished: what was done already; finished:
  // nothing is left of it.
  std::map<std::string, AnswerReport> partial_answers_;
  TimeNs clock_offset_ = 0;
  std::unique_ptr<Comparison> comparison_;
  // Scan mode: see NoticeSilentCommit.
  int64_t seen_data_version_ = -1;
  int64_t synced_data_version_ = -1;     // of snapshot_, when the app's journal was synced
  std::optional<int64_t> log_end_seen_;  // by the last Maintain
  bool retry_set_aside_ = false;
  // When set-aside versions were tried last: what had been committed, and when next.
  int64_t retried_data_version_ = -1;
  absl::Duration retry_at_ = absl::ZeroDuration();
  absl::Duration retry_delay_ = kRetryDelayMin;
  int64_t scan_found_ = 0;
  absl::Duration scan_delay_ = absl::Minutes(1);
  // Of the monotonic clock: when a scan begins (or has begun), and its next slice.
  std::optional<absl::Duration> scan_at_;
  absl::Duration scan_slice_at_ = -absl::InfiniteDuration();
  bool scan_again_ = false;  // somebody committed while it was under way
  absl::Duration tidy_at_ = -absl::InfiniteDuration();
};

}  // namespace ptdoc::sync
