#include "sync-service/engine/engine.h"

#include <utility>

namespace ptdoc::sync {

Engine::Engine(Store& store, const Clock& clock, Rng& rng, EngineOptions options)
    : store_(store), clock_(clock), rng_(rng), options_(std::move(options)) {}

}  // namespace ptdoc::sync
