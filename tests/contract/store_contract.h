#pragma once

// What every store must do, whatever it stands on: tests of store.h alone.
// A store's test program includes this in one file and adds
//   INSTANTIATE_TEST_SUITE_P(Name, StoreContractTest, testing::Values(&MakeHarness));

#include "tests/contract/store_contract_fixture.h"
#include "tests/contract/store_contract_log.h"
#include "tests/contract/store_contract_records.h"
#include "tests/contract/store_contract_retention.h"
#include "tests/contract/store_contract_versions.h"
