"""The readout against scikit-learn, its storage, its command and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.model_selection
import sklearn.preprocessing
from click.testing import CliRunner

from affcache.cli import affcache
from affcache.errors import CacheError
from affcache.metrics import ccc
from affcache.readout import (
    STRENGTHS,
    apply,
    fit_folds,
    fit_readout,
    group_folds,
    ridge,
    usable,
)
from affcache.sequences import load_all
from affcache.store import Cache, write_labels, write_pseudo
from affcache.verify import verify
from tests.caches import make_cache


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A cache of 7 training subjects with a readout, and the report."""
    path = tmp_path_factory.mktemp("readout") / "x.zarr"
    make_cache(path, videos=18, subjects=9, frames=80, width=24, noise=2.0)
    return path, fit_readout(path, "va")


def training_frames(path):
    """Features, labels and subjects of the usable training frames."""
    videos = {v.id: v for v in Cache(path).videos()}
    training = [
        s
        for s in load_all(path, "va", None)
        if videos[s.id].label_attributes["split"]["va"] == "train"
    ]
    x = np.concatenate([s.features[usable(s)].astype(float) for s in training])
    y = np.concatenate([s.labels[usable(s)].astype(float) for s in training])
    who = np.concatenate([[s.subject] * usable(s).sum() for s in training])
    return training, x, y, who


def sklearn_ridge(x, y, strength):
    scaler = sklearn.preprocessing.StandardScaler().fit(x)
    model = sklearn.linear_model.Ridge(alpha=strength * len(x)).fit(scaler.transform(x), y)
    return lambda features: model.predict(scaler.transform(features))


def test_strength_weights_and_predictions_are_sklearns_ridge_over_groupkfold(fitted):
    path, report = fitted
    training, x, y, who = training_frames(path)
    folds = list(sklearn.model_selection.GroupKFold(5).split(x, y, who))
    for d in range(2):
        errors = [
            sum(np.sum((sklearn_ridge(x[a], y[a, d], s)(x[b]) - y[b, d]) ** 2) for a, b in folds)
            for s in STRENGTHS
        ]
        best = STRENGTHS[int(np.argmin(errors))]
        assert report.rows[d]["strength"] == best
        out_of_fold = np.empty(len(x))
        for a, b in folds:
            out_of_fold[b] = sklearn_ridge(x[a], y[a, d], best)(x[b])
        stored = np.concatenate(
            [Cache(path).video(s.id).pseudo("readout", "va")[usable(s), d] for s in training]
        )
        np.testing.assert_allclose(stored, np.clip(out_of_fold, -1, 1), atol=2e-6)
        assert report.rows[d]["train, out of fold"] == ccc(y[:, d], stored)
        model = Cache(path).pseudo_attributes("readout")["tasks"]["va"]
        full = np.clip(sklearn_ridge(x, y[:, d], best)(x), -1, 1)
        np.testing.assert_allclose(apply(model, x)[:, d], full, atol=2e-6)


def test_videos_outside_the_training_split_get_the_full_model_to_the_bit(fitted):
    path, _ = fitted
    model = Cache(path).pseudo_attributes("readout")["tasks"]["va"]
    others = 0
    for video in Cache(path).videos():
        stored, valid = video.pseudo("readout", "va"), video.array("valid")
        assert np.isnan(stored[~valid]).all()
        said = apply(model, video.array("features"))
        if video.label_attributes["split"]["va"] == "train":
            assert not np.array_equal(stored[valid], said[valid])
        else:
            others += 1
            np.testing.assert_array_equal(stored[valid], said[valid])
    assert others == 4


def test_validation_concordance_is_of_all_its_frames(fitted):
    path, report = fitted
    some = [s for s in load_all(path, "va", "readout") if s.subject == "p07"]
    y = np.concatenate([s.labels[s.counted] for s in some])
    p = np.concatenate([s.pseudo[s.counted] for s in some])
    scores = [ccc(y[:, d], p[:, d]) for d in range(2)]
    assert [row["validation"] for row in report.rows] == [*scores, np.mean(scores)]


def test_provenance_says_what_was_fitted_on_what(fitted):
    path, report = fitted
    found = Cache(path).pseudo_attributes("readout")
    model = found["tasks"]["va"]
    assert found["method"] == "ridge"
    assert found["fingerprint"] == Cache(path).fingerprint
    assert sorted(who for fold in model["folds"] for who in fold) == [f"p{i:02d}" for i in range(7)]
    training, x, *_ = training_frames(path)
    assert model["videos"] == report.videos == len(training) == 14
    assert model["frames"] == report.frames == len(x)
    assert model["targets"] == ["valence", "arousal"]
    assert model["alpha"] == [row["strength"] for row in report.rows[:2]]


def test_fitting_again_gives_the_same_bytes_and_a_whole_cache(tmp_path):
    path = make_cache(tmp_path / "x.zarr", width=12)
    fit_readout(path)
    first = {p: p.read_bytes() for p in (path / "pseudo").rglob("*") if p.is_file()}
    fit_readout(path)
    assert first == {p: p.read_bytes() for p in (path / "pseudo").rglob("*") if p.is_file()}
    assert verify(path) == []


@pytest.mark.parametrize("folds", [2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_folds_are_sklearns_groupkfolds(folds, seed):
    sizes = np.random.default_rng(seed).choice(np.arange(1, 300), 11, replace=False)
    names = [f"p{i:02d}" for i in range(11)]
    ours = group_folds(dict(zip(names, sizes.tolist(), strict=True)), folds)
    who = np.repeat(names, sizes)
    splits = sklearn.model_selection.GroupKFold(folds).split(who, groups=who)
    for fold, (_, held) in enumerate(splits):
        assert {n for n, f in ours.items() if f == fold} == set(who[held])


def test_a_strength_is_a_solution_of_the_penalised_equations_and_errors_are_exact():
    draw = np.random.default_rng(0)
    x, y = draw.normal(5, 2, (60, 7)), draw.normal(size=(60, 2))
    x[:, 3] = 1.5  # never varies
    sums = ridge.sums_of(x, y)
    strengths = np.array([0.01, 3.0])
    model = ridge.solve(ridge.decompose(sums), strengths)
    z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    for d, a in enumerate(strengths):
        gradient = z.T @ (z @ model.weight[:, d] + y[:, d].mean() - y[:, d])
        np.testing.assert_allclose(gradient + a * 60 * model.weight[:, d], 0, atol=1e-8)
    np.testing.assert_array_equal(model.weight[3], 0)
    said = ((x - model.mean) / model.scale) @ model.weight + model.bias
    np.testing.assert_allclose(ridge.squared_error(model, sums), ((said - y) ** 2).sum(0))


def test_sums_add_up():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(50, 4)), draw.normal(size=(50, 2))
    one, other, whole = (ridge.sums_of(x[s], y[s]) for s in (slice(20), slice(20, 50), slice(50)))
    for a, b, c in zip(ridge.add(one, other), whole, ridge.without(whole, one), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
        assert np.shape(c) == np.shape(a)
    np.testing.assert_allclose(ridge.without(whole, one).xx, other.xx, atol=1e-12)


def test_features_far_from_zero_lose_no_digits(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=6, subjects=6, width=6, splits=["train"] * 6)
    training, *_ = training_frames(path)
    folds = group_folds({s.subject: 1 for s in training}, 3)
    near = fit_folds(training, folds)
    for s in training:
        assert s.features.dtype == np.float16
    far = [replace(s, features=s.features.astype(np.float64) + 1e4) for s in training]
    moved = fit_folds(far, folds)
    np.testing.assert_allclose(moved.full.weight, near.full.weight, atol=1e-9)


def test_other_tasks_and_names_are_kept(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=6, subjects=6, width=8, frames=60)
    draw = np.random.default_rng(0)
    for i in range(6):
        va = Cache(path).video(f"v{i:02d}").label("va")
        au = draw.integers(0, 2, (60, 12))
        attributes = {"subject": f"p{i:02d}", "split": {"va": "train", "au": "train"}}
        write_labels(path, f"v{i:02d}", {"va": np.array(va), "au": au}, attributes)
    fit_readout(path, "va")
    before = np.array(Cache(path).video("v02").pseudo("readout", "va"))
    report = fit_readout(path, "au")
    assert [row["target"] for row in report.rows][::6] == ["AU1", "AU12", "mean"]
    assert {row["validation"] for row in report.rows} == {None}
    np.testing.assert_array_equal(Cache(path).video("v02").pseudo("readout", "va"), before)
    said = Cache(path).video("v02").pseudo("readout", "au")
    assert said.shape == (60, 12)
    assert np.nanmin(said) >= 0
    assert np.nanmax(said) <= 1
    assert set(Cache(path).pseudo_attributes("readout")["tasks"]) == {"va", "au"}


def test_what_a_readout_cannot_do_is_said(tmp_path, fitted):
    path = make_cache(tmp_path / "x.zarr", videos=4, subjects=2, width=8)
    with pytest.raises(CacheError, match=r"1 subjects in split 'train' .* needs at least 2"):
        fit_readout(path)
    assert verify(path) == []  # still sealed
    with pytest.raises(CacheError, match="no readout for task 'expr'; it regresses va, au, "):
        fit_readout(path, "expr")
    with pytest.raises(CacheError, match="'backbone' cannot name"):
        fit_readout(path, "va", "backbone")
    with pytest.raises(CacheError, match="no video in split 'train' for task au"):
        fit_readout(path, "au")
    model = Cache(fitted[0]).pseudo_attributes("readout")["tasks"]["va"]
    with pytest.raises(CacheError, match="a readout of 24 features was given an array of shape"):
        apply(model, np.zeros((3, 8)))


def test_long_videos_go_through_in_fixed_blocks(fitted):
    model = Cache(fitted[0]).pseudo_attributes("readout")["tasks"]["va"]
    x = np.random.default_rng(0).normal(size=(9001, 24)).astype(np.float16)
    said = apply(model, x)
    assert said.dtype == np.float32
    np.testing.assert_array_equal(said[:8192], apply(model, x[:8192]))
    assert apply(model, x[:0]).shape == (0, 2)


def test_the_command_prints_its_table_as_json(tmp_path):
    path = make_cache(tmp_path / "x.zarr", videos=6, subjects=6, width=8)
    write_pseudo(path, "mine", {}, {})
    done = CliRunner().invoke(affcache, ["readout", "--cache", str(path), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["target"] for row in rows] == ["valence", "arousal", "mean"]
    assert all(0 < row["train, out of fold"] <= 1 for row in rows)
    again = CliRunner().invoke(affcache, ["readout", "--cache", str(path), "--name", "mine"])
    assert "out of fold" in again.stdout
    assert sorted(Cache(path).pseudo_names()) == ["mine", "readout"]
