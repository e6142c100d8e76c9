import numpy as np
import pandas as pd
import pytest
import reference
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored_cubes import significance_of
from strategies import LEVELS, cubes

from ddp_tasks.significance.tables import layer_frame


def layers_of(cube):
    values = np.full((len(cube.ranks), max(cube.ranks)), np.nan)
    for layer, rank in enumerate(cube.ranks):
        values[layer, :rank] = np.arange(rank, 0, -1)
    names = np.array([f"layer{i}" for i in range(len(cube.ranks))], dtype=object)
    dims = ("layer", "singular_vector")
    return xr.Dataset({"singular_value": (dims, values)}, coords={"layer": names})


@settings(max_examples=25)
@given(cubes(), LEVELS, st.sampled_from(["positive", "negative"]))
def test_the_frame_has_a_row_for_every_class_and_vector(cube, levels, direction):
    significance, layers = significance_of(cube, levels), layers_of(cube)
    sign = 1 if direction == "positive" else -1
    for layer, rank in enumerate(cube.ranks):
        q = reference.threshold(cube.signals, layer, rank, levels[-1], sign)
        frame = layer_frame(
            significance,
            layers,
            f"layer{layer}",
            levels[-1],
            50,
            directions=(direction,),
            confidence=0.9,
        )
        assert len(frame) == cube.target_classes * rank
        for row in frame.itertuples():
            c, i = int(row.target_class.removeprefix("class ")), row.singular_vector
            count = reference.significant_images(
                cube.signals, cube.targets, layer, i, target_class=c, q=q, sign=sign
            )
            assert row.images == (cube.targets == c).sum()
            assert row.significant == reference.significant_for_class(count, row.images, 50)
            assert (row.direction, row.quantile) == (direction, levels[-1])
            assert row.singular_value == rank - i
            if row.images:
                classes = len({int(t) for t in cube.targets})
                own = 1 - 0.1 / (classes * rank)
                interval = stats.binomtest(count, row.images).proportion_ci(own, "exact")
                assert row.fraction == np.float32(count / row.images)
                np.testing.assert_allclose((row.low, row.high), interval, rtol=1e-6, atol=1e-9)
            else:
                assert np.isnan([row.fraction, row.low, row.high]).all()


def test_the_frame_survives_parquet_and_csv(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")

    class Cube:
        ranks, target_classes = (2,), 2

        @staticmethod
        def parts():
            signals = np.arange(8, dtype=np.float32).reshape(4, 1, 2)
            return [(signals, np.array([0, 0, 1, 1]))]

    frame = layer_frame(significance_of(Cube, (0.5,)), layers_of(Cube), "layer0", 0.5, 75)
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)
    frame.to_csv(tmp_path / "t.csv", index=False)
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "t.csv"), frame, check_dtype=False, check_categorical=False
    )
