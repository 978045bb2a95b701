#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device-agent/replica/table.h"

namespace ptdoc::sync {

// What becomes of one entity when a piece of work is done.
enum class Act : uint8_t {
  kWrite = 1,     // the version goes into the app's table (a deletion deletes)
  kAdopt = 2,     // the row is already so: only its state moves
  kSetAside = 3,  // the schema refuses it
  kRemove = 4,    // the row is deleted, and nothing is known of it any more
};

struct Target {
  Act act = Act::kWrite;
  Version version;  // for kRemove only its key; with content for kSetAside alone
  RowHashes after;  // the row as it stands then; the state's
  int64_t closes_item = 0;
  ItemStatus closes_as = ItemStatus::kCompleted;
  std::string code;  // of kSetAside
  std::string constraint;
  // Set aside after a lost conflict: the row stays as sent, on its old base.
  std::optional<RowHashes> stays_as_sent;
  std::optional<ArchiveEntry> archive;

  // Not part of the intent: how it gets into the app's table.
  Table* table = nullptr;
  std::vector<Value> key;
  RowHashes expected;               // what must stand there, else nothing happens
  std::vector<Value> values;        // the whole row as it will stand
  std::vector<bool> written;        // the columns that the version has
  bool is_there = false;            // found in the transaction that writes
  Row before;                       // the row that stood there
  std::vector<Value> local_values;  // `values` as this file stores them, once written
};

// A piece of work as an intent remembers it: what is written into the app's
// file in one transaction, and everything that follows from it in the ledger.
struct Work {
  std::string kind;
  bool moves_cursor = false;
  std::string cursor;
  std::string epoch;
  std::string file_id;   // of kind "recover"
  bool compare = false;  // every row must be compared with its state afterwards
  std::vector<Target> targets;
  std::vector<StaleNote> notes;
  std::vector<ArchiveEntry> archives;  // of rows that stay as they are
};

std::string EncodeWork(const Work& work);
// DATA_LOSS for bytes that EncodeWork did not make.
absl::StatusOr<Work> DecodeWork(absl::string_view bytes);

}  // namespace ptdoc::sync
