#include "tests/simulation/simulate.h"

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/simulation/content.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/randomness.h"
#include "tests/simulation/sim_client.h"
#include "tests/simulation/sim_device.h"
#include "tests/simulation/sim_service.h"
#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {
namespace {

constexpr absl::Duration kHealedMax = absl::Hours(2);

class Run {
 public:
  explicit Run(World& world) : world_(world), service_(world_, chaos_) {
    SeedSqlite(world_.rng());
    DrawChaos();
    const int count = 3 + static_cast<int>(world_.rng().Below(6)) / 3 +
                      static_cast<int>(world_.rng().Below(6)) / 5;
    for (int i = 0; i < count; ++i) {
      devices_.push_back(std::make_unique<SimDevice>(world_, service_, chaos_, i));
    }
  }

  void Go() {
    service_.Start();
    for (const auto& device : devices_) {
      device->SetSkew(world_.Between(absl::Seconds(-40), absl::Seconds(40)));
      device->Install();
      device->Boot();
      device->StartWriting();
    }
    if (world_.Chance(0.3) || world_.merges_fields()) client_.Start(2 * chaos_.app_pause);
    service_.OnSetBack([this](bool new_epoch) {
      if (!healed_ && service_.has_backup()) RestoreService(new_epoch);
    });
    Trouble();
    const absl::Duration end =
        world_.now() + chaos_.app_pause * static_cast<int64_t>(10 + world_.rng().Below(60));
    while (world_.now() < end && !world_.failed()) {
      world_.RunUntil(world_.now() + absl::Seconds(1));
      LetThemLive();
    }
    Heal();
    // Longer than a stream that fell silent before goes unnoticed.
    if (!WaitForRest(absl::Minutes(3))) return;
    // Before a comparison could hide what was missed.
    if (!blind_writes()) CheckPromises(world_, service_, devices_);
    if (blind_writes() && !FindBlindWrites()) return;
    RunEverywhere();
    if (WaitForRest(absl::Seconds(20))) CheckPromises(world_, service_, devices_);
  }

  Report Result(uint64_t seed) {
    return {seed,
            world_.failure(),
            world_.trace_hash(),
            world_.steps(),
            service_.accepted,
            static_cast<int64_t>(service_.record().losses.size()),
            {}};
  }

 private:
  bool blind_writes() const { return world_.counters().contains("app wrote with triggers off"); }

  // Each kind of trouble is absent, rare or frequent.
  double Draw(double rare, double frequent) {
    const uint64_t how = world_.rng().Below(3);
    return how == 0 ? 0 : how == 1 ? rare : frequent;
  }

  void DrawChaos() {
    chaos_.cut = Draw(0.01, 0.1);
    chaos_.doubled = Draw(0.01, 0.2);
    chaos_.blackhole = Draw(0.01, 0.1);
    chaos_.refused = Draw(0.01, 0.1);
    chaos_.slow = Draw(0.01, 0.1);
    chaos_.agent_crash = Draw(0.002, 0.02);
    chaos_.half_crash = Draw(0.002, 0.02);
    chaos_.service_crash = Draw(0.01, 0.1);
    chaos_.lost_wake = Draw(0.05, 0.5);
    chaos_.disk_crash = Draw(0.1, 0.7);
    deaths_ = static_cast<int64_t>(5 + world_.rng().Below(30));
    if (world_.Chance(0.2)) chaos_.disk_errors = 200;
    power_trouble_ = Draw(0.01, 0.1);
    people_trouble_ = Draw(0.05, 0.3);
    clock_trouble_ = Draw(0.02, 0.1);
    chaos_.app_amid = Draw(0.01, 0.05);
    chaos_.small_batches = world_.Chance(0.2);
    schema_trouble_ = Draw(0.02, 0.1);
    const int64_t pauses_ms[] = {100, 1000, 10'000};
    chaos_.app_pause = absl::Milliseconds(pauses_ms[world_.rng().Below(3)]);
    link_trouble_ = Draw(0.1, 0.4);
    // Files and the store are set back, lost and copied.
    file_trouble_ = Draw(0.05, 0.3);
    restore_trouble_ = Draw(0.05, 0.3);
    if (world_.Chance(0.3)) service_.SetRetention(absl::Minutes(5));
    chaos_.ambush = Draw(0.02, 0.1);
  }

  // Those that died often enough tell nothing new, and cost the most.
  void LetThemLive() {
    const auto died = world_.counters().find("an agent died");
    if (died == world_.counters().end() || died->second < deaths_) return;
    chaos_.agent_crash = chaos_.half_crash = chaos_.disk_crash = 0;
  }

  // Links go up and down, clocks are set, for as long as it lasts.
  void Trouble() {
    if (healed_) return;
    world_.Step();
    for (const auto& device : devices_) {
      if (world_.Chance(link_trouble_)) device->SetLink(!device->link_up());
      if (world_.Chance(clock_trouble_)) SetClock(*device);
      if (world_.Chance(power_trouble_)) device->PowerCut();
      if (world_.Chance(power_trouble_)) device->FillDisk();
      if (world_.Chance(people_trouble_)) device->Meddle();
      if (world_.Chance(schema_trouble_)) device->Migrate();
      if (world_.Chance(file_trouble_)) device->TakeCopy();
      if (world_.Chance(file_trouble_ / 2)) device->PutBack();
      SimDevice& other = *devices_[world_.rng().Below(devices_.size())];
      if (&other != device.get() && world_.Chance(file_trouble_ / 8)) device->BecomeCopyOf(other);
      if (world_.Chance(chaos_.ambush)) Ambush(*device);
      if (world_.Chance(chaos_.ambush)) AmbushUnanswered(*device);
    }
    if (world_.Chance(power_trouble_)) service_.PowerCut();
    if (world_.Chance(power_trouble_)) service_.FillDisk();
    if (world_.Chance(people_trouble_)) service_.Administrate();
    if (world_.Chance(restore_trouble_)) service_.Backup();
    if (service_.has_backup() && world_.Chance(restore_trouble_ / 2)) {
      RestoreService(world_.Chance(0.5));
    }
    world_.After(world_.Between(absl::ZeroDuration(), 6 * chaos_.app_pause), [this] { Trouble(); });
  }

  // The service is set back to a moment after the last that the device has read of
  // its feed: all that it was told since, by answers or before its link broke, is
  // of a history that is gone.
  void Ambush(SimDevice& device) {
    const bool is_away = world_.Chance(0.5);
    world_.Count(is_away ? "ambush: rolled back behind one away"
                         : "ambush: rolled back behind an answer");
    if (!is_away) device.DeafenFeed();
    service_.Backup();
    const absl::Duration meanwhile = world_.Between(chaos_.app_pause, 6 * chaos_.app_pause);
    world_.After(meanwhile, [this, &device, is_away] {
      if (healed_) return;
      if (is_away) device.SetLink(false);
      service_.SetBack(/*new_epoch=*/false);
    });
    if (!is_away) return;
    world_.After(meanwhile + world_.Between(chaos_.app_pause, 6 * chaos_.app_pause),
                 [&device] { device.SetLink(true); });
  }

  // A device that has read this history and was told nothing by any answer: its
  // cursor alone shows where it stands. Away, it edits what it has read, and the
  // service is set back behind that.
  void AmbushUnanswered(SimDevice& device) {
    world_.Count("ambush: rolled back behind one that was not answered");
    device.Hush(true);
    service_.Backup();
    service_.SetBack(/*new_epoch=*/true);
    const absl::Duration read = absl::Seconds(10);
    const absl::Duration back = read + world_.Between(chaos_.app_pause, 6 * chaos_.app_pause);
    world_.After(read, [this] { service_.Backup(); });
    world_.After(back, [this, &device] {
      device.Hush(false);
      if (healed_) return;
      device.SetLink(false);
      service_.SetBack(/*new_epoch=*/false);
    });
    world_.After(back + world_.Between(chaos_.app_pause, 6 * chaos_.app_pause),
                 [&device] { device.SetLink(true); });
  }

  // By hours, or by years: an empty battery, a wrong century.
  void SetClock(SimDevice& device) {
    const absl::Duration most = world_.Chance(0.5) ? absl::Hours(30) : absl::Hours(24 * 3650);
    world_.Count(most > absl::Hours(30) ? "clock set by years" : "clock set by hours");
    device.SetSkew(world_.Between(-most, most));
  }

  void RestoreService(bool new_epoch) {
    if (!service_.up()) return;
    const auto archived = service_.Archived();
    const auto& history = service_.record().history;
    for (const auto& device : devices_) {
      device->ForgetKept(
          [&](const EntityKey& key, const std::optional<Fields>& content) {
            return IsKept(history, archived, key, content);
          },
          [&](const EntityKey& key, const std::optional<Fields>& content) {
            const auto versions = history.find(key);
            return versions != history.end() && !versions->second.back().deleted &&
                   content == versions->second.back().fields;
          });
    }
    service_.Restore(new_epoch);
  }

  void Heal() {
    world_.Trace("healed");
    healed_ = true;
    chaos_ = Chaos{};
    service_.Heal();
    client_.Stop();
    for (const auto& device : devices_) {
      device->StopWriting();
      if (world_.Chance(2 * people_trouble_)) device->CancelLast();
      device->SetLink(true);
      device->Heal();
    }
  }

  // True when every device has been quiet for `long_enough`.
  bool WaitForRest(absl::Duration long_enough) {
    const absl::Duration deadline = world_.now() + kHealedMax;
    absl::Duration quiet_since = world_.now();
    while (world_.now() < deadline && !world_.failed()) {
      world_.RunUntil(world_.now() + absl::Seconds(10));
      bool all = service_.up();
      for (const auto& device : devices_) all = all && device->Quiet();
      if (!all) quiet_since = world_.now();
      if (world_.now() - quiet_since >= long_enough) return true;
    }
    if (world_.failed()) return false;
    std::string what = "not at rest two hours after everything was healed:";
    for (const auto& device : devices_) absl::StrAppend(&what, " [", device->Describe(), "]");
    world_.Fail(what);
    return false;
  }

  // What was written with triggers off is found after a commit that leaves no row
  // in the log, when its turn has come.
  bool FindBlindWrites() {
    for (const auto& device : devices_) device->WriteSilently();
    world_.RunUntil(world_.now() + SimDevice::kScanDelayMax);
    return WaitForRest(absl::Minutes(3));
  }

  // Somebody asks for a run on every device: it comes to its end.
  void RunEverywhere() {
    size_t ended = 0;
    for (const auto& device : devices_) {
      device->RequestRun([&](const RunResult& result) {
        ++ended;
        if (!result.success()) world_.Fail("a run failed: " + result.error.ToString());
      });
    }
    world_.RunUntil(world_.now() + absl::Minutes(1));
    if (ended != devices_.size()) world_.Fail("a run did not end");
  }

  World& world_;
  Chaos chaos_;
  int64_t deaths_ = 0;
  double link_trouble_ = 0;
  double power_trouble_ = 0;
  double people_trouble_ = 0;
  double clock_trouble_ = 0;
  double schema_trouble_ = 0;
  double file_trouble_ = 0;
  double restore_trouble_ = 0;
  bool healed_ = false;
  SimService service_;
  SimClient client_{world_, service_, "phone"};
  std::vector<std::unique_ptr<SimDevice>> devices_;
};

}  // namespace

Report Simulate(uint64_t seed, const Telling& telling) {
  MakeSqliteFast();
  World world(seed, telling.trace, telling.watch);
  Report report;
  const LogListener listener(world);
  {
    Run run(world);
    run.Go();
    report = run.Result(seed);
  }
  // What the disks counted is told when they go.
  report.counters = world.counters();
  return report;
}

Report SimulateAndTell(uint64_t seed, const Telling& telling) {
  const Report report = Simulate(seed, telling);
  if (!report.failure.empty()) {
    std::fprintf(stderr,
                 "seed %" PRIu64 ": %s\n  replay: ./dev simulate --seed %" PRIu64 " --trace\n",
                 seed, report.failure.c_str(), seed);
  }
  return report;
}

}  // namespace ptdoc::sync::sim
