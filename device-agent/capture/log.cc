#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "device-agent/capture/capture.h"

namespace ptdoc::sync {
namespace {

absl::StatusOr<bool> HasTable(sqlite::Database& db, const char* name) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND "
                                 "name = ?1"));
  return rows.Bind(1, name).Step();
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
  for (size_t i = 0; i < entry->key.size(); ++i) {
    const int column = kFixedLogColumns + static_cast<int>(i);
    row.key.push_back(column < rows.column_count() ? rows.ColumnValue(column) : Value::Null());
  }
  return row;
}

}  // namespace

absl::StatusOr<ControlRow> ReadControl(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, "SyncControl"));
  if (!there) return absl::NotFoundError("capture is not installed: no SyncControl");
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

absl::Status WriteControl(sqlite::Database& db, const ControlRow& row) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, "SyncControl"));
  if (!there) return absl::NotFoundError("capture is not installed: no SyncControl");
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

absl::StatusOr<std::vector<LogRow>> ReadLog(sqlite::Database& db, const Plan& plan, int64_t seq,
                                            size_t limit) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, "SyncLog"));
  if (!there) return absl::NotFoundError("capture is not installed: no SyncLog");
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

absl::StatusOr<bool> HasMark(sqlite::Database& db, const LogMark& mark) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, "SyncLog"));
  if (!there) return false;
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT 1 FROM main.SyncLog WHERE Seq = ?1 AND Tag = ?2"));
  return rows.Bind(1, mark.seq).Bind(2, mark.tag).Step();
}

absl::StatusOr<LogMark> LastMark(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, "SyncLog"));
  if (!there) return LogMark();
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT Seq, Tag FROM main.SyncLog ORDER BY Seq DESC LIMIT 1"));
  PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
  return found ? LogMark{rows.Int(0), rows.Int(1)} : LogMark();
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
