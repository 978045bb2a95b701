#include <gtest/gtest.h>

#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

constexpr char kPlanted[] = "Jane-Doe-1953";

bool ShowsContent(const std::string& text) {
  return text.find(kPlanted) != std::string::npos;
}

// What a change can be answered with, each with the planted value in it.
std::vector<Change> EveryKindOfChange(const ChangeResult& base, const ChangeResult& signature) {
  const Fields planted = Texts({{"Name", kPlanted}});
  ChangeResult unknown = base;
  unknown.revision = 9999;
  Change defect = Create(Patient("d"), planted);
  defect.defect = {ErrorCode::kInvalidValue, "field Name has no value"};
  Change negative = Create(Patient("n"), planted);
  negative.base_revision = -1;
  Change check = Create(Patient("c"), planted);
  check.base_check = kPlanted;
  return {Create(Patient("new"), planted),
          Delta(kP1, base, planted),
          Delta(kP1, unknown, planted),
          Delta({"ClinicalNote", "n1"}, signature, planted),
          Reoffer(Patient("r"), planted),
          defect,
          negative,
          check,
          Create(Patient("big"), Texts({{"Name", kPlanted + std::string(1000, 'x')}}))};
}

TEST(PrivacyTest, NoValueStandsInAnAnswersTextOrInTheAudit) {
  TestService service;
  service.options.max_row_bytes = 500;
  service.Reopen();
  const ChangeResult base = PushOne(service, "a", Create(kP1, Texts({{"Name", kPlanted}})));
  PushOne(service, "b", Delta(kP1, base, Texts({{"City", kPlanted}})));
  const ChangeResult signature =
      PushOne(service, "a",
              Create({"ClinicalNote", "n1"}, Texts({{"Text", kPlanted}, {"SignatureHash", "s"}})));

  const PushAnswer answer =
      MustPush(service, BatchOf(service, "a", EveryKindOfChange(base, signature)));

  for (const ChangeResult& result : answer.results) {
    EXPECT_FALSE(ShowsContent(result.error_message)) << result.rule;
  }
  EXPECT_GE(service.AuditRows().size(), answer.results.size());
  for (const AuditRow& row : service.AuditRows()) {
    const AuditEvent& event = row.event;
    for (const std::string& text :
         {event.event, event.device, event.user, event.claimed, event.key.type, event.key.id,
          event.outcome, event.rule, event.reason}) {
      EXPECT_FALSE(ShowsContent(text)) << event.rule;
    }
  }
}

TEST(PrivacyTest, NoValueStandsInTheStatusOfARefusedCall) {
  TestService service;
  const Fields planted = Texts({{"Name", kPlanted}});
  PushBatch batch_id = BatchOf(service, "a", {Create(kP1, planted)});
  batch_id.batch_id = kPlanted;
  PushBatch cursor = BatchOf(service, "a", {Create(kP1, planted)});
  cursor.cursor = kPlanted;
  ResolveRequest review;
  review.conflict_id = kPlanted;
  review.reason_code = std::string(kPlanted) + " free text";
  ResolveRequest unknown = review;
  unknown.reason_code = "checked";

  for (const absl::Status& status :
       {service.Push(batch_id).status(), service.Push(cursor).status(),
        service.engine().Pull(PullFrom("a", kPlanted)).status(),
        service.engine().ResolveConflict(Admin(), review).status(),
        service.engine().ResolveConflict(Admin(), unknown).status(),
        service.engine().Unlock(Admin(), kP1, kPlanted + std::string("!")).status()}) {
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(ShowsContent(status.ToString()));
  }
}

}  // namespace
}  // namespace ptdoc::sync
