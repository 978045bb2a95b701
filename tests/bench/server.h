#pragma once

#include <cstdint>
#include <string>

namespace ptdoc::bench {

// Makes the server's tables if they are not there.
void CreateServer(const std::string& path);
// Fills them with `rows` rows, without the network.
void FillServer(const std::string& path, uint64_t seed, int64_t rows);

// Prints its port and serves on loopback until it is killed.
[[noreturn]] void Serve(const std::string& path);

}  // namespace ptdoc::bench
