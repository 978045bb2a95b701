// doctor: everything that can be in the way, each with the command that mends it.
#include "device-agent/cli/doctor.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

const char* WordOf(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "OK";
    case CheckState::kWarning:
      return "WARN";
    default:
      return "FAIL";
  }
}

int64_t FindingsOf(const Checkup& checkup) {
  int64_t findings = 0;
  for (const CheckLine& check : checkup.checks())
    findings += check.state == CheckState::kOk ? 0 : 1;
  return findings;
}

Json CheckupJson(const Checkup& checkup) {
  Json checks = Json::array();
  for (const CheckLine& check : checkup.checks()) {
    checks.push_back({{"name", check.name},
                      {"level", WordOf(check.state)},
                      {"message", check.message},
                      {"command", check.command}});
  }
  return {{"checks", checks}, {"findings", FindingsOf(checkup)}};
}

void PrintCheckup(const Checkup& checkup) {
  for (const CheckLine& check : checkup.checks()) {
    std::string level = WordOf(check.state);
    level.resize(4, ' ');
    std::string name = check.name;
    name.resize(12 > name.size() ? 12 : name.size(), ' ');
    std::printf("%s  %s  %s\n", Paint(ColourOf(check.state), level).c_str(), name.c_str(),
                check.message.c_str());
    if (!check.command.empty()) std::printf("                    %s\n", check.command.c_str());
  }
}

}  // namespace

std::string Checkup::Agent(absl::string_view verb) const {
  return absl::StrCat("device-agent ", verb, flags_);
}

int Doctor(AgentContext& context) {
  const absl::Status loaded = context.LoadConfig();
  if (!loaded.ok()) return Fail(loaded, context.json);
  Checkup checkup(context.GivenFlags());
  const std::string file =
      context.config.file.empty() ? std::string("(no file)") : context.config.file;
  checkup.Ok("config", absl::StrCat("Read from ", file, "."));
  CheckAgents(context, checkup);
  CheckDatabase(context, checkup);
  CheckLedger(context, checkup);
  CheckDisks(context, checkup);
  CheckService(context, checkup);
  if (context.json) {
    PrintJson(CheckupJson(checkup));
  } else {
    PrintCheckup(checkup);
  }
  return FindingsOf(checkup) > 0 ? kExitWaits : kExitDone;
}

}  // namespace ptdoc::sync
