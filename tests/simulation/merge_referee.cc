#include "tests/simulation/merge_referee.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/model/row_json.h"

namespace ptdoc::sync::sim {
namespace {

constexpr absl::Duration kSkewMax = absl::Minutes(1);

const Version* Find(const MergeReferee::History& history, const EntityKey& key, Revision revision) {
  const auto versions = history.find(key);
  if (versions == history.end()) return nullptr;
  for (const Version& version : versions->second) {
    if (version.revision == revision) return &version;
  }
  return nullptr;
}

// What stood before this revision came.
const Version* Before(const MergeReferee::History& history, const EntityKey& key,
                      Revision revision) {
  const Version* before = nullptr;
  const auto versions = history.find(key);
  if (versions == history.end()) return nullptr;
  for (const Version& version : versions->second) {
    if (version.revision < revision) before = &version;
  }
  return before;
}

bool IsClamped(const Change& change, absl::Time now) {
  return change.last_modified.has_value() && *change.last_modified > ToTimeNs(now + kSkewMax);
}

bool IsMadeAnew(const Change& change) {
  return change.operation == Operation::kCreate && change.complete && change.base_revision > 0;
}

// Where only one side knows a column, NULL and its absence are one.
bool IsSame(const Value* a, const Value* b) {
  if (a != nullptr && b != nullptr) return *a == *b;
  const Value* known = a != nullptr ? a : b;
  return known == nullptr || known->is_null();
}

std::string Name(const EntityKey& key, const std::string& field) {
  return absl::StrCat(key.type, "/", key.id, " ", field);
}

}  // namespace

void MergeReferee::Hear(const std::string& device, const Change& change, const ChangeResult& result,
                        absl::Time now, Revision newest) {
  if (result.outcome == Outcome::kFailed || result.rule == "reoffer") return;
  heard_.push_back({device, change, result, now, newest});
}

void MergeReferee::Forget() {
  heard_.clear();
  marks_.clear();
  times_.clear();
}

void MergeReferee::Judge(World& world, const History& history) {
  for (const Heard& heard : std::exchange(heard_, {})) JudgeOne(world, history, heard);
}

std::optional<TimeNs> MergeReferee::TimeOf(const Version& version) const {
  const auto time = times_.find({version.key, version.revision});
  if (time == times_.end()) return std::nullopt;
  return time->second;
}

MergeReferee::Mark MergeReferee::MarkOf(const Version& version, const std::string& name) const {
  const auto marks = marks_.find({version.key, version.revision});
  if (marks == marks_.end()) return {};
  const auto mark = marks->second.find(name);
  return mark == marks->second.end() ? Mark() : mark->second;
}

// Its time is above its base's, and one step above it if it is clamped.
MergeReferee::Mark MergeReferee::MarkOfChange(const Heard& heard, const Version* base) const {
  const bool clamped = IsClamped(heard.change, heard.now);
  Mark mark{heard.change.last_modified.value_or(ToTimeNs(heard.now)),
            clamped ? std::string() : heard.device};
  mark.time = std::max(*mark.time, kSmallestTime);
  if (base == nullptr) {
    if (clamped) mark.time = kSmallestTime + 1;
    return mark;
  }
  const std::optional<TimeNs> base_time = TimeOf(*base);
  if (!base_time.has_value()) return {};
  mark.time = clamped ? *base_time + 1 : std::max(*mark.time, *base_time + 1);
  return mark;
}

// Fields that have the source's value keep its marks.
void MergeReferee::Put(const Version& version, const Version* source, const Mark& mark) {
  Marks& marks = marks_[{version.key, version.revision}];
  for (const Field& field : version.fields) {
    const Value* known = source == nullptr ? nullptr : source->fields.Find(field.name);
    const bool kept = known != nullptr && *known == field.value;
    marks[field.name] = kept ? MarkOf(*source, field.name) : mark;
  }
}

void MergeReferee::Raise(const Heard& heard, const Version& head, const Version* source,
                         const Mark& mark) {
  if (IsClamped(heard.change, heard.now)) return;
  const auto time = times_.find({head.key, head.revision});
  // Without its own time nothing is known of what it raised.
  if (!mark.time.has_value() || time == times_.end()) {
    marks_.erase({head.key, head.revision});
    times_.erase({head.key, head.revision});
    return;
  }
  time->second = std::max(time->second, *mark.time);
  for (auto& [name, known] : marks_[{head.key, head.revision}]) {
    const Value* value = head.fields.Find(name);
    const Value* before = source == nullptr ? nullptr : source->fields.Find(name);
    const bool kept = before != nullptr && value != nullptr && *before == *value;
    const Mark& theirs = kept ? MarkOf(*source, name) : mark;
    if (!known.time.has_value() || !theirs.time.has_value()) {
      known = {};
    } else if (std::pair(*theirs.time, theirs.writer) > std::pair(*known.time, known.writer)) {
      known = theirs;
    }
  }
}

void MergeReferee::JudgeOne(World& world, const History& history, const Heard& heard) {
  const ChangeResult& result = heard.result;
  const Version* stands = Find(history, result.key, result.revision);
  if (stands == nullptr) return;
  const Change& change = heard.change;
  const Version* base = change.base_revision > 0 && !change.reoffer
                            ? Find(history, change.key, change.base_revision)
                            : nullptr;
  const bool fits =
      base != nullptr && (change.base_check.empty() || change.base_check == base->check);
  if (!fits) base = nullptr;
  const Mark mark = MarkOfChange(heard, base);
  const bool is_new =
      result.revision > heard.newest && !times_.contains({result.key, result.revision});
  if (is_new) times_[{result.key, result.revision}] = stands->last_modified;
  const Version* stood = is_new ? Before(history, result.key, result.revision) : stands;
  const bool merged = result.rule == "9";
  if (merged && (base == nullptr || stood == nullptr)) {
    world.Fail(absl::StrCat("merged without a base: ", Name(result.key, "")));
  } else if (merged) {
    JudgeMerged(world, heard, *base, *stood, *stands, mark);
  } else if (is_new && result.rule == "6") {
    const bool is_made_anew = IsMadeAnew(change) || change.base_revision == 0;
    Put(*stands, is_made_anew ? nullptr : base, mark);
  } else if (result.rule == "3" && result.outcome == Outcome::kUnchanged) {
    // What a row without a known base was filled from is not looked into.
    const bool known = base != nullptr && !IsMadeAnew(change);
    Raise(heard, *stands, known ? base : nullptr, known ? mark : Mark());
  }
  // Of all others no field is known: they are whole rows.
}

void MergeReferee::JudgeMerged(World& world, const Heard& heard, const Version& base,
                               const Version& stood, const Version& stands, const Mark& sent_mark) {
  world.Count("merged row judged");
  const Fields sent = Overlay(base.fields, heard.change.fields);
  std::set<std::string> names;
  for (const Fields* fields : {&stood.fields, &sent}) {
    for (const Field& field : *fields) names.insert(field.name);
  }
  const bool is_new = &stood != &stands;
  Marks marks;
  bool stood_lost = false;
  for (const std::string& name : names) {
    const Trio trio{base.fields.Find(name), stood.fields.Find(name), sent.Find(name)};
    const Value* now = stands.fields.Find(name);
    const auto is = [now](const Value* value) {
      return (now == nullptr) == (value == nullptr) && (now == nullptr || *now == *value);
    };
    const Verdict verdict = VerdictOf(world, heard, name, trio, base, stood, sent_mark);
    const bool right = verdict == Verdict::kStood  ? is(trio.stood)
                       : verdict == Verdict::kSent ? is(trio.sent)
                                                   : is(trio.stood) || is(trio.sent);
    if (!right) world.Fail("merged by the wrong side: " + Name(heard.change.key, name));
    const bool both = is(trio.stood) && is(trio.sent) && !IsSame(trio.base, trio.sent);
    Mark mark = is(trio.stood) ? MarkOf(stood, name) : sent_mark;
    if (both && !IsClamped(heard.change, heard.now)) {
      if (!mark.time.has_value() || !sent_mark.time.has_value()) {
        mark = {};
      } else if (std::pair(*sent_mark.time, sent_mark.writer) >
                 std::pair(*mark.time, mark.writer)) {
        mark = sent_mark;
      }
    }
    if (now != nullptr) marks[name] = mark;
    stood_lost |= !is(trio.stood) && !IsSame(trio.base, trio.stood) && trio.stood != nullptr;
  }
  marks_[{stands.key, stands.revision}] = std::move(marks);
  if (!is_new && sent_mark.time.has_value() && !IsClamped(heard.change, heard.now)) {
    const auto time = times_.find({stands.key, stands.revision});
    if (time != times_.end()) time->second = std::max(time->second, *sent_mark.time);
  }
  if (!is_new && !sent_mark.time.has_value()) times_.erase({stands.key, stands.revision});
  if (stood_lost) losers_.emplace_back(stood.key, FieldsToJson(stood.fields));
  if (sent != stands.fields) losers_.emplace_back(stood.key, FieldsToJson(sent));
}

MergeReferee::Verdict MergeReferee::VerdictOf(World& world, const Heard& heard,
                                              const std::string& name, const Trio& trio,
                                              const Version& base, const Version& stood,
                                              const Mark& sent_mark) const {
  if (trio.sent == nullptr || IsSame(trio.base, trio.sent)) return Verdict::kStood;
  if (trio.stood == nullptr) return Verdict::kSent;
  if (*trio.stood == *trio.sent) return Verdict::kStood;
  if (IsSame(trio.base, trio.stood)) {
    if (trio.base == nullptr) return Verdict::kSent;
    const Mark before = MarkOf(base, name);
    const Mark now = MarkOf(stood, name);
    if (!before.time.has_value() || !now.time.has_value()) return Verdict::kEither;
    if (before.time == now.time) return Verdict::kSent;
    world.Count("merged what was changed and changed back");
  }
  if (IsClamped(heard.change, heard.now)) return Verdict::kStood;
  return Compare(world, MarkOf(stood, name), sent_mark, trio, stood);
}

MergeReferee::Verdict MergeReferee::Compare(World& world, const Mark& stood, const Mark& sent,
                                            const Trio& trio, const Version& whole) const {
  if (!stood.time.has_value() || !sent.time.has_value()) return Verdict::kEither;
  world.Count("merged what both had changed");
  const std::pair theirs(*stood.time, stood.writer);
  const std::pair ours(*sent.time, sent.writer);
  const bool sent_is_later = ours != theirs ? ours > theirs : [&] {
    std::string a;
    std::string b;
    AppendCanonical(*trio.sent, &a);
    AppendCanonical(*trio.stood, &b);
    return a > b;
  }();
  const std::optional<TimeNs> whole_time = TimeOf(whole);
  if (sent_is_later && whole_time.has_value() && *whole_time > *sent.time) {
    world.Count("merged by the field's time against the row's");
  }
  return sent_is_later ? Verdict::kSent : Verdict::kStood;
}

}  // namespace ptdoc::sync::sim
