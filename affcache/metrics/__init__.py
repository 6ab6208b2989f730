"""Metrics as pure functions on arrays; masks are the caller's, statistics divide by N.

Convention: the truth comes first. A NaN among the numbers makes the result NaN: select the frames
that count before scoring.
"""

from affcache.metrics.classes import accuracy, f1, f1_macro, f1_per_class
from affcache.metrics.concordance import ccc, icc, mae, mse, pcc, rmse
from affcache.metrics.intervals import Interval, paired_interval, t_quantile
from affcache.metrics.spread import match_spread
from affcache.metrics.summary import METRICS, summarise

__all__ = [
    "METRICS",
    "Interval",
    "accuracy",
    "ccc",
    "f1",
    "f1_macro",
    "f1_per_class",
    "icc",
    "mae",
    "match_spread",
    "mse",
    "paired_interval",
    "pcc",
    "rmse",
    "summarise",
    "t_quantile",
]
