#include "tests/simulation/sim_service.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "tests/simulation/overhear.h"

namespace ptdoc::sync::sim {
namespace {

constexpr ptrdiff_t kLostMax = 2000;

// What was sent is what the service now holds.
bool IsOwn(const ChangeResult& result) {
  return result.outcome == Outcome::kAccepted || result.resolution == Resolution::kLocalWins ||
         result.resolution == Resolution::kSignedWins ||
         result.resolution == Resolution::kLockedWins;
}

// Something that was sent does not stand.
bool HasLost(const Change& change, const ChangeResult& result) {
  if (result.resolution != Resolution::kMerged) return !IsOwn(result);
  if (!result.current.has_value()) return false;
  return std::any_of(change.fields.begin(), change.fields.end(), [&](const Field& field) {
    const Value* const stands = result.current->fields.Find(field.name);
    return stands == nullptr || *stands != field.value;
  });
}

}  // namespace

SimService::SimService(World& world, const Chaos& chaos)
    : world_(world),
      chaos_(chaos),
      disk_(world.rng()),
      process_(disk_, "sim-service", world.clock()) {
  world_.AfterEach([this] {
    if (engine_ != nullptr && process_.dead()) Crash();
  });
  world_.Every(absl::Minutes(1), [this] { Prune(); });
}

SimService::~SimService() {
  engine_.reset();
  store_.reset();
  for (const auto& [what, times] : disk_.counters()) world_.Count("service disk: " + what, times);
}

EngineOptions SimService::Options() {
  EngineOptions options;
  TypePolicy manual;
  manual.policy = ConflictPolicy::kManual;
  options.policies.Set("Tag", manual);
  return options;
}

void SimService::Start() {
  if (engine_ != nullptr) return;
  process_.Start();
  process_.SetErrors(chaos_.disk_errors);
  SqliteStoreOptions options;
  options.path = "/service.db";
  options.vfs = process_.vfs();
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenSqliteStore(options, world_.clock(), world_.rng());
  if (!store.ok()) {
    if (chaos_.disk_errors == 0 && !disk_.full()) {
      world_.Fail(absl::StrCat("the store does not open: ", store.status().ToString()));
      return;
    }
    world_.Trace("service: does not start: " + TextOf(store.status()));
    world_.After(absl::Seconds(1), [this] { Start(); });
    return;
  }
  store_ = std::move(*store);
  Configure();
  ++life_;
  unread_ = true;
  world_.Trace("service: up");
  if (world_.Chance(chaos_.disk_crash)) {
    process_.DieInCall(static_cast<int64_t>(1 + world_.rng().Below(400)));
  }
}

// The engine holds no state but these.
void SimService::Configure() {
  EngineOptions options = Options();
  if (world_.merges_fields()) {
    TypePolicy merging;
    merging.policy = ConflictPolicy::kMergeFields;
    for (const char* const type : {"Patient", "ClinicalNote"}) options.policies.Set(type, merging);
  }
  options.tombstone_retention = retention_;
  if (refuses_long_) options.max_row_bytes = 400;
  engine_ = std::make_unique<Engine>(*store_, world_.clock(), world_.rng(), options);
}

absl::Status SimService::Admit(const std::string& device) const {
  if (!expired_.contains(device)) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kUnauthenticated, "TOKEN_EXPIRED", "expired");
}

void SimService::ShowTags(const std::string& device, bool shown) {
  if (shown) {
    without_tags_.erase(device);
  } else {
    without_tags_.insert(device);
  }
  // Who reads on hears of it; who was away does when he calls.
  for (const auto& follower : followers_) follower();
}

std::shared_ptr<const TypeRights> SimService::RightsOf(const std::string& device) const {
  if (refused_type_.empty() && ShowsTags(device)) return nullptr;
  auto rights = std::make_shared<TypeRights>();
  rights->types = {"Patient",  "ClinicalNote", "IntakeForm", "Tag",
                   "Transfer", "Room",         "Booking",    "RoomLabel"};
  if (rights->types.erase(refused_type_) > 0) rights->read_only.insert(refused_type_);
  if (!ShowsTags(device)) {
    rights->types.erase("Tag");
    rights->read_only.erase("Tag");
  }
  return rights;
}

void SimService::Crash() {
  if (engine_ == nullptr) return;
  world_.Trace(process_.dead() ? "service: dies inside a disk call" : "service: dies");
  Bury();
  world_.After(world_.Between(absl::Milliseconds(100), absl::Seconds(5)), [this] { Start(); });
}

void SimService::Bury() {
  process_.Kill();
  record_.merges.Forget();
  waiting_.clear();
  commit_due_ = false;
  engine_.reset();
  store_.reset();
  for (const auto& watcher : watchers_) watcher();
}

void SimService::PowerCut() {
  world_.Trace("service: power cut");
  disk_.PowerCut();
  Crash();
}

void SimService::FillDisk() {
  disk_.SetFull(true);
  world_.Trace("service: disk full");
  world_.After(world_.Between(absl::Seconds(1), absl::Seconds(30)), [this] {
    disk_.SetFull(false);
    world_.Trace("service: disk has room");
  });
}

void SimService::Heal() {
  refuses_long_ = false;
  refused_type_.clear();
  if (up()) Configure();
  disk_.SetFull(false);
  process_.SetErrors(0);
  process_.DieInCall(0);
}

absl::Status SimService::Wire(const absl::Status& status) {
  // Nobody hears what a dead process would have said.
  if (process_.dead()) return absl::UnavailableError("connection reset");
  Overhear(world_, "a status of the service", status.ToString());
  return status;
}

absl::StatusOr<PullPage> SimService::Pull(const PullQuery& query, const PullPosition* resume) {
  absl::StatusOr<PullPage> page = engine_->Pull(query, resume);
  if (process_.dead() || !page.ok()) return Wire(page.status());
  record_.referee.Tell(page->cursor, page->epoch);
  if (unread_ && !Mirror()) return page;
  PullQuery shown = query;
  std::erase_if(shown.types, [&](const std::string& type) {
    return query.who.rights != nullptr && !query.who.rights->MaySee(type);
  });
  record_.feed.Judge(world_, shown, resume, *page, record_.history);
  return page;
}

absl::StatusOr<FetchPage> SimService::Fetch(const Principal& who,
                                            const std::vector<EntityKey>& keys,
                                            const std::string& witness) {
  absl::StatusOr<FetchPage> page = engine_->Fetch(who, keys, witness);
  if (process_.dead() || !page.ok()) return Wire(page.status());
  return page;
}

void SimService::Push(PushBatch batch, PushReply reply) {
  waiting_.push_back(Waiting{std::move(batch), std::move(reply)});
  if (commit_due_) return;
  commit_due_ = true;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Milliseconds(3)), [this, life = life_] {
    if (up() && life == life_) Commit();
  });
}

void SimService::Commit() {
  commit_due_ = false;
  if (world_.Chance(chaos_.service_crash / 2)) return Crash();
  std::deque<Waiting> waiting = std::exchange(waiting_, {});
  std::vector<PushBatch> batches;
  for (const Waiting& one : waiting) batches.push_back(one.batch);
  // What was committed by one that died over telling it.
  process_.SetQuiet(true);
  if (unread_) PT_CHECK(Mirror());
  process_.SetQuiet(false);
  unread_ = true;
  const std::vector<absl::StatusOr<PushAnswer>> answers = engine_->Push(batches);
  if (process_.dead()) return Crash();
  bool appended = false;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (!answers[i].ok()) {
      Overhear(world_, "an answer to a push", answers[i].status().ToString());
      continue;
    }
    Note(batches[i], *answers[i]);
    appended |= answers[i]->appended;
  }
  world_.Step();
  world_.Trace(absl::StrCat("service: commits ", batches.size(), " batches"));
  if (world_.Chance(chaos_.service_crash / 2)) return Crash();
  for (size_t i = 0; i < batches.size(); ++i) waiting[i].reply(answers[i]);
  if (appended) Tell();
}

void SimService::Tell() {
  Mirror();
  for (const auto& follower : followers_) follower();
}

// Reads what was committed since the last look. False if the disk failed.
bool SimService::Mirror() {
  const absl::StatusOr<std::unique_ptr<StoreReader>> reader = store_->BeginRead();
  if (!reader.ok()) return false;
  while (true) {
    Revision covered = 0;
    const auto log = (*reader)->ReadLog(kTenant, record_.newest, {}, 1000, 1 << 24, &covered);
    if (!log.ok()) return false;
    for (const FeedVersion& one : *log) {
      record_.feed.Append(world_, one);
      record_.history[one.version.key].push_back(one.version);
    }
    if (covered <= record_.newest) break;
    record_.newest = covered;
  }
  unread_ = false;
  record_.merges.Judge(world_, record_.history);
  CheckTaken();
  return true;
}

// What was acknowledged is in the log as it was sent (P1).
void SimService::CheckTaken() {
  for (const Taken& taken : std::exchange(taken_, {})) {
    const Change& change = taken.change;
    const auto versions = record_.history.find(change.key);
    const Version* found = nullptr;
    if (versions != record_.history.end()) {
      for (const Version& version : versions->second) {
        if (version.revision == taken.revision) found = &version;
      }
    }
    bool as_sent = found != nullptr && found->deleted == (change.operation == Operation::kDelete);
    for (const Field& field : change.fields) {
      const Value* const kept = as_sent ? found->fields.Find(field.name) : nullptr;
      as_sent = kept != nullptr && *kept == field.value;
    }
    if (as_sent) continue;
    world_.Fail(absl::StrCat("a change was acknowledged and is not in the log (P1): ",
                             change.key.type, "/", change.key.id, " r", taken.revision));
  }
}

void SimService::Prune() {
  // What retention takes must have been read.
  if (!up() || !Mirror()) return;
  const absl::StatusOr<bool> more = engine_->Prune();
  if (more.ok()) world_.Count("retention ran");
}

void SimService::Backup() {
  if (!up() || !Mirror()) return;
  Copy copy;
  for (const char* const suffix : {"", "-wal"}) {
    const std::string path = absl::StrCat("/service.db", suffix);
    if (const auto bytes = disk_.Read(path); bytes.has_value()) copy.files[path] = *bytes;
  }
  copy.record = record_;
  backup_ = std::move(copy);
  world_.Trace(absl::StrCat("service: backup at r", record_.newest));
}

void SimService::RememberVersions(const Record& lost) {
  for (const auto& [key, versions] : lost.history) {
    for (const Version& version : versions) {
      if (version.revision > record_.newest) lost_.push_back(version);
    }
  }
  if (lost_.size() > kLostMax) lost_.erase(lost_.begin(), lost_.end() - kLostMax);
}

// Transfers that the copy does not hold are offered again row by row.
void SimService::RememberPairs(const Record& lost) {
  for (const auto& [key, versions] : lost.history) {
    if (!record_.history.contains(key)) world_.PairMayBreak(key);
  }
}

void SimService::Restore(bool new_epoch) {
  world_.Count(new_epoch ? "service restored" : "service rolled back");
  world_.Trace(absl::StrCat("service: ", new_epoch ? "restored" : "rolled back", " to r",
                            backup_->record.newest));
  if (engine_ != nullptr) Bury();
  disk_.SetFull(false);
  process_.Start();
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    const std::string path = absl::StrCat("/service.db", suffix);
    const auto bytes = backup_->files.find(path);
    if (bytes == backup_->files.end()) {
      disk_.Remove(path);
    } else {
      disk_.Overwrite(path, bytes->second);
    }
  }
  const Record lost = std::exchange(record_, backup_->record);
  record_.referee.Remember(lost.referee, record_.newest);
  record_.feed.Remember(lost.feed);
  RememberPairs(lost);
  RememberVersions(lost);
  taken_.clear();
  if (new_epoch) {
    SqliteStoreOptions options;
    options.path = "/service.db";
    options.vfs = process_.vfs();
    process_.SetQuiet(true);
    const absl::Status status = StartNewEpochOfSqliteStore(options, world_.rng());
    process_.SetQuiet(false);
    if (!status.ok()) world_.Fail("no new epoch: " + status.ToString());
  }
  Start();
}

std::multimap<EntityKey, std::string> SimService::Archived() {
  // For the simulation's own eyes: no disk fails meanwhile.
  process_.SetQuiet(true);
  const absl::Cleanup loud = [this] { process_.SetQuiet(false); };
  std::multimap<EntityKey, std::string> archived;
  const std::unique_ptr<StoreReader> reader = Read();
  StoreReader::ConflictFilter filter;
  filter.include_resolved = true;
  std::set<std::string> ids;
  while (true) {
    const absl::StatusOr<std::vector<ArchiveRow>> rows = reader->ListConflicts(kTenant, filter);
    PT_CHECK(rows.ok());
    for (const ArchiveRow& row : *rows) {
      filter.after_id = row.id;
      if (!ids.insert(row.conflict_id).second) {
        world_.Fail(absl::StrCat("a loser stands in the archive twice (P6): ", row.key.type, "/",
                                 row.key.id));
      }
      const auto whole = reader->FindConflict(kTenant, row.conflict_id);
      PT_CHECK(whole.ok() && whole->has_value());
      record_.referee.JudgeLoss(world_, **whole);
      archived.emplace(row.key, (*whole)->archived_json);
    }
    if (rows->size() < filter.limit) break;
  }
  for (const auto& [id, loss] : record_.losses) {
    if (ids.contains(id)) continue;
    world_.Fail(absl::StrCat("an answered conflict has no archive row (P6): ", loss.key.type, "/",
                             loss.key.id));
  }
  return archived;
}

void SimService::Administrate() {
  if (!up()) return;
  Principal who;
  who.tenant = kTenant;
  who.role = Role::kAdmin;
  who.user = "the administrator";
  absl::StatusOr<Revision> done = absl::NotFoundError("");
  switch (world_.rng().Below(3)) {
    case 0:
      done =
          engine_->Unlock(who, {"IntakeForm", absl::StrCat("f", world_.rng().Below(8))}, "asked");
      if (done.ok()) world_.Count("form unlocked");
      break;
    case 1:
      done = Resolve(who);
      if (done.ok()) world_.Count("conflict resolved");
      break;
    default:
      return Restrict();
  }
  unread_ = true;
  world_.Trace(absl::StrCat("service: an administrator: ", TextOf(done.status())));
  Overhear(world_, "an answer to an administrator", done.status().ToString());
  if (done.ok()) Tell();
}

// For a while it takes no long rows, or none of one type.
void SimService::Restrict() {
  const bool is_restricted = refuses_long_ || !refused_type_.empty();
  refuses_long_ = !is_restricted && world_.Chance(0.5);
  refused_type_.clear();
  if (!is_restricted && !refuses_long_) refused_type_ = world_.Chance(0.5) ? "Tag" : "IntakeForm";
  world_.Trace(absl::StrCat("service: now refuses ", refuses_long_ ? "long rows" : refused_type_));
  Configure();
}

absl::StatusOr<Revision> SimService::Resolve(const Principal& who) {
  StoreReader::ConflictFilter filter;
  filter.limit = 20;
  process_.SetQuiet(true);
  const absl::StatusOr<std::vector<ArchiveRow>> open = Read()->ListConflicts(kTenant, filter);
  process_.SetQuiet(false);
  if (!open.ok() || open->empty()) return absl::NotFoundError("no conflict");
  const ArchiveRow& row = (*open)[world_.rng().Below(open->size())];
  const auto versions = record_.history.find(row.key);
  ResolveRequest request;
  request.reason_code = "reviewed";
  request.conflict_id = row.conflict_id;
  request.action = world_.Chance(0.3) ? ResolveAction::kKeep : ResolveAction::kRestore;
  if (versions != record_.history.end()) {
    request.expected_revision = versions->second.back().revision;
  }
  return engine_->ResolveConflict(who, request);
}

// Merely old content never wins. (The version log itself may have been pruned.)
void SimService::CheckReoffer(const Change& change, Revision revision) {
  const auto versions = record_.history.find(change.key);
  if (versions == record_.history.end()) return;
  for (const Version& version : versions->second) {
    if (!version.deleted && version.revision < revision && version.fields == change.fields) {
      world_.Fail(absl::StrCat("old content won by a re-offer: ", change.key.type, "/",
                               change.key.id, " r", version.revision));
    }
  }
}

void SimService::Note(const PushBatch& batch, const PushAnswer& answer) {
  record_.referee.Judge(world_, batch, answer, record_.history, world_.clock().Now());
  if (answer.voided || answer.results.size() != batch.changes.size() || batch.changes.empty())
    return;
  if (!record_.noted.insert(absl::StrCat(batch.who.device, "/", batch.batch_id)).second) return;
  for (size_t i = 0; i < answer.results.size(); ++i) {
    const ChangeResult& result = answer.results[i];
    const Change& change = batch.changes[i];
    world_.Trace(absl::StrCat("service: ", batch.who.device, " ", change.key.type, "/",
                              change.key.id, " ", OperationName(change.operation), " on ",
                              change.base_revision, change.reoffer ? " again" : "", " at ",
                              change.last_modified.value_or(0) % 1'000'000'000'000, " -> ",
                              OutcomeName(result.outcome), " ", ResolutionName(result.resolution),
                              " rule ", result.rule, " r", result.revision, " ",
                              ErrorCodeName(result.error_code)));
    if (!result.conflict_id.empty()) {
      record_.losses[result.conflict_id] = {change.key, result.resolution, batch.who.device,
                                            HasLost(change, result), batch.batch_id};
    }
    Overhear(world_, "a result", result.error_message);
    if (world_.merges_fields() &&
        (change.key.type == "Patient" || change.key.type == "ClinicalNote")) {
      record_.merges.Hear(batch.who.device, change, result, world_.clock().Now(), record_.newest);
    }
    record_.audited += result.outcome == Outcome::kUnchanged ? 0 : 1;
    if (result.error_code != ErrorCode::kNone) {
      world_.Count(absl::StrCat("refused ", ErrorCodeName(result.error_code)));
    }
    world_.Count(absl::StrCat("rule ", result.rule, " ", OutcomeName(result.outcome), " ",
                              ResolutionName(result.resolution)));
    if (!IsOwn(result)) continue;
    ++accepted;
    taken_.push_back({change, result.revision});
    if (change.reoffer) CheckReoffer(change, result.revision);
    record_.origins[{change.key, result.revision}] = {change.base_revision, batch.who.device,
                                                      result.rule};
  }
}

void SimService::Look(const std::function<void(sqlite::Database&)>& look) {
  process_.SetQuiet(true);
  const absl::Cleanup loud = [this] { process_.SetQuiet(false); };
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadOnly;
  options.vfs = process_.vfs();
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open("/service.db", options);
  PT_CHECK(db.ok());
  look(*db);
}

void SimService::CheckAcknowledged() {
  process_.SetQuiet(true);
  const absl::Cleanup loud = [this] { process_.SetQuiet(false); };
  PT_CHECK(Mirror());
  const std::unique_ptr<StoreReader> reader = Read();
  for (const auto& [key, versions] : record_.history) {
    const absl::StatusOr<std::optional<StoredVersion>> head = reader->Head(kTenant, key);
    PT_CHECK(head.ok());
    const Version& newest = versions.back();
    // Of what was deleted long ago not even a tombstone stands.
    if (!head->has_value() && newest.deleted) continue;
    if (!head->has_value() || (*head)->version.revision != newest.revision) {
      world_.Fail(absl::StrCat("the newest version of ", key.type, "/", key.id,
                               " is not held any more (P2): r", newest.revision));
    }
  }
  record_.referee.JudgeReceipts(world_, *reader, kTenant);
  const absl::StatusOr<AuditVerdict> audit = VerifyAudit(*reader, kTenant);
  PT_CHECK(audit.ok());
  if (!audit->intact) {
    world_.Fail(absl::StrCat("the audit chain is broken at ", audit->first_bad_sequence));
  }
  if (audit->entries < record_.audited) {
    world_.Fail(absl::StrCat("the audit tells of ", audit->entries, " changes of ", record_.audited,
                             " that were answered"));
  }
  world_.Count("audit rows verified", static_cast<int64_t>(audit->entries));
}

std::unique_ptr<StoreReader> SimService::Read() {
  absl::StatusOr<std::unique_ptr<StoreReader>> reader = store_->BeginRead();
  PT_CHECK(reader.ok());
  return std::move(*reader);
}

}  // namespace ptdoc::sync::sim
