#pragma once

#include <cstddef>

struct sqlite3_mem_methods;

namespace ptdoc::sync::sim {

// Memory of one thread, given back to lists by size and never to the system: a
// run allocates some millions of small pieces, and the next run the same ones.
// What one thread took another may give back. Pieces are aligned to 16 bytes.
void* TakeMemory(size_t size);  // never null: without memory the process ends
void GiveMemoryBack(void* memory);
size_t SizeOfMemory(const void* memory);  // what was taken, or more

// The same for SQLite (SQLITE_CONFIG_MALLOC).
const sqlite3_mem_methods& SqliteMemory();

}  // namespace ptdoc::sync::sim
