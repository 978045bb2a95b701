#include "sync-service/rpc/shared_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sync-service/rpc/own_batches.h"
#include "sync-service/rpc/pull_source.h"
#include "tests/sync-service/engine/test_service.h"

namespace ptdoc::sync {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Strings = std::vector<std::string>;

v1::PullRequest Packed() {
  v1::PullRequest request;
  request.set_follow(true);
  request.set_packed(true);
  request.set_cells(true);
  return request;
}

// A device that follows the feed.
class Follower {
 public:
  Follower(TestService& service, SharedPages& pages, Principal who,
           const v1::PullRequest& request = Packed())
      : who_(std::move(who)), source_(service.engine(), pages, service.clock(), request) {}

  // The messages of one step, as they come out of their bytes.
  std::vector<v1::PullResponse> Step(std::optional<Revision> known) {
    std::vector<v1::PullResponse> messages;
    absl::StatusOr<PullStep> step = source_.Next(who_, known);
    EXPECT_TRUE(step.ok()) << step.status();
    if (!step.ok()) return messages;
    caught_up_ = step->caught_up;
    for (const FeedMessage& message : step->messages) {
      absl::StatusOr<grpc::ByteBuffer> bytes = BytesOf(message);
      grpc::Slice slice;
      EXPECT_TRUE(bytes.ok() && bytes->DumpToSingleSlice(&slice).ok());
      EXPECT_TRUE(
          messages.emplace_back().ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    }
    return messages;
  }

  Strings Ids(std::optional<Revision> known) {
    Strings ids;
    for (v1::PullResponse& message : Step(known)) {
      const absl::StatusOr<std::vector<Version>> versions = VersionsFromProto(&message);
      EXPECT_TRUE(versions.ok()) << versions.status();
      for (const Version& version : *versions) ids.push_back(version.key.id);
    }
    return ids;
  }

  bool caught_up() const { return caught_up_; }
  Principal& who() { return who_; }
  PullSource& source() { return source_; }

 private:
  Principal who_;
  PullSource source_;
  bool caught_up_ = false;
};

class SharedPagesTest : public ::testing::Test {
 protected:
  std::unique_ptr<Follower> Following(const std::string& device,
                                      const v1::PullRequest& request = Packed()) {
    return Following(DeviceOf(device), request);
  }

  // One that has got what there was.
  std::unique_ptr<Follower> Following(Principal who, const v1::PullRequest& request = Packed()) {
    auto follower = std::make_unique<Follower>(service_, pages_, std::move(who), request);
    while (!follower->caught_up()) follower->Step(0);
    return follower;
  }

  // A batch of its own; the revision that stands then.
  PushAnswer Push(const std::string& id, const std::string& type = "Patient",
                  const std::string& tenant = kTenant) {
    PushBatch batch = BatchOf(service_, "writer", {Create({type, id}, Texts({{"Name", id}}))});
    batch.who.tenant = tenant;
    return MustPush(service_, std::move(batch));
  }

  TestService service_;
  SharedPages pages_{service_.clock()};
};

TEST_F(SharedPagesTest, FollowersAtOnePlaceShareOneEncoding) {
  const auto a = Following("a");
  const auto b = Following("b");
  const Revision newest = Push("p1").newest;

  const std::vector<v1::PullResponse> of_a = a->Step(newest);
  std::vector<v1::PullResponse> of_b = b->Step(newest);

  EXPECT_EQ(pages_.put(), 1);
  EXPECT_EQ(pages_.found(), 1);
  ASSERT_EQ(of_a.size(), 1u);
  ASSERT_EQ(of_b.size(), 1u);
  EXPECT_EQ(of_a[0].device_id(), "a");
  EXPECT_EQ(of_b[0].device_id(), "b");
  EXPECT_TRUE(b->caught_up());
  EXPECT_TRUE(of_b[0].takes_cells());
  EXPECT_TRUE(of_b[0].has_scope());
  EXPECT_TRUE(of_b[0].has_server_time());
  of_b[0].set_device_id("a");
  EXPECT_EQ(of_b[0].SerializeAsString(), of_a[0].SerializeAsString());
  EXPECT_EQ(of_a[0].tables_size(), 1);
}

TEST_F(SharedPagesTest, AFollowerGoesOnBehindASharedPage) {
  const auto a = Following("a");
  const auto b = Following("b");
  Revision newest = Push("p1").newest;
  a->Ids(newest);
  b->Ids(newest);
  newest = Push("p2").newest;

  EXPECT_THAT(b->Ids(newest), ElementsAre("p2"));
  EXPECT_THAT(a->Ids(newest), ElementsAre("p2"));
  EXPECT_EQ(pages_.found(), 2);
}

TEST_F(SharedPagesTest, OtherFormsAndLimitsAreEncodedApart) {
  v1::PullRequest compressed = Packed();
  compressed.set_compressed(true);
  v1::PullRequest values = Packed();
  values.set_cells(false);
  v1::PullRequest maps = Packed();
  maps.set_packed(false);
  v1::PullRequest small = Packed();
  small.set_page_size(1);
  const auto a = Following("a");
  const auto b = Following("b", compressed);
  const auto c = Following("c", values);
  const auto d = Following("d", maps);
  const auto e = Following("e", small);
  const std::string long_name(2000, 'n');
  PushAnswer pushed = MustPush(
      service_, BatchOf(service_, "writer", {Create(Patient("p1"), Texts({{"Name", long_name}}))}));

  const v1::PullResponse of_a = a->Step(pushed.newest).at(0);
  const v1::PullResponse of_b = b->Step(pushed.newest).at(0);
  const v1::PullResponse of_c = c->Step(pushed.newest).at(0);
  const v1::PullResponse of_d = d->Step(pushed.newest).at(0);
  e->Step(pushed.newest);

  EXPECT_EQ(pages_.found(), 0);
  EXPECT_NE(of_a.tables(0).rows(0).cells(), "");
  EXPECT_EQ(of_a.compressed_tables(), "");
  EXPECT_NE(of_b.compressed_tables(), "");
  EXPECT_EQ(of_b.tables_size(), 0);
  EXPECT_EQ(of_c.tables(0).rows(0).cells(), "");
  EXPECT_EQ(of_d.tables_size(), 0);
  EXPECT_EQ(of_d.versions_size(), 1);
}

TEST_F(SharedPagesTest, WhoMaySeeLessGetsNothingOfWhatOthersAreShown) {
  Principal limited = DeviceOf("limited");
  limited.rights = std::make_shared<const TypeRights>(TypeRights{{"Patient"}, {}});
  const auto all = Following("all");
  const auto some = Following(limited);
  PushBatch batch = BatchOf(service_, "writer",
                            {Create({"Patient", "p1"}, Texts({{"Name", "n"}})),
                             Create({"Letter", "l1"}, Texts({{"Name", "n"}}))});
  const Revision newest = MustPush(service_, batch).newest;

  EXPECT_THAT(all->Ids(newest), ElementsAre("p1", "l1"));
  EXPECT_THAT(some->Ids(newest), ElementsAre("p1"));
  EXPECT_EQ(pages_.found(), 0);
}

TEST_F(SharedPagesTest, WhatIsRefusedIsToldToWhomItIsRefused) {
  v1::PullRequest named = Packed();
  named.add_entity_types("Patient");
  v1::PullRequest more = named;
  more.add_entity_types("Letter");
  Principal limited = DeviceOf("limited");
  limited.rights = std::make_shared<const TypeRights>(TypeRights{{"Patient"}, {}});
  const auto a = Following("a", named);
  const auto b = Following(limited, more);
  const Revision newest = Push("p1").newest;

  const v1::PullResponse of_a = a->Step(newest).at(0);
  const v1::PullResponse of_b = b->Step(newest).at(0);

  EXPECT_EQ(pages_.found(), 1);
  EXPECT_THAT(of_a.scope().refused_types(), IsEmpty());
  EXPECT_THAT(of_b.scope().refused_types(), ElementsAre("Letter"));
}

TEST_F(SharedPagesTest, RightsThatChangeEndTheStreamAlsoWhereAPageIsThere) {
  const auto a = Following("a");
  const auto b = Following("b");
  const Revision newest = Push("p1").newest;
  a->Step(newest);
  b->who().rights = std::make_shared<const TypeRights>(TypeRights{{"Letter"}, {}});

  EXPECT_EQ(b->source().Next(b->who(), newest).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(pages_.found(), 0);
}

TEST_F(SharedPagesTest, TenantsShareNothing) {
  const auto a = Following(DeviceOf("a"));
  const auto b = Following(DeviceOf("b", "other"));
  Push("p1");
  const Revision newest = Push("q1", "Patient", "other").newest;

  EXPECT_THAT(a->Ids(newest), ElementsAre("p1"));
  EXPECT_THAT(b->Ids(newest), ElementsAre("q1"));
  EXPECT_EQ(pages_.found(), 0);
}

TEST_F(SharedPagesTest, OwnBatchesStayLeftOutWhoeverReadsFirst) {
  OwnBatches batches;
  const auto own = Following("own");
  const auto other = Following("other");
  const std::shared_ptr<OwnStream> stream = batches.Open(own->who(), "s1");
  own->source().set_own(stream);
  Push("others");
  PushAnswer pushed = Push("own's");
  stream->Add(*pushed.own);
  const Revision newest = pushed.newest;

  EXPECT_THAT(other->Ids(newest), ElementsAre("others", "own's"));
  EXPECT_THAT(own->Ids(newest), ElementsAre("others"));

  pushed = Push("own's again");
  stream->Add(*pushed.own);
  EXPECT_THAT(own->Ids(pushed.newest), IsEmpty());
  EXPECT_THAT(other->Ids(pushed.newest), ElementsAre("own's again"));
  EXPECT_TRUE(own->caught_up());

  // Behind it, both stand at one place again.
  const int64_t found = pages_.found();
  const Revision last = Push("p3").newest;
  EXPECT_THAT(own->Ids(last), ElementsAre("p3"));
  EXPECT_THAT(other->Ids(last), ElementsAre("p3"));
  EXPECT_EQ(pages_.found(), found + 1);
}

TEST_F(SharedPagesTest, APageThatSaysLessThanAFollowerHasHeardOfIsNotGiven) {
  const auto a = Following("a");
  const auto b = Following("b");
  const auto c = Following("c");
  const Revision first = Push("p1").newest;
  a->Step(first);
  const Revision second = Push("p2").newest;

  EXPECT_THAT(b->Ids(second), ElementsAre("p1", "p2"));
  EXPECT_TRUE(b->caught_up());
  Push("p3");
  // Of a commit that only the store knows of.
  EXPECT_THAT(c->Ids(std::nullopt), ElementsAre("p1", "p2", "p3"));
  EXPECT_EQ(pages_.found(), 0);
}

TEST_F(SharedPagesTest, APageIsNotGivenWhereItsReaderKnewLessThanTheLastPageSaid) {
  v1::PullRequest small = Packed();
  small.set_page_size(1);
  const auto a = Following("a", small);
  const auto b = Following("b", small);
  Revision newest = Push("p1").newest;
  newest = Push("p2").newest;
  EXPECT_THAT(a->Ids(newest), ElementsAre("p1"));
  EXPECT_THAT(a->Ids(newest), ElementsAre("p2"));
  Push("p3");
  EXPECT_THAT(b->Ids(std::nullopt), ElementsAre("p1"));

  // The page of `a` behind p1 says that p2 is all there is.
  EXPECT_THAT(b->Ids(newest), ElementsAre("p2"));
  EXPECT_FALSE(b->caught_up());
  EXPECT_THAT(b->Ids(newest), ElementsAre("p3"));
  EXPECT_TRUE(b->caught_up());
}

TEST_F(SharedPagesTest, WhatIsStillToComeIsCountedForEach) {
  v1::PullRequest small = Packed();
  small.set_page_size(2);
  const auto a = Following("a", small);
  const auto b = Following("b", small);
  Revision newest = 0;
  for (int i = 0; i < 5; ++i) newest = Push("p" + std::to_string(i)).newest;

  for (const uint64_t remaining : {3u, 1u, 0u}) {
    EXPECT_EQ(a->Step(newest).at(0).remaining(), remaining);
    EXPECT_EQ(b->Step(newest).at(0).remaining(), remaining);
  }
  EXPECT_EQ(pages_.found(), 3);
  EXPECT_TRUE(b->caught_up());
}

TEST_F(SharedPagesTest, AnOldPageIsReadAnew) {
  const auto a = Following("a");
  const auto b = Following("b");
  const Revision newest = Push("p1").newest;
  a->Step(newest);
  service_.clock().Advance(SharedPages::kLife);

  EXPECT_THAT(b->Ids(newest), ElementsAre("p1"));
  EXPECT_EQ(pages_.found(), 0);
  EXPECT_EQ(pages_.put(), 2);
}

TEST_F(SharedPagesTest, KeepsAtMostItsPagesAndBytes) {
  const auto page = [](size_t bytes) {
    auto made = std::make_shared<EncodedPage>();
    made->messages.push_back({grpc::Slice(bytes), 0});
    made->newest = 1;
    return made;
  };
  const auto place = [](Revision at) {
    PagePlace made;
    made.tenant = kTenant;
    made.cursor.sequence = at;
    return made;
  };
  const Revision many = 2 * SharedPages::kPagesMax;
  for (Revision at = 1; at <= many; ++at) pages_.Put(place(at), {}, page(10));
  EXPECT_EQ(pages_.Find(place(many - SharedPages::kPagesMax), {}, 1), nullptr);
  EXPECT_NE(pages_.Find(place(many - SharedPages::kPagesMax + 1), {}, 1), nullptr);

  for (Revision at = 1; at <= 9; ++at) pages_.Put(place(at), {}, page(1 << 20));
  EXPECT_EQ(pages_.Find(place(2), {}, 1), nullptr);
  EXPECT_NE(pages_.Find(place(9), {}, 1), nullptr);

  pages_.Put(place(20), {}, page(SharedPages::kPageBytesMax));
  EXPECT_EQ(pages_.Find(place(20), {}, 1), nullptr);
}

TEST_F(SharedPagesTest, KeepsTheNewerOfTwoThatWereReadAtOnce) {
  auto older = std::make_shared<EncodedPage>();
  older->newest = 5;
  auto newer = std::make_shared<EncodedPage>();
  newer->newest = 6;

  pages_.Put({}, {}, newer);
  pages_.Put({}, {}, older);

  EXPECT_EQ(pages_.Find({}, {}, 6), newer);
}

}  // namespace
}  // namespace ptdoc::sync
