#include "tests/faults/service.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync::faults {
namespace {

constexpr char kFile[] = "/service.db";
constexpr size_t kAll = 100'000;

}  // namespace

FaultyService::FaultyService(sim::World& world, Injector& injector, Show show)
    : world_(world),
      injector_(injector),
      show_(std::move(show)),
      disk_(world.rng()),
      process_(disk_, "faulty-service", world.clock()) {
  process_.SetFault(injector_.Disk(Side::kService));
  world_.AfterEach([this] {
    if (engine_ == nullptr || !process_.dead()) return;
    world_.Trace("service: dies");
    Bury();
    world_.After(absl::Seconds(1), [this] { Start(); });
  });
}

FaultyService::~FaultyService() {
  engine_.reset();
  store_.reset();
}

void FaultyService::Start() {
  if (engine_ != nullptr) return;
  const MemoryScope scope(injector_.Memory(Side::kService));
  process_.Start();
  injector_.Reborn(Side::kService);
  SqliteStoreOptions options;
  options.path = kFile;
  options.vfs = process_.vfs();
  absl::StatusOr<std::unique_ptr<Store>> store =
      OpenSqliteStore(options, world_.clock(), world_.rng());
  if (!store.ok()) {
    if (!process_.dead()) show_("start", store.status());
    world_.Trace("service: does not start: " + store.status().ToString());
    world_.After(absl::Seconds(1), [this] { Start(); });
    return;
  }
  store_ = std::move(*store);
  EngineOptions engine;
  TypePolicy manual;
  manual.policy = ConflictPolicy::kManual;
  engine.policies.Set("Tag", manual);
  TypePolicy merge;
  merge.policy = ConflictPolicy::kMergeFields;
  engine.policies.Set("Patient", merge);
  engine_ = std::make_unique<Engine>(*store_, world_.clock(), world_.rng(), engine);
  ++life_;
  world_.Trace("service: up");
}

void FaultyService::Bury() {
  process_.Kill();
  const MemoryScope scope(injector_.Memory(Side::kService));
  engine_.reset();
  store_.reset();
  for (const auto& watcher : watchers_) watcher();
}

void FaultyService::Restart() {
  if (engine_ == nullptr) return;
  world_.Trace("service: stops");
  {
    const MemoryScope scope(injector_.Memory(Side::kService));
    engine_.reset();
    store_.reset();
  }
  process_.Kill();
  for (const auto& watcher : watchers_) watcher();
  world_.After(absl::Seconds(1), [this] { Start(); });
}

void FaultyService::Push(PushBatch batch,
                         std::function<void(const absl::StatusOr<PushAnswer>&)> reply) {
  world_.After(absl::Milliseconds(1),
               [this, life = life_, batch = std::move(batch), reply = std::move(reply)]() mutable {
                 if (!up() || life != life_) return;
                 const std::vector<absl::StatusOr<PushAnswer>> answers = [&] {
                   const MemoryScope scope(injector_.Memory(Side::kService));
                   return engine_->Push({&batch, 1});
                 }();
                 if (process_.dead()) return;
                 reply(answers[0]);
                 if (!answers[0].ok() || !answers[0]->appended) return;
                 for (const auto& follower : followers_) follower();
               });
}

absl::StatusOr<PullPage> FaultyService::Pull(const PullQuery& query, const PullPosition* resume) {
  const MemoryScope scope(injector_.Memory(Side::kService));
  absl::StatusOr<PullPage> page = engine_->Pull(query, resume);
  if (process_.dead()) return absl::UnavailableError("connection reset");
  return page;
}

absl::StatusOr<FetchPage> FaultyService::Fetch(const Principal& who,
                                               const std::vector<EntityKey>& keys,
                                               const std::string& witness) {
  const MemoryScope scope(injector_.Memory(Side::kService));
  absl::StatusOr<FetchPage> page = engine_->Fetch(who, keys, witness);
  if (process_.dead()) return absl::UnavailableError("connection reset");
  return page;
}

absl::Status FaultyService::Resolve(const EntityKey& key) {
  if (!up()) return absl::UnavailableError("the service is down");
  const MemoryScope scope(injector_.Memory(Side::kService));
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_->BeginRead());
  StoreReader::ConflictFilter filter;
  filter.key = key;
  PT_ASSIGN_OR_RETURN(const std::vector<ArchiveRow> open, reader->ListConflicts(kTenant, filter));
  // None: an earlier try had taken effect.
  if (open.empty()) return absl::OkStatus();
  PT_ASSIGN_OR_RETURN(const auto head, reader->Head(kTenant, key));
  Principal who;
  who.tenant = kTenant;
  who.role = Role::kReviewer;
  who.user = "the reviewer";
  ResolveRequest request;
  request.conflict_id = open[0].conflict_id;
  request.action = ResolveAction::kRestore;
  request.reason_code = "reviewed";
  request.expected_revision = head->version.revision;
  PT_RETURN_IF_ERROR(engine_->ResolveConflict(who, request).status());
  for (const auto& follower : followers_) follower();
  return absl::OkStatus();
}

absl::Status FaultyService::Maintain() {
  if (!up()) return absl::UnavailableError("the service is down");
  const MemoryScope scope(injector_.Memory(Side::kService));
  PT_RETURN_IF_ERROR(engine_->Prune().status());
  PT_RETURN_IF_ERROR(store_->Checkpoint());
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_->BeginRead());
  PT_ASSIGN_OR_RETURN(const AuditVerdict audit, VerifyAudit(*reader, kTenant));
  if (!audit.intact) return absl::DataLossError("the audit chain is broken");
  Principal who;
  who.tenant = kTenant;
  who.role = Role::kMonitor;
  return engine_->Status(who).status();
}

FaultyService::Held FaultyService::Read() {
  process_.SetQuiet(true);
  const absl::Cleanup loud = [this] { process_.SetQuiet(false); };
  Held held;
  const std::unique_ptr<StoreReader> reader = *store_->BeginRead();
  Revision covered = 0;
  const auto log = reader->ReadLog(kTenant, 0, {}, kAll, size_t{1} << 30, &covered);
  PT_CHECK(log.ok());
  for (const FeedVersion& one : *log) held.history[one.version.key].push_back(one.version);
  StoreReader::ConflictFilter filter;
  filter.include_resolved = true;
  filter.limit = kAll;
  const auto rows = reader->ListConflicts(kTenant, filter);
  PT_CHECK(rows.ok());
  for (const ArchiveRow& row : *rows) {
    const auto whole = reader->FindConflict(kTenant, row.conflict_id);
    PT_CHECK(whole.ok() && whole->has_value());
    held.archived.emplace(row.key, absl::StrCat(row.resolution_type, " ", (*whole)->archived_json));
  }
  sqlite::OpenOptions options;
  options.vfs = process_.vfs();
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(kFile, options);
  PT_CHECK(db.ok());
  const absl::StatusOr<Value> check = db->QueryValue("PRAGMA integrity_check");
  if (!check.ok() || check->bytes() != "ok") held.integrity = "the store: integrity_check";
  const absl::StatusOr<AuditVerdict> audit = VerifyAudit(*reader, kTenant);
  if (!audit.ok() || !audit->intact) held.integrity = "the store: audit chain";
  return held;
}

}  // namespace ptdoc::sync::faults
