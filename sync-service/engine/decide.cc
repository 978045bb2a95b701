#include "sync-service/engine/decide.h"

#include <algorithm>
#include <utility>

#include "common/base/planted.h"
#include "common/base/status.h"
#include "sync-service/engine/answer.h"
#include "sync-service/engine/archive.h"
#include "sync-service/engine/validate.h"

namespace ptdoc::sync {
namespace {

// Rows of the decision table (docs/CONFLICTS.md), and steps before it.
constexpr char kRuleRefused[] = "2";
constexpr char kRuleCollision[] = "6c";
constexpr char kRuleBase[] = "base";
constexpr char kRuleReoffer[] = "reoffer";

// A version as the table compares it. Borrows fields and hash while it lives:
// rows are long, and there are up to three for each decision.
class Borrowed {
 public:
  // `stored` may be null, and must outlive this.
  Borrowed(StoredVersion* stored, bool clamped) : stored_(stored) {
    if (stored_ == nullptr) return;
    candidate_.revision = stored_->version.revision;
    candidate_.deleted = stored_->version.deleted;
    candidate_.fields = std::move(stored_->version.fields);
    candidate_.time = stored_->version.last_modified;
    candidate_.clamped = clamped;
    candidate_.device = RankDevice(*stored_);
    candidate_.content_hash = std::move(stored_->content_hash);
    candidate_.field_times = std::move(stored_->field_times);
    candidate_.field_writers = std::move(stored_->field_writers);
  }
  ~Borrowed() {
    if (stored_ == nullptr) return;
    stored_->version.fields = std::move(candidate_.fields);
    stored_->content_hash = std::move(candidate_.content_hash);
    stored_->field_times = std::move(candidate_.field_times);
    stored_->field_writers = std::move(candidate_.field_writers);
  }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;

  const Candidate* get() const { return stored_ == nullptr ? nullptr : &candidate_; }

 private:
  StoredVersion* stored_;
  Candidate candidate_;
};

// Only clamping makes an effective time less than the claimed one. Somebody who
// raised it since was not clamped.
bool WasClamped(const std::optional<StoredVersion>& stored) {
  return stored.has_value() && stored->raised_by.empty() &&
         stored->claimed_time > stored->version.last_modified;
}

StoredVersion* PointerTo(std::optional<StoredVersion>& stored) {
  return stored.has_value() ? &*stored : nullptr;
}

// The service goes on holding the head.
void HoldHead(const Head& head, PlannedResult* planned) {
  planned->version = head.pending;
  if (planned->version.has_value() || !head.stored.has_value()) return;
  planned->result.revision = head.stored->version.revision;
  planned->result.check = head.stored->version.check;
}

ChangeResult Refusal(const EntityKey& key, const Defect& defect, absl::string_view rule,
                     bool retryable) {
  ChangeResult result;
  result.key = key;
  result.outcome = Outcome::kFailed;
  result.rule = std::string(rule);
  result.error_code = defect.code;
  result.error_message = defect.message;
  result.retryable = retryable;
  return result;
}

// The times of the fields rise each by itself: two writings of one content may
// have changed different fields of it. False if none does.
bool RaiseFields(const StoredVersion& written, const StoredVersion& stored, RaisedTime* raised) {
  PT_CHECK(stored.field_times.size() == written.field_times.size());
  const bool with_writers = !written.field_writers.empty();
  if (with_writers && raised->field_writers.empty()) {
    raised->field_writers.assign(stored.field_times.size(), stored.device);
  }
  bool any = false;
  for (size_t i = 0; i < written.field_times.size(); ++i) {
    const bool tie = with_writers && written.field_times[i] == stored.field_times[i] &&
                     written.field_writers[i] > raised->field_writers[i];
    if (!tie && written.field_times[i] <= stored.field_times[i]) continue;
    any = true;
    raised->field_times[i] = written.field_times[i];
    if (with_writers) raised->field_writers[i] = written.field_writers[i];
  }
  return any;
}

bool IsCollision(const PlannedResult& planned) {
  return planned.result.resolution == Resolution::kKeyCollision;
}

}  // namespace

absl::StatusOr<BatchPlan> BatchDecider::Decide() {
  plan_.results.reserve(batch_.changes.size());
  plan_.versions.reserve(batch_.changes.size());
  pending_.reserve(batch_.changes.size());
  for (Change& change : batch_.changes) PT_RETURN_IF_ERROR(DecideOne(&change));
  if (std::any_of(plan_.results.begin(), plan_.results.end(), IsCollision)) RefuseBatch();
  return std::move(plan_);
}

absl::Status BatchDecider::DecideOne(Change* taken) {
  const Change& change = *taken;
  const Defect defect = CheckChange(change, batch_.who, options_);
  if (defect.code == ErrorCode::kNone) return DecideReadable(taken);
  AddFailure(change.key, defect, kRuleRefused, /*retryable=*/false);
  if (PT_PLANTED("an error message quotes the row")) {
    for (const Field& field : change.fields) {
      plan_.results.back().result.error_message += field.value.bytes();
    }
  }
  return absl::OkStatus();
}

absl::Status BatchDecider::DecideReadable(Change* taken) {
  const Change& change = *taken;
  PT_ASSIGN_OR_RETURN(Head head, FindHead(change.key));
  PT_ASSIGN_OR_RETURN(Base base, FindBase(reader_, batch_.who.tenant, change, head));
  if (base.kind == Base::Kind::kLacking && !IsWholeByItself(change)) {
    AddFailure(change.key,
               {ErrorCode::kBaseUnknown,
                "the service does not have the version that this change was made from; send the "
                "row with all its fields"},
               kRuleBase, /*retryable=*/true);
    return absl::OkStatus();
  }
  StoredVersion incoming = MakeIncoming(taken, head, base, batch_.who, options_, now_);
  const size_t size = incoming.version.fields.ByteSize();
  if (size > options_.max_row_bytes) {
    AddFailure(change.key, RowTooLarge(size, options_.max_row_bytes), kRuleRefused,
               /*retryable=*/false);
    return absl::OkStatus();
  }
  PT_ASSIGN_OR_RETURN(const bool old_content, IsOldContent(change, head, incoming));
  if (old_content) {
    AddOldContent(change, head);
    return absl::OkStatus();
  }
  if (!HasRoom(change, size, kBatchContentBytesMax, &written_bytes_)) return absl::OkStatus();
  const Decision decision = Ask(change, head, base, incoming);
  if (decision.merged.has_value() && !HasRoom(change, decision.merged->fields.ByteSize(),
                                              kBatchContentBytesMax, &written_bytes_)) {
    return absl::OkStatus();
  }
  Record(change, head, base, std::move(incoming), decision);
  return absl::OkStatus();
}

absl::StatusOr<Head> BatchDecider::FindHead(const EntityKey& key) {
  Head head;
  const auto pending = pending_.find(KeyView(key.type, key.id));
  if (pending != pending_.end()) {
    head.stored = plan_.versions[pending->second.version].stored;
    head.pending = pending->second.version;
    head.made_from = pending->second.made_from;
    if (pending->second.as_sent != nullptr) head.as_sent = *pending->second.as_sent;
    return head;
  }
  PT_ASSIGN_OR_RETURN(head.stored, reader_.Head(batch_.who.tenant, key));
  const auto raised = plan_.raised.find(key);
  if (raised == plan_.raised.end()) return head;
  head.stored->version.last_modified = raised->second.time;
  head.stored->raised_by = raised->second.device;
  head.stored->field_times = raised->second.field_times;
  head.stored->field_writers = raised->second.field_writers;
  return head;
}

absl::StatusOr<bool> BatchDecider::IsOldContent(const Change& change, const Head& head,
                                                const StoredVersion& incoming) {
  if (!change.reoffer || PT_PLANTED("old content is taken for new")) return false;
  // What is held now is row 3, which also keeps the greater time.
  if (head.stored.has_value() && head.stored->content_hash == incoming.content_hash) return false;
  const std::string as_sent = ContentHash(change.key, incoming.version.deleted, change.fields);
  PT_ASSIGN_OR_RETURN(const bool known,
                      reader_.KnowsContent(batch_.who.tenant, change.key, as_sent));
  if (known || as_sent == incoming.content_hash) return known;
  return reader_.KnowsContent(batch_.who.tenant, change.key, incoming.content_hash);
}

Decision BatchDecider::Ask(const Change& change, Head& head, Base& base,
                           StoredVersion& incoming) const {
  const Borrowed candidate(&incoming, IsClamped(change));
  const Borrowed current(PointerTo(head.stored), WasClamped(head.stored));
  const Borrowed older_base(PointerTo(base.stored), WasClamped(base.stored));

  Question question;
  question.policy = &options_.policies.For(change.key.type);
  question.base_revision = change.reoffer ? 0 : change.base_revision;
  question.base_is_current = base.is_current;
  // For a deletion, too: what the device deletes is the thing that it knows by
  // this number, not the one that stands here.
  question.collision_possible = change.integer_key && !change.reoffer && change.base_revision == 0;
  question.current = current.get();
  if (!IsRecreated(change)) question.base = base.is_current ? current.get() : older_base.get();
  question.incoming = candidate.get();
  Decision decision = Resolve(question);
  // Each side has room for itself alone: then the later of the two, whole.
  if (decision.merged.has_value() && decision.merged->fields.ByteSize() > options_.max_row_bytes) {
    question.base = nullptr;
    decision = Resolve(question);
  }
  return decision;
}

void BatchDecider::Record(const Change& change, const Head& head, const Base& base,
                          StoredVersion&& incoming, const Decision& decision) {
  PlannedResult& planned = plan_.results.emplace_back();
  ChangeResult& result = planned.result;
  result.key = change.key;
  result.outcome = decision.outcome;
  result.resolution = decision.resolution;
  result.rule = decision.rule;
  std::optional<StoredVersion> as_sent;
  if (decision.merged.has_value()) {
    as_sent = incoming;
    incoming = MakeMerged(std::move(incoming), *head.stored, decision);
  }
  StoredVersion& made = incoming;
  const Losses losses =
      AddArchives(head, base, as_sent.has_value() ? *as_sent : made, made, decision);
  result.conflict_id = losses.of_incoming.empty() ? losses.of_current : losses.of_incoming;
  made.version.conflict = NoticeOf(head, decision, losses.of_current);
  if (decision.winner == Winner::kIncoming) {
    if (as_sent.has_value() && decision.merged->is_incoming) as_sent.reset();
    planned.version = AddVersion(change, head, std::move(made), std::move(as_sent));
  } else if (decision.outcome == Outcome::kFailed) {
    result.error_code = decision.error;
    result.error_message = std::string(ResolutionReason(decision.resolution));
  } else {
    HoldHead(head, &planned);
    if (decision.outcome == Outcome::kUnchanged || as_sent.has_value()) {
      RaiseTime(head, made, IsClamped(change), decision);
    }
  }
}

BatchDecider::Losses BatchDecider::AddArchives(const Head& head, const Base& base,
                                               const StoredVersion& incoming,
                                               const StoredVersion& made,
                                               const Decision& decision) {
  if (!decision.archive_incoming && !decision.archive_current) return {};
  const StoredVersion* current = head.stored.has_value() ? &*head.stored : nullptr;
  Loss loss;
  loss.key = incoming.version.key;
  loss.resolution = decision.resolution;
  loss.rule = decision.rule;
  loss.detected_at = now_;
  loss.base = BaseVersion(base, head);
  Losses losses;
  const auto archive = [&](const StoredVersion* loser, std::optional<bool> is_open) {
    loss.conflict_id = NewUuid(rng_);
    loss.loser = loser;
    loss.winner = decision.winner == Winner::kIncoming ? &made : current;
    loss.is_open = is_open;
    if (!PT_PLANTED("skip the archive")) plan_.archives.push_back(MakeArchive(loss));
    return loss.conflict_id;
  };
  std::optional<bool> incoming_is_open;
  std::optional<bool> current_is_open;
  if (decision.merged.has_value()) {
    incoming_is_open = decision.merged->incoming_lost_value;
    current_is_open = decision.merged->current_lost_value;
  }
  if (decision.archive_incoming) losses.of_incoming = archive(&incoming, incoming_is_open);
  if (decision.archive_current) losses.of_current = archive(current, current_is_open);
  return losses;
}

// The device whose accepted version lost keeps its row, too. What lost in a
// merged one may be a third device's.
std::optional<ConflictNotice> BatchDecider::NoticeOf(const Head& head, const Decision& decision,
                                                     const std::string& conflict_id) const {
  if (!decision.archive_current || head.pending.has_value()) return std::nullopt;
  std::string device = head.stored->device;
  if (decision.merged.has_value()) {
    const std::vector<std::string>& losers = decision.merged->losers;
    const bool is_one = std::find(losers.begin(), losers.end(), device) != losers.end();
    // Who wrote with a clamped time is not known by name.
    if (!is_one && !losers.front().empty()) device = losers.front();
  }
  if (device == batch_.who.device) return std::nullopt;
  return ConflictNotice{conflict_id, decision.resolution, device, head.stored->version.revision};
}

size_t BatchDecider::AddVersion(const Change& change, const Head& head, StoredVersion&& made,
                                std::optional<StoredVersion>&& as_sent) {
  const size_t index = plan_.versions.size();
  Pending& pending = pending_[KeyView(change.key.type, change.key.id)];
  pending = {index, change.reoffer ? 0 : change.base_revision, nullptr};
  if (as_sent.has_value()) pending.as_sent = std::make_unique<StoredVersion>(*std::move(as_sent));
  plan_.raised.erase(change.key);  // No head any more.
  std::optional<Revision> previous;
  if (!head.pending.has_value()) {
    previous = head.stored.has_value() ? head.stored->version.revision : 0;
  }
  plan_.versions.emplace_back(std::move(made), previous);
  return index;
}

bool BatchDecider::IsClamped(const Change& change) const {
  return ptdoc::sync::IsClamped(change.last_modified, ToTimeNs(now_),
                                absl::ToInt64Nanoseconds(options_.max_clock_skew));
}

// `written` has the head's content: as it was sent (row 3), or as it was merged.
void BatchDecider::RaiseTime(const Head& head, const StoredVersion& written, bool clamped,
                             const Decision& decision) {
  if (clamped) return;
  const StoredVersion& stored = *head.stored;
  RaisedTime raised{stored.version.revision, stored.version.last_modified, stored.raised_by,
                    stored.field_times, stored.field_writers};
  if (decision.raises_time) {
    raised.time = written.version.last_modified;
    raised.device = written.device;
  }
  const bool fields_rise = RaiseFields(written, stored, &raised);
  if (!decision.raises_time && !fields_rise) return;
  if (!head.pending.has_value()) {
    plan_.raised[stored.version.key] = std::move(raised);
    return;
  }
  StoredVersion& pending = plan_.versions[*head.pending].stored;
  pending.version.last_modified = raised.time;
  pending.raised_by = std::move(raised.device);
  pending.field_times = std::move(raised.field_times);
  pending.field_writers = std::move(raised.field_writers);
}

void BatchDecider::AddFailure(const EntityKey& key, const Defect& defect, absl::string_view rule,
                              bool retryable) {
  plan_.results.push_back({Refusal(key, defect, rule, retryable), std::nullopt});
}

bool BatchDecider::HasRoom(const Change& change, size_t bytes, size_t bytes_max, size_t* used) {
  const bool has_room = *used == 0 || *used + bytes <= bytes_max;
  if (has_room) {
    *used += bytes;
    return true;
  }
  // Nor do those behind it: a child must not be taken without its parent.
  *used = std::max(*used, bytes_max) + 1;
  AddFailure(change.key,
             {ErrorCode::kBatchRefused,
              "this change and those before it in its batch are too large together; send the rest "
              "again in a batch of its own"},
             kRuleRefused, /*retryable=*/true);
  return false;
}

void BatchDecider::AddOldContent(const Change& change, const Head& head) {
  const size_t bytes = head.stored.has_value() ? AnswerBytes(head.stored->version) : 0;
  if (!HasRoom(change, bytes, kAnswerBytesMax, &answer_bytes_)) return;
  PlannedResult planned;
  planned.result.key = change.key;
  planned.result.outcome = Outcome::kUnchanged;
  planned.result.rule = kRuleReoffer;
  HoldHead(head, &planned);
  plan_.results.push_back(std::move(planned));
}

void BatchDecider::RefuseBatch() {
  plan_.versions.clear();
  plan_.raised.clear();
  std::erase_if(plan_.archives,
                [](const ArchiveRow& row) { return row.resolution != Resolution::kKeyCollision; });
  for (PlannedResult& planned : plan_.results) {
    // What was refused for its own sake keeps its own reason.
    if (planned.result.outcome == Outcome::kFailed) continue;
    planned = {Refusal(planned.result.key,
                       {ErrorCode::kBatchRefused,
                        "another change of this batch collides with a key in use; send the rest "
                        "again without what refers to that row"},
                       kRuleCollision, /*retryable=*/true),
               std::nullopt};
  }
}

}  // namespace ptdoc::sync
