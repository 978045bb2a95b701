#include "tests/simulation/sim_numbers.h"

#include "absl/strings/str_cat.h"
#include "common/sqlite/sqlite.h"

namespace ptdoc::sync::sim {
namespace {

std::string Slug(World& world) {
  return absl::StrCat("'r", world.rng().Below(5), "'");
}

std::string Uuid(World& world) {
  return absl::StrCat("'b", world.rng().Below(10), "'");
}

std::string Label(World& world) {
  return absl::StrCat("'l", world.rng().Below(3), "'");
}

// Few, so that a number that was somebody's becomes somebody else's.
std::string Number(World& world) {
  return absl::StrCat(1 + world.rng().Below(6));
}

std::string RoomOf(const std::string& slug) {
  return absl::StrCat("(SELECT Id FROM Room WHERE Slug = ", slug, ")");
}

std::string WriteRoom(World& world, const std::string& text) {
  const std::string slug = Slug(world);
  switch (world.rng().Below(8)) {
    case 0:
    case 1:
      return absl::StrCat("INSERT OR IGNORE INTO Room(Slug, Name) VALUES (", slug, ", ", text, ")");
    case 2:  // whoever had the number or the name before is gone
      return absl::StrCat("INSERT OR REPLACE INTO Room(Id, Slug, Name) VALUES (", Number(world),
                          ", ", slug, ", ", text, ")");
    case 3:
    case 4:
      return absl::StrCat("UPDATE Room SET Name = ", text, " WHERE Slug = ", slug);
    case 5:  // numbered anew, and whoever refers to it with it
      return absl::StrCat("UPDATE OR IGNORE Room SET Id = ", Number(world), " WHERE Slug = ", slug);
    case 6:
      return absl::StrCat("UPDATE OR IGNORE Room SET Slug = ", Slug(world), " WHERE Slug = ", slug);
    default:
      return absl::StrCat("DELETE FROM Room WHERE Slug = ", slug);
  }
}

std::string WriteBooking(World& world, const std::string& text) {
  const std::string uuid = Uuid(world);
  switch (world.rng().Below(8)) {
    case 0:
    case 1:
      return absl::StrCat("INSERT OR IGNORE INTO Booking(Uuid, RoomId, Note) SELECT ", uuid,
                          ", Id, ", text, " FROM Room WHERE Slug = ", Slug(world));
    case 2:
      return absl::StrCat("UPDATE Booking SET RoomId = ", RoomOf(Slug(world)),
                          " WHERE Uuid = ", uuid);
    case 3:  // rows that refer to rows of their own table, and to themselves
      return absl::StrCat("UPDATE Booking SET AfterId = (SELECT Id FROM Booking WHERE Uuid = ",
                          Uuid(world), ") WHERE Uuid = ", uuid);
    case 4:
    case 5:
      return absl::StrCat("UPDATE Booking SET Note = ", text, " WHERE Uuid = ", uuid);
    case 6:
      return absl::StrCat("INSERT OR REPLACE INTO Booking(Uuid, RoomId, Note) SELECT ", uuid,
                          ", Id, ", text, " FROM Room WHERE Slug = ", Slug(world));
    default:
      return absl::StrCat("DELETE FROM Booking WHERE Uuid = ", uuid);
  }
}

std::string WriteLabel(World& world, const std::string& text) {
  switch (world.rng().Below(3)) {
    case 0:
      return absl::StrCat("INSERT OR REPLACE INTO RoomLabel SELECT Id, ", Label(world), ", ", text,
                          " FROM Room WHERE Slug = ", Slug(world));
    case 1:
      return absl::StrCat("UPDATE RoomLabel SET Note = ", text, " WHERE Label = ", Label(world));
    default:
      return absl::StrCat("DELETE FROM RoomLabel WHERE RoomId = ", RoomOf(Slug(world)));
  }
}

}  // namespace

const char kNumberedSchema[] = R"sql(
CREATE TABLE Room(Id INTEGER PRIMARY KEY, Slug TEXT NOT NULL UNIQUE, Name TEXT);
CREATE TABLE Booking(Id INTEGER PRIMARY KEY AUTOINCREMENT, Uuid TEXT NOT NULL UNIQUE,
    RoomId INTEGER REFERENCES Room(Id) ON DELETE CASCADE ON UPDATE CASCADE,
    AfterId INTEGER REFERENCES Booking(Id) ON DELETE SET NULL, Note TEXT);
CREATE TABLE RoomLabel(RoomId INTEGER REFERENCES Room(Id) ON DELETE CASCADE ON UPDATE CASCADE,
    Label TEXT, Note TEXT, PRIMARY KEY(RoomId, Label)) WITHOUT ROWID;
)sql";

const std::vector<TableSpec>& NumberedTables() {
  static const auto* const tables = new std::vector<TableSpec>{
      {"Room", {"Slug"}, "SELECT Slug, Name FROM Room", true},
      {"Booking",
       {"Uuid"},
       "SELECT b.Uuid, r.Slug AS RoomId, a.Uuid AS AfterId, b.Note FROM Booking b "
       "LEFT JOIN Room r ON r.Id = b.RoomId LEFT JOIN Booking a ON a.Id = b.AfterId",
       true},
      {"RoomLabel",
       {"RoomId", "Label"},
       "SELECT r.Slug AS RoomId, l.Label, l.Note FROM RoomLabel l JOIN Room r ON r.Id = l.RoomId",
       false}};
  return *tables;
}

std::string WhereKey(const TableSpec& table, const std::string& column, const std::string& value) {
  const bool is_translated = column == "RoomId" && table.select != nullptr;
  return absl::StrCat(column, " = ", is_translated ? RoomOf(value) : value);
}

std::vector<std::string> NumberedStatements(World& world, const std::string& text) {
  switch (world.rng().Below(6)) {
    case 0:
    case 1:
      return {WriteRoom(world, text)};
    case 2:
    case 3:
      return {WriteBooking(world, text)};
    case 4:
      return {WriteLabel(world, text)};
    default: {  // a room with all that is in it, in one transaction
      const std::string slug = Slug(world);
      return {
          absl::StrCat("INSERT OR IGNORE INTO Room(Slug, Name) VALUES (", slug, ", ", text, ")"),
          absl::StrCat("INSERT OR IGNORE INTO Booking(Uuid, RoomId, AfterId, Note) SELECT ",
                       Uuid(world), ", r.Id, (SELECT max(Id) FROM Booking), ", text,
                       " FROM Room r WHERE r.Slug = ", slug),
          absl::StrCat("INSERT OR IGNORE INTO RoomLabel SELECT Id, ", Label(world), ", ", text,
                       " FROM Room WHERE Slug = ", slug)};
    }
  }
}

}  // namespace ptdoc::sync::sim
