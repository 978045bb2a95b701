#pragma once

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status.h"
#include "common/model/reason.h"
#include "google/protobuf/arena.h"
#include "sync-service/rpc/call.h"

namespace ptdoc::sync {

// For a message that is read or written and then dropped: its parts stand side by
// side, and go all at once.
inline google::protobuf::ArenaOptions ArenaOfMessage() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 1 << 10;
  options.max_block_size = 64 << 10;
  return options;
}

// Reads a message out of the bytes that came. RESOURCE_EXHAUSTED
// (MESSAGE_TOO_LARGE), or INVALID_ARGUMENT (FIELD, named `name`) for what is no
// such message. `bytes` is empty afterwards.
template <typename Message>
absl::Status ReadMessage(absl::string_view name, grpc::ByteBuffer* bytes, Message* message) {
  PT_RETURN_IF_ERROR(CheckMessageSize(bytes->Length()));
  if (grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok()) return absl::OkStatus();
  return FieldError(name,
                    absl::StrCat("What was sent is no ", name,
                                 ": its bytes cannot be parsed, or a string in it is not UTF-8. "
                                 "Nothing of it was taken. Send it in protobuf's encoding, and "
                                 "text that is not UTF-8 as raw_text."));
}

// INTERNAL, which cannot happen below 2 GiB.
template <typename Message>
absl::Status WriteMessage(const Message& message, grpc::ByteBuffer* bytes) {
  bool own_buffer = false;
  if (grpc::SerializationTraits<Message>::Serialize(message, bytes, &own_buffer).ok()) {
    return absl::OkStatus();
  }
  return absl::InternalError("the answer cannot be serialized");
}

}  // namespace ptdoc::sync
