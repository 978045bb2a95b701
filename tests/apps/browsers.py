"""Browsers, driven without a window: Firefox by its Marionette port, Chromium by its
debugging pipe. No page comes from outside: a proxy that is not there takes all else."""
import contextlib
import http.server
import json
import os
import select
import shutil
import socket
import subprocess
import threading
import time

START_S = 60


def stop(process):
    """Waits for a program that was asked to end, and ends it otherwise, by its pid."""
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class FirefoxRun:
    """Firefox on one profile, until it is closed."""
    PREFERENCES = {
        "app.normandy.enabled": False,
        "app.update.enabled": False,
        "browser.safebrowsing.malware.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "network.proxy.http": "127.0.0.1",
        "network.proxy.http_port": 9,
        "network.proxy.ssl": "127.0.0.1",
        "network.proxy.ssl_port": 9,
        "network.proxy.type": 1,
        "services.settings.server": "data:,",
        "toolkit.telemetry.enabled": False,
    }

    def __init__(self, home):
        profile = home.home / "profile"
        profile.mkdir(exist_ok=True)
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (profile / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**self.PREFERENCES, "marionette.port": port}.items()))
        self._log = open(home.dir / "firefox.log", "ab")
        self._process = subprocess.Popen(
            ["firefox-esr", "--headless", "--no-remote", "--marionette",
             "--remote-allow-system-access", "--profile", profile, "about:blank"],
            env={"HOME": str(home.home), "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"},
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._socket = self._connect(port)
        self._socket.settimeout(START_S)
        self._in = self._socket.makefile("rb")
        self._number = 0
        self._receive()
        self._command("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
        self._command("Marionette:SetContext", value="chrome")

    def _connect(self, port):
        end = time.monotonic() + START_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=START_S)
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self._end()
                    raise
                time.sleep(0.1)

    def _receive(self):
        size = b""
        while not size.endswith(b":"):
            size += self._in.read(1)
        return json.loads(self._in.read(int(size[:-1])))

    def _command(self, command, **parameters):
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._socket.sendall(str(len(text)).encode() + b":" + text)
        _, _, error, result = self._receive()
        if error:
            raise AssertionError(f"{command}: {error}")
        return result

    def script(self, body, *args):
        """Runs `body` as Firefox's own code may run, with PlacesUtils at hand."""
        answer = self._command(
            "WebDriver:ExecuteAsyncScript", args=args, newSandbox=True,
            script="const args = [...arguments]; const done = args.pop();"
                   "const {PlacesUtils} = ChromeUtils.importESModule("
                   "'resource://gre/modules/PlacesUtils.sys.mjs');"
                   "(async () => {" + body + "})().then("
                   "value => done({value: value === undefined ? null : value}),"
                   "error => done({error: String(error)}));")["value"]
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["value"]

    def _end(self):
        stop(self._process)
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(AssertionError, OSError, ValueError):
            self._command("Marionette:Quit", flags=["eForceQuit"])
        self._in.close()
        self._socket.close()
        self._end()


class ChromiumRun:
    """Chromium on one profile, until it is closed."""
    FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--password-store=basic", "--proxy-server=127.0.0.1:9",
             "--proxy-bypass-list=127.0.0.1", "--remote-debugging-pipe")

    def __init__(self, home):
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        self._log = open(home.dir / "chromium.log", "ab")
        # It reads from its descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", "chromium",
             *self.FLAGS, f"--user-data-dir={home.home}/profile", "about:blank"],
            env={"HOME": str(home.home), "PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=self._log, pass_fds=(to_read, to_write))
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._number = 0
        self._session = None
        targets = self._command("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self._session = self._command("Target.attachToTarget", targetId=page["targetId"],
                                      flatten=True)["sessionId"]
        self._command("Page.enable")

    def _message(self):
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], START_S)[0]:
                raise AssertionError("Chromium says nothing")
            data = os.read(self._in, 65536)
            if not data:
                raise EOFError("Chromium ended")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _command(self, method, **parameters):
        self._number += 1
        call = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            call["sessionId"] = self._session
        os.write(self._out, json.dumps(call).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") != self._number:
                continue
            if "error" in message:
                raise AssertionError(f"{method}: {message['error']}")
            return message["result"]

    def visit(self, url):
        self._command("Page.navigate", url=url)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression):
        result = self._command("Runtime.evaluate", expression=expression, awaitPromise=True,
                               returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(str(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(AssertionError, EOFError, OSError):
            self._session = None
            self._command("Browser.close")
        stop(self._process)
        os.close(self._in)
        os.close(self._out)
        self._log.close()


class Pages:
    """A web server on this machine whose pages have the titles that they are given."""

    def __init__(self):
        titles = self.titles = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path in titles else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(f"<title>{titles.get(self.path, '')}</title>".encode())

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
