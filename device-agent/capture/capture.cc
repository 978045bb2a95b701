#include "device-agent/capture/capture.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/model/reason.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kLog = "SyncLog";
constexpr absl::string_view kControl = "SyncControl";

// A random UUID (version 4) made by SQL.
constexpr absl::string_view kNewFileIdSql =
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || "
    "substr(hex(randomblob(2)), 2) || '-' || substr('89ab', (random() & 3) + 1, 1) || "
    "substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))";

// What of ours the file has.
struct Installed {
  std::vector<std::string> log_columns;      // empty: there is no log
  std::vector<std::string> control_columns;  // empty: there is no control table
  bool control_row = false;
  bool log_empty = true;
  std::map<std::string, std::string> triggers;  // texts by name
};

// "name type pk" of each column: what a table is for us. Its text may have been
// rewritten (ALTER TABLE RENAME puts quotes into it).
absl::StatusOr<std::vector<std::string>> ColumnsOf(sqlite::Database& db, absl::string_view table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT name || ' ' || type || ' ' || pk FROM "
                                 "pragma_table_xinfo(?1, 'main') ORDER BY cid"));
  rows.Bind(1, table);
  std::vector<std::string> columns;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return columns;
    columns.emplace_back(rows.Text(0));
  }
}

std::vector<std::string> WantedControlColumns() {
  return {"Id INTEGER 1",         "Applying INTEGER 0",   "ClockOffsetNs INTEGER 0",
          "NewestTime INTEGER 0", "PageNumber INTEGER 0", "PageTag INTEGER 0",
          "FileId TEXT 0"};
}

std::vector<std::string> WantedLogColumns(size_t key_columns) {
  std::vector<std::string> columns = {"Seq INTEGER 1", "Tag INTEGER 0", "TableNo INTEGER 0",
                                      "Op TEXT 0", "Time INTEGER 0"};
  for (size_t i = 1; i <= key_columns; ++i) columns.push_back(absl::StrCat("K", i, "  0"));
  return columns;
}

// True if the log has our columns, for keys of whatever width.
bool IsLog(const std::vector<std::string>& columns) {
  const size_t fixed = WantedLogColumns(0).size();
  return columns.size() > fixed && columns == WantedLogColumns(columns.size() - fixed);
}

absl::StatusOr<Installed> ReadInstalled(sqlite::Database& db) {
  Installed found;
  PT_ASSIGN_OR_RETURN(found.log_columns, ColumnsOf(db, kLog));
  PT_ASSIGN_OR_RETURN(found.control_columns, ColumnsOf(db, kControl));
  if (found.control_columns == WantedControlColumns()) {
    PT_ASSIGN_OR_RETURN(found.control_row, db.QueryInt("SELECT 1 FROM SyncControl WHERE Id = 1"));
  }
  if (IsLog(found.log_columns)) {
    PT_ASSIGN_OR_RETURN(const int64_t some, db.QueryInt("SELECT 1 FROM SyncLog LIMIT 1"));
    found.log_empty = some == 0;
  }
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare("SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' ORDER BY name"));
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return found;
    if (IsOurTrigger(rows.Text(0))) {
      found.triggers[std::string(rows.Text(0))] = std::string(rows.Text(1));
    }
  }
}

// Columns that every SyncLog and SyncControl of ours has had: what has the name
// and not these is the app's.
std::vector<std::string> TellingColumns(absl::string_view table) {
  if (table == kLog) return {"Seq", "Tag", "TableNo"};
  return {"Id", "Applying", "FileId"};
}

absl::StatusOr<bool> IsTaken(sqlite::Database& db, absl::string_view name) {
  {
    PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                        db.Prepare("SELECT 1 FROM main.sqlite_master WHERE name = ?1 COLLATE "
                                   "NOCASE"));
    PT_ASSIGN_OR_RETURN(const bool there, rows.Bind(1, name).Step());
    if (!there) return false;
  }
  PT_ASSIGN_OR_RETURN(const bool ours, HasOurTable(db, name));
  return !ours;
}

struct TriggerChanges {
  std::vector<std::string> drop;
  std::vector<SchemaObject> create;
};

// Also what is created anew with another text stands in `drop`.
TriggerChanges CompareTriggers(const Installed& found, const Plan& plan) {
  TriggerChanges changes;
  std::map<std::string, const SchemaObject*> wanted;
  for (const TablePlan& entry : plan.tables) {
    for (const SchemaObject& trigger : entry.triggers) wanted[trigger.name] = &trigger;
  }
  for (const auto& [name, sql] : found.triggers) {
    const auto same = wanted.find(name);
    if (same == wanted.end() || same->second->sql != sql) changes.drop.push_back(name);
  }
  for (const auto& [name, trigger] : wanted) {
    const auto there = found.triggers.find(name);
    if (there == found.triggers.end() || there->second != trigger->sql) {
      changes.create.push_back(*trigger);
    }
  }
  return changes;
}

void AddOnce(const std::string& name, std::vector<std::string>* names) {
  if (std::find(names->begin(), names->end(), name) == names->end()) names->push_back(name);
}

absl::Status InstallLog(sqlite::Database& db, const Installed& found, size_t key_columns,
                        std::vector<std::string>* changed) {
  if (!IsLog(found.log_columns)) {
    changed->emplace_back(kLog);
    if (!found.log_columns.empty()) PT_RETURN_IF_ERROR(db.Exec("DROP TABLE SyncLog"));
    return db.Exec(BaseTables(static_cast<int>(key_columns))[0].sql);
  }
  for (size_t i = found.log_columns.size() - WantedLogColumns(0).size() + 1; i <= key_columns;
       ++i) {
    AddOnce(std::string(kLog), changed);
    PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("ALTER TABLE SyncLog ADD COLUMN K", i)));
  }
  return absl::OkStatus();
}

absl::Status InstallControl(sqlite::Database& db, const Installed& found, Rng& rng,
                            std::vector<std::string>* changed) {
  if (found.control_row) return absl::OkStatus();
  changed->emplace_back(kControl);
  if (found.control_columns != WantedControlColumns()) {
    if (!found.control_columns.empty()) PT_RETURN_IF_ERROR(db.Exec("DROP TABLE SyncControl"));
    PT_RETURN_IF_ERROR(db.Exec(BaseTables(1)[1].sql));
  }
  ControlRow row;
  row.page_tag = static_cast<int64_t>(rng.Next());
  row.file_id = NewUuid(rng);
  return WriteControl(db, row);
}

// What the sequence of a table with an id_range has to be; absent: it is right.
absl::StatusOr<std::optional<int64_t>> WantedSequence(sqlite::Database& db,
                                                      const TablePlan& table) {
  if (!table.config.id_range.has_value()) return std::optional<int64_t>();
  const IdRange& range = *table.config.id_range;
  PT_ASSIGN_OR_RETURN(const Value now, db.QueryValue(absl::StrCat(
                                           "SELECT seq FROM main.sqlite_sequence WHERE name = ",
                                           sqlite::QuoteText(table.table))));
  const bool inside = now.type() == Value::Type::kInteger && now.integer() >= range.low - 1 &&
                      now.integer() <= range.high;
  if (inside) return std::optional<int64_t>();
  const std::string key = sqlite::QuoteName(table.key[0]);
  PT_ASSIGN_OR_RETURN(
      const int64_t highest,
      db.QueryInt(absl::StrCat("SELECT max(", key, ") FROM main.", sqlite::QuoteName(table.table),
                               " WHERE ", key, " BETWEEN ", range.low, " AND ", range.high)));
  return std::optional(std::max(highest, range.low - 1));
}

// Two statements: an app may have emptied the table of sequences.
std::string SequenceSql(const TablePlan& table, int64_t sequence) {
  const std::string name = sqlite::QuoteText(table.table);
  return absl::StrCat("DELETE FROM main.sqlite_sequence WHERE name = ", name,
                      ";\nINSERT INTO main.sqlite_sequence(name, seq) VALUES (", name, ", ",
                      sequence, ");\n");
}

absl::Status InstallSequences(sqlite::Database& db, const Plan& plan,
                              std::vector<std::string>* changed) {
  for (const TablePlan& table : plan.tables) {
    PT_ASSIGN_OR_RETURN(const std::optional<int64_t> sequence, WantedSequence(db, table));
    if (!sequence.has_value()) continue;
    changed->push_back(absl::StrCat("the sequence of ", table.table));
    PT_RETURN_IF_ERROR(db.Exec(SequenceSql(table, *sequence)));
  }
  return absl::OkStatus();
}

absl::Status WriteAnchor(sqlite::Database& db, Rng& rng) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement insert,
                      db.Prepare("INSERT INTO SyncLog(Tag, TableNo, Op) VALUES (?1, 0, 'A')"));
  return insert.Bind(1, static_cast<int64_t>(rng.Next())).Run();
}

}  // namespace

absl::StatusOr<bool> HasOurTable(sqlite::Database& db, absl::string_view table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT count(*) FROM pragma_table_xinfo(?1, 'main') x WHERE "
                                 "x.name IN (?2, ?3, ?4) AND EXISTS (SELECT 1 FROM "
                                 "main.sqlite_master WHERE type = 'table' AND name = ?1)"));
  rows.Bind(1, table);
  const std::vector<std::string> telling = TellingColumns(table);
  for (size_t i = 0; i < telling.size(); ++i) rows.Bind(static_cast<int>(i) + 2, telling[i]);
  PT_RETURN_IF_ERROR(rows.Step().status());
  return rows.Int(0) == static_cast<int64_t>(telling.size());
}

absl::Status CheckNames(sqlite::Database& db) {
  for (const absl::string_view name : {kLog, kControl}) {
    PT_ASSIGN_OR_RETURN(const bool taken, IsTaken(db, name));
    if (!taken) continue;
    return ReasonError(
        absl::StatusCode::kFailedPrecondition, "NAME_TAKEN",
        absl::StrCat("The app has something of its own that is named ", name,
                     ". Nothing was changed. Rename it: the agent keeps its capture log under the "
                     "names SyncLog and SyncControl, and needs both."));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Install(sqlite::Database& db, const Plan& plan, Rng& rng) {
  if (!db.in_transaction()) {
    return absl::FailedPreconditionError("capture is installed inside a transaction only");
  }
  PT_RETURN_IF_ERROR(CheckNames(db));
  PT_ASSIGN_OR_RETURN(const Installed found, ReadInstalled(db));
  std::vector<std::string> changed;
  PT_RETURN_IF_ERROR(InstallLog(db, found, static_cast<size_t>(plan.KeyWidth()), &changed));
  PT_RETURN_IF_ERROR(InstallControl(db, found, rng, &changed));
  if (found.log_empty) PT_RETURN_IF_ERROR(WriteAnchor(db, rng));
  const TriggerChanges changes = CompareTriggers(found, plan);
  for (const std::string& name : changes.drop) {
    AddOnce(name, &changed);
    PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TRIGGER ", name)));
  }
  for (const SchemaObject& trigger : changes.create) {
    AddOnce(trigger.name, &changed);
    PT_RETURN_IF_ERROR(db.Exec(trigger.sql));
  }
  PT_RETURN_IF_ERROR(InstallSequences(db, plan, &changed));
  return changed;
}

absl::StatusOr<std::vector<std::string>> CheckObjects(sqlite::Database& db, const Plan& plan) {
  PT_ASSIGN_OR_RETURN(const Installed found, ReadInstalled(db));
  std::vector<std::string> wrong;
  const size_t width = WantedLogColumns(static_cast<size_t>(plan.KeyWidth())).size();
  if (!IsLog(found.log_columns) || found.log_columns.size() < width) wrong.emplace_back(kLog);
  if (!found.control_row) wrong.emplace_back(kControl);
  const TriggerChanges changes = CompareTriggers(found, plan);
  for (const std::string& name : changes.drop) AddOnce(name, &wrong);
  for (const SchemaObject& trigger : changes.create) AddOnce(trigger.name, &wrong);
  for (const TablePlan& table : plan.tables) {
    PT_ASSIGN_OR_RETURN(const std::optional<int64_t> sequence, WantedSequence(db, table));
    if (sequence.has_value()) wrong.push_back(absl::StrCat("the sequence of ", table.table));
  }
  return wrong;
}

absl::Status Uninstall(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, sqlite::Transaction::Begin(db));
  PT_ASSIGN_OR_RETURN(const Installed found, ReadInstalled(db));
  for (const auto& [name, sql] : found.triggers) {
    PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TRIGGER ", name)));
  }
  for (const absl::string_view table : {kLog, kControl}) {
    PT_ASSIGN_OR_RETURN(const bool ours, HasOurTable(db, table));
    if (ours) PT_RETURN_IF_ERROR(db.Exec(absl::StrCat("DROP TABLE main.", table)));
  }
  return tx.Commit();
}

absl::StatusOr<std::string> InstallScript(sqlite::Database& db, const Plan& plan) {
  PT_ASSIGN_OR_RETURN(const Installed found, ReadInstalled(db));
  std::string script = "-- Capture for device-agent: run it in one transaction.\n";
  for (const SchemaObject& table : BaseTables(plan.KeyWidth())) {
    // SQLite keeps the text without these words.
    absl::StrAppend(&script, "CREATE TABLE IF NOT EXISTS ",
                    absl::string_view(table.sql).substr(sizeof("CREATE TABLE ") - 1), ";\n");
  }
  if (IsLog(found.log_columns)) {
    const size_t fixed = WantedLogColumns(0).size();
    for (size_t i = found.log_columns.size() - fixed + 1; i <= static_cast<size_t>(plan.KeyWidth());
         ++i) {
      absl::StrAppend(&script, "ALTER TABLE SyncLog ADD COLUMN K", i, ";\n");
    }
  }
  absl::StrAppend(&script,
                  "INSERT INTO SyncControl(Id, Applying, ClockOffsetNs, NewestTime, PageNumber, "
                  "PageTag, FileId) SELECT 1, 0, 0, 0, 0, random(), ",
                  kNewFileIdSql, " WHERE NOT EXISTS (SELECT 1 FROM SyncControl WHERE Id = 1);\n",
                  "INSERT INTO SyncLog(Tag, TableNo, Op) SELECT random(), 0, 'A' "
                  "WHERE NOT EXISTS (SELECT 1 FROM SyncLog);\n");
  const TriggerChanges changes = CompareTriggers(found, plan);
  for (const std::string& name : changes.drop) {
    absl::StrAppend(&script, "DROP TRIGGER IF EXISTS ", name, ";\n");
  }
  for (const TablePlan& entry : plan.tables) {
    for (const SchemaObject& trigger : entry.triggers) {
      absl::StrAppend(&script, "DROP TRIGGER IF EXISTS ", trigger.name, ";\n", trigger.sql, ";\n");
    }
    PT_ASSIGN_OR_RETURN(const std::optional<int64_t> sequence, WantedSequence(db, entry));
    if (sequence.has_value()) script += SequenceSql(entry, *sequence);
  }
  return script;
}

}  // namespace ptdoc::sync
