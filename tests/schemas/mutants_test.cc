// Damage at random: of the app's file, of its -wal, and of a file that the app writes to
// meanwhile. Whatever the damage, nothing that nobody wrote is pushed, and a file that is
// put back is whole again.
//   PTDOC_MUTANTS=10000 PTDOC_SEED=1 schemas_test --gtest_filter='*Mutant*'
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "tests/schemas/mishap_fixture.h"

namespace ptdoc::sync {
namespace {

namespace fs = std::filesystem;

constexpr int kPatients = 60;
constexpr const char* kFiles[] = {"dev-a.db", "dev-a.db-wal", "dev-a.db.sync", "dev-b.db",
                                  "dev-b.db.sync"};

uint64_t NumberOf(const char* name, uint64_t usual) {
  const char* const given = std::getenv(name);
  return given == nullptr ? usual : std::strtoull(given, nullptr, 10);
}

// A file whose bytes go wrong under everybody's hands. Closing a file drops all locks
// that this process has on it: this one stays open as long as SQLite works with it.
class Damaged {
 public:
  explicit Damaged(const std::string& path) : fd_(open(path.c_str(), O_RDWR | O_CLOEXEC)) {}
  ~Damaged() {
    if (fd_ >= 0) close(fd_);
  }
  Damaged(const Damaged&) = delete;
  Damaged& operator=(const Damaged&) = delete;

  void Damage(Rng& rng) {
    for (uint64_t runs = 1 + rng.Below(4); runs > 0; --runs) Once(rng);
  }

 private:
  void Once(Rng& rng) {
    struct stat file{};
    if (fd_ < 0 || fstat(fd_, &file) != 0 || file.st_size == 0) return;
    const auto size = static_cast<uint64_t>(file.st_size);
    const uint64_t at = rng.Below(size);
    const size_t length =
        1 + rng.Below(std::min<uint64_t>(size - at, rng.Below(3) == 0 ? 1100 : 64));
    std::string bytes(length, '\0');
    switch (rng.Below(10)) {
      case 0:
        if (ftruncate(fd_, static_cast<off_t>(at)) != 0) PT_CHECK(false);
        return;
      case 1:
      case 2:
        break;  // zeros
      case 3: {
        char byte = 0;
        if (pread(fd_, &byte, 1, static_cast<off_t>(at)) != 1) return;
        bytes.assign(1, static_cast<char>(byte ^ (1 << rng.Below(8))));
        break;
      }
      case 4:
      case 5:  // what stands elsewhere
        if (pread(fd_, bytes.data(), length, static_cast<off_t>(rng.Below(size))) < 0) return;
        break;
      default:
        bytes = rng.Bytes(length);
    }
    if (pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) < 0) PT_CHECK(false);
  }

  const int fd_;
};

class MutantTest : public MishapTest {
 protected:
  void Begin(const std::string& journal_mode) {
    const std::string pragmas =
        absl::StrCat("PRAGMA page_size=1024; PRAGMA journal_mode=", journal_mode, ";");
    a_.Begin(pragmas + kTables);
    b_.Begin(pragmas + kTables);
    a_.set_keep_pushed();
    a_.Sql(absl::StrCat(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ", kPatients,
        ") INSERT INTO Patient SELECT printf('p%03d', i), 'Name ' || i, 'body of ' || i FROM n;"
        "INSERT INTO Visit SELECT 'v' || Id, Id, 'note' FROM Patient"));
    SyncBoth();
  }
  // All that there is, as it is now: each mutant begins with it.
  void Keep() {
    fs::create_directories(dir_ + "/kept");
    a_.Close();
    Shut(b_);
    ASSERT_TRUE(service_.store().Backup(dir_ + "/kept/service.db").ok());
    for (const char* file : kFiles) {
      if (!fs::exists(dir_ + "/" + file)) continue;
      fs::copy_file(dir_ + "/" + file, dir_ + "/kept/" + file, fs::copy_options::skip_existing);
    }
    a_.CloseApp();
    NoteWritten();
  }
  void PutBack(const std::vector<std::string>& files) {
    for (const std::string& file : files) {
      for (const char* suffix : {"-wal", "-shm", "-journal"})
        fs::remove(dir_ + "/" + file + suffix);
    }
    for (const std::string& file : files) {
      if (!fs::exists(dir_ + "/kept/" + file)) continue;
      fs::copy_file(dir_ + "/kept/" + file, dir_ + "/" + file,
                    fs::copy_options::overwrite_existing);
    }
  }
  void Restore() {
    PutBack({std::begin(kFiles), std::end(kFiles)});
    service_.RollBackTo(dir_ + "/kept/service.db");
    written_ = kept_written_;
    deleted_.clear();
    touched_.clear();
    as_it_stands_ = 0;
    a_.pushed.clear();
  }

  // --- Who wrote what, so that nothing else may leave.
  void NoteWritten() {
    b_.OpenApp();
    for (const std::string& line : b_.Query("SELECT 'Patient/' || Id, Name, Body FROM Patient "
                                            "UNION ALL SELECT 'Visit/' || Id, PatientId, Note "
                                            "FROM Visit")) {
      const std::vector<std::string> parts = absl::StrSplit(line, '|');
      kept_written_[parts[0]].insert(parts.begin() + 1, parts.end());
    }
    b_.CloseApp();
  }
  void Write(const std::string& key, const std::string& value) { written_[key].insert(value); }
  void Touch(const std::string& key, const std::string& value) {
    touched_.insert(key);
    Write(key, value);
  }

  static std::string TextOf(const Value& value) {
    return value.type() == Value::Type::kText ? std::string(value.bytes()) : "not a text";
  }
  bool IsWritten(const std::string& key, const Fields& fields) const {
    const auto known = written_.find(key);
    if (known == written_.end()) return false;
    for (const Field& field : fields) {
      if (field.name != "Id" && !known->second.contains(TextOf(field.value))) return false;
    }
    return true;
  }
  // What SQLite's own check finds nothing in, such as another letter in a text, is for
  // everybody what stands in the file.
  bool IsInvisible() {
    sqlite::OpenOptions look;
    look.mode = sqlite::OpenOptions::Mode::kReadOnly;
    absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(File(a_), look);
    if (!db.ok()) return false;
    const absl::StatusOr<Value> verdict = db->QueryValue("PRAGMA integrity_check(1)");
    return verdict.ok() && verdict->bytes() == "ok";
  }
  void JudgePushed() {
    for (const Change& change : std::exchange(a_.pushed, {})) {
      const std::string key = absl::StrCat(change.key.type, "/", change.key.id);
      const bool deletes = change.operation == Operation::kDelete;
      if (deletes ? deleted_.contains(key) : IsWritten(key, change.fields)) continue;
      // A row that the app wrote meanwhile goes as it stands: its content no check judges.
      const bool stands = touched_.contains(key) && !deletes;
      EXPECT_TRUE(stands || IsInvisible())
          << key << " is sent as " << static_cast<int>(change.operation) << ", reoffer "
          << change.reoffer;
      ++as_it_stands_;
      if (deletes) deleted_.insert(key);
      for (const Field& field : change.fields) Write(key, TextOf(field.value));
    }
  }

  // --- What goes on.
  void AppWrites(Rng& rng, int number) {
    const std::string id = absl::StrFormat("p%03d", 1 + rng.Below(kPatients));
    const std::string text = absl::StrCat("written ", number);
    std::string sql;
    switch (rng.Below(4)) {
      case 0:
        Touch("Patient/" + id, text);
        sql = absl::StrCat("UPDATE Patient SET Name = '", text, "' WHERE Id = '", id, "'");
        break;
      case 1:
        for (const char* const value : {text.c_str(), "b"}) {
          Touch(absl::StrCat("Patient/n", number), value);
        }
        sql = absl::StrCat("INSERT INTO Patient VALUES('n", number, "', '", text, "', 'b')");
        break;
      case 2:
        Touch("Visit/v" + id, text);
        sql = absl::StrCat("UPDATE Visit SET Note = '", text, "' WHERE Id = 'v", id, "'");
        break;
      default:
        deleted_.insert("Visit/v" + id);
        sql = absl::StrCat("DELETE FROM Visit WHERE Id = 'v", id, "'");
    }
    a_.app().Exec(sql).IgnoreError();  // It may meet the damage first.
  }
  // Whatever the agent meets it may refuse; it may not send what nobody wrote.
  void Cycle() {
    const absl::StatusOr<DrainReport> drained = a_.replica().Drain();
    const bool reads = drained.ok() && (drained->file == FileState::kReady ||
                                        drained->file == FileState::kRecovering);
    if (!reads) {
      ++refused_;
      return;
    }
    a_.PushAll(service_).IgnoreError();
    JudgePushed();
    const absl::StatusOr<std::string> cursor = a_.replica().Cursor();
    ASSERT_TRUE(cursor.ok());
    const absl::StatusOr<IncomingPage> page = service_.Pull("dev-a", *cursor);
    if (page.ok()) a_.replica().Apply(*page).IgnoreError();
    a_.FetchAll(service_).IgnoreError();
    a_.replica().Maintain().IgnoreError();
  }
  bool OpenDamaged() {
    a_.Close();
    absl::StatusOr<std::unique_ptr<Replica>> replica = Replica::Open(a_.options(), clock_, rng_);
    if (!replica.ok()) return ++refused_, false;
    a_.Use(std::move(*replica));
    return true;
  }
  void ExpectWhatWasWritten() {
    for (TestDevice* device : {&a_, &b_}) {
      std::set<std::string> seen;
      for (const std::string& line :
           device->Query("SELECT 'Patient/' || Id, Name, Body FROM Patient UNION ALL SELECT "
                         "'Visit/' || Id, PatientId, Note FROM Visit")) {
        const std::vector<std::string> parts = absl::StrSplit(line, '|');
        seen.insert(parts[0]);
        for (size_t i = 1; i < parts.size(); ++i) {
          EXPECT_TRUE(written_[parts[0]].contains(parts[i])) << parts[0] << " is not as written";
        }
      }
      for (const auto& [key, values] : kept_written_) {
        EXPECT_TRUE(seen.contains(key) || deleted_.contains(key)) << key << " has gone";
      }
    }
  }
  // The app's file is put back; the ledger is what it became beside the damaged one.
  void MendAndSync() {
    PutBack({"dev-a.db", "dev-a.db-wal"});
    clock_.Advance(absl::Minutes(1));
    a_.OpenApp();
    a_.Open();
    b_.OpenApp();
    b_.Open();
    SyncBoth();
    SyncBoth();
    // A row that went with damage in it may refer to nothing: it is set aside everywhere.
    if (as_it_stands_ == 0) ExpectSame();
    EXPECT_TRUE(ContentOf(a_) == ContentOf(b_)) << "the devices hold different rows";
    ExpectWhatWasWritten();
    Shut(a_);
    Shut(b_);
  }

  std::map<std::string, std::set<std::string>> written_;  // by "type/id": what may stand there
  std::map<std::string, std::set<std::string>> kept_written_;
  std::set<std::string> deleted_;
  std::set<std::string> touched_;  // by the app, in this mutant
  int refused_ = 0;
  int as_it_stands_ = 0;  // rows sent so, in this mutant, with damage that no check finds
};

// Calls `one` for each mutant, as many as there is time for; what fails says how to see
// it again.
template <typename One>
void ForEachMutant(const One& one) {
  constexpr absl::Duration kTime = absl::Seconds(5);
  const uint64_t seed = NumberOf("PTDOC_SEED", std::random_device()());
  const uint64_t count = NumberOf("PTDOC_MUTANTS", 0);
  const SystemClock clock;
  const absl::Duration end = clock.Monotonic() + kTime;
  uint64_t mutant = 0;
  for (; count == 0 ? clock.Monotonic() < end : mutant < count; ++mutant) {
    SCOPED_TRACE(absl::StrCat("PTDOC_MUTANTS=1 PTDOC_SEED=", seed + mutant));
    SeededRng rng(seed + mutant);
    one(rng);
    if (testing::Test::HasFailure()) break;
  }
  std::printf("PTDOC_SEED=%llu: %llu mutants\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(mutant));
}

TEST_F(MutantTest, OfAFileThatNobodyWritesTo) {
  Begin("DELETE");
  Keep();
  ForEachMutant([&](Rng& rng) {
    Restore();
    Damaged(File(a_)).Damage(rng);
    if (OpenDamaged()) {
      if (rng.Below(2) == 0) a_.ledger().PutInt("compare", 1).IgnoreError();
      for (int i = 0; i < 3; ++i) Cycle();
    }
    Shut(a_);
    MendAndSync();
  });
}

TEST_F(MutantTest, OfAWalFile) {
  Begin("WAL");
  a_.Sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint=0");
  a_.Sql(
      "UPDATE Patient SET Name = 'second' WHERE Id < 'p020'; DELETE FROM Visit WHERE Id > 'vp050'");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'third' WHERE Id BETWEEN 'p010' AND 'p030'");
  SyncBoth();
  a_.Sql("UPDATE Patient SET Name = 'unsent' WHERE Id = 'p001'");
  a_.Sql("INSERT INTO Patient VALUES('n1', 'unsent', 'b')");
  a_.Sql("DELETE FROM Visit WHERE Id = 'vp002'");
  a_.Close();
  Keep();
  for (int i = 1; i <= kPatients; ++i)
    kept_written_[absl::StrFormat("Patient/p%03d", i)].insert({"second", absl::StrCat("Name ", i)});
  kept_written_["Patient/p001"].insert("unsent");
  ForEachMutant([&](Rng& rng) {
    Restore();
    Write("Patient/n1", "unsent");
    Write("Patient/n1", "b");
    deleted_.insert("Visit/vp002");
    for (int i = 51; i <= kPatients; ++i) {
      deleted_.insert(absl::StrFormat("Visit/vp%03d", i));
      Write(absl::StrFormat("Visit/vp%03d", i), absl::StrFormat("p%03d", i));
      Write(absl::StrFormat("Visit/vp%03d", i), "note");
    }
    Damaged(File(a_) + "-wal").Damage(rng);
    if (OpenDamaged()) {
      for (int i = 0; i < 4; ++i) Cycle();
    }
    Shut(a_);
    MendAndSync();
  });
}

TEST_F(MutantTest, OfAFileThatTheAppWritesToMeanwhile) {
  Begin("WAL");
  Keep();
  ForEachMutant([&](Rng& rng) {
    Restore();
    {
      Damaged file(File(a_));
      a_.OpenApp();
      a_.Sql("PRAGMA wal_autocheckpoint=8");
      ASSERT_TRUE(OpenDamaged());
      const uint64_t steps = 4 + rng.Below(12);
      const uint64_t damaged_at = rng.Below(steps);
      for (uint64_t step = 0; step < steps; ++step) {
        AppWrites(rng, static_cast<int>(step));
        if (step == damaged_at) file.Damage(rng);
        if (rng.Below(2) == 0) Cycle();
      }
      for (int i = 0; i < 3; ++i) Cycle();
      Shut(a_);
    }
    MendAndSync();
  });
}

}  // namespace
}  // namespace ptdoc::sync
