from dataclasses import replace

import pytest
from ablation_groups import ablated

from ddp_tasks.queries.ablation import (
    check_removable,
    grid_table,
    open_ablation,
    stored_comparison,
    verdicts,
)
from ddp_tasks.queries.finished_run import open_finished
from schemas.ablation_parameters import AblationParameters
from schemas.ablation_variables import CONTROLS
from schemas.parameters import RunError


def test_a_verdict_says_where_it_holds_and_where_not():
    told = dict(zip(CONTROLS, verdicts(ablated()), strict=True))
    assert told["matched"].startswith("There are no other singular vectors of like")
    assert "than single channels at 1 of 2 places of the grid, and less at 0" in told["channels"]
    assert "differences +0.200 to +0.200, 75% to 75% of pairs won" in told["channels"]
    assert "It does not hold in 1 of 2 layers" in told["channels"]
    assert told["channels"].endswith("not above 0: does not.")
    assert "at 1 of 2 places of the grid, and less at 0" in told["rotation"]
    worse = ablated()
    worse["difference"] = -worse["difference"]
    assert "at 0 of 2 places of the grid, and less at 1" in verdicts(worse)[1]


def test_where_nothing_is_significant_one_sentence_says_so():
    bare = ablated()
    bare["selectivity"] = bare["selectivity"] * float("nan")
    (told,) = verdicts(bare)
    assert told.startswith("No singular vector is significant for a class")


def test_the_table_has_every_place_of_the_grid():
    frame = grid_table(ablated())
    assert len(frame) == 2 * 4 * 2
    row = frame[(frame["quantile"] == 0.9) & (frame["control"] == "rotation")].iloc[0]
    assert row["difference"] == pytest.approx(-0.1)
    assert row["selectivity"] == pytest.approx(0.25)
    assert row["pairs"] == 12


def test_a_run_without_removals_says_which_command_makes_them(finished):
    assert stored_comparison(finished.store) is None
    with pytest.raises(RunError, match=r"nothing was removed from .*ddp ablate does that"):
        open_ablation(finished.store.parent)


def test_images_that_chose_everything_judge_nothing(finished):
    run = open_finished(finished.store.parent)
    check_removable(run, AblationParameters())
    levels = run.run.significance.model_copy(update={"split": None})
    whole = replace(run, run=run.run.model_copy(update={"significance": levels}))
    with pytest.raises(RunError, match=r"significance\.split null: no image is left"):
        check_removable(whole, AblationParameters())
