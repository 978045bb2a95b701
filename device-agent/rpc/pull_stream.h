#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "device-agent/rpc/peer_link.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {

// One Pull call that reads the feed. Threads and life as of a PushStream.
class PullStream final : public grpc::ClientReadReactor<v1::PullResponse>,
                         public std::enable_shared_from_this<PullStream> {
 public:
  PullStream(std::shared_ptr<PeerLink> link, v1::PullRequest request)
      : link_(std::move(link)), request_(std::move(request)) {}

  // To be filled before Start.
  grpc::ClientContext& context() { return context_; }
  void Start(v1::SyncService::Stub& stub);
  // Nothing is reported any more, and the call is cut.
  void Close();
  // Messages that are read, unpacked and converted while the session is at work.
  static constexpr size_t kReadyMax = 3;
  // Goes on reading. Any thread.
  void ReadOn();
  bool closed() const { return closed_; }
  // Cuts the call. Any thread.
  void Abandon();

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  std::vector<IncomingPage> Take(bool read_on);
  void StepRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Break(const absl::Status& why);
  void Release() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<PeerLink> link_;
  const v1::PullRequest request_;
  grpc::ClientContext context_;
  std::shared_ptr<PullStream> self_;  // from Start to OnDone
  v1::PullResponse response_;         // belongs to the read that is outstanding
  bool closed_ = false;               // the owner's thread alone

  Mutex mutex_;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_on_ ABSL_GUARDED_BY(mutex_) = true;  // false: the session has enough
  std::vector<IncomingPage> ready_ ABSL_GUARDED_BY(mutex_);
  bool posted_ ABSL_GUARDED_BY(mutex_) = false;  // they are about to be taken
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status why_ ABSL_GUARDED_BY(mutex_);
};

// One Pull call for single entities: reported as a whole when it has ended.
class FetchCall final : public grpc::ClientReadReactor<v1::PullResponse>,
                        public std::enable_shared_from_this<FetchCall> {
 public:
  FetchCall(std::shared_ptr<PeerLink> link, v1::PullRequest request)
      : link_(std::move(link)), request_(std::move(request)) {}

  grpc::ClientContext& context() { return context_; }
  void Start(v1::SyncService::Stub& stub);
  // Cuts the call; a failure is reported. Any thread.
  void Abandon() { context_.TryCancel(); }

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  absl::Status Take();

  const std::shared_ptr<PeerLink> link_;
  const v1::PullRequest request_;
  grpc::ClientContext context_;
  std::shared_ptr<FetchCall> self_;  // from Start to OnDone
  // gRPC's threads, one reaction at a time.
  v1::PullResponse response_;
  IncomingFetch fetched_;
  absl::Status why_;
};

}  // namespace ptdoc::sync
