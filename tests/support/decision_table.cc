#include "tests/support/decision_table.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace ptdoc::sync {
namespace {

constexpr TimeNs kMinute = 60'000'000'000;
constexpr TimeNs kHour = 60 * kMinute;
constexpr TimeNs kNine = 9 * kHour;
constexpr TimeNs kTen = 10 * kHour;
constexpr TimeNs kFivePastTen = kTen + 5 * kMinute;
constexpr Revision kHeldRevision = 42;
constexpr Revision kOlderRevision = 41;
constexpr char kHeldDevice[] = "tablet-0";

const EntityKey& Key() {
  static const EntityKey* const key = new EntityKey{"ClinicalNote", "n1"};
  return *key;
}

Candidate MakeCandidate(Arriving arriving, absl::string_view text, TimeNs time,
                        absl::string_view device) {
  Candidate version;
  version.time = time;
  version.device = std::string(device);
  version.deleted = arriving == Arriving::kDelete;
  if (!version.deleted) version.fields.Set("Text", Value::Text(std::string(text)));
  if (arriving == Arriving::kSign) version.fields.Set("SignatureHash", Value::Text("9f2c"));
  if (arriving == Arriving::kLock) version.fields.Set("IsLocked", Value::Integer(1));
  version.content_hash = ContentHash(Key(), version.deleted, version.fields);
  return version;
}

Arriving ArrivingOf(Held held) {
  switch (held) {
    case Held::kNone:
    case Held::kLive:
      return Arriving::kEdit;
    case Held::kDeleted:
      return Arriving::kDelete;
    case Held::kSigned:
      return Arriving::kSign;
    case Held::kLocked:
      return Arriving::kLock;
  }
  return Arriving::kEdit;
}

absl::string_view HeldName(Held held) {
  switch (held) {
    case Held::kNone:
      return "nothing";
    case Held::kLive:
      return "a draft";
    case Held::kDeleted:
      return "a tombstone";
    case Held::kSigned:
      return "a signed version";
    case Held::kLocked:
      return "a locked version";
  }
  return "";
}

absl::string_view ArrivingName(Arriving arriving) {
  switch (arriving) {
    case Arriving::kEdit:
      return "edit";
    case Arriving::kDelete:
      return "delete";
    case Arriving::kSign:
      return "sign";
    case Arriving::kLock:
      return "lock";
    case Arriving::kSame:
      return "same content";
  }
  return "";
}

std::string Row(const std::vector<std::string>& cells) {
  return absl::StrCat("| ", absl::StrJoin(cells, " | "), " |\n");
}

std::string Header(const std::vector<std::string>& cells) {
  return absl::StrCat(Row(cells), "|",
                      absl::StrJoin(std::vector<std::string>(cells.size(), "---"), "|"), "|\n");
}

// "8 LocalWins", "6 Accepted".
std::string Render(const Decision& decision) {
  const absl::string_view name = decision.resolution == Resolution::kNone
                                     ? OutcomeName(decision.outcome)
                                     : ResolutionName(decision.resolution);
  return absl::StrCat(decision.rule, " ", name);
}

std::string RenderCase(const DecisionCase& decision_case) {
  return IsPossible(decision_case) ? Render(Decide(decision_case)) : "-";
}

// One line of the first table: all that can come of `arriving` upon `held`.
std::string OneArrivalRow(Held held, Arriving arriving) {
  constexpr ConflictPolicy kLww = ConflictPolicy::kLastWriteWins;
  constexpr ConflictPolicy kManual = ConflictPolicy::kManual;
  constexpr ConflictPolicy kMerge = ConflictPolicy::kMergeFields;
  const auto cell = [held, arriving](BaseKind base, ConflictPolicy policy, bool later) {
    return RenderCase({policy, held, arriving, base, later});
  };
  return Row({std::string(HeldName(held)), std::string(ArrivingName(arriving)),
              cell(BaseKind::kFits, kLww, true), cell(BaseKind::kOlder, kLww, true),
              cell(BaseKind::kOlder, kLww, false), cell(BaseKind::kOlder, kManual, true),
              cell(BaseKind::kOlder, kMerge, true), cell(BaseKind::kNone, kLww, true),
              cell(BaseKind::kNone, kLww, false), cell(BaseKind::kNone, kManual, true),
              cell(BaseKind::kNoneIntegerKey, kLww, true)});
}

std::string OneArrivalTable() {
  std::string out =
      Header({"the service holds", "arriving", "base is what it holds", "older base, later",
              "older base, earlier", "older base, `manual`", "older base, later, `merge_fields`",
              "no base, later", "no base, earlier", "no base, `manual`", "no base, integer key"});
  for (const Held held : kAllHeld) {
    for (const Arriving arriving : kAllArriving) {
      if (held == Held::kNone && arriving == Arriving::kSame) continue;
      out += OneArrivalRow(held, arriving);
    }
  }
  return out;
}

// "6, 8 LocalWins: B stands".
std::string RenderBoth(const TwoArrivals& both, const Candidate& a, const Candidate& b) {
  const bool is_a = both.head.has_value() && SameContentAs(*both.head, a);
  const bool is_b = both.head.has_value() && SameContentAs(*both.head, b);
  const char* stands = is_a && is_b ? "both" : is_a ? "A" : is_b ? "B" : "before";
  return absl::StrCat(both.first.rule, ", ", Render(both.second), ": ", stands);
}

// A device that never saw an entity, or sees it deleted, has nothing to delete.
bool CanMake(Held before, Arriving arriving) {
  const bool something_there = before != Held::kNone && before != Held::kDeleted;
  return arriving != Arriving::kSame && (something_there || arriving != Arriving::kDelete);
}

// What comes of two changes under each policy, in both orders.
std::vector<std::string> TwoArrivalsCells(Held before, Arriving does_a, Arriving does_b) {
  const Candidate a = MakeVersion(does_a, kTen, "tablet-a");
  const Candidate b = MakeVersion(does_b, kFivePastTen, "tablet-b");
  std::vector<std::string> cells;
  for (const ConflictPolicy policy : kAllPolicies) {
    cells.push_back(RenderBoth(DeliverBoth(policy, before, a, b), a, b));
    cells.push_back(RenderBoth(DeliverBoth(policy, before, b, a), a, b));
  }
  return cells;
}

std::string TwoArrivalsRow(Held before, absl::string_view does_a, absl::string_view does_b,
                           const std::vector<std::string>& cells) {
  std::vector<std::string> row = {std::string(HeldName(before)), std::string(does_a),
                                  std::string(does_b)};
  row.insert(row.end(), cells.begin(), cells.end());
  return Row(row);
}

// The rows of one beginning; a single one where all come out the same.
std::string TwoArrivalsRows(Held before) {
  std::string rows;
  std::vector<std::vector<std::string>> outcomes;
  for (const Arriving does_a : kAllArriving) {
    for (const Arriving does_b : kAllArriving) {
      if (!CanMake(before, does_a) || !CanMake(before, does_b)) continue;
      outcomes.push_back(TwoArrivalsCells(before, does_a, does_b));
      rows += TwoArrivalsRow(before, ArrivingName(does_a), ArrivingName(does_b), outcomes.back());
    }
  }
  const bool all_the_same =
      std::all_of(outcomes.begin(), outcomes.end(),
                  [&outcomes](const auto& cells) { return cells == outcomes.front(); });
  return all_the_same ? TwoArrivalsRow(before, "any", "any", outcomes.front()) : rows;
}

std::string TwoArrivalsTable() {
  std::string out = Header({"before", "A at 10:00", "B at 10:05", "A arrives first",
                            "B arrives first", "`manual`, A first", "`manual`, B first",
                            "`merge_fields`, A first", "`merge_fields`, B first"});
  for (const Held before : kAllHeld) out += TwoArrivalsRows(before);
  return out;
}

// As the engine makes it: the whole with time and device of the later of the two.
Candidate MergedCandidate(const Candidate& current, Candidate incoming, const Decision& decision) {
  Candidate made = decision.raises_time ? std::move(incoming) : current;
  made.fields = decision.merged->fields;
  made.field_times = decision.merged->times;
  made.field_writers = decision.merged->writers;
  made.content_hash = ContentHash(Key(), false, made.fields);
  return made;
}

}  // namespace

Candidate MakeVersion(Arriving arriving, TimeNs time, absl::string_view device) {
  PT_CHECK(arriving != Arriving::kSame);
  return MakeCandidate(arriving, absl::StrCat("as on ", device), time, device);
}

Candidate MakeHeld(Held held) {
  PT_CHECK(held != Held::kNone);
  return MakeCandidate(ArrivingOf(held), "as held", kNine, kHeldDevice);
}

bool SameContentAs(const Candidate& a, const Candidate& b) {
  return a.content_hash == b.content_hash;
}

bool IsPossible(const DecisionCase& decision_case) {
  const bool needs_current =
      decision_case.base == BaseKind::kFits || decision_case.arriving == Arriving::kSame;
  return decision_case.held != Held::kNone || !needs_current;
}

std::vector<DecisionCase> AllDecisionCases() {
  std::vector<DecisionCase> cases;
  for (const ConflictPolicy policy : kAllPolicies) {
    for (const Held held : kAllHeld) {
      for (const Arriving arriving : kAllArriving) {
        for (const BaseKind base : kAllBases) {
          for (const bool later : {true, false}) {
            const DecisionCase made = {policy, held, arriving, base, later};
            if (IsPossible(made)) cases.push_back(made);
          }
        }
      }
    }
  }
  return cases;
}

Decision Decide(const DecisionCase& decision_case) {
  PT_CHECK(IsPossible(decision_case));
  TypePolicy policy;
  policy.policy = decision_case.policy;
  std::optional<Candidate> current;
  if (decision_case.held != Held::kNone) current = MakeHeld(decision_case.held);
  if (current.has_value()) current->time = kTen;
  if (current.has_value()) current->revision = kHeldRevision;
  const bool same = decision_case.arriving == Arriving::kSame;
  Candidate incoming = same ? *current : MakeVersion(decision_case.arriving, kTen, "tablet-a");
  incoming.revision = 0;
  incoming.time = decision_case.incoming_is_later ? kFivePastTen : kNine;
  Question question;
  question.policy = &policy;
  question.base_is_current = decision_case.base == BaseKind::kFits;
  question.base_revision = question.base_is_current                 ? kHeldRevision
                           : decision_case.base == BaseKind::kOlder ? kOlderRevision
                                                                    : 0;
  question.collision_possible = decision_case.base == BaseKind::kNoneIntegerKey;
  const Candidate older = MakeCandidate(Arriving::kEdit, "as before", kNine - 1, kHeldDevice);
  if (decision_case.base == BaseKind::kOlder) question.base = &older;
  question.current = current.has_value() ? &*current : nullptr;
  question.incoming = &incoming;
  return Resolve(question);
}

Candidate Stamped(Candidate version, const Candidate* base) {
  const std::string writer = version.clamped ? std::string() : version.device;
  version.field_times.assign(version.fields.size(), version.time);
  version.field_writers.assign(version.fields.size(), writer);
  if (base == nullptr) return version;
  size_t index = 0;
  for (const Field& field : version.fields) {
    size_t known = 0;
    for (const Field& before : base->fields) {
      if (before == field) {
        version.field_times[index] = base->field_times[known];
        version.field_writers[index] = base->field_writers[known];
      }
      ++known;
    }
    ++index;
  }
  return version;
}

void OneEntity::Start(Candidate version) {
  version.revision = ++last_revision_;
  if (version.field_times.empty()) version = Stamped(std::move(version), nullptr);
  versions_[version.revision] = version;
  head_ = std::move(version);
}

Decision OneEntity::Arrive(const Arrival& arrival) {
  Question question;
  question.policy = &policy_;
  question.base_revision = arrival.base_revision;
  question.base_is_current = arrival.base_revision > 0 && arrival.base_revision == revision();
  question.current = head_.has_value() ? &*head_ : nullptr;
  const auto base = versions_.find(arrival.base_revision);
  if (base != versions_.end()) question.base = &base->second;
  const Candidate incoming = Stamped(arrival.version, question.base);
  question.incoming = &incoming;
  const Decision decision = Resolve(question);
  if (decision.merged.has_value()) {
    Candidate made = MergedCandidate(*head_, incoming, decision);
    if (decision.winner == Winner::kIncoming) Start(std::move(made));
    if (decision.winner == Winner::kCurrent) Raise(std::move(made));
  } else if (decision.winner == Winner::kIncoming) {
    Start(incoming);
  } else if (decision.outcome == Outcome::kUnchanged && !incoming.clamped) {
    RaiseAsWritten(incoming, decision);
  }
  return decision;
}

// The head with other times.
void OneEntity::Raise(Candidate head) {
  head.revision = head_->revision;
  head_ = std::move(head);
  versions_[head_->revision] = *head_;
}

void OneEntity::RaiseAsWritten(const Candidate& incoming, const Decision& decision) {
  Candidate head = *head_;
  if (decision.raises_time) {
    head.time = incoming.time;
    head.device = incoming.device;
    head.clamped = false;
  }
  for (size_t i = 0; i < head.field_times.size() && !head.deleted; ++i) {
    const auto theirs = std::tie(incoming.field_times[i], incoming.field_writers[i]);
    const auto ours = std::tie(head.field_times[i], head.field_writers[i]);
    if (theirs <= ours) continue;
    head.field_times[i] = incoming.field_times[i];
    head.field_writers[i] = incoming.field_writers[i];
  }
  Raise(std::move(head));
}

TwoArrivals DeliverBoth(ConflictPolicy policy, Held before, const Candidate& first,
                        const Candidate& second) {
  OneEntity entity(policy);
  if (before != Held::kNone) entity.Start(MakeHeld(before));
  const Revision base = entity.revision();
  TwoArrivals both;
  both.first = entity.Arrive({first, base});
  both.second = entity.Arrive({second, base});
  both.head = entity.head();
  return both;
}

std::string DecisionTableBlock() {
  return absl::StrCat(kTableBegin, "\n#### One change arrives\n\n", OneArrivalTable(),
                      "\n#### Two changes made from one base, in both orders of arrival\n\n",
                      TwoArrivalsTable(), kTableEnd);
}

absl::string_view FindTableBlock(absl::string_view page) {
  const size_t begin = page.find(kTableBegin);
  const size_t end = page.find(kTableEnd);
  if (begin == absl::string_view::npos || end == absl::string_view::npos || end < begin) return "";
  return page.substr(begin, end + kTableEnd.size() - begin);
}

}  // namespace ptdoc::sync
