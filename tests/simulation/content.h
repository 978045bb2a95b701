#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/simulation/sim_device.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// Everything that was logged, told in statuses, or stands in a column that
// docs/SCHEMA.md calls free of content is searched for the marks of
// content_mark.h (P9).

// While it lives every line of the log is overheard, of all levels.
class LogListener {
 public:
  explicit LogListener(World& world);
  ~LogListener();
  LogListener(const LogListener&) = delete;
  LogListener& operator=(const LogListener&) = delete;
};

// Searches the service's store, and each device's ledger and tables of ours in
// the app's file. No intent may be open.
void CheckPlacesOfContent(World& world, SimService& service,
                          const std::vector<std::unique_ptr<SimDevice>>& devices);

}  // namespace ptdoc::sync::sim
