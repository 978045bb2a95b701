#include "tests/contract/store_contract.h"
#include "tests/sync-service/store/sqlite_harness.h"

namespace ptdoc::sync {
namespace {

std::unique_ptr<StoreHarness> MakeHarness() {
  return std::make_unique<SqliteHarness>();
}

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreContractTest, testing::Values(&MakeHarness));

}  // namespace
}  // namespace ptdoc::sync
