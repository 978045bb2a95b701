#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/wire/convert.h"
#include "ptdoc/sync/v1/sync_service.pb.h"
#include "sync-service/engine/engine.h"
#include "sync-service/rpc/own_batches.h"

namespace ptdoc::sync {

// What one step of a pull gave.
struct PullStep {
  std::deque<v1::PullResponse> messages;  // may be empty
  bool caught_up = false;                 // nothing more for now
  Revision seen = 0;                      // where the feed was read up to; 0 = not known
  // A message for the next heartbeat: the cursor moved, but nothing was wanted.
  std::optional<v1::PullResponse> quiet;
};

// Reads for one Pull stream, a step at a time: pages of the feed, or the
// entities asked for. Used by one executor thread at a time; keeps the position
// between steps.
class PullSource {
 public:
  PullSource(Engine& engine, const v1::PullRequest& request);

  // Asked for entities, so the stream ends when they were sent.
  bool is_fetch() const { return !keys_.empty(); }
  // `who` is filled in anew by each call, since a token may change hands.
  absl::StatusOr<PullStep> Next(const Principal& who);
  // Leaves these out from now on. May be null.
  void set_own(std::shared_ptr<OwnStream> own) { own_ = std::move(own); }

 private:
  absl::StatusOr<PullStep> NextPage(const Principal& who);
  absl::StatusOr<PullStep> NextFetch(const Principal& who);

  Engine& engine_;
  const std::optional<RowForm> packed_;  // absent: versions for people
  const bool compressed_;
  PullQuery query_;
  std::optional<PullPosition> position_;
  std::shared_ptr<OwnStream> own_;
  // The last message said caught_up, and nothing was sent since.
  bool quiet_ = false;
  std::vector<EntityKey> keys_;
  size_t fetched_ = 0;  // of keys_
};

}  // namespace ptdoc::sync
