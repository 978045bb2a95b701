#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ptdoc::bench {

// Many devices that follow a feed, each on a connection of its own. They keep
// nothing of what they get: it is the server that is measured.
struct FollowersOptions {
  std::string port;
  std::string method;   // "/package.Service/Method"
  std::string request;  // the message, in hexadecimal digits
  int64_t count = 1;
  // A file with a bearer token a line, one for each device; empty = none.
  std::string tokens;
  // The app's file into which `writes` rows are committed, one by one.
  std::string commit_to;
  int64_t writes = 0;
  uint64_t seed = 1;
};

// Connects all and prints a line when each has heard something and all are
// quiet. With `writes`, then prints how long it took from each COMMIT until the
// last follower had the row, and ends; else stays until its input ends.
int Follow(const FollowersOptions& options);

// A bare server whose streams say one word and then stay: what a connected
// device costs at least. Prints its port; until it is killed.
[[noreturn]] void ServeQuiet();

}  // namespace ptdoc::bench
