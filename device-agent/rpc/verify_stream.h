#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "common/rpc/status.h"
#include "ptdoc/sync/v1/agent_service.pb.h"

namespace ptdoc::sync {

// What a verify does with what it finds.
enum class VerifyRepair : uint8_t { kNone, kFetch, kPush };

// One Verify call. Whoever reads slowly gets the newest progress, not each one;
// the report always. Keeps itself alive until gRPC is done with it. Thread-safe.
class VerifyStream final : public grpc::ServerWriteReactor<v1::VerifyResponse> {
 public:
  static std::shared_ptr<VerifyStream> Make() {
    auto stream = std::make_shared<VerifyStream>();
    stream->self_ = stream;
    return stream;
  }

  void Progress(uint64_t done, uint64_t known) {
    MutexLock lock(mutex_);
    if (ending_.has_value()) return;
    next_.emplace();
    next_->set_done(done);
    next_->set_known(known < done ? done : known);
    Step();
  }
  void Report(v1::VerifyResponse response) {
    MutexLock lock(mutex_);
    next_ = std::move(response);
    if (!ending_.has_value()) ending_ = absl::OkStatus();
    Step();
  }
  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (ending_.has_value()) return;
    next_.reset();
    ending_ = status;
    Step();
  }
  bool ended() {
    MutexLock lock(mutex_);
    return ending_.has_value();
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    writing_ = false;
    if (!ok) next_.reset();
    if (!ok && !ending_.has_value()) ending_ = absl::CancelledError("The caller went away.");
    Step();
  }
  void OnCancel() override { End(absl::CancelledError("The caller went away.")); }
  void OnDone() override { const std::shared_ptr<VerifyStream> keep = std::move(self_); }

 private:
  // gRPC allows one outstanding write, and Finish with none.
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (next_.has_value()) {
      writing_ = true;
      message_ = *std::exchange(next_, std::nullopt);
      StartWrite(&message_);
    } else if (ending_.has_value()) {
      finished_ = true;
      Finish(ToGrpcStatus(*ending_));
    }
  }

  std::shared_ptr<VerifyStream> self_;
  Mutex mutex_;
  v1::VerifyResponse message_ ABSL_GUARDED_BY(mutex_);  // gRPC's while writing_
  std::optional<v1::VerifyResponse> next_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ptdoc::sync
