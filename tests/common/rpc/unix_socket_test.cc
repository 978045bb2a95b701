#include "common/rpc/unix_socket.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/server.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/model/reason.h"
#include "common/rpc/channel.h"
#include "ptdoc/sync/v1/sync_service.grpc.pb.h"

namespace ptdoc::sync {
namespace {

class EchoService final : public v1::SyncService::Service {
 public:
  grpc::Status Status(grpc::ServerContext*, const v1::StatusRequest*,
                      v1::StatusResponse* response) override {
    response->set_pending(7);
    return grpc::Status::OK;
  }
};

class UnixSocketTest : public ::testing::Test {
 protected:
  UnixSocketTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ptdoc-socket-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~UnixSocketTest() override {
    if (listener_ != nullptr) listener_->Stop();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
    std::filesystem::remove_all(dir_);
  }

  std::string Path() const { return dir_ + "/agent.sock"; }

  void Serve() { Serve({.path = Path()}); }

  void Serve(UnixSocketOptions options) {
    auto listener = UnixSocketListener::Listen(std::move(options));
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    listener_->AttachTo(builder);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    listener_->Start();
  }

  std::string dir_;
  EchoService service_;
  std::unique_ptr<UnixSocketListener> listener_;
  std::unique_ptr<grpc::Server> server_;
};

constexpr uid_t kNobody = 65534;

// What a process of another user gets: true if the server speaks to it (its
// first frame comes unasked), false if the connection is closed.
bool AnswersUser(const std::string& path, uid_t uid) {
  const pid_t child = fork();
  if (child == 0) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte = 0;
    const bool answered =
        setuid(uid) == 0 &&
        connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
        read(fd, &byte, 1) == 1;
    _exit(answered ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST_F(UnixSocketTest, OnlyUsersThatAreListedAreAnswered) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  std::filesystem::permissions(dir_, std::filesystem::perms(0755));

  // The file is open to all here: only the check of the uid is left.
  Serve({.path = Path(), .mode = 0666});
  EXPECT_FALSE(AnswersUser(Path(), kNobody));
  listener_->Stop();
  server_->Shutdown(std::chrono::system_clock::now());
  Serve({.path = Path(), .mode = 0666, .allowed_uids = {kNobody}});

  EXPECT_TRUE(AnswersUser(Path(), kNobody));
}

TEST_F(UnixSocketTest, ACallOfTheOwnUserIsAnswered) {
  Serve();
  const auto channel = MakeChannel({.address = "unix://" + Path()});
  ASSERT_TRUE(channel.ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  v1::StatusResponse response;

  const grpc::Status status =
      v1::SyncService::NewStub(*channel)->Status(&context, v1::StatusRequest(), &response);

  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.pending(), 7U);
}

TEST_F(UnixSocketTest, TheFileIsClosedToOthers) {
  Serve();
  struct stat info{};

  ASSERT_EQ(stat(Path().c_str(), &info), 0);

  EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

TEST_F(UnixSocketTest, ASecondListenerStandsBack) {
  Serve();

  const auto second = UnixSocketListener::Listen({.path = Path()});

  EXPECT_EQ(ReasonOf(second.status()), "SOCKET_IN_USE");
}

TEST_F(UnixSocketTest, ADeadSocketIsReplaced) {
  Serve();
  std::filesystem::rename(Path(), Path() + ".kept");
  listener_->Stop();
  server_->Shutdown(std::chrono::system_clock::now());
  std::filesystem::rename(Path() + ".kept", Path());

  Serve();

  EXPECT_TRUE(std::filesystem::is_socket(Path()));
}

TEST_F(UnixSocketTest, AnotherFileAtThePathStays) {
  std::ofstream(Path()) << "data";

  const auto listener = UnixSocketListener::Listen({.path = Path()});

  EXPECT_EQ(ReasonOf(listener.status()), "CONFIG");
  EXPECT_TRUE(std::filesystem::is_regular_file(Path()));
}

TEST_F(UnixSocketTest, StopRemovesTheFile) {
  Serve();

  listener_->Stop();

  EXPECT_FALSE(std::filesystem::exists(Path()));
}

TEST_F(UnixSocketTest, APathThatIsTooLongIsRefused) {
  const auto listener = UnixSocketListener::Listen({.path = "/tmp/" + std::string(200, 'x')});

  EXPECT_EQ(ReasonOf(listener.status()), "CONFIG");
}

}  // namespace
}  // namespace ptdoc::sync
