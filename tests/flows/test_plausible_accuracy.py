"""Runs of a network on images that are standardised as it expects, and on others."""

import logging

import pytest
import shades
from runs import tiny_run

from flows.artifacts import summary_markdown
from flows.pipeline import run_pipeline
from flows.started_again import finished_before
from flows.texts.run import closing_lines

pytestmark = pytest.mark.usefixtures("prefect_server")

#: Standardisations, and what is said of the run's accuracy when 98 % are stated.
CASES = {
    "right": (shades.RIGHT, ""),
    # Dark images look like middle ones.
    "none": (None, "far below the 98 % that model.accuracy states"),
    # All images look light.
    "of other images": ({"mean": [-10.0], "std": [1.0]}, "no better than chance (33.3%)"),
}


def _run(transform):
    return tiny_run(
        {"factory": f"{shades.__file__}:Shades", "transform": transform or {}},
        model={"factory": f"{shades.__file__}:ShadesNetwork", "accuracy": 98},
        shards={"images": 30},
        significance={"resamples": 0, "sample_sizes": []},
    )


@pytest.mark.parametrize("case", CASES)
def test_an_implausible_accuracy_is_said_at_the_start_and_at_the_end(case, tmp_path, caplog):
    transform, why = CASES[case]
    run = _run(transform)
    with caplog.at_level(logging.INFO):
        outcome = run_pipeline(run, tmp_path)
    at_start = [
        record.levelno
        for record in caplog.records
        if "a sample of the run" in record.getMessage() and why in record.getMessage()
    ]
    texts = (
        closing_lines(outcome, {}, 1.0),
        outcome.report.read_text(),
        summary_markdown(outcome.summary, {"store": outcome.store}),
    )
    again = finished_before(run, tmp_path)
    assert again.summary.warning == outcome.summary.warning
    if not why:
        assert outcome.summary.accuracy == 1.0
        assert at_start == []
        assert all("IMPLAUSIBLE" not in text for text in texts)
        return
    assert at_start == [logging.WARNING]
    assert f"of 60 images of the run correctly, {why}" in outcome.summary.warning
    assert all(outcome.summary.warning in text for text in texts[:2])
    assert "**IMPLAUSIBLE ACCURACY" in texts[2]
    # At the top of the page, and last in the terminal.
    assert texts[1].index("IMPLAUSIBLE") < texts[1].index('id="layers"')
    assert texts[0].rstrip().endswith(f"{outcome.summary.warning}.")


def test_stating_another_accuracy_draws_the_report_anew_from_the_same_store(tmp_path):
    run = _run(None)
    outcome = run_pipeline(run, tmp_path)
    model = run.model.model_copy(update={"accuracy": None})
    other = run.model_copy(update={"model": model})
    assert finished_before(other, tmp_path) is None
    before = (outcome.store / "signals" / "zarr.json").stat().st_mtime_ns
    again = run_pipeline(other, tmp_path)
    assert again.summary.warning == ""
    assert (again.store / "signals" / "zarr.json").stat().st_mtime_ns == before
    assert "IMPLAUSIBLE" not in again.report.read_text()
