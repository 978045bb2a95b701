#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device-agent/loop/runner.h"
#include "device-agent/session/peer.h"
#include "tests/threads/service.h"

namespace ptdoc::sync::threads {

// An agent's way to the service inside one process: what the session says goes
// to the executor, what comes of it is posted to the runner. Calls belong to the
// runner's thread.
class QueuePeer final : public Peer {
 public:
  QueuePeer(Service& service, Runner& runner, std::string device);
  ~QueuePeer() override;

  // The connection is cut: streams end, and what is on its way is lost.
  void Cut();

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
  struct Link;

  void Send(PushBatch batch);
  void EndPush(const absl::Status& status);
  void EndPull(const absl::Status& status);

  Service& service_;
  const std::string device_;
  const std::shared_ptr<Link> link_;
  std::string witness_;
  uint64_t last_stream_ = 0;
  std::shared_ptr<PullStream> pull_;
};

}  // namespace ptdoc::sync::threads
