#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device-agent/session/peer.h"
#include "tests/faults/service.h"

namespace ptdoc::sync::faults {

// A device's way to the service: a link that does nothing wrong, and can be cut.
// Belongs to one life of the agent.
class LocalPeer final : public Peer, public std::enable_shared_from_this<LocalPeer> {
 public:
  LocalPeer(sim::World& world, FaultyService& service, const bool& link_up, std::string device)
      : world_(world), service_(service), link_up_(link_up), device_(std::move(device)) {}

  // Events go there; null: the agent is dead.
  void Attach(PeerEvents* events) { events_ = events; }
  // The link or the service is gone.
  void Break();
  // The feed grew.
  void Wake();

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
  void Fetch(const std::vector<EntityKey>& keys) override;

 private:
  Principal Who() const;
  void Later(std::function<void()> what);
  void Send(PushBatch batch);
  void EndPush(const absl::Status& status);
  void EndPull(const absl::Status& status);
  void Pump();
  void Beat(int stream);

  sim::World& world_;
  FaultyService& service_;
  const bool& link_up_;
  const std::string device_;
  PeerEvents* events_ = nullptr;
  std::string witness_;
  int last_stream_ = 0;
  int push_ = 0;  // 0 = closed
  int pull_ = 0;
  PullQuery query_;
  std::optional<PullPosition> next_;
  bool follow_ = false;
  bool waiting_ = false;  // caught up
  bool woken_ = false;    // while a page was on its way
};

}  // namespace ptdoc::sync::faults
