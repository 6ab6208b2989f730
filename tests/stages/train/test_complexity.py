"""Counted multiply-adds against counts by hand, and the table against the paper's figures."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from affcache.cli import main
from stages.train.ap.settings import ApSettings
from stages.train.complexity import (
    a_window,
    ap_as_printed,
    complexity,
    multiply_adds,
    sizes_for,
)
from stages.train.heads import head_class, head_names
from stages.train.recipe import load


@pytest.mark.parametrize(
    ("network", "by_hand"),
    [
        (nn.Linear(20, 7), 6 * 20 * 7),
        (nn.GRU(20, 7, batch_first=True), 6 * 3 * 7 * (20 + 7)),
        (nn.GRU(20, 7, 2, bidirectional=True, batch_first=True), 6 * 6 * 7 * (20 + 7 + 14 + 7)),
        (nn.LSTM(20, 7, batch_first=True), 6 * 4 * 7 * (20 + 7)),
        (nn.LSTM(20, 7, 2, bidirectional=True, batch_first=True), 6 * 8 * 7 * (20 + 7 + 14 + 7)),
        (
            nn.TransformerEncoderLayer(20, 4, 12, batch_first=True).eval(),
            6 * (4 * 20 * 20 + 2 * 20 * 12) + 2 * 6 * 6 * 20,
        ),
    ],
    ids=["linear", "gru", "two bidirectional grus", "lstm", "two bidirectional lstms", "encoder"],
)
def test_products_are_counted_as_by_hand(network: nn.Module, by_hand: int) -> None:
    rows = torch.randn(1, 6, 20)
    assert multiply_adds(lambda: network(rows)) == by_hand


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("mlp", 70 * (512 * 128 + 128 * 128 + 128 * 2)),
        ("bigru", 60 * (6 * 256 * (512 + 256) + 512 * 2)),
        ("conv-gru", 30 * (8 * 4 * 3 * 128 * 256 + 128 * 2)),
        (
            "attention",
            30 * (2 * (4 * 512 * 512 + 2 * 512 * 1024) + 512 * 2) + 2 * 2 * 30 * 30 * 512,
        ),
    ],
)
def test_baselines_cost_what_their_layers_do(name: str, by_hand: int) -> None:
    recipe = load(head=name)
    sizes = sizes_for(recipe, 512)
    head = head_class(name)(sizes, recipe.model).eval()
    windows = a_window(sizes, recipe.windows.test_length)
    assert multiply_adds(lambda: head.predict(windows)) == by_hand


def test_the_printed_affective_process_costs_what_its_layers_do() -> None:
    layers = [(2, 512), (1024, 128), *[(128, 128)] * 2, (640, 128), *[(128, 128)] * 2]
    frame = sum(given * width for given, width in layers) + 2 * 128 * 2
    assert ap_as_printed(512, 2, ApSettings(), 70) == 70 * frame + 3 * 128 * 128 == 19_653_632


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return complexity(512)


def test_every_head_has_a_row_and_the_papers_figures_are_met(rows: list[dict[str, Any]]) -> None:
    assert {row["head"] for row in rows} == set(head_names())
    by_name = {(row["head"], row["layout"]): row for row in rows}
    assert by_name["ap", ""]["parameters"] == 330_884
    for name in (("ap", "as printed"), ("bigru", ""), ("attention", "")):
        row = by_name[name]
        assert row["parameters"] == pytest.approx(row["paper_parameters"], rel=0.03)
        assert row["multiply_adds"] == pytest.approx(row["paper_operations"], rel=0.03)
        assert row["frames"] == row["paper_frames"]
    maps = by_name["conv-gru", "4 x 4 maps"]
    assert maps["parameters"] == pytest.approx(maps["paper_parameters"], rel=0.001)
    assert 2 * maps["multiply_adds"] == pytest.approx(maps["paper_operations"], rel=0.01)
    assert by_name["ap", "network"]["multiply_adds"] < by_name["ap", "as printed"]["multiply_adds"]


@pytest.fixture
def counted(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The command over rows that are already there; what it was asked for."""
    asked: list[int] = []

    def known(features: int) -> list[dict[str, Any]]:
        asked.append(features)
        return rows

    monkeypatch.setattr("stages.train.sessions.complexity.complexity", known)
    return asked


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["bench", "complexity", *words])
    assert end.value.code == 0


def test_the_command_prints_a_table_with_notes(
    counted: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    out = capsys.readouterr().out
    assert counted == [512]
    assert "ap, as printed [3]" in out
    assert "789 K, 758 M" in out
    assert "\n[3] The same network as Fig. 2 prints it" in out


def test_the_command_prints_exact_numbers_as_json(
    counted: list[int], rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    run("--json", "--features", "64")
    assert counted == [64]
    assert json.loads(capsys.readouterr().out) == rows
