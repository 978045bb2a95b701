#pragma once

#include "device-agent/replica/replica_impl.h"

namespace ptdoc::sync {

// Versions on their way into a Work. For page.cc and classify.cc only.
struct ReplicaImpl::Planning {
  Work work;
  PageReport report;
  const Findings& findings;
  Source source = Source::kPage;
};

}  // namespace ptdoc::sync
