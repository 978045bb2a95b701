#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// A batch on its way. While the process lives it is sent again byte for byte.
struct OutgoingBatch {
  std::string batch_id;
  std::vector<Change> changes;
};

// The service's answer to one batch, or to a settle.
struct IncomingAnswer {
  std::string batch_id;
  std::vector<ChangeResult> results;
  bool voided = false;
  std::string witness;  // empty: not to be remembered
  std::string epoch;
  absl::Time server_time;
};

// One message of a pull.
struct IncomingPage {
  std::vector<Version> versions;
  std::string cursor;  // empty where no batch ends with this message
  bool batch_end = false;
  bool caught_up = false;
  std::optional<uint64_t> remaining;
  std::string device;  // what the token calls this device; may be empty
  // Of the types that were asked for, those that the token leaves out; absent where
  // the message does not say.
  std::optional<std::vector<std::string>> refused_types;
  std::string epoch;
  absl::Time server_time;
  size_t bytes = 0;  // about what it takes in memory
};

struct IncomingFetch {
  std::vector<Version> versions;
  std::vector<EntityKey> missing;
  std::string witness;
  std::string epoch;
  absl::Time server_time;
};

// The way to the service. Calls return at once and never fail; what comes of
// them arrives as PeerEvents, on the thread that owns the session. After a
// stream was closed (by either side) nothing of it arrives any more but its
// one Closed event.
class Peer {
 public:
  virtual ~Peer() = default;

  // Goes with every batch, settle, pull and fetch from now on, beside the
  // cursor. May be empty.
  virtual void SetWitness(const std::string& /*witness*/) {}

  virtual void OpenPush() = 0;
  // `cursor` may be empty. At most 8 may be unanswered.
  virtual void SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                         const QueueHealth& queue) = 0;
  virtual void SendSettle(const std::string& batch_id, const QueueHealth& queue) = 0;
  // A report of the queue alone.
  virtual void SendReport(const QueueHealth& queue) = 0;
  virtual void ClosePush() = 0;

  virtual void OpenPull(const std::string& cursor, const std::vector<std::string>& types,
                        bool follow, const QueueHealth& queue) = 0;
  virtual void ClosePull() = 0;
  // There is room for a page again (PeerEvents::WantsPages). A peer may report pages
  // whether there is or not.
  virtual void ReadOn() {}

  // One fetch at a time.
  virtual void Fetch(const std::vector<EntityKey>& keys) = 0;
};

// What a Peer reports.
class PeerEvents {
 public:
  virtual ~PeerEvents() = default;
  virtual void OnPushAnswer(IncomingAnswer answer) = 0;
  virtual void OnPushClosed(const absl::Status& status) = 0;
  virtual void OnPullPage(IncomingPage page) = 0;
  // False while enough pages wait to be applied: the next one can stay where it is.
  virtual bool WantsPages() const { return true; }
  virtual void OnPullClosed(const absl::Status& status) = 0;
  virtual void OnFetched(IncomingFetch fetch) = 0;
  virtual void OnFetchFailed(const absl::Status& status) = 0;
};

}  // namespace ptdoc::sync
