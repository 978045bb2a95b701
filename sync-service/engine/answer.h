#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// An answer without results.
PushAnswer EmptyAnswer(const StoreMeta& meta, absl::Time now);

// What a version takes in a message, or a little more.
size_t AnswerBytes(const Version& version);
// The same of a result without `current`, together with its line in the list of
// conflicts of a Run.
size_t AnswerBytes(const EntityKey& key);

// The answer to a batch is one message. `current` is left out where it would not
// fit any more; the device then fetches the entity. A re-offer of old content
// always has its `current`: without it it would look like content that stands.
inline constexpr size_t kAnswerBytesMax = kMessageBytesMax - (64 << 10);

// The answer that a receipt stands for. First and repeated answers are made
// here alike: outcome, resolution, revision, check and conflict id as
// recorded, only `current` is read now.
absl::StatusOr<PushAnswer> AnswerFrom(StoreReader& reader, const PushBatch& batch,
                                      const StoreMeta& meta, Receipt receipt, absl::Time now);

// The device must change its row: the service holds something else than what
// was sent.
bool NeedsCurrent(const ChangeResult& result);

}  // namespace ptdoc::sync
