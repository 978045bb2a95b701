#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/model/value.h"
#include "gmock/gmock.h"
#include "tests/device-agent/replica/replica_fixture.h"

namespace ptdoc::sync {

// Every value of every table of the plan by type and byte, in the key's order.
inline std::vector<std::string> ContentOf(TestDevice& device, const Plan& tables) {
  std::vector<std::string> lines;
  for (const TablePlan& plan : tables.tables) {
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
inline std::vector<std::string> ContentOf(TestDevice& device) {
  return ContentOf(device, device.replica().plan());
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
  // `uninstall` leaves the schema as `sql` makes it, and every row as it is.
  void ExpectUninstallLeavesNothing(TestDevice& device, const std::string& sql) {
    constexpr char kSchema[] = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2";
    const Plan plan = device.replica().plan();
    const std::vector<std::string> content = ContentOf(device, plan);
    device.Close();
    const absl::Status removed = Replica::Uninstall(device.options(), clock_, rng_);
    ASSERT_TRUE(removed.ok()) << removed;
    TestDevice fresh(dir_, "fresh", clock_, rng_);
    fresh.Sql(sql);
    EXPECT_EQ(device.Query(kSchema), fresh.Query(kSchema));
    EXPECT_TRUE(ContentOf(device, plan) == content) << "uninstall has changed a row";
    EXPECT_THAT(device.Query("PRAGMA integrity_check"), testing::ElementsAre("ok"));
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
