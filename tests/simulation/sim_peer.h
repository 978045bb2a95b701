#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device-agent/session/peer.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// One device's way to the service: streams of messages that arrive in order,
// late, twice, or not at all; that break, and that go silent without breaking.
// Belongs to one life of the agent.
class SimPeer final : public Peer, public std::enable_shared_from_this<SimPeer> {
 public:
  // What a `process` that is dead still says is heard by nobody.
  SimPeer(World& world, SimService& service, const Chaos& chaos, const Process& process,
          const bool& link_up, std::string device)
      : world_(world),
        service_(service),
        chaos_(chaos),
        process_(process),
        link_up_(link_up),
        device_(std::move(device)) {}

  // Events go there from now on; null: the agent is dead.
  void Attach(PeerEvents* events) { events_ = events; }
  // The link was cut or the service died: streams break, or fall silent.
  void Break(bool may_be_silent);
  // Nothing of the feed arrives any more; pushes still do, and their answers.
  void Deafen();
  // The feed grew.
  void Wake();
  // Of the next batch: its device stands somewhere in the feed.
  void ExpectCursor(bool expected) { expects_cursor_ = expected; }

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
  struct Stream {
    int id = 0;          // 0 = closed
    bool deaf = false;   // silent for ever
    bool ended = false;  // by the service: what still arrives is dropped there
    absl::Duration up;   // when the last message arrives, each way
    absl::Duration down;
  };
  struct Pulling {
    PullQuery query;
    std::optional<PullPosition> next;
    bool follow = false;
    int service_life = 0;  // which its positions belong to
    bool waiting = false;  // caught up
    int under_way = 0;     // pages that have not arrived
  };

  Principal Who() const;
  absl::Duration Delay(absl::Duration* last);
  void Open(Stream* stream, bool push);
  void Send(PushBatch batch);
  void Arrive(int stream, PushBatch batch);
  void LeaveOut(const std::string& pull_stream, const PushAnswer& answer);
  void Close(Stream* stream, bool push, const absl::Status& status);
  void Down(Stream* stream, std::function<void()> deliver);
  absl::Status RandomRefusal();
  void AskFor(const std::vector<EntityKey>& keys, const std::string& witness);
  void Tell(const FetchPage& page, absl::Duration at_least, absl::Duration at_most);
  void SetBackBehind(const std::vector<EntityKey>& keys, const std::string& witness);
  bool AmbushFetch(const std::vector<EntityKey>& keys, const std::string& witness);
  void PumpPull(int stream);
  void Heartbeat(int stream);

  World& world_;
  SimService& service_;
  const Chaos& chaos_;
  const Process& process_;
  const bool& link_up_;
  const std::string device_;
  PeerEvents* events_ = nullptr;
  std::string witness_;
  bool expects_cursor_ = false;
  int last_stream_ = 0;
  Stream push_;
  Stream pull_;
  Pulling pulling_;
};

}  // namespace ptdoc::sync::sim
