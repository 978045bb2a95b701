#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/mutex.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {

// What one Pull stream need not show: the batches of its own device that named it.
// Thread-safe.
class OwnStream {
 public:
  // Beyond that the newest are shown: a reader that is far behind costs no memory.
  static constexpr size_t kBatchesMax = 1024;

  void Add(const OwnBatch& batch);
  // Moves those that were added since behind `batches`.
  void TakeTo(std::vector<OwnBatch>* batches);

 private:
  Mutex mutex_;
  std::vector<OwnBatch> batches_ ABSL_GUARDED_BY(mutex_);
};

// The Pull streams that have a name. Thread-safe.
class OwnBatches {
 public:
  static constexpr size_t kStreamIdBytesMax = 64;

  // Null for a name that is empty or too long. The stream is known as long as the
  // caller holds what he gets.
  std::shared_ptr<OwnStream> Open(const Principal& who, absl::string_view stream_id);
  // After COMMIT, before anybody is woken: what is noted later is shown, and harmless.
  void Note(const Principal& who, absl::string_view stream_id, const OwnBatch& batch);

 private:
  Mutex mutex_;
  std::map<std::string, std::weak_ptr<OwnStream>, std::less<>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ptdoc::sync
