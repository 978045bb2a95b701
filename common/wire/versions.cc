// What the service answers: versions and results.
#include <utility>

#include "absl/status/status.h"
#include "common/base/status.h"
#include "common/wire/convert.h"
#include "common/wire/packing.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

using google::protobuf::RepeatedPtrField;

// Per version and per field: tags, lengths, numbers, times.
constexpr size_t kVersionOverheadBytes = 96;
constexpr size_t kFieldOverheadBytes = 16;

absl::Status Malformed(const char* what) {
  return absl::InternalError(what);
}

v1::Resolution ResolutionToProto(Resolution resolution) {
  return static_cast<v1::Resolution>(resolution);  // One numbering.
}

// `fallback` stands for one that this version does not know.
Resolution ResolutionFromProto(v1::Resolution resolution, Resolution fallback) {
  return v1::Resolution_IsValid(resolution) ? static_cast<Resolution>(resolution) : fallback;
}

v1::Outcome OutcomeToProto(Outcome outcome) {
  return static_cast<v1::Outcome>(outcome);
}

void NoticeToProto(const ConflictNotice& notice, v1::ConflictNotice* out) {
  out->set_conflict_id(ToUtf8(notice.conflict_id));
  out->set_resolution(ResolutionToProto(notice.resolution));
  out->set_lost_device_id(ToUtf8(notice.lost_device));
  out->set_lost_revision(notice.lost_revision);
  out->set_resolved_conflict_id(ToUtf8(notice.resolved_conflict_id));
}

ConflictNotice NoticeFromProto(v1::ConflictNotice* in) {
  ConflictNotice notice;
  notice.conflict_id = std::move(*in->mutable_conflict_id());
  notice.resolution = ResolutionFromProto(in->resolution(), Resolution::kServerWins);
  notice.lost_device = std::move(*in->mutable_lost_device_id());
  notice.lost_revision = in->lost_revision();
  notice.resolved_conflict_id = std::move(*in->mutable_resolved_conflict_id());
  return notice;
}

absl::StatusOr<Field> FieldFromProto(const std::string& name, v1::Value* value) {
  Field field{name, Value::Null()};
  if (ValueFromProto(value, &field.value) != ValueDefect::kNone) {
    return Malformed("The service sent a field without a value. Nothing was applied.");
  }
  return field;
}

absl::Status CheckVersion(const Version& version) {
  if (!version.key.type.empty() && !version.key.id.empty() && version.revision > 0 &&
      version.last_modified >= 0) {
    return absl::OkStatus();
  }
  return Malformed("The service sent a version without identity. Nothing was applied.");
}

absl::StatusOr<Version> VersionFromProto(v1::Version* in) {
  Version version;
  version.key = {std::move(*in->mutable_entity_type()), std::move(*in->mutable_entity_id())};
  version.revision = in->revision();
  version.check = std::move(*in->mutable_check());
  version.deleted = in->deleted();
  if (in->has_last_modified_utc()) {
    version.last_modified = TimeNsFromProto(in->last_modified_utc()).value_or(-1);
  }
  version.modified_by = std::move(*in->mutable_modified_by_user_id());
  std::vector<Field> fields;
  fields.reserve(in->fields().size());
  for (auto& [name, value] : *in->mutable_fields()) {
    PT_ASSIGN_OR_RETURN(Field field, FieldFromProto(name, &value));
    fields.push_back(std::move(field));
  }
  version.fields = Fields(std::move(fields));
  if (in->has_conflict()) version.conflict = NoticeFromProto(in->mutable_conflict());
  PT_RETURN_IF_ERROR(CheckVersion(version));
  return version;
}

absl::StatusOr<Fields> RowFields(const v1::RowSet& table, bool deleted, RowValues row) {
  if (deleted && row.values.empty() && row.defect == ValueDefect::kNone) return Fields();
  const auto columns = static_cast<size_t>(table.columns_size());
  if (row.defect != ValueDefect::kNone || row.values.size() != columns) {
    return Malformed("The service sent a row that does not fit its columns. Nothing was applied.");
  }
  std::vector<Field> fields;
  fields.reserve(columns);
  for (size_t i = 0; i < columns; ++i) {
    fields.push_back({table.columns(static_cast<int>(i)), std::move(row.values[i])});
  }
  return Fields(std::move(fields));
}

absl::StatusOr<Version> VersionFromRow(const v1::RowSet& table, int id_column, v1::PackedRow* row) {
  Version version;
  RowValues values = TakeValues(static_cast<size_t>(table.columns_size()), row);
  version.key = {table.entity_type(), TakeRowId(id_column, values.values, row)};
  version.revision = row->revision();
  version.check = std::move(*row->mutable_check());
  version.deleted = row->deleted();
  version.last_modified = row->last_modified_ns();
  version.modified_by = table.modified_by_user_id();
  if (!row->modified_by_user_id().empty()) {
    version.modified_by = std::move(*row->mutable_modified_by_user_id());
  }
  PT_ASSIGN_OR_RETURN(version.fields, RowFields(table, version.deleted, std::move(values)));
  if (row->has_conflict()) version.conflict = NoticeFromProto(row->mutable_conflict());
  PT_RETURN_IF_ERROR(CheckVersion(version));
  return version;
}

void SetUnknownOutcome(ChangeResult* result) {
  result->outcome = Outcome::kFailed;
  result->retryable = false;
  if (result->error_code == ErrorCode::kNone) result->error_code = ErrorCode::kInternal;
  if (result->error_message.empty()) {
    result->error_message = "The service answered with an outcome that this version does not know.";
  }
}

absl::StatusOr<ChangeResult> ResultFromProto(v1::ChangeResult* in) {
  ChangeResult result;
  result.key = {std::move(*in->mutable_entity_type()), std::move(*in->mutable_entity_id())};
  if (in->has_current()) {
    PT_ASSIGN_OR_RETURN(result.current, VersionFromProto(in->mutable_current()));
  }
  result.revision = in->revision();
  result.check = std::move(*in->mutable_check());
  result.rule = std::move(*in->mutable_rule());
  result.conflict_id = std::move(*in->mutable_conflict_id());
  if (!in->error_code().empty()) result.error_code = ErrorCodeFromName(in->error_code());
  result.error_message = std::move(*in->mutable_error_message());
  result.retryable = in->retryable();
  const Resolution unknown = result.current ? Resolution::kServerWins : Resolution::kLocalWins;
  result.resolution = ResolutionFromProto(in->resolution(), unknown);
  if (!v1::Outcome_IsValid(in->outcome()) || in->outcome() == v1::OUTCOME_UNSPECIFIED) {
    SetUnknownOutcome(&result);
  } else {
    result.outcome = static_cast<Outcome>(in->outcome());
  }
  return result;
}

}  // namespace

void VersionToProto(Version version, v1::Version* out) {
  out->set_entity_type(ToUtf8(std::move(version.key.type)));
  out->set_entity_id(ToUtf8(std::move(version.key.id)));
  out->set_revision(version.revision);
  out->set_check(std::move(version.check));
  out->set_deleted(version.deleted);
  TimeNsToProto(version.last_modified, out->mutable_last_modified_utc());
  out->set_modified_by_user_id(ToUtf8(std::move(version.modified_by)));
  for (const Field& field : version.fields) {
    ValueToProto(field.value, &(*out->mutable_fields())[ToUtf8(field.name)]);
  }
  if (version.conflict) NoticeToProto(*version.conflict, out->mutable_conflict());
}

void PackVersions(std::vector<Version> versions, RepeatedPtrField<v1::RowSet>* tables,
                  RowForm form) {
  TablePacker packer(tables, form);
  for (Version& version : versions) {
    v1::PackedRow* const row =
        packer.Add({version.key, version.deleted, false, version.modified_by, version.fields});
    row->set_last_modified_ns(version.last_modified);
    row->set_revision(version.revision);
    row->set_check(std::move(version.check));
    row->set_deleted(version.deleted);
    if (version.conflict) NoticeToProto(*version.conflict, row->mutable_conflict());
  }
}

absl::StatusOr<std::vector<Version>> VersionsFromProto(v1::PullResponse* response) {
  std::vector<Version> versions;
  versions.reserve(static_cast<size_t>(response->versions_size()));
  for (v1::Version& in : *response->mutable_versions()) {
    PT_ASSIGN_OR_RETURN(Version version, VersionFromProto(&in));
    versions.push_back(std::move(version));
  }
  for (v1::RowSet& table : *response->mutable_tables()) {
    const int id_column = FindColumn(table.columns(), table.id_column());
    for (v1::PackedRow& row : *table.mutable_rows()) {
      PT_ASSIGN_OR_RETURN(Version version, VersionFromRow(table, id_column, &row));
      versions.push_back(std::move(version));
    }
  }
  return versions;
}

void ResultToProto(ChangeResult result, v1::ChangeResult* out) {
  out->set_entity_type(ToUtf8(std::move(result.key.type)));
  out->set_entity_id(ToUtf8(std::move(result.key.id)));
  out->set_outcome(OutcomeToProto(result.outcome));
  out->set_resolution(ResolutionToProto(result.resolution));
  out->set_revision(result.revision);
  out->set_check(std::move(result.check));
  if (result.current) VersionToProto(std::move(*result.current), out->mutable_current());
  out->set_rule(ToUtf8(std::move(result.rule)));
  // A text that is set takes memory, an empty one, too.
  if (!result.conflict_id.empty()) out->set_conflict_id(ToUtf8(std::move(result.conflict_id)));
  if (result.error_code != ErrorCode::kNone) {
    out->set_error_code(std::string(ErrorCodeName(result.error_code)));
  }
  if (!result.error_message.empty()) {
    out->set_error_message(ToUtf8(std::move(result.error_message)));
  }
  out->set_retryable(result.retryable);
}

absl::StatusOr<std::vector<ChangeResult>> ResultsFromProto(v1::PushResponse* response) {
  std::vector<ChangeResult> results;
  results.reserve(static_cast<size_t>(response->results_size()));
  for (v1::ChangeResult& in : *response->mutable_results()) {
    PT_ASSIGN_OR_RETURN(ChangeResult result, ResultFromProto(&in));
    results.push_back(std::move(result));
  }
  return results;
}

size_t WireSizeOf(const Version& version) {
  return version.fields.ByteSize() + version.fields.size() * kFieldOverheadBytes +
         version.key.type.size() + version.key.id.size() + version.modified_by.size() +
         kVersionOverheadBytes;
}

}  // namespace ptdoc::sync
