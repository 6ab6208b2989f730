"""The challenge's scores: rows of paper 004's Table 1, recomputed from their own measures."""

import pytest

from stages.train.experiments.tracks import track_scores

# F1, TAcc, S of AU; F1, TAcc, S of EXPR; CCC_V, CCC_A, S_VA, as printed
PRINTED = {
    "Original": (0.588, 0.896, 0.742, 0.757, 0.856, 0.790, 0.488, 0.502, 0.495),
    "Fold-1": (0.602, 0.903, 0.753, 0.753, 0.843, 0.783, 0.574, 0.581, 0.578),
    "Fold-2": (0.640, 0.903, 0.772, 0.673, 0.830, 0.725, 0.557, 0.624, 0.591),
    "Fold-3": (0.610, 0.901, 0.755, 0.730, 0.827, 0.762, 0.455, 0.609, 0.532),
    "Fold-4": (0.605, 0.901, 0.753, 0.737, 0.839, 0.770, 0.642, 0.600, 0.621),
    "Fold-5": (0.609, 0.907, 0.758, 0.714, 0.868, 0.765, 0.591, 0.621, 0.606),
}


@pytest.mark.parametrize("fold", PRINTED)
def test_a_printed_row_follows_from_its_measures(fold: str) -> None:
    au_f1, au_accuracy, s_au, f1, accuracy, s_expr, valence, arousal, s_va = PRINTED[fold]
    row = track_scores(
        {
            "va": {"ccc_valence": valence, "ccc_arousal": arousal},
            "expr": {"f1_mean": f1, "accuracy_mean": accuracy},
            "au": {"f1_mean": au_f1, "accuracy_mean": au_accuracy},
        }
    )
    assert list(row) == [
        *("AU F1", "AU TAcc", "S_AU", "EXPR F1", "EXPR TAcc", "S_EXPR"),
        *("CCC_V", "CCC_A", "S_VA"),
    ]
    assert row["S_AU"] == pytest.approx(s_au, abs=1e-3)
    assert row["S_EXPR"] == pytest.approx(s_expr, abs=1.5e-3)
    assert row["S_VA"] == pytest.approx(s_va, abs=1e-3)


def test_tasks_that_are_not_there_have_no_columns() -> None:
    assert track_scores({}) == {}
    assert track_scores({"au_intensity": {"icc_mean": 0.4}}) == {"ICC": 0.4}
