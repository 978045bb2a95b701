#include "sync-service/rpc/digest.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/wire/values.h"
#include "sync-service/engine/engine.h"

namespace ptdoc::sync {
namespace {

template <typename Request>
DigestQuery QueryOf(const Principal& who, const Request& request) {
  DigestQuery query;
  query.pull.who = who;
  query.pull.cursor = request.cursor();
  query.pull.witness = request.witness();
  query.pull.types.assign(request.entity_types().begin(), request.entity_types().end());
  query.key = request.key();
  query.after = request.after_revision();
  query.up_to = request.up_to_revision();
  return query;
}

// Rows of one type mostly have the same fields: their names are sent once.
class Shapes {
 public:
  explicit Shapes(v1::DigestRowsResponse* out) : out_(out) {}

  uint32_t Of(const std::vector<std::string>& names) {
    const auto [at, is_new] = known_.emplace(names, known_.size());
    if (is_new) {
      v1::FieldNames* const shape = out_->add_shapes();
      for (const std::string& name : names) shape->add_names(ToUtf8(name));
    }
    return static_cast<uint32_t>(at->second);
  }

 private:
  v1::DigestRowsResponse* const out_;
  std::map<std::vector<std::string>, size_t> known_;
};

}  // namespace

absl::Status AnswerDigestRanges(ServiceContext& service, const Principal& who,
                                const v1::DigestRangesRequest& request,
                                v1::DigestRangesResponse* response) {
  DigestQuery query = QueryOf(who, request);
  query.range_rows = request.range_rows();
  PT_ASSIGN_OR_RETURN(const RangesAnswer answer, service.engine.DigestRanges(query));
  for (const RangeDigest& range : answer.ranges) {
    v1::RangeDigest* const out = response->add_ranges();
    out->set_after_revision(range.after);
    out->set_up_to_revision(range.up_to);
    out->set_rows(range.rows);
    out->set_digest(range.digest);
  }
  response->set_up_to_revision(answer.up_to);
  response->set_cursor_revision(answer.cursor);
  response->set_end(answer.end);
  return absl::OkStatus();
}

absl::Status AnswerDigestRows(ServiceContext& service, const Principal& who,
                              const v1::DigestRowsRequest& request,
                              v1::DigestRowsResponse* response) {
  DigestQuery query = QueryOf(who, request);
  for (const v1::EntityRef& entity : request.entities()) {
    query.entities.push_back({entity.entity_type(), entity.entity_id()});
  }
  PT_ASSIGN_OR_RETURN(const RowsAnswer answer, service.engine.DigestRows(query));
  Shapes shapes(response);
  for (const RowDigest& row : answer.rows) {
    v1::RowDigest* const out = response->add_rows();
    out->set_entity_type(ToUtf8(row.key.type));
    out->set_entity_id(ToUtf8(row.key.id));
    out->set_revision(row.revision);
    out->set_check(row.check);
    out->set_deleted(row.deleted);
    out->set_shape(shapes.Of(row.names));
    out->mutable_field_digests()->Add(row.digests.begin(), row.digests.end());
  }
  for (const EntityKey& key : answer.missing) {
    v1::EntityRef* const out = response->add_missing();
    out->set_entity_type(ToUtf8(key.type));
    out->set_entity_id(ToUtf8(key.id));
  }
  response->set_covered_revision(answer.covered);
  response->set_cursor_revision(answer.cursor);
  response->set_newest_revision(answer.newest);
  return absl::OkStatus();
}

}  // namespace ptdoc::sync
