#pragma once

#include "absl/status/status.h"
#include "ptdoc/sync/v1/sync_service.pb.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// Handlers of DigestRanges and DigestRows, on an executor's reading thread.
absl::Status AnswerDigestRanges(ServiceContext& service, const Principal& who,
                                const v1::DigestRangesRequest& request,
                                v1::DigestRangesResponse* response);
absl::Status AnswerDigestRows(ServiceContext& service, const Principal& who,
                              const v1::DigestRowsRequest& request,
                              v1::DigestRowsResponse* response);

}  // namespace ptdoc::sync
