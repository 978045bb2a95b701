// How an unfinished verify stands in the ledger.
#include <algorithm>
#include <utility>

#include "common/base/bytes.h"
#include "device-agent/replica/verify.h"

namespace ptdoc::sync {
namespace {

constexpr uint8_t kVerifyFormat = 1;

void Put(ByteWriter& out, const VerifyRange& range) {
  out.Varint(static_cast<uint64_t>(range.after));
  out.Varint(static_cast<uint64_t>(range.up_to));
  out.Varint(static_cast<uint64_t>(range.rows));
  out.Fixed64(range.digest);
  out.Varint(static_cast<uint64_t>(range.own_rows));
  out.Fixed64(range.own_digest);
}

VerifyRange GetRange(ByteReader& in) {
  VerifyRange range;
  range.after = static_cast<Revision>(in.Varint());
  range.up_to = static_cast<Revision>(in.Varint());
  range.rows = static_cast<int64_t>(in.Varint());
  range.digest = in.Fixed64();
  range.own_rows = static_cast<int64_t>(in.Varint());
  range.own_digest = in.Fixed64();
  return range;
}

void Put(ByteWriter& out, const VerifyCount& count) {
  for (const uint64_t number : {count.rows_here, count.waiting_here, count.waiting_there,
                                count.different, count.missing_here, count.missing_there}) {
    out.Varint(number);
  }
}

VerifyCount GetCount(ByteReader& in) {
  VerifyCount count;
  for (uint64_t* number : {&count.rows_here, &count.waiting_here, &count.waiting_there,
                           &count.different, &count.missing_here, &count.missing_there}) {
    *number = in.Varint();
  }
  return count;
}

void Put(ByteWriter& out, const VerifyFinding& finding) {
  out.String(finding.key.type);
  out.String(finding.key.id);
  out.U8(static_cast<uint8_t>(finding.kind));
  out.Varint(finding.columns.size());
  for (const std::string& column : finding.columns) out.String(column);
  out.Varint(static_cast<uint64_t>(finding.there));
  out.Varint(static_cast<uint64_t>(finding.here));
  out.U8(finding.repaired ? 1 : 0);
}

VerifyFinding GetFinding(ByteReader& in) {
  VerifyFinding finding;
  finding.key.type = std::string(in.String());
  finding.key.id = std::string(in.String());
  finding.kind = static_cast<Difference>(in.U8());
  const uint64_t columns = in.Varint();
  for (uint64_t i = 0; i < columns && in.ok(); ++i) finding.columns.emplace_back(in.String());
  finding.there = static_cast<Revision>(in.Varint());
  finding.here = static_cast<Revision>(in.Varint());
  finding.repaired = in.U8() != 0;
  return finding;
}

void PutPosition(ByteWriter& out, const VerifyProgress& progress) {
  out.Varint(progress.range_at);
  out.Varint(static_cast<uint64_t>(progress.range_after));
  out.Varint(progress.type_at);
  std::vector<Field> after;
  for (size_t i = 0; i < progress.after.size(); ++i) {
    after.push_back({std::string(1, static_cast<char>('a' + i)), progress.after[i]});
  }
  out.String(EncodeFields(Fields(std::move(after))));
  out.String(progress.after_id);
  out.Varint(progress.live_states);
  out.Varint(progress.known);
}

void GetPosition(ByteReader& in, VerifyProgress* progress) {
  progress->range_at = in.Varint();
  progress->range_after = static_cast<Revision>(in.Varint());
  progress->type_at = in.Varint();
  Fields after;
  if (DecodeFields(in.String(), &after)) {
    for (const Field& field : after) progress->after.push_back(field.value);
  }
  progress->after_id = std::string(in.String());
  progress->live_states = in.Varint();
  progress->known = in.Varint();
}

}  // namespace

uint64_t VerifyProgress::rows_done() const {
  uint64_t done = 0;
  for (const auto& [type, count] : counts) done += count.rows_here;
  return done;
}

VerifyRange* VerifyProgress::RangeOf(Revision revision) {
  const auto at = std::lower_bound(
      ranges.begin(), ranges.end(), revision,
      [](const VerifyRange& range, Revision wanted) { return range.up_to < wanted; });
  return at == ranges.end() || revision <= at->after ? nullptr : &*at;
}

std::string EncodeVerify(const VerifyProgress& progress) {
  ByteWriter out;
  out.U8(kVerifyFormat);
  out.String(progress.digest_key);
  out.String(progress.epoch);
  out.Fixed64(static_cast<uint64_t>(progress.begun));
  out.U8(static_cast<uint8_t>(progress.phase));
  out.Varint(static_cast<uint64_t>(progress.up_to));
  out.Varint(progress.ranges.size());
  for (const VerifyRange& range : progress.ranges) Put(out, range);
  PutPosition(out, progress);
  out.Varint(progress.types.size());
  for (const std::string& type : progress.types) out.String(type);
  out.Varint(progress.counts.size());
  for (const auto& [type, count] : progress.counts) {
    out.String(type);
    Put(out, count);
  }
  out.Varint(progress.findings.size());
  for (const auto& [key, finding] : progress.findings) Put(out, finding);
  out.Varint(progress.waiting.size());
  for (const auto& [key, here] : progress.waiting) {
    out.String(key.type);
    out.String(key.id);
    out.U8(here ? 1 : 0);
  }
  return out.Take();
}

absl::StatusOr<VerifyProgress> DecodeVerify(absl::string_view bytes) {
  ByteReader in(bytes);
  VerifyProgress progress;
  const bool known_format = in.U8() == kVerifyFormat;
  progress.digest_key = std::string(in.String());
  progress.epoch = std::string(in.String());
  progress.begun = static_cast<TimeNs>(in.Fixed64());
  progress.phase = static_cast<VerifyPhase>(in.U8());
  progress.up_to = static_cast<Revision>(in.Varint());
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    progress.ranges.push_back(GetRange(in));
  }
  GetPosition(in, &progress);
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    progress.types.emplace_back(in.String());
  }
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    const std::string type(in.String());
    progress.counts[type] = GetCount(in);
  }
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    VerifyFinding finding = GetFinding(in);
    progress.findings[finding.key] = std::move(finding);
  }
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    EntityKey key;
    key.type = std::string(in.String());
    key.id = std::string(in.String());
    progress.waiting[std::move(key)] = in.U8() != 0;
  }
  if (known_format && in.ok() && in.AtEnd()) return progress;
  return absl::DataLossError("an unfinished verify in the ledger is malformed");
}

}  // namespace ptdoc::sync
