#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/planted.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "sync-service/engine/answer.h"
#include "sync-service/engine/engine.h"
#include "sync-service/engine/pages.h"
#include "sync-service/engine/position.h"
#include "sync-service/engine/scope.h"
#include "sync-service/engine/validate.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kScope =
    "This cursor was made for another list of entity types. Nothing was changed on either side. "
    "Pull from the start with an empty cursor.";

constexpr absl::string_view kOtherScope =
    "What this caller may see has changed since the call began. Nothing was changed on either "
    "side. "
    "Call again with the last cursor.";

size_t PageSize(size_t asked) {
  return asked == 0 ? kPageVersionsDefault : std::min(asked, kPageVersionsMax);
}

// From the start: a snapshot of the heads as of now, then the log.
Cursor StartOfFeed(const StoreMeta& meta, const BatchEnd& newest, uint64_t types_digest) {
  Cursor cursor;
  cursor.epoch = meta.epoch;
  cursor.snapshot_end = newest.sequence;
  cursor.snapshot_tag = newest.tag;
  cursor.types_digest = types_digest;
  return cursor;
}

absl::StatusOr<Cursor> OpenQuery(StoreReader& reader, const PullQuery& query, const Scope& scope,
                                 const StoreMeta& meta, const BatchEnd& newest) {
  const uint64_t types_digest = TypesDigest(scope.types);
  PT_ASSIGN_OR_RETURN(const Revision proven,
                      CheckWitness(reader, query.who.tenant, meta, query.witness));
  if (query.cursor.empty()) return StartOfFeed(meta, newest, types_digest);
  PT_ASSIGN_OR_RETURN(Cursor cursor, OpenFeedCursor(reader, query.who.tenant, meta, query.cursor));
  if (PT_PLANTED("the type list is left out of the cursor") ||
      PT_PLANTED("pull from commit_cursor")) {
    cursor.types_digest = types_digest;
  }
  if (cursor.types_digest != types_digest) {
    return RebaselineError("SCOPE_CHANGED", kScope, std::max(proven, GroundOf(cursor).sequence));
  }
  return cursor;
}

// Of a position that this process made.
absl::Status CheckScope(const Scope& scope, const Cursor& cursor) {
  if (cursor.types_digest == TypesDigest(scope.types)) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kUnavailable, "DRAINING", kOtherScope);
}

// Gives out what was kept of a long batch; true if that was all of it.
bool TakeRest(size_t limit, PullPosition* position, std::vector<Version>* versions) {
  const std::vector<Version>& rest = *position->rest;
  size_t bytes = 0;
  while (position->rest_sent < rest.size() && versions->size() < limit) {
    const Version& version = rest[position->rest_sent];
    bytes += version.fields.ByteSize();
    if (bytes > kPageBytesMax && !versions->empty()) break;
    versions->push_back(version);
    ++position->rest_sent;
  }
  if (position->rest_sent < rest.size()) return false;
  position->rest.reset();
  position->rest_sent = 0;
  return true;
}

// The versions of the next page, and the position behind them; true if that is
// between two batches.
absl::StatusOr<bool> NextVersions(StoreReader& reader, const SliceQuery& query,
                                  PullPosition* position, std::vector<Version>* versions) {
  if (position->rest != nullptr) return TakeRest(query.limit, position, versions);
  PT_ASSIGN_OR_RETURN(FeedSlice slice, ReadSlice(reader, query, position->cursor));
  *versions = std::move(slice.versions);
  position->cursor = std::move(slice.next);
  if (slice.rest.empty()) return slice.batch_end;
  position->rest = std::make_shared<const std::vector<Version>>(std::move(slice.rest));
  return false;
}

void DropPassed(PullPosition* position) {
  std::erase_if(position->own, [position](const OwnBatch& batch) {
    return batch.end.sequence <= position->cursor.sequence;
  });
}

// Moves over batches that need not be read; how many versions they have.
size_t PassOwn(PullPosition* position) {
  if (position->own.empty() || position->rest != nullptr || position->cursor.snapshot_end > 0) {
    return 0;
  }
  DropPassed(position);
  size_t passed = 0;
  for (const OwnBatch& batch : position->own) {
    if (batch.after != position->cursor.sequence) break;
    position->cursor.sequence = batch.end.sequence;
    position->cursor.tag = batch.end.tag;
    passed += static_cast<size_t>(batch.end.sequence - batch.after);
  }
  return passed;
}

// The same of those that were read because others' stood before them.
size_t EraseOwn(PullPosition* position, std::vector<Version>* versions) {
  if (position->own.empty()) return 0;
  const size_t erased = std::erase_if(*versions, [position](const Version& version) {
    return std::any_of(position->own.begin(), position->own.end(), [&](const OwnBatch& batch) {
      return version.revision > batch.after && version.revision <= batch.end.sequence;
    });
  });
  DropPassed(position);
  return erased;
}

// What the service holds as this call left it.
using PushedVersions = std::set<std::pair<EntityKey, Revision>>;

PushedVersions PushedBy(const PushAnswer& answer) {
  PushedVersions pushed;
  for (const ChangeResult& result : answer.results) {
    const bool is_own = result.outcome == Outcome::kAccepted ||
                        result.resolution == Resolution::kLocalWins ||
                        result.resolution == Resolution::kSignedWins ||
                        result.resolution == Resolution::kLockedWins;
    if (is_own) pushed.emplace(result.key, result.revision);
  }
  return pushed;
}

size_t BytesOf(const PushAnswer& answer) {
  size_t bytes = 0;
  for (const ChangeResult& result : answer.results) {
    bytes += AnswerBytes(result.key);
    if (result.current.has_value()) bytes += AnswerBytes(*result.current);
  }
  return bytes;
}

size_t BytesOf(const std::vector<Version>& versions) {
  size_t bytes = 0;
  for (const Version& version : versions) bytes += AnswerBytes(version);
  return bytes;
}

// The page of a Run that does not fit into its message. A batch is never cut, so
// the caller gets it in his next call, or, if it is too large for any message,
// by Pull.
absl::Status LeaveOutPage(const std::string& cursor, RunAnswer* answer) {
  if (answer->push.results.empty()) {
    return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                       "The next batch of the feed is larger than one message. Nothing was "
                       "changed. Call Pull with the same cursor: it answers in several messages.");
  }
  answer->page.versions.clear();
  answer->page.cursor = cursor;
  answer->page.caught_up = false;
  answer->has_more = true;
  return absl::OkStatus();
}

// Goes on where `page` ended.
void Extend(PullPage more, PullPage* page) {
  std::vector<Version> versions = std::move(page->versions);
  versions.insert(versions.end(), std::make_move_iterator(more.versions.begin()),
                  std::make_move_iterator(more.versions.end()));
  *page = std::move(more);
  page->versions = std::move(versions);
}

}  // namespace

absl::StatusOr<PullPage> Engine::Pull(const PullQuery& query, const PullPosition* resume) {
  const std::string& tenant = query.who.tenant;
  PT_ASSIGN_OR_RETURN(Scope scope, ScopeOf(query.types, query.who, options_));
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader->Newest(tenant));
  PullPosition position;
  if (resume != nullptr) {
    position = *resume;
    PT_RETURN_IF_ERROR(CheckPosition(*reader, tenant, meta, position.cursor));
    PT_RETURN_IF_ERROR(CheckScope(scope, position.cursor));
  } else {
    PT_ASSIGN_OR_RETURN(position.cursor, OpenQuery(*reader, query, scope, meta, newest));
  }
  const SliceQuery slice_query{tenant, scope.types, PageSize(query.page_size), newest};
  PullPage page;
  page.newest = newest.sequence;
  if (!position.remaining.has_value()) {
    PT_ASSIGN_OR_RETURN(position.remaining, CountFrom(*reader, slice_query, position.cursor));
    page.counted = position.remaining;
  }
  const bool in_log = position.rest == nullptr && position.cursor.snapshot_end == 0;
  size_t left_out = PassOwn(&position);
  PT_ASSIGN_OR_RETURN(page.batch_end,
                      NextVersions(*reader, slice_query, &position, &page.versions));
  if (in_log) left_out += EraseOwn(&position, &page.versions);
  if (PT_PLANTED("a page ends anywhere")) page.batch_end = true;
  page.caught_up = page.batch_end && IsCaughtUp(position.cursor, newest);
  page.server_time = clock_.Now();
  page.epoch = meta.epoch;
  if (page.batch_end) page.cursor = SealCursor(position.cursor, tenant, meta.mac_key);
  *position.remaining -= std::min<uint64_t>(*position.remaining, page.versions.size() + left_out);
  if (!page.caught_up) page.remaining = *position.remaining;
  // What comes after a catch-up is a new one and is counted anew.
  if (page.caught_up) position.remaining.reset();
  page.next = std::move(position);
  page.refused_types = std::move(scope.refused);
  return page;
}

absl::StatusOr<std::optional<PagePlace>> Engine::PlaceOf(const PullQuery& query,
                                                         PullPosition* position) const {
  PT_ASSIGN_OR_RETURN(Scope scope, ScopeOf(query.types, query.who, options_));
  PT_RETURN_IF_ERROR(CheckScope(scope, position->cursor));
  const uint64_t passed = PassOwn(position);
  DropPassed(position);
  if (position->remaining.has_value()) {
    *position->remaining -= std::min(*position->remaining, passed);
  }
  const bool in_log = position->rest == nullptr && position->cursor.snapshot_end == 0;
  if (!in_log || !position->own.empty()) return std::nullopt;
  return PagePlace{query.who.tenant, position->cursor, std::move(scope.types),
                   PageSize(query.page_size), std::move(scope.refused)};
}

absl::Status Engine::CheckPull(const PullQuery& query) {
  PT_ASSIGN_OR_RETURN(const Scope scope, ScopeOf(query.types, query.who, options_));
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader->Newest(query.who.tenant));
  return OpenQuery(*reader, query, scope, meta, newest).status();
}

absl::StatusOr<FetchPage> Engine::Fetch(const Principal& who, std::span<const EntityKey> keys,
                                        absl::string_view witness) {
  if (keys.size() > kFetchKeysMax) {
    return TooLarge("The list of entities", keys.size(), kFetchKeysMax, "entries");
  }
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
  PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
  // Or the device would take a witness of this history for the one it forgets.
  PT_RETURN_IF_ERROR(CheckWitness(*reader, who.tenant, meta, witness).status());
  FetchPage page;
  page.epoch = meta.epoch;
  PT_ASSIGN_OR_RETURN(page.witness, SealWitness(*reader, who.tenant, meta));
  page.server_time = clock_.Now();
  std::set<std::string> refused;
  for (const EntityKey& key : keys) {
    if (!MaySee(key.type, who, options_)) {
      refused.insert(key.type);
      continue;
    }
    PT_ASSIGN_OR_RETURN(std::optional<StoredVersion> head, reader->Head(who.tenant, key));
    if (head.has_value()) {
      page.versions.push_back(std::move(head->version));
    } else {
      page.missing.push_back(key);
    }
  }
  page.refused_types.assign(refused.begin(), refused.end());
  return page;
}

absl::StatusOr<RunAnswer> Engine::Run(PushBatch batch, const PullQuery& query) {
  PT_RETURN_IF_ERROR(CheckPull(query));
  if (batch.batch_id.empty()) batch.batch_id = NewUuid(rng_);
  batch.cursor = query.cursor;
  std::vector<absl::StatusOr<PushAnswer>> answers = Push({&batch, 1});
  PT_ASSIGN_OR_RETURN(PushAnswer push, std::move(answers.front()));
  return RunPage(std::move(push), query);
}

absl::StatusOr<RunAnswer> Engine::RunPage(PushAnswer push, const PullQuery& query) {
  // An answer without results would look as if all had been taken.
  if (push.voided) {
    return ReasonError(absl::StatusCode::kInvalidArgument, "BATCH_ID_REUSED",
                       "This batch_id was settled before its batch arrived, and never takes effect "
                       "any more. Nothing of the batch was taken. Send it with a batch_id of its "
                       "own.");
  }
  RunAnswer answer;
  answer.push = std::move(push);
  PullPosition position;
  position.remaining = 0;  // A Run shows no progress, so nothing is counted.
  {
    PT_ASSIGN_OR_RETURN(const Scope scope, ScopeOf(query.types, query.who, options_));
    PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, store_.BeginRead());
    PT_ASSIGN_OR_RETURN(const StoreMeta meta, reader->Meta());
    PT_ASSIGN_OR_RETURN(const BatchEnd newest, reader->Newest(query.who.tenant));
    PT_ASSIGN_OR_RETURN(position.cursor, OpenQuery(*reader, query, scope, meta, newest));
  }
  const PushedVersions pushed = PushedBy(answer.push);
  const auto is_own = [&](const Version& version) {
    return pushed.contains({version.key, version.revision});
  };
  const size_t room = kAnswerBytesMax - std::min(BytesOf(answer.push), kAnswerBytesMax);
  PT_ASSIGN_OR_RETURN(answer.page, Pull(query, &position));
  std::erase_if(answer.page.versions, is_own);
  while (!answer.page.batch_end && BytesOf(answer.page.versions) <= room) {
    PT_ASSIGN_OR_RETURN(PullPage more, Pull(query, &*answer.page.next));
    std::erase_if(more.versions, is_own);
    Extend(std::move(more), &answer.page);
  }
  answer.has_more = !answer.page.caught_up;
  if (BytesOf(answer.page.versions) > room) {
    PT_RETURN_IF_ERROR(LeaveOutPage(query.cursor, &answer));
  }
  return answer;
}

}  // namespace ptdoc::sync
