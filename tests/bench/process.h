#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace ptdoc::bench {

// This program again, with other arguments, as a process of its own. It ends
// with this object, with its parent, and after a quarter of an hour at the latest.
class Process {
 public:
  // Waits for the first line that it prints. To be called before this process
  // has any thread.
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const std::string& line() const { return line_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string line_;
};

// The most memory that a process had so far, in MiB (0 if it is not there).
double PeakMib(pid_t pid);

}  // namespace ptdoc::bench
