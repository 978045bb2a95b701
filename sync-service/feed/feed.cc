#include "sync-service/feed/feed.h"

#include <utility>

namespace ptdoc::sync {

Feed::Token Feed::Subscribe(absl::string_view tenant, Callback callback) {
  auto subscriber = std::make_shared<Subscriber>();
  {
    MutexLock lock(subscriber->mutex);
    subscriber->callback = std::move(callback);
  }
  MutexLock lock(mutex_);
  const Token token = next_token_++;
  tenants_[std::string(tenant)][token] = std::move(subscriber);
  tenant_of_[token] = std::string(tenant);
  return token;
}

void Feed::Unsubscribe(Token token) {
  std::shared_ptr<Subscriber> subscriber;
  {
    MutexLock lock(mutex_);
    const auto tenant = tenant_of_.find(token);
    if (tenant == tenant_of_.end()) return;
    const auto subscribers = tenants_.find(tenant->second);
    const auto it = subscribers->second.find(token);
    subscriber = std::move(it->second);
    subscribers->second.erase(it);
    if (subscribers->second.empty()) tenants_.erase(subscribers);
    tenant_of_.erase(tenant);
  }
  // Waits for a call that runs at this moment.
  MutexLock lock(subscriber->mutex);
  subscriber->callback = nullptr;
}

void Feed::Notify(absl::string_view tenant, Revision newest) {
  std::vector<std::shared_ptr<Subscriber>> subscribers;
  {
    MutexLock lock(mutex_);
    const auto it = tenants_.find(tenant);
    if (it == tenants_.end()) return;
    for (const auto& [token, subscriber] : it->second) subscribers.push_back(subscriber);
  }
  Call(subscribers, newest);
}

void Feed::NotifyAll() {
  for (const std::string& tenant : Tenants()) Notify(tenant);
}

std::vector<std::string> Feed::Tenants() const {
  MutexLock lock(mutex_);
  std::vector<std::string> tenants;
  for (const auto& [tenant, subscribers] : tenants_) tenants.push_back(tenant);
  return tenants;
}

void Feed::Call(const std::vector<std::shared_ptr<Subscriber>>& subscribers, Revision newest) {
  for (const std::shared_ptr<Subscriber>& subscriber : subscribers) {
    MutexLock lock(subscriber->mutex);
    if (subscriber->callback) subscriber->callback(newest);
  }
}

}  // namespace ptdoc::sync
