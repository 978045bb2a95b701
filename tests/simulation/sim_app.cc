#include "tests/simulation/sim_app.h"

#include <iterator>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "tests/simulation/content_mark.h"
#include "tests/simulation/sim_numbers.h"

namespace ptdoc::sync::sim {
namespace {

constexpr char kSchema[] = R"sql(
CREATE TABLE Patient(Id TEXT PRIMARY KEY, Name TEXT, Code TEXT UNIQUE, Visits INTEGER,
    Weight REAL, Photo BLOB);
CREATE TABLE ClinicalNote(Id TEXT PRIMARY KEY,
    PatientId TEXT NOT NULL REFERENCES Patient(Id) ON DELETE CASCADE,
    Body TEXT, SignatureHash TEXT);
CREATE TABLE IntakeForm(Id TEXT PRIMARY KEY, PatientId TEXT REFERENCES Patient(Id),
    Answers TEXT, IsLocked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE Tag(PatientId TEXT, Name TEXT, Note, PRIMARY KEY(PatientId, Name)) WITHOUT ROWID;
CREATE TABLE Transfer(Id TEXT PRIMARY KEY, Pair TEXT, Amount INTEGER);
CREATE TRIGGER PatientTouched AFTER UPDATE OF Name ON Patient WHEN new.Visits > 1
  BEGIN UPDATE Patient SET Weight = ifnull(new.Weight, 0) + 1 WHERE Id = new.Id; END;
)sql";

const std::vector<TableSpec>& TextTables() {
  static const auto* tables =
      new std::vector<TableSpec>{{"Patient", {"Id"}, nullptr, false},
                                 {"ClinicalNote", {"Id"}, nullptr, false},
                                 {"IntakeForm", {"Id"}, nullptr, false},
                                 {"Tag", {"PatientId", "Name"}, nullptr, false},
                                 {"Transfer", {"Id"}, nullptr, false}};
  return *tables;
}

std::vector<TableSpec> Tables(bool is_numbered) {
  std::vector<TableSpec> tables = TextTables();
  if (is_numbered) {
    tables.insert(tables.end(), NumberedTables().begin(), NumberedTables().end());
  }
  return tables;
}

std::string Quote(const std::string& text) {
  return sqlite::QuoteText(text);
}

// The statement with parameters in place of its texts. (None of ours holds a
// quote; x'00' is no text.)
std::string WithoutTexts(const std::string& sql, std::vector<std::string>* texts) {
  std::string general;
  for (size_t at = 0; at < sql.size(); ++at) {
    if (sql[at] != '\'') {
      general += sql[at];
      continue;
    }
    const size_t end = sql.find('\'', at + 1);
    const std::string text = sql.substr(at + 1, end - at - 1);
    if (at > 0 && sql[at - 1] == 'x') {
      absl::StrAppend(&general, "'", text, "'");
    } else {
      texts->push_back(text);
      absl::StrAppend(&general, "?", texts->size());
    }
    at = end;
  }
  return general;
}

}  // namespace

PlanRequest SimApp::Entities(const World& world, bool with_tags) {
  PlanRequest request;
  for (const TableSpec& table : Tables(world.has_numbers())) {
    if (!with_tags && std::string(table.name) == "Tag") continue;
    EntityConfig config;
    config.table = table.name;
    if (table.is_numbered) config.key = table.key;
    request.entities.push_back(config);
  }
  return request;
}

void SimApp::Create() {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kCreate;
  options.wal = world_.Chance(0.8);
  options.synchronous_full = full_ = world_.Chance(0.5);
  blind_ = world_.Chance(0.1);
  options.vfs = vfs_;
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(path_, options);
  PT_CHECK(db.ok());
  PT_CHECK(db->Exec(kSchema).ok());
  if (world_.has_numbers()) PT_CHECK(db->Exec(kNumberedSchema).ok());
}

void SimApp::Open() {
  sqlite::OpenOptions options;
  options.foreign_keys = true;
  options.legacy_schema = true;
  options.synchronous_full = full_;
  options.busy_timeout = absl::ZeroDuration();
  options.vfs = vfs_;
  absl::StatusOr<sqlite::Database> db = sqlite::Database::Open(path_, options);
  PT_CHECK(db.ok());
  db_ = std::move(*db);
  has_allergy_ = db_->Prepare("SELECT Allergy FROM Patient").ok();
}

// The file may be another device's by now.
bool SimApp::durable() {
  const absl::StatusOr<Value> mode = db_->QueryValue("PRAGMA journal_mode");
  return full_ && mode.ok() && mode->bytes() == "wal";
}

bool SimApp::Exec(const std::string& sql) {
  world_.Trace(absl::StrCat(name_, " app: ", sql));
  return db_->Exec(sql).ok();
}

// Compiled once: with every trigger of its table that takes longer than to run it.
bool SimApp::Change(const std::string& sql) {
  world_.Trace(absl::StrCat(name_, " app: ", sql));
  std::vector<std::string> texts;
  const std::string general = WithoutTexts(sql, &texts);
  absl::StatusOr<sqlite::Statement> change = db_->Prepare(general);
  if (!change.ok()) return false;
  for (size_t i = 0; i < texts.size(); ++i) change->Bind(static_cast<int>(i + 1), texts[i]);
  return change->Run().ok();
}

bool SimApp::Run(const char* sql) {
  absl::StatusOr<sqlite::Statement> statement = db_->Prepare(sql);
  return statement.ok() && statement->Run().ok();
}

std::vector<SimApp::Edit> SimApp::Write() {
  world_.Step();
  if (in_long()) return {};
  const Rows before = ReadAll();
  if (!Run("BEGIN IMMEDIATE")) return {};
  // Some programs run with triggers switched off.
  const bool blind = blind_ && world_.Chance(0.1);
  if (blind) {
    world_.Count("app wrote with triggers off");
    world_.Trace(name_ + " app: with triggers off");
    PT_CHECK(db_->EnableTriggers(false).ok());
  }
  const absl::Cleanup see = [this] { PT_CHECK(db_->EnableTriggers(true).ok()); };
  bool good = true;
  for (uint64_t i = 0; i <= world_.rng().Below(4) && good; ++i) good = Statement();
  // A deferred or refused foreign key, a NOT NULL: the app rolls back.
  if (!good || !Run("COMMIT")) {
    PT_CHECK(!db_->in_transaction() || db_->Exec("ROLLBACK").ok());
    world_.Trace(name_ + " app: rolled back");
    return {};
  }
  std::vector<Edit> edits = Difference(before);
  // Nobody hears that these were one.
  if (blind) {
    for (const Edit& edit : edits) world_.PairMayBreak(edit.key);
  }
  return edits;
}

bool SimApp::DropTriggers(const std::string& table) {
  std::vector<std::string> names;
  {
    absl::StatusOr<sqlite::Statement> rows = db_->Prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'Sync%' AND "
        "tbl_name = ?1 ORDER BY name");
    PT_CHECK(rows.ok());
    rows->Bind(1, table);
    while (true) {
      const absl::StatusOr<bool> more = rows->Step();
      if (!more.ok()) return false;
      if (!*more) break;
      names.emplace_back(rows->Text(0));
    }
  }
  for (const std::string& name : names) {
    if (!Exec("DROP TRIGGER " + sqlite::QuoteName(name))) return false;
  }
  return true;
}

bool SimApp::DeleteRow(const std::string& table, const Fields& row) {
  std::string where;
  for (const TableSpec& spec : Tables(world_.has_numbers())) {
    if (spec.name != table) continue;
    for (const std::string& column : spec.key) {
      const std::string value = Quote(std::string(row.Find(column)->bytes()));
      where += absl::StrCat(where.empty() ? " WHERE " : " AND ", WhereKey(spec, column, value));
    }
  }
  return Exec("DELETE FROM " + table + where);
}

std::vector<SimApp::Edit> SimApp::DeleteUnseen(const EntityKey& key) {
  if (in_long()) return {};
  const Rows before = ReadAll();
  const auto row = before.find(key);
  if (row == before.end() || !db_->Exec("BEGIN IMMEDIATE").ok()) return {};
  // With a write that is captured: a commit that leaves no row in the log would be
  // looked into.
  const bool written = DropTriggers(key.type) && DeleteRow(key.type, row->second) && Transfer();
  if (!written || !db_->Exec("COMMIT").ok()) {
    PT_CHECK(!db_->in_transaction() || db_->Exec("ROLLBACK").ok());
    return {};
  }
  return Difference(before);
}

bool SimApp::BeginLong() {
  if (in_long()) return false;
  const Rows before = ReadAll();
  if (!Run("BEGIN IMMEDIATE")) return false;
  world_.Count("app held the lock");
  world_.Trace(name_ + " app: begins a long transaction");
  long_ = before;
  if (!Statement()) {
    PT_CHECK(!db_->in_transaction() || db_->Exec("ROLLBACK").ok());
    long_.reset();
    return false;
  }
  return true;
}

std::vector<SimApp::Edit> SimApp::EndLong() {
  if (!in_long()) return {};
  const Rows before = *std::exchange(long_, std::nullopt);
  if (!Run("COMMIT")) {
    PT_CHECK(!db_->in_transaction() || db_->Exec("ROLLBACK").ok());
    return {};
  }
  world_.Trace(name_ + " app: ends it");
  return Difference(before);
}

std::vector<SimApp::Edit> SimApp::Difference(const Rows& before) {
  const Rows after = ReadAll();
  std::vector<Edit> edits;
  for (const auto& [key, fields] : before) {
    const auto now = after.find(key);
    if (now == after.end()) {
      edits.push_back({key, fields, std::nullopt});
    } else if (now->second != fields) {
      edits.push_back({key, fields, now->second});
    }
  }
  for (const auto& [key, fields] : after) {
    if (!before.contains(key)) edits.push_back({key, std::nullopt, fields});
  }
  return edits;
}

bool SimApp::Rebuild(const std::string& table) {
  const absl::StatusOr<Value> sql = db_->QueryValue(
      "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = " + Quote(table));
  if (!sql.ok() || sql->is_null()) return false;
  std::string made = std::string(sql->bytes());
  made.replace(made.find(table), table.size(), "Rebuilt");
  // As Django does it: copy, drop, rename, with foreign keys off.
  return Exec("PRAGMA foreign_keys = OFF") && Exec("BEGIN IMMEDIATE") && Exec(made) &&
         Exec("INSERT INTO Rebuilt SELECT * FROM " + table) && Exec("DROP TABLE " + table) &&
         Exec("ALTER TABLE Rebuilt RENAME TO " + table) && Exec("COMMIT");
}

void SimApp::Migrate() {
  if (!is_open() || in_long()) return;
  const char* const tables[] = {"ClinicalNote", "IntakeForm", "Transfer"};
  const std::string table = tables[world_.rng().Below(3)];
  switch (world_.rng().Below(5)) {
    case 0:
    case 1:
      if (Rebuild(table)) world_.Count("table rebuilt");
      break;
    case 2:
      AddColumn();
      break;
    default: {
      const absl::StatusOr<Value> trigger = db_->QueryValue(absl::StrCat(
          "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'Sync%' "
          "LIMIT 1 OFFSET ",
          world_.rng().Below(20)));
      if (!trigger.ok() || trigger->is_null()) break;
      if (Exec("DROP TRIGGER " + sqlite::QuoteName(trigger->bytes()))) {
        world_.Count("trigger dropped");
      }
    }
  }
  if (db_->in_transaction()) PT_CHECK(db_->Exec("ROLLBACK").ok());
  PT_CHECK(db_->Exec("PRAGMA foreign_keys = ON").ok());
}

bool SimApp::AddColumn() {
  if (has_allergy_) return true;
  if (!is_open() || in_long()) return false;
  has_allergy_ = Exec("ALTER TABLE Patient ADD COLUMN Allergy TEXT");
  if (has_allergy_) world_.Count("column added");
  return has_allergy_;
}

bool SimApp::WriteSilently() {
  return Exec("PRAGMA user_version = " + absl::StrCat(++silent_));
}

bool SimApp::Statement() {
  if (world_.merges_fields() && world_.Chance(0.4)) return WriteField();
  if (world_.has_numbers() && world_.Chance(0.4)) return WriteNumbered();
  switch (world_.rng().Below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return WritePatient();
    case 4:
    case 5:
    case 6:
      return WriteNote();
    case 7:
      return WriteForm();
    case 8:
    case 9:
      return WriteTag();
    case 10:
      return WriteFamily();
    default:
      return Transfer();
  }
}

std::string SimApp::Patient() {
  return Quote(absl::StrCat("p", world_.rng().Below(10)));
}

// Few values, so that edits undo and repeat each other.
std::string SimApp::Text() {
  // A long one may be more than the service takes.
  if (world_.Chance(0.04)) return Quote(absl::StrCat(kContentMark, std::string(600, 'x')));
  return Quote(absl::StrCat(kContentMark, " ", world_.rng().Below(5)));
}

bool SimApp::WritePatient() {
  const std::string id = Patient();
  const std::string code =
      Quote(absl::StrCat(kContentMark, " ", name_, "-", world_.rng().Below(6)));
  switch (world_.rng().Below(12)) {
    case 10:  // another key: the old one is gone, a new one is there
      return Change("UPDATE OR IGNORE Patient SET Id = " + Patient() + " WHERE Id = " + id);
    case 0:
    case 1:
      return Change("INSERT OR IGNORE INTO Patient(Id, Name) VALUES (" + id + ", " + Text() + ")");
    case 2:
      return Change("INSERT OR REPLACE INTO Patient(Id, Name, Code) VALUES (" + id + ", " + Text() +
                    ", " + code + ")");
    case 3:
      return Change("UPDATE Patient SET Name = " + Text() + " WHERE Id = " + id);
    case 4:
      return Change("UPDATE Patient SET Visits = ifnull(Visits, 0) + 1 WHERE Id = " + id);
    case 5:
      return Change("UPDATE Patient SET Weight = ifnull(Weight, 70) + 0.5 WHERE Id = " + id);
    case 6:
      if (has_allergy_ && world_.Chance(0.5)) {
        return Change("UPDATE Patient SET Allergy = " + Text() + " WHERE Id = " + id);
      }
      return Change("UPDATE Patient SET Name = Name WHERE Id = " + id);  // a touch
    case 7:
      return Change("DELETE FROM IntakeForm WHERE PatientId = " + id) &&
             Change("DELETE FROM Patient WHERE Id = " + id);
    case 8:  // deleted and made anew under the same key
      return Change("DELETE FROM IntakeForm WHERE PatientId = " + id) &&
             Change("DELETE FROM Patient WHERE Id = " + id) &&
             Change("INSERT INTO Patient(Id, Name, Photo) VALUES (" + id + ", " + Text() +
                    ", CAST(x'00ff' || " + Text() + " AS BLOB))");
    case 9:
      return Change("UPDATE OR REPLACE Patient SET Code = " + code + " WHERE Id = " + id);
    default:  // done and undone, as far as the next reader can tell
      return Change("UPDATE Patient SET Name = 'x' || Name WHERE Id = " + id) &&
             Change("UPDATE Patient SET Name = substr(Name, 2) WHERE Id = " + id);
  }
}

// Of few patients one column or two, so that devices meet in a row or a field.
bool SimApp::WriteField() {
  const std::string id = Quote(absl::StrCat("p", world_.rng().Below(3)));
  const std::string sets[] = {"Name = " + Text(), "Visits = " + absl::StrCat(world_.rng().Below(3)),
                              "Weight = " + absl::StrCat(70 + world_.rng().Below(3), ".5"),
                              "Visits = 1, Name = " + Text(), "Name = NULL"};
  return Change("UPDATE Patient SET " + sets[world_.rng().Below(std::size(sets))] +
                " WHERE Id = " + id);
}

bool SimApp::WriteNote() {
  const std::string id = Quote(absl::StrCat("n", world_.rng().Below(16)));
  switch (world_.rng().Below(6)) {
    case 0:
    case 1:
      return Change("INSERT OR IGNORE INTO ClinicalNote(Id, PatientId, Body) SELECT " + id +
                    ", Id, " + Text() + " FROM Patient WHERE Id = " + Patient());
    case 2:
      return Change("UPDATE ClinicalNote SET Body = " + Text() + " WHERE Id = " + id);
    case 3:
      return Change("UPDATE ClinicalNote SET SignatureHash = 's' || Body WHERE Id = " + id);
    case 4:
      return Change("UPDATE ClinicalNote SET PatientId = " + Patient() + " WHERE Id = " + id);
    default:
      return Change("DELETE FROM ClinicalNote WHERE Id = " + id);
  }
}

bool SimApp::WriteForm() {
  const std::string id = Quote(absl::StrCat("f", world_.rng().Below(8)));
  switch (world_.rng().Below(5)) {
    case 0:
    case 1:
      return Change("INSERT OR IGNORE INTO IntakeForm(Id, PatientId, Answers) SELECT " + id +
                    ", Id, " + Text() + " FROM Patient WHERE Id = " + Patient());
    case 2:
      return Change("UPDATE IntakeForm SET Answers = " + Text() + " WHERE Id = " + id);
    case 3:
      return Change("UPDATE IntakeForm SET IsLocked = 1 WHERE Id = " + id);
    default:
      return Change("DELETE FROM IntakeForm WHERE Id = " + id);
  }
}

bool SimApp::WriteTag() {
  const std::string name = Quote(absl::StrCat("t", world_.rng().Below(3)));
  const std::string where = " WHERE PatientId = " + Patient() + " AND Name = " + name;
  switch (world_.rng().Below(5)) {
    case 0:
      return Change("INSERT INTO Tag VALUES (" + Patient() + ", " + name +
                    ", 1) ON CONFLICT DO UPDATE SET Note = Note + 1");
    case 1:
      return Change("INSERT OR REPLACE INTO Tag VALUES (" + Patient() + ", " + name + ", 1.0)");
    case 2:
      return Change("UPDATE Tag SET Note = " + Text() + where);
    case 3:  // another key: deletes one entity and makes another
      return Change("UPDATE OR IGNORE Tag SET Name = Name || '2'" + where);
    default:
      return Change("DELETE FROM Tag" + where);
  }
}

// Parent and children in one transaction.
bool SimApp::WriteFamily() {
  const std::string id = Patient();
  const std::string number = absl::StrCat(world_.rng().Below(16));
  return Change("INSERT OR IGNORE INTO Patient(Id, Name) VALUES (" + id + ", " + Text() + ")") &&
         Change("INSERT OR IGNORE INTO ClinicalNote(Id, PatientId, Body) VALUES ('n" + number +
                "', " + id + ", " + Text() + ")") &&
         Change("INSERT OR IGNORE INTO IntakeForm(Id, PatientId, Answers) VALUES ('f" + number +
                "', " + id + ", " + Text() + ")");
}

bool SimApp::Transfer() {
  const std::string pair = absl::StrCat(name_, "-", ++transfers_);
  const std::string amount =
      absl::StrCat(kAmountMark + 1 + static_cast<int64_t>(world_.rng().Below(999)));
  if (!whole_commits_) {
    return Change("INSERT INTO Transfer VALUES ('" + pair + "a', '" + pair + "', '0')");
  }
  // The column makes numbers of them.
  return Change("INSERT INTO Transfer VALUES ('" + pair + "a', '" + pair + "', '" + amount +
                "')") &&
         Change("INSERT INTO Transfer VALUES ('" + pair + "b', '" + pair + "', '-" + amount + "')");
}

bool SimApp::WriteNumbered() {
  world_.Count("app wrote rows that it numbers by itself");
  bool good = true;
  for (const std::string& sql : NumberedStatements(world_, Text())) good = good && Change(sql);
  return good;
}

Rows SimApp::ReadAll() {
  Rows rows;
  for (const TableSpec& table : Tables(world_.has_numbers())) {
    absl::StatusOr<sqlite::Statement> select =
        table.select != nullptr ? db_->Prepare(table.select)
                                : db_->Prepare(absl::StrCat("SELECT * FROM ", table.name));
    PT_CHECK(select.ok());
    while (true) {
      const absl::StatusOr<bool> row = select->Step();
      PT_CHECK(row.ok());
      if (!*row) break;
      Fields fields;
      for (int i = 0; i < select->column_count(); ++i) {
        fields.Set(select->ColumnName(i), select->ColumnValue(i));
      }
      std::vector<Value> key;
      for (const std::string& column : table.key) key.push_back(*fields.Find(column));
      const std::vector<Affinity> affinities(key.size(), Affinity::kText);
      rows[{table.name, *EncodeEntityId(key, affinities)}] = std::move(fields);
    }
  }
  return rows;
}

int64_t SimApp::BankSum() {
  return *db_->QueryInt("SELECT sum(Amount) FROM Transfer");
}

std::vector<std::string> SimApp::HalfPairs() {
  absl::StatusOr<sqlite::Statement> rows =
      db_->Prepare("SELECT Pair FROM Transfer GROUP BY Pair HAVING sum(Amount) <> 0 ORDER BY Pair");
  PT_CHECK(rows.ok());
  std::vector<std::string> pairs;
  while (true) {
    const absl::StatusOr<bool> more = rows->Step();
    PT_CHECK(more.ok());
    if (!*more) return pairs;
    pairs.emplace_back(rows->Text(0));
  }
}

std::string SimApp::Check() {
  const absl::StatusOr<Value> integrity = db_->QueryValue("PRAGMA integrity_check");
  if (!integrity.ok() || integrity->bytes() != "ok") return "integrity_check";
  const absl::StatusOr<Value> keys = db_->QueryValue("PRAGMA foreign_key_check");
  if (!keys.ok() || !keys->is_null()) return "foreign_key_check";
  return "";
}

}  // namespace ptdoc::sync::sim
