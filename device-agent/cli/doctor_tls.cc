// What is wrong with a link whose handshake failed. gRPC says little more than
// that it did, so the handshake is made once more here, beside it.
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rpc/channel.h"
#include "device-agent/cli/doctor.h"

namespace ptdoc::sync {
namespace {

constexpr int kAnswerSecondsMax = 3;
constexpr absl::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr absl::string_view kEmptySettings("\0\0\0\4\0\0\0\0\0", 9);
constexpr std::array<unsigned char, 3> kAlpn = {2, 'h', '2'};

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* owned) const {
    kFree(owned);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freed<SSL_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

bool Connect(const HostPort& place, Descriptor* to) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(place.host.c_str(), absl::StrCat(place.port).c_str(), &hints, &found) != 0) {
    return false;
  }
  const std::unique_ptr<addrinfo, Freed<freeaddrinfo>> owned(found);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Descriptor trial{socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (trial.fd < 0) continue;
    const timeval limit{kAnswerSecondsMax, 0};
    setsockopt(trial.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(trial.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(trial.fd, at->ai_addr, at->ai_addrlen) != 0) continue;
    std::swap(to->fd, trial.fd);
    return true;
  }
  return false;
}

std::string DateOf(const ASN1_TIME* time) {
  tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return "an unknown day";
  return absl::StrCat(parts.tm_year + 1900, "-", absl::Dec(parts.tm_mon + 1, absl::kZeroPad2), "-",
                      absl::Dec(parts.tm_mday, absl::kZeroPad2));
}

std::string NameOf(const X509_NAME* name) {
  std::array<char, 256> text{};
  X509_NAME_oneline(name, text.data(), static_cast<int>(text.size()));
  return text.data();
}

// One handshake with the service, and what came of it.
class Handshake {
 public:
  Handshake(const ChannelOptions& options, HostPort place)
      : options_(options), place_(std::move(place)), context_(SSL_CTX_new(TLS_client_method())) {
    ERR_clear_error();
  }

  // False: a file of the configuration is of no use, and Tell() says which.
  bool LoadFiles(Checkup& checkup);
  // True if the other side showed a certificate.
  bool Shake();
  // After that: true if it answered, and not in TLS.
  bool AnsweredOtherwise() const { return garbage_; }
  void Tell(Checkup& checkup);

 private:
  std::string Place() const { return absl::StrCat(place_.host, ":", place_.port); }
  std::string Shown() const {
    return absl::StrCat("openssl s_client -connect ", Place(), " -servername ", place_.host,
                        " -showcerts </dev/null");
  }
  void TellCertificate(long verdict, Checkup& checkup);
  bool Answers();

  const ChannelOptions& options_;
  const HostPort place_;
  const Context context_;
  Descriptor socket_;
  Session session_;
  bool done_ = false;
  bool asked_ = false;  // for a certificate, where none is configured
  bool garbage_ = false;
};

bool Handshake::LoadFiles(Checkup& checkup) {
  SSL_CTX* const context = context_.get();
  if (options_.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_locations(context, options_.ca_file.c_str(), nullptr) != 1) {
    checkup.Bad("tls", absl::StrCat(options_.ca_file, " (ca_file) holds no certificate in PEM."),
                absl::StrCat("openssl x509 -noout -subject -in ", ShellWord(options_.ca_file)));
    return false;
  }
  if (options_.client_cert_file.empty()) return true;
  const std::string& certificate = options_.client_cert_file;
  const std::string& key = options_.client_key_file;
  const bool fits = SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) == 1 &&
                    SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1;
  if (fits) return true;
  checkup.Bad("tls",
              absl::StrCat(certificate, " (client_cert_file) and ", key.empty() ? "no key" : key,
                           " (client_key_file) are no certificate in PEM with its key."),
              absl::StrCat("openssl x509 -noout -subject -in ", ShellWord(certificate)));
  return false;
}

bool Handshake::Shake() {
  // OpenSSL writes so that a peer who has gone would end this process.
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const absl::Cleanup restore = [before] { std::signal(SIGPIPE, before); };
  if (!Connect(place_, &socket_)) return false;
  session_.reset(SSL_new(context_.get()));
  SSL* const session = session_.get();
  SSL_set_alpn_protos(session, kAlpn.data(), kAlpn.size());
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(session);
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, place_.host.c_str()) != 1) {
    X509_VERIFY_PARAM_set1_host(wanted, place_.host.c_str(), 0);
    std::string host = place_.host;
    SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host.data());
  }
  SSL_set_ex_data(session, 0, &asked_);
  SSL_CTX_set_client_cert_cb(context_.get(), [](SSL* asking, X509**, EVP_PKEY**) {
    *static_cast<bool*>(SSL_get_ex_data(asking, 0)) = true;
    return 0;
  });
  SSL_set_fd(session, socket_.fd);
  done_ = SSL_connect(session) == 1;
  const int reason = ERR_GET_REASON(ERR_peek_error());
  garbage_ = !done_ && (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
                        reason == SSL_R_PACKET_LENGTH_TOO_LONG);
  return SSL_get0_peer_certificate(session) != nullptr;
}

// A server that does not let a client in without a certificate ends a handshake of
// TLS 1.3 only afterwards.
bool Handshake::Answers() {
  if (!done_) return false;
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  const absl::Cleanup restore = [before] { std::signal(SIGPIPE, before); };
  const std::string hello = absl::StrCat(kHttp2Preface, kEmptySettings);
  SSL_write(session_.get(), hello.data(), static_cast<int>(hello.size()));
  std::array<char, 64> answer{};
  return SSL_read(session_.get(), answer.data(), static_cast<int>(answer.size())) > 0;
}

void Handshake::TellCertificate(long verdict, Checkup& checkup) {
  const Certificate certificate(SSL_get1_peer_certificate(session_.get()));
  switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return checkup.Bad(
          "tls",
          absl::StrCat("The certificate of ", Place(),
                       ", or of its authority, is out of date: it "
                       "holds from ",
                       DateOf(X509_get0_notBefore(certificate.get())), " to ",
                       DateOf(X509_get0_notAfter(certificate.get())),
                       ". Put a new one where TLS ends at the service; if this device's date is "
                       "wrong, correct that."),
          absl::StrCat(Shown(), " | openssl x509 -noout -dates"));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return checkup.Bad(
          "tls",
          absl::StrCat("The certificate of ", Place(), " is made for another name than \"",
                       place_.host,
                       "\". Set [service] address to a name that it has, or have one "
                       "made for this name."),
          absl::StrCat(Shown(), " | openssl x509 -noout -ext subjectAltName"));
    default:
      return checkup.Bad(
          "tls",
          absl::StrCat("The certificate of ", Place(),
                       " is signed by an authority that this device "
                       "does not know (",
                       NameOf(X509_get_issuer_name(certificate.get())),
                       "). Set [service] ca_file to that authority's certificate",
                       options_.ca_file.empty() ? "; it is not set"
                                                : absl::StrCat("; it is ", options_.ca_file),
                       "."),
          Shown());
  }
}

void Handshake::Tell(Checkup& checkup) {
  const long verdict = SSL_get_verify_result(session_.get());
  if (verdict != X509_V_OK) return TellCertificate(verdict, checkup);
  if (Answers()) {
    return checkup.Bad("tls",
                       absl::StrCat(Place(),
                                    " speaks TLS and its certificate is good, but what "
                                    "answers behind it is no sync-service."),
                       Shown());
  }
  const std::string& own = options_.client_cert_file;
  if (!own.empty()) {
    return checkup.Bad(
        "tls",
        absl::StrCat(Place(), " does not take this device's client certificate (", own,
                     "). Have one made by the authority that it asks for."),
        absl::StrCat("openssl x509 -noout -subject -issuer -dates -in ", ShellWord(own)));
  }
  checkup.Bad(
      "tls",
      absl::StrCat(Place(), asked_ ? " wants a client certificate. Set [service] "
                                     "client_cert_file and client_key_file to this device's."
                                   : " breaks the link off after the handshake."),
      Shown());
}

}  // namespace

bool CheckTls(const ChannelOptions& options, Checkup& checkup) {
  absl::string_view address = options.address;
  const bool https = absl::ConsumePrefix(&address, "https://");
  if (!https) absl::ConsumePrefix(&address, "http://");
  absl::ConsumeSuffix(&address, "/");
  absl::StatusOr<HostPort> place = ParseHostPort(address);
  if (!place.ok()) return false;
  absl::string_view host = place->host;
  if (absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]")) {
    place->host = std::string(host);
  }
  const bool tls = https || !options.ca_file.empty() || !options.client_cert_file.empty();
  Handshake handshake(options, *place);
  if (!handshake.LoadFiles(checkup)) return true;
  const bool speaks_tls = handshake.Shake();
  if (tls && speaks_tls) {
    handshake.Tell(checkup);
    return true;
  }
  if (tls ? !handshake.AnsweredOtherwise() : !speaks_tls) return false;
  const std::string shown = absl::StrCat("openssl s_client -connect ", address, " </dev/null");
  if (tls) {
    checkup.Bad("tls",
                absl::StrCat(address,
                             " speaks no TLS, and this device does. Write [service] address "
                             "without https:// and take ca_file and client_cert_file out, or give "
                             "the address at which TLS ends."),
                shown);
  } else {
    checkup.Bad("tls",
                absl::StrCat(address,
                             " speaks TLS, and this device does not. Write https:// before "
                             "[service] address, and set ca_file to the authority's certificate if "
                             "the system does not know it."),
                shown);
  }
  return true;
}

}  // namespace ptdoc::sync
