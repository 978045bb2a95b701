// verify: every synced row against the service.
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/time_text.h"
#include "common/cli/output.h"
#include "device-agent/cli/call.h"
#include "device-agent/cli/verbs.h"

namespace ptdoc::sync {
namespace {

constexpr int kShownMax = 20;  // findings for people; --json has all

const char* KindName(v1::VerifyKind kind) {
  switch (kind) {
    case v1::VERIFY_KIND_MISSING_HERE:
      return "missingHere";
    case v1::VERIFY_KIND_MISSING_THERE:
      return "missingThere";
    default:
      return "different";
  }
}

std::string SentenceOf(const v1::VerifyFinding& finding) {
  switch (finding.kind()) {
    case v1::VERIFY_KIND_MISSING_HERE:
      return "is missing here";
    case v1::VERIFY_KIND_MISSING_THERE:
      return "is here, and not at the service";
    default:
      break;
  }
  if (finding.columns().empty()) return "is equal, but the ledger names another version";
  return absl::StrCat("differs in ", absl::StrJoin(finding.columns(), ", "));
}

uint64_t FindingsOf(const v1::VerifyReport& report) {
  uint64_t findings = 0;
  for (const v1::VerifyType& type : report.types()) {
    findings += type.different() + type.missing_here() + type.missing_there();
  }
  return findings;
}

Json ReportJson(const v1::VerifyReport& report) {
  Json types = Json::array();
  for (const v1::VerifyType& type : report.types()) {
    types.push_back({{"entityType", type.entity_type()},
                     {"rows", type.rows()},
                     {"equal", type.equal()},
                     {"waiting", type.waiting()},
                     {"different", type.different()},
                     {"missingHere", type.missing_here()},
                     {"missingThere", type.missing_there()}});
  }
  Json findings = Json::array();
  for (const v1::VerifyFinding& finding : report.findings()) {
    Json columns = Json::array();
    for (const std::string& column : finding.columns()) columns.push_back(column);
    findings.push_back({{"entityType", finding.entity_type()},
                        {"entityId", finding.entity_id()},
                        {"kind", KindName(finding.kind())},
                        {"columns", columns},
                        {"serviceRevision", finding.service_revision()},
                        {"deviceRevision", finding.device_revision()},
                        {"repaired", finding.repaired()}});
  }
  return {{"types", types},
          {"findings", findings},
          {"found", FindingsOf(report)},
          {"repaired", report.repaired()},
          {"resumed", report.resumed()},
          {"durationMs", report.duration_ms()}};
}

void PrintReport(const v1::VerifyReport& report, const VerifyArgs& args, const std::string& flags) {
  std::vector<std::vector<std::string>> rows;
  for (const v1::VerifyType& type : report.types()) {
    rows.push_back({type.entity_type(), absl::StrCat(type.rows()), absl::StrCat(type.equal()),
                    absl::StrCat(type.waiting()), absl::StrCat(type.different()),
                    absl::StrCat(type.missing_here()), absl::StrCat(type.missing_there())});
  }
  PrintList(/*json=*/false, Json::array(),
            {"type", "rows", "equal", "waiting", "different", "missing here", "missing there"},
            rows, "No table is synced.");
  int shown = 0;
  for (const v1::VerifyFinding& finding : report.findings()) {
    if (++shown > kShownMax) break;
    std::printf("%s %s %s%s\n", finding.entity_type().c_str(), finding.entity_id().c_str(),
                SentenceOf(finding).c_str(), finding.repaired() ? ": repaired" : "");
  }
  const uint64_t found = FindingsOf(report);
  if (found > kShownMax) std::printf("... --json lists more\n");
  const std::string took = HumanDuration(absl::Milliseconds(report.duration_ms()));
  if (found == 0) {
    std::printf("Every row is what the service holds, or waits to be; looked at in %s%s.\n",
                took.c_str(), report.resumed() ? ", going on where it had stopped" : "");
  } else if (args.repair.empty()) {
    std::printf(
        "%s not what the service holds; looked at in %s. Nothing was changed. The service's "
        "version is put in place by\n  device-agent verify --repair%s\nand the device's is sent "
        "as an edit by\n  device-agent verify --repair=push%s\n",
        Plural(found, "row is", "rows are").c_str(), took.c_str(), flags.c_str(), flags.c_str());
  } else {
    std::printf(
        "%s of %s repaired. What was replaced is in the archive:\n"
        "  device-agent conflicts list%s\n",
        absl::StrCat(report.repaired()).c_str(), Plural(found, "finding").c_str(), flags.c_str());
  }
}

absl::Status RunVerify(AgentContext& context, const v1::VerifyRequest& request,
                       v1::VerifyReport* report) {
  if (context.agent == nullptr) {
    const absl::Status connected = context.Connect();
    if (!connected.ok()) return connected;
  }
  grpc::ClientContext call;
  const auto stream = context.agent->Verify(&call, request);
  const bool shows = OnTerminal() && !context.json;
  v1::VerifyResponse response;
  while (stream->Read(&response)) {
    if (response.has_report()) *report = response.report();
    if (!shows || response.has_report()) continue;
    std::printf("\r\033[Kcompared %llu of %llu rows",
                static_cast<unsigned long long>(response.done()),
                static_cast<unsigned long long>(response.known()));
    std::fflush(stdout);
  }
  if (shows) std::printf("\r\033[K");
  const grpc::Status status = stream->Finish();
  return status.ok() ? absl::OkStatus() : AnswerError(FromGrpcStatus(status));
}

}  // namespace

int Verify(AgentContext& context, const VerifyArgs& args) {
  v1::VerifyRequest request;
  if (args.repair == "fetch") {
    request.set_repair(v1::VERIFY_REPAIR_FETCH);
  } else if (args.repair == "push") {
    request.set_repair(v1::VERIFY_REPAIR_PUSH);
  } else if (!args.repair.empty()) {
    return Fail(ReasonError(absl::StatusCode::kInvalidArgument, "USAGE",
                            absl::StrCat("--repair=", args.repair,
                                         " is no way to repair. Nothing was changed. Give --repair "
                                         "or --repair=push.")),
                context.json);
  }
  v1::VerifyReport report;
  const absl::Status done = RunVerify(context, request, &report);
  if (!done.ok()) return Fail(done, context.json);
  if (context.json) {
    PrintJson(ReportJson(report));
  } else {
    PrintReport(report, args, context.GivenFlags());
  }
  return FindingsOf(report) > 0 ? kExitWaits : kExitDone;
}

}  // namespace ptdoc::sync
