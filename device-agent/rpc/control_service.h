#pragma once

#include <atomic>
#include <functional>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "device-agent/loop/runner.h"
#include "device-agent/rpc/control_answers.h"
#include "device-agent/rpc/verify.h"
#include "device-agent/rpc/watch.h"
#include "ptdoc/sync/v1/agent_service.grpc.pb.h"

namespace ptdoc::sync {

// What people and programs call on a device's agent. Every method posts its
// work to the runner's thread and is answered from there; a run is joined to
// the one that is under way, and goes on when its caller goes away. Whoever
// reaches the control socket may call everything.
class ControlService final : public v1::AgentService::CallbackService {
 public:
  static constexpr int kCallsMax = 256;
  // A watched status is looked at so often while something happens.
  static constexpr absl::Duration kPublishEvery = absl::Milliseconds(200);

  // All must outlive this, and this the server that it is registered with.
  ControlService(Runner& runner, Verifier& verifier, AgentIdentity identity, const Clock& clock)
      : runner_(runner), verifier_(verifier), identity_(std::move(identity)), clock_(clock) {}

  // Something changed: the core's observer. Any thread.
  void NoteChange() { changed_ = true; }
  bool watched() const { return !hub_.empty(); }
  // To be called every kPublishEvery while watched(): publishes what changed;
  // with `look_anyway` also what nobody noted (somebody edited the queue by SQL).
  void Publish(bool look_anyway);
  // Ends what only the caller would end. What else is under way ends with the runner.
  void EndWatches();

  grpc::ServerUnaryReactor* Push(grpc::CallbackServerContext* context,
                                 const v1::AgentServicePushRequest* request,
                                 v1::AgentServicePushResponse* response) override;
  grpc::ServerUnaryReactor* Pull(grpc::CallbackServerContext* context,
                                 const v1::AgentServicePullRequest* request,
                                 v1::AgentServicePullResponse* response) override;
  grpc::ServerUnaryReactor* Run(grpc::CallbackServerContext* context,
                                const v1::AgentServiceRunRequest* request,
                                v1::AgentServiceRunResponse* response) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::AgentServiceStatusRequest* request,
                                   v1::AgentServiceStatusResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchStatusResponse>* WatchStatus(
      grpc::CallbackServerContext* context, const v1::WatchStatusRequest* request) override;
  grpc::ServerUnaryReactor* ListQueue(grpc::CallbackServerContext* context,
                                      const v1::ListQueueRequest* request,
                                      v1::ListQueueResponse* response) override;
  grpc::ServerUnaryReactor* RetryQueueItems(grpc::CallbackServerContext* context,
                                            const v1::RetryQueueItemsRequest* request,
                                            v1::RetryQueueItemsResponse* response) override;
  grpc::ServerUnaryReactor* CancelQueueItem(grpc::CallbackServerContext* context,
                                            const v1::CancelQueueItemRequest* request,
                                            v1::CancelQueueItemResponse* response) override;
  grpc::ServerUnaryReactor* ConfirmDeletions(grpc::CallbackServerContext* context,
                                             const v1::ConfirmDeletionsRequest* request,
                                             v1::ConfirmDeletionsResponse* response) override;
  grpc::ServerUnaryReactor* ListDeviceConflicts(grpc::CallbackServerContext* context,
                                                const v1::ListDeviceConflictsRequest* request,
                                                v1::ListDeviceConflictsResponse* response) override;
  grpc::ServerUnaryReactor* GetDeviceConflict(grpc::CallbackServerContext* context,
                                              const v1::GetDeviceConflictRequest* request,
                                              v1::GetDeviceConflictResponse* response) override;
  grpc::ServerUnaryReactor* ResolveDeviceConflict(
      grpc::CallbackServerContext* context, const v1::ResolveDeviceConflictRequest* request,
      v1::ResolveDeviceConflictResponse* response) override;
  grpc::ServerUnaryReactor* Pause(grpc::CallbackServerContext* context,
                                  const v1::PauseRequest* request,
                                  v1::PauseResponse* response) override;
  grpc::ServerUnaryReactor* Resume(grpc::CallbackServerContext* context,
                                   const v1::ResumeRequest* request,
                                   v1::ResumeResponse* response) override;
  grpc::ServerUnaryReactor* Why(grpc::CallbackServerContext* context, const v1::WhyRequest* request,
                                v1::WhyResponse* response) override;
  grpc::ServerWriteReactor<v1::VerifyResponse>* Verify(grpc::CallbackServerContext* context,
                                                       const v1::VerifyRequest* request) override;

 private:
  // Answers with what `work` returns on the runner's thread.
  template <typename Response>
  grpc::ServerUnaryReactor* Answer(Response* out,
                                   std::function<absl::StatusOr<Response>(AgentCore&)> work);
  template <typename Response>
  grpc::ServerUnaryReactor* StartRun(RunKind kind, Response* out,
                                     Response (*to_proto)(const RunResult&));

  Runner& runner_;
  Verifier& verifier_;
  const AgentIdentity identity_;
  const Clock& clock_;
  WatchHub hub_;
  std::atomic<bool> changed_ = true;
  std::atomic<int> under_way_ = 0;
};

}  // namespace ptdoc::sync
