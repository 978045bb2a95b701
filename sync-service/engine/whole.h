#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/merge/resolve.h"
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
  // What that change had sent, if something else came of it (row 9): the next one
  // of the same device was made from this.
  std::optional<StoredVersion> as_sent;

  bool IsLive() const { return stored.has_value() && !stored->version.deleted; }
};

// What a change was made from, as far as the store can tell.
struct Base {
  enum class Kind : uint8_t { kNone, kKnown, kLacking };

  Kind kind = Kind::kNone;
  bool is_current = false;              // the head itself
  std::optional<StoredVersion> stored;  // kKnown and not the head
};

// Deleted and created again under one key: another thing, which takes nothing
// from the one before.
bool IsRecreated(const Change& change);

// Finds the base of a change by its revision and check.
//
// A second change of one entity in a batch is made on top of the first one if
// both name the same base: one device wrote them in this order, so they are no
// conflict, whatever their times say. Where the first one was merged its base is
// the first as it was sent: what was merged into that the device has not seen.
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

// The incoming version, whole, with its effective time. Takes the fields of the
// change, if they are all that the version has, and no re-offer's.
StoredVersion MakeIncoming(Change* taken, const Head& head, const Base& base, const Principal& who,
                           const EngineOptions& options, absl::Time now);

// What stands after row 9: fields, times and writers as decided, the whole with
// time and author of the later of the two.
StoredVersion MakeMerged(StoredVersion incoming, const StoredVersion& current,
                         const Decision& decision);

// Who is compared where times are equal: whoever wrote a version, or last sent
// the same content.
const std::string& RankDevice(const StoredVersion& stored);
// The same of a field, by its place.
const std::string& FieldWriter(const StoredVersion& stored, size_t index);

// Fills in when each field of `made` was last changed: a field that has the same
// value in `source` keeps the time it has there, every other one gets that of
// `made`. With `writer` also by whom, in the same way.
void StampFields(const StoredVersion* source, const std::string* writer, StoredVersion* made);

}  // namespace ptdoc::sync
