#include "tests/simulation/memory.h"

#include <sqlite3.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace ptdoc::sync::sim {
namespace {

constexpr size_t kAlign = 16;
constexpr size_t kSmallMax = 1024;  // in steps of kAlign; above it in quarters of a power of two
constexpr size_t kSmallClasses = kSmallMax / kAlign + 1;
constexpr size_t kLargeMax = size_t{1} << 20;
constexpr size_t kClasses = kSmallClasses + 4 * 10;
constexpr size_t kChunkBytes = size_t{1} << 20;

// Stands before each piece.
struct alignas(kAlign) Head {
  size_t list;  // kClasses: from malloc
  size_t size;
};

struct Piece {
  Piece* next;
};

struct Pool {
  std::array<Piece*, kClasses> free;
  char* rest;
  size_t left;
};

constinit thread_local Pool g_pool = {};

struct Class {
  size_t list;
  size_t size;
};

Class ClassOf(size_t size) {
  if (size <= kSmallMax) {
    const size_t steps = size == 0 ? 1 : (size + kAlign - 1) / kAlign;
    return {steps, steps * kAlign};
  }
  const auto log = static_cast<size_t>(std::bit_width(size - 1)) - 1;  // 2^log < size
  const size_t quarter = (size_t{1} << log) / 4;
  const size_t quarters = (size - (size_t{1} << log) + quarter - 1) / quarter;  // 1 to 4
  return {kSmallClasses + (log - 10) * 4 + quarters - 1, (size_t{1} << log) + quarters * quarter};
}

Head* FromSystem(size_t size) {
  void* const memory = std::malloc(sizeof(Head) + size);
  if (memory == nullptr) std::abort();
  return new (memory) Head{kClasses, size};
}

Head* Carve(const Class& wanted) {
  const size_t bytes = sizeof(Head) + wanted.size;
  if (g_pool.left < bytes) {
    const size_t chunk = bytes > kChunkBytes ? bytes : kChunkBytes;
    g_pool.rest = static_cast<char*>(std::malloc(chunk));
    if (g_pool.rest == nullptr) std::abort();
    g_pool.left = chunk;
  }
  char* const at = g_pool.rest;
  g_pool.rest += bytes;
  g_pool.left -= bytes;
  return new (at) Head{wanted.list, wanted.size};
}

Head* HeadOf(void* memory) {
  return static_cast<Head*>(memory) - 1;
}

void* SqliteTake(int size) {
  return TakeMemory(static_cast<size_t>(size));
}

int SqliteSize(void* memory) {
  return memory == nullptr ? 0 : static_cast<int>(SizeOfMemory(memory));
}

void* SqliteResize(void* memory, int size) {
  const auto wanted = static_cast<size_t>(size);
  const size_t there = SizeOfMemory(memory);
  if (wanted <= there && wanted * 2 > there) return memory;
  void* const moved = TakeMemory(wanted);
  std::memcpy(moved, memory, wanted < there ? wanted : there);
  GiveMemoryBack(memory);
  return moved;
}

int SqliteRound(int size) {
  return static_cast<int>((static_cast<size_t>(size) + kAlign - 1) / kAlign * kAlign);
}

int SqliteBegin(void*) {
  return SQLITE_OK;
}

void SqliteEnd(void*) {}

}  // namespace

void* TakeMemory(size_t size) {
  if (size > kLargeMax) return FromSystem(size) + 1;
  const Class wanted = ClassOf(size);
  Piece*& first = g_pool.free[wanted.list];
  if (first == nullptr) return Carve(wanted) + 1;
  Piece* const piece = first;
  first = piece->next;
  return piece;
}

void GiveMemoryBack(void* memory) {
  if (memory == nullptr) return;
  Head* const head = HeadOf(memory);
  if (head->list == kClasses) return std::free(head);
  g_pool.free[head->list] = new (memory) Piece{g_pool.free[head->list]};
}

size_t SizeOfMemory(const void* memory) {
  return (static_cast<const Head*>(memory) - 1)->size;
}

const sqlite3_mem_methods& SqliteMemory() {
  static const sqlite3_mem_methods methods = {SqliteTake,  GiveMemoryBack, SqliteResize, SqliteSize,
                                              SqliteRound, SqliteBegin,    SqliteEnd,    nullptr};
  return methods;
}

}  // namespace ptdoc::sync::sim

// All of the program's; a sanitizer keeps its own, which finds what is misused.
#ifndef PTDOC_SANITIZED
void* operator new(size_t size) {
  return ptdoc::sync::sim::TakeMemory(size);
}
void* operator new[](size_t size) {
  return ptdoc::sync::sim::TakeMemory(size);
}
void operator delete(void* memory) noexcept {
  ptdoc::sync::sim::GiveMemoryBack(memory);
}
void operator delete(void* memory, size_t) noexcept {
  ptdoc::sync::sim::GiveMemoryBack(memory);
}
void operator delete[](void* memory) noexcept {
  ptdoc::sync::sim::GiveMemoryBack(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  ptdoc::sync::sim::GiveMemoryBack(memory);
}
#endif
