"""Servers on loopback: a web server that can be made to fail in every way, and a real S3 server."""

import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Fault = Callable[["Handler"], bool]
"""Called before a request is answered; returns whether it has dealt with it."""


class Handler(BaseHTTPRequestHandler):
    """Hands out the files below `server.folder`, whole or a range; `server.fault` may step in."""

    protocol_version = "HTTP/1.1"
    server: "WebServer"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.requests.append((self.command, self.path))
            self.server.busy += 1
            self.server.busiest = max(self.server.busiest, self.server.busy)
        try:
            if not self.server.fault(self):
                self.answer()
        finally:
            with self.server.lock:
                self.server.busy -= 1

    def answer(self, most: int | None = None) -> None:
        """Answer as it should be, or with the first `most` bytes of that and a closed connection."""
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            return self.refuse(404)
        data, wanted = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = wanted and self.server.ranges
        body = data[int(wanted[1]) : int(wanted[2]) + 1] if ranged else data
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {wanted[1]}-{wanted[2]}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:most])
        if most is not None:
            self.hang_up()
        return None

    def refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class WebServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.ranges, self.lock = folder, True, threading.Lock()
        self.fault: Fault = lambda _request: False
        self.requests: list[tuple[str, str]] = []
        self.busy = self.busiest = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """A client that hung up is no news."""


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    with WebServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def first(times: int, fault: Fault) -> Fault:
    """A fault that befalls the first requests of each path only."""
    seen: dict[str, int] = {}

    def now(request: Handler) -> bool:
        seen[request.path] = seen.get(request.path, 0) + 1
        return seen[request.path] <= times and fault(request)

    return now


def answers(status: int) -> Fault:
    return lambda request: request.refuse(status) or True


def breaks_off(request: Handler) -> bool:
    request.answer(most=100)
    return True


def closes(request: Handler) -> bool:
    request.hang_up()
    return True


def hangs(request: Handler) -> bool:
    time.sleep(2)  # longer than the tests' patience
    return closes(request)


def certify(host: str, certificate: Path, authority: Path) -> None:
    """Write a server's key and certificate, and the certificate of the unknown authority that signed it."""
    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    signed = []
    for subject, key, extension in (
        (root, keys[0], x509.BasicConstraints(ca=True, path_length=None)),
        (name, keys[1], x509.SubjectAlternativeName([x509.DNSName(host)])),
    ):
        builder = x509.CertificateBuilder(root, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        signed.append(builder.add_extension(extension, critical=True).sign(keys[0], hashes.SHA256()))
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    authority.write_bytes(signed[0].public_bytes(Encoding.PEM))
    certificate.write_bytes(keys[1].private_bytes(*plain) + signed[1].public_bytes(Encoding.PEM))


@contextmanager
def s3_server() -> Iterator[str]:
    """Run moto's S3 server in a process of its own; yields its URL. Listings come in pages of five."""
    command = [sys.executable, "-c", "import servers; servers.serve_s3()"]
    environment = os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": "5"}
    here = Path(__file__).parent
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=here, env=environment, **pipes) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


def serve_s3() -> None:
    """Serve until stdin ends, as it does when the tests do."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
    sys.stdin.read()
    server.stop()
