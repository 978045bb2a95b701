// The audit chain: what its hashes cover, and how it is checked.
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status.h"
#include "sync-service/store/store.h"

namespace ptdoc::sync {
namespace {

constexpr absl::string_view kAuditDomain = "ptdoc.audit.1";
constexpr size_t kPageRows = 1000;
// Of what is hashed: the numbers, and the lengths of ordinary texts.
constexpr size_t kOverheadBytes = 64;

absl::StatusOr<AuditVerdict> Broken(AuditVerdict verdict, int64_t sequence) {
  verdict.intact = false;
  verdict.first_bad_sequence = sequence;
  return verdict;
}

}  // namespace

std::string AuditHash(absl::string_view previous, int64_t sequence, const AuditEvent& event) {
  ByteWriter hashed;
  hashed.Reserve(kAuditDomain.size() + previous.size() + event.event.size() + event.device.size() +
                 event.user.size() + event.claimed.size() + event.key.type.size() +
                 event.key.id.size() + event.outcome.size() + event.rule.size() +
                 event.reason.size() + kOverheadBytes);
  hashed.String(kAuditDomain);
  hashed.String(previous);
  hashed.Fixed64(static_cast<uint64_t>(sequence));
  hashed.Fixed64(static_cast<uint64_t>(absl::ToUnixMillis(event.at)));
  hashed.String(event.event);
  hashed.String(event.device);
  hashed.String(event.user);
  hashed.String(event.claimed);
  hashed.String(event.key.type);
  hashed.String(event.key.id);
  hashed.String(event.outcome);
  hashed.String(event.rule);
  hashed.Fixed64(static_cast<uint64_t>(event.revision));
  hashed.String(event.reason);
  return Sha256(hashed.str());
}

absl::StatusOr<AuditVerdict> VerifyAudit(StoreReader& reader, absl::string_view tenant) {
  AuditVerdict verdict;
  int64_t last = 0;
  while (true) {
    PT_ASSIGN_OR_RETURN(const std::vector<AuditRow> page,
                        reader.ReadAudit(tenant, last, kPageRows));
    for (const AuditRow& row : page) {
      const bool fits = row.sequence == last + 1 &&
                        row.hash == AuditHash(verdict.head_hash, row.sequence, row.event);
      if (!fits) return Broken(verdict, last + 1);
      last = row.sequence;
      verdict.head_hash = row.hash;
      ++verdict.entries;
    }
    if (page.size() < kPageRows) break;
  }
  PT_ASSIGN_OR_RETURN(const AuditHead head, reader.ReadAuditHead(tenant));
  if (head.sequence != last || head.hash != verdict.head_hash) return Broken(verdict, last + 1);
  return verdict;
}

}  // namespace ptdoc::sync
