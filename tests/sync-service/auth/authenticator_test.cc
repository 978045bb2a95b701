#include "sync-service/auth/authenticator.h"

#include <gtest/gtest.h>

#include <memory>

#include "common/model/reason.h"
#include "sync-service/auth/tokens.h"
#include "sync-service/store/sqlite_store.h"
#include "tests/support/fake_clock.h"
#include "tests/support/scratch_dir.h"

namespace ptdoc::sync {
namespace {

class AuthenticatorTest : public ::testing::Test {
 protected:
  AuthenticatorTest()
      : store_(OpenSqliteStore({.path = dir_.File("store.db"), .create = true, .vfs = ""}, clock_,
                               rng_)
                   .value()),
        authenticator_(*store_, clock_) {}

  NewToken Add(Role role = Role::kDevice, const std::string& device = "tablet",
               absl::Duration life = absl::Hours(1)) {
    const NewToken token =
        MakeToken(rng_, {"clinic", device, "anna", role, clock_.Now() + life}, clock_.Now());
    const auto writer = store_->BeginWrite().value();
    EXPECT_TRUE(writer->PutToken(token.row).ok());
    EXPECT_TRUE(writer->Commit().ok());
    return token;
  }

  void Revoke(const NewToken& token) {
    const auto writer = store_->BeginWrite().value();
    EXPECT_TRUE(writer->RevokeToken(token.row.id, clock_.Now()).ok());
    EXPECT_TRUE(writer->Commit().ok());
  }

  void RevokeDevice(const std::string& tenant, const std::string& device) {
    const auto writer = store_->BeginWrite().value();
    EXPECT_TRUE(writer->TouchDevice(tenant, device, clock_.Now(), "", std::nullopt).ok());
    EXPECT_TRUE(writer->RevokeDevice(tenant, device, clock_.Now()).ok());
    EXPECT_TRUE(writer->Commit().ok());
  }

  static CallMetadata With(const std::string& token) {
    CallMetadata call;
    call.authorization = "Bearer " + token;
    return call;
  }

  std::string ReasonFor(const CallMetadata& call,
                        Authenticator::Freshness freshness = Authenticator::Freshness::kCached) {
    return ReasonOf(authenticator_.Authenticate(call, freshness).status());
  }

  ScratchDir dir_;
  FakeClock clock_;
  SeededRng rng_{7};
  std::unique_ptr<Store> store_;
  Authenticator authenticator_;
};

TEST_F(AuthenticatorTest, ATokenTellsTenantDeviceUserAndRole) {
  const NewToken token = Add(Role::kReviewer);
  CallMetadata call = With(token.text);
  call.agent = "0.1; packed";

  const absl::StatusOr<Identity> identity = authenticator_.Authenticate(call);

  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_FALSE(identity->open);
  EXPECT_EQ(identity->who.tenant, "clinic");
  EXPECT_EQ(identity->who.device, "tablet");
  EXPECT_EQ(identity->who.user, "anna");
  EXPECT_EQ(identity->who.role, Role::kReviewer);
  EXPECT_EQ(identity->who.agent, "0.1; packed");
}

TEST_F(AuthenticatorTest, WithoutAnyTokenEverybodyIsLetIn) {
  CallMetadata named;
  named.device = "tablet";

  const Identity local = authenticator_.Authenticate({}).value();
  const Identity device = authenticator_.Authenticate(named).value();

  EXPECT_TRUE(local.open);
  EXPECT_EQ(local.who.tenant, "default");
  EXPECT_EQ(local.who.device, "local");
  EXPECT_EQ(local.who.role, Role::kAdmin);
  EXPECT_EQ(device.who.device, "tablet");
  EXPECT_EQ(device.who.role, Role::kDevice);
}

TEST_F(AuthenticatorTest, OpennessEndsAtOnceWhenTheFirstTokenIsMade) {
  ASSERT_TRUE(authenticator_.Authenticate({}).ok());

  Add();

  EXPECT_EQ(ReasonFor({}), "TOKEN_MISSING");
  EXPECT_TRUE(authenticator_.TokensRequired().value());
}

TEST_F(AuthenticatorTest, OpennessDoesNotComeBackWhenTheLastTokenIsRevoked) {
  const NewToken token = Add();

  Revoke(token);

  EXPECT_EQ(ReasonFor({}), "TOKEN_MISSING");
}

TEST_F(AuthenticatorTest, AMalformedOrUnknownTokenIsInvalid) {
  const NewToken token = Add();
  CallMetadata basic;
  basic.authorization = "Basic " + token.text;
  CallMetadata bare;
  bare.authorization = token.text;
  CallMetadata empty;
  empty.authorization = "";
  CallMetadata twice = With(token.text);
  twice.valid = false;

  EXPECT_EQ(ReasonFor(With("ptd_unknown")), "TOKEN_INVALID");
  EXPECT_EQ(ReasonFor(With("other_" + token.text)), "TOKEN_INVALID");
  EXPECT_EQ(ReasonFor(With(std::string(1000, 'x'))), "TOKEN_INVALID");
  EXPECT_EQ(ReasonFor(basic), "TOKEN_INVALID");
  EXPECT_EQ(ReasonFor(bare), "TOKEN_INVALID");
  EXPECT_EQ(ReasonFor(empty), "TOKEN_MISSING");
  EXPECT_EQ(ReasonFor(twice), "TOKEN_INVALID");
}

TEST_F(AuthenticatorTest, TheSchemeIsReadInAnyCase) {
  const NewToken token = Add();
  CallMetadata call;
  call.authorization = "bearer  " + token.text;

  EXPECT_EQ(ReasonFor(call), "");
}

TEST_F(AuthenticatorTest, TheDeviceNamedMustBeTheTokens) {
  const NewToken token = Add();
  CallMetadata same = With(token.text);
  same.device = "tablet";
  CallMetadata other = With(token.text);
  other.device = "phone";

  EXPECT_EQ(ReasonFor(same), "");
  EXPECT_EQ(ReasonFor(other), "TOKEN_INVALID");
}

TEST_F(AuthenticatorTest, ATokenEndsAtItsTimeEvenWhileItIsRemembered) {
  const NewToken token = Add(Role::kDevice, "tablet", absl::Seconds(1));
  ASSERT_EQ(ReasonFor(With(token.text)), "");

  clock_.Advance(absl::Seconds(1));

  EXPECT_EQ(ReasonFor(With(token.text)), "TOKEN_EXPIRED");
}

TEST_F(AuthenticatorTest, ARevokedTokenIsRefusedWithinTheCachesLife) {
  const NewToken token = Add();
  ASSERT_EQ(ReasonFor(With(token.text)), "");

  Revoke(token);
  clock_.Advance(Authenticator::kCacheLife);

  EXPECT_EQ(ReasonFor(With(token.text)), "TOKEN_REVOKED");
}

TEST_F(AuthenticatorTest, AFreshLookUpSeesARevocationAtOnce) {
  const NewToken token = Add();
  ASSERT_EQ(ReasonFor(With(token.text)), "");

  Revoke(token);

  EXPECT_EQ(ReasonFor(With(token.text), Authenticator::Freshness::kFromStore), "TOKEN_REVOKED");
  EXPECT_EQ(ReasonFor(With(token.text)), "TOKEN_REVOKED");
}

TEST_F(AuthenticatorTest, ANewTokenWorksAtOnceAfterItWasRefused) {
  Add();
  const NewToken later = MakeToken(
      rng_, {"clinic", "phone", "", Role::kDevice, clock_.Now() + absl::Hours(1)}, clock_.Now());
  ASSERT_EQ(ReasonFor(With(later.text)), "TOKEN_INVALID");

  const auto writer = store_->BeginWrite().value();
  ASSERT_TRUE(writer->PutToken(later.row).ok());
  ASSERT_TRUE(writer->Commit().ok());

  EXPECT_EQ(ReasonFor(With(later.text)), "");
}

TEST_F(AuthenticatorTest, ARevokedDeviceIsRefusedWithAndWithoutTokens) {
  RevokeDevice("default", "old");
  CallMetadata old;
  old.device = "old";
  EXPECT_EQ(ReasonFor(old), "DEVICE_REVOKED");

  const NewToken token = Add();
  RevokeDevice("clinic", "tablet");

  const absl::Status status = authenticator_.Authenticate(With(token.text)).status();
  EXPECT_EQ(ReasonOf(status), "DEVICE_REVOKED");
  EXPECT_TRUE(absl::IsPermissionDenied(status));
}

TEST_F(AuthenticatorTest, ANewTokenLetsARevokedDeviceInAgainAndTheOldOneStaysOut) {
  const NewToken lost = Add();
  const NewToken others = Add(Role::kDevice, "phone");
  RevokeDevice("clinic", "tablet");
  RevokeDevice("other", "tablet");

  const NewToken made = Add();

  EXPECT_EQ(ReasonFor(With(made.text)), "");
  EXPECT_EQ(ReasonFor(With(lost.text)), "TOKEN_REVOKED");
  EXPECT_EQ(ReasonFor(With(others.text)), "");
  const auto reader = store_->BeginRead().value();
  EXPECT_FALSE(reader->FindDevice("clinic", "tablet").value()->revoked);
  EXPECT_TRUE(reader->FindDevice("other", "tablet").value()->revoked);
}

TEST_F(AuthenticatorTest, ADeviceThatWasLetInAgainCanBeRevokedAgain) {
  RevokeDevice("clinic", "tablet");
  const NewToken token = Add();
  EXPECT_EQ(ReasonFor(With(token.text)), "");
  clock_.Advance(Authenticator::kCacheLife);

  RevokeDevice("clinic", "tablet");

  const absl::Status refused = authenticator_.Authenticate(With(token.text)).status();
  EXPECT_EQ(ReasonOf(refused), "DEVICE_REVOKED");
  EXPECT_NE(refused.message().find("token create"), absl::string_view::npos);
}

TEST_F(AuthenticatorTest, AMalformedDeviceNameIsRefused) {
  CallMetadata empty;
  empty.device = "";
  CallMetadata long_name;
  long_name.device = std::string(Authenticator::kDeviceBytesMax + 1, 'x');

  EXPECT_EQ(ReasonFor(empty), "FIELD");
  EXPECT_EQ(ReasonFor(long_name), "FIELD");
}

TEST_F(AuthenticatorTest, ATokensTypesAreItsCallersAndNobodyElses) {
  const NewToken all = Add();
  const NewToken some = MakeToken(
      rng_,
      {"clinic", "desk", "", Role::kDevice, clock_.Now() + absl::Hours(1), {{"Patient"}, {"Note"}}},
      clock_.Now());
  const auto writer = store_->BeginWrite().value();
  ASSERT_TRUE(writer->PutToken(some.row).ok());
  ASSERT_TRUE(writer->Commit().ok());

  EXPECT_EQ(authenticator_.Authenticate(With(all.text))->who.rights, nullptr);
  // The second time from memory.
  for (int i = 0; i < 2; ++i) {
    const auto identity = authenticator_.Authenticate(With(some.text));
    ASSERT_TRUE(identity.ok()) << identity.status();
    ASSERT_NE(identity->who.rights, nullptr);
    EXPECT_EQ(*identity->who.rights, some.row.rights);
  }
}

TEST_F(AuthenticatorTest, NoRefusalShowsTheToken) {
  const NewToken token = Add();
  Revoke(token);

  const absl::Status status = authenticator_.Authenticate(With(token.text)).status();

  EXPECT_EQ(status.ToString().find(token.text), std::string::npos);
  EXPECT_EQ(status.ToString().find(token.text.substr(4)), std::string::npos);
}

TEST(TokensTest, ATokenHasItsPrefixAndOnlyItsHashIsKept) {
  SeededRng rng(1);

  const NewToken token =
      MakeToken(rng, {"clinic", "tablet", "anna", Role::kAdmin, absl::FromUnixSeconds(9)},
                absl::FromUnixSeconds(1));

  EXPECT_EQ(token.text.substr(0, 4), "ptd_");
  EXPECT_EQ(token.text.size(), 4U + 43U);
  EXPECT_EQ(token.text.find_first_of("+/="), std::string::npos);
  EXPECT_EQ(token.row.hash, TokenHash(token.text));
  EXPECT_EQ(token.row.id.size(), 12U);
  EXPECT_EQ(token.row.role, Role::kAdmin);
  EXPECT_EQ(token.row.expires_at, absl::FromUnixSeconds(9));
}

TEST(TokensTest, TwoTokensDiffer) {
  SeededRng rng(1);

  const NewToken first = MakeToken(rng, {}, absl::UnixEpoch());
  const NewToken second = MakeToken(rng, {}, absl::UnixEpoch());

  EXPECT_NE(first.text, second.text);
  EXPECT_NE(first.row.id, second.row.id);
}

TEST(TokensTest, PeoplesTokensAreShortLived) {
  EXPECT_EQ(DefaultTokenLife(Role::kDevice), absl::Hours(24 * 365));
  EXPECT_EQ(DefaultTokenLife(Role::kReviewer), absl::Hours(12));
  EXPECT_EQ(DefaultTokenLife(Role::kAdmin), absl::Hours(12));
}

}  // namespace
}  // namespace ptdoc::sync
