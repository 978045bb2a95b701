#include "device-agent/rpc/grpc_peer.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/wire/compression.h"
#include "common/wire/convert.h"
#include "common/wire/values.h"

namespace ptdoc::sync {

void PrepareCall(const GrpcPeerOptions& options, TokenFile& token_file,
                 grpc::ClientContext& context) {
  const std::string token = token_file.Token();
  if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  // With a token the service knows the device by it, and refuses another name.
  if ((token.empty() || options.id_is_configured) && IsHeaderText(options.device_id)) {
    context.AddMetadata("ptdoc-device", options.device_id);
  }
  context.AddMetadata("ptdoc-agent", absl::StrCat(options.agent_version, "; packed"));
  // The session decides when to try again. The channel's own backoff would only
  // make an attempt fail that nobody made.
  if (options.channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_TRANSIENT_FAILURE) {
    grpc::experimental::ChannelResetConnectionBackoff(options.channel.get());
  }
}

GrpcPeer::GrpcPeer(GrpcPeerOptions options, TokenFile& token, PostReport post)
    : options_(std::move(options)),
      token_(token),
      stub_(v1::SyncService::NewStub(options_.channel)),
      link_(std::make_shared<PeerLink>()) {
  link_->post = std::move(post);
}

GrpcPeer::~GrpcPeer() {
  if (fetch_ != nullptr) fetch_->Abandon();
  if (pull_ != nullptr) pull_->Close();
  if (push_ != nullptr && !push_->closed()) push_->Close();
  // A stream that is closed properly takes the last report of the queue along.
  link_->live.WaitNoneFor(kFarewellMax);
  if (push_ != nullptr) push_->Abandon();
  if (leaving_ != nullptr) leaving_->Abandon();
  link_->live.WaitNone();
}

void GrpcPeer::OpenPush() {
  if (leaving_ != nullptr) leaving_->Abandon();
  leaving_.reset();
  if (push_ != nullptr && !push_->closed()) push_->Close();
  push_ = std::make_shared<PushStream>(link_);
  Prepare(push_->context());
  push_->Start(*stub_);
}

void GrpcPeer::SendBatch(const OutgoingBatch& batch, const std::string& cursor,
                         const QueueHealth& queue) {
  if (push_ == nullptr) return;
  v1::PushRequest request;
  request.set_batch_id(batch.batch_id);
  request.set_cursor(cursor);
  request.set_witness(witness_);
  if (pull_ != nullptr && !pull_->closed()) request.set_pull_stream(pull_stream_);
  PackChanges(batch.changes, &request, link_->takes_cells ? RowForm::kCells : RowForm::kValues);
  if (options_.compress && link_->takes_compressed_tables) {
    CompressTables(request.mutable_tables(), request.mutable_compressed_tables());
  }
  QueueHealthToProto(queue, request.mutable_queue());
  push_->Send(std::move(request), /*is_report=*/false);
}

void GrpcPeer::SendSettle(const std::string& batch_id, const QueueHealth& queue) {
  if (push_ == nullptr) return;
  v1::PushRequest request;
  request.set_batch_id(batch_id);
  request.set_settle(true);
  request.set_witness(witness_);
  QueueHealthToProto(queue, request.mutable_queue());
  push_->Send(std::move(request), /*is_report=*/false);
}

void GrpcPeer::SendReport(const QueueHealth& queue) {
  if (push_ == nullptr) return;
  v1::PushRequest request;
  request.set_witness(witness_);
  QueueHealthToProto(queue, request.mutable_queue());
  push_->Send(std::move(request), /*is_report=*/true);
}

void GrpcPeer::ClosePush() {
  if (push_ == nullptr || push_->closed()) return;
  push_->Close();
  if (leaving_ != nullptr) leaving_->Abandon();
  leaving_ = std::exchange(push_, nullptr);
  link_->post([](PeerEvents& events) { events.OnPushClosed(absl::OkStatus()); });
}

void GrpcPeer::OpenPull(const std::string& cursor, const std::vector<std::string>& types,
                        bool follow, const QueueHealth& queue) {
  if (pull_ != nullptr && !pull_->closed()) pull_->Close();
  v1::PullRequest request;
  request.set_cursor(cursor);
  request.set_witness(witness_);
  for (const std::string& type : types) request.add_entity_types(ToUtf8(type));
  request.set_follow(follow);
  request.set_packed(true);
  request.set_cells(true);
  request.set_compressed(options_.compress);
  // One of its own for each stream: a batch must not be left out of a feed that
  // was opened after it was sent.
  SystemRng rng;
  pull_stream_ = NewUuid(rng);
  request.set_stream_id(pull_stream_);
  QueueHealthToProto(queue, request.mutable_queue());
  pull_ = std::make_shared<PullStream>(link_, std::move(request));
  Prepare(pull_->context());
  pull_->Start(*stub_);
}

void GrpcPeer::ClosePull() {
  if (pull_ == nullptr || pull_->closed()) return;
  pull_->Close();
  link_->post([](PeerEvents& events) { events.OnPullClosed(absl::OkStatus()); });
}

void GrpcPeer::ReadOn() {
  if (pull_ != nullptr && !pull_->closed()) pull_->ReadOn();
}

void GrpcPeer::Fetch(const std::vector<EntityKey>& keys) {
  v1::PullRequest request;
  request.set_packed(true);
  request.set_cells(true);
  request.set_compressed(options_.compress);
  request.set_witness(witness_);
  for (const EntityKey& key : keys) {
    v1::EntityRef* const entity = request.add_entities();
    entity->set_entity_type(ToUtf8(key.type));
    entity->set_entity_id(ToUtf8(key.id));
  }
  fetch_ = std::make_shared<FetchCall>(link_, std::move(request));
  Prepare(fetch_->context());
  fetch_->context().set_deadline(std::chrono::system_clock::now() +
                                 absl::ToChronoMilliseconds(kFetchMax));
  fetch_->Start(*stub_);
}

}  // namespace ptdoc::sync
