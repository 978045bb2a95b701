#include "tests/simulation/disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace ptdoc::sync::sim {

namespace {

constexpr size_t kSector = 512;
constexpr int kPathMax = 512;

}  // namespace

// The wal-index of one database, as its connections share it.
struct Shm {
  std::vector<std::unique_ptr<char[]>> regions;
  std::array<int, SQLITE_SHM_NLOCK> shared{};
  std::array<const Handle*, SQLITE_SHM_NLOCK> exclusive{};
  int users = 0;
};

struct SimFile {
  struct Op {
    size_t offset = 0;
    std::string bytes;               // written there
    std::optional<size_t> truncate;  // or cut to this length
  };
  uint64_t identity = 0;
  uint64_t changes = 0;
  std::string bytes;    // what a reader sees
  std::string durable;  // what a power cut leaves for certain
  std::vector<Op> unsynced;
  int open = 0;
  int shared = 0;
  const Handle* reserved = nullptr;
  const Handle* pending = nullptr;
  const Handle* exclusive = nullptr;
  std::shared_ptr<Shm> shm = std::make_shared<Shm>();

  static void Do(const Op& op, std::string* to) {
    if (op.truncate.has_value()) {
      to->resize(std::min(to->size(), *op.truncate));
      return;
    }
    if (to->size() < op.offset + op.bytes.size()) to->resize(op.offset + op.bytes.size());
    std::memcpy(to->data() + op.offset, op.bytes.data(), op.bytes.size());
  }
  void Change(Op op) {
    ++changes;
    Do(op, &bytes);
    unsynced.push_back(std::move(op));
  }
  void Sync() {
    for (const Op& op : unsynced) Do(op, &durable);
    unsynced.clear();
  }
};

struct Handle {
  sqlite3_file base{};  // must be first
  Process* process = nullptr;
  std::shared_ptr<SimFile> file;
  std::string delete_on_close;
  int level = SQLITE_LOCK_NONE;
  std::shared_ptr<Shm> shm;  // while mapped
  std::array<bool, SQLITE_SHM_NLOCK> shm_shared{};
  bool detached = false;  // its process is dead: it holds nothing any more
};

// SQLite's methods.
struct DiskVfs {
  static Handle& Of(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }
  static Process& ProcessOf(sqlite3_vfs* vfs) { return *static_cast<Process*>(vfs->pAppData); }

  static void DropLocks(Handle& handle, int level);
  static void DropShm(Handle& handle);
  static void Detach(Handle& handle);

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out);
  static int Delete(sqlite3_vfs* vfs, const char* name, int sync_directory);
  static int Access(sqlite3_vfs* vfs, const char* name, int flags, int* out);
  static int FullPathname(sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs*, int size, char* out) {
    sqlite3_randomness(size, out);
    return size;
  }
  static int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int CurrentTimeInt64(sqlite3_vfs* vfs, sqlite3_int64* out) {
    constexpr sqlite3_int64 kUnixEpochJulianMs = 210'866'760'000'000;
    *out = kUnixEpochJulianMs + absl::ToUnixMillis(ProcessOf(vfs).clock_.Now());
    return SQLITE_OK;
  }
  static int CurrentTime(sqlite3_vfs* vfs, double* out) {
    sqlite3_int64 ms = 0;
    CurrentTimeInt64(vfs, &ms);
    *out = static_cast<double>(ms) / 86'400'000.0;
    return SQLITE_OK;
  }
  static int LastError(sqlite3_vfs* vfs, int, char*) { return ProcessOf(vfs).errno_; }

  static int Close(sqlite3_file* file);
  static int Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset);
  static int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset);
  static int Truncate(sqlite3_file* file, sqlite3_int64 size);
  static int Sync(sqlite3_file* file, int flags);
  static int FileSize(sqlite3_file* file, sqlite3_int64* out) {
    *out = static_cast<sqlite3_int64>(Of(file).file->bytes.size());
    return SQLITE_OK;
  }
  static int Lock(sqlite3_file* file, int level);
  static int Unlock(sqlite3_file* file, int level) {
    if (!Of(file).detached) DropLocks(Of(file), level);
    return SQLITE_OK;
  }
  static int CheckReservedLock(sqlite3_file* file, int* out) {
    *out = Of(file).file->reserved != nullptr ? 1 : 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return kSector; }
  static int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }
  static int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out);
  static int ShmLock(sqlite3_file* file, int offset, int n, int flags);
  static void ShmBarrier(sqlite3_file*) {}
  static int ShmUnmap(sqlite3_file* file, int) {
    if (!Of(file).detached) DropShm(Of(file));
    return SQLITE_OK;
  }
  static const sqlite3_io_methods kMethods;
};

const sqlite3_io_methods DiskVfs::kMethods = {2,
                                              Close,
                                              Read,
                                              Write,
                                              Truncate,
                                              Sync,
                                              FileSize,
                                              Lock,
                                              Unlock,
                                              CheckReservedLock,
                                              FileControl,
                                              SectorSize,
                                              DeviceCharacteristics,
                                              ShmMap,
                                              ShmLock,
                                              ShmBarrier,
                                              ShmUnmap,
                                              nullptr,
                                              nullptr};

void DiskVfs::DropLocks(Handle& handle, int level) {
  SimFile& file = *handle.file;
  if (handle.level <= level) return;
  if (file.exclusive == &handle) file.exclusive = nullptr;
  if (file.pending == &handle) file.pending = nullptr;
  if (file.reserved == &handle) file.reserved = nullptr;
  if (level == SQLITE_LOCK_NONE) --file.shared;
  handle.level = level;
}

void DiskVfs::DropShm(Handle& handle) {
  if (handle.shm == nullptr) return;
  Shm& shm = *handle.shm;
  for (size_t i = 0; i < SQLITE_SHM_NLOCK; ++i) {
    if (shm.exclusive[i] == &handle) shm.exclusive[i] = nullptr;
    if (handle.shm_shared[i]) --shm.shared[i];
    handle.shm_shared[i] = false;
  }
  // The first to come after the last makes a new one from the -wal file.
  if (--shm.users == 0) handle.file->shm = std::make_shared<Shm>();
  handle.shm.reset();
}

void DiskVfs::Detach(Handle& handle) {
  if (handle.detached) return;
  handle.detached = true;
  DropLocks(handle, SQLITE_LOCK_NONE);
  // Its memory stays until it is closed: unwinding code still looks at it.
  const std::shared_ptr<Shm> keep = handle.shm;
  DropShm(handle);
  handle.shm = keep;
  --handle.file->open;
}

int DiskVfs::Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
  Process& process = ProcessOf(vfs);
  Disk& disk = process.disk_;
  file->pMethods = nullptr;
  if (process.Enter("open", false) != Process::Fate::kGo) return SQLITE_CANTOPEN;
  std::shared_ptr<SimFile> found;
  if (name == nullptr) {
    found = std::make_shared<SimFile>();
  } else {
    const auto at = disk.names_.find(name);
    if (at != disk.names_.end()) {
      found = at->second;
    } else {
      process.errno_ = ENOENT;
      if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      if (disk.full_) return SQLITE_FULL;
      found = std::make_shared<SimFile>();
      found->identity = ++disk.made_;
      disk.names_[name] = found;
      disk.names_changed_ = true;
    }
  }
  auto* const handle = new (file) Handle;
  handle->process = &process;
  handle->file = found;
  if (name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0) handle->delete_on_close = name;
  handle->base.pMethods = &kMethods;
  ++found->open;
  process.handles_.push_back(handle);
  if (out != nullptr) *out = flags;
  return SQLITE_OK;
}

int DiskVfs::Close(sqlite3_file* file) {
  Handle& handle = Of(file);
  if (!handle.detached && !handle.delete_on_close.empty()) {
    handle.process->disk_.Remove(handle.delete_on_close);
  }
  Detach(handle);
  std::erase(handle.process->handles_, &handle);
  handle.~Handle();
  return SQLITE_OK;
}

int DiskVfs::Delete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  Process& process = ProcessOf(vfs);
  Disk& disk = process.disk_;
  if (process.Enter("delete", true) != Process::Fate::kGo) return SQLITE_IOERR_DELETE;
  if (disk.names_.erase(name) == 0) return SQLITE_IOERR_DELETE_NOENT;
  disk.names_changed_ = true;
  if (sync_directory != 0) disk.Synced();
  return SQLITE_OK;
}

int DiskVfs::Access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
  Process& process = ProcessOf(vfs);
  if (process.Enter("access", false) != Process::Fate::kGo) return SQLITE_IOERR_ACCESS;
  const auto found = process.disk_.names_.find(name);
  const bool there = found != process.disk_.names_.end();
  // As SQLite's own: an empty file does not exist.
  *out = there && (flags != SQLITE_ACCESS_EXISTS || !found->second->bytes.empty()) ? 1 : 0;
  return SQLITE_OK;
}

int DiskVfs::Read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  Handle& handle = Of(file);
  if (handle.process->Enter("read", false) != Process::Fate::kGo) return SQLITE_IOERR_READ;
  const std::string& bytes = handle.file->bytes;
  const auto wanted = static_cast<size_t>(size);
  const auto from = static_cast<size_t>(offset);
  const size_t there = from >= bytes.size() ? 0 : std::min(wanted, bytes.size() - from);
  if (there > 0) std::memcpy(out, bytes.data() + from, there);
  if (there == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + there, 0, wanted - there);
  return SQLITE_IOERR_SHORT_READ;
}

int DiskVfs::Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  Handle& handle = Of(file);
  Disk& disk = handle.process->disk_;
  const auto from = static_cast<size_t>(offset);
  const size_t end = from + static_cast<size_t>(size);
  const Process::Fate fate = handle.process->Enter("write", true);
  if (fate == Process::Fate::kFail) {
    return handle.process->errno_ == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  }
  if (fate == Process::Fate::kDead) return SQLITE_IOERR_WRITE;
  std::string bytes(static_cast<const char*>(data), static_cast<size_t>(size));
  if (fate == Process::Fate::kDie) {
    // Killed in the middle of it.
    bytes.resize(std::min(bytes.size(), kSector * disk.rng_.Below(bytes.size() / kSector + 2)));
    if (!bytes.empty()) handle.file->Change({from, std::move(bytes), std::nullopt});
    return SQLITE_IOERR_WRITE;
  }
  if (disk.full_ && end > handle.file->bytes.size()) {
    ++disk.counters_["disk full"];
    return SQLITE_FULL;
  }
  handle.file->Change({from, std::move(bytes), std::nullopt});
  return SQLITE_OK;
}

int DiskVfs::Truncate(sqlite3_file* file, sqlite3_int64 size) {
  Handle& handle = Of(file);
  if (handle.process->Enter("truncate", true) != Process::Fate::kGo) return SQLITE_IOERR_TRUNCATE;
  handle.file->Change({0, "", static_cast<size_t>(size)});
  return SQLITE_OK;
}

int DiskVfs::Sync(sqlite3_file* file, int) {
  Handle& handle = Of(file);
  if (handle.process->Enter("sync", true) != Process::Fate::kGo) return SQLITE_IOERR_FSYNC;
  handle.file->Sync();
  handle.process->disk_.Synced();
  return SQLITE_OK;
}

int DiskVfs::Lock(sqlite3_file* file, int level) {
  Handle& handle = Of(file);
  SimFile& of = *handle.file;
  if (handle.level >= level) return SQLITE_OK;
  if (handle.process->Enter("lock", false) != Process::Fate::kGo) return SQLITE_IOERR_LOCK;
  if (handle.level == SQLITE_LOCK_NONE) {
    if (of.pending != nullptr || of.exclusive != nullptr) return SQLITE_BUSY;
    ++of.shared;
    handle.level = SQLITE_LOCK_SHARED;
  }
  if (level == SQLITE_LOCK_SHARED) return SQLITE_OK;
  if (of.reserved != nullptr && of.reserved != &handle) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_RESERVED) {
    of.reserved = &handle;
    handle.level = level;
    return SQLITE_OK;
  }
  if (of.pending != nullptr && of.pending != &handle) return SQLITE_BUSY;
  of.pending = &handle;
  handle.level = SQLITE_LOCK_PENDING;
  if (of.shared > 1) return SQLITE_BUSY;
  of.exclusive = &handle;
  handle.level = SQLITE_LOCK_EXCLUSIVE;
  return SQLITE_OK;
}

int DiskVfs::ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** out) {
  Handle& handle = Of(file);
  *out = nullptr;
  if (handle.process->Enter("shm map", false) != Process::Fate::kGo) {
    return handle.process->errno_ == ENOSPC ? SQLITE_IOERR_SHMSIZE : SQLITE_IOERR_SHMMAP;
  }
  if (handle.shm == nullptr) {
    handle.shm = handle.file->shm;
    ++handle.shm->users;
  }
  std::vector<std::unique_ptr<char[]>>& regions = handle.shm->regions;
  const auto number = static_cast<size_t>(region);
  if (number >= regions.size() && extend == 0) return SQLITE_OK;
  while (number >= regions.size()) {
    regions.push_back(std::make_unique<char[]>(static_cast<size_t>(size)));
  }
  *out = regions[number].get();
  return SQLITE_OK;
}

int DiskVfs::ShmLock(sqlite3_file* file, int offset, int n, int flags) {
  Handle& handle = Of(file);
  const bool unlock = (flags & SQLITE_SHM_UNLOCK) != 0;
  const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
  if (handle.detached) return unlock ? SQLITE_OK : SQLITE_IOERR_SHMLOCK;
  if (handle.process->Enter("shm lock", !unlock && exclusive) != Process::Fate::kGo && !unlock) {
    return SQLITE_IOERR_SHMLOCK;
  }
  if (handle.detached) return SQLITE_IOERR_SHMLOCK;
  Shm& shm = *handle.shm;
  const auto first = static_cast<size_t>(offset);
  const size_t last = first + static_cast<size_t>(n);
  for (size_t i = first; i < last; ++i) {
    if (unlock) {
      if (shm.exclusive[i] == &handle) shm.exclusive[i] = nullptr;
      if (handle.shm_shared[i]) --shm.shared[i];
      handle.shm_shared[i] = false;
      continue;
    }
    const bool others = shm.exclusive[i] != nullptr && shm.exclusive[i] != &handle;
    const int readers = shm.shared[i] - (handle.shm_shared[i] ? 1 : 0);
    if (others || (exclusive && readers > 0)) return SQLITE_BUSY;
  }
  for (size_t i = first; i < last && !unlock; ++i) {
    if (exclusive) {
      shm.exclusive[i] = &handle;
    } else if (!handle.shm_shared[i]) {
      handle.shm_shared[i] = true;
      ++shm.shared[i];
    }
  }
  return SQLITE_OK;
}

// --- Process.

Process::Process(Disk& disk, const std::string& name, const Clock& clock)
    : disk_(disk), name_(name), clock_(clock), vfs_(std::make_unique<sqlite3_vfs>()) {
  sqlite3_vfs& vfs = *vfs_;
  std::memset(&vfs, 0, sizeof vfs);
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = kPathMax;
  vfs.zName = name_.c_str();
  vfs.pAppData = this;
  vfs.xOpen = DiskVfs::Open;
  vfs.xDelete = DiskVfs::Delete;
  vfs.xAccess = DiskVfs::Access;
  vfs.xFullPathname = DiskVfs::FullPathname;
  vfs.xRandomness = DiskVfs::Randomness;
  vfs.xSleep = DiskVfs::Sleep;
  vfs.xCurrentTime = DiskVfs::CurrentTime;
  vfs.xCurrentTimeInt64 = DiskVfs::CurrentTimeInt64;
  vfs.xGetLastError = DiskVfs::LastError;
  PT_CHECK(sqlite3_vfs_find(name_.c_str()) == nullptr);
  PT_CHECK(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
  disk_.processes_.push_back(this);
}

Process::~Process() {
  PT_CHECK(handles_.empty());
  sqlite3_vfs_unregister(vfs_.get());
  std::erase(disk_.processes_, this);
}

void Process::Kill() {
  dead_ = true;
  for (Handle* const handle : handles_) DiskVfs::Detach(*handle);
}

void Process::Start() {
  PT_CHECK(handles_.empty());
  dead_ = false;
  die_in_ = fail_in_ = 0;
  fail_all_ = false;
}

Process::Fate Process::Enter(const char* what, bool changes) {
  if (dead_) errno_ = EIO;
  if (dead_) return Fate::kDead;
  if (quiet_) return Fate::kGo;
  ++calls_;
  const Fault fault = fault_ ? fault_(what) : Fault::kNone;
  const bool dies = (changes && die_in_ == 1) || fault == Fault::kDeath;
  if (changes && die_in_ > 0) --die_in_;
  if (dies) {
    errno_ = EIO;
    ++disk_.counters_[absl::StrCat("died in ", what)];
    Kill();
    return Fate::kDie;
  }
  bool fails = fault != Fault::kNone || (errors_ > 0 && disk_.rng_.Below(1'000'000) < errors_);
  if (fail_in_ == 1) fails = true;
  if (fail_in_ > 1 || (fail_in_ == 1 && !fail_all_)) --fail_in_;
  if (!fails) return Fate::kGo;
  errno_ = fault == Fault::kFull ? ENOSPC : EIO;
  ++disk_.counters_[absl::StrCat("error in ", what)];
  return Fate::kFail;
}

// --- Disk.

Disk::~Disk() {
  PT_CHECK(processes_.empty());
}

void Disk::Synced() {
  if (!std::exchange(names_changed_, false)) return;
  durable_names_ = names_;
}

void Disk::PowerCut() {
  ++counters_["power cut"];
  for (Process* const process : processes_) process->Kill();
  if (names_changed_ && rng_.Below(2) == 0) {
    ++counters_["names lost"];
    names_ = durable_names_;
  }
  for (const auto& [name, file] : names_) Survive(*file);
  durable_names_ = names_;
  names_changed_ = false;
}

void Disk::Survive(SimFile& file) {
  if (file.unsynced.empty()) return;
  const uint64_t how = rng_.Below(4);
  ++counters_[how == 0   ? "unsynced lost"
              : how == 1 ? "unsynced kept"
              : how == 2 ? "unsynced cut"
                         : "unsynced torn"];
  size_t kept = how == 0 ? 0 : file.unsynced.size();
  if (how == 2) kept = rng_.Below(file.unsynced.size() + 1);
  for (size_t i = 0; i < kept; ++i) {
    const SimFile::Op& op = file.unsynced[i];
    if (how != 3 || op.truncate.has_value()) {
      SimFile::Do(op, &file.durable);
      continue;
    }
    for (size_t at = 0; at < op.bytes.size(); at += kSector) {
      if (rng_.Below(2) == 0) continue;
      SimFile::Do({op.offset + at, op.bytes.substr(at, kSector), std::nullopt}, &file.durable);
    }
  }
  file.unsynced.clear();
  file.bytes = file.durable;
  ++file.changes;
}

std::optional<std::string> Disk::Read(const std::string& path) const {
  const auto found = names_.find(path);
  if (found == names_.end()) return std::nullopt;
  return found->second->bytes;
}

void Disk::Put(const std::string& path, std::string bytes) {
  auto file = std::make_shared<SimFile>();
  file->identity = ++made_;
  file->bytes = file->durable = std::move(bytes);
  names_[path] = file;
  durable_names_[path] = std::move(file);
}

void Disk::Remove(const std::string& path) {
  names_.erase(path);
  durable_names_.erase(path);
}

void Disk::Overwrite(const std::string& path, std::string bytes) {
  PT_CHECK(!IsOpen(path));
  const auto found = names_.find(path);
  if (found == names_.end()) return Put(path, std::move(bytes));
  found->second->unsynced.clear();
  ++found->second->changes;
  found->second->bytes = found->second->durable = std::move(bytes);
}

bool Disk::IsOpen(const std::string& path) const {
  const auto found = names_.find(path);
  return found != names_.end() && found->second->open > 0;
}

Disk::Stamp Disk::StampOf(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? Stamp() : Stamp(found->second->identity, found->second->changes);
}

uint64_t Disk::Identity(const std::string& path) const {
  const auto found = names_.find(path);
  return found == names_.end() ? 0 : found->second->identity;
}

}  // namespace ptdoc::sync::sim
