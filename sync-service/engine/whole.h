#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/model/change.h"
#include "sync-service/engine/engine.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {

// What the service holds of an entity when a change is decided.
struct Head {
  std::optional<StoredVersion> stored;  // absent: no version at all, not even a tombstone
  // Set if an earlier change of the same batch made it: its place among the
  // batch's new versions, its revision still open, and the base_revision of
  // that change.
  std::optional<size_t> pending;
  Revision made_from = 0;

  bool IsLive() const { return stored.has_value() && !stored->version.deleted; }
};

// What a change was made from, as far as the store can tell.
struct Base {
  enum class Kind : uint8_t { kNone, kKnown, kLacking };

  Kind kind = Kind::kNone;
  bool is_current = false;              // the head itself
  std::optional<StoredVersion> stored;  // kKnown and not the head
};

// Finds the base of a change by its revision and check.
//
// A second change of one entity in a batch is made on top of the first one if
// both name the same base: one device wrote them in this order, so they are no
// conflict, whatever their times say.
absl::StatusOr<Base> FindBase(StoreReader& reader, absl::string_view tenant, const Change& change,
                              const Head& head);

// The base's version; null if it is none or not known. Lives as long as both.
const StoredVersion* BaseVersion(const Base& base, const Head& head);

// What is sent is a whole version without any base.
bool IsWholeByItself(const Change& change);

// Where the fields that a change does not name come from; null: from nowhere,
// the sent fields are the whole.
//
//   a deletion, or deleted and created again      nowhere
//   base known                                    the base, never current
//   base lacking, `complete`                      current, if it is live
//   base 0, `complete`                            nowhere: the sender made the row
//   base 0, not `complete`, or a re-offer         current, if it is live
//
// The last row keeps a delta of a thin client that never saw the row, or a
// re-offer of an app that lacks a new column, from erasing columns. Under an
// integer key base 0 takes nothing from current: what is there may be another
// patient.
const StoredVersion* FillSource(const Change& change, const Head& head, const Base& base);

// The incoming version, whole, with its effective time.
StoredVersion MakeIncoming(const Change& change, const Head& head, const Base& base,
                           const Principal& who, const EngineOptions& options, absl::Time now);

// When each field of `fields` was last changed: a field that has the same value
// in `source` keeps the time it has there, every other one gets `time`.
std::vector<TimeNs> FieldTimes(const Fields& fields, const StoredVersion* source, TimeNs time);

}  // namespace ptdoc::sync
