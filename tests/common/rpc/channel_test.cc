#include "common/rpc/channel.h"

#include <gtest/gtest.h>

#include "common/model/reason.h"
#include "common/rpc/status.h"

namespace ptdoc::sync {
namespace {

std::string ReasonFor(const ChannelOptions& options) {
  return ReasonOf(MakeChannel(options).status());
}

TEST(ChannelTest, PlaintextGoesToLoopbackOnly) {
  EXPECT_EQ(ReasonFor({.address = "127.0.0.1:5171"}), "");
  EXPECT_EQ(ReasonFor({.address = "http://localhost:5171"}), "");
  EXPECT_EQ(ReasonFor({.address = "[::1]:5171"}), "");
  EXPECT_EQ(ReasonFor({.address = "unix:///tmp/x.sock"}), "");
  EXPECT_EQ(ReasonFor({.address = "192.0.2.1:5171"}), "CONFIG");
  EXPECT_EQ(ReasonFor({.address = "127.evil.example:5171"}), "CONFIG");
  EXPECT_EQ(ReasonFor({.address = "http://sync.example:5171"}), "CONFIG");
}

TEST(ChannelTest, TlsAndProxiesGoAnywhere) {
  EXPECT_EQ(ReasonFor({.address = "https://sync.example:443"}), "");
  EXPECT_EQ(ReasonFor({.address = "192.0.2.1:5171", .behind_proxy = true}), "");
}

TEST(ChannelTest, KnowsWhichAddressesLeaveThisMachine) {
  for (const char* here : {"127.0.0.1:5171", "http://localhost:5171/", "https://127.0.0.1:443",
                           "[::1]:5171", "unix:///tmp/x.sock"}) {
    EXPECT_TRUE(IsOnThisMachine(here)) << here;
  }
  for (const char* away :
       {"192.0.2.1:5171", "https://sync.example:443", "127.evil.example:1", ""}) {
    EXPECT_FALSE(IsOnThisMachine(away)) << away;
  }
}

TEST(ChannelTest, AMissingCertificateIsAnErrorBeforeAnythingIsSent) {
  EXPECT_EQ(ReasonFor({.address = "sync.example:443", .ca_file = "/nonexistent/ca.pem"}), "CONFIG");
}

TEST(ChannelTest, HttpWithCertificatesIsAContradiction) {
  EXPECT_EQ(ReasonFor({.address = "http://127.0.0.1:1", .ca_file = "/etc/hostname"}), "CONFIG");
}

TEST(ParseHostPortTest, TakesHostAndPort) {
  const absl::StatusOr<HostPort> plain = ParseHostPort("127.0.0.1:0");
  const absl::StatusOr<HostPort> six = ParseHostPort("[::1]:5171");

  ASSERT_TRUE(plain.ok() && six.ok());
  EXPECT_EQ(plain->host, "127.0.0.1");
  EXPECT_EQ(plain->port, 0);
  EXPECT_EQ(six->host, "[::1]");
  EXPECT_EQ(six->port, 5171);
}

TEST(ParseHostPortTest, RefusesEverythingElse) {
  for (const char* bad : {"", "5171", "host", "host:", ":5171", "host:-1", "host:65536", "host:x",
                          "::1:5171", "[::1:5171"}) {
    EXPECT_EQ(ReasonOf(ParseHostPort(bad).status()), "FIELD") << bad;
  }
}

TEST(GrpcStatusTest, OurReasonSurvivesACall) {
  const absl::Status status = WithRetryAfterMs(
      ReasonError(absl::StatusCode::kResourceExhausted, "OVERLOADED", "later"), 250);

  const absl::Status read = FromGrpcStatus(ToGrpcStatus(status));

  EXPECT_EQ(read, status);
}

TEST(GrpcStatusTest, AStatusOfSomebodyElseHasNoReason) {
  const absl::Status read = FromGrpcStatus(grpc::Status(grpc::StatusCode::INTERNAL, "RST_STREAM"));

  EXPECT_EQ(read, absl::InternalError("RST_STREAM"));
  EXPECT_EQ(ReasonOf(read), "");
}

}  // namespace
}  // namespace ptdoc::sync
