#include "tests/simulation/content.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "tests/simulation/content_mark.h"
#include "tests/simulation/overhear.h"

namespace ptdoc::sync::sim {
namespace {

// "table.column": where docs/SCHEMA.md says that content stands.
using Places = std::set<std::string>;

const Places& OfService() {
  static const auto* const places =
      new Places{"Versions.Content", "SyncConflictArchives.ArchivedDataJson",
                 "SyncConflictArchives.ChosenDataJson", "SyncConflictArchives.BaseDataJson"};
  return *places;
}

const Places& OfDevice() {
  static const auto* const places = new Places{
      "SyncSetAside.Content", "SyncIntents.Payload", "SyncConflictArchives.ArchivedDataJson",
      "SyncConflictArchives.ChosenDataJson", "SyncConflictArchives.BaseDataJson"};
  return *places;
}

std::vector<std::string> TablesOf(sqlite::Database& db, absl::string_view pattern) {
  absl::StatusOr<sqlite::Statement> rows = db.Prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?1 ORDER BY name");
  PT_CHECK(rows.ok());
  rows->Bind(1, pattern);
  std::vector<std::string> tables;
  while (true) {
    const absl::StatusOr<bool> more = rows->Step();
    PT_CHECK(more.ok());
    if (!*more) return tables;
    tables.emplace_back(rows->Text(0));
  }
}

// The columns of this table in which content was found.
std::set<std::string> FindContent(sqlite::Database& db, const std::string& table) {
  absl::StatusOr<sqlite::Statement> rows =
      db.Prepare(absl::StrCat("SELECT * FROM ", sqlite::QuoteName(table)));
  PT_CHECK(rows.ok());
  std::set<std::string> columns;
  while (true) {
    const absl::StatusOr<bool> more = rows->Step();
    PT_CHECK(more.ok());
    if (!*more) return columns;
    for (int i = 0; i < rows->column_count(); ++i) {
      // Of a number its digits.
      if (!HoldsContent(rows->Blob(i))) continue;
      columns.insert(absl::StrCat(table, ".", rows->ColumnName(i)));
    }
  }
}

void CheckDatabase(World& world, const std::string& whose, sqlite::Database& db,
                   absl::string_view pattern, const Places& places) {
  for (const std::string& table : TablesOf(db, pattern)) {
    for (const std::string& place : FindContent(db, table)) {
      if (places.contains(place)) {
        world.Count("content in " + place);
      } else {
        world.Fail(absl::StrCat("content stands where none may (P9): ", whose, " ", place));
      }
    }
  }
}

}  // namespace

bool HoldsContent(absl::string_view bytes) {
  return absl::StrContains(bytes, kContentMark) || absl::StrContains(bytes, kAmountDigits);
}

void Overhear(World& world, absl::string_view where, absl::string_view said) {
  // What was said holds content itself, and is not repeated here.
  if (HoldsContent(said)) world.Fail(absl::StrCat("content was told (P9): in ", where));
}

LogListener::LogListener(World& world) {
  LogOptions all;
  all.level = LogLevel::kDebug;
  all.entity_ids = EntityIds::kPlain;
  InitLog(all);
  SetLogSink([&world](absl::string_view line) {
    world.Count("lines logged");
    if (absl::StrContains(line, " replica.recovery_begun")) world.Count("recovery begun");
    Overhear(world, "the log", line);
  });
}

LogListener::~LogListener() {
  SetLogSink(nullptr);
}

void CheckPlacesOfContent(World& world, SimService& service,
                          const std::vector<std::unique_ptr<SimDevice>>& devices) {
  service.Look([&](sqlite::Database& db) {
    CheckDatabase(world, "the service's store", db, "*", OfService());
  });
  for (const auto& device : devices) {
    device->Look([&](sqlite::Database& ledger, sqlite::Database& app) {
      CheckDatabase(world, device->name() + "'s ledger", ledger, "*", OfDevice());
      CheckDatabase(world, device->name() + "'s file", app, "Sync*", {});
      if (*ledger.QueryInt("SELECT count(*) FROM SyncIntents") != 0) {
        world.Fail(device->name() + ": an intent stands that nobody finishes");
      }
    });
  }
}

}  // namespace ptdoc::sync::sim
