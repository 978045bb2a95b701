#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/model/value.h"
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {

// Every value of every synced table by type and byte, in the key's order.
inline std::vector<std::string> ContentOf(TestDevice& device) {
  std::vector<std::string> lines;
  for (const TablePlan& plan : device.replica().plan().tables) {
    std::vector<std::string> columns;
    for (const std::string& column : plan.columns) columns.push_back(sqlite::QuoteName(column));
    std::vector<std::string> key;
    for (const std::string& column : plan.key) key.push_back(sqlite::QuoteName(column));
    auto rows = device.app().Prepare(absl::StrCat("SELECT ", absl::StrJoin(columns, ", "),
                                                  " FROM main.", sqlite::QuoteName(plan.table),
                                                  " ORDER BY ", absl::StrJoin(key, ", ")));
    EXPECT_TRUE(rows.ok()) << rows.status() << " in " << plan.table;
    while (rows.ok() && *rows->Step()) {
      std::string bytes = plan.table;
      for (int i = 0; i < rows->column_count(); ++i) AppendCanonical(rows->ColumnValue(i), &bytes);
      lines.push_back(std::move(bytes));
    }
  }
  return lines;
}

// Two devices that sync one schema.
class SchemaTest : public ReplicaTest {
 protected:
  // What must hold when all has come to rest.
  void ExpectSame() {
    EXPECT_TRUE(ContentOf(a_) == ContentOf(b_)) << "the devices hold different rows";
    for (TestDevice* device : {&a_, &b_}) {
      EXPECT_THAT(device->OpenQueue(), testing::IsEmpty()) << device->name();
      EXPECT_THAT(device->LedgerQuery("SELECT EntityType, EntityId, Code, ConstraintName "
                                      "FROM SyncSetAside"),
                  testing::IsEmpty())
          << device->name();
      EXPECT_THAT(device->Query("PRAGMA integrity_check"), testing::ElementsAre("ok"));
      EXPECT_THAT(device->Query("PRAGMA foreign_key_check"), testing::IsEmpty());
      EXPECT_THAT(device->Query("SELECT Applying FROM SyncControl"), testing::ElementsAre("0"));
    }
  }
  // The plan's mode of a table: "two-way", "off", "captured", or the refusal's code.
  static std::string ModeOf(TestDevice& device, const std::string& table) {
    const Plan& plan = device.replica().plan();
    if (const TablePlan* entry = plan.ByTable(table)) {
      switch (entry->apply_mode) {
        case ApplyMode::kTriggersOn:
          return "two-way";
        case ApplyMode::kTriggersOff:
          return "off";
        case ApplyMode::kCaptureOnly:
          return "captured";
      }
    }
    for (const Refusal& refusal : plan.refusals) {
      if (refusal.table == table) return refusal.reason;
    }
    return "unknown";
  }
};

}  // namespace ptdoc::sync
