"""The command ``ddp figure`` and its pages, on a finished run."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
import visualization_groups
from pages import assert_nothing_is_loaded_from_elsewhere, opened, until_drawn
from runs import HERE

from ddp_tasks.hypergraphs.semantic_hierarchy import members_of
from ddp_tasks.queries.figure_subjects import default_layer, hierarchy_part, two_images
from ddp_tasks.queries.finished_run import open_finished
from ddp_tasks.queries.images_in_layer import images_in_layer
from ddp_tasks.report import contact_sheet_page, figure_pages
from ddp_tasks.store import groups
from ddp_tasks.visualization.similarity_overlays import similarity
from ddp_tasks.visualization.targets import Target
from schemas.names import group_path
from schemas.parameters import RunError

CODE = [f"model.factory={HERE}:TinyNetwork", f"images.factory={HERE}:Noise"]


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """The tiny run with optimised images of every class and of v0, noise in place of real ones."""
    out = tmp_path_factory.mktemp("figures") / "out"
    shutil.copytree(finished.store.parent, out)
    path = out / "store.zarr"
    layers = groups.read(path, "layers")
    for name in ("conv1", "conv2", "fc1"):
        rank = int(layers["rank"].sel(layer=name))
        classes = members_of(groups.read(path, group_path("hierarchies", name)))
        targets = [*map(Target.of, classes), *(Target((v,)) for v in range(rank))]
        stored = visualization_groups.visualizations(
            name, rank, list(dict.fromkeys(targets)), side=8, channels=2
        )
        groups.replace(path, group_path("visualizations", name), stored, {})
    return out


def _run(folder):
    return open_finished(folder, CODE, trust=True)


def _write(folder, number, tmp_path, **options):
    out = tmp_path / f"{number}.html"
    page, lacking = figure_pages.write(
        folder, number, out=out, overrides=CODE, trust=True, **options
    )
    text = page.read_text()
    assert_nothing_is_loaded_from_elsewhere(text.replace("http-equiv", ""))
    return text, lacking


def _text(page):
    page = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))


@pytest.mark.parametrize(("number", "layer"), [(6, "conv2"), (7, "fc1"), (9, "conv1")])
def test_a_figure_of_a_hierarchy_has_every_class(folder, tmp_path, number, layer):
    assert default_layer(_run(folder), number) == layer
    page, lacking = _write(folder, number, tmp_path)
    text = _text(page)
    assert lacking is None
    assert f"Figure {number}: {layer} of tiny" in text
    hierarchy = groups.read(folder / "store.zarr", group_path("hierarchies", layer))
    values = groups.read(folder / "store.zarr", "layers")["singular_value"].sel(layer=layer)
    if number == 9:
        whole, hierarchy = hierarchy, hierarchy_part(hierarchy, layer, None, 9)
        sizes = [of.sizes["equivalence_class"] for of in (hierarchy, whole)]
        assert "Shown are {} of the {} equivalence classes".format(*sizes) in text
    for members in members_of(hierarchy):
        for member in members:
            assert f"{member} ({float(values[member.vector]):.3g})" in text
    # Signals at positions are those of a convolution in figure 6.
    assert ("scaled projections" in text) == (number == 6)


def test_maps_are_the_signals_of_the_store_at_every_position(folder):
    """Their mean over positions is the stored signal, which the network gave in float32."""
    run = _run(folder)
    opened_layer = images_in_layer(run, "conv2")
    maps = opened_layer.maps(opened_layer.inputs([3, 4]), [0, 2])
    assert maps.shape == (2, 2, 3, 3)
    stored = run.signals["signal"].sel(layer="conv2").to_numpy()[[3, 4]][:, [0, 2]]
    np.testing.assert_allclose(maps.mean(axis=(2, 3)), stored, atol=1e-5 * np.abs(stored).max())
    assert images_in_layer(run, "fc1").maps(opened_layer.inputs([3]), [0]) is None


def test_a_figure_without_optimised_images_says_what_makes_them(finished, tmp_path, ddp):
    copied = tmp_path / "out"
    shutil.copytree(finished.store.parent, copied)
    stored = copied / "store.zarr" / "visualizations"
    shutil.rmtree(stored, ignore_errors=True)
    status, said = ddp("figure", 7, copied, "--trust")
    assert status == 0
    assert said.out == f"{copied / 'figure-7-fc1.html'}\n"
    assert f"ddp visualize {copied} --layer fc1" in said.err
    assert "ddp visualize DIR --layer fc1 makes them" in _text(
        (copied / "figure-7-fc1.html").read_text()
    )
    status, said = ddp("figure", 10, copied, "--layer", "conv1", "--trust")
    assert status == 0
    assert re.search(r"--layer conv1 --vector \d+$", said.err.strip())


def test_figure_10_shows_two_images_and_what_they_share(folder, tmp_path):
    run = _run(folder)
    page, lacking = _write(folder, 10, tmp_path, layer="conv1", images=("04", "07"))
    text = _text(page)
    assert lacking is None
    assert "04, right" in text
    assert "07, right" in text
    signals = run.signals["signal"].sel(layer="conv1", image=["04", "07"]).to_numpy()
    significance = groups.read(folder / "store.zarr", "significance")
    q = float(significance["threshold"].sel(direction="positive", layer="conv1", quantile=0.5))
    both = np.flatnonzero((signals > q).all(axis=0))
    assert f"{len(both)} of 5 vectors are significant for both images" in text
    every = run.signals["signal"].sel(layer="conv1").to_numpy()
    standing = (signals - every.mean(axis=0)) / every.std(axis=0)
    strongest = both[standing[:, both].min(axis=0).argmax()]
    assert f"Figure 10: v{strongest} of conv1" in text
    other = [v for v in both if v != strongest]
    if other:
        page, _ = _write(
            folder, 10, tmp_path, layer="conv1", images=("04", "07"), vector=int(other[0])
        )
        assert f"Figure 10: v{other[0]} of conv1" in _text(page)


def _carried(page):
    (packed,) = re.findall(r'id="vectors">(.*?)</script>', page, flags=re.S)
    return json.loads(packed)


def test_the_page_carries_the_cosines_of_two_images_and_the_optimised_one(folder, tmp_path):
    page, _ = _write(folder, 10, tmp_path, layer="conv1", images=("04", "07"))
    carried = _carried(page)
    vectors = np.frombuffer(base64.b64decode(carried["data"]), "<f2").astype(np.float64)
    vectors = vectors.reshape(carried["images"], carried["high"], carried["wide"], -1)
    opened_layer = images_in_layer(_run(folder), "conv1")
    exact = similarity(opened_layer.activations(opened_layer.inputs([4, 7])), 1, 3, 5)
    np.testing.assert_allclose(vectors[:2] @ vectors[1, 3, 5], exact.numpy(), atol=5e-3)
    assert carried["images"] == 3
    # The third one is the stored picture, as the network takes it.
    stored = groups.read(folder / "store.zarr", "visualizations/conv1")
    vector = int(re.search(r"Figure 10: v(\d+)", page)[1])
    picture = stored["picture"].sel(target=f"v{vector} positive mean fourier").to_numpy()
    inputs = opened_layer.inputs_of(picture[None].astype(np.uint8))
    exact = similarity(opened_layer.activations(inputs), 0, 3, 5)[0]
    np.testing.assert_allclose(vectors[2] @ vectors[2, 3, 5], exact.numpy(), atol=5e-3)


def test_pointing_at_a_position_colours_all_images(browser, folder, tmp_path):
    page, _ = _write(folder, 10, tmp_path, layer="conv1", images=("04", "07"))
    shown = opened(browser, page, tmp_path)
    assert shown.errors == []
    assert shown.width <= shown.window
    assert min(shown.images) > 1
    assert min(shown.figures) > 40
    found = browser.evaluate("[...overlays.similarity(1, 3, 5)]")
    opened_layer = images_in_layer(_run(folder), "conv1")
    activations = opened_layer.activations(opened_layer.inputs([4, 7]))
    exact = similarity(activations, 1, 3, 5).flatten().numpy()
    np.testing.assert_allclose(found[: len(exact)], exact, atol=5e-3)
    # A pointer over row 3, column 5 of the second image.
    browser.evaluate(
        """() => {
        const box = document.querySelectorAll(".overlay")[1];
        const place = box.getBoundingClientRect();
        const at = {clientX: place.left + place.width * 5.5 / 8,
                    clientY: place.top + place.height * 3.5 / 8, bubbles: true};
        box.dispatchEvent(new PointerEvent("pointermove", at));
        }"""
    )
    assert browser.evaluate("pointed.textContent").startswith("Row 3, column 5 of 07.")
    pixel = "canvas.getContext('2d').getImageData(5, 3, 1, 1).data"
    red, green, blue, alpha = browser.evaluate(
        f"() => {{ const canvas = document.querySelectorAll('.overlay canvas')[1];"
        f" return [...{pixel}]; }}"
    )
    # The position itself: a cosine of 1 is the darkest red.
    assert (red, green, blue) == pytest.approx((0x67, 0, 0x0D), abs=3)
    assert alpha > 200


@pytest.mark.parametrize("number", [6, 7])
def test_a_figure_of_a_hierarchy_is_drawn_whole(browser, folder, tmp_path, number):
    page, _ = _write(folder, number, tmp_path)
    shown = opened(browser, page, tmp_path)
    until_drawn(browser)
    assert shown.errors == []
    assert shown.width <= shown.window
    assert min(shown.figures) > 40


def test_a_contact_sheet_shows_every_stored_picture(browser, folder, tmp_path):
    page = contact_sheet_page.write(folder, "fc1")
    assert page == folder / "visualizations-fc1.html"
    text = page.read_text()
    page.unlink()
    stored = groups.read(folder / "store.zarr", "visualizations/fc1")
    assert f"{stored.sizes['target']} images, each optimised" in _text(text)
    assert_nothing_is_loaded_from_elsewhere(text)
    shown = opened(browser, text, tmp_path)
    assert shown.errors == []
    assert shown.width <= shown.window
    with pytest.raises(RunError, match=r"fc2 .* has no optimised images yet"):
        contact_sheet_page.write(folder, "fc2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([5], "figure: 5 is refused; ddp steps makes it"),
        ([11], "allowed: 6, 7, 9, 10"),
        ([6, "--layer", "conv9"], "(did you mean 'conv"),
        ([6, "--layer", "conv1", "--vector", "9"], "has singular vectors 0 to 4"),
        ([6, "--images", "04", "07"], "figure 6 shows the strongest images"),
        ([10, "--images", "04", "31"], "nearest: '29'"),
        ([10, "--images", "04", "04"], "is given twice"),
        ([10, "--out", "no/such/file.html"], "is not a file in an existing folder"),
    ],
)
def test_what_cannot_be_shown_is_refused(ddp, folder, arguments, said):
    number, *options = arguments
    before = set(folder.iterdir())
    status, told = ddp("figure", number, folder, *options, "--trust")
    assert status == 2
    assert said in re.sub(r"\s+", " ", told.err)
    assert set(folder.iterdir()) == before


def test_a_vector_that_the_images_do_not_share_is_refused_with_the_nearest(folder):
    from ddp_tasks.queries.figure_subjects import shared_vectors

    shared = shared_vectors(_run(folder), "conv1", (4, 7))
    others = set(range(5)) - set(shared.both.tolist())
    for vector in others:
        with pytest.raises(RunError, match=f"v{vector} of layer conv1 has the signals"):
            shared.chosen(vector)
    assert shared.chosen(None) == shared.both[0]
    assert shared.chosen(None, [int(shared.both[-1])]) == shared.both[-1]


def test_a_part_of_a_hierarchy_is_what_belongs_to_a_class(folder):
    hierarchy = groups.read(folder / "store.zarr", "hierarchies/conv1").load()
    members = hierarchy["singular_vectors"].any("direction").to_numpy()
    contains = hierarchy["target_classes"].to_numpy()
    vector = int(np.flatnonzero(members[-1])[0])
    part = hierarchy_part(hierarchy, "conv1", vector, 9)
    kept = {tuple(row) for row in part["singular_vectors"].any("direction").values.tolist()}
    own = contains[members[:, vector].argmax()]
    expected = {
        tuple(m)
        for m, c in zip(members.tolist(), contains, strict=True)
        if (c >= own).all() or (c <= own).all()
    }
    assert kept == expected
    outside = np.flatnonzero(~members.any(axis=0))
    for vector in outside:
        with pytest.raises(RunError, match="significant for no class"):
            hierarchy_part(hierarchy, "conv1", int(vector), 9)


def test_two_images_of_the_class_that_is_recognised_best(finished):
    run = open_finished(finished.store.parent)
    first, second = two_images(run)
    target = run.signals["target"].to_numpy()
    predicted = run.signals["predicted"].to_numpy()
    assert first != second
    assert target[first] == target[second]
    assert (predicted == target)[[first, second]].all()
