#pragma once

#include <string>
#include <vector>

#include "tests/simulation/world.h"

namespace ptdoc::sync::sim {

// What an app that numbers its rows by itself has besides: rooms and bookings, whose
// integers are each device's own, and labels of rooms, which are known by the room.
struct TableSpec {
  const char* name;
  std::vector<std::string> key;  // what every device knows its rows by
  const char* select;            // its rows as other devices know them; null: as they stand
  bool is_numbered;              // `key` is not the table's own
};

const std::vector<TableSpec>& NumberedTables();

// Creates them.
extern const char kNumberedSchema[];

// The condition that `column` of the key is `value`, a literal.
std::string WhereKey(const TableSpec& table, const std::string& column, const std::string& value);

// The statements of one thing that such an app does. `text` and `other` are literals
// of content.
std::vector<std::string> NumberedStatements(World& world, const std::string& text);

}  // namespace ptdoc::sync::sim
