#include "sync-service/engine/archive.h"

#include <algorithm>
#include <string>

#include "common/model/row_json.h"

namespace ptdoc::sync {
namespace {

constexpr char kNoContent[] = "null";

}  // namespace

std::string VersionJson(const Version& version) {
  return version.deleted ? kNoContent : FieldsToJson(version.fields);
}

bool HoldsNothingMore(const StoredVersion& loser, const StoredVersion* winner) {
  if (loser.version.deleted) return true;
  return std::all_of(loser.version.fields.begin(), loser.version.fields.end(),
                     [winner](const Field& field) {
                       if (field.value.is_null()) return true;
                       if (winner == nullptr || winner->version.deleted) return false;
                       const Value* kept = winner->version.fields.Find(field.name);
                       return kept != nullptr && *kept == field.value;
                     });
}

ArchiveRow MakeArchive(const Loss& loss) {
  ArchiveRow row;
  row.conflict_id = loss.conflict_id;
  row.key = loss.key;
  row.resolution = loss.resolution;
  row.resolution_type = std::string(ResolutionName(loss.resolution));
  row.rule = loss.rule;
  row.reason = std::string(ResolutionReason(loss.resolution));
  row.detected_at = loss.detected_at;
  row.archived_json = VersionJson(loss.loser->version);
  row.archived_time = loss.loser->version.last_modified;
  row.archived_user = loss.loser->version.modified_by;
  row.archived_device = loss.loser->device;
  row.chosen_json = kNoContent;
  if (loss.winner != nullptr) {
    row.chosen_json = VersionJson(loss.winner->version);
    row.chosen_time = loss.winner->version.last_modified;
    row.chosen_user = loss.winner->version.modified_by;
    row.chosen_device = loss.winner->device;
  }
  if (loss.base != nullptr) row.base_json = VersionJson(loss.base->version);
  // Row 10 asks a person, whatever the two sides hold.
  const bool is_open = loss.is_open.value_or(loss.resolution == Resolution::kManual ||
                                             !HoldsNothingMore(*loss.loser, loss.winner));
  row.is_resolved = !is_open;
  return row;
}

}  // namespace ptdoc::sync
