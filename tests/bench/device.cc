#include "tests/bench/device.h"

#include <grpcpp/create_channel.h>
#include <poll.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

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

// Pending rows to the server, one message at a time.
class Pusher {
 public:
  Pusher(const std::string& path, const std::shared_ptr<grpc::Channel>& channel)
      : db_(path),
        read_(db_, std::string("SELECT q.Number, ") + kPatientColumns +
                       " FROM Queue q JOIN Patient p ON p.Id = q.EntityId "
                       "WHERE q.Number > ? AND q.Done = 0 ORDER BY q.Number LIMIT ?"),
        done_(db_, "UPDATE Queue SET Done = 1 WHERE Number > ? AND Number <= ?"),
        state_(db_, "INSERT INTO RowState(EntityId, Revision) VALUES(?, ?)"),
        stub_(Floor::NewStub(channel)),
        stream_(stub_->Push(&context_)) {}

  // False if nothing was pending.
  bool PushOne() {
    int64_t last = position_;
    rows_.clear_rows();
    read_.Int(1, position_).Int(2, kRowsPerMessage);
    while (read_.Step()) {
      Row* row = rows_.add_rows();
      last = read_.ColumnInt(0);
      ReadPatient(read_, 1, &patient_);
      row->set_id(patient_.texts(0));
      patient_.SerializeToString(row->mutable_patient());
    }
    if (rows_.rows().empty()) return false;
    if (!stream_->Write(rows_) || !stream_->Read(&ack_)) Die("the push ended");
    MarkDone(last);
    return true;
  }

 private:
  void MarkDone(int64_t last) {
    int64_t revision = ack_.revision() - rows_.rows_size();
    db_.Exec("BEGIN IMMEDIATE");
    done_.Int(1, position_).Int(2, last).Run();
    for (const Row& row : rows_.rows()) state_.Text(1, row.id()).Int(2, ++revision).Run();
    db_.Exec("COMMIT");
    position_ = last;
  }

  Database db_;
  Statement read_;
  Statement done_;
  Statement state_;
  grpc::ClientContext context_;
  const std::unique_ptr<Floor::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<Rows, Ack>> stream_;
  int64_t position_ = 0;
  Patient patient_;
  Rows rows_;
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

double PushAll(const std::string& path, const std::string& port) {
  const double start = Seconds();
  Pusher pusher(path, Connect(port));
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
