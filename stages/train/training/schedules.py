"""The course of the learning rate: a function of the iteration and of nothing that came before.

Cosine annealing falls to 0 at the end of training (paper 000, 4.2) or restarts (paper 004, section
4: "cosine annealing warm restart"); exponential decay sets in after some epochs (paper 002: "after
10 epochs"). Papers 002 and 004 leave the decay's factor, the period and its growth open.
"""

from __future__ import annotations

import math

from stages.train.recipe import Recipe


def learning_rate(recipe: Recipe, k: int) -> float:
    """At iteration k, before any factor that a head has on single parameters."""
    course = recipe.optimiser
    epochs = k / recipe.training.iterations
    match course.schedule:
        case "cosine":
            share = half_cosine(epochs / recipe.training.epochs)
        case "exponential":
            share = course.gamma ** max(0, math.floor(epochs) - course.after)
        case "restarts":
            share = half_cosine(since_restart(epochs, course.period, course.multiplier))
        case _:
            share = 1.0
    return course.learning_rate * share


def half_cosine(t: float) -> float:
    """From 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (1 + math.cos(math.pi * t))


def since_restart(epochs: float, period: int, multiplier: int) -> float:
    """Which part in [0, 1) of the present period is over; periods are multiplied one by one."""
    while epochs >= period:
        epochs -= period
        period *= multiplier
    return epochs / period
