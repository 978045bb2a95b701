#include "sync-service/rpc/admin_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "common/model/row_json.h"
#include "sync-service/engine/validate.h"
#include "sync-service/rpc/answers.h"
#include "sync-service/rpc/unary.h"

namespace ptdoc::sync {
namespace {

constexpr size_t kListDefault = 100;
constexpr size_t kListMax = 1000;
constexpr size_t kOtherFieldsBytes = 1024;  // of an answer with one conflict

size_t ListSize(uint32_t asked) {
  return asked == 0 ? kListDefault : std::min<size_t>(asked, kListMax);
}

absl::Status NotFound(absl::string_view what) {
  return ReasonError(absl::StatusCode::kNotFound, "NOT_FOUND",
                     absl::StrCat(what, " was not found. Nothing was changed."));
}

absl::Status ListConflictRows(ServiceContext& service, const Principal& who,
                              const v1::ListConflictsRequest& request,
                              v1::ListConflictsResponse* response) {
  StoreReader::ConflictFilter filter;
  filter.include_resolved = request.include_resolved();
  filter.key = {request.entity_type(), request.entity_id()};
  filter.limit = ListSize(request.page_size());
  if (!request.page_token().empty() && !absl::SimpleAtoi(request.page_token(), &filter.after_id)) {
    return FieldError("page_token", "page_token is not one that this service gave.");
  }
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, service.store.BeginRead());
  PT_ASSIGN_OR_RETURN(const std::vector<ArchiveRow> rows,
                      reader->ListConflicts(who.tenant, filter));
  for (const ArchiveRow& row : rows) ArchiveRowToProto(row, 0, response->add_conflicts());
  if (rows.size() == filter.limit) {
    response->set_next_page_token(absl::StrCat(rows.back().id));
  }
  return absl::OkStatus();
}

absl::Status ReadConflict(ServiceContext& service, const Principal& who,
                          absl::string_view conflict_id, v1::Conflict* out) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, service.store.BeginRead());
  PT_ASSIGN_OR_RETURN(const std::optional<ArchiveRow> row,
                      reader->FindConflict(who.tenant, conflict_id));
  if (!row.has_value()) return NotFound("The conflict");
  PT_ASSIGN_OR_RETURN(const std::optional<StoredVersion> head, reader->Head(who.tenant, row->key));
  ArchiveRowToProto(*row, head.has_value() ? head->version.revision : 0, out);
  return absl::OkStatus();
}

// Three rows in row JSON can be longer than a message may be.
bool IsTooLarge(const v1::Conflict& conflict) {
  return conflict.ByteSizeLong() > kMessageBytesMax - kOtherFieldsBytes;
}

absl::Status GetConflictRow(ServiceContext& service, const Principal& who,
                            const v1::GetConflictRequest& request,
                            v1::GetConflictResponse* response) {
  v1::Conflict* const conflict = response->mutable_conflict();
  PT_RETURN_IF_ERROR(ReadConflict(service, who, request.conflict_id(), conflict));
  if (!IsTooLarge(*conflict)) return absl::OkStatus();
  return ReasonError(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
                     "The conflict's rows are larger than one message. Nothing was changed. Look "
                     "at it on the service's machine: sync-service conflicts show.");
}

absl::StatusOr<ResolveRequest> ResolveFromProto(const v1::ResolveConflictRequest& in) {
  ResolveRequest request;
  request.conflict_id = in.conflict_id();
  request.expected_revision = in.expected_revision();
  request.reason_code = in.reason_code();
  switch (in.action()) {
    case v1::RESOLVE_ACTION_KEEP:
      request.action = ResolveAction::kKeep;
      return request;
    case v1::RESOLVE_ACTION_RESTORE:
      request.action = ResolveAction::kRestore;
      return request;
    case v1::RESOLVE_ACTION_EDIT: {
      request.action = ResolveAction::kEdit;
      absl::StatusOr<Fields> content = FieldsFromJson(in.content_json());
      if (!content.ok()) {
        return FieldError("content_json",
                          absl::StrCat("The edited content is no row: ", content.status().message(),
                                       ". Nothing was changed. Send row JSON (docs/PROTOCOL.md)."));
      }
      request.content = *std::move(content);
      return request;
    }
    default:
      return FieldError("action",
                        "action is none of KEEP, RESTORE, EDIT. Nothing was changed. Name one.");
  }
}

absl::Status Resolve(ServiceContext& service, const Principal& who,
                     const v1::ResolveConflictRequest& in, v1::ResolveConflictResponse* response) {
  PT_ASSIGN_OR_RETURN(const ResolveRequest request, ResolveFromProto(in));
  PT_ASSIGN_OR_RETURN(const Revision revision, service.engine.ResolveConflict(who, request));
  service.feed.Notify(who.tenant, revision);
  response->set_revision(revision);
  v1::Conflict* const conflict = response->mutable_conflict();
  PT_RETURN_IF_ERROR(ReadConflict(service, who, request.conflict_id, conflict));
  // It is done, and must be answered: without the contents, if they do not fit.
  if (!IsTooLarge(*conflict)) return absl::OkStatus();
  conflict->clear_archived_data_json();
  conflict->clear_chosen_data_json();
  conflict->clear_base_data_json();
  return absl::OkStatus();
}

absl::Status UnlockEntity(ServiceContext& service, const Principal& who,
                          const v1::UnlockRequest& request, v1::UnlockResponse* response) {
  PT_ASSIGN_OR_RETURN(const Revision revision,
                      service.engine.Unlock(who, {request.entity_type(), request.entity_id()},
                                            request.reason_code()));
  service.feed.Notify(who.tenant, revision);
  response->set_revision(revision);
  return absl::OkStatus();
}

absl::Status ListDeviceRows(ServiceContext& service, const Principal& who,
                            const v1::ListDevicesRequest&, v1::ListDevicesResponse* response) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, service.store.BeginRead());
  PT_ASSIGN_OR_RETURN(const std::vector<DeviceRow> rows, reader->ListDevices(who.tenant));
  for (const DeviceRow& row : rows) DeviceRowToProto(row, response->add_devices());
  return absl::OkStatus();
}

absl::Status Revoke(ServiceContext& service, const Principal& who,
                    const v1::RevokeDeviceRequest& request, v1::RevokeDeviceResponse*) {
  if (!request.reason_code().empty()) PT_RETURN_IF_ERROR(CheckReasonCode(request.reason_code()));
  const absl::Time now = service.clock.Now();
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreWriter> writer, service.store.BeginWrite());
  PT_ASSIGN_OR_RETURN(const std::optional<DeviceRow> row,
                      writer->FindDevice(who.tenant, request.device_id()));
  if (!row.has_value()) return NotFound("The device");
  if (row->revoked) return absl::OkStatus();  // A repeated call.
  PT_RETURN_IF_ERROR(writer->RevokeDevice(who.tenant, request.device_id(), now));
  AuditEvent event;
  event.at = now;
  event.event = "device.revoke";
  event.device = request.device_id();
  event.user = who.user.empty() ? who.device : who.user;
  event.outcome = "Revoked";
  event.reason = request.reason_code();
  PT_RETURN_IF_ERROR(writer->Audit(who.tenant, event));
  return writer->Commit();
}

absl::Status ListAuditRows(ServiceContext& service, const Principal& who,
                           const v1::ListAuditRequest& request, v1::ListAuditResponse* response) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, service.store.BeginRead());
  PT_ASSIGN_OR_RETURN(
      const std::vector<AuditRow> rows,
      reader->ReadAudit(who.tenant, request.after_sequence(), ListSize(request.page_size())));
  for (const AuditRow& row : rows) AuditRowToProto(row, response->add_entries());
  return absl::OkStatus();
}

absl::Status Verify(ServiceContext& service, const Principal& who, const v1::VerifyAuditRequest&,
                    v1::VerifyAuditResponse* response) {
  PT_ASSIGN_OR_RETURN(const std::unique_ptr<StoreReader> reader, service.store.BeginRead());
  PT_ASSIGN_OR_RETURN(const AuditVerdict verdict, ptdoc::sync::VerifyAudit(*reader, who.tenant));
  response->set_intact(verdict.intact);
  response->set_entries(verdict.entries);
  response->set_first_bad_sequence(verdict.first_bad_sequence);
  response->set_head_hash(absl::BytesToHexString(verdict.head_hash));
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* AdminServiceImpl::ListConflicts(grpc::CallbackServerContext* context,
                                                          const v1::ListConflictsRequest* request,
                                                          v1::ListConflictsResponse* response) {
  return RunUnary(service_, Method::kListConflicts, Lane::kRead, context, request, response,
                  ListConflictRows);
}

grpc::ServerUnaryReactor* AdminServiceImpl::GetConflict(grpc::CallbackServerContext* context,
                                                        const v1::GetConflictRequest* request,
                                                        v1::GetConflictResponse* response) {
  return RunUnary(service_, Method::kGetConflict, Lane::kRead, context, request, response,
                  GetConflictRow);
}

grpc::ServerUnaryReactor* AdminServiceImpl::ResolveConflict(
    grpc::CallbackServerContext* context, const v1::ResolveConflictRequest* request,
    v1::ResolveConflictResponse* response) {
  return RunUnary(service_, Method::kResolveConflict, Lane::kWrite, context, request, response,
                  Resolve);
}

grpc::ServerUnaryReactor* AdminServiceImpl::Unlock(grpc::CallbackServerContext* context,
                                                   const v1::UnlockRequest* request,
                                                   v1::UnlockResponse* response) {
  return RunUnary(service_, Method::kUnlock, Lane::kWrite, context, request, response,
                  UnlockEntity);
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListDevices(grpc::CallbackServerContext* context,
                                                        const v1::ListDevicesRequest* request,
                                                        v1::ListDevicesResponse* response) {
  return RunUnary(service_, Method::kListDevices, Lane::kRead, context, request, response,
                  ListDeviceRows);
}

grpc::ServerUnaryReactor* AdminServiceImpl::RevokeDevice(grpc::CallbackServerContext* context,
                                                         const v1::RevokeDeviceRequest* request,
                                                         v1::RevokeDeviceResponse* response) {
  return RunUnary(service_, Method::kRevokeDevice, Lane::kWrite, context, request, response,
                  Revoke);
}

grpc::ServerUnaryReactor* AdminServiceImpl::ListAudit(grpc::CallbackServerContext* context,
                                                      const v1::ListAuditRequest* request,
                                                      v1::ListAuditResponse* response) {
  return RunUnary(service_, Method::kListAudit, Lane::kRead, context, request, response,
                  ListAuditRows);
}

grpc::ServerUnaryReactor* AdminServiceImpl::VerifyAudit(grpc::CallbackServerContext* context,
                                                        const v1::VerifyAuditRequest* request,
                                                        v1::VerifyAuditResponse* response) {
  return RunUnary(service_, Method::kVerifyAudit, Lane::kRead, context, request, response, Verify);
}

}  // namespace ptdoc::sync
