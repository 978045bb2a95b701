#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "device-agent/rpc/peer_link.h"
#include "device-agent/rpc/pull_stream.h"
#include "device-agent/rpc/push_stream.h"
#include "device-agent/rpc/token_file.h"
#include "device-agent/session/peer.h"

namespace ptdoc::sync {

struct GrpcPeerOptions {
  std::shared_ptr<grpc::Channel> channel;
  std::string device_id;      // sent only if it is printable ASCII
  std::string agent_version;  // printable ASCII
  // The configuration names the device; else its token does, where there is one.
  bool id_is_configured = true;
  // Asks for compressed rows, and sends them to a service that takes them.
  bool compress = false;
};

// Identity of a call, and a channel that does not sit out a pause of its own. For
// calls that the session does not make. Thread-safe.
void PrepareCall(const GrpcPeerOptions& options, TokenFile& token, grpc::ClientContext& context);

// The way to the service over gRPC. Calls belong to the session's thread, to
// which everything is reported through `post`. Streams have no deadline (the
// session watches for silence), a fetch has 30 s; what cannot be reached fails
// at once, with UNAVAILABLE and no reason of ours. Its destruction, after that
// thread ended, waits until gRPC is done with every call.
class GrpcPeer final : public Peer {
 public:
  static constexpr absl::Duration kFetchMax = absl::Seconds(30);
  // What a last report may take when the agent stops.
  static constexpr absl::Duration kFarewellMax = absl::Milliseconds(300);

  // `token` must outlive this.
  GrpcPeer(GrpcPeerOptions options, TokenFile& token, PostReport post);
  ~GrpcPeer() override;

  void SetWitness(const std::string& witness) override { witness_ = witness; }
  void OpenPush() override;
  void SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                 const QueueHealth& queue) override;
  void SendSettle(const std::string& batch_id, const QueueHealth& queue) override;
  void SendReport(const QueueHealth& queue) override;
  void ClosePush() override;
  void OpenPull(const std::string& cursor, const std::vector<std::string>& types, bool follow,
                const QueueHealth& queue) override;
  void ClosePull() override;
  void ReadOn() override;
  void Fetch(const std::vector<EntityKey>& keys) override;

 private:
  void Prepare(grpc::ClientContext& context) { PrepareCall(options_, token_, context); }

  const GrpcPeerOptions options_;
  TokenFile& token_;
  const std::unique_ptr<v1::SyncService::Stub> stub_;
  const std::shared_ptr<PeerLink> link_;
  std::string witness_;
  std::shared_ptr<PushStream> push_;
  std::shared_ptr<PushStream> leaving_;  // closed by us; it may still be writing
  std::shared_ptr<PullStream> pull_;
  std::string pull_stream_;  // its name
  std::shared_ptr<FetchCall> fetch_;
};

}  // namespace ptdoc::sync
