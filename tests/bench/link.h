#pragma once

#include <cstdint>
#include <string>

namespace ptdoc::bench {

// What lies between two ends of a connection.
struct LinkOptions {
  int to_port = 0;
  // There and back; half of it each way. The handshake of TCP takes one, too.
  int64_t round_trip_us = 0;
  // Of 1,000 segments. A lost one comes a round trip later, and all behind it
  // wait: what the receiver sees of TCP's repair. The sender is not slowed down.
  int64_t lost_of_1000 = 0;
  // Reads no input: whoever started it kills it.
  bool stays = false;
};

// Prints its port, then forwards each connection to `to_port` on loopback. For
// each line on standard input it prints the bytes that went either way so far;
// it ends with its input, or when it is killed.
[[noreturn]] void ServeLink(const LinkOptions& options);

}  // namespace ptdoc::bench
