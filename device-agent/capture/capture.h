#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/plan.h"
#include "device-agent/capture/triggers.h"

namespace ptdoc::sync {

// SyncControl's only row.
struct ControlRow {
  bool applying = false;
  int64_t clock_offset_ns = 0;  // added to the device's clock by the triggers
  TimeNs newest_time = 0;       // newest time seen
  int64_t page_number = 0;      // the page mark: last applied page or answer,
  int64_t page_tag = 0;         // and its random tag
  std::string file_id;          // random UUID of this file's life
};

// One row of SyncLog.
struct LogRow {
  int64_t seq = 0;
  int64_t tag = 0;
  int table = 0;
  char op = 0;                      // 'I', 'U', 'D'; 'A' for the anchor of init
  std::vector<Value> key;           // as long as the table's key; as it stands in this file
  Value local_key = Value::Null();  // the row's own integer, of a table that logs it
  // Absent: touched while the agent applied, or the control row was gone.
  std::optional<TimeNs> time;
};

// A position in the log that is recognised again.
struct LogMark {
  int64_t seq = 0;
  int64_t tag = 0;
  friend bool operator==(const LogMark&, const LogMark&) = default;
};

// True if `table`, SyncLog or SyncControl, is there and is ours, of this version
// or of an earlier one.
absl::StatusOr<bool> HasOurTable(sqlite::Database& db, absl::string_view table);
// FAILED_PRECONDITION (NAME_TAKEN) if something of the app's has one of the two
// names: it is never touched.
absl::Status CheckNames(sqlite::Database& db);

// Everything that init would execute, as one script for a migration. Run again,
// it changes nothing but puts the triggers back. It begins no transaction (a
// migration has its own).
absl::StatusOr<std::string> InstallScript(sqlite::Database& db, const Plan& plan);

// Creates what is missing and replaces what has another text, and sets the
// sequences of tables with an id_range where they are outside of it, in the
// connection's present write transaction (the caller's; FAILED_PRECONDITION
// without one; NAME_TAKEN as CheckNames). A file without a control row gets one with a new file id,
// an empty log its anchor row. Returns the names of what it created, replaced or (triggers of
// tables that left the plan) removed.
absl::StatusOr<std::vector<std::string>> Install(sqlite::Database& db, const Plan& plan, Rng& rng);

// The names of our objects that are missing or have another text (of the two
// tables: other columns; SyncControl also if its row is missing), of sequences
// outside of an id_range, and of triggers of ours that the plan does not know. Empty = all is well.
// Reads only sqlite_master and the control row; the plan must be of the present schema.
absl::StatusOr<std::vector<std::string>> CheckObjects(sqlite::Database& db, const Plan& plan);

// Removes every object of ours in one transaction: the schema is afterwards
// byte for byte what it was.
absl::Status Uninstall(sqlite::Database& db);

// NOT_FOUND if the table or its row is gone (or the table is the app's).
absl::StatusOr<ControlRow> ReadControl(sqlite::Database& db);
// Puts the row back if it is gone; NOT_FOUND if the table is.
absl::Status WriteControl(sqlite::Database& db, const ControlRow& row);

// Rows after `seq`, in order, at most `limit`. Rows of tables that the plan does
// not know have an empty key. NOT_FOUND if there is no log.
absl::StatusOr<std::vector<LogRow>> ReadLog(sqlite::Database& db, const Plan& plan, int64_t seq,
                                            size_t limit);
// True if the row stands there as remembered; false without a log, too.
absl::StatusOr<bool> HasMark(sqlite::Database& db, const LogMark& mark);
// The last row; {0, 0} if the log is empty or absent.
absl::StatusOr<LogMark> LastMark(sqlite::Database& db);
// Deletes rows below `below_seq`. The last row always stays: a log that was
// emptied would count from 1 again.
absl::Status TrimLog(sqlite::Database& db, int64_t below_seq);
// Deletes the rows above `after` up to `last`, which the transaction that is
// open has added itself: nobody else ever sees their numbers.
absl::Status DropLog(sqlite::Database& db, int64_t after, int64_t last);

}  // namespace ptdoc::sync
