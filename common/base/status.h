#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expr` from the present function unless it is OK.
#define PT_RETURN_IF_ERROR(expr)             \
  do {                                       \
    ::absl::Status pt_status_ = (expr);      \
    if (!pt_status_.ok()) return pt_status_; \
  } while (false)

#define PT_CONCAT_INNER(a, b) a##b
#define PT_CONCAT(a, b) PT_CONCAT_INNER(a, b)

// Declares or assigns `lhs` from the StatusOr `expr`, or returns its status. Of
// the names made by this macro one line has one: use it once a line.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration takes none.
#define PT_ASSIGN_OR_RETURN(lhs, expr) \
  PT_ASSIGN_OR_RETURN_IMPL(PT_CONCAT(pt_statusor_, __LINE__), lhs, expr)
#define PT_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = std::move(tmp).value()
// NOLINTEND(bugprone-macro-parentheses)

// A broken promise of our own code: the process stops, whatever the build. The
// message is the text of the condition, never a value.
#define PT_CHECK(condition)                                                              \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
