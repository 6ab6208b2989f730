"""The slow way: all latents and all frames of one sequence as one Gaussian vector, conditioned."""

import numpy as np

from stages.simulate.gaussian import Evidence
from stages.simulate.process import DoublePole


def given(
    evidence: Evidence,
    sequence: int,
    seen: np.ndarray,
    target: int,
    model: DoublePole,
    offset_variance: float,
) -> tuple[np.ndarray, float]:
    """Mean (2,) and variance of the latent in row `target` given the rows `seen` (S,) bool."""
    rows = np.arange(seen.size)
    part = np.cumsum(evidence.fresh[sequence])
    correlation = np.array([[model.correlation(int(a - b)) for a in rows] for b in rows])
    latent = correlation * (part[:, None] == part)
    known = np.flatnonzero(seen & evidence.seen[sequence])
    shown = latent + offset_variance + np.diag(evidence.noise[sequence])
    weights = np.linalg.solve(shown[np.ix_(known, known)], latent[known, target])
    mean = weights @ evidence.shown[sequence, known]
    return mean, float(1 - weights @ latent[known, target])
