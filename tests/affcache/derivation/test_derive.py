"""Derived caches: scikit-learn's answer, fitted on the training split alone, in flat memory."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from affcache import derivation, store, verify, windows
from affcache.commands.derive import derive as command
from affcache.derivation import Recipe
from affcache.derivation import fitting as derive
from affcache.errors import CacheError
from affcache.publish import VideoWriter
from affcache.store import Cache
from tests.affcache.derivation.test_chain import pooled_plainly
from tests.caches import make_cache
from tests.memory import peak_memory


def recipe(
    pca: float | None = None, window: int | None = None, align: str = "causal", zscore: bool = False
) -> Recipe:
    return Recipe(pca=pca, window=window, align=align, zscore=zscore)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parent") / "x.zarr"
    make_cache(path, videos=6, frames=[150, 90, 200, 60, 33, 120], width=24, subjects=3)
    with store.unsealed(path):
        rows = {"v00": {"va": np.full((150, 2), 0.5)}, "v03": {"va": np.full((60, 2), -0.5)}}
        store.write_pseudo(path, "readout", {"method": "ridge"}, rows)
    return path


def training(cache: Path) -> np.ndarray:
    videos = Cache(cache).videos()
    chosen = [v for v in videos if v.label_attributes["split"] == {"va": "train"}]
    assert 0 < len(chosen) < len(videos)
    return np.concatenate([v.array("features")[v.array("valid")] for v in chosen]).astype("f8")


def close(cache: Path, video_id: str, want: np.ndarray) -> None:
    video = Cache(cache).video(video_id)
    want = np.where(video.array("valid")[:, None], want, 0)
    np.testing.assert_allclose(video.array("features"), want, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("asked", [0.99, 0.6, 5])
@pytest.mark.parametrize("exact", [True, False], ids=["covariance", "subspace"])
def test_principal_components_are_those_of_scikit_learn_on_the_training_split(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: float, exact: bool
) -> None:
    if not exact:
        monkeypatch.setattr(derive, "EXACT", 1)
        monkeypatch.setattr(derive, "MARGIN", 2)
    monkeypatch.setattr(derive, "BLOCK_BYTES", 24 * 8 * 40)
    want = PCA(asked, svd_solver="full").fit(training(parent))
    made = derivation.derive(parent, tmp_path / "y.zarr", recipe(pca=asked))
    assert made.components == made.derived_width == want.n_components_
    assert made.share == pytest.approx(want.explained_variance_ratio_.sum(), rel=1e-6)
    for video in Cache(parent).videos():
        close(tmp_path / "y.zarr", video.id, want.transform(video.array("features").astype("f8")))
    assert verify.verify(tmp_path / "y.zarr") == []


def test_the_whole_chain_is_scikit_learns_with_pooling_in_between(
    parent: Path, tmp_path: Path
) -> None:
    made = derivation.derive(parent, tmp_path / "y.zarr", recipe(pca=0.9, window=15, zscore=True))
    pca = PCA(0.9, svd_solver="full").fit(training(parent))
    pooled = {
        v.id: pooled_plainly(
            pca.transform(v.array("features").astype("f8")), v.array("valid"), 14, 0
        )
        for v in Cache(parent).videos()
    }
    train = [v for v in Cache(parent).videos() if v.label_attributes["split"]["va"] == "train"]
    scaler = StandardScaler().fit(np.concatenate([pooled[v.id][v.array("valid")] for v in train]))
    for video_id, rows in pooled.items():
        close(tmp_path / "y.zarr", video_id, scaler.transform(rows))
    assert made.derived_width == 2 * pca.n_components_
    assert verify.verify(tmp_path / "y.zarr") == []


def test_everything_else_is_carried_over_and_the_parent_is_recorded(
    parent: Path, tmp_path: Path
) -> None:
    out = tmp_path / "y.zarr"
    derivation.derive(parent, out, recipe(window=7, align="centred"))
    old, new = Cache(parent), Cache(out)
    for before, after in zip(old.videos(), new.videos(), strict=True):
        for name in ("valid", "time", "box", "landmarks", "score", "pseudo_va"):
            np.testing.assert_array_equal(after.array(name), before.array(name))
        np.testing.assert_array_equal(after.label("va"), before.label("va"))
        assert after.label_attributes == before.label_attributes
        assert after.attributes["fps"] == before.attributes["fps"]
        assert after.attributes["parent_fingerprint"] == before.attributes["fingerprint"]
    readout = new.video("v03").pseudo("readout", "va")
    np.testing.assert_array_equal(readout, old.video("v03").pseudo("readout", "va"))
    assert new.pseudo_attributes("readout") == {"method": "ridge"}
    fields = new.header["fields"]
    assert fields["parent"]["fingerprint"] == old.fingerprint
    assert fields["recipe"]["window"] == 7
    assert fields["recipe"]["align"] == "centred"
    assert fields["fitted_on"] is None
    assert new.header["provenance"]["parent_fields"] == old.header["fields"]
    assert new.fingerprint != old.fingerprint
    assert len(windows.load_split(out, "va", "backbone", "train")) == 2


def test_what_is_not_in_the_training_split_changes_nothing_that_is_fitted(tmp_path: Path) -> None:
    def derived(scale: float) -> np.ndarray:
        path = make_cache(tmp_path / f"{scale}.zarr", videos=3, frames=80, width=12, subjects=3)
        test = Cache(path).video("v02")
        arrays = {name: np.array(test.array(name)) for name in ("features", "valid", "time")}
        with store.unsealed(path), VideoWriter(path, "v02", {}) as writer:
            writer.append(arrays | {"features": arrays["features"] * scale})
            writer.publish(test.attributes)
        out = tmp_path / f"{scale}.derived"
        derivation.derive(path, out, recipe(pca=4, zscore=True))
        return np.array(Cache(out).video("v00").array("features"))

    np.testing.assert_array_equal(derived(1.0), derived(50.0))


def test_chains_of_chains_are_how_another_order_is_made(parent: Path, tmp_path: Path) -> None:
    derivation.derive(parent, tmp_path / "a.zarr", recipe(zscore=True))
    derivation.derive(tmp_path / "a.zarr", tmp_path / "b.zarr", recipe(pca=0.9))
    scaler = StandardScaler().fit(training(parent))
    pca = PCA(0.9, svd_solver="full").fit(scaler.transform(training(parent)))
    rows = scaler.transform(Cache(parent).video("v04").array("features").astype("f8"))
    video = Cache(tmp_path / "b.zarr").video("v04")
    want = np.where(video.array("valid")[:, None], pca.transform(rows), 0)
    np.testing.assert_allclose(video.array("features"), want, rtol=0.02, atol=0.02)


def test_a_broken_run_is_completed_and_a_finished_one_changes_nothing(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.zarr"
    derivation.derive(parent, whole, recipe(pca=3, window=5))
    out, real, seen = tmp_path / "y.zarr", VideoWriter.publish, []

    def dies_at_the_third(self: VideoWriter, attributes: dict[str, object]) -> None:
        seen.append(self.id)
        if len(seen) == 3:
            raise KeyboardInterrupt
        real(self, attributes)

    monkeypatch.setattr(VideoWriter, "publish", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        derivation.derive(parent, out, recipe(pca=3, window=5))
    derivation.derive(parent, out, recipe(pca=3, window=5))
    derivation.derive(parent, out, recipe(pca=3, window=5))
    assert seen == ["v00", "v01", "v02", "v02", "v03", "v04", "v05"]
    seal = ".affcache/seal.json"
    assert (out / seal).read_text() == (whole / seal).read_text()


def test_another_recipe_does_not_mix_into_a_cache(parent: Path, tmp_path: Path) -> None:
    derivation.derive(parent, tmp_path / "y.zarr", recipe(window=5))
    with pytest.raises(CacheError, match=r"recipe\.window: 5 there, 9 now"):
        derivation.derive(parent, tmp_path / "y.zarr", recipe(window=9))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (recipe(), "nothing to derive"),
        (recipe(pca=2.5), "a share of the variance below 1, or a whole number"),
        (recipe(pca=-1), "a share of the variance"),
        (recipe(window=0), "at least one frame"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(
    parent: Path, tmp_path: Path, asked: Recipe, message: str
) -> None:
    with pytest.raises(CacheError, match=message):
        derivation.derive(parent, tmp_path / "y.zarr", asked)
    assert not (tmp_path / "y.zarr").exists()


def test_what_is_wrong_with_the_target_is_said_before_anything_is_fitted(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derivation, "fit_scaling", lambda *_: pytest.fail("was fitted"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for out, message in ((tmp_path / "mine", "not empty"), (parent, "is the parent itself")):
        with pytest.raises(CacheError, match=message):
            derivation.derive(parent, out, recipe(zscore=True))


def test_without_a_training_split_nothing_is_fitted(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "x.zarr", videos=2, frames=20, width=4, labelled=False)
    with pytest.raises(CacheError, match="training split"):
        derivation.derive(path, tmp_path / "y.zarr", recipe(zscore=True))
    derivation.derive(path, tmp_path / "y.zarr", recipe(window=5))
    assert verify.verify(tmp_path / "y.zarr") == []


def test_splits_that_differ_by_task_must_be_chosen_from(tmp_path: Path) -> None:
    path = make_cache(tmp_path / "x.zarr", videos=2, frames=20, width=4, subjects=1, splits=["x"])
    with store.unsealed(path):
        for video_id, split in (("v00", {"va": "train"}), ("v01", {"expr": "train"})):
            store.write_labels(path, video_id, {}, {"split": split})
    with pytest.raises(CacheError, match="training splits of va, expr differ; say --task"):
        derivation.derive(path, tmp_path / "y.zarr", recipe(zscore=True))
    made = derivation.derive(path, tmp_path / "y.zarr", recipe(zscore=True), "expr")
    assert made.train_frames == Cache(path).video("v01").array("valid").sum()


def test_values_that_do_not_fit_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_cache(
        tmp_path / "x.zarr", videos=2, frames=20, width=4, subjects=1, splits=["train"]
    )
    with store.unsealed(path), VideoWriter(path, "v00", {}) as writer:
        features = np.full((20, 4), 60000.0)
        features[0] = -60000
        valid = np.ones(20, bool)
        writer.append({"features": features, "valid": valid, "time": np.arange(20.0)})
        writer.publish(Cache(path).video("v00").attributes)
    with pytest.raises(CacheError, match="video v00: features at row"):
        derivation.derive(path, tmp_path / "y.zarr", recipe(pca=1))


def test_the_command_prints_what_came_of_it(parent: Path, tmp_path: Path) -> None:
    words = [str(parent), str(tmp_path / "y.zarr"), "--pool", "avgstd", "--window", "9", "--json"]
    done = CliRunner().invoke(command, [*words, "--pca", "0.9"], catch_exceptions=False)
    (row,) = json.loads(done.stdout)
    assert row["derived features"] == 2 * row["components"]
    assert row["features"] == 24
    bad = CliRunner().invoke(command, [*words[:2], "--pool", "avgstd"])
    assert "belong together" in bad.output


def test_memory_does_not_grow_with_the_cache(tmp_path: Path) -> None:
    def peak(videos: int) -> int:
        path = tmp_path / f"{videos}.zarr"
        make_cache(path, videos=videos, frames=6000, width=256, pseudo_va=False, subjects=1,
                   splits=["train"], gaps=False)  # fmt: skip
        program = (
            "import sys; from pathlib import Path; from affcache import derivation\n"
            "path = Path(sys.argv[1])\n"
            "asked = derivation.Recipe(pca=8, window=50, align='causal', zscore=True)\n"
            "derivation.derive(path, path.with_suffix('.out'), asked)\n"
        )
        return peak_memory(program, str(path))

    few, many = peak(4), peak(24)
    assert many - few < 60e6, (few, many)
