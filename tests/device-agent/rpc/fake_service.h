#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/server_callback.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {

// Only a test that hangs waits so long.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

using Headers = std::multimap<std::string, std::string>;

// A call of the fake service, in the hands of the test. Thread-safe.
template <typename Response, typename Reactor>
class HeldCall : public Reactor {
 public:
  explicit HeldCall(const grpc::CallbackServerContext& context) {
    for (const auto& [name, value] : context.client_metadata()) {
      headers_.emplace(std::string(name.data(), name.size()),
                       std::string(value.data(), value.size()));
    }
  }

  std::string Header(const std::string& name) const {
    const auto it = headers_.find(name);
    return it == headers_.end() ? "" : it->second;
  }
  void Send(Response response) {
    MutexLock lock(mutex_);
    outgoing_.push_back(std::move(response));
    Step();
  }
  // After everything that was sent.
  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (!ending_) ending_ = status;
    Step();
  }
  bool WaitCancelled() {
    return Wait([this] { return cancelled_; });
  }
  bool done() {
    MutexLock lock(mutex_);
    return done_;
  }

  void OnWriteDone(bool) override {
    MutexLock lock(mutex_);
    writing_ = false;
    outgoing_.pop_front();
    Step();
  }
  void OnCancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    changed_.NotifyAll();
    if (!ending_) ending_ = absl::CancelledError("cancelled");
    Step();
  }
  void OnDone() override {
    const std::shared_ptr<void> keep = std::move(self_);
    MutexLock lock(mutex_);
    done_ = true;
    changed_.NotifyAll();
  }

  std::shared_ptr<void> self_;  // until OnDone

 protected:
  bool Wait(const std::function<bool()>& condition) {
    MutexLock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(kPatience);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      changed_.WaitFor(mutex_, absl::Seconds(1));
    }
    return true;
  }

  Mutex mutex_;
  CondVar changed_;
  std::optional<absl::Status> ending_;

 private:
  void Step() {
    if (writing_ || finished_) return;
    if (!outgoing_.empty() && !cancelled_) {
      writing_ = true;
      this->StartWrite(&outgoing_.front());
    } else if (ending_) {
      finished_ = true;
      this->Finish(ToGrpcStatus(*ending_));
    }
  }

  Headers headers_;
  std::deque<Response> outgoing_;
  bool writing_ = false;
  bool finished_ = false;
  bool cancelled_ = false;
  bool done_ = false;
};

class HeldPush final : public HeldCall<v1::PushResponse,
                                       grpc::ServerBidiReactor<v1::PushRequest, v1::PushResponse>> {
 public:
  using Handler = std::function<void(HeldPush&, const v1::PushRequest&)>;
  HeldPush(const grpc::CallbackServerContext& context, Handler handler)
      : HeldCall(context), handler_(std::move(handler)) {
    StartRead(&request_);
  }

  // What came so far, once it is that many; empty if it never is.
  std::vector<v1::PushRequest> WaitRequests(size_t count) {
    if (!Wait([&] { return received_.size() >= count; })) return {};
    MutexLock lock(mutex_);
    return received_;
  }
  bool WaitHalfClosed() {
    return Wait([this] { return half_closed_; });
  }

  void OnReadDone(bool ok) override {
    const v1::PushRequest request = request_;
    {
      MutexLock lock(mutex_);
      if (ok) received_.push_back(request);
      half_closed_ = half_closed_ || !ok;
      changed_.NotifyAll();
    }
    if (!ok) return handler_ ? End(absl::OkStatus()) : void();
    if (handler_) handler_(*this, request);
    StartRead(&request_);
  }

 private:
  const Handler handler_;
  v1::PushRequest request_;
  std::vector<v1::PushRequest> received_;
  bool half_closed_ = false;
};

class HeldPull final
    : public HeldCall<v1::PullResponse, grpc::ServerWriteReactor<v1::PullResponse>> {
 public:
  HeldPull(const grpc::CallbackServerContext& context, v1::PullRequest pull)
      : HeldCall(context), request(std::move(pull)) {}
  const v1::PullRequest request;
};

// A SyncService that does what the test says: by itself it takes every call,
// and answers none.
class FakeService final : public v1::SyncService::CallbackService {
 public:
  FakeService() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeService() override {
    // Cancels what is open; each call then ends itself.
    server_->Shutdown(std::chrono::system_clock::now());
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::shared_ptr<grpc::Channel> NewChannel() const {
    ChannelOptions options;
    options.address = address();
    return MakeChannel(options).value();
  }

  // To be set before the first call. They run on gRPC's threads.
  HeldPush::Handler on_request;
  std::function<void(HeldPush&)> on_push;
  std::function<void(HeldPull&)> on_pull;

  // The call of that number (from 0), once it has come.
  std::shared_ptr<HeldPush> WaitPush(size_t number) { return WaitFor(pushes_, number); }
  std::shared_ptr<HeldPull> WaitPull(size_t number) { return WaitFor(pulls_, number); }
  size_t calls() {
    MutexLock lock(mutex_);
    return pushes_.size() + pulls_.size();
  }

  grpc::ServerBidiReactor<v1::PushRequest, v1::PushResponse>* Push(
      grpc::CallbackServerContext* context) override {
    const auto call = std::make_shared<HeldPush>(*context, on_request);
    Keep(call, pushes_);
    if (on_push) on_push(*call);
    return call.get();
  }
  grpc::ServerWriteReactor<v1::PullResponse>* Pull(grpc::CallbackServerContext* context,
                                                   const v1::PullRequest* request) override {
    const auto call = std::make_shared<HeldPull>(*context, *request);
    Keep(call, pulls_);
    if (on_pull) on_pull(*call);
    return call.get();
  }

 private:
  template <typename Call>
  void Keep(const std::shared_ptr<Call>& call, std::vector<std::shared_ptr<Call>>& calls) {
    call->self_ = call;
    MutexLock lock(mutex_);
    calls.push_back(call);
    changed_.NotifyAll();
  }
  template <typename Call>
  std::shared_ptr<Call> WaitFor(std::vector<std::shared_ptr<Call>>& calls, size_t number) {
    MutexLock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(kPatience);
    while (calls.size() <= number) {
      if (std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << "the call never came";
        return nullptr;
      }
      changed_.WaitFor(mutex_, absl::Seconds(1));
    }
    return calls[number];
  }

  Mutex mutex_;
  CondVar changed_;
  std::vector<std::shared_ptr<HeldPush>> pushes_;
  std::vector<std::shared_ptr<HeldPull>> pulls_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// Its feed is empty and says so; pushes stay without an answer.
inline void GiveAnEmptyFeed(FakeService& service) {
  service.on_pull = [](HeldPull& pull) {
    v1::PullResponse page;
    page.set_cursor("c0");
    page.set_epoch("e1");
    page.set_batch_end(true);
    page.set_caught_up(true);
    pull.Send(page);
  };
}

}  // namespace ptdoc::sync
