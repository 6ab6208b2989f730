"""FaceNet with weights made on the spot: the file formats, and what is refused."""

import pickle
from pathlib import Path

import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file

from affcache.errors import AssetError
from stages.extract.backbones.facenet import FaceNet


class Touching:
    """Unpickled by anybody who runs what a pickle says, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def network() -> InceptionResnetV1:
    torch.manual_seed(0)
    return InceptionResnetV1(pretrained=None, classify=False).eval()


def test_both_formats_give_the_network_s_own_embedding(
    network: InceptionResnetV1, tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pt")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    faces = torch.rand(2, 3, 160, 160) * 255
    with torch.no_grad():
        expected = network((faces - 127.5) / 128)
    for name in ("w.pt", "w.safetensors"):
        found = FaceNet(tmp_path / name, torch.device("cpu"))(faces)
        assert set(found) == {"features"}
        assert torch.allclose(found["features"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"text", "cannot be read as weights"),
        ("a.safetensors", b"text", "cannot be read as weights"),
        ("absent.pt", None, "no such weights file"),
    ],
)
def test_what_is_no_weights_file_is_one_line(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AssetError, match=message):
        FaceNet(tmp_path / name, torch.device("cpu"))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(AssetError, match="does not fit InceptionResnetV1"):
        FaceNet(tmp_path / "other.pt", torch.device("cpu"))


def test_a_file_with_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Touching(tmp_path / "touched")}, tmp_path / "code.pt")
    (tmp_path / "code.pkl").write_bytes(pickle.dumps(Touching(tmp_path / "touched"), protocol=2))
    for name in ("code.pt", "code.pkl"):
        with pytest.raises(AssetError, match="holds more than tensors, which is never unpickled"):
            FaceNet(tmp_path / name, torch.device("cpu"))
    assert not (tmp_path / "touched").exists()
