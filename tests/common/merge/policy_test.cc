#include "common/merge/policy.h"

#include <cmath>
#include <string>

#include "gtest/gtest.h"

namespace ptdoc::sync {
namespace {

bool Signs(Value value) {
  return IsSigned(TypePolicy(), Fields({{"SignatureHash", std::move(value)}}));
}

bool Locks(Value value) {
  return IsLocked(TypePolicy(), Fields({{"IsLocked", std::move(value)}}));
}

TEST(IsSignedTest, IsTrueForAnythingButNullAndEmpty) {
  EXPECT_TRUE(Signs(Value::Text("9f2c")));
  EXPECT_TRUE(Signs(Value::Text(" ")));
  EXPECT_TRUE(Signs(Value::Text("0")));
  EXPECT_TRUE(Signs(Value::Integer(0)));
  EXPECT_TRUE(Signs(Value::Real(0)));
  EXPECT_TRUE(Signs(Value::Blob(std::string(1, '\0'))));
  EXPECT_FALSE(Signs(Value::Null()));
  EXPECT_FALSE(Signs(Value::Text("")));
  EXPECT_FALSE(Signs(Value::Blob("")));
}

TEST(IsSignedTest, IsFalseWithoutTheField) {
  EXPECT_FALSE(IsSigned(TypePolicy(), Fields()));
  EXPECT_FALSE(IsSigned(TypePolicy(), Fields({{"signaturehash", Value::Text("9f2c")}})));
}

TEST(IsLockedTest, IsTrueForAnyNumberButZero) {
  EXPECT_TRUE(Locks(Value::Integer(1)));
  EXPECT_TRUE(Locks(Value::Integer(-1)));
  EXPECT_TRUE(Locks(Value::Real(0.5)));
  EXPECT_TRUE(Locks(Value::Real(-HUGE_VAL)));
  EXPECT_FALSE(Locks(Value::Integer(0)));
  EXPECT_FALSE(Locks(Value::Real(0.0)));
  EXPECT_FALSE(Locks(Value::Real(-0.0)));
}

TEST(IsLockedTest, IsTrueForAnyTextThatDoesNotSayNo) {
  for (const char* yes : {"1", "true", "T", "yes", "00", " ", "0.0", "no ", "n", "off"}) {
    EXPECT_TRUE(Locks(Value::Text(yes))) << "'" << yes << "'";
  }
  for (const char* no : {"", "0", "false", "FALSE", "False", "f", "F", "no", "No"}) {
    EXPECT_FALSE(Locks(Value::Text(no))) << "'" << no << "'";
  }
}

TEST(IsLockedTest, IsTrueForABlobWithBytes) {
  EXPECT_TRUE(Locks(Value::Blob(std::string(1, '\0'))));
  EXPECT_TRUE(Locks(Value::Blob("0")));
  EXPECT_FALSE(Locks(Value::Blob("")));
}

TEST(IsLockedTest, IsFalseForNullAndWithoutTheField) {
  EXPECT_FALSE(Locks(Value::Null()));
  EXPECT_FALSE(IsLocked(TypePolicy(), Fields()));
}

TEST(TypePolicyTest, NamesItsOwnFieldsOrNone) {
  TypePolicy policy;
  policy.signature_field = "SignedBy";
  policy.locked_field = "";
  const Fields fields({{"", Value::Integer(1)},
                       {"IsLocked", Value::Integer(1)},
                       {"SignatureHash", Value::Text("x")}});

  EXPECT_FALSE(IsSigned(policy, fields));
  EXPECT_FALSE(IsLocked(policy, fields));
  EXPECT_TRUE(IsSigned(policy, Fields({{"SignedBy", Value::Text("pt-7")}})));
}

TEST(PolicySetTest, GivesTheBuiltInPolicyForATypeThatIsNotNamed) {
  PolicySet policies;
  TypePolicy manual;
  manual.policy = ConflictPolicy::kManual;
  policies.Set("Patient", manual);

  EXPECT_EQ(policies.For("Patient").policy, ConflictPolicy::kManual);
  EXPECT_EQ(policies.For("patient").policy, ConflictPolicy::kLastWriteWins);
  EXPECT_EQ(policies.For("ClinicalNote").signature_field, "SignatureHash");
  EXPECT_EQ(policies.For("ClinicalNote").locked_field, "IsLocked");
}

TEST(PolicySetTest, SetReplacesAnEarlierPolicy) {
  PolicySet policies;
  TypePolicy manual;
  manual.policy = ConflictPolicy::kManual;
  policies.Set("Patient", manual);

  policies.Set("Patient", TypePolicy());

  EXPECT_EQ(policies.For("Patient").policy, ConflictPolicy::kLastWriteWins);
  EXPECT_EQ(policies.all().size(), 1u);
}

}  // namespace
}  // namespace ptdoc::sync
