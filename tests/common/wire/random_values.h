#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "common/model/change.h"
#include "common/model/value.h"
#include "tests/support/random_value.h"

namespace ptdoc::sync {

// The same few columns in every row, so that rows share tables.
inline Fields RandomColumns(Rng& rng, uint64_t count) {
  std::vector<Field> fields;
  for (uint64_t i = 0; i < count; ++i) {
    fields.push_back({"Column" + std::to_string(i), RandomValue(rng)});
  }
  return Fields(std::move(fields));
}

inline std::string RandomOf(Rng& rng, const std::vector<std::string>& choices) {
  return choices[rng.Below(choices.size())];
}

inline EntityKey RandomKey(Rng& rng) {
  return {RandomOf(rng, {"Patient", "ClinicalNote"}), "id-" + std::to_string(rng.Below(1000))};
}

inline Change RandomChange(Rng& rng) {
  Change change;
  change.key = RandomKey(rng);
  change.operation = static_cast<Operation>(rng.Below(3));
  change.base_revision = static_cast<Revision>(rng.Below(5));
  if (change.base_revision > 0) change.base_check = rng.Bytes(8);
  change.integer_key = rng.Below(4) == 0;
  change.last_modified = static_cast<TimeNs>(rng.Below(uint64_t{1} << 62));
  change.modified_by = RandomOf(rng, {"", "anna", "ben"});
  if (change.operation != Operation::kDelete) {
    change.fields = RandomColumns(rng, rng.Below(4));
    if (rng.Below(2) == 0) change.fields.Set("Id", Value::Text(change.key.id));
  }
  change.complete = rng.Below(2) == 0;
  change.reoffer = rng.Below(8) == 0;
  return change;
}

inline Version RandomVersion(Rng& rng) {
  Version version;
  version.key = RandomKey(rng);
  version.revision = 1 + static_cast<Revision>(rng.Below(1'000'000));
  version.check = rng.Bytes(8);
  version.deleted = rng.Below(5) == 0;
  version.last_modified = static_cast<TimeNs>(rng.Below(uint64_t{1} << 62));
  version.modified_by = RandomOf(rng, {"", "anna", "ben"});
  if (!version.deleted) {
    version.fields = RandomColumns(rng, rng.Below(4));
    if (rng.Below(2) == 0) version.fields.Set("Id", Value::Text(version.key.id));
  }
  if (rng.Below(4) == 0)
    version.conflict = ConflictNotice{"c-1", Resolution::kSignedWins, "tab", 7, "c-0"};
  return version;
}

}  // namespace ptdoc::sync
