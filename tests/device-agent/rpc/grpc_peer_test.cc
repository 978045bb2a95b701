#include "device-agent/rpc/grpc_peer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/model/reason.h"
#include "common/wire/compression.h"
#include "device-agent/rpc/pull_stream.h"
#include "tests/device-agent/rpc/fake_service.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The session's thread is the test's: reports wait until it takes them.
class Reports final : public PeerEvents {
 public:
  PostReport Post() {
    return [this](std::function<void(PeerEvents&)> report) {
      MutexLock lock(mutex_);
      if (stopped_) return false;
      waiting_.push_back(std::move(report));
      most_ = std::max(most_, waiting_.size());
      changed_.NotifyAll();
      return true;
    };
  }

  // Takes reports, in their order, until `seen` has so many lines.
  bool TakeUntil(size_t lines) {
    while (seen.size() < lines) {
      if (!WaitWaiting(1)) return false;
      TakeOne();
    }
    return true;
  }
  bool WaitWaiting(size_t count) {
    MutexLock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(kPatience);
    while (waiting_.size() < count) {
      if (std::chrono::steady_clock::now() > end) return false;
      changed_.WaitFor(mutex_, absl::Seconds(1));
    }
    return true;
  }
  void TakeNext() { TakeOne(); }
  void TakeAll() {
    while (TakeOne()) {
    }
  }
  // As a runner that ends: what waits is dropped, nothing more is taken.
  void Stop() {
    std::deque<std::function<void(PeerEvents&)>> dropped;
    MutexLock lock(mutex_);
    stopped_ = true;
    dropped.swap(waiting_);
  }
  size_t most_waiting() {
    MutexLock lock(mutex_);
    return most_;
  }

  bool wants_pages = true;
  std::function<void()> on_page;  // the next one
  std::vector<std::string> seen;
  absl::Status push_status;
  absl::Status pull_status;
  absl::Status fetch_status;
  IncomingFetch fetched;

 private:
  bool TakeOne() {
    std::function<void(PeerEvents&)> next;
    {
      MutexLock lock(mutex_);
      if (waiting_.empty()) return false;
      next = std::move(waiting_.front());
      waiting_.pop_front();
    }
    next(*this);
    return true;
  }

  void OnPushAnswer(IncomingAnswer answer) override { seen.push_back("answer " + answer.batch_id); }
  void OnPushClosed(const absl::Status& status) override {
    push_status = status;
    seen.emplace_back("push closed");
  }
  void OnPullPage(IncomingPage page) override {
    seen.push_back(absl::StrCat("page ", page.cursor, " ", page.versions.size()));
    if (on_page) std::exchange(on_page, nullptr)();
  }
  bool WantsPages() const override { return wants_pages; }
  void OnPullClosed(const absl::Status& status) override {
    pull_status = status;
    seen.emplace_back("pull closed");
  }
  void OnFetched(IncomingFetch fetch) override {
    fetched = std::move(fetch);
    seen.emplace_back("fetched");
  }
  void OnFetchFailed(const absl::Status& status) override {
    fetch_status = status;
    seen.emplace_back("fetch failed");
  }

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void(PeerEvents&)>> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t most_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

class GrpcPeerTest : public ::testing::Test {
 protected:
  GrpcPeerTest() {
    WriteFile(token_path_, "ptd_first\n");
    token_ = TokenFile::Open(token_path_).value();
    Connect(service_.NewChannel());
  }
  ~GrpcPeerTest() override {
    reports_.Stop();
    peer_.reset();
  }

  void Connect(const std::shared_ptr<grpc::Channel>& channel) {
    Connect(GrpcPeerOptions{channel, "tablet-1", "1.2.3"});
  }
  void Connect(GrpcPeerOptions options) {
    peer_.reset();
    peer_ = std::make_unique<GrpcPeer>(std::move(options), *token_, reports_.Post());
  }

  static OutgoingBatch Batch(const std::string& id) {
    Change change;
    change.key = {"Patient", "p-" + id};
    change.operation = Operation::kCreate;
    change.last_modified = 5;
    change.complete = true;
    change.fields.Set("Id", Value::Text("p-" + id));
    return {id, {change}};
  }
  static QueueHealth Pending(uint32_t count) {
    QueueHealth queue;
    queue.pending = count;
    return queue;
  }
  static v1::PushResponse AnswerTo(const std::string& batch_id) {
    v1::PushResponse response;
    response.set_batch_id(batch_id);
    return response;
  }
  static v1::PullResponse Page(const std::string& cursor) {
    v1::PullResponse page;
    page.set_cursor(cursor);
    page.set_batch_end(true);
    return page;
  }

  ScratchDir dir_;
  const std::string token_path_ = dir_.File("token");
  FakeService service_;
  Reports reports_;
  std::unique_ptr<TokenFile> token_;
  std::unique_ptr<GrpcPeer> peer_;
};

TEST_F(GrpcPeerTest, SendsBatchesWithoutWaitingForAnswers) {
  peer_->OpenPush();
  for (const char* id : {"a", "b", "c"}) peer_->SendBatch(Batch(id), "cursor-7", Pending(3));

  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  const std::vector<v1::PushRequest> requests = call->WaitRequests(3);

  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].batch_id(), "a");
  EXPECT_EQ(requests[1].batch_id(), "b");
  EXPECT_EQ(requests[2].batch_id(), "c");
  EXPECT_EQ(requests[0].cursor(), "cursor-7");
  EXPECT_EQ(requests[0].queue().pending(), 3u);
  ASSERT_EQ(requests[0].tables_size(), 1);
  EXPECT_EQ(requests[0].tables(0).rows_size(), 1);
}

TEST_F(GrpcPeerTest, SaysWhoItIs) {
  peer_->OpenPush();

  const auto call = service_.WaitPush(0);

  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->Header("authorization"), "Bearer ptd_first");
  EXPECT_EQ(call->Header("ptdoc-device"), "tablet-1");
  EXPECT_EQ(call->Header("ptdoc-agent"), "1.2.3; packed");
}

TEST_F(GrpcPeerTest, LeavesItsNameToTheTokenWhereNobodyConfiguredOne) {
  Connect(GrpcPeerOptions{service_.NewChannel(), "learned", "1.2.3", /*id_is_configured=*/false});
  peer_->OpenPush();

  const auto call = service_.WaitPush(0);

  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->Header("authorization"), "Bearer ptd_first");
  EXPECT_EQ(call->Header("ptdoc-device"), "");
}

TEST_F(GrpcPeerTest, ReportsAnswersInTheirOrder) {
  peer_->OpenPush();
  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  for (const char* id : {"a", "b", "c"}) call->Send(AnswerTo(id));
  call->End(absl::OkStatus());

  ASSERT_TRUE(reports_.TakeUntil(4));

  EXPECT_THAT(reports_.seen, ElementsAre("answer a", "answer b", "answer c", "push closed"));
  EXPECT_TRUE(reports_.push_status.ok()) << reports_.push_status;
}

TEST_F(GrpcPeerTest, ReportsNothingOfAStreamAfterItWasClosed) {
  peer_->OpenPush();
  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  call->Send(AnswerTo("late"));
  ASSERT_TRUE(reports_.WaitWaiting(1));

  peer_->ClosePush();
  ASSERT_TRUE(call->WaitHalfClosed());
  call->Send(AnswerTo("later"));
  call->End(absl::InternalError("of the old stream"));
  peer_->OpenPush();
  const auto next = service_.WaitPush(1);
  ASSERT_NE(next, nullptr);
  next->Send(AnswerTo("new"));
  ASSERT_TRUE(reports_.TakeUntil(2));
  peer_->ClosePush();
  ASSERT_TRUE(reports_.TakeUntil(3));
  reports_.TakeAll();

  EXPECT_THAT(reports_.seen, ElementsAre("push closed", "answer new", "push closed"));
}

TEST_F(GrpcPeerTest, SendsTheLastReportBeforeItCloses) {
  peer_->OpenPush();
  peer_->SendReport(Pending(9));
  peer_->ClosePush();

  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  const std::vector<v1::PushRequest> requests = call->WaitRequests(1);

  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].queue().pending(), 9u);
  EXPECT_EQ(requests[0].batch_id(), "");
  EXPECT_TRUE(call->WaitHalfClosed());
}

TEST_F(GrpcPeerTest, CutsAClosedPushThatLingersWhenTheNextOneOpens) {
  peer_->OpenPush();
  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  peer_->ClosePush();

  peer_->OpenPush();

  EXPECT_TRUE(call->WaitCancelled());
}

TEST_F(GrpcPeerTest, ReportsPagesInTheirOrderAndThenTheEnd) {
  peer_->OpenPull("c0", {"Patient", "Note"}, /*follow=*/true, QueueHealth{});
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  for (const char* cursor : {"c1", "c2", "c3"}) call->Send(Page(cursor));
  call->End(absl::OkStatus());

  ASSERT_TRUE(reports_.TakeUntil(4));

  EXPECT_THAT(reports_.seen, ElementsAre("page c1 0", "page c2 0", "page c3 0", "pull closed"));
  EXPECT_EQ(call->request.cursor(), "c0");
  EXPECT_THAT(call->request.entity_types(), ElementsAre("Patient", "Note"));
  EXPECT_TRUE(call->request.follow());
  EXPECT_TRUE(call->request.packed());
}

TEST_F(GrpcPeerTest, ReadsTheNextPageWhileOneIsApplied) {
  peer_->OpenPull("", {"Patient"}, true, Pending(0));
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  call->Send(Page("c0"));
  // The second comes although nobody has come back from the first.
  bool next_came = false;
  ASSERT_TRUE(reports_.WaitWaiting(1));
  reports_.on_page = [&] {
    call->Send(Page("c1"));
    next_came = reports_.WaitWaiting(1);
  };
  reports_.TakeNext();

  EXPECT_TRUE(next_came);
}

TEST_F(GrpcPeerTest, ReadsAFewPagesAheadAndNoneThatIsNotWanted) {
  peer_->OpenPull("", {"Patient"}, true, Pending(0));
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  for (int i = 0; i < 9; ++i) call->Send(Page(absl::StrCat("c", i)));
  reports_.wants_pages = false;
  absl::SleepFor(absl::Milliseconds(50));
  reports_.TakeAll();
  absl::SleepFor(absl::Milliseconds(50));
  reports_.TakeAll();
  EXPECT_LE(reports_.seen.size(), PullStream::kReadyMax);
  reports_.wants_pages = true;
  peer_->ReadOn();
  ASSERT_TRUE(reports_.TakeUntil(9));

  EXPECT_EQ(reports_.most_waiting(), 1u);
  for (size_t i = 0; i < 9; ++i) EXPECT_EQ(reports_.seen.at(i), absl::StrCat("page c", i, " 0"));
}

TEST_F(GrpcPeerTest, NamesTheFeedThatIsOpenAndNoOther) {
  peer_->OpenPush();
  peer_->SendBatch(Batch("a"), "", QueueHealth{});
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  peer_->SendBatch(Batch("b"), "", QueueHealth{});
  const auto first = service_.WaitPull(0);
  ASSERT_NE(first, nullptr);
  peer_->ClosePull();
  peer_->SendBatch(Batch("c"), "", QueueHealth{});
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  peer_->SendBatch(Batch("d"), "", QueueHealth{});
  const auto second = service_.WaitPull(1);
  ASSERT_NE(second, nullptr);

  const std::vector<v1::PushRequest> requests = service_.WaitPush(0)->WaitRequests(4);

  EXPECT_EQ(requests.at(0).pull_stream(), "");
  EXPECT_EQ(requests.at(1).pull_stream(), first->request.stream_id());
  EXPECT_EQ(requests.at(2).pull_stream(), "");
  EXPECT_EQ(requests.at(3).pull_stream(), second->request.stream_id());
  EXPECT_NE(requests.at(1).pull_stream(), requests.at(3).pull_stream());
  EXPECT_NE(requests.at(1).pull_stream(), "");
}

TEST_F(GrpcPeerTest, SendsCellsToAServiceThatTakesThem) {
  peer_->OpenPush();
  peer_->SendBatch(Batch("a"), "", QueueHealth{});
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  v1::PullResponse page = Page("c1");
  page.set_takes_cells(true);
  service_.WaitPull(0)->Send(page);
  ASSERT_TRUE(reports_.TakeUntil(1));
  peer_->SendBatch(Batch("b"), "", QueueHealth{});

  const std::vector<v1::PushRequest> requests = service_.WaitPush(0)->WaitRequests(2);

  EXPECT_TRUE(service_.WaitPull(0)->request.cells());
  EXPECT_EQ(requests.at(0).tables(0).rows(0).cells(), "");
  EXPECT_NE(requests.at(1).tables(0).rows(0).cells(), "");
  EXPECT_EQ(requests.at(1).tables(0).rows(0).values_size(), 0);
}

class CompressingPeerTest : public GrpcPeerTest {
 protected:
  CompressingPeerTest() {
    GrpcPeerOptions options{service_.NewChannel(), "tablet-1", "1.2.3"};
    options.compress = true;
    Connect(std::move(options));
  }

  // A batch that is worth it.
  static OutgoingBatch LargeBatch() {
    OutgoingBatch batch = Batch("a");
    batch.changes[0].fields.Set("Note", Value::Text(std::string(2000, 'n')));
    return batch;
  }

  // What the peer sends after the service sent `page`.
  v1::PushRequest RequestAfter(const v1::PullResponse& page) {
    peer_->OpenPull("", {}, /*follow=*/true, QueueHealth{});
    const auto pull = service_.WaitPull(0);
    pull->Send(page);
    EXPECT_TRUE(reports_.TakeUntil(1));
    asked_ = pull->request.compressed();
    peer_->OpenPush();
    peer_->SendBatch(LargeBatch(), "", QueueHealth{});
    return service_.WaitPush(0)->WaitRequests(1).at(0);
  }

  bool asked_ = false;
};

TEST_F(CompressingPeerTest, SendsCompressedRowsToAServiceThatTakesThem) {
  v1::PullResponse page = Page("c1");
  page.set_takes_compressed_tables(true);

  v1::PushRequest request = RequestAfter(page);

  EXPECT_TRUE(asked_);
  EXPECT_EQ(request.tables_size(), 0);
  ASSERT_TRUE(ExpandTables(request.compressed_tables(), 1 << 20, request.mutable_tables()).ok());
  EXPECT_EQ(request.tables(0).rows_size(), 1);
}

TEST_F(CompressingPeerTest, SendsPlainRowsToAServiceThatDoesNotSaySo) {
  const v1::PushRequest request = RequestAfter(Page("c1"));

  EXPECT_EQ(request.compressed_tables(), "");
  EXPECT_EQ(request.tables_size(), 1);
}

TEST_F(GrpcPeerTest, AsksForNoCompressionAndSendsNoneUnlessItIsConfigured) {
  peer_->OpenPull("", {}, /*follow=*/true, QueueHealth{});
  v1::PullResponse page = Page("c1");
  page.set_takes_compressed_tables(true);
  service_.WaitPull(0)->Send(page);
  ASSERT_TRUE(reports_.TakeUntil(1));

  peer_->OpenPush();
  peer_->SendBatch(Batch("a"), "", QueueHealth{});

  EXPECT_EQ(service_.WaitPush(0)->WaitRequests(1).at(0).compressed_tables(), "");
  EXPECT_FALSE(service_.WaitPull(0)->request.compressed());
}

TEST_F(GrpcPeerTest, CompressedPagesAreRead) {
  peer_->OpenPull("", {}, /*follow=*/true, QueueHealth{});
  v1::PullResponse page = Page("c1");
  v1::RowSet* const table = page.add_tables();
  table->set_entity_type("Patient");
  table->add_columns("Id");
  for (int i = 0; i < 50; ++i) {
    v1::PackedRow* const row = table->add_rows();
    row->set_entity_id("p" + std::to_string(i));
    row->set_revision(i + 1);
    row->set_check("12345678");
    row->add_values()->set_text(row->entity_id());
  }
  CompressTables(page.mutable_tables(), page.mutable_compressed_tables());
  service_.WaitPull(0)->Send(page);
  page.set_compressed_tables("no zlib stream");
  service_.WaitPull(0)->Send(page);

  ASSERT_TRUE(reports_.TakeUntil(2));

  EXPECT_THAT(reports_.seen, ElementsAre("page c1 50", "pull closed"));
  EXPECT_EQ(reports_.pull_status.code(), absl::StatusCode::kInternal);
}

TEST_F(GrpcPeerTest, CutsAPullThatIsClosed) {
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  call->Send(Page("late"));
  ASSERT_TRUE(reports_.WaitWaiting(1));

  peer_->ClosePull();

  EXPECT_TRUE(call->WaitCancelled());
  ASSERT_TRUE(reports_.TakeUntil(1));
  reports_.TakeAll();
  EXPECT_THAT(reports_.seen, ElementsAre("pull closed"));
  EXPECT_TRUE(reports_.pull_status.ok());
}

TEST_F(GrpcPeerTest, APageThatNoServiceMakesEndsTheStream) {
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  v1::PullResponse page = Page("c1");
  page.add_versions()->set_entity_type("Patient");
  call->Send(page);

  ASSERT_TRUE(reports_.TakeUntil(1));

  EXPECT_THAT(reports_.seen, ElementsAre("pull closed"));
  EXPECT_EQ(reports_.pull_status.code(), absl::StatusCode::kInternal);
}

TEST_F(GrpcPeerTest, AFetchIsReportedWhole) {
  peer_->Fetch({{"Patient", "p1"}, {"Patient", "p2"}});
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  v1::PullResponse first;
  v1::Version* const version = first.add_versions();
  version->set_entity_type("Patient");
  version->set_entity_id("p1");
  version->set_revision(4);
  v1::PullResponse second;
  second.set_epoch("e1");
  v1::EntityRef* const missing = second.add_missing();
  missing->set_entity_type("Patient");
  missing->set_entity_id("p2");
  call->Send(first);
  call->Send(second);
  call->End(absl::OkStatus());

  ASSERT_TRUE(reports_.TakeUntil(1));

  EXPECT_THAT(reports_.seen, ElementsAre("fetched"));
  ASSERT_EQ(reports_.fetched.versions.size(), 1u);
  EXPECT_EQ(reports_.fetched.versions[0].revision, 4);
  EXPECT_THAT(reports_.fetched.missing, ElementsAre(EntityKey{"Patient", "p2"}));
  EXPECT_EQ(reports_.fetched.epoch, "e1");
  EXPECT_EQ(call->request.entities_size(), 2);
}

TEST_F(GrpcPeerTest, AFetchThatBreaksOffIsNotReportedInPart) {
  peer_->Fetch({{"Patient", "p1"}});
  const auto call = service_.WaitPull(0);
  ASSERT_NE(call, nullptr);
  v1::PullResponse first;
  first.set_epoch("e1");
  call->Send(first);
  call->End(absl::UnavailableError("cut"));

  ASSERT_TRUE(reports_.TakeUntil(1));

  EXPECT_THAT(reports_.seen, ElementsAre("fetch failed"));
  EXPECT_EQ(reports_.fetch_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(GrpcPeerTest, AnErrorOfTheServiceKeepsItsReason) {
  peer_->OpenPush();
  const auto call = service_.WaitPush(0);
  ASSERT_NE(call, nullptr);
  call->End(ReasonError(absl::StatusCode::kFailedPrecondition, "EPOCH_CHANGED", "Restored.",
                        {{kMetaSharedRevision, "41"}}));

  ASSERT_TRUE(reports_.TakeUntil(1));

  EXPECT_EQ(reports_.push_status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(reports_.push_status), "EPOCH_CHANGED");
  EXPECT_EQ(ReasonMetadata(reports_.push_status)[kMetaSharedRevision], "41");
}

TEST_F(GrpcPeerTest, AServiceThatIsNotThereFailsEveryCallWithoutReason) {
  ChannelOptions nowhere;
  nowhere.address = "unix://" + dir_.File("nobody.sock");
  Connect(MakeChannel(nowhere).value());

  peer_->OpenPush();
  peer_->SendBatch(Batch("a"), "", QueueHealth{});
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  peer_->Fetch({{"Patient", "p1"}});
  ASSERT_TRUE(reports_.TakeUntil(3));

  for (const absl::Status& status :
       {reports_.push_status, reports_.pull_status, reports_.fetch_status}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(ReasonOf(status), "");
  }
}

TEST_F(GrpcPeerTest, ANewTokenIsReadFromTheFile) {
  peer_->OpenPush();
  ASSERT_NE(service_.WaitPush(0), nullptr);

  WriteFile(token_path_, "ptd_second_one\n");
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  const auto call = service_.WaitPull(0);

  ASSERT_NE(call, nullptr);
  EXPECT_EQ(call->Header("authorization"), "Bearer ptd_second_one");
}

TEST_F(GrpcPeerTest, ItsEndCutsWhatIsOpen) {
  peer_->OpenPush();
  peer_->OpenPull("", {"Patient"}, /*follow=*/true, QueueHealth{});
  peer_->Fetch({{"Patient", "p1"}});
  const auto push = service_.WaitPush(0);
  ASSERT_NE(push, nullptr);
  ASSERT_NE(service_.WaitPull(1), nullptr);
  // Answers that nobody takes any more must not keep a call alive.
  push->Send(AnswerTo("a"));
  ASSERT_TRUE(reports_.WaitWaiting(1));

  reports_.Stop();
  peer_.reset();

  EXPECT_TRUE(push->WaitCancelled());
  EXPECT_TRUE(service_.WaitPull(0)->WaitCancelled());
  EXPECT_TRUE(service_.WaitPull(1)->WaitCancelled());
  EXPECT_THAT(reports_.seen, IsEmpty());
}

}  // namespace
}  // namespace ptdoc::sync
