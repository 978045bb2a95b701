#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/model/change.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "ptdoc/sync/v1/sync_service.pb.h"
#include "ptdoc/sync/v1/types.pb.h"

namespace ptdoc::sync {

// Protobuf <-> model. Everything that comes from outside is checked here, once.
// Functions that take a pointer to a message move contents out of it. Stateless.

// How a packed row says its values: cells are shorter, values are for everybody.
enum class RowForm { kValues, kCells };

// Limits of one batch; above them a request is refused whole, with
// RESOURCE_EXHAUSTED and reason MESSAGE_TOO_LARGE.
inline constexpr size_t kWireChangesMax = 5000;
// A table spells its column names once, but each row in memory has them all:
// bytes that the rows of a request may grow to.
inline constexpr size_t kWireExpandedBytesMax = 128 << 20;

// ---- Push: device to service.

// Every change of a request: `changes`, then the rows of `tables` (which may
// be null). A change that cannot be taken stands there with its `defect`; an
// error means that the request as a whole is too large. Lengths of names and
// ids, and what depends on configuration, is the engine's to check.
absl::StatusOr<std::vector<Change>> ChangesFromProto(
    google::protobuf::RepeatedPtrField<v1::Change>* changes,
    google::protobuf::RepeatedPtrField<v1::RowSet>* tables);

// Appends `changes` to request->tables, consecutive ones of one shape in one
// table, so that the answer's results come in the same order. An absent time
// becomes the smallest one.
void PackChanges(std::span<const Change> changes, v1::PushRequest* request,
                 RowForm form = RowForm::kValues);
// One change in the form for people (examples, simple clients).
void ChangeToProto(const Change& change, v1::Change* out);

// ---- Push: service to device.

void ResultToProto(ChangeResult result, v1::ChangeResult* out);
// An outcome of a newer peer that is not known here is a failure, not to be
// retried; an unknown resolution is a conflict, won by the service if the
// device must change its row, else by the device.
absl::StatusOr<std::vector<ChangeResult>> ResultsFromProto(v1::PushResponse* response);

// ---- Pull: service to device.

void VersionToProto(Version version, v1::Version* out);
// Appends to `tables`, consecutive versions of one shape in one table.
void PackVersions(std::vector<Version> versions,
                  google::protobuf::RepeatedPtrField<v1::RowSet>* tables,
                  RowForm form = RowForm::kValues);
// `versions`, then the rows of `tables`. INTERNAL, without a reason, for a
// message that no service makes.
absl::StatusOr<std::vector<Version>> VersionsFromProto(v1::PullResponse* response);

// Bytes that a version takes in a message, from above and roughly.
size_t WireSizeOf(const Version& version);

}  // namespace ptdoc::sync
