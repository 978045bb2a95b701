#include "tests/bench/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "tests/bench/database.h"

namespace ptdoc::bench {
namespace {

constexpr unsigned kLifeSeconds = 900;

[[noreturn]] void BecomeChild(const std::vector<std::string>& arguments, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  alarm(kLifeSeconds);
  std::vector<std::string> copy = arguments;
  copy.insert(copy.begin(), "floor");
  std::vector<char*> argv;
  argv.reserve(copy.size() + 1);
  for (std::string& argument : copy) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv("/proc/self/exe", argv.data());
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) Die("no pipe");
  pid_ = fork();
  if (pid_ < 0) Die("no process");
  if (pid_ == 0) BecomeChild(arguments, pipe_fds[1]);
  close(pipe_fds[1]);
  out_ = pipe_fds[0];
  char byte = 0;
  while (read(out_, &byte, 1) == 1 && byte != '\n') line_ += byte;
  if (byte != '\n') Die(arguments[0] + " did not start");
}

Process::~Process() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(out_);
}

double PeakMib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  const std::string wanted = "VmHWM:";
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == wanted && status >> kib) return kib / 1024;
  }
  return 0;
}

}  // namespace ptdoc::bench
