"""How much memory a piece of work takes, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def peak_memory(program: str, *words: str) -> int:
    """The most bytes a fresh process had; what it inherited before `exec` does not count."""
    program += (
        "\nfrom pathlib import Path as P\n"
        "print([l.split()[1] for l in P('/proc/self/status').open() if 'VmHWM' in l][0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return int(done.stdout.splitlines()[-1]) * 1024
