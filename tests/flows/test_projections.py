"""Maps of signals and patches of finished runs, against their cubes and their networks."""

import numpy as np
import pytest
import torch
from image_sets import photograph
from runs import tiny_run
from toy_networks import Colours

from ddp_tasks.images.image_sets import open_images
from ddp_tasks.store import groups
from ddp_tasks.visualization.projection_heatmaps import PATCHES
from flows.pipeline import run_pipeline

LAYERS = ("conv1", "conv2", "fc")


@pytest.fixture(scope="module", params=[True, False], ids=["spatial", "exemplars alone"])
def projected(request, prefect_server, tmp_path_factory, address):
    """A finished run over coloured pictures, whether all images are searched for patches or not."""
    root = tmp_path_factory.mktemp("images")
    for i in range(14):
        file = root / f"class{i % 3}" / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True)
        photograph(18, 12, seed=i).save(file)
    run = tiny_run(
        {
            "factory": "torchvision.datasets:ImageFolder",
            "kwargs": {"root": str(root)},
            "transform": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
        },
        model={"factory": "toy_networks:Colours"},
        cluster=address,
        spatial_statistics=request.param,
    )
    outcome = run_pipeline(run, tmp_path_factory.mktemp("projected"))
    return run, outcome.store, open_images(run.images)


def maps_of(run, path, images, layer):
    """Signals at all positions of all images in float64, shape (image, r, m, n)."""
    model, kept = Colours().double().eval(), {}
    module = getattr(model, layer)
    module.register_forward_hook(lambda _, __, out: kept.__setitem__("out", out.clone()))
    with torch.no_grad():
        model(images.batch(0, len(images)).double())
    U = torch.from_numpy(groups.read(path, f"decomposition/{layer}")["U"].to_numpy())
    values = kept["out"] - module.bias.reshape(1, -1, *[1] * (kept["out"].ndim - 2))
    maps = torch.einsum("nd...,dr->nr...", values, U)
    return maps.reshape(*maps.shape[:2], *(maps.shape[2:] or (1, 1))).detach().numpy()


def test_maps_are_the_signals_at_positions_and_their_means_the_stored_signals(projected):
    run, path, images = projected
    exemplars = groups.read(path, "exemplars").load()
    for layer in LAYERS:
        found = groups.read(path, f"projections/{layer}").load()
        maps = maps_of(run, path, images, layer)
        rank = maps.shape[1]
        stored = exemplars.sel(layer=layer).isel(singular_vector=slice(0, rank), place=slice(0, 3))
        np.testing.assert_array_equal(found["image"], stored["image"])
        np.testing.assert_array_equal(found["signal"], stored["signal"])
        bound = 1e-5 * np.abs(maps).max()
        means = found["map"].mean(dim=("y", "x"))
        np.testing.assert_allclose(means, found["signal"], rtol=0, atol=bound)
        assert (found.attrs["map_height"], found.attrs["map_width"]) == maps.shape[2:]
        for d, v, p in np.ndindex(found["image"].shape):
            expected = maps[images.ids.index(str(found["image"].values[d, v, p])), v]
            np.testing.assert_allclose(found["map"].values[d, v, p], expected, rtol=0, atol=bound)
            y, x = (int(found[name].values[d, v, p]) for name in ("strongest_y", "strongest_x"))
            best = expected.min() if d else expected.max()
            assert abs(expected[y, x] - best) <= bound


def test_patches_are_the_strongest_receptive_fields(projected):
    run, path, images = projected
    for layer, margin in (("conv1", 1), ("conv2", 3)):
        found = groups.read(path, f"projections/{layer}").load()
        maps = maps_of(run, path, images, layer)
        searched = np.arange(14)
        if not run.spatial_statistics:
            searched = np.unique([images.ids.index(str(i)) for i in found["image"].values.ravel()])
        assert found.attrs["images_searched"] == len(searched)
        bound = 1e-5 * np.abs(maps).max()
        assert found.sizes["patch"] == PATCHES
        for d, v in np.ndindex(2, maps.shape[1]):
            of_vector = (-1 if d else 1) * maps[searched, v]
            best = np.sort(of_vector.max(axis=(1, 2)))[::-1][:PATCHES]
            at = found.isel(direction=d, singular_vector=v)
            signals = at["patch_signal"].values
            np.testing.assert_allclose(signals * (-1 if d else 1), best, rtol=0, atol=bound)
            assert len(set(at["patch_image"].values.tolist())) == PATCHES
            for p in range(PATCHES):
                number = images.ids.index(str(at["patch_image"].values[p]))
                box = [int(at[f"patch_{s}"].values[p]) for s in ("top", "left", "bottom", "right")]
                top, left, bottom, right = box
                y, x = np.unravel_index(
                    np.abs(maps[number, v] - signals[p]).argmin(), maps.shape[2:]
                )
                step = 1 if layer == "conv1" else 2
                size = 12, 18
                assert (top, left) == (max(0, step * y - margin), max(0, step * x - margin))
                ends = (step * (y + 1) + margin, step * (x + 1) + margin)
                assert (bottom, right) == tuple(map(min, ends, size))
                cut = at["patch"].values[p]
                picture = images.picture(number)[top:bottom, left:right]
                np.testing.assert_array_equal(cut[: bottom - top, : right - left], picture)


def test_layers_that_see_the_whole_image_have_no_patches(projected):
    _, path, _ = projected
    found = groups.read(path, "projections/fc")
    assert (found.sizes["patch"], found.sizes["y"], found.sizes["x"]) == (0, 1, 1)


def test_a_run_started_again_makes_only_the_maps_that_are_missing(projected, capsys):
    run, path, _ = projected
    file = path / "projections/conv2/map/zarr.json"
    kept = (path / "projections/conv1/map/zarr.json").stat().st_mtime_ns
    before = groups.read(path, "projections/conv2").load()
    file.unlink()
    run_pipeline(run, path.parent)
    assert (path / "projections/conv1/map/zarr.json").stat().st_mtime_ns == kept
    after = groups.read(path, "projections/conv2").load()
    np.testing.assert_array_equal(after["map"], before["map"])
    np.testing.assert_array_equal(after["patch"], before["patch"])
