#pragma once

#include <string>
#include <vector>

#include "common/merge/candidate.h"
#include "common/model/value.h"

namespace ptdoc::sync {

// What MergeFields made of two versions, and what each side lost by it.
struct MergedFields {
  Fields fields;
  // Of each field in the order of `fields`: when and by which device it was
  // last changed (as in Candidate).
  std::vector<TimeNs> times;
  std::vector<std::string> writers;

  // Nothing else stands than this side held.
  bool is_current = false;
  bool is_incoming = false;
  // A value that this side had changed does not stand: it must be archived.
  bool current_lost = false;
  bool incoming_lost = false;
  // The same, and the value was not NULL: a person should look at it.
  bool current_lost_value = false;
  bool incoming_lost_value = false;
  // Whose values current lost, each device once.
  std::vector<std::string> losers;
};

// Row 9 of the decision table: each field by itself, against the base.
//
//   incoming has the base's value             current's, changed or not
//   incoming changed it, current did not      incoming's
//   both changed it, to the same              that, with the later time
//   both changed it                           the later by the field's own time;
//                                             equal: the greater device, then the
//                                             greater value. A clamped time loses
//
// That current changed a field is seen by its time, too: what was changed and
// changed back is what somebody wanted last. Where only one side knows a column,
// its absence and NULL are one, and no change.
//
// For fields this is a join of last-writer-wins registers, hence the order in
// which versions made from one base arrive does not matter (but for clamped
// times). None of the three is deleted. Pure.
MergedFields MergeFields(const Candidate& base, const Candidate& current,
                         const Candidate& incoming);

}  // namespace ptdoc::sync
