#include "sync-service/rpc/own_batches.h"

#include "common/base/bytes.h"

namespace ptdoc::sync {
namespace {

// A device has no say in another one's stream.
std::string KeyOf(const Principal& who, absl::string_view stream_id) {
  ByteWriter key;
  key.String(who.tenant);
  key.String(who.device);
  key.String(stream_id);
  return key.Take();
}

}  // namespace

void OwnStream::Add(const OwnBatch& batch) {
  MutexLock lock(mutex_);
  if (!batches_.empty() && batches_.back().end.sequence == batch.after) {
    batches_.back().end = batch.end;
  } else if (batches_.size() < kBatchesMax) {
    batches_.push_back(batch);
  }
}

void OwnStream::TakeTo(std::vector<OwnBatch>* batches) {
  MutexLock lock(mutex_);
  batches->insert(batches->end(), batches_.begin(), batches_.end());
  batches_.clear();
}

std::shared_ptr<OwnStream> OwnBatches::Open(const Principal& who, absl::string_view stream_id) {
  if (stream_id.empty() || stream_id.size() > kStreamIdBytesMax) return nullptr;
  auto stream = std::make_shared<OwnStream>();
  MutexLock lock(mutex_);
  std::erase_if(streams_, [](const auto& entry) { return entry.second.expired(); });
  streams_[KeyOf(who, stream_id)] = stream;
  return stream;
}

void OwnBatches::Note(const Principal& who, absl::string_view stream_id, const OwnBatch& batch) {
  if (stream_id.empty()) return;
  std::shared_ptr<OwnStream> stream;
  {
    MutexLock lock(mutex_);
    const auto known = streams_.find(KeyOf(who, stream_id));
    if (known != streams_.end()) stream = known->second.lock();
  }
  if (stream != nullptr) stream->Add(batch);
}

}  // namespace ptdoc::sync
