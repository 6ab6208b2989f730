"""The torch port against the Keras file's own definition, computed with numpy alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from affcache.errors import AssetError
from affcache.schema import EXPRESSIONS
from stages.extract.backbones.mini_xception import TO_SCHEMA, VALENCE_AROUSAL, MiniXception

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
MEANS = {
    "Neutral": "neutral",
    "Anger": "angry",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happiness": "happy",
    "Sadness": "sad",
    "Surprise": "surprise",
}


def windows(x: np.ndarray, size: int, stride: int, padding: str, fill: float) -> np.ndarray:
    """(n, rows, columns, channels) to (n, rows', columns', channels, size, size), as Keras pads."""
    if padding == "same":
        ends = [(0, 0)]
        for side in x.shape[1:3]:
            total = max((-(-side // stride) - 1) * stride + size - side, 0)
            ends.append((total // 2, total - total // 2))
        x = np.pad(x, [*ends, (0, 0)], constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return found[:, ::stride, ::stride]


def layer(kind: str, c: Mapping[str, Any], w: Mapping[str, np.ndarray], x: list[np.ndarray]) -> Any:
    """One Keras layer, by its documentation."""
    (a, *rest) = x
    if kind in ("Conv2D", "SeparableConv2D"):
        size, stride = c["kernel_size"][0], c["strides"][0]
        seen = windows(a, size, stride, c["padding"], 0.0)
        if kind == "SeparableConv2D":
            seen = np.einsum("nijcab,abcm->nijcm", seen, w["depthwise_kernel"])[..., 0]
            return np.einsum("nijc,co->nijo", seen, w["pointwise_kernel"][0, 0])
        out = np.einsum("nijcab,abco->nijo", seen, w["kernel"])
        return out + w["bias"] if c["use_bias"] else out
    if kind == "BatchNormalization":
        spread = np.sqrt(w["moving_variance"] + c["epsilon"])
        return (a - w["moving_mean"]) / spread * w["gamma"] + w["beta"]
    if kind == "MaxPooling2D":
        seen = windows(a, c["pool_size"][0], c["strides"][0], c["padding"], -np.inf)
        return seen.max(axis=(-2, -1))
    if kind == "Add":
        return a + rest[0]
    if kind == "GlobalAveragePooling2D":
        return a.mean(axis=(1, 2))
    assert kind == "Activation"
    if c["activation"] == "relu":
        return np.maximum(a, 0)
    assert c["activation"] == "softmax"
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def keras_forward(path: Path, grey: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer's output for grey faces (n, 64, 64, 1), walking the file's own graph."""
    with h5py.File(path, "r") as file:
        graph = json.loads(file.attrs["model_config"])["config"]["layers"]
        outputs: dict[str, np.ndarray] = {}
        for entry in graph:
            name, config = entry["config"]["name"], entry["config"]
            if entry["class_name"] == "InputLayer":
                outputs[name] = grey
                continue
            weights: dict[str, np.ndarray] = {}
            group = file["model_weights"][name]
            for key in group.attrs["weight_names"]:
                text = key if isinstance(key, str) else key.decode()
                weights[text.split("/")[-1].split(":")[0]] = group[text][()].astype(np.float64)
            inputs = [outputs[node[0]] for node in entry["inbound_nodes"][0]]
            outputs[name] = layer(entry["class_name"], config, weights, inputs)
    return outputs


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Noise, flat, and a smooth pattern: (3, 64, 64, 3) in [0, 255]."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([x, y, 127 + 100 * np.sin(x / 7)], axis=-1) * 1.5
    return np.stack([draw.uniform(0, 255, (64, 64, 3)), np.full((64, 64, 3), 90.0), smooth])


def test_it_equals_the_keras_definition(mini_xception_weights: Path, faces: np.ndarray) -> None:
    grey = faces @ np.array([0.299, 0.587, 0.114])
    there = keras_forward(mini_xception_weights, (grey / 255 - 0.5)[..., None] * 2)
    network = MiniXception(mini_xception_weights, torch.device("cpu"))
    here = network(torch.from_numpy(faces).permute(0, 3, 1, 2).float())
    assert there["add_4"].shape == (3, 4, 4, 128)
    last = there["add_4"].reshape(3, 2, 2, 2, 2, 128).mean(axis=(2, 4))
    pooled = last.transpose(0, 3, 1, 2).reshape(3, 512)
    assert np.abs(here["features"].numpy() - pooled).max() < 1e-5 * max(1, np.abs(pooled).max())
    order = [CLASSES.index(MEANS[name]) for name in EXPRESSIONS]
    assert np.abs(here["pseudo_expr"].numpy() - there["predictions"][:, order]).max() < 1e-5
    plane = there["predictions"][:, order] @ np.array(VALENCE_AROUSAL)
    assert np.abs(here["pseudo_va"].numpy() - plane).max() < 1e-5


def test_the_classes_are_brought_to_the_order_of_the_schema() -> None:
    assert [MEANS[name] for name in EXPRESSIONS] == [CLASSES[i] for i in TO_SCHEMA]


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    text, other = tmp_path / "text.hdf5", tmp_path / "other.hdf5"
    text.write_text("no weights")
    with h5py.File(other, "w") as file:
        file.create_group("model_weights")
    for path in (text, other):
        with pytest.raises(AssetError, match=f"{path.name}: is not the weights of mini-xception"):
            MiniXception(path, torch.device("cpu"))
