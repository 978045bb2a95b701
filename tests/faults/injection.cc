#include "tests/faults/injection.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/model/reason.h"

namespace ptdoc::sync::faults {
namespace {

// As long as it lasts that nothing goes.
constexpr absl::Duration kShortFor = absl::Seconds(20);

const std::set<std::string>& Changes() {
  static const auto* calls = new std::set<std::string>{"write", "truncate", "sync", "delete"};
  return *calls;
}

}  // namespace

std::string Describe(const Injection& injection) {
  const char* const what[] = {"an I/O error", "a full disk", "no memory", "death"};
  std::string text = absl::StrCat(injection.side == Side::kAgent ? "agent" : "service", ": ",
                                  what[static_cast<size_t>(injection.what)], " in ", injection.call,
                                  " number ", injection.at);
  if (injection.for_good) absl::StrAppend(&text, " and all after it");
  if (injection.again_at > 0) absl::StrAppend(&text, ", then in ", injection.again_at);
  return text;
}

std::function<sim::Process::Fault(const char*)> Injector::Disk(Side side) {
  return [this, side](const char* call) {
    using Fault = sim::Process::Fault;
    if (!Fails(side, call)) return Fault::kNone;
    switch (injection_.what) {
      case What::kFull:
        return Fault::kFull;
      case What::kDeath:
        return Fault::kDeath;
      default:
        return Fault::kError;
    }
  };
}

bool Injector::Concerns(const std::string& call) const {
  if (injection_.call == "change") return Changes().contains(call);
  return call == injection_.call;
}

bool Injector::Fails(Side side, const std::string& call) {
  if (side != injection_.side) return false;
  ++calls_[call];
  // A disk without room still reads; one that is gone does nothing.
  const bool growing = call == "write" || call == "truncate" || call == "shm map";
  if (short_) {
    if (injection_.what == What::kNoMemory) return call == "memory";
    return call != "memory" && (injection_.what == What::kError || growing);
  }
  if (!Concerns(call) || next_at_ == 0) return false;
  if (++seen_ != next_at_) return false;
  next_at_ = 0;
  Begin();
  return true;
}

void Injector::Begin() {
  happened_ = true;
  freed_ = !injection_.for_good;
  short_ = injection_.for_good;
  if (!injection_.for_good) return;
  world_.After(kShortFor, [this] {
    if (on_freed_) on_freed_();
    short_ = false;
    freed_ = true;
  });
}

void Injector::Reborn(Side side) {
  if (side != injection_.side || !happened_ || reborn_) return;
  reborn_ = true;
  seen_ = 0;
  next_at_ = injection_.again_at;
}

bool NamesIt(const Injection& injection, const absl::Status& status) {
  const std::string text = absl::StrCat(status.message(), " ", ReasonOf(status));
  const bool away = absl::StrContains(text, "STORE_AWAY");
  switch (injection.what) {
    case What::kError:
      return away || absl::StrContains(text, "SQLITE_IOERR") ||
             absl::StrContains(text, "SQLITE_CANTOPEN");
    case What::kFull:
      return absl::IsResourceExhausted(status) || absl::StrContains(text, "SQLITE_FULL") ||
             absl::StrContains(text, "SQLITE_IOERR_FSYNC") ||
             absl::StrContains(text, "failed while it committed");
    case What::kNoMemory:
      return away || absl::StrContains(text, "SQLITE_NOMEM");
    case What::kDeath:
      return true;
  }
  return false;
}

}  // namespace ptdoc::sync::faults
