#include "tests/bench/followers.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "floor.grpc.pb.h"
#include "tests/bench/database.h"
#include "tests/bench/patients.h"
#include "tests/bench/probe.h"

namespace ptdoc::bench {
namespace {

// Heartbeats are smaller, a row is larger.
constexpr size_t kRowBytesMin = 120;
constexpr double kQuietSeconds = 0.5;
constexpr double kConnectSeconds = 120;
constexpr double kArrivesWithinSeconds = 30;
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kRest = std::chrono::milliseconds(20);
constexpr int64_t kWarmUps = 5;

std::string FromHex(const std::string& digits) {
  std::string bytes;
  for (size_t at = 0; at + 1 < digits.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

// What all followers have heard. Thread-safe.
class Heard {
 public:
  void Note(bool first, bool row) {
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = Seconds();
    if (first) ++speaking_;
    if (!row) return;
    ++rows_;
    changed_.notify_all();
  }

  // Until `count` followers have heard something and nobody says more.
  void WaitQuiet(int64_t count) {
    const double start = Seconds();
    while (true) {
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (speaking_ >= count && Seconds() - last_ > kQuietSeconds) return;
      }
      if (Seconds() - start > kConnectSeconds) Die("not every follower was answered");
      std::this_thread::sleep_for(kLook);
    }
  }

  int64_t rows() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return rows_;
  }

  // Seconds (of the steady clock) of the message that made it `rows`.
  double WaitRows(int64_t rows) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto wait = std::chrono::duration<double>(kArrivesWithinSeconds);
    if (!changed_.wait_for(lock, wait, [&] { return rows_ >= rows; })) {
      Die("a follower was not told of a row");
    }
    return last_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t speaking_ = 0;
  int64_t rows_ = 0;
  double last_ = 0;
};

class Follower final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Follower(const FollowersOptions& options, const std::string& token, Heard& heard)
      : heard_(heard) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + options.port,
                                         grpc::InsecureChannelCredentials(), arguments);
    if (!token.empty()) context_.AddMetadata("authorization", "Bearer " + token);
    const grpc::Slice slice(FromHex(options.request));
    request_ = grpc::ByteBuffer(&slice, 1);
    grpc::GenericStub stub(channel_);
    stub.PrepareBidiStreamingCall(&context_, options.method, grpc::StubOptions(), this);
    StartWriteLast(&request_, grpc::WriteOptions());
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    heard_.Note(std::exchange(first_, false), response_.Length() >= kRowBytesMin);
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    Die("a follower was cut off: " + status.error_message());
  }

 private:
  Heard& heard_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  bool first_ = true;
};

std::vector<std::string> ReadTokens(const FollowersOptions& options) {
  std::vector<std::string> tokens(static_cast<size_t>(options.count));
  if (options.tokens.empty()) return tokens;
  std::ifstream in(options.tokens);
  for (std::string& token : tokens) {
    if (!std::getline(in, token)) Die("fewer tokens than followers");
  }
  return tokens;
}

void AllowManySockets() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Latency MeasureFanOut(const FollowersOptions& options, Heard& heard) {
  Database app(options.commit_to);
  Statement insert(app, InsertPatientSql());
  PatientMaker maker(options.seed);
  Patient patient;
  std::vector<double> times;
  for (int64_t i = 0; i < kWarmUps + options.writes; ++i) {
    std::this_thread::sleep_for(kRest);
    const int64_t all = heard.rows() + options.count;
    maker.Next(&patient);
    app.Exec("BEGIN IMMEDIATE");
    BindPatient(patient, &insert);
    insert.Run();
    const double start = Seconds();
    app.Exec("COMMIT");
    times.push_back((heard.WaitRows(all) - start) * 1000);
  }
  times.erase(times.begin(), times.begin() + kWarmUps);
  return LatencyOf(std::move(times));
}

class QuietService final : public Floor::CallbackService {
 public:
  grpc::ServerWriteReactor<Rows>* Pull(grpc::CallbackServerContext*, const From*) override {
    return new Quiet();
  }

 private:
  class Quiet final : public grpc::ServerWriteReactor<Rows> {
   public:
    Quiet() { StartWrite(&word_); }
    void OnWriteDone(bool) override {}
    void OnCancel() override { Finish(grpc::Status::CANCELLED); }
    void OnDone() override { delete this; }

   private:
    Rows word_;
  };
};

}  // namespace

int Follow(const FollowersOptions& options) {
  AllowManySockets();
  // gRPC may call into them until the process ends.
  auto* const heard = new Heard();
  for (const std::string& token : ReadTokens(options)) new Follower(options, token, *heard);
  heard->WaitQuiet(options.count);
  std::printf("ready\n");
  std::fflush(stdout);
  if (options.writes > 0) {
    PrintLatency(MeasureFanOut(options, *heard));
  } else {
    char byte = 0;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  }
  std::fflush(stdout);
  std::_Exit(0);
}

void ServeQuiet() {
  AllowManySockets();
  QuietService service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) Die("no server");
  std::printf("%d\n", port);
  std::fflush(stdout);
  server->Wait();
  Die("the server ended");
}

}  // namespace ptdoc::bench
