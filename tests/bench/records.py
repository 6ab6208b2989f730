"""Where and when something was measured, kept beside what came out, without host names or paths."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def environment(*packages: str) -> dict[str, Any]:
    """What the figures depend on: the machine, Python, and the versions of some packages."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "load before": round(os.getloadavg()[0], 1),
    }


def conclude(bench: str, document: dict[str, Any], keep: bool) -> None:
    """Print a result and which of its rows miss their bars; keep it if asked."""
    print(json.dumps(document, indent=1))
    missed = [row["command"] for row in document["results"] if not row.get("met", True)]
    print(f"bars: {'all met' if not missed else 'MISSED ' + ', '.join(missed)}")
    if keep:
        print(f"recorded: {record(bench, document).name}")


def record(bench: str, document: dict[str, Any]) -> Path:
    """Keep a result under its bench, date, machine and, where there is one, accelerator."""
    around = document["environment"]
    machine = f"{around['system']} {around['cores']} cores {around.get('device', '')}".strip()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{bench}-{document['date']}-{machine.lower().replace(' ', '-')}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path
