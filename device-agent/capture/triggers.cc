#include "device-agent/capture/triggers.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;
using sqlite::QuoteText;

// The device's clock with the service's offset, in nanoseconds since 1970,
// always above the newest time seen. julianday() counts whole milliseconds.
constexpr absl::string_view kNowNs =
    "max(CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) * 1000000 + "
    "ClockOffsetNs, NewestTime + 1)";

// As a subquery, so that a row is logged (without a time) even when somebody
// has deleted the control row. As fast as selecting from SyncControl.
std::string TimeSql() {
  return absl::StrCat("(SELECT CASE WHEN Applying THEN NULL ELSE ", kNowNs,
                      " END FROM SyncControl WHERE Id = 1)");
}

// Writes the triggers of one table.
class TriggerWriter {
 public:
  TriggerWriter(const TablePlan& plan, const TableInfo& table)
      : plan_(plan), table_(table), name_(QuoteName(table.name)) {}

  std::vector<SchemaObject> Write() {
    const std::string same = SameKey("OLD.", "NEW.");
    Add("ai", "AFTER INSERT", "", LogRow('I', "NEW."));
    AddDelete();
    // Two triggers whose conditions are each other's opposite and never NULL.
    Add("au", "AFTER UPDATE", same, LogRow('U', "NEW."));
    Add("ak", "AFTER UPDATE", absl::StrCat("NOT (", same, ")"),
        LogRow('D', "OLD.") + LogRow('I', "NEW."));
    Add("bi", "BEFORE INSERT", "", LogVictims(false));
    Add("bu", "BEFORE UPDATE", "", LogVictims(true));
    AddStamps();
    return std::move(objects_);
  }

 private:
  void Add(absl::string_view letters, absl::string_view event, const std::string& when,
           const std::string& body) {
    if (body.empty()) return;
    SchemaObject object;
    object.name = absl::StrCat("SyncT", plan_.number, "_", letters);
    object.sql =
        absl::StrCat("CREATE TRIGGER ", object.name, " ", event, " ON ", name_,
                     when.empty() ? "" : absl::StrCat(" WHEN ", when), " BEGIN ", body, "END");
    objects_.push_back(std::move(object));
  }

  // What goes with the row, by cascades or by the app's own triggers, is logged
  // under this number: whose it was is said before. (A look at the other table
  // would say it, too, but an app that makes that table anew could not rename it.)
  void AddDelete() {
    if (!plan_.logs_local_key) return Add("ad", "AFTER DELETE", "", LogRow('D', "OLD."));
    Add("bd", "BEFORE DELETE", "", LogRow('D', "OLD."));
    const std::string local = QuoteName(plan_.local_key);
    Add("bl", "BEFORE UPDATE", absl::StrCat("NEW.", local, " IS NOT OLD.", local),
        LogRow('U', "OLD."));
  }

  std::string InsertIntoLog() const {
    std::string columns = "INSERT INTO SyncLog(Tag, TableNo, Op, Time";
    const size_t values = plan_.key.size() + (plan_.logs_local_key ? 1 : 0);
    for (size_t i = 1; i <= values; ++i) absl::StrAppend(&columns, ", K", i);
    return columns + ") ";
  }

  // What is logged, with the key's columns of `row` ("NEW." and so on).
  std::string LogValues(char op, absl::string_view row) const {
    std::string values =
        absl::StrCat("random(), ", plan_.number, ", '", std::string(1, op), "', ", TimeSql());
    for (const std::string& column : plan_.key) {
      absl::StrAppend(&values, ", ", row, QuoteName(column));
    }
    if (plan_.logs_local_key) absl::StrAppend(&values, ", ", row, QuoteName(plan_.local_key));
    return values;
  }

  std::string LogRow(char op, absl::string_view row) const {
    return absl::StrCat(InsertIntoLog(), "VALUES (", LogValues(op, row), "); ");
  }

  // True in SQL if a column's two values are one by type and, under BINARY, by every
  // byte. IS alone follows the column's collation, and takes 1 for 1.0.
  std::string Same(const std::string& column, absl::string_view a, absl::string_view b,
                   absl::string_view collation = "BINARY") const {
    const std::string name = QuoteName(column);
    const ColumnInfo* info = table_.Column(column);
    std::string sql = absl::StrCat(a, name, " COLLATE ", collation, " IS ", b, name);
    // A column of TEXT affinity holds no numbers.
    if (info == nullptr || info->affinity != Affinity::kText) {
      absl::StrAppend(&sql, " AND typeof(", a, name, ") = typeof(", b, name, ")");
    }
    return sql;
  }

  std::string SameOfAll(const std::vector<std::string>& columns, absl::string_view a,
                        absl::string_view b) const {
    std::vector<std::string> parts;
    parts.reserve(columns.size());
    for (const std::string& column : columns) parts.push_back(Same(column, a, b));
    return absl::StrJoin(parts, " AND ");
  }

  bool IgnoresCase(size_t key_column) const {
    return key_column < plan_.ignores_case.size() && plan_.ignores_case[key_column];
  }

  std::string SameKey(absl::string_view a, absl::string_view b) const {
    std::vector<std::string> parts;
    parts.reserve(plan_.key.size());
    for (size_t i = 0; i < plan_.key.size(); ++i) {
      // Another case is an edit of the same row.
      parts.push_back(Same(plan_.key[i], a, b, IgnoresCase(i) ? "NOCASE" : "BINARY"));
    }
    return absl::StrJoin(parts, " AND ");
  }

  bool InKey(const std::string& column) const {
    return std::find(plan_.key.begin(), plan_.key.end(), column) != plan_.key.end();
  }

  // True if rows that are equal by this index have one and the same key, so
  // that the row that takes a victim's place is logged under the victim's key.
  // Only columns without affinity, and NUMERIC ones under old versions, keep 1
  // and 1.0 apart.
  bool CoversKey(const UniqueIndex& index) const {
    for (size_t i = 0; i < plan_.key.size(); ++i) {
      const auto at = std::find(index.columns.begin(), index.columns.end(), plan_.key[i]);
      if (at == index.columns.end()) return false;
      const ColumnInfo* info = table_.Column(plan_.key[i]);
      const std::string& collation =
          index.collations[static_cast<size_t>(at - index.columns.begin())];
      const bool equal_keys = absl::EqualsIgnoreCase(collation, "BINARY") ||
                              (IgnoresCase(i) && absl::EqualsIgnoreCase(collation, "NOCASE"));
      if (!equal_keys || info == nullptr || info->affinity == Affinity::kBlob ||
          info->affinity == Affinity::kNumeric) {
        return false;
      }
    }
    return true;
  }

  // What a row will hold in `column`: REPLACE puts the default in place of a
  // NULL that the column refuses, after the BEFORE triggers have run.
  std::string NewValue(const std::string& column) const {
    const ColumnInfo* info = table_.Column(column);
    std::string value = absl::StrCat("NEW.", QuoteName(column));
    if (info == nullptr || !info->not_null || !info->has_default) return value;
    return absl::StrCat("coalesce(", value, ", (", info->default_sql, "))");
  }

  // Logs a deletion for rows of the table for which `equal` holds, but for the
  // very row that is written.
  std::string LogMatches(const std::string& equal) const {
    return absl::StrCat(InsertIntoLog(), "SELECT ", LogValues('D', name_ + "."), " FROM ", name_,
                        " WHERE ", equal, " AND NOT (", SameKey(name_ + ".", "NEW."), "); ");
  }

  std::string MatchesOf(const UniqueIndex& index, bool update) const {
    std::vector<std::string> terms;
    // Without a change in the index's columns nobody is pushed out; said first,
    // it spares the look-up.
    if (update) {
      terms.push_back(absl::StrCat("NOT (", SameOfAll(index.columns, "OLD.", "NEW."), ")"));
    }
    for (size_t i = 0; i < index.columns.size(); ++i) {
      terms.push_back(absl::StrCat(name_, ".", QuoteName(index.columns[i]), " = ",
                                   NewValue(index.columns[i]), " COLLATE ",
                                   QuoteName(index.collations[i])));
    }
    // Of a partial index the victim, too, must satisfy the condition; without
    // these words SQLite would search the whole table.
    if (!index.condition.empty()) terms.push_back(absl::StrCat("(", index.condition, ")"));
    return LogMatches(absl::StrJoin(terms, " AND "));
  }

  // The name under which the rowid can be written, where it is not (all of) the
  // key: a REPLACE can push out the row with the same rowid, too.
  std::string RowidName() const {
    if (table_.without_rowid) return std::string();
    if (table_.rowid_alias) {
      const std::string& alias = table_.primary_key[0];
      return InKey(alias) && plan_.key.size() == 1 ? std::string() : QuoteName(alias);
    }
    for (const char* name : {"rowid", "_rowid_", "oid"}) {
      if (table_.Column(name) == nullptr) return name;
    }
    return std::string();
  }

  std::string LogVictims(bool update) const {
    std::string body;
    std::set<std::string> said;
    for (const UniqueIndex& index : table_.uniques) {
      if (index.expression || CoversKey(index)) continue;
      const std::string statement = MatchesOf(index, update);
      if (said.insert(statement).second) body += statement;
    }
    const std::string rowid = RowidName();
    if (rowid.empty()) return body;
    return body + LogMatches(absl::StrCat(
                      update ? absl::StrCat("NEW.", rowid, " <> OLD.", rowid, " AND ") : "", name_,
                      ".", rowid, " = NEW.", rowid));
  }

  // One stamped column: what it gets, and when (in terms of NEW and OLD).
  struct Stamp {
    std::string column;
    std::string value;
    std::string when_inserted;
    std::string when_updated;
  };

  std::vector<Stamp> Stamps() const {
    std::vector<Stamp> stamps;
    const EntityConfig& config = plan_.config;
    const auto unwritten = [](const std::string& column) {
      return absl::StrCat("(NEW.", column, " IS NULL OR NEW.", column, " = '')");
    };
    if (!config.last_modified_column.empty()) {
      const std::string column = QuoteName(config.last_modified_column);
      const std::string value =
          absl::StrCat("(SELECT ", StampSql(plan_.time_format, absl::StrCat(kNowNs, " / 1000000")),
                       " FROM SyncControl WHERE Id = 1)");
      // 0 and the year 1 are what a program holds that never set a time.
      const std::string unset = absl::StrCat("(", unwritten(column), " OR NEW.", column,
                                             " = 0 OR substr(NEW.", column, ", 1, 4) = '0001')");
      stamps.push_back({column, value, unset, absl::StrCat("NEW.", column, " IS OLD.", column)});
    }
    if (!config.modified_by_column.empty() && !config.user.empty()) {
      const std::string column = QuoteName(config.modified_by_column);
      const std::string unset = unwritten(column);
      stamps.push_back({column, QuoteText(config.user), unset,
                        absl::StrCat("(", unset, " OR NEW.", column, " IS OLD.", column, ")")});
    }
    if (!config.sync_state_column.empty()) {
      const ColumnInfo* info = table_.Column(config.sync_state_column);
      const bool text =
          info == nullptr || info->affinity == Affinity::kText || info->affinity == Affinity::kBlob;
      stamps.push_back({QuoteName(config.sync_state_column), text ? "'Pending'" : "0", "", ""});
    }
    // A value that stands there already is not written again: what the app's
    // own triggers do in answer to a stamp comes to an end.
    for (Stamp& stamp : stamps) {
      const std::string differs = absl::StrCat("NEW.", stamp.column, " IS NOT ", stamp.value);
      for (std::string* when : {&stamp.when_inserted, &stamp.when_updated}) {
        *when = absl::StrCat("(", *when, when->empty() ? "" : " AND ", differs, ")");
      }
    }
    return stamps;
  }

  // The content's columns: the update that stamps sets none of them, so that it
  // does not fire its own trigger, recursive_triggers or not.
  std::string UpdateOfContent() const {
    std::vector<std::string> names;
    for (const ColumnInfo& column : table_.columns) {
      if (column.generated || IsStampColumn(plan_.config, column.name)) continue;
      names.push_back(QuoteName(column.name));
    }
    return absl::StrCat("AFTER UPDATE OF ", absl::StrJoin(names, ", "));
  }

  void AddStamps() {
    const std::vector<Stamp> stamps = Stamps();
    if (stamps.empty() || StampsWouldDisturb(table_, plan_.config)) return;
    AddStamp("si", "AFTER INSERT", stamps, &Stamp::when_inserted);
    AddStamp("su", UpdateOfContent(), stamps, &Stamp::when_updated);
  }

  void AddStamp(absl::string_view letters, const std::string& event,
                const std::vector<Stamp>& stamps, std::string Stamp::* when) {
    std::vector<std::string> any;
    std::vector<std::string> sets;
    for (const Stamp& stamp : stamps) {
      any.push_back(stamp.*when);
      sets.push_back(absl::StrCat(stamp.column, " = CASE WHEN ", stamp.*when, " THEN ", stamp.value,
                                  " ELSE ", stamp.column, " END"));
    }
    std::vector<std::string> key;
    key.reserve(plan_.key.size());
    for (const std::string& column : plan_.key) {
      key.push_back(absl::StrCat(QuoteName(column), " = NEW.", QuoteName(column)));
    }
    Add(letters, event,
        absl::StrCat("(SELECT Applying FROM SyncControl WHERE Id = 1) = 0 AND (",
                     absl::StrJoin(any, " OR "), ")"),
        absl::StrCat("UPDATE ", name_, " SET ", absl::StrJoin(sets, ", "), " WHERE ",
                     absl::StrJoin(key, " AND "), "; "));
  }

  const TablePlan& plan_;
  const TableInfo& table_;
  const std::string name_;
  std::vector<SchemaObject> objects_;
};

}  // namespace

bool StampsWouldDisturb(const TableInfo& table, const EntityConfig& config) {
  const auto is_stamp = [&](const std::string& column) {
    return !column.empty() && (absl::EqualsIgnoreCase(column, config.last_modified_column) ||
                               absl::EqualsIgnoreCase(column, config.modified_by_column) ||
                               absl::EqualsIgnoreCase(column, config.sync_state_column));
  };
  return std::any_of(table.app_update_columns.begin(), table.app_update_columns.end(),
                     [&](const std::vector<std::string>& columns) {
                       return columns.empty() ||
                              std::any_of(columns.begin(), columns.end(), is_stamp);
                     });
}

std::vector<SchemaObject> TriggersFor(const TablePlan& plan, const TableInfo& table) {
  return TriggerWriter(plan, table).Write();
}

std::vector<SchemaObject> BaseTables(int key_columns) {
  // The K columns have no type: a key stands there as it is.
  std::string log =
      "CREATE TABLE SyncLog(Seq INTEGER PRIMARY KEY, Tag INTEGER, TableNo INTEGER, Op TEXT, "
      "Time INTEGER";
  for (int i = 1; i <= key_columns; ++i) absl::StrAppend(&log, ", K", i);
  return {{"SyncLog", log + ")"},
          {"SyncControl",
           "CREATE TABLE SyncControl(Id INTEGER PRIMARY KEY, Applying INTEGER, "
           "ClockOffsetNs INTEGER, NewestTime INTEGER, PageNumber INTEGER, PageTag INTEGER, "
           "FileId TEXT)"}};
}

}  // namespace ptdoc::sync
