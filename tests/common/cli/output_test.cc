#include "common/cli/output.h"

#include "common/model/reason.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

TEST(OutputTest, ErrorHasItsPartsWhenTheStatusIsOurs) {
  const absl::Status status =
      ReasonError(absl::StatusCode::kUnavailable, "STORE_AWAY",
                  "The store does not answer. Nothing was stored. Try again in a minute.");

  const UserError error = ErrorOf(status);

  EXPECT_EQ(error.what, "The store does not answer");
  EXPECT_EQ(error.effect, "Nothing was stored");
  EXPECT_EQ(error.remedy, "Try again in a minute");
  EXPECT_EQ(ErrorLine(error),
            "The store does not answer (STORE_AWAY). Nothing was stored. Try again in a minute.");
  EXPECT_EQ(ExitCodeOf(status), kExitUnreachable);
}

TEST(OutputTest, ForeignTextIsNotShownWhenTheStatusHasNoReason) {
  const UserError error = ErrorOf(absl::InternalError("Ana Alvarez"));

  EXPECT_EQ(ErrorLine(error).find("Ana"), std::string::npos);
  EXPECT_EQ(error.reason, "INTERNAL");
}

TEST(OutputTest, TableAlignsWhenCellsHoldUmlauts) {
  const std::string table = TextTable({"name", "n"}, {{"Jörg", "1"}, {"Ana", "22"}});

  EXPECT_EQ(table, "name  n\nJörg  1\nAna   22\n");
}

TEST(OutputTest, ConflictTableMarksTheFieldsWhenTheyDiffer) {
  const std::string table =
      ConflictTable(R"({"A":1,"B":"x"})", R"({"A":1,"B":"y"})", R"({"A":1,"B":"z"})");

  EXPECT_NE(table.find("*  B      x     y         z"), std::string::npos) << table;
  EXPECT_NE(table.find("   A      1     1         1"), std::string::npos) << table;
}

TEST(OutputTest, ConflictTableSaysSoWhenTheLoserWasADeletion) {
  const std::string table = ConflictTable("", "null", R"({"A":1})");

  EXPECT_NE(table.find("archived (deleted)"), std::string::npos) << table;
  EXPECT_NE(table.find("base (not known)"), std::string::npos) << table;
}

}  // namespace
}  // namespace ptdoc::sync
