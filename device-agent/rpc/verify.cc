#include "device-agent/rpc/verify.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/rpc/status.h"
#include "common/wire/values.h"
#include "device-agent/rpc/control_errors.h"

namespace ptdoc::sync {
namespace {

constexpr absl::Duration kCallMax = absl::Seconds(60);
constexpr size_t kKeysAtOnce = 1000;
constexpr absl::Duration kBlockedPause = absl::Milliseconds(200);
constexpr int kFileTriesMax = 50;
// Between two slices: the app, and the agent's own cycle, have their turn.
constexpr absl::Duration kSlicePause = absl::Microseconds(200);

absl::Status RunsAlready() {
  return ReasonError(absl::StatusCode::kResourceExhausted, "VERIFY_RUNS",
                     "Another verify is under way. Nothing was changed. Wait for its end.");
}

absl::Status TooOld() {
  return ReasonError(absl::StatusCode::kUnimplemented, "SERVICE_TOO_OLD",
                     "The service cannot compare yet. Nothing was changed. Update the "
                     "sync-service.");
}

absl::Status NotCaughtUp() {
  return ReasonError(absl::StatusCode::kFailedPrecondition, "INITIAL",
                     "The first download has not ended. Nothing was compared. Let `device-agent "
                     "run` end first.");
}

// What another thread is to answer; dropped without an answer, it is that the
// agent stops.
class Answered {
 public:
  struct State {
    Mutex mutex;
    CondVar done;
    std::optional<absl::Status> status ABSL_GUARDED_BY(mutex);
  };
  explicit Answered(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~Answered() { Set(StoppingError()); }
  Answered(const Answered&) = delete;
  Answered& operator=(const Answered&) = delete;

  void Set(const absl::Status& status) {
    MutexLock lock(state_->mutex);
    if (state_->status.has_value()) return;
    state_->status = status;
    state_->done.NotifyAll();
  }
  static absl::Status Wait(State& state) {
    MutexLock lock(state.mutex);
    while (!state.status.has_value()) state.done.Wait(state.mutex);
    return *state.status;
  }

 private:
  const std::shared_ptr<State> state_;
};

TheirRows TheirRowsOf(const v1::DigestRowsResponse& response) {
  TheirRows theirs;
  theirs.cursor = response.cursor_revision();
  theirs.newest = response.newest_revision();
  theirs.shapes.reserve(static_cast<size_t>(response.shapes_size()) + 1);
  for (const v1::FieldNames& shape : response.shapes()) {
    theirs.shapes.emplace_back(shape.names().begin(), shape.names().end());
  }
  const size_t shapes = theirs.shapes.size();
  theirs.shapes.emplace_back();  // of what makes no sense: no field is known then
  for (const v1::RowDigest& row : response.rows()) {
    TheirRow& out = theirs.rows.emplace_back();
    out.key = {row.entity_type(), row.entity_id()};
    out.revision = row.revision();
    out.check = row.check();
    out.deleted = row.deleted();
    out.digests.assign(row.field_digests().begin(), row.field_digests().end());
    const bool fits =
        row.shape() < shapes && theirs.shapes[row.shape()].size() == out.digests.size();
    out.names = &theirs.shapes[fits ? row.shape() : shapes];
  }
  for (const v1::EntityRef& key : response.missing()) {
    theirs.missing.push_back({key.entity_type(), key.entity_id()});
  }
  return theirs;
}

v1::VerifyKind KindToProto(Difference kind) {
  switch (kind) {
    case Difference::kDifferent:
      return v1::VERIFY_KIND_DIFFERENT;
    case Difference::kMissingHere:
      return v1::VERIFY_KIND_MISSING_HERE;
    case Difference::kMissingThere:
      return v1::VERIFY_KIND_MISSING_THERE;
  }
  return v1::VERIFY_KIND_UNSPECIFIED;
}

void FindingToProto(const VerifyFinding& finding, v1::VerifyFinding* out) {
  out->set_entity_type(ToUtf8(finding.key.type));
  out->set_entity_id(ToUtf8(finding.key.id));
  out->set_kind(KindToProto(finding.kind));
  for (const std::string& column : finding.columns) out->add_columns(ToUtf8(column));
  out->set_service_revision(finding.there);
  out->set_device_revision(finding.here);
  out->set_repaired(finding.repaired);
}

v1::VerifyResponse ReportOf(const VerifyProgress& progress, absl::Duration took) {
  v1::VerifyResponse response;
  response.set_done(progress.rows_done());
  response.set_known(progress.rows_done());
  v1::VerifyReport* const report = response.mutable_report();
  for (const auto& [type, count] : progress.counts) {
    v1::VerifyType* const out = report->add_types();
    out->set_entity_type(ToUtf8(type));
    out->set_rows(count.rows());
    out->set_equal(count.equal());
    out->set_waiting(count.waiting_here + count.waiting_there);
    out->set_different(count.different);
    out->set_missing_here(count.missing_here);
    out->set_missing_there(count.missing_there);
  }
  uint64_t repaired = 0;
  for (const auto& [key, finding] : progress.findings) {
    FindingToProto(finding, report->add_findings());
    repaired += finding.repaired ? 1 : 0;
  }
  report->set_repaired(repaired);
  report->set_resumed(progress.resumed);
  report->set_duration_ms(static_cast<uint32_t>(absl::ToInt64Milliseconds(took)));
  return response;
}

}  // namespace

struct Verifier::Job {
  VerifyRepair repair = VerifyRepair::kNone;
  std::shared_ptr<VerifyStream> stream;
  VerifyProgress progress;
  int slices = 0;
};

Verifier::Verifier(Runner& runner, GrpcPeerOptions peer, TokenFile& token, const Clock& clock)
    : runner_(runner),
      peer_(std::move(peer)),
      token_(token),
      clock_(clock),
      stub_(v1::SyncService::NewStub(peer_.channel)) {}

Verifier::~Verifier() {
  Stop();
}

void Verifier::Start(VerifyRepair repair, std::shared_ptr<VerifyStream> stream) {
  std::thread ended;
  {
    MutexLock lock(mutex_);
    if (stopping_) return stream->End(StoppingError());
    if (working_) return stream->End(RunsAlready());
    working_ = true;
    ended = std::move(thread_);
  }
  if (ended.joinable()) ended.join();
  MutexLock lock(mutex_);
  thread_ = std::thread([this, repair, stream = std::move(stream)] {
    Job job{repair, stream, {}, 0};
    Work(job);
  });
}

void Verifier::Cancel() {
  MutexLock lock(mutex_);
  stopping_ = true;
  if (call_ != nullptr) call_->TryCancel();
  changed_.NotifyAll();
}

void Verifier::Stop() {
  Cancel();
  std::thread thread;
  {
    MutexLock lock(mutex_);
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

bool Verifier::stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

void Verifier::Work(Job& job) {
  // Before the caller hears of the end: its next call may follow at once.
  const auto leave = [this] {
    MutexLock lock(mutex_);
    working_ = false;
  };
  const absl::Duration begun = clock_.Monotonic();
  absl::Status status = Compare(job);
  if (status.ok()) {
    v1::VerifyResponse response = ReportOf(job.progress, clock_.Monotonic() - begun);
    leave();
    job.stream->Report(std::move(response));
  } else {
    // What has been looked at is kept for the next one; this one is over.
    (void)Save(job);
    const absl::Status failed = status;
    // Of the network a run's words are known to people.
    const absl::Status told = OnCore([&](AgentCore& core) {
      if (ReasonOf(failed).empty()) status = RunError(core, failed);
      return absl::OkStatus();
    });
    leave();
    job.stream->End(told.ok() ? status : failed);
  }
}

absl::Status Verifier::Begin(AgentCore& core, Job& job) {
  PT_ASSIGN_OR_RETURN(const ReplicaFacts facts, core.replica().Facts());
  PT_RETURN_IF_ERROR(FileError(facts.file, facts.file_problem));
  PT_ASSIGN_OR_RETURN(const int64_t caught_up, core.replica().ledger().GetInt("caught_up", 0));
  if (caught_up == 0) return NotCaughtUp();
  PT_ASSIGN_OR_RETURN(job.progress, core.replica().BeginVerify());
  return absl::OkStatus();
}

absl::Status Verifier::Compare(Job& job) {
  PT_RETURN_IF_ERROR(PullFirst(job));
  const absl::Status begun = OnCore([&job](AgentCore& core) { return Begin(core, job); });
  PT_RETURN_IF_ERROR(begun);
  if (job.progress.phase == VerifyPhase::kRanges) PT_RETURN_IF_ERROR(AskRanges(job));
  if (job.progress.phase <= VerifyPhase::kStates) PT_RETURN_IF_ERROR(LookAtRows(job));
  if (job.progress.phase == VerifyPhase::kRanged) PT_RETURN_IF_ERROR(LookAtRanges(job));
  if (job.progress.phase == VerifyPhase::kAround) PT_RETURN_IF_ERROR(LookAround(job));
  if (job.repair != VerifyRepair::kNone) PT_RETURN_IF_ERROR(Repair(job));
  return OnCore([](AgentCore& core) { return core.replica().SaveVerify(nullptr); });
}

// So that both sides speak of the same moment, as near as may be.
absl::Status Verifier::PullFirst(Job& job) {
  const auto state = std::make_shared<Answered::State>();
  auto answer = std::make_shared<Answered>(state);
  const bool posted = runner_.Post([answer = std::move(answer)](AgentCore& core) {
    // Paused, a person wants it quiet: what others wrote since counts as waiting.
    if (core.View().paused) return answer->Set(absl::OkStatus());
    core.RequestRun(RunKind::kPull, [answer, &core](const RunResult& result) {
      answer->Set(result.success() ? absl::OkStatus() : RunError(core, result.error));
    });
  });
  if (!posted) return StoppingError();
  job.stream->Progress(0, 0);
  return Answered::Wait(*state);
}

absl::Status Verifier::AskRanges(Job& job) {
  VerifyProgress& progress = job.progress;
  Revision after = 0;
  while (true) {
    PT_ASSIGN_OR_RETURN(v1::DigestRangesRequest request, MakeRequest<v1::DigestRangesRequest>(job));
    request.set_after_revision(after);
    request.set_up_to_revision(progress.up_to);
    PT_ASSIGN_OR_RETURN(const v1::DigestRangesResponse response,
                        Ask(&v1::SyncService::Stub::DigestRanges, request));
    for (const v1::RangeDigest& range : response.ranges()) {
      if (range.after_revision() != after || range.up_to_revision() <= after) {
        return absl::InternalError("the service's ranges do not follow each other");
      }
      after = range.up_to_revision();
      progress.ranges.push_back(
          {range.after_revision(), after, range.rows(), range.digest(), 0, 0});
      progress.known += range.rows();
    }
    progress.up_to = response.up_to_revision();
    if (response.end()) break;
    if (response.ranges().empty()) return absl::InternalError("the service gave no range");
  }
  progress.phase = VerifyPhase::kRows;
  return Save(job);
}

absl::Status Verifier::LookAtRows(Job& job) {
  PT_RETURN_IF_ERROR(Slices(job));
  job.progress.phase = VerifyPhase::kRanged;
  return Save(job);
}

absl::Status Verifier::Slices(Job& job) {
  VerifyProgress& progress = job.progress;
  std::vector<EntityKey> ask;
  while (progress.type_at < progress.types.size()) {
    // Taken together with what it asks for, so that a stop between them loses nothing.
    VerifyProgress before = progress;
    absl::Status status = OnFile(job, [&](AgentCore& core) {
      absl::StatusOr<FileState> state = core.replica().VerifySlice(&progress, &ask);
      if (std::exchange(progress.drained, false)) core.OnQueueChanged();
      return state;
    });
    if (status.ok() && !ask.empty()) status = AskAndJudge(job, ask);
    if (!status.ok()) {
      progress = std::move(before);
      return status;
    }
    job.stream->Progress(progress.rows_done(), std::max(progress.known, progress.rows_done()));
    if (++job.slices % kSaveEvery == 0) PT_RETURN_IF_ERROR(Save(job));
  }
  progress.type_at = 0;
  progress.after.clear();
  progress.after_id.clear();
  return absl::OkStatus();
}

absl::Status Verifier::LookAtRanges(Job& job) {
  VerifyProgress& progress = job.progress;
  for (; progress.range_at < progress.ranges.size(); ++progress.range_at) {
    const VerifyRange range = progress.ranges[progress.range_at];
    if (range.equal()) continue;
    if (progress.range_after < range.after) progress.range_after = range.after;
    while (progress.range_after < range.up_to) {
      PT_ASSIGN_OR_RETURN(v1::DigestRowsRequest request, MakeRequest<v1::DigestRowsRequest>(job));
      request.set_after_revision(progress.range_after);
      request.set_up_to_revision(range.up_to);
      PT_ASSIGN_OR_RETURN(const v1::DigestRowsResponse response,
                          Ask(&v1::SyncService::Stub::DigestRows, request));
      PT_RETURN_IF_ERROR(Judge(job, response));
      if (response.covered_revision() <= progress.range_after) {
        return absl::InternalError("the service stands still in a range");
      }
      progress.range_after = response.covered_revision();
    }
    if (++job.slices % kSaveEvery == 0) PT_RETURN_IF_ERROR(Save(job));
  }
  progress.phase = VerifyPhase::kAround;
  return Save(job);
}

absl::Status Verifier::LookAround(Job& job) {
  const std::vector<VerifyRange>& ranges = job.progress.ranges;
  const bool all_equal = std::all_of(ranges.begin(), ranges.end(),
                                     [](const VerifyRange& range) { return range.equal(); });
  if (!all_equal) PT_RETURN_IF_ERROR(Slices(job));
  job.progress.phase = VerifyPhase::kDone;
  return Save(job);
}

absl::Status Verifier::AskAndJudge(Job& job, std::vector<EntityKey> keys) {
  std::set<EntityKey> left(keys.begin(), keys.end());
  while (!left.empty()) {
    PT_ASSIGN_OR_RETURN(v1::DigestRowsRequest request, MakeRequest<v1::DigestRowsRequest>(job));
    size_t count = 0;
    for (const EntityKey& key : left) {
      if (++count > kKeysAtOnce) break;
      v1::EntityRef* const entity = request.add_entities();
      entity->set_entity_type(ToUtf8(key.type));
      entity->set_entity_id(ToUtf8(key.id));
    }
    PT_ASSIGN_OR_RETURN(const v1::DigestRowsResponse response,
                        Ask(&v1::SyncService::Stub::DigestRows, request));
    PT_RETURN_IF_ERROR(Judge(job, response));
    const size_t before = left.size();
    for (const v1::RowDigest& row : response.rows()) {
      left.erase({row.entity_type(), row.entity_id()});
    }
    for (const v1::EntityRef& key : response.missing()) {
      left.erase({key.entity_type(), key.entity_id()});
    }
    if (left.size() == before) return absl::InternalError("the service answers for other entities");
  }
  return absl::OkStatus();
}

absl::Status Verifier::Judge(Job& job, const v1::DigestRowsResponse& response) {
  const TheirRows theirs = TheirRowsOf(response);
  return OnFile(job, [&](AgentCore& core) {
    absl::StatusOr<FileState> state = core.replica().VerifyJudge(theirs, &job.progress);
    if (std::exchange(job.progress.drained, false)) core.OnQueueChanged();
    return state;
  });
}

absl::Status Verifier::Repair(Job& job) {
  for (auto& [key, finding] : job.progress.findings) {
    VerifyFinding* const one = &finding;
    const absl::Status repaired = OnFile(job, [&](AgentCore& core) {
      return core.replica().RepairRow(job.repair == VerifyRepair::kPush, one);
    });
    PT_RETURN_IF_ERROR(repaired);
  }
  if (job.progress.findings.empty()) return absl::OkStatus();
  const auto state = std::make_shared<Answered::State>();
  auto answer = std::make_shared<Answered>(state);
  const bool posted = runner_.Post([answer = std::move(answer)](AgentCore& core) {
    core.OnQueueChanged();
    core.RequestRun(RunKind::kRun, [answer, &core](const RunResult& result) {
      answer->Set(result.success() ? absl::OkStatus() : RunError(core, result.error));
    });
  });
  return posted ? Answered::Wait(*state) : StoppingError();
}

absl::Status Verifier::Save(Job& job) {
  if (job.progress.digest_key.empty()) return absl::OkStatus();  // It has not begun.
  return OnCore([&job](AgentCore& core) { return core.replica().SaveVerify(&job.progress); });
}

template <typename Request>
absl::StatusOr<Request> Verifier::MakeRequest(Job& job) {
  Request request;
  request.set_key(job.progress.digest_key);
  const absl::Status filled = OnCore([&request](AgentCore& core) -> absl::Status {
    PT_ASSIGN_OR_RETURN(const std::string cursor, core.replica().Cursor());
    PT_ASSIGN_OR_RETURN(const std::string witness, core.replica().ledger().Get("witness"));
    request.set_cursor(cursor);
    request.set_witness(witness);
    for (const std::string& type : core.Types()) request.add_entity_types(ToUtf8(type));
    return absl::OkStatus();
  });
  PT_RETURN_IF_ERROR(filled);
  return request;
}

template <typename Request, typename Response>
absl::StatusOr<Response> Verifier::Ask(
    grpc::Status (v1::SyncService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request) {
  grpc::ClientContext context;
  PrepareCall(peer_, token_, context);
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(kCallMax));
  {
    MutexLock lock(mutex_);
    if (stopping_) return StoppingError();
    call_ = &context;
  }
  Response response;
  const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
  {
    MutexLock lock(mutex_);
    call_ = nullptr;
    if (stopping_) return StoppingError();
  }
  if (status.ok()) return response;
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return TooOld();
  return FromGrpcStatus(status);
}

absl::Status Verifier::OnCore(const std::function<absl::Status(AgentCore&)>& work) {
  const auto state = std::make_shared<Answered::State>();
  auto answer = std::make_shared<Answered>(state);
  // `work` lives until it has been waited for.
  const bool posted = runner_.Post(
      [answer = std::move(answer), &work](AgentCore& core) { answer->Set(work(core)); });
  if (!posted) return StoppingError();
  return Answered::Wait(*state);
}

absl::Status Verifier::OnFile(Job& job,
                              const std::function<absl::StatusOr<FileState>(AgentCore&)>& work) {
  for (int tries = 0;; ++tries) {
    if (stopping() || job.stream->ended()) return StoppingError();
    FileState state = FileState::kReady;
    std::string problem;
    const absl::Status done = OnCore([&](AgentCore& core) -> absl::Status {
      PT_ASSIGN_OR_RETURN(state, work(core));
      if (state == FileState::kReady) return absl::OkStatus();
      PT_ASSIGN_OR_RETURN(const ReplicaFacts facts, core.replica().Facts());
      problem = facts.file_problem;
      return absl::OkStatus();
    });
    PT_RETURN_IF_ERROR(done);
    const bool again = state == FileState::kBlockedByApp && tries < kFileTriesMax;
    if (!again && state != FileState::kReady) return FileError(state, problem);
    MutexLock lock(mutex_);
    if (!stopping_) changed_.WaitFor(mutex_, again ? kBlockedPause : kSlicePause);
    if (!again) return absl::OkStatus();
  }
}

}  // namespace ptdoc::sync
