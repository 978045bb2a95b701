#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/sqlite/sqlite.h"
#include "device-agent/loop/agent_core.h"
#include "device-agent/replica/replica.h"
#include "tests/faults/peer.h"
#include "tests/faults/service.h"

namespace ptdoc::sync::faults {

// One device: an app whose own calls never fail, and an agent whose calls fail
// as the injector says, if it is the one. Starts again by itself when it has
// died or could not start.
class FaultyDevice final : public PeerEvents {
 public:
  // `injector`: null for a device that is left alone.
  FaultyDevice(sim::World& world, FaultyService& service, Injector* injector, Show show,
               std::string name);
  ~FaultyDevice() override;

  // The app. A transaction that cannot be had is a failure: nobody may lock it
  // out while it has the machine to itself.
  void Write(const std::string& sql);
  absl::Status Install();
  void Boot();
  void Restart();
  void SetLink(bool up);
  // Nothing is sent meanwhile, by no life of the agent.
  void SetPaused(bool paused);

  // What a person does; an error is his to see and to try again.
  using Act = std::function<absl::Status(Replica& replica, AgentCore& core)>;
  absl::Status Do(const Act& act);

  bool alive() const { return core_ != nullptr; }
  const std::string& name() const { return name_; }
  // Nothing waits, nothing is under way, no error stands, the feed is read to
  // its end. Looking disturbs nothing.
  bool Quiet();
  bool shows_error() const;
  std::string Describe();

  // Read past the injector.
  struct Holds {
    std::map<EntityKey, Fields> rows;
    std::multimap<EntityKey, std::string> archived;
    uint32_t set_aside = 0;
    std::string trouble;  // integrity, what is left undone; empty = all is well
  };
  Holds Read();

 private:
  void OnPushAnswer(IncomingAnswer answer) override;
  void OnPushClosed(const absl::Status& status) override;
  void OnPullPage(IncomingPage page) override;
  void OnPullClosed(const absl::Status& status) override;
  void OnFetched(IncomingFetch fetch) override;
  void OnFetchFailed(const absl::Status& status) override;

  void Call(const std::function<void(AgentCore&)>& what);
  void Observe();
  void Arm();
  void Bury();
  const MemoryFault* Memory() const;
  ReplicaOptions Options() const;

  sim::World& world_;
  FaultyService& service_;
  Injector* const injector_;
  const Show show_;
  const std::string name_;
  sim::Disk disk_;
  sim::Process app_process_;
  sim::Process agent_process_;
  std::optional<sqlite::Database> app_;
  bool link_up_ = true;
  bool paused_ = false;
  int life_ = 0;
  absl::Duration armed_ = absl::InfiniteDuration();
  absl::Status boot_error_;
  std::unique_ptr<Replica> replica_;
  std::shared_ptr<LocalPeer> peer_;
  std::unique_ptr<AgentCore> core_;
};

}  // namespace ptdoc::sync::faults
