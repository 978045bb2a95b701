"""What ends TLS before a service in a test: certificates of an authority of its own,
and a front that forwards what it decrypts."""
import asyncio
import ssl
import subprocess
import threading


class Authority:
    """Makes certificates with the openssl program, in a directory of its own."""

    def __init__(self, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                      "-nodes", "-subj", f"/CN={name}", "-days", "30", "-keyout", self._key,
                      "-out", self.certificate)

    @staticmethod
    def _openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)

    def sign(self, name, names, expired=False):
        """(certificate, key) for `names`, such as "DNS:localhost,IP:127.0.0.1"."""
        request, key, certificate, extensions = (
            self.folder / f"{name}.{suffix}" for suffix in ("csr", "key", "pem", "ext"))
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        # x509 has no dates to give; ca has, and keeps books.
        (self.folder / "index.txt").write_text("")
        (self.folder / "ca.conf").write_text(
            "[ca]\ndefault_ca = d\n[d]\n"
            f"database = {self.folder}/index.txt\nnew_certs_dir = {self.folder}\nrand_serial = yes\n"
            "default_md = sha256\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n")
        ends = "20200201000000Z" if expired else "20990101000000Z"
        self._openssl("ca", "-batch", "-config", self.folder / "ca.conf", "-cert", self.certificate,
                      "-keyfile", self._key, "-in", request, "-out", certificate, "-notext",
                      "-startdate", "20200101000000Z", "-enddate", ends, "-extfile", extensions)
        return certificate, key


class TlsFront:
    """Listens on 127.0.0.1 with TLS and forwards to a port in plaintext. Its own thread."""

    def __init__(self, to_port, certificate, client_authority=None, tls12=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.set_alpn_protocols(["h2"])
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if client_authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_authority.certificate)
        self._to_port = to_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context))
        self.port = self._server.sockets[0].getsockname()[1]

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    async def _serve(self, reader, writer):
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        await asyncio.gather(self._pump(reader, back_writer), self._pump(back_reader, writer),
                             return_exceptions=True)

    @staticmethod
    async def _pump(source, sink):
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    def stop(self):
        async def end():
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
