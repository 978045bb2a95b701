// The cursor while many write: nobody misses a version, sees one twice, or half
// a batch. PTDOC_COMMITS=100000 threads_test for more of it.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/mutex.h"
#include "tests/support/scratch_dir.h"
#include "tests/threads/service.h"

namespace ptdoc::sync::threads {
namespace {

constexpr int kWriters = 4;

int64_t Commits() {
  const char* const text = std::getenv("PTDOC_COMMITS");
  return text == nullptr ? 2'000 : std::atoll(text);
}

// A client that waits for each answer before it sends the next batch: of one to
// five entities that only it writes, in two types, every one with the size of
// its batch.
class Writer {
 public:
  Writer(Service& service, int number, std::atomic<int64_t>& left)
      : service_(service), name_(absl::StrCat("w", number)), left_(left) {}

  void Run() {
    while (left_.fetch_sub(1) > 0) {
      PushBatch batch = Next();
      const size_t count = batch.changes.size();
      const absl::StatusOr<PushAnswer> answer = Send(std::move(batch));
      EXPECT_TRUE(answer.ok()) << answer.status();
      if (!answer.ok()) return;
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(answer->results[i].outcome, Outcome::kAccepted);
        revisions_[answer->results[i].key] = answer->results[i].revision;
        checks_[answer->results[i].key] = answer->results[i].check;
      }
      versions_ += static_cast<int64_t>(count);
      even_ += static_cast<int64_t>((count + 1) / 2);
    }
  }
  // After Run.
  int64_t versions() const { return versions_; }
  int64_t even() const { return even_; }

 private:
  PushBatch Next() {
    ++batches_;
    PushBatch batch;
    batch.who = Service::Device(name_);
    batch.batch_id = NewUuid(service_.rng());
    const int64_t size = 1 + batches_ % 5;
    for (int64_t i = 0; i < size; ++i) {
      Change change;
      change.key = {i % 2 == 0 ? "Even" : "Odd", absl::StrCat(name_, "-", (batches_ + i) % 40)};
      change.base_revision = revisions_[change.key];
      change.base_check = checks_[change.key];
      change.operation = change.base_revision == 0 ? Operation::kCreate : Operation::kUpdate;
      change.last_modified = absl::ToUnixNanos(service_.clock().Now());
      change.fields.Set("Id", Value::Text(change.key.id));
      change.fields.Set("Batch", Value::Text(batch.batch_id));
      change.fields.Set("Size", Value::Integer(size));
      change.complete = true;
      batch.changes.push_back(std::move(change));
    }
    return batch;
  }

  absl::StatusOr<PushAnswer> Send(PushBatch batch) {
    absl::StatusOr<PushAnswer> result = absl::UnknownError("");
    Mutex mutex;
    CondVar done;
    bool is_done = false;
    service_.Push(std::move(batch), [&](absl::StatusOr<PushAnswer> answer) {
      MutexLock lock(mutex);
      result = std::move(answer);
      is_done = true;
      done.NotifyAll();
    });
    MutexLock lock(mutex);
    while (!is_done) done.Wait(mutex);
    return result;
  }

  Service& service_;
  const std::string name_;
  std::atomic<int64_t>& left_;
  int64_t batches_ = 0;
  int64_t versions_ = 0;
  int64_t even_ = 0;
  std::map<EntityKey, Revision> revisions_;
  std::map<EntityKey, std::string> checks_;
};

// Reads the feed to its end and stays there; every so many pages it goes away
// and comes back with its cursor, and what came after that is nothing it has.
class Follower {
 public:
  Follower(Service& service, size_t page_size, int pages_a_life, std::vector<std::string> types)
      : service_(service), pages_a_life_(pages_a_life), types_(std::move(types)) {
    query_.who = Service::Device(absl::StrCat("f", page_size));
    query_.page_size = page_size;
    query_.types = types_;
  }
  ~Follower() {
    if (stream_ != nullptr) stream_->Close();
  }

  // Until it has kept as many versions as there are, once somebody knows.
  void Run() {
    bool more = true;
    while (more) {
      PullQuery query = query_;
      {
        MutexLock lock(mutex_);
        query.cursor = cursor_;
        page_.clear();
        pages_ = 0;
        ended_ = false;
      }
      stream_ = std::make_shared<PullStream>(
          service_, query, true, [this](absl::StatusOr<PullPage> page) { return Take(page); });
      stream_->Start();
      {
        MutexLock lock(mutex_);
        while (!ended_ && more) {
          more = kept_ < there_are_ && problem_.empty();
          if (!ended_ && more) changed_.Wait(mutex_);
        }
      }
      stream_->Close();
    }
  }

  // Until it stands at the end of a feed that is empty: a read that begins later begins
  // with the heads as they are then, in which batches are not whole.
  void WaitUntilItFollows() {
    MutexLock lock(mutex_);
    while (!follows_) changed_.Wait(mutex_);
  }

  void ThereAre(int64_t versions) {
    MutexLock lock(mutex_);
    there_are_ = versions;
    changed_.NotifyAll();
  }

  std::string problem() {
    MutexLock lock(mutex_);
    return problem_;
  }
  int64_t kept() {
    MutexLock lock(mutex_);
    return kept_;
  }

 private:
  bool Take(const absl::StatusOr<PullPage>& page) {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
    follows_ = true;
    if (!page.ok()) {
      problem_ = page.status().ToString();
      return false;
    }
    page_.insert(page_.end(), page->versions.begin(), page->versions.end());
    if (!page->cursor.empty()) Keep(page->cursor);
    ended_ = ++pages_ % pages_a_life_ == 0;
    return !ended_;
  }

  void Keep(const std::string& cursor) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::map<std::string, int64_t> seen;
    std::map<std::string, int64_t> sizes;
    for (const Version& version : page_) {
      const bool next =
          types_.empty() ? version.revision == newest_ + 1 : version.revision > newest_;
      if (!next) problem_ = absl::StrCat("after ", newest_, " came ", version.revision);
      newest_ = version.revision;
      const std::string batch(version.fields.Find("Batch")->bytes());
      ++seen[batch];
      sizes[batch] = version.fields.Find("Size")->integer();
    }
    for (const auto& [batch, count] : seen) {
      // Of a batch the changes 0, 2, 4 are of the type Even.
      const int64_t whole = types_.empty() ? sizes[batch] : (sizes[batch] + 1) / 2;
      if (count != whole) problem_ = absl::StrCat("half of batch ", batch);
    }
    kept_ += static_cast<int64_t>(page_.size());
    page_.clear();
    cursor_ = cursor;
  }

  Service& service_;
  const int pages_a_life_;
  const std::vector<std::string> types_;
  PullQuery query_;
  std::shared_ptr<PullStream> stream_;
  Mutex mutex_;
  CondVar changed_;
  std::string cursor_ ABSL_GUARDED_BY(mutex_);
  std::vector<Version> page_ ABSL_GUARDED_BY(mutex_);  // since the last cursor
  Revision newest_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t kept_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t there_are_ ABSL_GUARDED_BY(mutex_) = std::numeric_limits<int64_t>::max();
  bool follows_ ABSL_GUARDED_BY(mutex_) = false;
  int pages_ ABSL_GUARDED_BY(mutex_) = 0;  // of this life
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::string problem_ ABSL_GUARDED_BY(mutex_);
};

TEST(FeedUnderLoadTest, EveryFollowerSeesEveryVersionOnceAndNoHalfBatch) {
  const ScratchDir dir;
  Service service(dir.File("service.db"));
  std::atomic<int64_t> left = Commits();
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < kWriters; ++i) writers.push_back(std::make_unique<Writer>(service, i, left));
  // Pages of one version, of some, of many; lives just long enough for the longest
  // batch, of some pages, of all.
  std::vector<std::unique_ptr<Follower>> followers;
  const std::vector<std::string> all;
  followers.push_back(std::make_unique<Follower>(service, 1, 7, all));
  followers.push_back(std::make_unique<Follower>(service, 3, 2, all));
  followers.push_back(std::make_unique<Follower>(service, 50, 3, all));
  followers.push_back(std::make_unique<Follower>(service, 0, 1'000'000, all));
  followers.push_back(std::make_unique<Follower>(service, 2, 5, std::vector<std::string>{"Even"}));

  std::vector<std::thread> reading;
  for (const auto& follower : followers) reading.emplace_back([&follower] { follower->Run(); });
  for (const auto& follower : followers) follower->WaitUntilItFollows();
  std::vector<std::thread> writing;
  for (const auto& writer : writers) writing.emplace_back([&writer] { writer->Run(); });
  for (std::thread& thread : writing) thread.join();
  int64_t versions = 0;
  int64_t even = 0;
  for (const auto& writer : writers) {
    versions += writer->versions();
    even += writer->even();
  }
  for (const auto& follower : followers) follower->ThereAre(versions);
  followers.back()->ThereAre(even);
  for (std::thread& thread : reading) thread.join();

  for (const auto& follower : followers) EXPECT_EQ(follower->problem(), "");
  EXPECT_EQ(followers.front()->kept(), versions);
  EXPECT_EQ(followers.back()->kept(), even);
}

}  // namespace
}  // namespace ptdoc::sync::threads
