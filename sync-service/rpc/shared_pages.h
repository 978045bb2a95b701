#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/mutex.h"
#include "common/model/cursor.h"
#include "common/wire/convert.h"
#include "ptdoc/sync/v1/sync_service.pb.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {

// How a reader of the feed wants its rows.
struct PageForm {
  std::optional<RowForm> packed;  // absent: versions for people
  bool compressed = false;        // with packed
};

// One PullResponse in two parts, which protobuf reads as one message: no field
// that is not repeated stands in both.
struct FeedMessage {
  grpc::Slice shared;    // may be empty
  v1::PullResponse own;  // what is for one reader alone
};

// The two parts one behind the other. INTERNAL, which cannot happen below 2 GiB.
absl::StatusOr<grpc::ByteBuffer> BytesOf(const FeedMessage& message);

// A page of the feed, without what is for one reader alone: who he is, what he may
// not see, how much is still to come, and the time. Immutable.
struct EncodedPage {
  struct Message {
    grpc::Slice bytes;     // counts its users: never copied
    uint64_t to_come = 0;  // versions in the page's later messages
  };
  std::vector<Message> messages;  // at least one
  PullPosition next;              // nothing is in `own`
  bool caught_up = false;
  size_t versions = 0;
  Revision newest = 0;  // of the snapshot that was read
  std::optional<uint64_t> counted;

  size_t bytes() const;
};

// INTERNAL, as above. `page.refused_types` is not looked at.
absl::StatusOr<std::shared_ptr<const EncodedPage>> EncodePage(PullPage page, const PageForm& form);

// The pages of the log that were read last, so that many devices of a clinic that
// follow its feed cost one reading and one encoding and not one each. What the
// bytes depend on is the key, exactly: tenant, cursor, types, page size and form.
// Thread-safe.
class SharedPages {
 public:
  // Of all tenants together. The oldest go first; what a stream is still writing
  // lives on until it is written.
  static constexpr size_t kPagesMax = 256;
  static constexpr size_t kBytesMax = 8 << 20;
  // A larger page is not kept: it would push out all others.
  static constexpr size_t kPageBytesMax = 2 << 20;
  // A version's stored time may rise without a new revision (decision row 3): a page
  // that is given out says what the store said this long ago at most. Also what a
  // page may miss of retention.
  static constexpr absl::Duration kLife = absl::Seconds(1);

  // `clock` must outlive this.
  explicit SharedPages(const Clock& clock) : clock_(clock) {}

  // A page from this place that holds, or goes before, everything up to `known`;
  // null if there is none.
  std::shared_ptr<const EncodedPage> Find(const PagePlace& place, const PageForm& form,
                                          Revision known);
  void Put(const PagePlace& place, const PageForm& form, std::shared_ptr<const EncodedPage> page);
  // Frees what is too old to be found.
  void DropOld();

  // Pages found, and pages put, so far.
  int64_t found() const;
  int64_t put() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const EncodedPage> page;
    size_t bytes = 0;
    absl::Duration until;  // by the monotonic clock
  };
  using Entries = std::list<Entry>;

  void Erase(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);  // the oldest first
  std::map<absl::string_view, Entries::iterator, std::less<>> by_key_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t found_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t put_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ptdoc::sync
