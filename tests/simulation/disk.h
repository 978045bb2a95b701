#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/rng.h"

struct sqlite3_vfs;

namespace ptdoc::sync::sim {

class Process;
struct Handle;
struct SimFile;

// A machine's disk, in memory. Its files are what SQLite's VFS makes of them:
// bytes, locks, shared memory; each write stays unsynced until its file is
// synced, and a power cut takes any part of what is not. One thread.
class Disk {
 public:
  // Chance is drawn from `rng`, which must outlive it.
  explicit Disk(Rng& rng) : rng_(rng) {}
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // Kills every process of the machine. Of what was not synced survives
  // nothing, all, the first part, or any of its sectors, file by file; names
  // made or removed since the last sync of any file may be as they were then.
  void PowerCut();
  // Every write that makes a file longer fails (SQLITE_FULL) while it is full.
  void SetFull(bool full) { full_ = full; }
  bool full() const { return full_; }

  // The file's bytes, and whether it is there. For copies by somebody else
  // (a backup tool, an administrator); they are durable at once.
  std::optional<std::string> Read(const std::string& path) const;
  // Replaces it by another file (a new identity) of that content.
  void Put(const std::string& path, std::string bytes);
  void Remove(const std::string& path);
  // Overwrites it where it stands. Nobody may have it open.
  void Overwrite(const std::string& path, std::string bytes);
  bool IsOpen(const std::string& path) const;
  // Grows with each file made; tells one file from its successor. 0 = none.
  uint64_t Identity(const std::string& path) const;

  // Other numbers than before if the file's bytes are, or may be, other ones.
  using Stamp = std::pair<uint64_t, uint64_t>;
  Stamp StampOf(const std::string& path) const;

  // How often which fault happened.
  const std::map<std::string, int64_t>& counters() const { return counters_; }

 private:
  friend class Process;
  friend struct DiskVfs;
  using Names = std::map<std::string, std::shared_ptr<SimFile>>;
  void Survive(SimFile& file);
  void Synced();

  Rng& rng_;
  Names names_;
  Names durable_names_;
  bool names_changed_ = false;
  bool full_ = false;
  uint64_t made_ = 0;
  std::vector<Process*> processes_;
  std::map<std::string, int64_t> counters_;
};

// A process on that machine, as far as files go: a VFS that knows who calls.
// When it dies, inside of a call or between two, its locks are gone at once and
// nothing that its code still does while it is unwound has an effect.
class Process {
 public:
  Process(Disk& disk, const std::string& name, const Clock& clock);
  ~Process();  // its connections must be closed
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  const std::string& vfs() const { return name_; }
  void Kill();
  bool dead() const { return dead_; }
  // A new life. The old one's connections must be closed.
  void Start();

  // Dies inside of the call of that number from now (1 = the next) that
  // changes something; 0 = never.
  void DieInCall(int64_t number) { die_in_ = number; }
  // Each call fails with that chance (SQLITE_IOERR_*), in 1/1,000,000.
  void SetErrors(uint64_t chance) { errors_ = chance; }
  // The call of that number from now fails, once, or it and all after it.
  void FailCall(int64_t number, bool and_all_after) {
    fail_in_ = number;
    fail_all_ = and_all_after;
  }
  // Asked at each call, which it is told by name ("read", "write", "shm map"),
  // what shall become of it. `kFull`: as on a disk without room.
  enum class Fault { kNone, kError, kFull, kDeath };
  void SetFault(std::function<Fault(const char* what)> fault) { fault_ = std::move(fault); }
  // While nothing may be drawn or counted: somebody only looks.
  void SetQuiet(bool quiet) { quiet_ = quiet; }
  // Calls so far that change something or can fail.
  int64_t calls() const { return calls_; }

 private:
  friend struct DiskVfs;
  // What a call is to do. `kDie`: a write may do a part of its work first.
  enum class Fate { kGo, kFail, kDie, kDead };
  Fate Enter(const char* what, bool changes);

  Disk& disk_;
  const std::string name_;
  const Clock& clock_;
  std::unique_ptr<sqlite3_vfs> vfs_;
  std::vector<Handle*> handles_;
  bool dead_ = false;
  bool quiet_ = false;
  int64_t die_in_ = 0;
  int64_t fail_in_ = 0;
  bool fail_all_ = false;
  std::function<Fault(const char*)> fault_;
  uint64_t errors_ = 0;
  int64_t calls_ = 0;
  int errno_ = 0;  // of the last call that failed
};

}  // namespace ptdoc::sync::sim
