#include "common/merge/fields.h"

#include <algorithm>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

// When a field was last changed, and by whom.
struct Stamp {
  TimeNs time = kSmallestTime;
  absl::string_view writer;
};

// Below 0 if `a` is the earlier one.
int CompareStamps(const Stamp& a, const Stamp& b) {
  if (a.time != b.time) return a.time < b.time ? -1 : 1;
  return a.writer.compare(b.writer);
}

// Walks over the fields of one version; names must be asked for in their order.
class Walk {
 public:
  explicit Walk(const Candidate& side) : side_(side), next_(side.fields.begin()) {
    const size_t count = side.fields.size();
    PT_CHECK(side.field_times.empty() || side.field_times.size() == count);
    PT_CHECK(side.field_writers.empty() || side.field_writers.size() == count);
  }

  bool AtEnd() const { return next_ == side_.fields.end(); }
  const std::string& NextName() const { return next_->name; }

  // Null where the version does not know the field.
  const Value* Find(const std::string& name) {
    while (!AtEnd() && next_->name < name) Step();
    return AtEnd() || next_->name != name ? nullptr : &next_->value;
  }
  // Of the field that was found last.
  Stamp stamp() const {
    Stamp stamp{side_.time, side_.clamped ? absl::string_view() : side_.device};
    const bool by_row = PT_PLANTED("a merge looks at the time of the row");
    if (!side_.field_times.empty() && !by_row) stamp.time = side_.field_times[index_];
    if (!side_.field_writers.empty()) stamp.writer = side_.field_writers[index_];
    return stamp;
  }
  void Pass(const std::string& name) {
    if (!AtEnd() && next_->name == name) Step();
  }

 private:
  void Step() {
    ++next_;
    ++index_;
  }

  const Candidate& side_;
  decltype(std::declval<const Fields&>().begin()) next_;
  size_t index_ = 0;
};

// Where only one side knows a column, NULL is as good as its absence.
bool IsSame(const Value* a, const Value* b) {
  if (a != nullptr && b != nullptr) return *a == *b;
  const Value* known = a != nullptr ? a : b;
  return known == nullptr || known->is_null();
}

std::string Canonical(const Value& value) {
  std::string bytes;
  AppendCanonical(value, &bytes);
  return bytes;
}

class Merging {
 public:
  Merging(const Candidate& base, const Candidate& current, const Candidate& incoming)
      : base_(base), current_(current), incoming_(incoming), incoming_clamped_(incoming.clamped) {}

  MergedFields Take() && {
    while (!current_.AtEnd() || !incoming_.AtEnd()) {
      const bool of_current =
          !current_.AtEnd() && (incoming_.AtEnd() || current_.NextName() <= incoming_.NextName());
      const std::string name = of_current ? current_.NextName() : incoming_.NextName();
      MergeOne(name);
      current_.Pass(name);
      incoming_.Pass(name);
    }
    merged_.fields = Fields(std::move(fields_));
    return std::move(merged_);
  }

 private:
  void MergeOne(const std::string& name) {
    const Value* base = base_.Find(name);
    const Value* current = current_.Find(name);
    const Value* incoming = incoming_.Find(name);
    if (incoming == nullptr || IsSame(base, incoming)) {
      // Made anew without the column, current has nothing to keep.
      if (current != nullptr) Keep(name, *current, current_.stamp());
    } else if (current != nullptr && *current == *incoming) {
      const bool raises =
          !incoming_clamped_ && CompareStamps(incoming_.stamp(), current_.stamp()) > 0;
      Keep(name, *current, raises ? incoming_.stamp() : current_.stamp());
    } else if (!IsChangedInCurrent(base, current)) {
      Keep(name, *incoming, incoming_.stamp());
    } else {
      Choose(name, *current, *incoming);
    }
  }

  bool IsChangedInCurrent(const Value* base, const Value* current) const {
    if (!IsSame(base, current)) return current != nullptr;
    if (PT_PLANTED("a merge does not see what was changed back")) return false;
    return base != nullptr && current != nullptr && base_.stamp().time != current_.stamp().time;
  }

  void Choose(const std::string& name, const Value& current, const Value& incoming) {
    if (IsIncomingLater(current, incoming)) {
      merged_.current_lost = true;
      merged_.current_lost_value |= !current.is_null();
      NoteLoser(current_.stamp().writer);
      return Keep(name, incoming, incoming_.stamp());
    }
    merged_.incoming_lost = true;
    merged_.incoming_lost_value |= !incoming.is_null();
    Keep(name, current, current_.stamp());
  }

  bool IsIncomingLater(const Value& current, const Value& incoming) const {
    if (incoming_clamped_) return false;
    if (PT_PLANTED("a merge keeps what stands where both changed")) return false;
    const int order = CompareStamps(incoming_.stamp(), current_.stamp());
    return order != 0 ? order > 0 : Canonical(incoming) > Canonical(current);
  }

  void NoteLoser(absl::string_view writer) {
    const auto known = std::find(merged_.losers.begin(), merged_.losers.end(), writer);
    if (known == merged_.losers.end()) merged_.losers.emplace_back(writer);
  }

  void Keep(const std::string& name, const Value& value, const Stamp& stamp) {
    fields_.push_back({name, value});
    merged_.times.push_back(stamp.time);
    merged_.writers.emplace_back(stamp.writer);
  }

  Walk base_;
  Walk current_;
  Walk incoming_;
  const bool incoming_clamped_;
  std::vector<Field> fields_;
  MergedFields merged_;
};

}  // namespace

MergedFields MergeFields(const Candidate& base, const Candidate& current,
                         const Candidate& incoming) {
  PT_CHECK(!base.deleted && !current.deleted && !incoming.deleted);
  MergedFields merged = Merging(base, current, incoming).Take();
  merged.is_current = merged.fields == current.fields;
  merged.is_incoming = merged.fields == incoming.fields;
  return merged;
}

}  // namespace ptdoc::sync
