#include "tests/bench/server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>

#include "floor.grpc.pb.h"
#include "tests/bench/database.h"
#include "tests/bench/patients.h"

namespace ptdoc::bench {
namespace {

constexpr int kRowsPerMessage = 1000;
// A waiting stream looks so often whether its device is still there.
constexpr auto kWaitMax = std::chrono::milliseconds(200);

// One row of the newest content, one row of the log: what a change costs at least.
class Store {
 public:
  explicit Store(const std::string& path)
      : db_(path),
        record_(db_,
                "INSERT INTO Record(EntityId, Content) VALUES(?, ?) "
                "ON CONFLICT DO UPDATE SET Content = excluded.Content"),
        log_(db_, "INSERT INTO Log(EntityId) VALUES(?)") {}

  // Returns the last revision.
  int64_t Commit(const Rows& rows) {
    db_.Exec("BEGIN IMMEDIATE");
    for (const Row& row : rows.rows()) {
      record_.Text(1, row.id()).Blob(2, row.patient()).Run();
      log_.Text(1, row.id()).Run();
    }
    const int64_t last = sqlite3_last_insert_rowid(db_.get());
    db_.Exec("COMMIT");
    return last;
  }

 private:
  Database db_;
  Statement record_;
  Statement log_;
};

class FloorService final : public Floor::Service {
 public:
  explicit FloorService(const std::string& path)
      : path_(path), last_(Database(path).QueryInt("SELECT coalesce(max(Revision), 0) FROM Log")) {}

  grpc::Status Push(grpc::ServerContext*, grpc::ServerReaderWriter<Ack, Rows>* stream) override {
    Store store(path_);
    Rows rows;
    Ack ack;
    while (stream->Read(&rows)) {
      const int64_t last = store.Commit(rows);
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        last_ = std::max(last_, last);
      }
      grown_.notify_all();
      ack.set_revision(last);
      stream->Write(ack);
    }
    return grpc::Status::OK;
  }

  grpc::Status Pull(grpc::ServerContext* context, const From* from,
                    grpc::ServerWriter<Rows>* writer) override {
    Database db(path_);
    Statement read(db,
                   "SELECT l.Revision, l.EntityId, r.Content FROM Log l "
                   "JOIN Record r ON r.EntityId = l.EntityId "
                   "WHERE l.Revision > ? ORDER BY l.Revision LIMIT ?");
    Rows rows;
    int64_t position = from->revision();
    while (!context->IsCancelled()) {
      if (from->follow() && !WaitFor(position)) continue;
      rows.clear_rows();
      read.Int(1, position).Int(2, kRowsPerMessage);
      while (read.Step()) {
        Row* row = rows.add_rows();
        position = read.ColumnInt(0);
        row->set_revision(position);
        read.Copy(1, row->mutable_id());
        read.Copy(2, row->mutable_patient());
      }
      if (rows.rows().empty()) break;
      if (!writer->Write(rows)) break;
    }
    return grpc::Status::OK;
  }

 private:
  // Until there is something behind `position`, or a moment has passed.
  bool WaitFor(int64_t position) {
    std::unique_lock<std::mutex> lock(mutex_);
    return grown_.wait_for(lock, kWaitMax, [&] { return last_ > position; });
  }

  const std::string path_;
  std::mutex mutex_;
  std::condition_variable grown_;
  int64_t last_;
};

}  // namespace

void CreateServer(const std::string& path) {
  Database(path).Exec(
      "CREATE TABLE Record(EntityId TEXT PRIMARY KEY NOT NULL, Content BLOB NOT NULL);"
      "CREATE TABLE Log(Revision INTEGER PRIMARY KEY, EntityId TEXT NOT NULL)");
}

void FillServer(const std::string& path, uint64_t seed, int64_t rows) {
  Store store(path);
  PatientMaker maker(seed);
  Patient patient;
  Rows message;
  for (int64_t done = 0; done < rows; ++done) {
    maker.Next(&patient);
    Row* row = message.add_rows();
    row->set_id(patient.texts(0));
    patient.SerializeToString(row->mutable_patient());
    if (message.rows_size() < kRowsPerMessage && done + 1 < rows) continue;
    store.Commit(message);
    message.clear_rows();
  }
}

void Serve(const std::string& path) {
  FloorService service(path);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) Die("no server");
  std::printf("%d\n", port);
  std::fflush(stdout);
  server->Wait();
  Die("the server ended");
}

}  // namespace ptdoc::bench
