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

TEST(OutputTest, AListIsATableOrASentenceForPeopleAndItemsForScripts) {
  const Json items = Json::array({{{"id", 1}}});
  const auto printed = [&](bool json, const std::vector<std::vector<std::string>>& rows) {
    testing::internal::CaptureStdout();
    PrintList(json, items, {"id"}, rows, "Nothing waits.");
    return testing::internal::GetCapturedStdout();
  };

  EXPECT_EQ(printed(false, {{"1"}}), "id\n1\n");
  EXPECT_EQ(printed(false, {}), "Nothing waits.\n");
  EXPECT_EQ(printed(true, {{"1"}}), "{\"items\":[{\"id\":1}]}\n");
}

TEST(OutputTest, RowJsonIsNullWhenTheRowIsNotKnownOrDeleted) {
  EXPECT_EQ(RowOrNull("").dump(), "null");
  EXPECT_EQ(RowOrNull("null").dump(), "null");
  EXPECT_EQ(RowOrNull(R"({"B":1,"A":2.0})").dump(), R"({"B":1,"A":2.0})");
}

TEST(OutputTest, ADamagedFileIsNeverCalledHarmlessWhenTheStatusHasNoReason) {
  const std::string line = ErrorLine(ErrorOf(absl::DataLossError("Ana Alvarez")));

  EXPECT_EQ(line.find("Nothing was lost"), std::string::npos) << line;
  EXPECT_EQ(line.find("Ana"), std::string::npos) << line;
  EXPECT_NE(line.find("may be lost"), std::string::npos) << line;
}

TEST(OutputTest, ACheckIsOneLineWithItsPluginsCodeWhateverTheState) {
  const std::vector<std::pair<CheckState, std::string>> states = {
      {CheckState::kOk, "OK"},
      {CheckState::kWarning, "WARNING"},
      {CheckState::kCritical, "CRITICAL"},
      {CheckState::kUnknown, "UNKNOWN"}};
  int code = 0;
  for (const auto& [state, name] : states) {
    testing::internal::CaptureStdout();

    EXPECT_EQ(PrintCheck(state, "two wait"), code++);

    EXPECT_EQ(testing::internal::GetCapturedStdout(), "PTDOC " + name + " - two wait\n");
  }
}

TEST(OutputTest, AWordOfAShellIsQuotedWhereItMustBe) {
  EXPECT_EQ(ShellWord("/tmp/app-1.db"), "/tmp/app-1.db");
  EXPECT_EQ(ShellWord(""), "''");
  EXPECT_EQ(ShellWord("[\"a\",1]"), "'[\"a\",1]'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
}

TEST(OutputTest, ACheckSaysEveryPartWhenThereIsAnError) {
  testing::internal::CaptureStdout();

  const int code =
      PrintCheck(CheckState::kCritical, ReasonError(absl::StatusCode::kUnavailable, "NO_AGENT",
                                                    "No agent answers. Changes wait. Start it."));

  EXPECT_EQ(code, 2);
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "PTDOC CRITICAL - No agent answers (NO_AGENT). Changes wait. Start it.\n");
}

}  // namespace
}  // namespace ptdoc::sync
