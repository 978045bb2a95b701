#include "common/wire/compression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "common/model/reason.h"
#include "ptdoc/sync/v1/types.pb.h"

namespace ptdoc::sync {
namespace {

using ::testing::Lt;
using Tables = google::protobuf::RepeatedPtrField<v1::RowSet>;

constexpr size_t kBytesMax = 1 << 20;

Tables PatientTables(int rows) {
  Tables tables;
  v1::RowSet* const table = tables.Add();
  table->set_entity_type("Patient");
  table->add_columns("Id");
  table->add_columns("City");
  for (int i = 0; i < rows; ++i) {
    v1::PackedRow* const row = table->add_rows();
    row->set_revision(i);
    row->add_values()->set_text(absl::StrCat("p-", i));
    row->add_values()->set_text("Sacramento");
  }
  return tables;
}

std::string BytesOf(const Tables& tables) {
  v1::RowTables message;
  *message.mutable_tables() = tables;
  return message.SerializeAsString();
}

std::string Zlib(const std::string& plain) {
  uLongf size = compressBound(plain.size());
  std::string out(size, '\0');
  EXPECT_EQ(compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                      reinterpret_cast<const Bytef*>(plain.data()), plain.size(), 9),
            Z_OK);
  out.resize(size);
  return out;
}

std::string Compressed(Tables tables) {
  std::string compressed;
  CompressTables(&tables, &compressed);
  EXPECT_TRUE(tables.empty());
  return compressed;
}

TEST(CompressionTest, TablesComeBackAsTheyWere) {
  const Tables tables = PatientTables(1000);
  const std::string compressed = Compressed(tables);

  Tables expanded;
  ASSERT_TRUE(ExpandTables(compressed, kBytesMax, &expanded).ok());

  EXPECT_EQ(BytesOf(expanded), BytesOf(tables));
  EXPECT_THAT(compressed.size(), Lt(BytesOf(tables).size() / 3));
}

TEST(CompressionTest, ExpandedTablesStandBehindThoseThatAreThere) {
  Tables tables;
  tables.Add()->set_entity_type("First");

  ASSERT_TRUE(ExpandTables(Compressed(PatientTables(100)), kBytesMax, &tables).ok());

  ASSERT_EQ(tables.size(), 2);
  EXPECT_EQ(tables[0].entity_type(), "First");
  EXPECT_EQ(tables[1].rows_size(), 100);
}

TEST(CompressionTest, WhatWouldNotGetShorterStaysAsItIs) {
  SystemRng rng;
  Tables small = PatientTables(1);
  Tables random;
  random.Add()->add_rows()->add_values()->set_blob(rng.Bytes(5000));
  const std::string random_bytes = BytesOf(random);
  std::string compressed;

  CompressTables(&small, &compressed);
  CompressTables(&random, &compressed);

  EXPECT_EQ(compressed, "");
  EXPECT_EQ(BytesOf(small), BytesOf(PatientTables(1)));
  EXPECT_EQ(BytesOf(random), random_bytes);
}

TEST(CompressionTest, NothingExpandsToNothing) {
  Tables tables;

  EXPECT_TRUE(ExpandTables("", kBytesMax, &tables).ok());

  EXPECT_TRUE(tables.empty());
}

TEST(CompressionTest, TheLimitHoldsToTheByte) {
  const Tables tables = PatientTables(1000);
  const std::string compressed = Compressed(tables);
  const size_t size = BytesOf(tables).size();
  Tables expanded;

  const absl::Status status = ExpandTables(compressed, size - 1, &expanded);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
  EXPECT_TRUE(expanded.empty());

  EXPECT_TRUE(ExpandTables(compressed, size, &expanded).ok());
}

TEST(CompressionTest, ABombIsRefusedForItsSize) {
  // A valid message: one text of 100 MB.
  Tables tables;
  tables.Add()->set_entity_type(std::string(100 << 20, 'x'));
  const std::string bomb = Zlib(BytesOf(tables));
  ASSERT_THAT(bomb.size(), Lt(200u << 10));
  Tables expanded;

  const absl::Status status = ExpandTables(bomb, kBytesMax, &expanded);

  EXPECT_EQ(ReasonOf(status), "MESSAGE_TOO_LARGE");
  EXPECT_TRUE(expanded.empty());
}

TEST(CompressionTest, DamageAnywhereIsRefusedAndNothingIsTaken) {
  const std::string good = Compressed(PatientTables(50));
  const auto refused = [](const std::string& bytes) {
    Tables tables;
    const absl::Status status = ExpandTables(bytes, kBytesMax, &tables);
    return status.code() == absl::StatusCode::kInvalidArgument && ReasonOf(status) == "FIELD" &&
           tables.empty();
  };

  for (size_t size = 1; size < good.size(); ++size) {
    EXPECT_TRUE(refused(good.substr(0, size))) << size << " bytes of it";
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x55);
    EXPECT_TRUE(refused(bytes)) << "byte " << at;
  }
  EXPECT_TRUE(refused(good + "x"));
  EXPECT_TRUE(refused("x"));
  EXPECT_TRUE(refused(Zlib("\xff\xff\xff")));
}

}  // namespace
}  // namespace ptdoc::sync
