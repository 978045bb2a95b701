#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "device-agent/capture/capture.h"

namespace ptdoc::sync {
namespace {

// Whether a statement on a table of ours failed because the table is not there,
// or is one of the app's that has its name. Looked for only then: a schema may
// hold thousands of objects.
absl::StatusOr<bool> IsGone(sqlite::Database& db, const char* table, const absl::Status& status) {
  if (!IsAboutSchema(status)) return false;
  PT_ASSIGN_OR_RETURN(const bool ours, HasOurTable(db, table));
  return !ours;
}

absl::Status Explain(sqlite::Database& db, const char* table, const absl::Status& status) {
  PT_ASSIGN_OR_RETURN(const bool gone, IsGone(db, table, status));
  if (!gone) return status;
  return absl::NotFoundError(absl::StrCat("capture is not installed: no ", table));
}

constexpr int kFixedLogColumns = 5;  // before K1

LogRow ReadRow(const sqlite::Statement& rows, const Plan& plan) {
  LogRow row;
  row.seq = rows.Int(0);
  row.tag = rows.Int(1);
  row.table = static_cast<int>(rows.Int(2));
  const absl::string_view op = rows.Text(3);
  row.op = op.empty() ? '\0' : op[0];
  if (!rows.IsNull(4)) row.time = rows.Int(4);
  const TablePlan* entry = plan.ByNumber(row.table);
  if (entry == nullptr) return row;
  int column = kFixedLogColumns;
  const auto next = [&] {
    const bool there = column < rows.column_count();
    return there ? rows.ColumnValue(column++) : Value::Null();
  };
  for (size_t i = 0; i < entry->key.size(); ++i) row.key.push_back(next());
  if (entry->logs_local_key) row.local_key = next();
  return row;
}

absl::StatusOr<ControlRow> SelectControl(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT Applying, ClockOffsetNs, NewestTime, PageNumber, PageTag, "
                                 "FileId FROM main.SyncControl WHERE Id = 1"));
  PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
  if (!found) return absl::NotFoundError("the row of SyncControl is gone");
  ControlRow row;
  row.applying = rows.Int(0) != 0;
  row.clock_offset_ns = rows.Int(1);
  row.newest_time = rows.Int(2);
  row.page_number = rows.Int(3);
  row.page_tag = rows.Int(4);
  row.file_id = std::string(rows.Text(5));
  return row;
}

absl::Status ReplaceControl(sqlite::Database& db, const ControlRow& row) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement write,
      db.Prepare("INSERT OR REPLACE INTO main.SyncControl(Id, Applying, ClockOffsetNs, NewestTime, "
                 "PageNumber, PageTag, FileId) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)"));
  return write.Bind(1, row.applying)
      .Bind(2, row.clock_offset_ns)
      .Bind(3, row.newest_time)
      .Bind(4, row.page_number)
      .Bind(5, row.page_tag)
      .Bind(6, row.file_id)
      .Run();
}

absl::StatusOr<std::vector<LogRow>> SelectLog(sqlite::Database& db, const Plan& plan, int64_t seq,
                                              size_t limit) {
  // All columns: the log may be narrower or wider than the plan's keys.
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement rows,
      db.Prepare("SELECT * FROM main.SyncLog WHERE Seq > ?1 ORDER BY Seq LIMIT ?2"));
  rows.Bind(1, seq).Bind(2, static_cast<int64_t>(limit));
  std::vector<LogRow> log;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return log;
    log.push_back(ReadRow(rows, plan));
  }
}

absl::StatusOr<bool> SelectMark(sqlite::Database& db, const LogMark& mark) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT 1 FROM main.SyncLog WHERE Seq = ?1 AND Tag = ?2"));
  return rows.Bind(1, mark.seq).Bind(2, mark.tag).Step();
}

absl::StatusOr<LogMark> SelectLast(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT Seq, Tag FROM main.SyncLog ORDER BY Seq DESC LIMIT 1"));
  PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
  return found ? LogMark{rows.Int(0), rows.Int(1)} : LogMark();
}

}  // namespace

absl::StatusOr<ControlRow> ReadControl(sqlite::Database& db) {
  absl::StatusOr<ControlRow> row = SelectControl(db);
  if (!row.ok()) return Explain(db, "SyncControl", row.status());
  return row;
}

absl::Status WriteControl(sqlite::Database& db, const ControlRow& row) {
  return Explain(db, "SyncControl", ReplaceControl(db, row));
}

absl::StatusOr<std::vector<LogRow>> ReadLog(sqlite::Database& db, const Plan& plan, int64_t seq,
                                            size_t limit) {
  absl::StatusOr<std::vector<LogRow>> log = SelectLog(db, plan, seq, limit);
  if (!log.ok()) return Explain(db, "SyncLog", log.status());
  return log;
}

absl::StatusOr<bool> HasMark(sqlite::Database& db, const LogMark& mark) {
  absl::StatusOr<bool> there = SelectMark(db, mark);
  PT_ASSIGN_OR_RETURN(const bool gone, IsGone(db, "SyncLog", there.status()));
  if (gone) return false;
  return there;
}

absl::StatusOr<LogMark> LastMark(sqlite::Database& db) {
  absl::StatusOr<LogMark> last = SelectLast(db);
  PT_ASSIGN_OR_RETURN(const bool gone, IsGone(db, "SyncLog", last.status()));
  if (gone) return LogMark();
  return last;
}

absl::Status DropLog(sqlite::Database& db, int64_t after, int64_t last) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement drop,
                      db.Prepare("DELETE FROM main.SyncLog WHERE Seq > ?1 AND Seq <= ?2"));
  return drop.Bind(1, after).Bind(2, last).Run();
}

absl::Status TrimLog(sqlite::Database& db, int64_t below_seq) {
  if (PT_PLANTED("trim the last log row")) return db.Exec("DELETE FROM main.SyncLog");
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement trim,
      db.Prepare("DELETE FROM main.SyncLog WHERE Seq < ?1 AND Seq < (SELECT max(Seq) FROM "
                 "main.SyncLog)"));
  return trim.Bind(1, below_seq).Run();
}

}  // namespace ptdoc::sync
