#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "device-agent/loop/runner.h"
#include "device-agent/rpc/grpc_peer.h"
#include "device-agent/rpc/verify_stream.h"
#include "ptdoc/sync/v1/agent_service.pb.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {

// Compares every synced row with the service, one verify at a time, on a thread
// of its own: it asks the service, and lets the runner's thread do a slice of
// rows in between, so that the sync goes on meanwhile. Interrupted by Stop, by
// its caller's going away or by the network, it goes on where it was with the
// next Start. Thread-safe.
class Verifier {
 public:
  // So many slices between two marks of how far it is.
  static constexpr int kSaveEvery = 20;

  // All must outlive this.
  Verifier(Runner& runner, GrpcPeerOptions peer, TokenFile& token, const Clock& clock);
  ~Verifier();  // Stop()

  // `stream` hears of progress and gets the report, or the error:
  // RESOURCE_EXHAUSTED (VERIFY_RUNS) while another one is under way.
  void Start(VerifyRepair repair, std::shared_ptr<VerifyStream> stream);
  // Ends what is under way as soon as the runner lets it; Stop waits for that, and
  // so is called when the runner has stopped.
  void Cancel();
  void Stop();

 private:
  struct Job;

  void Work(Job& job);
  static absl::Status Begin(AgentCore& core, Job& job);
  absl::Status Compare(Job& job);
  absl::Status PullFirst(Job& job);
  absl::Status AskRanges(Job& job);
  absl::Status LookAtRows(Job& job);
  absl::Status LookAtRanges(Job& job);
  absl::Status LookAround(Job& job);
  absl::Status Slices(Job& job);
  absl::Status AskAndJudge(Job& job, std::vector<EntityKey> keys);
  absl::Status Judge(Job& job, const v1::DigestRowsResponse& response);
  absl::Status Repair(Job& job);
  absl::Status Save(Job& job);

  template <typename Request>
  absl::StatusOr<Request> MakeRequest(Job& job);
  template <typename Request, typename Response>
  absl::StatusOr<Response> Ask(grpc::Status (v1::SyncService::Stub::*method)(grpc::ClientContext*,
                                                                             const Request&,
                                                                             Response*),
                               const Request& request);
  // Runs `work` on the runner's thread and waits; again while the app is in the way.
  absl::Status OnCore(const std::function<absl::Status(AgentCore&)>& work);
  absl::Status OnFile(Job& job, const std::function<absl::StatusOr<FileState>(AgentCore&)>& work);
  bool stopping();

  Runner& runner_;
  const GrpcPeerOptions peer_;
  TokenFile& token_;
  const Clock& clock_;
  const std::unique_ptr<v1::SyncService::Stub> stub_;

  Mutex mutex_;
  CondVar changed_;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
  bool working_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace ptdoc::sync
