"""F1 and accuracy against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics

from affcache.metrics import accuracy, f1, f1_macro, f1_per_class


def labels(classes, seed=0, n=300):
    draw = np.random.default_rng(seed)
    truth = draw.integers(classes, size=n)
    return truth, np.where(draw.random(n) < 0.6, truth, draw.integers(classes, size=n))


def test_binary_f1_and_accuracy_are_sklearns():
    y, p = labels(2)
    assert f1(y, p) == pytest.approx(sklearn.metrics.f1_score(y, p), rel=1e-14)
    assert f1(y == 1, p == 1) == f1(y, p)
    assert accuracy(y, p) == pytest.approx(sklearn.metrics.accuracy_score(y, p), rel=1e-14)


def test_f1_per_class_and_macro_are_sklearns_with_absent_classes_as_0():
    y, p = labels(5)
    options = {"labels": list(range(7)), "average": None, "zero_division": 0}
    theirs = sklearn.metrics.f1_score(y, p, **options)
    np.testing.assert_allclose(f1_per_class(y, p, 7), theirs, rtol=1e-14)
    assert theirs[5] == 0
    assert f1_macro(y, p, 7) == pytest.approx(theirs.mean(), rel=1e-14)


def test_f1_of_nothing_annotated_and_nothing_predicted_is_0():
    assert f1([0, 0], [0, 0]) == 0.0


def test_labels_that_were_not_selected_or_thresholded_are_refused():
    with pytest.raises(ValueError, match="threshold first"):
        f1([0, -1], [0, 1])
    with pytest.raises(ValueError, match="indices from 0 to 6"):
        f1_per_class([0, 7], [0, 1], 7)
    with pytest.raises(ValueError, match="one length"):
        accuracy([0, 1], [0])
