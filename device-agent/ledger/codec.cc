#include "device-agent/ledger/codec.h"

#include "common/base/bytes.h"

namespace ptdoc::sync {

std::string EncodeRowHashes(const RowHashes& row) {
  constexpr size_t kBesideHashes = 11;  // the flag, and a number
  ByteWriter out;
  out.Reserve(kBesideHashes + 8 * row.hashes.size());
  out.U8(row.absent ? 1 : 0);
  out.Varint(static_cast<uint64_t>(row.columns_id));
  for (const uint64_t hash : row.hashes) out.Fixed64(hash);
  return out.Take();
}

absl::StatusOr<RowHashes> DecodeRowHashes(absl::string_view bytes) {
  ByteReader in(bytes);
  RowHashes row;
  row.absent = in.U8() == 1;
  row.columns_id = static_cast<int64_t>(in.Varint());
  if (!in.ok() || in.remaining() % 8 != 0) return absl::DataLossError("row hashes are malformed");
  row.hashes.reserve(in.remaining() / 8);
  while (!in.AtEnd()) row.hashes.push_back(in.Fixed64());
  return row;
}

void BindTextOrNull(sqlite::Statement& stmt, int index, const std::string& text) {
  if (text.empty()) {
    stmt.BindNull(index);
  } else {
    stmt.Bind(index, text);
  }
}

std::string EncodeColumns(const std::vector<std::string>& columns) {
  ByteWriter out;
  for (const std::string& column : columns) out.String(column);
  return out.Take();
}

absl::StatusOr<std::vector<std::string>> DecodeColumns(absl::string_view bytes) {
  ByteReader in(bytes);
  std::vector<std::string> columns;
  while (in.ok() && !in.AtEnd()) columns.emplace_back(in.String());
  if (!in.ok()) return absl::DataLossError("a column list is malformed");
  return columns;
}

}  // namespace ptdoc::sync
