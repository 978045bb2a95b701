#include "tests/simulation/sim_client.h"

#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/simulation/content_mark.h"

namespace ptdoc::sync::sim {
namespace {

constexpr size_t kRemembered = 4;

}  // namespace

void SimClient::Start(absl::Duration pause) {
  going_ = true;
  pause_ = pause;
  world_.After(world_.Between(absl::ZeroDuration(), 2 * pause_), [this] {
    if (!going_) return;
    Send();
    Start(pause_);
  });
}

void SimClient::Send() {
  if (!service_.up()) return;
  PushBatch batch;
  if (!sent_.empty() && world_.Chance(0.2)) {
    batch = sent_[world_.rng().Below(sent_.size())];
    world_.Count("client sent a batch again");
  } else {
    batch = MakeBatch();
    if (batch.changes.empty()) return;
    sent_.push_back(batch);
    if (sent_.size() > kRemembered) sent_.pop_front();
  }
  world_.Trace(absl::StrCat(name_, ": sends ", batch.batch_id));
  service_.Push(std::move(batch), [this](const absl::StatusOr<PushAnswer>& answer) {
    world_.Count(answer.ok() ? "client was answered" : "client was refused");
  });
}

PushBatch SimClient::MakeBatch() {
  PushBatch batch;
  batch.who.tenant = kTenant;
  batch.who.device = name_;
  batch.batch_id = NewUuid(world_.rng());
  std::set<EntityKey> keys;
  for (uint64_t i = 0; i <= world_.rng().Below(3); ++i) {
    Change change = MakeChange();
    if (!change.key.id.empty() && keys.insert(change.key).second) {
      batch.changes.push_back(std::move(change));
    }
  }
  return batch;
}

// One that the service has lost, and whose revision another version of the same
// entity has now: only their checks tell them apart. Null: there is none.
const Version* SimClient::FindDouble() {
  const auto& history = service_.record().history;
  const std::vector<Version>& lost = service_.lost();
  for (auto version = lost.rbegin(); version != lost.rend(); ++version) {
    const auto now = history.find(version->key);
    if (version->deleted || now == history.end() || version->key.type == "Transfer") continue;
    const Version& head = now->second.back();
    if (head.revision == version->revision && head.check != version->check) return &*version;
  }
  return nullptr;
}

Change SimClient::MakeEdit(const Version& known) {
  Change change;
  change.key = known.key;
  change.last_modified = ClaimedTime();
  change.base_revision = known.revision;
  change.base_check = known.check;
  change.operation = Operation::kUpdate;
  change.fields = known.fields;
  Rewrite(&change);
  return change;
}

// One column or two, or all of them with these changed.
Change SimClient::MakeFieldEdit(const Version& known) {
  Change change;
  change.key = known.key;
  change.last_modified = ClaimedTime();
  change.base_revision = known.revision;
  if (world_.Chance(0.5)) change.base_check = known.check;
  change.operation = Operation::kUpdate;
  if (world_.Chance(0.3)) change.fields = known.fields;
  for (uint64_t i = 0; i <= world_.rng().Below(2); ++i) {
    const uint64_t value = world_.rng().Below(3);
    switch (world_.rng().Below(3)) {
      case 0:
        change.fields.Set("Name", Value::Text(absl::StrCat(kContentMark, " ", value)));
        break;
      case 1:
        change.fields.Set("Visits", Value::Integer(static_cast<int64_t>(value)));
        break;
      default:
        change.fields.Set("Weight", Value::Real(70.5 + static_cast<double>(value)));
    }
  }
  return change;
}

// What it knows is any version that the service ever told, so most of what it
// writes meets something newer.
Change SimClient::MakeChange() {
  if (const Version* const lost = FindDouble(); lost != nullptr && world_.Chance(0.5)) {
    world_.Count("client wrote on a base that is lost");
    return MakeEdit(*lost);
  }
  Change change;
  const auto& history = service_.record().history;
  if (history.empty()) return change;
  auto entry = history.begin();
  std::advance(entry, static_cast<int64_t>(world_.rng().Below(history.size())));
  if (entry->first.type == "Transfer") return change;
  const std::vector<Version>& versions = entry->second;
  const Version& known =
      world_.Chance(0.5) ? versions.back() : versions[world_.rng().Below(versions.size())];
  const bool is_patient = entry->first.type == "Patient" && !known.deleted;
  if (world_.merges_fields() && is_patient && world_.Chance(0.7)) return MakeFieldEdit(known);
  change.key = entry->first;
  change.last_modified = ClaimedTime();
  if (!world_.Chance(0.2)) change.base_revision = known.revision;
  if (change.base_revision > 0 && world_.Chance(0.5)) change.base_check = known.check;
  if (known.deleted) {
    if (change.key.type != "Patient") return {};
    change.operation = Operation::kCreate;
    change.base_revision = 0;
    change.base_check.clear();
    for (const char* const column : {"Code", "Photo", "Visits", "Weight"}) {
      change.fields.Set(column, Value::Null());
    }
    change.fields.Set("Id", Value::Text(change.key.id));
    change.fields.Set("Name", Value::Text(absl::StrCat(kContentMark, " of ", name_)));
    return change;
  }
  if (world_.Chance(0.1)) {
    change.operation = Operation::kDelete;
    return change;
  }
  change.operation = change.base_revision == 0 ? Operation::kCreate : Operation::kUpdate;
  change.fields = known.fields;
  Rewrite(&change);
  return change;
}

void SimClient::Rewrite(Change* change) {
  const std::string text = absl::StrCat(kContentMark, " ", world_.rng().Below(5));
  for (const char* const column : {"Name", "Body", "Answers", "Note"}) {
    if (const Value* const there = change->fields.Find(column); there != nullptr) {
      // A part of a key stays.
      if (change->key.type != "Tag" || column != std::string("Name")) {
        change->fields.Set(column, Value::Text(text));
      }
    }
  }
}

// Steps of ten seconds, so that times meet; now and then of a clock that is
// wrong by years.
TimeNs SimClient::ClaimedTime() {
  const absl::Time now = world_.clock().Now();
  if (world_.Chance(0.1)) return ToTimeNs(now + absl::Hours(24 * 365));
  if (world_.Chance(0.1)) return ToTimeNs(now - absl::Hours(24 * 3650));
  const absl::Time step = absl::FromUnixSeconds(absl::ToUnixSeconds(now) / 10 * 10);
  return ToTimeNs(step - world_.rng().Below(4) * absl::Seconds(10));
}

}  // namespace ptdoc::sync::sim
