#include "device-agent/rpc/pull_stream.h"

#include <utility>

#include "absl/status/statusor.h"
#include "common/base/status.h"
#include "common/rpc/status.h"
#include "common/wire/compression.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"

namespace ptdoc::sync {
namespace {

// What one message may hold; as much as the channel takes without compression.
constexpr size_t kExpandedBytesMax = 64 << 20;

absl::StatusOr<IncomingPage> PageFromProto(v1::PullResponse* in) {
  IncomingPage page;
  if (!ExpandTables(in->compressed_tables(), kExpandedBytesMax, in->mutable_tables()).ok()) {
    return absl::InternalError("a page's compressed rows cannot be read");
  }
  page.bytes = in->ByteSizeLong();
  PT_ASSIGN_OR_RETURN(page.versions, VersionsFromProto(in));
  page.cursor = std::move(*in->mutable_cursor());
  page.batch_end = in->batch_end();
  page.caught_up = in->caught_up();
  if (in->has_remaining()) page.remaining = in->remaining();
  page.device = std::move(*in->mutable_device_id());
  if (in->has_scope()) {
    page.refused_types.emplace(std::make_move_iterator(in->scope().refused_types().begin()),
                               std::make_move_iterator(in->scope().refused_types().end()));
  }
  page.epoch = std::move(*in->mutable_epoch());
  page.server_time = TimeFromProto(in->server_time()).value_or(absl::UnixEpoch());
  return page;
}

}  // namespace

void PullStream::Start(v1::SyncService::Stub& stub) {
  self_ = shared_from_this();
  link_->live.Enter();
  stub.async()->Pull(&context_, &request_, this);
  // Reads are started from the owner's thread too.
  AddHold();
  MutexLock lock(mutex_);
  reading_ = true;
  StartRead(&response_);
  StartCall();
}

void PullStream::OnReadDone(bool ok) {
  absl::StatusOr<IncomingPage> page = absl::UnknownError("the stream ended");
  if (ok) page = PageFromProto(&response_);
  if (ok && response_.takes_compressed_tables()) link_->takes_compressed_tables = true;
  if (ok && response_.takes_cells()) link_->takes_cells = true;
  if (ok && !page.ok()) Break(page.status());
  {
    MutexLock lock(mutex_);
    reading_ = false;
    if (!page.ok() || cancelled_) return Release();
    ready_.push_back(*std::move(page));
    StepRead();
    if (std::exchange(posted_, true)) return;
  }
  const bool posted = link_->post([self = shared_from_this()](PeerEvents& events) {
    for (IncomingPage& one : self->Take(events.WantsPages())) {
      if (!self->closed_) events.OnPullPage(std::move(one));
    }
  });
  if (!posted) Abandon();
}

// Where more of them wait than the session wants, none is read: so the service is held
// up, not our memory.
std::vector<IncomingPage> PullStream::Take(bool read_on) {
  MutexLock lock(mutex_);
  posted_ = false;
  reads_on_ = read_on;
  std::vector<IncomingPage> taken = std::exchange(ready_, {});
  StepRead();
  return taken;
}

void PullStream::ReadOn() {
  MutexLock lock(mutex_);
  reads_on_ = true;
  StepRead();
}

void PullStream::StepRead() {
  if (released_ || reading_ || !reads_on_ || ready_.size() >= kReadyMax) return;
  reading_ = true;
  StartRead(&response_);
}

void PullStream::Close() {
  closed_ = true;
  Abandon();
}

void PullStream::Abandon() {
  Break(absl::CancelledError("the stream was abandoned"));
}

void PullStream::Break(const absl::Status& why) {
  MutexLock lock(mutex_);
  if (!cancelled_) why_ = why;
  cancelled_ = true;
  context_.TryCancel();
  if (!reading_) Release();
}

void PullStream::Release() {
  if (std::exchange(released_, true)) return;
  RemoveHold();
}

void PullStream::OnDone(const grpc::Status& status) {
  absl::Status result = FromGrpcStatus(status);
  {
    MutexLock lock(mutex_);
    if (!why_.ok()) result = why_;
  }
  const std::shared_ptr<PeerLink> link = link_;
  std::shared_ptr<PullStream> self = std::move(self_);
  link->post([self, result](PeerEvents& events) {
    if (!std::exchange(self->closed_, true)) events.OnPullClosed(result);
  });
  self.reset();
  link->live.Leave();
}

void FetchCall::Start(v1::SyncService::Stub& stub) {
  self_ = shared_from_this();
  link_->live.Enter();
  stub.async()->Pull(&context_, &request_, this);
  StartRead(&response_);
  StartCall();
}

absl::Status FetchCall::Take() {
  PT_ASSIGN_OR_RETURN(IncomingPage page, PageFromProto(&response_));
  fetched_.versions.insert(fetched_.versions.end(), std::make_move_iterator(page.versions.begin()),
                           std::make_move_iterator(page.versions.end()));
  for (v1::EntityRef& missing : *response_.mutable_missing()) {
    fetched_.missing.push_back(
        {std::move(*missing.mutable_entity_type()), std::move(*missing.mutable_entity_id())});
  }
  fetched_.witness = std::move(*response_.mutable_witness());
  fetched_.epoch = std::move(page.epoch);
  fetched_.server_time = page.server_time;
  return absl::OkStatus();
}

void FetchCall::OnReadDone(bool ok) {
  if (!ok) return;
  why_ = Take();
  if (why_.ok()) return StartRead(&response_);
  context_.TryCancel();
}

void FetchCall::OnDone(const grpc::Status& status) {
  const absl::Status result = why_.ok() ? FromGrpcStatus(status) : why_;
  const std::shared_ptr<PeerLink> link = link_;
  std::shared_ptr<FetchCall> self = std::move(self_);
  link->post([result, fetched = std::move(fetched_)](PeerEvents& events) mutable {
    if (result.ok()) return events.OnFetched(std::move(fetched));
    events.OnFetchFailed(result);
  });
  // Whoever waits for the call may take the channel down next.
  self.reset();
  link->live.Leave();
}

}  // namespace ptdoc::sync
