#pragma once

#include "common/base/log.h"
#include "common/rpc/config.h"

namespace ptdoc::sync {

// The keys of [log], which every program has, added to its own.
ConfigSchema WithLogKeys(ConfigSchema schema);

// What they say; `log` is that section of a schema with these keys.
LogOptions LogOptionsOf(const ConfigTable& log);

}  // namespace ptdoc::sync
