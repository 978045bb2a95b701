// What befalls a device: power cuts, files that are set back, people.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "tests/simulation/overhear.h"
#include "tests/simulation/sim_device.h"

namespace ptdoc::sync::sim {

void SimDevice::PowerCut() {
  world_.Trace(name_ + ": power cut");
  disk_.PowerCut();
  Stop();
  app_.Open();
  if (!app_.durable()) ForgetWhatIsGone(false);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(5)), [this] { Boot(); });
}

// What the app's own settings let a power cut take, or what went with a file
// that was set back, was never promised. With `all`, nor is any deletion.
void SimDevice::ForgetWhatIsGone(bool all) {
  const Rows rows = app_.ReadAll();
  std::erase_if(promises_, [&](const Promise& promise) {
    const auto row = rows.find(promise.key);
    if (row == rows.end()) return all || promise.content.has_value();
    return promise.content != row->second;
  });
}

void SimDevice::ForgetKept(const Judgement& kept, const Judgement& held) {
  const Rows rows = app_.ReadAll();
  std::erase_if(promises_, [&](Promise& promise) {
    const auto row = rows.find(promise.key);
    const bool stands =
        promise.content.has_value() && row != rows.end() && row->second == *promise.content;
    const bool was_kept = kept(promise.key, promise.content);
    promise.alone |= was_kept;
    return was_kept && !(stands && held(promise.key, promise.content));
  });
}

// A page or an answer of before may still be applied by a device that has not heard
// of it. What a deletion in it takes along by a cascade, or sets to NULL, is the service's to
// tell again, and that has lost it.
void SimDevice::ForgetCascaded() {
  const bool any_alone = std::any_of(promises_.begin(), promises_.end(),
                                     [](const Promise& promise) { return promise.alone; });
  if (!any_alone || app_.in_long()) return;
  agent_process_.SetQuiet(true);
  app_process_.SetQuiet(true);
  const Rows rows = app_.ReadAll();
  // Such rows have no time in the log.
  const absl::StatusOr<int64_t> logged =
      app_.db().QueryInt("SELECT count(*) FROM SyncLog WHERE Op <> 'A' AND Time IS NULL");
  const bool any_touched = logged.ok() && *logged > 0;
  std::erase_if(promises_, [&](const Promise& promise) {
    if (!promise.alone) return false;
    const auto row = rows.find(promise.key);
    if (row != rows.end() && promise.content == row->second) return false;
    const auto state = replica_->ledger().FindState(promise.key);
    const auto open = replica_->ledger().HasOpenItem(promise.key);
    const auto note = replica_->ledger().FindStale(promise.key);
    if (!state.ok() || !open.ok() || !note.ok() || !state->has_value()) return false;
    const bool touched =
        row == rows.end() || any_touched || (note->has_value() && (*note)->put_back);
    const bool told = touched && !(*state)->unconfirmed && !(*state)->row.absent && !*open;
    if (told) world_.Count("cascaded away after its loss");
    return told;
  });
  app_process_.SetQuiet(false);
  agent_process_.SetQuiet(false);
}

void SimDevice::TakeCopy() {
  if (app_.in_long()) return;
  copy_.clear();
  for (const char* const file : {kFile, kLedger}) {
    for (const char* const suffix : {"", "-wal", "-journal"}) {
      const std::string path = absl::StrCat(file, suffix);
      if (auto bytes = disk_.Read(path); bytes.has_value()) copy_[path] = *std::move(bytes);
    }
  }
  world_.Trace(name_ + ": a copy of the files is taken");
}

void SimDevice::SetFile(const std::string& path, const std::map<std::string, std::string>& files,
                        bool in_place) {
  for (const char* const suffix : {"", "-wal", "-journal"}) {
    const std::string name = absl::StrCat(path, suffix);
    const auto bytes = files.find(name);
    if (bytes == files.end()) {
      disk_.Remove(name);
    } else if (in_place) {
      disk_.Overwrite(name, bytes->second);
    } else {
      disk_.Put(name, bytes->second);
    }
  }
}

void SimDevice::PutBack() {
  if (copy_.empty()) return;
  const uint64_t which = world_.rng().Below(5);
  const bool in_place = world_.Chance(0.5);
  const char* const kNames[] = {"app's file set back", "ledger set back", "both files set back",
                                "ledger lost", "files moved"};
  world_.Count(kNames[which]);
  world_.Trace(absl::StrCat(name_, ": ", kNames[which], in_place ? " in place" : ""));
  Stop();
  deletions_count_ = has_own_files_ = false;
  if (which == 0 || which == 2) SetFile(kFile, copy_, in_place);
  if (which == 1 || which == 2) SetFile(kLedger, copy_, in_place);
  if (which == 3) SetFile(kLedger, {}, false);
  if (which == 4) disk_.Put(kFile, disk_.Read(kFile).value());
  app_.Open();
  ForgetWhatIsGone(true);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(5)), [this] { Boot(); });
}

void SimDevice::BecomeCopyOf(SimDevice& other) {
  world_.Count("files copied to another device");
  world_.Trace(absl::StrCat(name_, ": has the files of ", other.name_));
  other.TakeCopy();
  const std::map<std::string, std::string> files = std::exchange(other.copy_, {});
  if (files.empty()) return;
  Stop();
  SetFile(kFile, files, false);
  SetFile(kLedger, files, false);
  copy_.clear();
  with_tags_ |= other.with_tags_;
  app_.Open();
  deletions_count_ = has_own_files_ = false;
  ForgetWhatIsGone(true);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Seconds(5)), [this] { Boot(); });
}

void SimDevice::Meddle() {
  if (!alive() || dying_ || agent_process_.dead()) return;
  switch (world_.rng().Below(4)) {
    case 0:
      Cancel();
      break;
    case 1:
      Retry();
      break;
    case 2:
      LoseToken();
      break;
    default:
      RestoreOne();
      break;
  }
  if (!alive() || agent_process_.dead()) return;
  core_->OnQueueChanged();
  core_->OnCommitSeen();
}

void SimDevice::CancelLast() {
  if (alive() && !dying_ && !agent_process_.dead()) Cancel();
}

void SimDevice::Cancel() {
  const absl::StatusOr<std::vector<QueueItem>> items =
      replica_->ledger().ListItems(/*include_done=*/false, 0, 50);
  if (!items.ok() || items->empty()) return;
  const QueueItem& item = (*items)[world_.rng().Below(items->size())];
  world_.PairMayBreak(item.key);
  const absl::Status done = replica_->CancelItem(item.id).status();
  if (done.ok()) {
    world_.Count("item cancelled");
    core_->OnQueueChanged();
    // A deletion that was taken back holds nothing that could be lost.
    std::erase_if(promises_, [&](const Promise& promise) {
      return promise.key == item.key && !promise.content.has_value();
    });
  }
  world_.Trace(absl::StrCat(name_, ": cancel: ", TextOf(done)));
  Overhear(world_, "an answer to a person", done.ToString());
}

void SimDevice::Retry() {
  const absl::StatusOr<int64_t> retried = replica_->RetryItems({}, /*all=*/true);
  // Also where it is not known.
  service_.Forgive(name_);
  if (retried.ok() && *retried > 0) world_.Count("items retried");
}

void SimDevice::RestoreOne() {
  const absl::StatusOr<std::vector<ArchiveEntry>> archives =
      replica_->ledger().ListArchives(/*include_resolved=*/false, 0, 50);
  if (!archives.ok() || archives->empty()) return;
  const ArchiveEntry& entry = (*archives)[world_.rng().Below(archives->size())];
  world_.PairMayBreak(entry.key);
  const Rows before = app_.ReadAll();
  const std::vector<Promise> promised = promises_;
  const absl::Status done = replica_->RestoreArchived(entry.conflict_id).status();
  // What the app wrote into the row amid this is the past of what stands there now.
  std::erase_if(promises_, [&](const Promise& one) {
    return done.ok() && one.key == entry.key &&
           std::none_of(promised.begin(), promised.end(), [&](const Promise& old) {
             return old.key == one.key && old.content == one.content;
           });
  });
  // An edit like the app's own.
  Remember(app_.Difference(before));
  if (done.ok()) world_.Count("archived row restored");
  world_.Trace(absl::StrCat(name_, ": restore: ", TextOf(done)));
  Overhear(world_, "an answer to a person", done.ToString());
}

// Its token ends; some time later it has a new one, and may not hear of it.
void SimDevice::LoseToken() {
  world_.Count("token expired");
  world_.Trace(name_ + ": its token has expired");
  service_.ExpireToken(name_);
  const bool is_told = world_.Chance(0.7);
  world_.After(world_.Between(absl::ZeroDuration(), absl::Minutes(3)), [this, is_told] {
    world_.Trace(name_ + ": has a new token");
    service_.RenewToken(name_);
    if (world_.changes_rights() && !healed_) ChangeRights();
    if (is_told && alive() && !dying_) core_->OnTokenChanged();
  });
}

// From when on the agent captures tags, or does not, nobody can say: it has to hear
// of it first.
void SimDevice::ChangeRights() {
  const bool shows = !service_.ShowsTags(name_);
  world_.Count(shows ? "token with tags" : "token without tags");
  world_.Trace(absl::StrCat(name_, ": its token ", shows ? "includes" : "leaves out", " the tags"));
  captures_tags_ = false;
  if (with_tags_) had_tags_ = true;
  service_.ShowTags(name_, shows);
  if (!world_.Chance(0.7)) return;
  world_.After(world_.Between(absl::ZeroDuration(), absl::Minutes(4)), [this] {
    if (!healed_) LoseToken();
  });
}

void SimDevice::Migrate() {
  if (!app_.is_open()) return;
  world_.Trace(name_ + ": the app migrates");
  app_.Migrate();
  GainColumn();
}

void SimDevice::WriteSilently() {
  if (!app_.WriteSilently()) world_.Fail(name_ + ": the app cannot write");
  if (alive()) core_->OnCommitSeen();
}

void SimDevice::FillDisk() {
  disk_.SetFull(true);
  world_.Trace(name_ + ": disk full");
  world_.After(world_.Between(absl::Seconds(1), absl::Seconds(60)), [this] {
    disk_.SetFull(false);
    world_.Trace(name_ + ": disk has room");
  });
}

}  // namespace ptdoc::sync::sim
