"""A challenge's table: one score per track, made of two measures each (paper 004, section 4.2).

S_AU = 0.5 F1 + 0.5 accuracy, S_EXPR = 0.67 F1 + 0.33 accuracy, S_VA = the mean of two concordances.
F1 is the mean over units or expressions; the units' accuracy is the mean of each unit's.
"""

from __future__ import annotations

from collections.abc import Mapping

ORDER = ("au", "expr", "va", "au_intensity")  # the first three as in the paper's tables
F1_SHARE = {"au": 0.5, "expr": 0.67}
COLUMNS = {  # of each track, its own score last
    "action units": ("AU F1", "AU TAcc", "S_AU"),
    "expressions": ("EXPR F1", "EXPR TAcc", "S_EXPR"),
    "valence and arousal": ("CCC_V", "CCC_A", "S_VA"),
    "intensities": ("ICC",),
}


def track_scores(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The columns of the paper's Table 1 for the tasks that there are.

    Parameters
    ----------
    table : task -> its scores, as `stages.train.scoring.scores` makes them

    >>> row = track_scores({"au": {"f1_mean": 0.588, "accuracy_mean": 0.896}})
    >>> {name: round(value, 3) for name, value in row.items()}
    {'AU F1': 0.588, 'AU TAcc': 0.896, 'S_AU': 0.742}
    """
    row: dict[str, float] = {}
    for task in ORDER:
        if task not in table:
            continue
        own = table[task]
        if task in F1_SHARE:
            name, share = task.upper(), F1_SHARE[task]
            f1, accuracy = own["f1_mean"], own["accuracy_mean"]
            row |= {f"{name} F1": f1, f"{name} TAcc": accuracy}
            row[f"S_{name}"] = share * f1 + (1 - share) * accuracy
        elif task == "va":
            valence, arousal = own["ccc_valence"], own["ccc_arousal"]
            row |= {"CCC_V": valence, "CCC_A": arousal, "S_VA": (valence + arousal) / 2}
        else:
            row["ICC"] = own["icc_mean"]
    return row
