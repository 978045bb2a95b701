#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite/sqlite.h"
#include "device-agent/capture/capture.h"
#include "device-agent/capture/local_key.h"
#include "device-agent/capture/plan.h"

namespace ptdoc::sync {

// Which row a log row speaks of. A key that is made of other rows' local
// integers stands in the log as integers, and what they meant is known from the
// log itself: tables whose integers are used so are logged with them, before
// they are deleted or renumbered. For one pass over the log, in one transaction.
class LogKeys {
 public:
  // The rows that are named are those above `after`. `plan` and `db` must outlive it.
  LogKeys(sqlite::Database& db, const Plan& plan, int64_t after)
      : db_(db), plan_(plan), after_(after) {}

  enum class Verdict : uint8_t {
    kKnown,
    kInvalid,  // its key is no id: NULL in it, too long, or it refers to nothing
    kGone,     // a row was deleted that nobody can name any more
  };
  struct Name {
    Verdict verdict = Verdict::kInvalid;
    std::string id;
    std::vector<Value> key;  // with the ids of the rows that its integers mean
  };
  // Of a row of a table that the plan knows.
  absl::StatusOr<Name> NameOf(const LogRow& row);
  // Writes into the log what the integers of this row mean: what tells it is dropped.
  absl::Status Pin(const LogRow& row, const Name& name);

  // What the log does not tell: until now this row had this integer.
  using Owners = std::map<std::pair<int, int64_t>, std::string>;
  void set_owners(const Owners* owners) { owners_ = owners; }
  // What neither the log nor the file tells: whose integers were before. Outlives it.
  void set_gone(const GoneRows* gone) { gone_ = gone; }

 private:
  absl::Status LoadEvents();
  absl::StatusOr<std::optional<std::string>> OwnerOf(const TablePlan& parent, const Value& local,
                                                     const LogRow& row);
  absl::StatusOr<std::optional<std::string>> IdOf(const LogRow& event);

  sqlite::Database& db_;
  const Plan& plan_;
  const int64_t after_;
  const Owners* owners_ = nullptr;
  const GoneRows* gone_ = nullptr;
  bool loaded_ = false;
  bool too_many_ = false;
  std::map<std::pair<int, int64_t>, std::vector<LogRow>> events_;  // in the log's order
};

}  // namespace ptdoc::sync
