#include "sync-service/rpc/pull_source.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/wire/compression.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"
#include "sync-service/rpc/answers.h"

namespace ptdoc::sync {
namespace {

// Entities read at once, so that many large rows never stand in memory together.
constexpr size_t kFetchStepKeys = 16;

size_t BytesOf(const FetchPage& page) {
  size_t bytes = 0;
  for (const Version& version : page.versions) bytes += WireSizeOf(version);
  for (const EntityKey& key : page.missing) bytes += key.type.size() + key.id.size();
  return bytes;
}

absl::Status CheckKeyCount(size_t count) {
  if (count <= kFetchKeysMax) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     absl::StrCat("The call names ", count, " entities, the limit is ",
                                  kFetchKeysMax, ". Nothing was read. Split it."));
}

void Append(FetchPage more, FetchPage* page) {
  std::move(more.versions.begin(), more.versions.end(), std::back_inserter(page->versions));
  std::move(more.missing.begin(), more.missing.end(), std::back_inserter(page->missing));
  page->refused_types.insert(page->refused_types.end(), more.refused_types.begin(),
                             more.refused_types.end());
  page->server_time = more.server_time;
  page->epoch = std::move(more.epoch);
  page->witness = std::move(more.witness);
}

std::optional<RowForm> FormAsked(const v1::PullRequest& request) {
  if (!request.packed()) return std::nullopt;
  return request.cells() ? RowForm::kCells : RowForm::kValues;
}

void Compress(std::deque<v1::PullResponse>* messages) {
  for (v1::PullResponse& message : *messages) {
    CompressTables(message.mutable_tables(), message.mutable_compressed_tables());
  }
}

}  // namespace

PullSource::PullSource(Engine& engine, const v1::PullRequest& request)
    : engine_(engine), packed_(FormAsked(request)), compressed_(request.compressed()) {
  query_.cursor = request.cursor();
  query_.witness = request.witness();
  query_.types.assign(request.entity_types().begin(), request.entity_types().end());
  query_.page_size = request.page_size();
  for (const v1::EntityRef& key : request.entities()) {
    keys_.push_back({key.entity_type(), key.entity_id()});
  }
}

absl::StatusOr<PullStep> PullSource::Next(const Principal& who) {
  return is_fetch() ? NextFetch(who) : NextPage(who);
}

absl::StatusOr<PullStep> PullSource::NextPage(const Principal& who) {
  query_.who = who;
  if (own_ != nullptr && position_.has_value()) own_->TakeTo(&position_->own);
  PT_ASSIGN_OR_RETURN(PullPage page, engine_.Pull(query_, position_ ? &*position_ : nullptr));
  position_ = std::move(page.next);
  PullStep step;
  step.caught_up = page.caught_up;
  if (position_->cursor.snapshot_end == 0) step.seen = position_->cursor.sequence;
  const bool nothing_wanted = quiet_ && page.versions.empty();
  std::deque<v1::PullResponse> messages = PageToProto(std::move(page), packed_);
  messages.front().set_device_id(ToUtf8(who.device));
  messages.front().set_takes_compressed_tables(true);
  messages.front().set_takes_cells(true);
  if (nothing_wanted) {
    // Others' types, or a wake-up for what was sent already: nobody needs to wake
    // for that, but the cursor must not stay behind what retention prunes.
    if (step.caught_up) step.quiet = std::move(messages.back());
    return step;
  }
  quiet_ = step.caught_up;
  if (compressed_) Compress(&messages);
  step.messages = std::move(messages);
  return step;
}

absl::StatusOr<PullStep> PullSource::NextFetch(const Principal& who) {
  PT_RETURN_IF_ERROR(CheckKeyCount(keys_.size()));
  FetchPage page;
  do {
    const size_t count = std::min(kFetchStepKeys, keys_.size() - fetched_);
    const std::span<const EntityKey> keys = std::span(keys_).subspan(fetched_, count);
    PT_ASSIGN_OR_RETURN(FetchPage more, engine_.Fetch(who, keys, query_.witness));
    fetched_ += count;
    Append(std::move(more), &page);
  } while (fetched_ < keys_.size() && page.versions.size() < kPageVersionsDefault &&
           BytesOf(page) < kPageBytesMax);
  PullStep step;
  step.caught_up = fetched_ == keys_.size();
  step.messages = FetchPageToProto(std::move(page), packed_, step.caught_up);
  if (compressed_) Compress(&step.messages);
  return step;
}

}  // namespace ptdoc::sync
