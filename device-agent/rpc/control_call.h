#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/mutex.h"
#include "common/rpc/status.h"
#include "device-agent/rpc/control_errors.h"

namespace ptdoc::sync {

// One unary call that is answered from another thread. The first answer counts;
// a caller that goes away is an answer, too, and disturbs nothing. Keeps itself
// alive until gRPC is done with it. Thread-safe.
template <typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  // `out` is gRPC's until the call is finished; `under_way` outlives the server.
  static std::shared_ptr<UnaryCall> Make(Response* out, std::atomic<int>* under_way) {
    auto call = std::shared_ptr<UnaryCall>(new UnaryCall(out, under_way));
    call->self_ = call;
    return call;
  }

  void Answer(absl::StatusOr<Response> answer) {
    MutexLock lock(mutex_);
    if (std::exchange(answered_, true)) return;
    const absl::Status status = answer.status();
    if (status.ok()) *out_ = *std::move(answer);
    Finish(ToGrpcStatus(status));
  }
  bool answered() {
    MutexLock lock(mutex_);
    return answered_;
  }

  void OnCancel() override { Answer(absl::CancelledError("The caller went away.")); }
  void OnDone() override {
    under_way_->fetch_sub(1);
    self_.reset();
  }

 private:
  UnaryCall(Response* out, std::atomic<int>* under_way) : out_(out), under_way_(under_way) {
    under_way_->fetch_add(1);
  }

  Response* const out_;
  std::atomic<int>* const under_way_;
  std::shared_ptr<UnaryCall> self_;  // until OnDone
  Mutex mutex_;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
};

// Whoever holds it owes the answer. If it is dropped without one, because the
// agent stops, the caller hears that.
template <typename Response>
class Ticket {
 public:
  explicit Ticket(std::shared_ptr<UnaryCall<Response>> call) : call_(std::move(call)) {}
  ~Ticket() { call_->Answer(StoppingError()); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;

  void Answer(absl::StatusOr<Response> answer) { call_->Answer(std::move(answer)); }
  bool answered() const { return call_->answered(); }

 private:
  const std::shared_ptr<UnaryCall<Response>> call_;
};

}  // namespace ptdoc::sync
