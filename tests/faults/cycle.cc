#include "tests/faults/cycle.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/model/entity_id.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "tests/simulation/randomness.h"

namespace ptdoc::sync::faults {
namespace {

constexpr absl::Duration kRestMax = absl::Minutes(10);
constexpr absl::Duration kQuietFor = absl::Seconds(2);
constexpr int kTriesMax = 60;

// Longer than a page of the database: such a text is read from several.
std::string LongText() {
  std::string text;
  for (int i = 0; text.size() < 9'000; ++i) absl::StrAppend(&text, "line ", i, " of the story. ");
  return text;
}

class Cycle {
 public:
  Cycle(const Injection& injection, bool trace)
      : injection_(injection), world_(1, trace, {}), injector_(world_, injection) {
    sim::SeedSqlite(world_.rng());
    injector_.OnFreed([this] { Freed(); });
  }

  void Go() {
    SetUp();
    WriteAndExchange();
    Disagree();
    StandInEachOthersWay();
    RunBoth();
    People();
    Cascade();
    Background();
    StartAgain();
  }

  Ending Result(const Ending* expected) {
    Ending ending;
    if (!world_.failed()) {
      ending.service = service_.Read();
      ending.device = first_.Read();
      FaultyDevice::Holds second = second_.Read();
      Compare(ending.service, ending.device, first_);
      Compare(ending.service, second, second_);
      if (expected != nullptr) CompareWith(*expected, ending);
    }
    ending.failure = world_.failure();
    ending.happened = injector_.happened();
    ending.calls = injector_.calls();
    ending.shown = shown_;
    ending.silent = silent_;
    return ending;
  }

 private:
  // --- What happens.

  void SetUp() {
    service_.Start();
    first_.Write("INSERT INTO Patient VALUES('p0', 'Anna', 'c0', 70.5)");
    Insist("init", [this] { return first_.Install(); });
    Insist("init", [this] { return second_.Install(); });
    first_.Boot();
    second_.Boot();
    Rest("after init");
  }

  void WriteAndExchange() {
    first_.Write(
        "INSERT INTO Patient VALUES('p1', 'Berta', 'c1', NULL), ('p2', 'Carl', NULL, 80);"
        "INSERT INTO Note VALUES('n1', 'p1', 'text', x'00ff', NULL);"
        "INSERT INTO Note VALUES('n2', 'p2', '" +
        LongText() +
        "', zeroblob(6000), NULL);"
        "INSERT INTO Note VALUES('n3', 'p2', NULL, NULL, NULL);"
        "INSERT INTO Tag VALUES('p1', 'blue', 1)");
    Rest("the first writes");
    second_.Write(
        "UPDATE Patient SET Name = 'Anne' WHERE Id = 'p0';"
        "UPDATE Note SET Body = Body || '!' WHERE Id = 'n2';"
        "INSERT INTO Note VALUES('n4', 'p0', 'of the other', NULL, NULL)");
    Rest("an answer");
  }

  // The second is heard first, so that it does not depend on faults who is.
  void Disagree() {
    Links(false);
    first_.Write("UPDATE Patient SET Name = 'Older' WHERE Id = 'p0'");
    second_.Write("UPDATE Patient SET Name = 'Eldest' WHERE Id = 'p1'");
    first_.Write("UPDATE Note SET Body = 'older' WHERE Id = 'n3'");
    second_.Write("UPDATE Note SET SignatureHash = 's2' WHERE Id = 'n2'");
    first_.Write("UPDATE Note SET SignatureHash = 's1' WHERE Id = 'n1'");
    Pass();
    second_.Write("UPDATE Patient SET Name = 'Newer' WHERE Id = 'p0'");
    second_.Write("UPDATE Note SET Body = 'newer' WHERE Id = 'n3'");
    first_.Write("UPDATE Patient SET Name = 'Newest' WHERE Id = 'p1'");
    first_.Write("UPDATE Note SET Body = 'after the signature' WHERE Id = 'n2'");
    second_.Write("UPDATE Note SET Body = 'unsigned' WHERE Id = 'n1'");
    first_.Write("UPDATE Tag SET Remark = 'mine' WHERE PatientId = 'p1'");
    second_.Write("UPDATE Tag SET Remark = 'yours' WHERE PatientId = 'p1'");
    first_.Write("UPDATE Patient SET Name = 'of the first' WHERE Id = 'p2'");
    second_.Write("UPDATE Patient SET Code = 'of the second' WHERE Id = 'p2'");
    Pass();
    LinksOneByOne("a conflict");
    ExpectMerged(first_);
    ExpectMerged(second_);
  }

  void ExpectMerged(FaultyDevice& device) {
    if (world_.failed()) return;
    const FaultyDevice::Holds holds = device.Read();
    const auto row = holds.rows.find(EntityKey{"Patient", "p2"});
    const bool both = row != holds.rows.end() &&
                      *row->second.Find("Name") == Value::Text("of the first") &&
                      *row->second.Find("Code") == Value::Text("of the second");
    if (!both) world_.Fail(device.name() + ": two fields were not merged");
  }

  // Each has a row that the other's schema refuses.
  void StandInEachOthersWay() {
    Links(false);
    first_.Write("INSERT INTO Patient VALUES('p5', 'Dora', 'same', 1)");
    second_.Write("INSERT INTO Patient VALUES('p6', 'Emil', 'same', 2)");
    Pass();
    LinksOneByOne("set aside");
    if (!world_.failed() && first_.Read().set_aside != 1) world_.Fail("nothing was set aside");
    first_.Write("UPDATE Patient SET Code = 'another' WHERE Id = 'p5'");
    Rest("what was set aside is taken");
  }

  void RunBoth() {
    for (FaultyDevice* const device : {&first_, &second_}) {
      Insist("run", [this, device] {
        run_ = absl::UnavailableError("the run did not end");
        const absl::Status asked = device->Do([&](Replica&, AgentCore& core) {
          core.RequestRun(RunKind::kRun, [this](const RunResult& one) { run_ = one.error; });
          return absl::OkStatus();
        });
        if (!asked.ok()) return asked;
        world_.RunUntil(world_.now() + absl::Minutes(1));
        return run_;
      });
    }
    Rest("a run");
  }

  void People() {
    Insist("status", [this] {
      return first_.Do([](Replica& replica, AgentCore& core) {
        PT_RETURN_IF_ERROR(core.Snapshot().status());
        PT_RETURN_IF_ERROR(replica.ledger().ListItems(true, 0, 100).status());
        return replica.RetryItems({}, true).status();
      });
    });
    Insist("restore", [this] {
      return first_.Do([](Replica& replica, AgentCore&) {
        PT_ASSIGN_OR_RETURN(const auto archives, replica.ledger().ListArchives(false, 0, 100));
        for (const ArchiveEntry& entry : archives) {
          if (entry.key.id != "n3") continue;
          PT_ASSIGN_OR_RETURN(const FileState file, replica.RestoreArchived(entry.conflict_id));
          return file == FileState::kReady ? absl::OkStatus() : absl::AbortedError("blocked");
        }
        return absl::OkStatus();
      });
    });
    Rest("a row restored");
    Links(false);
    // What is taken to be sent cannot be cancelled.
    first_.SetPaused(true);
    first_.Write("UPDATE Patient SET Name = 'not meant' WHERE Id = 'p1'");
    Pass();
    Insist("cancel", [this] {
      return first_.Do([](Replica& replica, AgentCore&) {
        PT_RETURN_IF_ERROR(replica.Drain().status());
        PT_ASSIGN_OR_RETURN(const auto items, replica.ledger().ListItems(false, 0, 100));
        for (const QueueItem& item : items) {
          PT_ASSIGN_OR_RETURN(const FileState file, replica.CancelItem(item.id));
          if (file != FileState::kReady) return absl::AbortedError("blocked");
        }
        return absl::OkStatus();
      });
    });
    first_.SetPaused(false);
    LinksOneByOne("an edit cancelled");
    Insist("resolve", [this] { return service_.Resolve({"Tag", TagId()}); });
    Rest("a conflict resolved");
  }

  void Cascade() {
    first_.Write("DELETE FROM Patient WHERE Id = 'p0'");
    Rest("a deletion");
    second_.Write("INSERT OR REPLACE INTO Patient VALUES('p0', 'again', 'c0', 3)");
    Rest("made again");
  }

  void Background() {
    Insist("maintenance", [this] { return service_.Maintain(); });
    Insist("maintenance", [this] {
      return first_.Do([](Replica& replica, AgentCore&) {
        while (true) {
          PT_ASSIGN_OR_RETURN(const bool more, replica.Maintain());
          if (!more) return absl::OkStatus();
        }
      });
    });
  }

  void StartAgain() {
    first_.Restart();
    service_.Restart();
    Rest("a restart");
    second_.Write("UPDATE Patient SET Name = 'the end' WHERE Id = 'p2'");
    first_.Write("UPDATE Note SET Body = 'the end' WHERE Id = 'n3'");
    Rest("the end");
  }

  // --- Time.

  void Links(bool up) {
    first_.SetLink(up);
    second_.SetLink(up);
  }

  void LinksOneByOne(const char* what) {
    second_.SetLink(true);
    Rest(what, {&second_});
    first_.SetLink(true);
    Rest(what);
  }

  void Pass() { world_.RunUntil(world_.now() + absl::Seconds(2)); }

  void Rest(const char* what) { Rest(what, {&first_, &second_}); }
  void Rest(const char* what, const std::vector<FaultyDevice*>& devices) {
    if (world_.failed()) return;
    const absl::Duration deadline = world_.now() + kRestMax;
    absl::Duration since = world_.now();
    while (world_.now() < deadline && !world_.failed()) {
      world_.RunUntil(world_.now() + absl::Seconds(1));
      bool quiet = service_.up() && (!injector_.happened() || injector_.freed());
      for (FaultyDevice* const device : devices) quiet = quiet && device->Quiet();
      if (!quiet) since = world_.now();
      if (world_.now() - since >= kQuietFor) return;
    }
    std::string all;
    for (FaultyDevice* const device : devices) absl::StrAppend(&all, " [", device->Describe(), "]");
    world_.Fail(absl::StrCat("not at rest after ", what, ":", all));
  }

  // A person who tries again until it is done.
  void Insist(const char* what, const std::function<absl::Status()>& act) {
    absl::Status status;
    for (int i = 0; i < kTriesMax && !world_.failed(); ++i) {
      status = act();
      if (status.ok()) return;
      world_.Trace(absl::StrCat(what, ": ", status.ToString()));
      Shown(what, status);
      world_.RunUntil(world_.now() + absl::Seconds(1));
    }
    world_.Fail(absl::StrCat(what, " was tried in vain: ", status.ToString()));
  }

  // --- Errors.

  void Shown(const char* where, const absl::Status& status) {
    if (IsSideEffect(status)) return;
    const std::string line = absl::StrCat(where, ": ", absl::StatusCodeToString(status.code()), " ",
                                          status.message().substr(0, 100), " ", ReasonOf(status));
    ++shown_[line];
    if (!NamesIt(injection_, status)) world_.Fail("an error that names nothing: " + line);
  }

  // Of the other side's being away, or of a second try of what was done.
  static bool IsSideEffect(const absl::Status& status) {
    static const auto* const known = new std::set<std::string>{"no connection",
                                                               "connection lost",
                                                               "connection reset",
                                                               "the run did not end",
                                                               "the agent is down",
                                                               "the service is down",
                                                               "died",
                                                               "closed"};
    return absl::IsCancelled(status) || known->contains(std::string(status.message()));
  }

  // Something has been short for a while, and is now there again.
  void Freed() {
    const bool told = !shown_.empty() || first_.shows_error();
    if (!told) ++silent_;
    world_.Trace("freed");
    if (injection_.at % 2 == 0) return;
    injection_.side == Side::kAgent ? first_.Restart() : service_.Restart();
  }

  // --- The end.

  static std::string TagId() {
    const std::vector<Affinity> affinities(2, Affinity::kText);
    const std::vector<Value> key = {Value::Text("p1"), Value::Text("blue")};
    return *EncodeEntityId(key, affinities);
  }

  void Compare(const FaultyService::Held& service, const FaultyDevice::Holds& holds,
               FaultyDevice& device) {
    if (!service.integrity.empty()) world_.Fail(service.integrity);
    if (!holds.trouble.empty()) world_.Fail(absl::StrCat(device.name(), ": ", holds.trouble));
    if (holds.set_aside != 0) world_.Fail(device.name() + ": something is set aside");
    size_t live = 0;
    for (const auto& [key, versions] : service.history) {
      const Version& head = versions.back();
      const auto row = holds.rows.find(key);
      live += head.deleted ? 0 : 1;
      const bool equal = head.deleted ? row == holds.rows.end()
                                      : row != holds.rows.end() && row->second == head.fields;
      if (!equal) {
        world_.Fail(
            absl::StrCat(device.name(), " differs from the service: ", key.type, "/", key.id));
      }
    }
    if (live != holds.rows.size()) world_.Fail(device.name() + " has more than the service");
  }

  static std::string Tell(const std::vector<Version>& versions) {
    std::string text;
    for (const Version& version : versions) {
      absl::StrAppend(&text, " ",
                      version.deleted ? "null" : FieldsToJson(version.fields).substr(0, 120));
    }
    return text;
  }

  void CompareWith(const Ending& expected, const Ending& ending) {
    for (const auto& [key, versions] : expected.service.history) {
      const auto now = ending.service.history.find(key);
      const std::vector<Version> none;
      const std::vector<Version>& have = now == ending.service.history.end() ? none : now->second;
      bool same = have.size() == versions.size();
      for (size_t i = 0; same && i < versions.size(); ++i) {
        same = have[i].deleted == versions[i].deleted && have[i].fields == versions[i].fields;
      }
      if (same) continue;
      world_.Fail(absl::StrCat("not the versions that were to be: ", key.type, "/", key.id, ": ",
                               Tell(have), " for ", Tell(versions)));
    }
    if (ending.service.history.size() != expected.service.history.size()) {
      world_.Fail("not the entities that were to be");
    }
    if (ending.service.archived != expected.service.archived) {
      world_.Fail("not the archive that was to be");
    }
    if (ending.device.archived != expected.device.archived) {
      world_.Fail("not the device's archive that was to be");
    }
  }

  const Injection injection_;
  sim::World world_;
  Injector injector_;
  std::map<std::string, int64_t> shown_;
  int64_t silent_ = 0;
  absl::Status run_;
  const Show show_ = [this](const char* where, const absl::Status& status) {
    Shown(where, status);
  };
  FaultyService service_{world_, injector_, show_};
  FaultyDevice first_{world_, service_, &injector_, show_, "first"};
  FaultyDevice second_{world_, service_, nullptr, show_, "second"};
};

}  // namespace

Ending RunCycle(const Injection& injection, const Ending* expected, bool trace) {
  WatchMemory();
  LogOptions quiet;
  quiet.level = LogLevel::kError;
  InitLog(quiet);
  Cycle cycle(injection, trace);
  cycle.Go();
  return cycle.Result(expected);
}

}  // namespace ptdoc::sync::faults
