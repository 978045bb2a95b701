#include "sync-service/rpc/shared_pages.h"

#include <utility>

#include "common/base/bytes.h"
#include "common/base/status.h"
#include "common/wire/compression.h"
#include "sync-service/rpc/answers.h"

namespace ptdoc::sync {
namespace {

// A page beside its bytes: the key's nodes, the cursor, the slices.
constexpr size_t kEntryBytes = 1024;

absl::StatusOr<grpc::Slice> Encode(const v1::PullResponse& message) {
  grpc::Slice slice(message.ByteSizeLong());
  // Nobody else has the slice yet.
  auto* const bytes = const_cast<uint8_t*>(slice.begin());
  if (message.SerializeToArray(bytes, static_cast<int>(slice.size()))) return slice;
  return absl::InternalError("a page cannot be serialized");
}

std::string KeyOf(const PagePlace& place, const PageForm& form) {
  const Cursor& cursor = place.cursor;
  ByteWriter key;
  key.String(place.tenant);
  key.String(cursor.epoch);
  key.Fixed64(static_cast<uint64_t>(cursor.sequence));
  key.Fixed64(cursor.tag);
  key.Fixed64(cursor.types_digest);
  key.Varint(place.limit);
  key.U8(form.packed.has_value() ? static_cast<uint8_t>(*form.packed) + 1 : 0);
  key.U8(form.compressed ? 1 : 0);
  for (const std::string& type : place.types) key.String(type);
  return key.Take();
}

}  // namespace

absl::StatusOr<grpc::ByteBuffer> BytesOf(const FeedMessage& message) {
  PT_ASSIGN_OR_RETURN(const grpc::Slice own, Encode(message.own));
  if (message.shared.size() == 0) return grpc::ByteBuffer(&own, 1);
  const grpc::Slice both[] = {message.shared, own};
  return grpc::ByteBuffer(both, 2);
}

size_t EncodedPage::bytes() const {
  size_t bytes = 0;
  for (const Message& message : messages) bytes += message.bytes.size();
  return bytes;
}

absl::StatusOr<std::shared_ptr<const EncodedPage>> EncodePage(PullPage page, const PageForm& form) {
  auto encoded = std::make_shared<EncodedPage>();
  encoded->next = std::move(*page.next);
  encoded->next.own.clear();
  encoded->caught_up = page.caught_up;
  encoded->versions = page.versions.size();
  encoded->newest = page.newest;
  encoded->counted = page.counted;
  page.refused_types.clear();
  page.remaining = 0;
  for (v1::PullResponse& message : PageToProto(std::move(page), form.packed)) {
    if (form.compressed) {
      CompressTables(message.mutable_tables(), message.mutable_compressed_tables());
    }
    EncodedPage::Message& made = encoded->messages.emplace_back();
    made.to_come = message.remaining();
    message.clear_remaining();
    message.clear_server_time();
    message.clear_scope();
    PT_ASSIGN_OR_RETURN(made.bytes, Encode(message));
  }
  return encoded;
}

std::shared_ptr<const EncodedPage> SharedPages::Find(const PagePlace& place, const PageForm& form,
                                                     Revision known) {
  const std::string key = KeyOf(place, form);
  MutexLock lock(mutex_);
  const auto it = by_key_.find(key);
  if (it == by_key_.end()) return nullptr;
  const Entry& entry = *it->second;
  if (entry.page->newest < known || entry.until <= clock_.Monotonic()) return nullptr;
  ++found_;
  return entry.page;
}

void SharedPages::Put(const PagePlace& place, const PageForm& form,
                      std::shared_ptr<const EncodedPage> page) {
  Entry entry;
  entry.key = KeyOf(place, form);
  entry.bytes = page->bytes() + entry.key.size() + kEntryBytes;
  if (entry.bytes > kPageBytesMax) return;
  entry.page = std::move(page);
  MutexLock lock(mutex_);
  entry.until = clock_.Monotonic() + kLife;
  const auto known = by_key_.find(entry.key);
  if (known != by_key_.end()) {
    // The other reader's snapshot was newer.
    if (known->second->page->newest > entry.page->newest) return;
    Erase(known->second);
  }
  bytes_ += entry.bytes;
  entries_.push_back(std::move(entry));
  by_key_[entries_.back().key] = std::prev(entries_.end());
  ++put_;
  while (entries_.size() > kPagesMax || bytes_ > kBytesMax) Erase(entries_.begin());
}

void SharedPages::DropOld() {
  MutexLock lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  while (!entries_.empty() && entries_.front().until <= now) Erase(entries_.begin());
}

void SharedPages::Erase(Entries::iterator entry) {
  by_key_.erase(entry->key);
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

int64_t SharedPages::found() const {
  MutexLock lock(mutex_);
  return found_;
}

int64_t SharedPages::put() const {
  MutexLock lock(mutex_);
  return put_;
}

}  // namespace ptdoc::sync
