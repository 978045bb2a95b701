#include "device-agent/capture/trigger_event.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

TEST(TriggerEventTest, UpdateTriggerListensToAllWhenNoColumnsAreNamed) {
  EXPECT_THAT(UpdateColumnsOfTrigger("CREATE TRIGGER t AFTER UPDATE ON x BEGIN SELECT 1; END"),
              Optional(IsEmpty()));
  EXPECT_THAT(UpdateColumnsOfTrigger("create temp trigger if not exists a.t update on x"),
              Optional(IsEmpty()));
}

TEST(TriggerEventTest, ColumnsAreReadWhenTheyAreQuoted) {
  EXPECT_THAT(
      UpdateColumnsOfTrigger("CREATE TRIGGER t BEFORE UPDATE OF A, \"b on \"\"c\", [D] ON x"),
      Optional(ElementsAre("a", "b on \"c", "d")));
}

TEST(TriggerEventTest, OtherEventsAreAbsentWhenTheNameSaysUpdate) {
  EXPECT_EQ(UpdateColumnsOfTrigger("CREATE TRIGGER \"update\" AFTER INSERT ON x"), std::nullopt);
  EXPECT_EQ(UpdateColumnsOfTrigger("CREATE TRIGGER on_update /* UPDATE */ DELETE ON x"),
            std::nullopt);
  EXPECT_EQ(UpdateColumnsOfTrigger("CREATE TRIGGER"), std::nullopt);
}

}  // namespace
}  // namespace ptdoc::sync
