#include "tests/bench/device.h"

#include <grpcpp/create_channel.h>
#include <poll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "floor.grpc.pb.h"
#include "tests/bench/database.h"
#include "tests/bench/patients.h"

namespace ptdoc::bench {
namespace {

constexpr int kRowsPerMessage = 1000;
constexpr int kConnectSeconds = 10;
// A file event comes when the log is written, the commit can be read only after
// its fsync: so look again, often at first, and now and then for ever.
constexpr int kLooksOften = 50;
constexpr int kLooks = 100;
constexpr timespec kOften = {0, 100'000};
constexpr timespec kSometimes = {0, 1'000'000};
constexpr timespec kRarely = {0, 20'000'000};

std::shared_ptr<grpc::Channel> Connect(const std::string& port) {
  auto channel = grpc::CreateChannel("127.0.0.1:" + port, grpc::InsecureChannelCredentials());
  const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(kConnectSeconds);
  if (!channel->WaitForConnected(deadline)) Die("no connection");
  return channel;
}

void SayReady() {
  std::printf("ready\n");
  std::fflush(stdout);
}

// Pending rows to the server.
class Pusher {
 public:
  Pusher(const std::string& path, const std::shared_ptr<grpc::Channel>& channel, size_t window = 1)
      : window_(window),
        db_(path),
        read_(db_, std::string("SELECT q.Number, ") + kPatientColumns +
                       " FROM Queue q JOIN Patient p ON p.Id = q.EntityId "
                       "WHERE q.Number > ? AND q.Done = 0 ORDER BY q.Number LIMIT ?"),
        done_(db_, "UPDATE Queue SET Done = 1 WHERE Number > ? AND Number <= ?"),
        state_(db_, "INSERT INTO RowState(EntityId, Revision) VALUES(?, ?)"),
        stub_(Floor::NewStub(channel)),
        stream_(stub_->Push(&context_)) {}

  // False if nothing is pending and nothing unanswered.
  bool PushOne() {
    while (sent_.size() < window_ && SendOne()) continue;
    if (sent_.empty()) return false;
    if (!stream_->Read(&ack_)) Die("the push ended");
    MarkDone(sent_.front());
    free_.push_back(std::move(sent_.front()));
    sent_.pop_front();
    return true;
  }

 private:
  // A message and the numbers of the queue that it covers: (after, last].
  struct Sent {
    Rows rows;
    int64_t after = 0;
    int64_t last = 0;
  };

  // A message is used again: it keeps its memory.
  Sent Unused() {
    if (free_.empty()) return Sent();
    Sent unused = std::move(free_.back());
    free_.pop_back();
    unused.rows.clear_rows();
    return unused;
  }

  bool SendOne() {
    Sent next = Unused();
    next.after = next.last = position_;
    read_.Int(1, position_).Int(2, kRowsPerMessage);
    while (read_.Step()) {
      Row* row = next.rows.add_rows();
      next.last = read_.ColumnInt(0);
      ReadPatient(read_, 1, &patient_);
      row->set_id(patient_.texts(0));
      patient_.SerializeToString(row->mutable_patient());
    }
    const bool any = !next.rows.rows().empty();
    if (any && !stream_->Write(next.rows)) Die("the push ended");
    position_ = next.last;
    (any ? sent_.emplace_back() : free_.emplace_back()) = std::move(next);
    return any;
  }

  void MarkDone(const Sent& sent) {
    int64_t revision = ack_.revision() - sent.rows.rows_size();
    db_.Exec("BEGIN IMMEDIATE");
    done_.Int(1, sent.after).Int(2, sent.last).Run();
    for (const Row& row : sent.rows.rows()) state_.Text(1, row.id()).Int(2, ++revision).Run();
    db_.Exec("COMMIT");
  }

  const size_t window_;
  Database db_;
  Statement read_;
  Statement done_;
  Statement state_;
  grpc::ClientContext context_;
  const std::unique_ptr<Floor::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<Rows, Ack>> stream_;
  std::deque<Sent> sent_;
  std::vector<Sent> free_;
  int64_t position_ = 0;  // read up to here
  Patient patient_;
  Ack ack_;
};

// The server's rows into the app's table, one transaction a message.
class Puller {
 public:
  Puller(const std::string& path, const std::shared_ptr<grpc::Channel>& channel, bool follow)
      : db_(path),
        insert_(db_, InsertPatientSql()),
        state_(db_, "INSERT INTO RowState(EntityId, Revision) VALUES(?, ?)"),
        stub_(Floor::NewStub(channel)) {
    From from;
    from.set_follow(follow);
    reader_ = stub_->Pull(&context_, from);
  }

  // False at the end of the feed.
  bool ApplyOne() {
    if (!reader_->Read(&rows_)) return false;
    db_.Exec("BEGIN IMMEDIATE");
    for (const Row& row : rows_.rows()) {
      if (!patient_.ParseFromString(row.patient())) Die("a bad row");
      BindPatient(patient_, &insert_);
      insert_.Run();
      state_.Text(1, row.id()).Int(2, row.revision()).Run();
    }
    db_.Exec("COMMIT");
    return true;
  }

 private:
  Database db_;
  Statement insert_;
  Statement state_;
  grpc::ClientContext context_;
  const std::unique_ptr<Floor::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<Rows>> reader_;
  Patient patient_;
  Rows rows_;
};

// File events of the app's write-ahead log.
class Events {
 public:
  explicit Events(const std::string& path) : fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
    if (inotify_add_watch(fd_, (path + "-wal").c_str(), IN_MODIFY) < 0) Die("no file events");
  }

  // True if one came before `timeout`.
  bool Wait(const timespec& timeout) {
    pollfd poll = {fd_, POLLIN, 0};
    if (ppoll(&poll, 1, &timeout, nullptr) <= 0) return false;
    while (read(fd_, buffer_, sizeof(buffer_)) > 0) continue;
    return true;
  }

 private:
  const int fd_;
  char buffer_[16 * 1024];
};

}  // namespace

void CreateDevice(const std::string& path, const std::string& schema, bool captured) {
  std::ifstream file(schema);
  std::stringstream sql;
  sql << file.rdbuf();
  if (!file) Die("no schema at " + schema);
  Database db(path);
  db.Exec(sql.str());
  db.Exec(
      "CREATE TABLE Queue(Number INTEGER PRIMARY KEY, EntityId TEXT NOT NULL, "
      "Operation TEXT NOT NULL, Done INTEGER NOT NULL DEFAULT 0);"
      "CREATE TABLE RowState(EntityId TEXT PRIMARY KEY NOT NULL, Revision INTEGER NOT NULL) "
      "WITHOUT ROWID");
  if (!captured) return;
  db.Exec(
      "CREATE TRIGGER Enqueue AFTER INSERT ON Patient BEGIN "
      "INSERT INTO Queue(EntityId, Operation) VALUES(NEW.Id, 'I'); END");
}

double PushAll(const std::string& path, const std::string& port, size_t window) {
  const double start = Seconds();
  Pusher pusher(path, Connect(port), window);
  while (pusher.PushOne()) continue;
  return Seconds() - start;
}

double PullAll(const std::string& path, const std::string& port) {
  const double start = Seconds();
  Puller puller(path, Connect(port), /*follow=*/false);
  while (puller.ApplyOne()) continue;
  return Seconds() - start;
}

void PushLive(const std::string& path, const std::string& port) {
  Pusher pusher(path, Connect(port));
  while (pusher.PushOne()) continue;
  Events events(path);
  SayReady();
  int looks = kLooks;
  while (true) {
    const bool event = events.Wait(looks < kLooksOften ? kOften
                                   : looks < kLooks    ? kSometimes
                                                       : kRarely);
    looks = event ? 0 : looks + 1;
    if (pusher.PushOne()) looks = kLooks;
  }
}

void PullLive(const std::string& path, const std::string& port) {
  Puller puller(path, Connect(port), /*follow=*/true);
  SayReady();
  while (puller.ApplyOne()) continue;
  Die("the pull ended");
}

}  // namespace ptdoc::bench
