"""Files as OpenFace, AVEC and a NumPy user write them: small, real, with known contents."""

from __future__ import annotations

from pathlib import Path

import numpy as np

OPENFACE_HEADER = (
    "frame, face_id, timestamp, confidence, success, gaze_0_x, pose_Rx, AU01_r, AU01_c"
)


def openface(path: Path, rows: np.ndarray, success: np.ndarray, *, first: int = 1) -> Path:
    """An OpenFace 2 CSV of four features at 30 frames per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [OPENFACE_HEADER]
    for k, (row, ok) in enumerate(zip(rows, success, strict=True)):
        cells = ", ".join(f"{value:.3f}" for value in row)
        lines.append(f"{k + first}, 0, {k / 30:.3f}, {0.98 if ok else 0.02}, {int(ok)}, {cells}")
    path.write_text("\n".join(lines) + "\n")
    return path


def arff(path: Path, times: np.ndarray, rows: np.ndarray) -> Path:
    """Features as AVEC 2016 has them: ARFF with their time first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["@relation 'LGBP TOP'", "", "@attribute frameTime numeric"]
    lines += [f"@attribute f{k} numeric" for k in range(rows.shape[1])]
    lines += ["", "@data", "% made by a test"]
    for time, row in zip(times, rows, strict=True):
        lines.append(",".join([f"{time:.2f}", *(f"{v:.6g}" for v in row)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def gold(path: Path, times: np.ndarray, values: np.ndarray) -> Path:
    """A gold standard of AVEC 2016: ARFF, too, with the recording's name in quotes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["@relation GOLDSTANDARD", "", "@attribute Instance_name string"]
    lines += [
        "@attribute frameTime numeric",
        "@attribute GoldStandard numeric",
        "",
        "",
        "@data",
        "",
    ]
    lines += [f"'{path.stem}',{t:.2f},{v:.5f}" for t, v in zip(times, values, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path
