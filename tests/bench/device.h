#pragma once

#include <string>

namespace ptdoc::bench {

// Makes the app's table from the file `schema`, and what a device needs beside
// it: a queue, which a trigger fills if the table is `captured`, and row states.
void CreateDevice(const std::string& path, const std::string& schema, bool captured);

// Sends the queue and marks it done, with at most `window` messages unanswered;
// returns the seconds.
double PushAll(const std::string& path, const std::string& port, size_t window = 1);
// Applies all that the server has; returns the seconds.
double PullAll(const std::string& path, const std::string& port);

// The same at rest: print a line when ready, then wait for each commit, of the
// app or of the server, until they are killed.
[[noreturn]] void PushLive(const std::string& path, const std::string& port);
[[noreturn]] void PullLive(const std::string& path, const std::string& port);

}  // namespace ptdoc::bench
