// Whether the app's file is whole: what is not told by a row is asked of SQLite before it
// goes anywhere.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/sqlite/patience.h"
#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {
namespace {

// The index that a line of integrity_check finds not to be what its table is; empty if
// the line says anything else. (Texts of SQLite 3.34 to 3.50.)
std::string IndexOf(absl::string_view line) {
  const bool of_rows =
      absl::StartsWith(line, "row ") && (absl::StrContains(line, " missing from index ") ||
                                         absl::StrContains(line, " values differ from index "));
  const bool of_index = absl::StartsWith(line, "wrong # of entries in index ") ||
                        absl::StartsWith(line, "non-unique entry in index ");
  constexpr absl::string_view kIndex = " index ";
  const size_t at = line.find(kIndex);
  if (!(of_rows || of_index) || at == absl::string_view::npos) return "";
  return std::string(line.substr(at + kIndex.size()));
}

}  // namespace

// What can still be read of a damaged file may be what it was, or not.
absl::Status ReplicaImpl::CheckWhole() {
  PT_ASSIGN_OR_RETURN(const int64_t known, ledger_->GetInt(kCorrupt, 0));
  if (corrupt_.ok() && known == 0) return absl::OkStatus();
  if (known == 0) PT_RETURN_IF_ERROR(ledger_->PutInt(kCorrupt, 1));
  const absl::Duration now = clock_.Monotonic();
  if (!corrupt_.ok() && now < whole_check_at_) return corrupt_;
  if (corrupt_.ok()) corrupt_ = sqlite::CorruptError(*app_, "it was damaged before");
  // A file that was mended in place has told no connection: its pages that are in a cache
  // would stay damaged.
  PT_RETURN_IF_ERROR(Reconnect());
  const absl::Status found = FindDamage(*app_);
  const absl::Duration took = clock_.Monotonic() - now;
  whole_check_at_ = now + std::max(kWholeCheckEvery, kWholeCheckPause * took);
  if (!found.ok() && !absl::IsDataLoss(found)) return found;
  if (found.ok()) {
    Log(LogLevel::kInfo, "replica.whole_again", {});
    corrupt_ = absl::OkStatus();
    return ledger_->PutInt(kCorrupt, 0);
  }
  corrupt_ = sqlite::CorruptError(*app_,
                                  "PRAGMA integrity_check finds damage. Nothing is sent from the "
                                  "file or applied to it until it is mended or put back");
  return corrupt_;
}

// True of an index under a collation that an app may replace by its own of that name
// (NOCASE, to compare more than ASCII): it is in the order of one that is not known here.
// Not of one by which a synced row may be looked up: that would miss rows.
absl::StatusOr<bool> ReplicaImpl::IsOfAppsCollation(sqlite::Database& db,
                                                    const std::string& index) {
  PT_ASSIGN_OR_RETURN(
      sqlite::Statement stmt,
      db.Prepare("SELECT m.tbl_name, c.seqno, c.name, c.coll FROM main.sqlite_master m, "
                 "pragma_index_xinfo(m.name) c WHERE m.type = 'index' AND m.name = ?1 AND c.key "
                 "ORDER BY c.seqno"));
  stmt.Bind(1, index);
  bool replaceable = false;
  while (true) {
    PT_ASSIGN_OR_RETURN(const bool found, stmt.Step());
    if (!found) return replaceable;
    replaceable |= !absl::EqualsIgnoreCase(stmt.Text(3), "BINARY");
    const TablePlan* plan = plan_.ByTable(stmt.Text(0));
    if (stmt.Int(1) != 0 || plan == nullptr) continue;
    for (const std::string& column : plan->key) {
      if (absl::EqualsIgnoreCase(column, stmt.Text(2))) return false;
    }
  }
}

// One line of SQLite's. What rows hold against the rules of their own schema is the app's,
// and so is an index of texts.
absl::StatusOr<bool> ReplicaImpl::IsDamage(sqlite::Database& db, absl::string_view line) {
  const bool of_the_app = absl::StrContains(line, " value in ") ||
                          absl::StartsWith(line, "CHECK constraint failed in ") ||
                          absl::StrContains(line, "inverted index");
  if (line == "ok" || of_the_app) return false;
  const std::string index = IndexOf(line);
  if (index.empty()) return true;
  PT_ASSIGN_OR_RETURN(const bool of_its_collation, IsOfAppsCollation(db, index));
  return !of_its_collation;
}

// DATA_LOSS if SQLite finds the file itself damaged. ABORTED if the app wants to write and
// waits for this, which only happens in a rollback-journal mode: the file is blocked then,
// and the next call lets it wait twice as long, so that one of them comes to an end.
absl::Status ReplicaImpl::FindDamage(sqlite::Database& db) {
  // Lines of an index that cannot be judged must not hide others.
  for (const char* const check :
       {"PRAGMA main.integrity_check(1000000)", "PRAGMA main.quick_check(100)"}) {
    bool judged = true;
    const sqlite::Patience patience(db, check_patience_);
    absl::StatusOr<sqlite::Statement> rows = db.Prepare(check);
    absl::StatusOr<bool> more = rows.ok() ? rows->Step() : rows.status();
    for (; more.ok() && *more; more = rows->Step()) {
      PT_ASSIGN_OR_RETURN(const bool damage, IsDamage(db, rows->Text(0)));
      if (damage) return sqlite::CorruptError(db, "");
      judged &= rows->Text(0) == "ok";
    }
    if (patience.gave_way()) {
      check_patience_ = std::max(2 * check_patience_, absl::Milliseconds(1));
      return absl::AbortedError("the app waits to write");
    }
    // An index that needs a function or collation of the app's cannot be judged.
    constexpr int kError = 1;  // sqlite.org/rescode.html
    judged &= more.ok();
    if (!more.ok() && sqlite::ExtendedCode(more.status()) != kError) return more.status();
    if (judged) break;
  }
  check_patience_ = options_.check_patience;
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
