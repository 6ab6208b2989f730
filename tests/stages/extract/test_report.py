"""The closing words of a run."""

import pytest

from stages.extract.job import Outcome
from stages.extract.pipeline import Result
from stages.extract.report import print_result


@pytest.mark.parametrize(("status", "frames"), [("done", 30), ("skipped", 0)])
def test_a_speed_is_shown_only_where_something_was_extracted(
    status: str, frames: int, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome(id="v", status=status, frames=frames, seconds={"decode": 1.5})
    print_result(Result(outcomes=(outcome,), labelled=(), seconds=2.0), "x.zarr", as_json=False)
    shown = capsys.readouterr().out
    assert "Extracted to x.zarr" in shown
    assert ("Speed" in shown) == (frames > 0)
