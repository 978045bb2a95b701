// What the same work costs with nothing but SQLite and gRPC: straight-line
// programs without tokens, conflicts, receipts or audit. bench.py runs them side
// by side with the product; each prints one JSON object.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/bench/app.h"
#include "tests/bench/database.h"
#include "tests/bench/device.h"
#include "tests/bench/followers.h"
#include "tests/bench/link.h"
#include "tests/bench/patients.h"
#include "tests/bench/probe.h"
#include "tests/bench/process.h"
#include "tests/bench/server.h"

namespace ptdoc::bench {
namespace {

// No measurement takes longer; a hanging one must not outlive it.
constexpr unsigned kLifeSeconds = 880;
constexpr int64_t kRowsPerTransaction = 1000;

constexpr char kUsage[] =
    "usage: floor push|pull|live --dir D --schema FILE --rows N [--seed S]\n"
    "       floor insert --db FILE --rows N --per-transaction K [--seed S]\n"
    "       floor probe --from FILE --to FILE --rows N [--seed S]\n"
    "       floor size --rows N [--seed S]\n"
    "       floor app --db FILE --rows N [--timeout-ms T] [--reads-first 1] [--seed S]\n"
    "       floor link --to PORT [--round-trip-us N] [--lost-of-1000 N]\n"
    "       floor follow --port PORT --method NAME --request HEX --count N [--tokens FILE]\n"
    "                    [--commit-to FILE --writes N] [--seed S]\n"
    "       floor serve-quiet\n"
    "push also takes --window N, --round-trip-us N, --lost-of-1000 N.\n";

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 2; i + 1 < argc; i += 2) values_[argv[i]] = argv[i + 1];
  }

  std::string Text(const std::string& name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) Die(name + " is missing\n" + kUsage);
    return found->second;
  }
  int64_t Number(const std::string& name, int64_t otherwise) const {
    if (values_.count(name) == 0) return otherwise;
    const int64_t number = std::strtoll(Text(name).c_str(), nullptr, 10);
    if (number < 0) Die(name + " must not be below 0");
    return number;
  }
  std::string TextOr(const std::string& name, const std::string& otherwise) const {
    return values_.count(name) == 0 ? otherwise : Text(name);
  }
  int64_t rows() const {
    const int64_t rows = Number("--rows", 20'000);
    if (rows == 0) Die("--rows must be above 0");
    return rows;
  }
  uint64_t seed() const { return static_cast<uint64_t>(Number("--seed", 1)); }
  std::string In(const std::string& file) const { return Text("--dir") + "/" + file; }

 private:
  std::map<std::string, std::string> values_;
};

void PrintRate(int64_t rows, double seconds, pid_t server = -1) {
  std::printf("{\"rows\": %lld, \"seconds\": %.6f, \"device_mib\": %.1f, \"server_mib\": %.1f}\n",
              static_cast<long long>(rows), seconds, PeakMib(getpid()), PeakMib(server));
}

// The port to be used by whoever wants to reach `server`: its own, or that of a
// slow link to it.
std::string PortOver(std::optional<Process>& link, const Arguments& arguments,
                     const Process& server) {
  if (arguments.TextOr("--round-trip-us", "").empty()) return server.line();
  link.emplace(std::vector<std::string>{"link", "--to", server.line(), "--round-trip-us",
                                        arguments.Text("--round-trip-us"), "--lost-of-1000",
                                        arguments.TextOr("--lost-of-1000", "0"), "--stays", "1"});
  return link->line();
}

void CheckRows(const std::string& path, const std::string& table, int64_t rows) {
  if (Database(path).QueryInt("SELECT count(*) FROM " + table) == rows) return;
  Die("not every row is in " + table);
}

int Push(const Arguments& arguments) {
  const std::string device = arguments.In("device.db");
  const std::string server = arguments.In("server.db");
  CreateDevice(device, arguments.Text("--schema"), /*captured=*/true);
  CreateServer(server);
  {
    Database db(device);
    InsertPatients(db, arguments.seed(), arguments.rows(), kRowsPerTransaction);
  }
  const Process service({"serve", "--db", server});
  std::optional<Process> link;
  const std::string port = PortOver(link, arguments, service);
  const auto window = static_cast<size_t>(arguments.Number("--window", 1));
  const double seconds = PushAll(device, port, window);
  CheckRows(server, "Record", arguments.rows());
  CheckRows(device, "RowState", arguments.rows());
  PrintRate(arguments.rows(), seconds, service.pid());
  return 0;
}

int Pull(const Arguments& arguments) {
  const std::string device = arguments.In("device.db");
  const std::string server = arguments.In("server.db");
  CreateDevice(device, arguments.Text("--schema"), /*captured=*/false);
  CreateServer(server);
  FillServer(server, arguments.seed(), arguments.rows());
  const Process service({"serve", "--db", server});
  const double seconds = PullAll(device, service.line());
  CheckRows(device, "Patient", arguments.rows());
  PrintRate(arguments.rows(), seconds, service.pid());
  return 0;
}

int Live(const Arguments& arguments) {
  const std::string a = arguments.In("a.db");
  const std::string b = arguments.In("b.db");
  const std::string server = arguments.In("server.db");
  CreateDevice(a, arguments.Text("--schema"), /*captured=*/true);
  CreateDevice(b, arguments.Text("--schema"), /*captured=*/false);
  CreateServer(server);
  const Process service({"serve", "--db", server});
  const Process puller({"pull-live", "--db", b, "--port", service.line()});
  const Process pusher({"push-live", "--db", a, "--port", service.line()});
  PrintLatency(MeasureLatency(a, b, arguments.rows(), arguments.seed()));
  return 0;
}

int Insert(const Arguments& arguments) {
  Database db(arguments.Text("--db"));
  const int64_t per_transaction = arguments.Number("--per-transaction", kRowsPerTransaction);
  PrintRate(arguments.rows(),
            InsertPatients(db, arguments.seed(), arguments.rows(), per_transaction));
  return 0;
}

int Probe(const Arguments& arguments) {
  PrintLatency(MeasureLatency(arguments.Text("--from"), arguments.Text("--to"), arguments.rows(),
                              arguments.seed()));
  return 0;
}

int Size(const Arguments& arguments) {
  std::printf("{\"bytes\": %.2f}\n", AverageBytes(arguments.seed(), arguments.rows()));
  return 0;
}

int RunAppOf(const Arguments& arguments) {
  AppOptions options;
  options.db = arguments.Text("--db");
  options.writes_max = arguments.rows();
  options.timeout_ms = static_cast<int>(arguments.Number("--timeout-ms", 0));
  options.reads_first = arguments.Number("--reads-first", 0) > 0;
  options.seed = arguments.seed();
  return RunApp(options);
}

[[noreturn]] void ServeLinkOf(const Arguments& arguments) {
  LinkOptions options;
  options.to_port = static_cast<int>(arguments.Number("--to", 0));
  options.round_trip_us = arguments.Number("--round-trip-us", 0);
  options.lost_of_1000 = arguments.Number("--lost-of-1000", 0);
  options.stays = arguments.Number("--stays", 0) > 0;
  ServeLink(options);
}

int FollowOf(const Arguments& arguments) {
  FollowersOptions options;
  options.port = arguments.Text("--port");
  options.method = arguments.Text("--method");
  options.request = arguments.Text("--request");
  options.count = arguments.Number("--count", 1);
  options.tokens = arguments.TextOr("--tokens", "");
  options.commit_to = arguments.TextOr("--commit-to", "");
  options.writes = arguments.Number("--writes", 0);
  options.seed = arguments.seed();
  return Follow(options);
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  const Arguments arguments(argc, argv);
  alarm(kLifeSeconds);
  if (verb == "push") return Push(arguments);
  if (verb == "pull") return Pull(arguments);
  if (verb == "live") return Live(arguments);
  if (verb == "insert") return Insert(arguments);
  if (verb == "probe") return Probe(arguments);
  if (verb == "size") return Size(arguments);
  if (verb == "app") return RunAppOf(arguments);
  if (verb == "link") ServeLinkOf(arguments);
  if (verb == "follow") return FollowOf(arguments);
  if (verb == "serve-quiet") ServeQuiet();
  // The processes that those start.
  if (verb == "serve") Serve(arguments.Text("--db"));
  if (verb == "push-live") PushLive(arguments.Text("--db"), arguments.Text("--port"));
  if (verb == "pull-live") PullLive(arguments.Text("--db"), arguments.Text("--port"));
  std::fputs(kUsage, stderr);
  return 2;
}

}  // namespace
}  // namespace ptdoc::bench

int main(int argc, char** argv) {
  return ptdoc::bench::Main(argc, argv);
}
