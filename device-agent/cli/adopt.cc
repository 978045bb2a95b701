#include "device-agent/cli/adopt.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "device-agent/capture/entity_key.h"
#include "device-agent/capture/stamp.h"
#include "device-agent/replica/replica.h"

namespace ptdoc::sync {
namespace {

using sqlite::QuoteName;

constexpr char kEfQueue[] = "SyncQueueItems";
constexpr char kEfArchives[] = "SyncConflictArchives";
constexpr char kAdoptedName[] = "adopted";

// One open item of the app's queue.
struct EfItem {
  std::string type;
  std::string id;
  bool deletion = false;
  TimeNs time = kSmallestTime;
};

// An enum stands as its number, or as its name (HasConversion<string>).
bool IsEnum(const Value& value, int64_t number, absl::string_view name) {
  if (value.type() == Value::Type::kInteger) return value.integer() == number;
  if (value.type() != Value::Type::kText) return false;
  int64_t digits = 0;
  if (absl::SimpleAtoi(value.bytes(), &digits)) return digits == number;
  return absl::EqualsIgnoreCase(value.bytes(), name);
}

bool IsOpen(const Value& status) {
  return IsEnum(status, 0, "Pending") || IsEnum(status, 1, "Processing") ||
         IsEnum(status, 3, "Failed");
}

absl::StatusOr<bool> HasTable(sqlite::Database& db, absl::string_view table) {
  PT_ASSIGN_OR_RETURN(sqlite::Statement row,
                      db.Prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 "
                                 "COLLATE NOCASE"));
  row.Bind(1, table);
  return row.Step();
}

absl::StatusOr<std::vector<EfItem>> ReadItems(sqlite::Database& db) {
  PT_ASSIGN_OR_RETURN(const bool there, HasTable(db, kEfQueue));
  if (!there) {
    return ReasonError(absl::StatusCode::kFailedPrecondition, "NO_QUEUE",
                       "The app's file has no table SyncQueueItems: there is nothing to take over. "
                       "Capture is installed, and the rows that are there are enqueued. Leave "
                       "--adopt out.");
  }
  PT_ASSIGN_OR_RETURN(sqlite::Statement rows,
                      db.Prepare("SELECT EntityType, CAST(EntityId AS TEXT), Operation, Status, "
                                 "EnqueuedAt FROM main.SyncQueueItems ORDER BY EnqueuedAt, rowid"));
  std::vector<EfItem> items;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, rows.Step());
    if (!found) return items;
    if (!IsOpen(rows.ColumnValue(3))) continue;
    EfItem& item = items.emplace_back();
    item.type = std::string(rows.Text(0));
    item.id = std::string(rows.Text(1));
    item.deletion = IsEnum(rows.ColumnValue(2), 2, "Delete");
    item.time = ParseStamp(TimeFormat::kEfCore, rows.ColumnValue(4)).value_or(kSmallestTime);
  }
}

// EntityType is the class's name; a DbSet's table mostly has its plural.
const TablePlan* TableOf(const Plan& plan, const std::string& type) {
  for (const TablePlan& table : plan.tables) {
    if (absl::EqualsIgnoreCase(table.type, type) || absl::EqualsIgnoreCase(table.table, type)) {
      return &table;
    }
  }
  std::string stem = type;
  if (absl::EndsWith(stem, "y")) stem.pop_back();
  for (const TablePlan& table : plan.tables) {
    for (const std::string& plural :
         {absl::StrCat(type, "s"), absl::StrCat(type, "es"), absl::StrCat(stem, "ies")}) {
      if (absl::EqualsIgnoreCase(table.table, plural)) return &table;
    }
  }
  return nullptr;
}

// The key as the row spells it: EF Core writes GUIDs in upper case, and its queue
// in lower case. Absent if no row has it.
absl::StatusOr<std::optional<Value>> KeyInTable(sqlite::Database& db, const TablePlan& table,
                                                const std::string& id) {
  const std::string column = QuoteName(table.key.front());
  const std::string from = absl::StrCat("SELECT ", column, " FROM main.", QuoteName(table.table),
                                        " WHERE ", column, " = ?1");
  for (const std::string& sql : {from, absl::StrCat(from, " COLLATE NOCASE LIMIT 1")}) {
    PT_ASSIGN_OR_RETURN(sqlite::Statement row, db.Prepare(sql));
    row.Bind(1, id);
    PT_ASSIGN_OR_RETURN(const bool found, row.Step());
    if (found) return row.ColumnValue(0);
  }
  return std::nullopt;
}

// True if the keys of this table are GUIDs in upper case.
absl::StatusOr<bool> WritesUpperCase(sqlite::Database& db, const TablePlan& table) {
  const std::string column = QuoteName(table.key.front());
  PT_ASSIGN_OR_RETURN(
      const Value value,
      db.QueryValue(absl::StrCat("SELECT ", column, " FROM main.", QuoteName(table.table),
                                 " WHERE typeof(", column, ") = 'text' AND length(", column,
                                 ") = 36 AND upper(", column, ") != lower(", column, ") LIMIT 1")));
  return value.type() == Value::Type::kText &&
         value.bytes() == absl::AsciiStrToUpper(value.bytes());
}

class Adoption {
 public:
  // `enqueues`: no row is enqueued yet, as where a script had installed the capture.
  Adoption(sqlite::Database& app, Replica& replica, const Clock& clock, bool enqueues)
      : app_(app),
        replica_(replica),
        ledger_(replica.ledger()),
        clock_(clock),
        enqueues_(enqueues) {}

  absl::Status Take(const EfItem& item) {
    const TablePlan* const table = TableOf(replica_.plan(), item.type);
    if (table == nullptr || table->key.size() != 1) {
      ++out_.not_synced;
      return absl::OkStatus();
    }
    PT_ASSIGN_OR_RETURN(const std::optional<Value> there, KeyInTable(app_, *table, item.id));
    if (there.has_value() && there->type() == Value::Type::kText && there->bytes() != item.id) {
      ++out_.other_case;
    }
    if (there.has_value()) return TakeEdit(*table, *there, item);
    if (!item.deletion) {
      ++out_.unknown;
      return absl::OkStatus();
    }
    return TakeDeletion(*table, item);
  }
  Adopted& out() { return out_; }

 private:
  // The row is enqueued by init already: what is new is that it is an edit, and of
  // what time.
  absl::Status TakeEdit(const TablePlan& table, const Value& key, const EfItem& item) {
    const std::vector<Value> keys = {key};
    absl::StatusOr<std::string> id = EntityIdOf(table, keys);
    if (!id.ok()) {
      ++out_.unknown;
      return absl::OkStatus();
    }
    const EntityKey entity{table.type, *std::move(id)};
    PT_ASSIGN_OR_RETURN(const std::optional<QueueItem> waiting, ledger_.FindWaiting(entity));
    if (!waiting.has_value() && !enqueues_) return absl::OkStatus();  // The service has it by now.
    QueueItem edit = waiting.value_or(QueueItem());
    edit.key = entity;
    edit.initial = false;
    edit.time = std::max(edit.time, item.time);
    edit.enqueued_at = FromTimeNs(std::max<TimeNs>(item.time, 0));
    ++out_.edits;
    return waiting.has_value() ? ledger_.UpdateItem(edit) : ledger_.InsertItem(edit).status();
  }

  // Of a row that nobody has told the service of: the state says that there was one,
  // so that its deletion is sent.
  absl::Status TakeDeletion(const TablePlan& table, const EfItem& item) {
    PT_ASSIGN_OR_RETURN(const bool upper, WritesUpperCase(app_, table));
    const std::string spelled = upper && IsUuid(item.id) ? absl::AsciiStrToUpper(item.id) : item.id;
    const std::vector<Value> keys = {Value::Text(spelled)};
    absl::StatusOr<std::string> id = EntityIdOf(table, keys);
    if (!id.ok()) {
      ++out_.unknown;
      return absl::OkStatus();
    }
    const EntityKey key{table.type, *std::move(id)};
    PT_ASSIGN_OR_RETURN(const bool open, ledger_.HasOpenItem(key));
    if (open) return absl::OkStatus();
    RowState gone{key, 0, "", kSmallestTime, {}, false};
    PT_ASSIGN_OR_RETURN(gone.row.columns_id, ledger_.ColumnsId(table.columns));
    gone.row.hashes.assign(table.columns.size(), 0);
    PT_RETURN_IF_ERROR(ledger_.PutState(gone));
    QueueItem deletion;
    deletion.key = key;
    deletion.operation = Operation::kDelete;
    deletion.time = item.time;
    deletion.enqueued_at = item.time > 0 ? FromTimeNs(item.time) : clock_.Now();
    ++out_.deletions;
    return ledger_.InsertItem(deletion).status();
  }

  sqlite::Database& app_;
  Replica& replica_;
  Ledger& ledger_;
  const Clock& clock_;
  const bool enqueues_;
  Adopted out_;
};

}  // namespace

absl::StatusOr<Adopted> Adopt(AgentContext& context, const ReplicaOptions& options) {
  sqlite::OpenOptions look;
  look.mode = sqlite::OpenOptions::Mode::kReadOnly;
  look.legacy_schema = true;
  look.busy_timeout = absl::Seconds(5);
  PT_ASSIGN_OR_RETURN(sqlite::Database app, sqlite::Database::Open(options.database, look));
  PT_ASSIGN_OR_RETURN(const std::vector<EfItem> items, ReadItems(app));
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<Replica> replica,
                      Replica::Open(options, context.clock, context.rng));
  Ledger& ledger = replica->ledger();
  PT_ASSIGN_OR_RETURN(const ReplicaFacts facts, replica->Facts());
  Adoption adoption(app, *replica, context.clock, facts.recovering);
  PT_ASSIGN_OR_RETURN(const int64_t before, ledger.GetInt(kAdoptedName, 0));
  if (before != 0) {
    adoption.out().before = true;
    return adoption.out();
  }
  PT_ASSIGN_OR_RETURN(sqlite::Transaction tx, ledger.Begin());
  for (const EfItem& item : items) PT_RETURN_IF_ERROR(adoption.Take(item));
  PT_RETURN_IF_ERROR(ledger.PutInt(kAdoptedName, 1));
  PT_RETURN_IF_ERROR(tx.Commit());
  PT_ASSIGN_OR_RETURN(const bool archives, HasTable(app, kEfArchives));
  if (archives) {
    adoption.out().open_conflicts =
        app.QueryInt("SELECT count(*) FROM main.SyncConflictArchives WHERE IsResolved = 0")
            .value_or(0);
  }
  return adoption.out();
}

}  // namespace ptdoc::sync
