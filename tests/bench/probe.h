#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ptdoc::bench {

// Milliseconds.
struct Latency {
  double p50 = 0;
  double p99 = 0;
  double max = 0;
};

// Of at least one time.
Latency LatencyOf(std::vector<double> times);
// As a line of JSON.
void PrintLatency(const Latency& latency);

// Commits `writes` rows to the app's file `from`, one by one and with a rest
// between them, and measures each from COMMIT until the row can be read in
// `to`. The first ones warm up and do not count.
Latency MeasureLatency(const std::string& from, const std::string& to, int64_t writes,
                       uint64_t seed);

}  // namespace ptdoc::bench
