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
#include "sync-service/rpc/shared_pages.h"

namespace ptdoc::sync {

// What one step of a pull gave.
struct PullStep {
  std::deque<FeedMessage> messages;  // may be empty
  bool caught_up = false;            // nothing more for now
  Revision seen = 0;                 // where the feed was read up to; 0 = not known
  // A message for the next heartbeat: the cursor moved, but nothing was wanted.
  std::optional<FeedMessage> quiet;
};

// Reads for one Pull stream, a step at a time: pages of the feed, or the
// entities asked for. Used by one executor thread at a time; keeps the position
// between steps.
class PullSource {
 public:
  // The first three must outlive this.
  PullSource(Engine& engine, SharedPages& pages, const Clock& clock,
             const v1::PullRequest& request);

  // Asked for entities, so the stream ends when they were sent.
  bool is_fetch() const { return !keys_.empty(); }
  // `who` is filled in anew by each call, since a token may change hands. `known`:
  // the newest revision that the caller has heard of; absent if there are newer ones
  // of which only the store knows. A step goes up to there, or is not caught up.
  absl::StatusOr<PullStep> Next(const Principal& who, std::optional<Revision> known);
  // Leaves these out from now on. May be null.
  void set_own(std::shared_ptr<OwnStream> own) { own_ = std::move(own); }

 private:
  absl::StatusOr<PullStep> NextPage(const Principal& who, std::optional<Revision> known);
  // From the store, and for others who stand there.
  absl::StatusOr<std::shared_ptr<const EncodedPage>> ReadPage(
      const std::optional<PagePlace>& place, std::vector<std::string>* refused_types);
  // Null: nobody has read it, or not so that it says all that is wanted here.
  std::shared_ptr<const EncodedPage> FindPage(const PagePlace& place, Revision known);
  void MoveBehind(const EncodedPage& page);
  std::deque<FeedMessage> MessagesOf(const EncodedPage& page,
                                     std::vector<std::string> refused_types);
  absl::StatusOr<PullStep> NextFetch(const Principal& who);

  Engine& engine_;
  SharedPages& pages_;
  const Clock& clock_;
  const PageForm form_;
  PullQuery query_;
  std::optional<PullPosition> position_;
  Revision newest_ = 0;  // of the newest snapshot that a page came from
  std::shared_ptr<OwnStream> own_;
  // The last message said caught_up, and nothing was sent since.
  bool quiet_ = false;
  std::vector<EntityKey> keys_;
  size_t fetched_ = 0;  // of keys_
};

}  // namespace ptdoc::sync
