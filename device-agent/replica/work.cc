#include "device-agent/replica/work.h"

#include <utility>

#include "common/base/bytes.h"
#include "device-agent/ledger/codec.h"

namespace ptdoc::sync {
namespace {

constexpr uint8_t kFormat = 1;

void PutInt(ByteWriter& out, int64_t value) {
  out.Fixed64(static_cast<uint64_t>(value));
}
int64_t GetInt(ByteReader& in) {
  return static_cast<int64_t>(in.Fixed64());
}
std::string GetString(ByteReader& in) {
  return std::string(in.String());
}

void PutKey(ByteWriter& out, const EntityKey& key) {
  out.String(key.type);
  out.String(key.id);
}

EntityKey GetKey(ByteReader& in) {
  EntityKey key;
  key.type = GetString(in);
  key.id = GetString(in);
  return key;
}

void PutVersion(ByteWriter& out, const Version& version) {
  PutKey(out, version.key);
  PutInt(out, version.revision);
  out.String(version.check);
  out.U8(version.deleted ? 1 : 0);
  PutInt(out, version.last_modified);
  out.String(version.modified_by);
  out.String(EncodeFields(version.fields));
}

bool GetVersion(ByteReader& in, Version* version) {
  version->key = GetKey(in);
  version->revision = GetInt(in);
  version->check = GetString(in);
  version->deleted = in.U8() == 1;
  version->last_modified = GetInt(in);
  version->modified_by = GetString(in);
  return DecodeFields(in.String(), &version->fields);
}

void PutArchive(ByteWriter& out, const ArchiveEntry& entry) {
  out.String(entry.conflict_id);
  PutKey(out, entry.key);
  for (const std::string* text :
       {&entry.resolution_type, &entry.rule, &entry.reason, &entry.archived_json,
        &entry.chosen_json, &entry.base_json, &entry.archived_user, &entry.archived_device,
        &entry.chosen_user, &entry.chosen_device}) {
    out.String(*text);
  }
  PutInt(out, absl::ToUnixNanos(entry.detected_at));
  PutInt(out, entry.archived_time);
  PutInt(out, entry.chosen_time);
  out.U8(entry.is_resolved ? 1 : 0);
}

ArchiveEntry GetArchive(ByteReader& in) {
  ArchiveEntry entry;
  entry.conflict_id = GetString(in);
  entry.key = GetKey(in);
  for (std::string* text :
       {&entry.resolution_type, &entry.rule, &entry.reason, &entry.archived_json,
        &entry.chosen_json, &entry.base_json, &entry.archived_user, &entry.archived_device,
        &entry.chosen_user, &entry.chosen_device}) {
    *text = GetString(in);
  }
  entry.detected_at = absl::FromUnixNanos(GetInt(in));
  entry.archived_time = GetInt(in);
  entry.chosen_time = GetInt(in);
  entry.is_resolved = in.U8() == 1;
  return entry;
}

void PutTarget(ByteWriter& out, const Target& target) {
  out.U8(static_cast<uint8_t>(target.act));
  PutVersion(out, target.version);
  out.String(EncodeRowHashes(target.after));
  PutInt(out, target.closes_item);
  out.U8(static_cast<uint8_t>(target.closes_as));
  out.String(target.code);
  out.String(target.constraint);
  out.U8(target.stays_as_sent.has_value() ? 1 : 0);
  if (target.stays_as_sent.has_value()) out.String(EncodeRowHashes(*target.stays_as_sent));
  out.U8(target.archive.has_value() ? 1 : 0);
  if (target.archive.has_value()) PutArchive(out, *target.archive);
}

bool GetHashes(ByteReader& in, RowHashes* row) {
  absl::StatusOr<RowHashes> hashes = DecodeRowHashes(in.String());
  if (!hashes.ok()) return false;
  *row = *std::move(hashes);
  return true;
}

bool GetTarget(ByteReader& in, Target* target) {
  target->act = static_cast<Act>(in.U8());
  if (!GetVersion(in, &target->version) || !GetHashes(in, &target->after)) return false;
  target->closes_item = GetInt(in);
  target->closes_as = static_cast<ItemStatus>(in.U8());
  target->code = GetString(in);
  target->constraint = GetString(in);
  if (in.U8() == 1 && !GetHashes(in, &target->stays_as_sent.emplace())) return false;
  if (in.U8() == 1) target->archive = GetArchive(in);
  return in.ok();
}

}  // namespace

std::string EncodeWork(const Work& work) {
  ByteWriter out;
  out.U8(kFormat);
  out.String(work.kind);
  out.U8(work.moves_cursor ? 1 : 0);
  out.String(work.cursor);
  out.String(work.epoch);
  out.String(work.file_id);
  out.U8(work.compare ? 1 : 0);
  out.Varint(work.targets.size());
  for (const Target& target : work.targets) PutTarget(out, target);
  out.Varint(work.notes.size());
  for (const StaleNote& note : work.notes) {
    PutKey(out, note.key);
    PutInt(out, note.revision);
    out.U8(note.backfill ? 2 : note.put_back ? 1 : 0);
  }
  out.Varint(work.archives.size());
  for (const ArchiveEntry& entry : work.archives) PutArchive(out, entry);
  return out.Take();
}

absl::StatusOr<Work> DecodeWork(absl::string_view bytes) {
  const absl::Status malformed = absl::DataLossError("an intent in the ledger is malformed");
  ByteReader in(bytes);
  if (in.U8() != kFormat) return malformed;
  Work work;
  work.kind = GetString(in);
  work.moves_cursor = in.U8() == 1;
  work.cursor = GetString(in);
  work.epoch = GetString(in);
  work.file_id = GetString(in);
  work.compare = in.U8() == 1;
  for (uint64_t i = in.Varint(); i > 0 && in.ok(); --i) {
    if (!GetTarget(in, &work.targets.emplace_back())) return malformed;
  }
  for (uint64_t i = in.Varint(); i > 0 && in.ok(); --i) {
    StaleNote& note = work.notes.emplace_back();
    note.key = GetKey(in);
    note.revision = GetInt(in);
    const uint8_t put_back = in.U8();
    note.put_back = put_back != 0;
    note.backfill = put_back == 2;
  }
  for (uint64_t i = in.Varint(); i > 0 && in.ok(); --i) work.archives.push_back(GetArchive(in));
  if (!in.ok() || !in.AtEnd()) return malformed;
  return work;
}

}  // namespace ptdoc::sync
