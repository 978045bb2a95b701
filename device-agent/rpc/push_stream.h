#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <deque>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "common/base/mutex.h"
#include "device-agent/rpc/peer_link.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {

// One Push call. Its owner is the session's thread: Start, Send, Close and what
// is posted run there; reactions run on gRPC's threads. Keeps itself alive
// until gRPC is done with it.
class PushStream final : public grpc::ClientBidiReactor<v1::PushRequest, v1::PushResponse>,
                         public std::enable_shared_from_this<PushStream> {
 public:
  // The session lets 8 batches be unanswered; a report or two come on top.
  static constexpr size_t kQueuedMax = 16;
  // Answers that are read and converted while the session is at work.
  static constexpr size_t kReadyMax = 8;

  explicit PushStream(std::shared_ptr<PeerLink> link) : link_(std::move(link)) {}

  // To be filled before Start.
  grpc::ClientContext& context() { return context_; }
  void Start(v1::SyncService::Stub& stub);
  // Messages wait for each other: gRPC takes one at a time. A report that
  // still waits is replaced by a newer one.
  void Send(v1::PushRequest request, bool is_report);
  // Nothing is reported any more. What is being written, and reports, still go
  // out; then the call ends by itself, unless it is abandoned before.
  void Close();
  bool closed() const { return closed_; }
  // Cuts the call. Any thread.
  void Abandon();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  struct Message {
    v1::PushRequest request;
    bool is_report = false;
  };

  std::vector<IncomingAnswer> Take();
  void StepRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The call is of no use any more; `why` is told in place of gRPC's CANCELLED.
  void Break(const absl::Status& why);
  void StepWrite() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // From here on nothing may be started on the call.
  void Release() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<PeerLink> link_;
  grpc::ClientContext context_;
  std::shared_ptr<PushStream> self_;  // from Start to OnDone
  v1::PushResponse response_;         // belongs to the read that is outstanding
  bool closed_ = false;               // the owner's thread alone

  Mutex mutex_;
  std::deque<Message> queue_ ABSL_GUARDED_BY(mutex_);  // the first is being written if writing_
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<IncomingAnswer> ready_ ABSL_GUARDED_BY(mutex_);
  bool posted_ ABSL_GUARDED_BY(mutex_) = false;  // they are about to be taken
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // nothing can be written any more
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writes_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status why_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ptdoc::sync
