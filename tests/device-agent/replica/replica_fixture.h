#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "device-agent/replica/replica_impl.h"
#include "gtest/gtest.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/fake_clock.h"

namespace ptdoc::sync {

// The tables that most tests sync.
inline constexpr char kClinic[] = R"sql(
CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Phone TEXT DEFAULT 'none');
CREATE TABLE Visit(Id TEXT PRIMARY KEY, PatientId TEXT REFERENCES Patient(Id) ON DELETE CASCADE,
  Note TEXT, SignatureHash TEXT, Code TEXT UNIQUE);
)sql";

// What pairs of rows look like in tests: {"a|Ann|1"}.
using Lines = std::vector<std::string>;

// The service: the real engine over the real embedded store.
class TestService {
 public:
  TestService(const std::string& dir, const Clock& clock, Rng& rng) : clock_(clock), rng_(rng) {
    path_ = dir + "/service.db";
    OpenStore();
  }

  void OpenStore() {
    engine_.reset();
    store_.reset();
    auto store = OpenSqliteStore({path_, true, ""}, clock_, rng_);
    PT_CHECK(store.ok());
    store_ = *std::move(store);
    engine_ = std::make_unique<Engine>(*store_, clock_, rng_, options_);
  }

  void SetPolicy(const std::string& type, ConflictPolicy policy) {
    TypePolicy of_type;
    of_type.policy = policy;
    options_.policies.Set(type, of_type);
    OpenStore();
  }

  void RestoreFrom(const std::string& backup) {
    engine_.reset();
    store_.reset();
    std::filesystem::remove(path_ + "-wal");
    std::filesystem::remove(path_ + "-shm");
    PT_CHECK(RestoreSqliteStore(backup, path_, rng_).ok());
    OpenStore();
  }

  // Behind its back: under the same epoch.
  void RollBackTo(const std::string& backup) {
    engine_.reset();
    store_.reset();
    std::filesystem::remove(path_ + "-wal");
    std::filesystem::remove(path_ + "-shm");
    std::filesystem::copy_file(backup, path_, std::filesystem::copy_options::overwrite_existing);
    OpenStore();
  }

  Principal Who(const std::string& device) {
    const auto rights = rights_.find(device);
    return {"clinic",      device, "",
            Role::kDevice, "",     rights == rights_.end() ? nullptr : rights->second};
  }
  // What the device's token includes from now on; none: everything.
  void SetRights(const std::string& device, const TypeRights& rights) {
    rights_[device] = std::make_shared<const TypeRights>(rights);
  }

  absl::StatusOr<IncomingAnswer> Push(const std::string& device, const OutgoingBatch& batch,
                                      const std::string& cursor, bool settle = false) {
    PushBatch push;
    push.who = Who(device);
    push.batch_id = batch.batch_id;
    if (!settle) push.changes = batch.changes;
    push.cursor = cursor;
    push.witness = witness_;
    push.settle = settle;
    auto answers = engine_->Push({&push, 1});
    if (!answers[0].ok()) return answers[0].status();
    IncomingAnswer answer;
    answer.batch_id = answers[0]->batch_id;
    answer.results = answers[0]->results;
    answer.voided = answers[0]->voided;
    answer.witness = answers[0]->witness;
    answer.epoch = answers[0]->epoch;
    return answer;
  }

  // Everything up to the next batch end, as the session joins it.
  absl::StatusOr<IncomingPage> Pull(const std::string& device, const std::string& cursor,
                                    size_t page_size = 0,
                                    const std::vector<std::string>& types = {}) {
    IncomingPage joined;
    PullQuery query{Who(device), cursor, witness_, types, page_size};
    std::optional<PullPosition> resume;
    while (true) {
      auto page = engine_->Pull(query, resume.has_value() ? &*resume : nullptr);
      if (!page.ok()) return page.status();
      for (Version& version : page->versions) joined.versions.push_back(std::move(version));
      joined.refused_types = page->refused_types;
      joined.epoch = page->epoch;
      resume = page->next;
      if (!page->batch_end && !page->caught_up) continue;
      joined.cursor = page->cursor;
      joined.batch_end = true;
      joined.caught_up = page->caught_up;
      return joined;
    }
  }

  absl::StatusOr<IncomingFetch> Fetch(const std::string& device,
                                      const std::vector<EntityKey>& keys) {
    auto page = engine_->Fetch(Who(device), keys, witness_);
    if (!page.ok()) return page.status();
    IncomingFetch fetch;
    fetch.versions = page->versions;
    fetch.missing = page->missing;
    fetch.witness = page->witness;
    fetch.epoch = page->epoch;
    return fetch;
  }

  // What the calling device shows beside its cursor from now on.
  void set_witness(const std::string& witness) { witness_ = witness; }
  Engine& engine() { return *engine_; }
  Store& store() { return *store_; }

 private:
  std::string witness_;
  std::map<std::string, std::shared_ptr<const TypeRights>> rights_;
  const Clock& clock_;
  Rng& rng_;
  std::string path_;
  EngineOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Engine> engine_;
};

// One device: an app's file, the app's own connection to it, and a replica.
// What was taken; `batch` is the first.
struct Taken : TakeReport {
  std::optional<OutgoingBatch> batch;
};

class TestDevice {
 public:
  TestDevice(const std::string& dir, const std::string& name, const Clock& clock, Rng& rng)
      : clock_(clock), rng_(rng) {
    options_.database = absl::StrCat(dir, "/", name, ".db");
    options_.state = options_.database + ".sync";
    options_.device_id = name;
    options_.plan.all_tables = true;
    OpenApp();
  }

  void OpenApp() {
    sqlite::OpenOptions options;
    options.mode = sqlite::OpenOptions::Mode::kCreate;
    options.legacy_schema = true;
    app_ = std::make_unique<sqlite::Database>(*sqlite::Database::Open(options_.database, options));
  }
  void CloseApp() { app_.reset(); }

  void Sql(const std::string& sql) {
    const absl::Status status = app_->Exec(sql);
    ASSERT_TRUE(status.ok()) << status << " in " << sql;
  }
  // Initialises and opens.
  void Begin(const std::string& schema, const std::string& rows = "") {
    Sql(schema);
    if (!rows.empty()) Sql(rows);
    Init();
    Open();
  }
  void Init() {
    const auto enqueued = Replica::Initialise(options_, clock_, rng_);
    ASSERT_TRUE(enqueued.ok()) << enqueued.status();
    enqueued_ = *enqueued;
  }
  void Open() {
    replica_.reset();
    auto replica = Replica::Open(options_, clock_, rng_);
    ASSERT_TRUE(replica.ok()) << replica.status();
    replica_ = std::move(*replica);
  }
  void Use(std::unique_ptr<Replica> replica) { replica_ = std::move(replica); }
  void Close() { replica_.reset(); }

  Replica& replica() { return *replica_; }
  ReplicaImpl& impl() { return static_cast<ReplicaImpl&>(*replica_); }
  Ledger& ledger() { return replica_->ledger(); }
  sqlite::Database& app() { return *app_; }
  ReplicaOptions& options() { return options_; }
  const std::string& name() const { return options_.device_id; }
  int64_t enqueued() const { return enqueued_; }

  // Rows of a query as text, columns parted by '|', NULL as "-".
  static Lines Rows(sqlite::Database& db, const std::string& sql) {
    Lines lines;
    auto stmt = db.Prepare(sql);
    EXPECT_TRUE(stmt.ok()) << stmt.status() << " in " << sql;
    if (!stmt.ok()) return lines;
    while (true) {
      const auto found = stmt->Step();
      EXPECT_TRUE(found.ok()) << found.status();
      if (!found.ok() || !*found) return lines;
      std::string line;
      for (int i = 0; i < stmt->column_count(); ++i) {
        absl::StrAppend(&line, i == 0 ? "" : "|",
                        stmt->IsNull(i) ? "-" : std::string(stmt->Text(i)));
      }
      lines.push_back(std::move(line));
    }
  }
  Lines Query(const std::string& sql) { return Rows(*app_, sql); }
  Lines LedgerQuery(const std::string& sql) { return Rows(ledger().db(), sql); }
  // Id, operation and status of the queue: "a|0|0".
  Lines Queue() {
    return LedgerQuery("SELECT EntityId, Operation, Status FROM SyncQueueItems ORDER BY Id");
  }
  Lines OpenQueue() {
    return LedgerQuery(
        "SELECT EntityId, Operation, Status FROM SyncQueueItems WHERE Status IN (0, 1, 3) "
        "ORDER BY Id");
  }
  void SetItemTime(const std::string& id, TimeNs time) {
    const absl::Status status =
        ledger().db().Exec(absl::StrCat("UPDATE SyncQueueItems SET LastModifiedNs = ", time,
                                        " WHERE Status = 0 AND EntityId = '", id, "'"));
    ASSERT_TRUE(status.ok()) << status;
  }

  DrainReport Drain() {
    auto report = replica_->Drain();
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : DrainReport();
  }
  Taken Take(TakeLimits limits = TakeLimits()) {
    auto report = replica_->Take(limits);
    EXPECT_TRUE(report.ok()) << report.status();
    Taken taken;
    if (!report.ok()) return taken;
    static_cast<TakeReport&>(taken) = *std::move(report);
    if (!taken.batches.empty()) taken.batch = *taken.batches[0];
    return taken;
  }
  AnswerReport Finish(const IncomingAnswer& answer) { return FinishAll({answer}); }
  AnswerReport FinishAll(const std::vector<IncomingAnswer>& answers) {
    auto report = TryFinish(answers);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : AnswerReport();
  }
  PageReport Apply(const IncomingPage& page) {
    auto report = replica_->Apply(page);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : PageReport();
  }

  // A whole cycle as the session runs it; stops at the first error.
  absl::Status Sync(TestService& service) {
    for (int round = 0; round < 40; ++round) {
      PT_ASSIGN_OR_RETURN(const bool more, SyncOnce(service));
      if (!more) return absl::OkStatus();
    }
    return absl::InternalError("the cycle does not come to an end");
  }
  absl::Status PushAll(TestService& service) {
    for (int round = 0; round < 40; ++round) {
      PT_RETURN_IF_ERROR(SettleOpen(service));
      PT_ASSIGN_OR_RETURN(const TakeReport taken, replica_->Take(TakeLimits()));
      if (taken.batches.empty()) return absl::OkStatus();
      PT_ASSIGN_OR_RETURN(const std::string cursor, replica_->Cursor());
      PT_ASSIGN_OR_RETURN(const bool skips, replica_->CursorSkipsTypes());
      if (skips) return absl::FailedPreconditionError("as AgentCore says it");
      ShowWitness(service);
      PT_ASSIGN_OR_RETURN(const IncomingAnswer answer,
                          service.Push(name(), *taken.batches[0], cursor));
      const std::vector<Change>& changes = taken.batches[0]->changes;
      if (keep_pushed_) pushed.insert(pushed.end(), changes.begin(), changes.end());
      PT_RETURN_IF_ERROR(TryFinish({answer}).status());
    }
    return absl::InternalError("the queue does not come to an end");
  }
  absl::Status PullAll(TestService& service) {
    for (int round = 0; round < 400; ++round) {
      PT_ASSIGN_OR_RETURN(const std::string cursor, replica_->Cursor());
      ShowWitness(service);
      PT_ASSIGN_OR_RETURN(const IncomingPage page,
                          service.Pull(name(), cursor, page_size_, PulledTypes()));
      PT_ASSIGN_OR_RETURN(const PageReport report, replica_->Apply(page));
      if (report.file == FileState::kReady && page.caught_up) return absl::OkStatus();
    }
    return absl::InternalError("the pull does not come to an end");
  }
  absl::Status FetchAll(TestService& service) {
    PT_ASSIGN_OR_RETURN(const std::vector<EntityKey> keys, replica_->ToFetch(1000));
    if (keys.empty()) return absl::OkStatus();
    ShowWitness(service);
    PT_ASSIGN_OR_RETURN(const IncomingFetch fetch, service.Fetch(name(), keys));
    return replica_->ApplyFetched(fetch).status();
  }
  void set_page_size(size_t size) { page_size_ = size; }
  // Asks for the types of its plan, as the agent does; else for all.
  void set_names_types(bool names_types) { names_types_ = names_types; }
  // Whatever PushAll sends from now on stands in `pushed`, too.
  void set_keep_pushed() { keep_pushed_ = true; }
  std::vector<Change> pushed;

 private:
  absl::StatusOr<AnswerReport> TryFinish(const std::vector<IncomingAnswer>& answers) {
    std::vector<std::shared_ptr<const IncomingAnswer>> shared;
    for (const IncomingAnswer& answer : answers) {
      shared.push_back(std::make_shared<const IncomingAnswer>(answer));
    }
    return replica_->Finish(shared);
  }
  std::vector<std::string> PulledTypes() const {
    std::vector<std::string> types;
    if (names_types_) types = replica_->TypesToAsk();
    return types;
  }
  void ShowWitness(TestService& service) { service.set_witness(*ledger().Get("witness")); }
  absl::Status SettleOpen(TestService& service) {
    ShowWitness(service);
    PT_ASSIGN_OR_RETURN(const std::vector<std::string> open, replica_->OpenBatches());
    for (const std::string& id : open) {
      const OutgoingBatch* known = replica_->InMemory(id);
      const OutgoingBatch batch = known != nullptr ? *known : OutgoingBatch{id, {}};
      PT_ASSIGN_OR_RETURN(const IncomingAnswer answer,
                          service.Push(name(), batch, "", known == nullptr));
      PT_RETURN_IF_ERROR(TryFinish({answer}).status());
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> SyncOnce(TestService& service) {
    PT_RETURN_IF_ERROR(replica_->Drain().status());
    const absl::Status sent = PushAll(service);
    if (absl::IsFailedPrecondition(sent)) {
      PT_RETURN_IF_ERROR(Rebaseline(sent));
      return true;
    }
    PT_RETURN_IF_ERROR(sent);
    const absl::Status pulled = PullAll(service);
    if (absl::IsFailedPrecondition(pulled)) {
      PT_RETURN_IF_ERROR(SettleOpen(service));
      PT_RETURN_IF_ERROR(Rebaseline(pulled));
      return true;
    }
    PT_RETURN_IF_ERROR(pulled);
    PT_RETURN_IF_ERROR(FetchAll(service));
    PT_ASSIGN_OR_RETURN(const bool more, replica_->Maintain());
    PT_ASSIGN_OR_RETURN(const auto sendable, ledger().ListSendable(clock_.Now(), false, 0, 1000));
    PT_ASSIGN_OR_RETURN(const auto fetchable, replica_->ToFetch(1));
    bool waits = more || !fetchable.empty();
    for (const QueueItem& item : sendable) {
      waits |= !item.held && replica_->plan().ByType(item.key.type) != nullptr;
    }
    return waits;
  }
  absl::Status Rebaseline(const absl::Status& why) {
    const auto metadata = ReasonMetadata(why);
    const auto shared = metadata.find(kMetaSharedRevision);
    const Revision revision = shared == metadata.end() ? 0 : std::stoll(shared->second);
    return replica_->BeginRebaseline(revision);
  }

  const Clock& clock_;
  Rng& rng_;
  ReplicaOptions options_;
  std::unique_ptr<sqlite::Database> app_;
  std::unique_ptr<Replica> replica_;
  int64_t enqueued_ = 0;
  size_t page_size_ = 0;
  bool names_types_ = false;
  bool keep_pushed_ = false;
};

// Two devices and a service in a directory of their own.
class ReplicaTest : public testing::Test {
 protected:
  ReplicaTest()
      : dir_(MakeDir()),
        service_(dir_, clock_, rng_),
        a_(dir_, "dev-a", clock_, rng_),
        b_(dir_, "dev-b", clock_, rng_) {}
  ~ReplicaTest() override {
    a_.Close();
    b_.Close();
    std::filesystem::remove_all(dir_);
  }

  static std::string MakeDir() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    const std::string dir =
        absl::StrCat(testing::TempDir(), "/", info->test_suite_name(), "-", info->name());
    std::filesystem::remove_all(dir);
    std::filesystem::create_directories(dir);
    return dir;
  }

  void BeginBoth(const std::string& schema = kClinic) {
    a_.Begin(schema);
    b_.Begin(schema);
  }
  void Sync(TestDevice& device) {
    const absl::Status status = device.Sync(service_);
    ASSERT_TRUE(status.ok()) << status;
  }
  // Pushes and pulls until both devices and the service hold the same.
  void SyncBoth() {
    for (int i = 0; i < 2; ++i) {
      Sync(a_);
      Sync(b_);
    }
    Sync(a_);
  }
  std::vector<ArchiveRow> ServiceArchives() {
    auto reader = service_.store().BeginRead();
    StoreReader::ConflictFilter filter;
    filter.include_resolved = true;
    return *(*reader)->ListConflicts("clinic", filter);
  }

  // The triggers take the machine's clock; the service's is far ahead of it, so
  // that nothing is ever clamped.
  FakeClock clock_{absl::FromUnixSeconds(4'000'000'000)};
  SeededRng rng_{7};
  std::string dir_;
  TestService service_;
  TestDevice a_;
  TestDevice b_;
};

}  // namespace ptdoc::sync
