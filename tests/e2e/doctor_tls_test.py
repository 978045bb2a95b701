"""doctor on links that are to be TLS: each thing is broken for real, named, and mended by
what the finding says."""
import json
import subprocess
import unittest

from cli_case import CliCase
from harness import Device
from tls_front import Authority, TlsFront

HERE = "DNS:localhost,IP:127.0.0.1"


class DoctorTlsTest(CliCase):
    def setUp(self):
        super().setUp()
        self.world.setup("a")
        self.world.start_service()
        self.a = Device(self.world, "a", interval="1h")
        self.a.init()
        self.a.agent_run("run")
        self.plain = self.a.config.read_text()
        self.authority = Authority(self.world.root / "authority", "clinic")

    def front(self, *args, **options):
        front = TlsFront(self.world.port, *args, **options)
        self.addCleanup(front.stop)
        return front

    def configure(self, port, ca_file="", certificate=None, scheme="https://", host="127.0.0.1"):
        lines = [f'address = "{scheme}{host}:{port}"']
        if ca_file:
            lines.append(f'ca_file = "{ca_file}"')
        if certificate:
            lines += [f'client_cert_file = "{certificate[0]}"',
                      f'client_key_file = "{certificate[1]}"']
        self.a.config.write_text(
            self.plain.replace(f'address = "{self.world.address}"', "\n".join(lines)))

    def findings(self):
        done = self.a.agent_run("doctor", "--json", check=False)
        self.assertIn(done.returncode, (0, 3), done.stdout + done.stderr)
        return [check for check in json.loads(done.stdout)["checks"] if check["level"] != "OK"]

    def assert_found(self, *words):
        """Its command runs; returns what that printed."""
        found = self.findings()
        self.assertEqual([(check["name"], check["level"]) for check in found], [("tls", "FAIL")],
                         found)
        for word in words:
            self.assertIn(word, found[0]["message"])
        shown = subprocess.run(found[0]["command"], shell=True, capture_output=True,
                               text=True, errors="replace", timeout=30, cwd=self.world.root)
        return shown.stdout + shown.stderr

    def assert_well(self):
        self.assertEqual(self.findings(), [])
        self.a.agent_run("run")

    def test_a_good_link(self):
        self.configure(self.front(self.authority.sign("good", HERE)).port,
                       self.authority.certificate)
        self.assert_well()

    def test_another_authority(self):
        port = self.front(self.authority.sign("good", HERE)).port
        other = Authority(self.world.root / "other", "somebody")
        self.configure(port, other.certificate)
        self.assertIn("CN = clinic", self.assert_found("authority", "clinic", "ca_file",
                                                       str(other.certificate)))
        # Of the system's authorities none has signed it.
        self.configure(port)
        self.assert_found("authority", "ca_file", "not set")
        (self.world.root / "empty.pem").write_text("no certificate at all\n")
        self.configure(port, self.world.root / "empty.pem")
        self.assert_found("empty.pem", "holds no certificate")
        self.configure(port, self.authority.certificate)
        self.assert_well()

    def test_another_name(self):
        for names in ("DNS:sync.example", "IP:127.0.0.2"):
            front = self.front(self.authority.sign("elsewhere", names))
            self.configure(front.port, self.authority.certificate)
            self.assertIn(names.split(":")[1], self.assert_found("another name", "127.0.0.1",
                                                                 "[service] address"))
        front = self.front(self.authority.sign("local", "DNS:localhost"))
        self.configure(front.port, self.authority.certificate)
        self.assert_found("another name")
        self.configure(front.port, self.authority.certificate, host="localhost")
        self.assert_well()

    def test_an_expired_certificate(self):
        front = self.front(self.authority.sign("old", HERE, expired=True))
        self.configure(front.port, self.authority.certificate)
        self.assertIn("notAfter=Feb  1", self.assert_found("out of date", "2020-02-01"))

    def test_tls_against_plaintext(self):
        self.configure(self.world.port, self.authority.certificate)
        self.assert_found("speaks no TLS", "without https://")
        self.configure(self.world.port)
        self.assert_found("speaks no TLS")
        self.configure(self.world.port, scheme="")
        self.assert_well()

    def test_plaintext_against_tls(self):
        front = self.front(self.authority.sign("good", HERE))
        self.configure(front.port, scheme="")
        self.assertIn("CN = clinic", self.assert_found("this device does not", "https://"))
        self.configure(front.port, self.authority.certificate)
        self.assert_well()

    def test_client_certificates(self):
        wanted = Authority(self.world.root / "wanted", "devices")
        for tls12 in (False, True):
            front = self.front(self.authority.sign("good", HERE), wanted, tls12)
            self.configure(front.port, self.authority.certificate)
            self.assertIn("CN = good", self.assert_found("wants a client certificate",
                                                         "client_cert_file"))
            self.configure(front.port, self.authority.certificate,
                           self.authority.sign("wrong", "DNS:a"))
            self.assertIn("CN = wrong", self.assert_found("does not take", "wrong.pem"))
            self.configure(front.port, self.authority.certificate, wanted.sign("right", "DNS:a"))
            self.assert_well()
        certificate, key = wanted.sign("right", "DNS:a")
        other_key = wanted.sign("another", "DNS:a")[1]
        self.configure(front.port, self.authority.certificate, (certificate, other_key))
        self.assert_found("client_key_file", "no certificate in PEM with its key")
        self.configure(front.port, self.authority.certificate, (certificate, key))
        self.assert_well()


if __name__ == "__main__":
    unittest.main()
