#include "sync-service/store/sqlite_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/store/backup.h"
#include "sync-service/store/files.h"
#include "sync-service/store/schema.h"
#include "sync-service/store/sqlite_writer.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kIdleReadersMax = 4;
// Commits move the write-ahead log by themselves above this many pages (64
// MiB): a background thread calls Checkpoint long before.
// Savepoints keep the pages that they may have to put back: in memory.
constexpr char kWriterPragmas[] =
    "PRAGMA wal_autocheckpoint=16384; PRAGMA journal_size_limit=67108864;"
    "PRAGMA cache_size=-32768; PRAGMA temp_store=MEMORY";
// Above this many pages (8 MiB) in the write-ahead log a checkpoint holds the
// writer for as long as it takes to move the end of it, so that the next write
// begins the log anew. Without that a writer that never rests would always be a
// little ahead, and the log would grow for ever.
constexpr int64_t kHeldCheckpointPages = 2000;
constexpr absl::Duration kHeldCheckpointWait = absl::Seconds(1);
constexpr char kReaderPragmas[] = "PRAGMA query_only=ON; PRAGMA cache_size=-8192";

class SqliteStore;

// A snapshot on a connection of the pool.
class SqliteReader final : public SqliteReads<StoreReader> {
 public:
  SqliteReader(SqliteStore& store, std::unique_ptr<StoreConnection> connection,
               sqlite::Transaction transaction)
      : SqliteReads(*connection),
        store_(store),
        connection_(std::move(connection)),
        transaction_(std::move(transaction)) {}
  ~SqliteReader() override;

 private:
  SqliteStore& store_;
  std::unique_ptr<StoreConnection> connection_;
  sqlite::Transaction transaction_;
};

class SqliteStore final : public Store {
 public:
  SqliteStore(SqliteStoreOptions options, FileLock lock, sqlite::Database writer,
              sqlite::Database watcher, sqlite::Database checkpointer)
      : options_(std::move(options)),
        lock_(std::move(lock)),
        writer_(std::move(writer)),
        watcher_(std::move(watcher)),
        checkpointer_(std::move(checkpointer)) {}

  absl::StatusOr<std::unique_ptr<StoreWriter>> BeginWrite() override;
  absl::StatusOr<std::unique_ptr<StoreReader>> BeginRead() override;
  absl::StatusOr<int64_t> ChangeCounter() override;
  absl::Status Backup(const std::string& path) override;
  absl::Status ClaimForService() override;
  absl::Status Checkpoint() override;

  void GiveBack(std::unique_ptr<StoreConnection> connection);

 private:
  absl::StatusOr<std::unique_ptr<StoreConnection>> TakeReader();
  absl::Status TakeWriter();
  // In front of all writers that wait. False if it is not free in time.
  bool TakeWriterForCheckpoint();
  void ReleaseWriter();
  // Moves what can be moved without waiting for anybody; returns how many pages
  // stand in the log.
  absl::StatusOr<int64_t> MoveLog() ABSL_EXCLUSIVE_LOCKS_REQUIRED(checkpoint_mutex_);

  const SqliteStoreOptions options_;
  FileLock lock_;

  Mutex writer_mutex_;
  CondVar writer_free_;
  bool writer_taken_ ABSL_GUARDED_BY(writer_mutex_) = false;
  bool checkpoint_waits_ ABSL_GUARDED_BY(writer_mutex_) = false;
  StoreConnection writer_;  // belongs to whoever has it taken

  Mutex pool_mutex_;
  std::vector<std::unique_ptr<StoreConnection>> idle_readers_ ABSL_GUARDED_BY(pool_mutex_);

  Mutex watcher_mutex_;
  sqlite::Database watcher_ ABSL_GUARDED_BY(watcher_mutex_);
  Mutex checkpoint_mutex_;
  sqlite::Database checkpointer_ ABSL_GUARDED_BY(checkpoint_mutex_);
};

SqliteReader::~SqliteReader() {
  queries_.Release();
  transaction_.Rollback();
  store_.GiveBack(std::move(connection_));
}

sqlite::OpenOptions ConnectionOptions(const SqliteStoreOptions& options) {
  sqlite::OpenOptions result;
  result.busy_timeout = options.busy_timeout;
  result.vfs = options.vfs;
  return result;
}

absl::StatusOr<sqlite::Database> OpenReadConnection(const SqliteStoreOptions& options) {
  PT_ASSIGN_OR_RETURN(sqlite::Database db,
                      sqlite::Database::Open(options.path, ConnectionOptions(options)));
  PT_RETURN_IF_ERROR(db.Exec(kReaderPragmas));
  return db;
}

absl::StatusOr<sqlite::Database> OpenWriteConnection(const SqliteStoreOptions& options,
                                                     absl::Time now, Rng& rng) {
  sqlite::OpenOptions open = ConnectionOptions(options);
  if (options.create) open.mode = sqlite::OpenOptions::Mode::kCreate;
  PT_ASSIGN_OR_RETURN(sqlite::Database db, sqlite::Database::Open(options.path, open));
  PT_RETURN_IF_ERROR(PrepareSchema(db, now, rng));
  PT_RETURN_IF_ERROR(db.Exec(kWriterPragmas));
  if (options.bytes_max == 0) return db;
  PT_ASSIGN_OR_RETURN(const int64_t page_bytes, db.QueryInt("PRAGMA page_size"));
  const int64_t pages = std::max<int64_t>(options.bytes_max / page_bytes, 1);
  PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("PRAGMA max_page_count=", pages)));
  return db;
}

absl::StatusOr<std::unique_ptr<StoreWriter>> SqliteStore::BeginWrite() {
  PT_RETURN_IF_ERROR(TakeWriter());
  absl::StatusOr<sqlite::Transaction> transaction = sqlite::Transaction::Begin(writer_.db);
  if (!transaction.ok()) {
    ReleaseWriter();
    return StoreError(transaction.status());
  }
  return std::make_unique<SqliteWriter>(writer_, *std::move(transaction),
                                        [this] { ReleaseWriter(); });
}

absl::Status SqliteStore::TakeWriter() {
  MutexLock lock(writer_mutex_);
  while (writer_taken_ || checkpoint_waits_) {
    if (writer_free_.WaitFor(writer_mutex_, options_.busy_timeout)) continue;
    if (!writer_taken_ && !checkpoint_waits_) break;
    return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                       "The store is busy with another write. Nothing was stored. "
                       "Try again in a moment.");
  }
  writer_taken_ = true;
  return absl::OkStatus();
}

void SqliteStore::ReleaseWriter() {
  MutexLock lock(writer_mutex_);
  writer_taken_ = false;
  writer_free_.NotifyAll();
}

bool SqliteStore::TakeWriterForCheckpoint() {
  MutexLock lock(writer_mutex_);
  checkpoint_waits_ = true;
  while (writer_taken_ && writer_free_.WaitFor(writer_mutex_, kHeldCheckpointWait)) {
  }
  checkpoint_waits_ = false;
  const bool taken = !writer_taken_;
  writer_taken_ = true;
  if (!taken) writer_free_.NotifyAll();
  return taken;
}

absl::StatusOr<std::unique_ptr<StoreReader>> SqliteStore::BeginRead() {
  absl::StatusOr<std::unique_ptr<StoreConnection>> connection = TakeReader();
  if (!connection.ok()) return StoreError(connection.status());
  absl::StatusOr<sqlite::Transaction> snapshot =
      sqlite::Transaction::Begin((*connection)->db, sqlite::Transaction::Kind::kRead);
  if (!snapshot.ok()) return StoreError(snapshot.status());
  return std::make_unique<SqliteReader>(*this, *std::move(connection), *std::move(snapshot));
}

absl::StatusOr<std::unique_ptr<StoreConnection>> SqliteStore::TakeReader() {
  {
    MutexLock lock(pool_mutex_);
    if (!idle_readers_.empty()) {
      std::unique_ptr<StoreConnection> idle = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return idle;
    }
  }
  PT_ASSIGN_OR_RETURN(sqlite::Database db, OpenReadConnection(options_));
  return std::make_unique<StoreConnection>(std::move(db));
}

void SqliteStore::GiveBack(std::unique_ptr<StoreConnection> connection) {
  MutexLock lock(pool_mutex_);
  if (idle_readers_.size() < kIdleReadersMax) idle_readers_.push_back(std::move(connection));
}

// The watcher never writes, so that what it sees change are the commits of all
// others, of this process and of any other one.
absl::StatusOr<int64_t> SqliteStore::ChangeCounter() {
  MutexLock lock(watcher_mutex_);
  return Mapped(watcher_.QueryInt("PRAGMA data_version"));
}

absl::Status SqliteStore::Backup(const std::string& path) {
  std::error_code error;
  if (path == options_.path || std::filesystem::equivalent(path, options_.path, error)) {
    return ReasonError(
        absl::StatusCode::kInvalidArgument, "USAGE",
        "The backup would replace the store itself. Nothing was copied. Give another path.");
  }
  absl::StatusOr<std::unique_ptr<StoreConnection>> connection = TakeReader();
  if (!connection.ok()) return StoreError(connection.status());
  const absl::Status status = WriteBackup((*connection)->db, path);
  GiveBack(*std::move(connection));
  return StoreError(status);
}

absl::Status SqliteStore::ClaimForService() {
  if (!options_.vfs.empty()) return absl::OkStatus();  // The VFS is alone with the file.
  const absl::StatusOr<bool> claimed = lock_.TakeMark();
  if (claimed.ok() && *claimed) return absl::OkStatus();
  if (!claimed.ok()) {
    return ReasonError(claimed.status().code(), "FILE",
                       absl::StrCat("The lock file ", LockPathOf(options_.path),
                                    " cannot be locked: ", claimed.status().message(),
                                    ". Nothing was started. Keep the store on a local disk."));
  }
  return ReasonError(absl::StatusCode::kFailedPrecondition, "STORE_IN_USE",
                     absl::StrCat("Another sync-service serves the store ", options_.path,
                                  ". Nothing was started, and the other one goes on. Stop it "
                                  "first, or give this one a store of its own with --store."));
}

absl::Status SqliteStore::Checkpoint() {
  MutexLock lock(checkpoint_mutex_);
  PT_ASSIGN_OR_RETURN(const int64_t pages, Mapped(MoveLog()));
  if (pages < kHeldCheckpointPages || !TakeWriterForCheckpoint()) return absl::OkStatus();
  const absl::Status moved = Mapped(MoveLog()).status();
  ReleaseWriter();
  return moved;
}

absl::StatusOr<int64_t> SqliteStore::MoveLog() {
  PT_ASSIGN_OR_RETURN(sqlite::Statement row,
                      checkpointer_.Prepare("PRAGMA wal_checkpoint(PASSIVE)"));
  PT_ASSIGN_OR_RETURN(const bool found, row.Step());
  return found ? row.Int(1) : 0;
}

absl::StatusOr<FileLock> LockForUse(const std::string& path) {
  absl::StatusOr<FileLock> lock = FileLock::Take(LockPathOf(path), FileLock::Kind::kShared);
  if (!absl::IsUnavailable(lock.status())) return lock;
  return ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                     "The store is being restored. Nothing was changed. Try again when that is "
                     "done.");
}

absl::Status CheckExists(const std::string& path) {
  std::error_code error;
  if (std::filesystem::exists(path, error)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("There is no store at ", path, "."));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const SqliteStoreOptions& options,
                                                       const Clock& clock, Rng& rng) {
  FileLock lock;
  if (options.vfs.empty()) {
    if (!options.create) PT_RETURN_IF_ERROR(CheckExists(options.path));
    PT_ASSIGN_OR_RETURN(lock, LockForUse(options.path));
    if (options.create) PT_RETURN_IF_ERROR(CreatePrivateFile(options.path));
  }
  absl::StatusOr<sqlite::Database> writer = OpenWriteConnection(options, clock.Now(), rng);
  if (!writer.ok()) return StoreError(writer.status());
  // What one that was killed had written, and not yet waited for, is seen from
  // here on: it must be on the disk before anybody is told of it.
  const absl::Status synced = writer->SyncJournal();
  if (!synced.ok()) return StoreError(synced);
  absl::StatusOr<sqlite::Database> watcher = OpenReadConnection(options);
  if (!watcher.ok()) return StoreError(watcher.status());
  absl::StatusOr<sqlite::Database> checkpointer =
      sqlite::Database::Open(options.path, ConnectionOptions(options));
  if (!checkpointer.ok()) return StoreError(checkpointer.status());
  return std::make_unique<SqliteStore>(options, std::move(lock), *std::move(writer),
                                       *std::move(watcher), *std::move(checkpointer));
}

absl::Status StartNewEpochOfSqliteStore(const SqliteStoreOptions& options, Rng& rng) {
  absl::StatusOr<sqlite::Database> db =
      sqlite::Database::Open(options.path, ConnectionOptions(options));
  if (!db.ok()) return StoreError(db.status());
  PT_RETURN_IF_ERROR(Mapped(CheckIsStore(*db)));
  PT_RETURN_IF_ERROR(Mapped(MigrateSchema(*db)));
  return Mapped(StartNewEpoch(*db, rng));
}

}  // namespace ptdoc::sync
