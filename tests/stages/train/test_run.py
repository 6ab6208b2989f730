"""A run folder keeps what its head was made for."""

from collections.abc import Callable
from pathlib import Path

from affcache.sequences import load_split
from stages.train.run import open_run
from tests.stages.train.conftest import Outcome
from tests.stages.train.multitask_world import short, small_world


def test_a_run_keeps_the_order_of_its_columns(
    tmp_path: Path, affcache: Callable[..., Outcome]
) -> None:
    world = small_world(tmp_path / "world.zarr", drop={})
    for task in ("va+expr+au", "au+va+expr"):
        out = tmp_path / task
        words = ("train", "--head", "streaming", "--cache", world, "--out", out)
        done = affcache(*words, "--set", f"task={task}", *short())
        assert done.status == 0, done.err
        sizes = open_run(out).sizes
        assert "+".join(sizes.targets) == task
        labels = load_split(world, task, None, "train")[0].labels
        expressions = labels[:, sizes.columns("expr")]
        assert (expressions.sum(axis=1) == 1).all()
