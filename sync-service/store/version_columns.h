#pragma once

namespace ptdoc::sync {

// The columns of a version in the order that the SELECT lists below give. They
// are texts to be joined at compile time, so that a statement's text, which is
// the key of the statement cache, is never put together at run time.
#define PT_FEED_COLUMNS                                                                \
  "v.Id, v.TypeId, v.EntityId, v.Deleted, v.ModifiedAt, v.ModifiedBy, v.ContentHash, " \
  "v.Notice, "
#define PT_MORE_COLUMNS                                              \
  ", v.ClaimedAt, v.TokenUser, v.Device, v.RaisedBy, v.FieldTimes, " \
  "v.Previous, v.FieldWriters"
#define PT_VERSION_COLUMNS PT_FEED_COLUMNS "v.Content"
#define PT_STORED_COLUMNS PT_FEED_COLUMNS "v.Content" PT_MORE_COLUMNS
#define PT_STORED_COLUMNS_NO_CONTENT PT_FEED_COLUMNS "NULL" PT_MORE_COLUMNS

enum VersionColumn : int {
  kColId,
  kColTypeId,
  kColEntityId,
  kColDeleted,
  kColModifiedAt,
  kColModifiedBy,
  kColContentHash,
  kColNotice,
  kColContent,
  // Of PT_STORED_COLUMNS only.
  kColClaimedAt,
  kColTokenUser,
  kColDevice,
  kColRaisedBy,
  kColFieldTimes,
  kColPrevious,
  kColFieldWriters,
};

}  // namespace ptdoc::sync
