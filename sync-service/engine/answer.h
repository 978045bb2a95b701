#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// An answer without results.
PushAnswer EmptyAnswer(const StoreMeta& meta, absl::Time now);

// The answer that a receipt stands for. First and repeated answers are made
// here alike: outcome, resolution, revision, check and conflict id as
// recorded, only `current` is read now.
absl::StatusOr<PushAnswer> AnswerFrom(StoreReader& reader, const PushBatch& batch,
                                      const StoreMeta& meta, Receipt receipt, absl::Time now);

// The device must change its row: the service holds something else than what
// was sent.
bool NeedsCurrent(const ChangeResult& result);

}  // namespace ptdoc::sync
