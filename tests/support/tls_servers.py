"""Certificates, nats-servers with TLS, and a server that only listens to what it is sent."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.nats_servers import Server
from tests.support.patience import until

LOGIN = 'authorization { user: engine, password: "open-sesame" }\n'
INFO = b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"auth_required":true%s}\r\n'


class Authority:
    """A certificate authority. `file` is its own certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            f" -subj /CN={name} -keyout {self._key} -out {self.file}"
            # From Python 3.13 on, certificates need these to be trusted.
            f" -addext keyUsage=critical,keyCertSign,cRLSign".split()
        )

    def certificate(self, name: str, *alternative: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key, for a name such as "IP:127.0.0.1"."""
        path = self._folder / name
        request, key, file = (path.with_suffix(each) for each in (".csr", ".key", ".pem"))
        extensions = path.with_suffix(".ext")
        extensions.write_text(
            f"subjectAltName={','.join(alternative)}\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl(
            *f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name}"
            f" -keyout {key} -out {request}".split()
        )
        _openssl(
            *f"x509 -req -in {request} -CA {self.file} -CAkey {self._key} -CAcreateserial"
            f" -days 2 -extfile {extensions} -out {file}".split()
        )
        return file, key


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)  # noqa: S607 - from PATH


def tls_server(
    folder: Path, files: tuple[Path, Path], *, first: bool = True, verified_by: Path | None = None
) -> Server:
    certificate, key = files
    verify = f', ca_file: "{verified_by}", verify: true' if verified_by else ""
    config = (
        f'{LOGIN}tls {{ cert_file: "{certificate}", key_file: "{key}"{verify},'
        f" handshake_first: {str(first).lower()} }}"
    )
    return Server(folder, config)


class Eavesdropper:
    """A server without TLS that records every byte it receives."""

    def __init__(self, greeting: bytes) -> None:
        self.port = 0
        self.received: list[bytearray] = []
        self.left = 0
        self._greeting = greeting

    @classmethod
    @asynccontextmanager
    async def listening(cls, greeting: bytes, port: int = 0) -> AsyncIterator[Eavesdropper]:
        self = cls(greeting)
        server = await asyncio.start_server(self._listen, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await until(lambda: self.left == len(self.received))
            await server.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = bytearray()
        self.received.append(heard)
        with suppress(ConnectionError):
            writer.write(self._greeting)
            while data := await reader.read(65536):
                heard += data
                if b"PING\r\n" in data:
                    writer.write(b"PONG\r\n")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.left += 1

    def check_that_no_login_was_sent(self) -> None:
        for heard in self.received:
            tls_or_nothing = not heard or heard.startswith(b"\x16\x03")
            assert tls_or_nothing, heard[:100]
            assert b"CONNECT" not in heard
            assert b"open-sesame" not in heard
