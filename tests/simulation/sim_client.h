#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// A program that talks to the service without an agent, as a phone or a web
// application does: it reads what is there, writes with times and bases of its
// own (often equal to somebody's, sometimes of next year), and sends a batch
// again when it feels like it. One thread.
class SimClient {
 public:
  SimClient(World& world, SimService& service, std::string name)
      : world_(world), service_(service), name_(std::move(name)) {}

  // Goes on by itself, about every `pause`, until it is told to stop.
  void Start(absl::Duration pause);
  void Stop() { going_ = false; }

 private:
  void Send();
  PushBatch MakeBatch();
  Change MakeChange();
  const Version* FindDouble();
  Change MakeEdit(const Version& known);
  Change MakeFieldEdit(const Version& known);
  void Rewrite(Change* change);
  TimeNs ClaimedTime();

  World& world_;
  SimService& service_;
  const std::string name_;
  absl::Duration pause_;
  bool going_ = false;
  std::deque<PushBatch> sent_;  // the last few
};

}  // namespace ptdoc::sync::sim
