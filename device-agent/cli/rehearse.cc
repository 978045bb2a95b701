#include "device-agent/cli/rehearse.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/capture.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/replica/replica.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;

constexpr int64_t kRoomLeft = 64 << 20;  // for the app, while the copy stands

absl::StatusOr<sqlite::Database> OpenCopy(const std::string& path) {
  sqlite::OpenOptions options;
  options.legacy_schema = true;
  return sqlite::Database::Open(path, options);
}

absl::Status CheckRoom(const std::string& database) {
  std::error_code error;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(database, error));
  const std::string folder = std::filesystem::absolute(database).parent_path().string();
  struct statvfs disk{};
  if (error || statvfs(folder.c_str(), &disk) != 0) return absl::OkStatus();
  const auto room = static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
  // The copy, and what is written while its rows are enqueued.
  const int64_t wanted = 2 * size + kRoomLeft;
  if (room >= wanted) return absl::OkStatus();
  return ReasonError(
      absl::StatusCode::kFailedPrecondition, "NO_ROOM",
      absl::StrCat("A copy of ", database, " needs ", wanted >> 20, " MiB, and ", folder, " has ",
                   room >> 20,
                   " MiB left. Nothing was changed. Make room, or rehearse on a copy "
                   "that stands elsewhere."));
}

// "type|name|table|sql" of every object, in the order of the file.
absl::StatusOr<std::vector<std::string>> SchemaOf(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT type, name, tbl_name, ifnull(sql, '') FROM sqlite_master "
                                 "ORDER BY type, name"));
  std::vector<std::string> schema;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return schema;
    schema.push_back(
        absl::StrCat(rows.Text(0), "|", rows.Text(1), "|", rows.Text(2), "|", rows.Text(3)));
  }
}

// A row that stands in the table, as a version of another device would bring it.
struct Probe {
  EntityKey key;
  std::vector<Value> local_key;  // as it stands in this file
  Fields fields;                 // as others know it
};

std::vector<Value> ReadLocal(const sqlite::Statement& row, size_t columns) {
  std::vector<Value> values;
  values.reserve(columns);
  for (size_t i = 0; i < columns; ++i) values.push_back(row.ColumnValue(static_cast<int>(i)));
  return values;
}

std::string SelectColumns(const TablePlan& table) {
  std::vector<std::string> names;
  names.reserve(table.columns.size());
  for (const std::string& column : table.columns) names.push_back(QuoteName(column));
  return absl::StrCat("SELECT ", absl::StrJoin(names, ", "), " FROM main.", QuoteName(table.table));
}

// The integers of this file as ids; absent: one refers to a row that is not there.
absl::StatusOr<std::optional<Fields>> SharedFields(sqlite::Database& db, const Plan& plan,
                                                   const TablePlan& table,
                                                   const std::vector<Value>& local) {
  std::vector<Field> fields;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    Value value = local[i];
    if (const Translation* translation = TranslationOf(table, table.columns[i])) {
      PT_ASSIGN_OR_RETURN(std::optional<Value> shared, ToShared(db, plan, *translation, value));
      if (!shared.has_value()) return std::optional<Fields>();
      value = *std::move(shared);
    }
    fields.push_back({table.columns[i], std::move(value)});
  }
  return std::optional(Fields(std::move(fields)));
}

absl::StatusOr<std::optional<Probe>> ProbeOf(sqlite::Database& db, const Plan& plan,
                                             const TablePlan& table) {
  std::vector<Value> local;
  {
    PT_ASSIGN_OR_RETURN(sqlite::Statement row,
                        db.Prepare(absl::StrCat(SelectColumns(table), " LIMIT 1")));
    PT_ASSIGN_OR_RETURN(const bool found, row.Step());
    if (!found) return std::nullopt;
    local = ReadLocal(row, table.columns.size());
  }
  PT_ASSIGN_OR_RETURN(std::optional<Fields> fields, SharedFields(db, plan, table, local));
  if (!fields.has_value()) return std::nullopt;
  Probe probe;
  probe.fields = *std::move(fields);
  std::vector<Value> key;
  for (const std::string& column : table.key) {
    const Value* const value = probe.fields.Find(column);
    if (value == nullptr) return std::nullopt;
    key.push_back(*value);
    const auto at = std::find(table.columns.begin(), table.columns.end(), column);
    probe.local_key.push_back(local[static_cast<size_t>(at - table.columns.begin())]);
  }
  absl::StatusOr<std::string> id = EntityIdOf(table, key);
  if (!id.ok()) return std::nullopt;
  probe.key = {table.type, *std::move(id)};
  return probe;
}

std::string WhereKey(const TablePlan& table) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < table.key.size(); ++i) {
    parts.push_back(absl::StrCat(QuoteName(table.key[i]), " = ?", i + 1));
  }
  return absl::StrJoin(parts, " AND ");
}

absl::Status RunWithKey(sqlite::Database& db, const std::string& sql, const Probe& probe) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement statement, db.Prepare(sql));
  for (size_t i = 0; i < probe.local_key.size(); ++i) {
    statement.Bind(static_cast<int>(i) + 1, probe.local_key[i]);
  }
  return statement.Run();
}

// The copy with its agent.
class Rehearsal {
 public:
  Rehearsal(AgentContext& context, ReplicaOptions options)
      : context_(context), options_(std::move(options)) {}

  absl::Status Begin() {
    PT_RETURN_IF_ERROR(Replica::Initialise(options_, context_.clock, context_.rng).status());
    PT_ASSIGN_OR_RETURN(replica_, Replica::Open(options_, context_.clock, context_.rng));
    // The rows that are there are nobody's business on a copy.
    return replica_->ledger().db().Exec("DELETE FROM SyncQueueItems");
  }
  const Plan& plan() const { return replica_->plan(); }

  absl::StatusOr<Rehearsed> Try(const TablePlan& table) {
    Rehearsed out{table.table, "two-way", "", true};
    if (table.apply_mode == ApplyMode::kCaptureOnly) {
      return Rehearsed{table.table, "captured only", table.reason, false};
    }
    PT_ASSIGN_OR_RETURN(sqlite::Database db, OpenCopy(options_.database));
    PT_ASSIGN_OR_RETURN(const std::optional<Probe> probe, ProbeOf(db, plan(), table));
    if (!probe.has_value()) {
      out.why = "by its schema; it is empty, or its first row refers to one that is not there";
      return out;
    }
    PT_ASSIGN_OR_RETURN(const std::string not_captured, TryCapture(db, table, *probe));
    if (!not_captured.empty()) return Rehearsed{table.table, "refused", not_captured, false};
    PT_ASSIGN_OR_RETURN(const std::string not_applied, TryApply(db, table, *probe));
    if (!not_applied.empty()) return Rehearsed{table.table, "captured only", not_applied, false};
    out.why = table.apply_mode == ApplyMode::kTriggersOff
                  ? "with the app's triggers off: " + table.reason
                  : std::string();
    return out;
  }
  void End() { replica_.reset(); }

 private:
  // Written as the app would: does a row of the log tell it? Else why not.
  absl::StatusOr<std::string> TryCapture(sqlite::Database& db, const TablePlan& table,
                                         const Probe& probe) {
    PT_ASSIGN_OR_RETURN(const LogMark before, LastMark(db));
    const std::string column = QuoteName(table.columns.front());
    const absl::Status written =
        RunWithKey(db,
                   absl::StrCat("UPDATE main.", QuoteName(table.table), " SET ", column, " = ",
                                column, " WHERE ", WhereKey(table)),
                   probe);
    if (!written.ok()) {
      // What only the app can do is captured when it does it.
      return std::string();
    }
    PT_ASSIGN_OR_RETURN(const std::vector<LogRow> rows,
                        ReadLog(db, replica_->plan(), before.seq, 1000));
    for (const LogRow& row : rows) {
      if (row.table == table.number && row.key == probe.local_key) return std::string();
    }
    return std::string("a write to it leaves no row in the capture log");
  }

  // The row goes behind everybody's back and comes as a version of another device.
  absl::StatusOr<std::string> TryApply(sqlite::Database& db, const TablePlan& table,
                                       const Probe& probe) {
    DrainReport drained;
    do {
      PT_ASSIGN_OR_RETURN(drained, replica_->Drain());
    } while (drained.more);
    PT_RETURN_IF_ERROR(replica_->ledger().db().Exec("DELETE FROM SyncQueueItems"));
    PT_RETURN_IF_ERROR(db.EnableTriggers(false));
    PT_RETURN_IF_ERROR(RunWithKey(
        db, absl::StrCat("DELETE FROM main.", QuoteName(table.table), " WHERE ", WhereKey(table)),
        probe));
    IncomingPage page;
    Version& version = page.versions.emplace_back();
    version.key = probe.key;
    version.revision = ++revision_;
    version.check = std::string(8, 'r');
    version.last_modified = ToTimeNs(context_.clock.Now());
    version.fields = probe.fields;
    page.batch_end = true;
    page.caught_up = true;
    page.epoch = "rehearsal";
    PT_ASSIGN_OR_RETURN(const PageReport report, replica_->Apply(page));
    PT_ASSIGN_OR_RETURN(const std::optional<SetAside> aside,
                        replica_->ledger().FindSetAside(probe.key));
    if (aside.has_value()) {
      return absl::StrCat("a row of it that another device sends is refused (", aside->code,
                          aside->constraint.empty() ? "" : " ", aside->constraint, ")");
    }
    if (report.applied == 0)
      return std::string("a row of it that another device sends is not applied");
    PT_ASSIGN_OR_RETURN(const std::optional<Fields> after, FieldsAgain(db, table, probe));
    if (after.has_value() && *after == probe.fields) return std::string();
    return std::string("a row of it that another device sends does not stand there as it was sent");
  }

  absl::StatusOr<std::optional<Fields>> FieldsAgain(sqlite::Database& db, const TablePlan& table,
                                                    const Probe& probe) const {
    std::vector<Value> local;
    {
      PT_ASSIGN_OR_RETURN(
          sqlite::Statement row,
          db.Prepare(absl::StrCat(SelectColumns(table), " WHERE ", WhereKey(table))));
      for (size_t i = 0; i < probe.local_key.size(); ++i) {
        row.Bind(static_cast<int>(i) + 1, probe.local_key[i]);
      }
      PT_ASSIGN_OR_RETURN(const bool found, row.Step());
      if (!found) return std::nullopt;
      local = ReadLocal(row, table.columns.size());
    }
    return SharedFields(db, plan(), table, local);
  }

  AgentContext& context_;
  const ReplicaOptions options_;
  std::unique_ptr<Replica> replica_;
  Revision revision_ = 0;
};

// A row that goes and comes back has another integer then: what refers to it by the
// old one is tried before.
std::vector<const TablePlan*> ChildrenFirst(const Plan& plan) {
  std::vector<const TablePlan*> ordered;
  std::set<const TablePlan*> seen;
  const std::function<void(const TablePlan&)> visit = [&](const TablePlan& table) {
    if (!seen.insert(&table).second) return;
    for (const TablePlan& other : plan.tables) {
      const bool refers = std::any_of(
          other.translations.begin(), other.translations.end(),
          [&](const Translation& translation) { return translation.parent == table.type; });
      if (refers) visit(other);
    }
    ordered.push_back(&table);
  };
  for (const TablePlan& table : plan.tables) visit(table);
  return ordered;
}

absl::Status CopyTo(const std::string& database, const std::string& copy) {
  sqlite::OpenOptions options;
  options.mode = sqlite::OpenOptions::Mode::kReadOnly;
  options.legacy_schema = true;
  options.busy_timeout = absl::Seconds(5);
  PT_ASSIGN_OR_RETURN(sqlite::Database db, sqlite::Database::Open(database, options));
  return db.BackupTo(copy);
}

absl::Status CompareSchemas(const std::vector<std::string>& before,
                            const std::vector<std::string>& after) {
  if (before == after) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kFailedPrecondition, "SCHEMA_CHANGED",
                     "On the copy, uninstall did not leave the schema byte for byte as it was. The "
                     "app's own file was only read. Do not initialise it, and report this.");
}

// After the rehearsal the copy is as it was but for its rows.
absl::StatusOr<std::vector<Rehearsed>> RehearseOn(AgentContext& context, const std::string& copy,
                                                  const PlanRequest& request) {
  ReplicaOptions options = context.config.agent.replica;
  options.database = copy;
  options.state = copy + ".sync";
  options.plan = request;
  options.plan.count_rows = false;
  std::vector<std::string> before;
  {
    PT_ASSIGN_OR_RETURN(sqlite::Database db, OpenCopy(copy));
    // A copy of a file that is synced already.
    PT_RETURN_IF_ERROR(ptdoc::sync::Uninstall(db));
    PT_ASSIGN_OR_RETURN(before, SchemaOf(db));
  }
  std::vector<Rehearsed> out;
  Rehearsal rehearsal(context, options);
  PT_RETURN_IF_ERROR(rehearsal.Begin());
  const Plan plan = rehearsal.plan();
  std::map<std::string, Rehearsed> tried;
  for (const TablePlan* table : ChildrenFirst(plan)) {
    PT_ASSIGN_OR_RETURN(tried[table->table], rehearsal.Try(*table));
  }
  for (const TablePlan& table : plan.tables) out.push_back(tried[table.table]);
  for (const Refusal& refusal : rehearsal.plan().refusals) {
    out.push_back(
        {refusal.table, "refused",
         absl::StrCat(refusal.reason, ": ", refusal.what, ". To sync it: ", refusal.remedy),
         false});
  }
  rehearsal.End();
  PT_RETURN_IF_ERROR(Replica::Uninstall(options, context.clock, context.rng));
  PT_ASSIGN_OR_RETURN(sqlite::Database db, OpenCopy(copy));
  PT_ASSIGN_OR_RETURN(const std::vector<std::string> after, SchemaOf(db));
  PT_RETURN_IF_ERROR(CompareSchemas(before, after));
  return out;
}

}  // namespace

absl::StatusOr<std::vector<Rehearsed>> Rehearse(AgentContext& context, const PlanRequest& request) {
  const std::string& database = context.config.agent.replica.database;
  PT_RETURN_IF_ERROR(CheckRoom(database));
  std::string folder =
      (std::filesystem::absolute(database).parent_path() / ".ptdoc-rehearsal-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NO_ROOM",
                       absl::StrCat("No copy can be made beside ", database,
                                    ". Nothing was changed. Give this user the right to write "
                                    "there."));
  }
  const absl::Cleanup remove = [&folder] {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  const std::string copy = folder + "/copy.db";
  PT_RETURN_IF_ERROR(CopyTo(database, copy));
  return RehearseOn(context, copy, request);
}

}  // namespace ptdoc::sync
