#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "ptdoc/sync/v1/agent_service.pb.h"

namespace ptdoc::sync {

// Who watches the status. Thread-safe; outlives the server.
class WatchHub {
 public:
  class Stream;
  static constexpr size_t kStreamsMax = 64;

  // A stream that waits for its first status. Null once EndAll was called, or
  // with kStreamsMax open.
  std::shared_ptr<Stream> Add();
  bool empty() const;
  // To every stream, as Stream::Send.
  void Publish(const v1::AgentServiceStatusResponse& status);
  void EndAll(const absl::Status& status);

 private:
  void Remove(Stream* stream);
  std::vector<std::shared_ptr<Stream>> Copy() const;

  mutable Mutex mutex_;
  std::set<std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// One WatchStatus call. Whoever reads slowly gets the newest status, not each
// one. Kept alive by the hub until gRPC is done with it. Thread-safe.
class WatchHub::Stream final : public grpc::ServerWriteReactor<v1::WatchStatusResponse> {
 public:
  explicit Stream(WatchHub& hub) : hub_(hub) {}

  // Nothing, if this stream was sent the same last.
  void Send(const v1::AgentServiceStatusResponse& status);
  void End(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("The caller went away.")); }
  void OnDone() override { hub_.Remove(this); }

 private:
  // gRPC allows one outstanding write, and Finish with none.
  void Step() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  WatchHub& hub_;
  Mutex mutex_;
  v1::WatchStatusResponse message_ ABSL_GUARDED_BY(mutex_);  // gRPC's while writing_
  std::string newest_ ABSL_GUARDED_BY(mutex_);               // serialized
  std::optional<v1::AgentServiceStatusResponse> next_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ptdoc::sync
