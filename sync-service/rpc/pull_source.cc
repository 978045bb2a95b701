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
  for (std::string& type : more.refused_types) {
    const std::vector<std::string>& known = page->refused_types;
    if (std::find(known.begin(), known.end(), type) == known.end()) {
      page->refused_types.push_back(std::move(type));
    }
  }
  page->server_time = more.server_time;
  page->epoch = std::move(more.epoch);
  page->witness = std::move(more.witness);
}

PageForm FormAsked(const v1::PullRequest& request) {
  if (!request.packed()) return {};
  return {request.cells() ? RowForm::kCells : RowForm::kValues, request.compressed()};
}

}  // namespace

PullSource::PullSource(Engine& engine, SharedPages& pages, const Clock& clock,
                       const v1::PullRequest& request)
    : engine_(engine), pages_(pages), clock_(clock), form_(FormAsked(request)) {
  query_.cursor = request.cursor();
  query_.witness = request.witness();
  query_.types.assign(request.entity_types().begin(), request.entity_types().end());
  query_.page_size = request.page_size();
  for (const v1::EntityRef& key : request.entities()) {
    keys_.push_back({key.entity_type(), key.entity_id()});
  }
}

absl::StatusOr<PullStep> PullSource::Next(const Principal& who, std::optional<Revision> known) {
  return is_fetch() ? NextFetch(who) : NextPage(who, known);
}

absl::StatusOr<PullStep> PullSource::NextPage(const Principal& who, std::optional<Revision> known) {
  query_.who = who;
  if (own_ != nullptr && position_.has_value()) own_->TakeTo(&position_->own);
  std::optional<PagePlace> place;
  if (position_.has_value()) {
    PT_ASSIGN_OR_RETURN(place, engine_.PlaceOf(query_, &*position_));
  }
  std::shared_ptr<const EncodedPage> page;
  std::vector<std::string> refused_types;
  if (place.has_value() && known.has_value()) page = FindPage(*place, *known);
  if (page != nullptr) {
    MoveBehind(*page);
    refused_types = std::move(place->refused_types);
  } else {
    PT_ASSIGN_OR_RETURN(page, ReadPage(place, &refused_types));
  }
  newest_ = std::max(newest_, page->newest);
  PullStep step;
  step.caught_up = page->caught_up;
  if (position_->cursor.snapshot_end == 0) step.seen = position_->cursor.sequence;
  const bool nothing_wanted = quiet_ && page->versions == 0;
  std::deque<FeedMessage> messages = MessagesOf(*page, std::move(refused_types));
  if (nothing_wanted) {
    // Others' types, or a wake-up for what was sent already: nobody needs to wake
    // for that, but the cursor must not stay behind what retention prunes.
    if (step.caught_up) step.quiet = std::move(messages.back());
    return step;
  }
  quiet_ = step.caught_up;
  step.messages = std::move(messages);
  return step;
}

absl::StatusOr<std::shared_ptr<const EncodedPage>> PullSource::ReadPage(
    const std::optional<PagePlace>& place, std::vector<std::string>* refused_types) {
  PT_ASSIGN_OR_RETURN(PullPage page, engine_.Pull(query_, position_ ? &*position_ : nullptr));
  position_ = page.next;
  *refused_types = page.refused_types;
  PT_ASSIGN_OR_RETURN(std::shared_ptr<const EncodedPage> encoded,
                      EncodePage(std::move(page), form_));
  if (place.has_value()) pages_.Put(*place, form_, encoded);
  return encoded;
}

std::shared_ptr<const EncodedPage> PullSource::FindPage(const PagePlace& place, Revision known) {
  std::shared_ptr<const EncodedPage> page = pages_.Find(place, form_, std::max(known, newest_));
  if (page == nullptr || page->caught_up) return page;
  // Somebody has to count what is still to come.
  if (!position_->remaining.has_value()) position_->remaining = page->counted;
  return position_->remaining.has_value() ? page : nullptr;
}

void PullSource::MoveBehind(const EncodedPage& page) {
  std::optional<uint64_t> remaining = position_->remaining;
  if (remaining.has_value()) *remaining -= std::min<uint64_t>(*remaining, page.versions);
  position_ = page.next;
  position_->remaining = page.caught_up ? std::nullopt : remaining;
}

std::deque<FeedMessage> PullSource::MessagesOf(const EncodedPage& page,
                                               std::vector<std::string> refused_types) {
  // What comes after a catch-up is counted anew.
  const uint64_t behind = position_->remaining.value_or(0);
  std::deque<FeedMessage> messages;
  for (const EncodedPage::Message& part : page.messages) {
    FeedMessage& message = messages.emplace_back();
    message.shared = part.bytes;
    message.own.set_remaining(behind + part.to_come);
    TimeToProto(clock_.Now(), message.own.mutable_server_time());
  }
  v1::PullResponse& first = messages.front().own;
  first.set_device_id(ToUtf8(query_.who.device));
  first.set_takes_compressed_tables(true);
  first.set_takes_cells(true);
  v1::Scope* const scope = first.mutable_scope();
  for (std::string& type : refused_types) scope->add_refused_types(ToUtf8(std::move(type)));
  return messages;
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
  for (v1::PullResponse& message :
       FetchPageToProto(std::move(page), form_.packed, step.caught_up)) {
    if (form_.compressed) {
      CompressTables(message.mutable_tables(), message.mutable_compressed_tables());
    }
    step.messages.emplace_back().own = std::move(message);
  }
  return step;
}

}  // namespace ptdoc::sync
