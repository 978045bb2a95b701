#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/base/mutex.h"
#include "common/model/change.h"

namespace ptdoc::sync {

// Who is waiting for which tenant's next change. Knows no content: those who
// are woken read the store themselves. Thread-safe.
class Feed {
 public:
  using Token = uint64_t;
  // `newest`: the tenant's newest revision, or 0 where the notifier does not
  // know it. Runs on the notifier's thread and must not block, nor call
  // Unsubscribe with its own token.
  using Callback = std::function<void(Revision newest)>;

  Token Subscribe(absl::string_view tenant, Callback callback);
  // When this returns the callback does not run and will never run again.
  void Unsubscribe(Token token);

  void Notify(absl::string_view tenant, Revision newest = 0);
  void NotifyAll();

  // Tenants for which somebody waits.
  std::vector<std::string> Tenants() const;

 private:
  struct Subscriber {
    Mutex mutex;
    Callback callback ABSL_GUARDED_BY(mutex);  // empty once unsubscribed
  };
  using Subscribers = std::map<Token, std::shared_ptr<Subscriber>>;

  static void Call(const std::vector<std::shared_ptr<Subscriber>>& subscribers, Revision newest);

  mutable Mutex mutex_;
  Token next_token_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<std::string, Subscribers, std::less<>> tenants_ ABSL_GUARDED_BY(mutex_);
  std::map<Token, std::string> tenant_of_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ptdoc::sync
