"""Real servers on loopback for the tests of sharing: SFTP, S3, and a wire that breaks."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import s3fs
from moto.server import ThreadedMotoServer

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
BUCKET = "affcache-tests"


class Site(NamedTuple):
    """A place to push to: its URL, the driver's options, and its files' folder if it has one."""

    url: str
    options: dict[str, Any]
    folder: Path | None
    port: int = 0


@contextlib.contextmanager
def sftp_site(folder: Path) -> Iterator[Site]:
    """An SFTP server in this process that shows a folder as its root and asks for no password."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()

    connections: list[asyncssh.SSHServerConnection] = []

    class Open(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

        def begin_auth(self, username: str) -> bool:
            return False

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[key],
            server_factory=Open,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder).encode()),
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        port = server.get_port()
        public = key.export_public_key().decode().strip()
        yield _sftp(folder, "/x.zarr", port, port, public, folder / "x.zarr", username="anybody")
    finally:
        asyncio.run_coroutine_threadsafe(_close(server, connections), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _close(
    server: asyncssh.SSHAcceptor, connections: list[asyncssh.SSHServerConnection]
) -> None:
    server.close()
    for connection in connections:
        connection.abort()
        await connection.wait_closed()
    await server.wait_closed()


@contextlib.contextmanager
def sshd_site(folder: Path) -> Iterator[Site]:
    """OpenSSH's own server with throw-away keys on a port of its own."""
    home = folder.parent / f"{folder.name}-sshd"
    home.mkdir()
    host, mine = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host.write_private_key(home / "host")
    (home / "host").chmod(0o600)
    mine.write_private_key(home / "mine")
    (home / "authorized").write_bytes(mine.export_public_key())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = _free_port()
    (home / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {home}/host\nPidFile none\n"
        f"AuthorizedKeysFile {home}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "Subsystem sftp internal-sftp\nMaxStartups 50\nMaxSessions 20\n"
    )
    server = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(home / "config")], stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        public = host.export_public_key().decode().strip()
        yield _sftp(
            home,
            str(folder / "x.zarr"),
            port,
            port,
            public,
            folder / "x.zarr",
            username=getpass.getuser(),
            client_keys=[str(home / "mine")],
        )
    finally:
        server.terminate()
        server.wait(30)


def _sftp(
    home: Path, path: str, port: int, told: int, public: str, folder: Path, **options: Any
) -> Site:
    known = home / "known_hosts"
    known.write_text(f"[127.0.0.1]:{told} {public}\n")
    common = {"known_hosts": str(known), "agent_path": None, "config": None, "client_keys": None}
    return Site(f"sftp://127.0.0.1:{port}{path}", common | options, folder, port)


def through(site: Site, port: int) -> Site:
    """The same place, reached by another port (of a wire)."""
    options = dict(site.options)
    if "known_hosts" in options:
        known = Path(options["known_hosts"])
        again = known.with_name(f"known_hosts.{port}")
        again.write_text(known.read_text().replace(f":{site.port} ", f":{port} "))
        options["known_hosts"] = str(again)
    if "endpoint_url" in options:
        options["endpoint_url"] = f"http://127.0.0.1:{port}"
    return Site(site.url.replace(f":{site.port}", f":{port}"), options, site.folder, port)


@contextlib.contextmanager
def s3_site() -> Iterator[Site]:
    """moto's S3 server with one empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {
        "endpoint_url": f"http://{host}:{port}",
        "key": "testing",
        "secret": "testing",
        "client_kwargs": {"region_name": "eu-central-1"},
    }
    try:
        s3fs.S3FileSystem(**options, skip_instance_cache=True).mkdir(BUCKET)
        yield Site(f"s3://{BUCKET}/x.zarr", options, None, port)
    finally:
        server.stop()


@contextlib.contextmanager
def wire(port: int, *, cut_after: list[int]) -> Iterator[int]:
    """A TCP proxy: the n-th connection is cut after `cut_after[n]` bytes, later ones never."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    over, threads = threading.Event(), []
    limits = iter(cut_after)

    def serve() -> None:
        while not over.is_set():
            try:
                near, _ = listener.accept()
            except TimeoutError:
                continue
            far = socket.create_connection(("127.0.0.1", port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            left = [next(limits, 1 << 60)]
            for source, target in ((near, far), (far, near)):
                thread = threading.Thread(target=pump, args=(source, target, left), daemon=True)
                thread.start()
                threads.append(thread)

    def pump(source: socket.socket, target: socket.socket, left: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                left[0] -= len(data)
                if left[0] < 0:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    acceptor = threading.Thread(target=serve, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        acceptor.join(30)
        listener.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"no server came up on port {port}")
