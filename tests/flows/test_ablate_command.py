"""``ddp ablate``: what it refuses, what it stores, and how it goes on."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from ddp_processes import ddp_process
from runs import Noise, TinyNetwork, tiny_run

from ddp_tasks.queries.ablation import (
    is_ablated,
    open_ablation,
    open_removals,
    stored_comparison,
    vectors_table,
)
from ddp_tasks.store import groups, wholeness
from flows.started_again import finished_before
from schemas.ablation_variables import CONTROLS
from schemas.names import group_path

pytestmark = pytest.mark.timeout(600)

ASKED = ["--quantile", "0.8", "--quantile", "0.7", "--percentage", "50", "--percentage", "60"]


def refused(ddp, *arguments):
    status, said = ddp("ablate", *arguments)
    assert status == 2, said.err
    return said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "fc9"], "'fc9' matches no layer"),
        (["--quantile", "0.81"], "quantile level 0.81 is not stored"),
        (["--quantile", "1.5"], "quantiles"),
        (["--percentage", "0"], "percentages"),
        (["--images", "0"], "images"),
        (["--cluster", "gone.yaml"], "gone.yaml"),
        (["--out", "table.txt"], "--out"),
    ],
)
def test_what_cannot_be_removed_is_refused_before_any_work(finished, ddp, arguments, message):
    before = sorted(finished.store.rglob("*"))
    assert message in refused(ddp, finished.store.parent, "--trust", *arguments)
    assert sorted(finished.store.rglob("*")) == before


def test_code_that_a_store_names_is_not_run_without_a_word(finished, ddp):
    assert "--trust" in refused(ddp, finished.store.parent, *ASKED)


@pytest.fixture(scope="module")
def ablated(finished, tmp_path_factory):
    """A finished run whose vectors were removed, the command, and what it printed."""
    home = tmp_path_factory.mktemp("ablated")
    folder = home / "run"
    shutil.copytree(finished.store.parent, folder)

    def call(*arguments):
        return ddp_process(home, "ablate", folder, "--trust", *ASKED, *arguments)

    return folder, call, call("--draws", "2", "--out", str(home / "vectors.csv"))


def test_every_place_of_the_grid_is_stored_and_the_report_tells_it(ablated):
    folder, _, made = ablated
    stored = open_ablation(folder)
    assert stored["quantile"].to_numpy().tolist() == [0.7, 0.8]
    assert stored["percentage"].to_numpy().tolist() == [50, 60]
    assert stored["layer"].to_numpy().tolist() == ["conv1", "conv2", "fc1", "fc2"]
    assert made.stdout.splitlines()[-1] == str((folder / "report.html").resolve())
    assert "A class's significant vectors are more selective than" in made.stdout
    page = (folder / "report.html").read_text()
    assert "Do they matter? Singular vectors removed" in page
    assert list(wholeness.check_folder(folder)) == []
    assert finished_before(tiny_run(), folder) is not None
    frame = pd.read_csv(folder.parent / "vectors.csv")
    assert len(frame) == 2 * int(groups.read(folder / "store.zarr", "layers")["rank"].sum())


def test_what_is_removed_is_what_is_significant_beside_as_many_directions(ablated):
    folder, _, _ = ablated
    store = folder / "store.zarr"
    significance = groups.read(store, "significance").load()
    for layer in ("conv1", "conv2", "fc1", "fc2"):
        removals = open_removals(folder, layer)
        kinds = removals["kind"].to_numpy().astype(object)
        of, directions = (removals[n].to_numpy() for n in ("control_of", "directions"))
        np.testing.assert_array_equal(directions, directions[of])
        assert set(kinds) <= {"singular", *CONTROLS}
        for c, name in enumerate(significance["target_class"].to_numpy()):
            for q in (0.7, 0.8):
                fraction = significance["fraction"].sel(
                    split="selection", quantile=q, target_class=name, layer=layer
                )
                members = (fraction.to_numpy() >= 0.6).any(axis=0)
                at = int(removals["number"].sel(quantile=q, percentage=60.0)[c])
                if at < 0:
                    assert not members.any()
                else:
                    rank = removals.sizes["singular_vector"]
                    np.testing.assert_array_equal(removals["member"][at], members[:rank])
                    assert kinds[at] == "singular"
                    assert int(removals["own_class"][at]) == c
        random = kinds == "random"
        energy = removals["energy"].to_numpy()
        np.testing.assert_allclose(energy[random], energy[of[random]], rtol=0.011)


def test_the_drops_are_those_of_a_network_whose_weights_are_changed(ablated):
    """The rank-one change W̄ - s u vᵀ, written into a copy of the network, image by image."""
    folder, _, _ = ablated
    store = folder / "store.zarr"
    part = groups.read(store, "significance")["part"].to_numpy()
    images, model = Noise(), TinyNetwork().eval()
    target = np.array(images.targets)
    judges = np.flatnonzero(part == 1)

    def probabilities(network):
        with torch.no_grad():
            scores = network(images.images[judges]).softmax(dim=1).numpy()
        return scores[np.arange(len(judges)), target[judges]], scores.argmax(axis=1)

    before, named = probabilities(model)
    for layer, vector in (("conv2", 1), ("fc1", 0)):
        U = groups.read(store, group_path("decomposition", layer))["U"].to_numpy()
        u = torch.from_numpy(U[:, [vector]]).float()
        changed = TinyNetwork().eval()
        weight = changed.get_parameter(f"{layer}.weight")
        flat = weight.detach().flatten(1)
        weight.data = (flat - u @ (u.T @ flat)).reshape(weight.shape)
        after, named_after = probabilities(changed)
        removals = open_removals(folder, layer)
        at = removals["vector_drop"].isel(singular_vector=vector)
        for c in range(3):
            own = target[judges] == c
            expected = (before - after)[own].mean()
            assert float(at.sel(change="probability")[c]) == pytest.approx(expected, abs=1e-5)
            fell = (named == c)[own].mean() - (named_after == c)[own].mean()
            assert float(at.sel(change="accuracy")[c]) == pytest.approx(fell, abs=1e-6)
            assert float(removals["before"].sel(change="accuracy")[c]) == pytest.approx(
                (named == c)[own].mean()
            )
    frame = vectors_table(folder, ["conv2"])
    row = frame[(frame["singular_vector"] == 1) & (frame["change"] == "probability")].iloc[0]
    drop = open_removals(folder, "conv2")["vector_drop"].sel(change="probability")[1].to_numpy()
    beyond = drop - (drop.sum() - drop) / 2
    assert row["selectivity"] == pytest.approx(beyond.max())
    assert row["low"] < row["selectivity"] < row["high"]


def test_the_selectivity_is_that_of_the_removed_sets(ablated):
    folder, _, _ = ablated
    for layer in ("conv2", "fc2"):
        removals = open_removals(folder, layer)
        own, other = removals["own_drop"], removals["other_drop"]
        np.testing.assert_allclose(removals["selectivity"], own - other)
        inside = (removals["selectivity_low"] <= removals["selectivity"]) & (
            removals["selectivity"] <= removals["selectivity_high"]
        )
        assert bool(inside.all())


def test_what_another_choice_of_vectors_removed_is_not_shown(ablated):
    store = ablated[0] / "store.zarr"
    assert is_ablated(store)
    assert is_ablated(store, ["positive", "negative"])
    assert not is_ablated(store, ["positive"])
    assert stored_comparison(store, ["positive"]) is None


def test_layers_that_are_stored_are_kept_and_damaged_ones_are_removed_again(ablated):
    folder, call, _ = ablated
    store = folder / "store.zarr"
    before = {n: groups.fingerprint(store, group_path("ablation", n)) for n in ("conv1", "fc1")}
    comparison = open_ablation(folder)
    mark = store / "ablation/fc1/zarr.json"
    content = json.loads(mark.read_text())
    content["attributes"]["way"] = "another"
    mark.write_text(json.dumps(content))
    said = call("--draws", "2").stderr
    assert "3 of 4 layers are stored" in said
    assert "fc1" in said
    assert groups.fingerprint(store, group_path("ablation", "conv1")) == before["conv1"]
    assert open_ablation(folder).identical(comparison)
    assert list(wholeness.check_folder(folder)) == []
