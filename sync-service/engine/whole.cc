#include "sync-service/engine/whole.h"

#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/merge/resolve.h"

namespace ptdoc::sync {
namespace {

bool CheckFits(const Change& change, const Version& version) {
  return change.base_check.empty() || change.base_check == version.check;
}

const StoredVersion* LiveHead(const Head& head) {
  return head.IsLive() ? &*head.stored : nullptr;
}

const StoredVersion* FillSourceAtBaseZero(const Change& change, const Head& head) {
  const bool keeps_unknown_columns = change.reoffer || !change.complete;
  if (!keeps_unknown_columns || change.integer_key) return nullptr;
  return LiveHead(head);
}

// The author: what the device claims, else the user that the token is bound
// to. A re-offer without a name stays without: somebody else may have written it.
std::string AuthorOf(const Change& change, const Principal& who) {
  if (change.modified_by.empty() && !change.reoffer) return who.user;
  return change.modified_by;
}

}  // namespace

bool IsRecreated(const Change& change) {
  return change.operation == Operation::kCreate && change.complete && change.base_revision > 0;
}

absl::StatusOr<Base> FindBase(StoreReader& reader, absl::string_view tenant, const Change& change,
                              const Head& head) {
  Base base;
  if (change.reoffer) return base;
  const bool unchecked = PT_PLANTED("the check of a base is not compared");
  if (head.pending.has_value() && head.made_from == change.base_revision) {
    base.kind = Base::Kind::kKnown;
    base.is_current = !head.as_sent.has_value();
    base.stored = head.as_sent;
    return base;
  }
  if (change.base_revision == 0) return base;
  base.kind = Base::Kind::kLacking;
  if (!head.pending.has_value() && head.stored.has_value() &&
      head.stored->version.revision == change.base_revision) {
    if (!unchecked && !CheckFits(change, head.stored->version)) return base;
    base.kind = Base::Kind::kKnown;
    base.is_current = true;
    return base;
  }
  PT_ASSIGN_OR_RETURN(std::optional<StoredVersion> found,
                      reader.FindVersion(tenant, change.key, change.base_revision));
  if (!found.has_value() || (!unchecked && !CheckFits(change, found->version))) return base;
  base.kind = Base::Kind::kKnown;
  base.stored = std::move(found);
  return base;
}

const StoredVersion* BaseVersion(const Base& base, const Head& head) {
  if (base.is_current) return &*head.stored;
  return base.stored.has_value() ? &*base.stored : nullptr;
}

bool IsWholeByItself(const Change& change) {
  return change.complete || change.operation == Operation::kDelete;
}

const StoredVersion* FillSource(const Change& change, const Head& head, const Base& base) {
  if (change.operation == Operation::kDelete || IsRecreated(change)) return nullptr;
  if (PT_PLANTED("a delta is laid over current")) return LiveHead(head);
  switch (base.kind) {
    case Base::Kind::kKnown:
      return BaseVersion(base, head);
    case Base::Kind::kLacking:
      return LiveHead(head);
    case Base::Kind::kNone:
      return FillSourceAtBaseZero(change, head);
  }
  return nullptr;
}

StoredVersion MakeIncoming(Change* taken, const Head& head, const Base& base, const Principal& who,
                           const EngineOptions& options, absl::Time now) {
  const Change& change = *taken;
  const TimeNs now_ns = ToTimeNs(now);
  const StoredVersion* base_version = BaseVersion(base, head);
  const StoredVersion* source = FillSource(change, head, base);
  std::optional<TimeNs> base_time;
  if (base_version != nullptr) base_time = base_version->version.last_modified;

  StoredVersion incoming;
  Version& version = incoming.version;
  version.key = change.key;
  version.deleted = change.operation == Operation::kDelete;
  version.modified_by = AuthorOf(change, who);
  version.last_modified = EffectiveTime(
      change.last_modified, now_ns, absl::ToInt64Nanoseconds(options.max_clock_skew), base_time);
  if (!version.deleted) {
    if (source != nullptr) {
      version.fields = Overlay(source->version.fields, change.fields);
    } else if (change.reoffer) {
      version.fields = change.fields;
    } else {
      version.fields = std::move(taken->fields);
    }
  }
  incoming.device = who.device;
  incoming.user = who.user;
  incoming.claimed_time = change.last_modified.value_or(now_ns);
  incoming.content_hash = ContentHash(change.key, version.deleted, version.fields);
  if (options.policies.For(change.key.type).policy != ConflictPolicy::kMergeFields) {
    StampFields(source, nullptr, &incoming);
    return incoming;
  }
  const bool clamped =
      IsClamped(change.last_modified, now_ns, absl::ToInt64Nanoseconds(options.max_clock_skew));
  const std::string nobody;
  StampFields(source, clamped ? &nobody : &who.device, &incoming);
  return incoming;
}

StoredVersion MakeMerged(StoredVersion incoming, const StoredVersion& current,
                         const Decision& decision) {
  StoredVersion made = std::move(incoming);
  Version& version = made.version;
  version.fields = decision.merged->fields;
  made.field_times = decision.merged->times;
  made.field_writers = decision.merged->writers;
  made.content_hash = ContentHash(version.key, /*deleted=*/false, version.fields);
  if (decision.raises_time) return made;
  version.last_modified = current.version.last_modified;
  version.modified_by = current.version.modified_by;
  made.raised_by = RankDevice(current);
  return made;
}

const std::string& RankDevice(const StoredVersion& stored) {
  return stored.raised_by.empty() ? stored.device : stored.raised_by;
}

const std::string& FieldWriter(const StoredVersion& stored, size_t index) {
  return stored.field_writers.empty() ? stored.device : stored.field_writers[index];
}

void StampFields(const StoredVersion* source, const std::string* writer, StoredVersion* made) {
  const Fields& fields = made->version.fields;
  made->field_times.assign(fields.size(), made->version.last_modified);
  made->field_writers.clear();
  if (writer != nullptr) made->field_writers.assign(fields.size(), *writer);
  if (source == nullptr) return;
  const Fields& known = source->version.fields;
  const bool has_times = source->field_times.size() == known.size();
  // Both are sorted by name, so one walk over each finds all pairs.
  auto other = known.begin();
  size_t other_index = 0;
  size_t index = 0;
  for (const Field& field : fields) {
    while (other != known.end() && other->name < field.name) {
      ++other;
      ++other_index;
    }
    if (other != known.end() && *other == field) {
      made->field_times[index] =
          has_times ? source->field_times[other_index] : source->version.last_modified;
      if (writer != nullptr) made->field_writers[index] = FieldWriter(*source, other_index);
    }
    ++index;
  }
}

}  // namespace ptdoc::sync
