"""FaceNet: facenet-pytorch's InceptionResnetV1, a face-identity embedding of 512 values.

It has no classifier for affect: `affcache readout` fits pseudo-labels from its features.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from facenet_pytorch import InceptionResnetV1
from torch import Tensor

from affcache import assets
from affcache.errors import AssetError


class FaceNet:
    """The frozen network; features are the unit-length embedding."""

    size: ClassVar[int] = 160
    arrays: ClassVar[Mapping[str, tuple[int, ...]]] = {"features": (512,)}

    @classmethod
    def weights_file(cls) -> Path:
        """facenet-pytorch's published VGGFace2 weights."""
        return assets.file("facenet-vggface2")

    def __init__(self, weights: Path, device: torch.device) -> None:
        network = InceptionResnetV1(pretrained=None, classify=False)
        state = {k: v for k, v in read_state(weights).items() if not k.startswith("logits.")}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            line = " ".join(str(error).split())
            raise AssetError(f"{weights}: does not fit InceptionResnetV1 ({line:.200})") from None
        self._network = (
            network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        )

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Mapping[str, Tensor]:
        """Faces (k, 3, 160, 160) float32 RGB in [0, 255] to features (k, 512) of length 1."""
        pixels = ((faces - 127.5) / 128).contiguous(memory_format=torch.channels_last)
        return {"features": self._network(pixels)}


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors file or a PyTorch file; never code.

    Raises
    ------
    AssetError
        If the file is absent or not a state dict.
    """
    if not path.is_file():
        raise AssetError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise AssetError(
            f"{path}: is no weights file, or holds more than tensors, which is never unpickled "
            "(save the network's state_dict)"
        ) from None
    except Exception as error:
        # What is no weights file makes both readers raise anything, an IndexError included.
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AssetError(f"{path}: cannot be read as weights ({line:.200})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise AssetError(f"{path}: is not a state dict (names to tensors)")
    return state
