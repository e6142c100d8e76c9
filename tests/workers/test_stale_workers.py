"""A worker that stays up never uses code or weights of another content."""

import json
from pathlib import Path

import pytest
import torch
from runs import tiny_run

from ddp_tasks.capacity.metric import Matrization
from ddp_tasks.networks.models import model_digest, open_model
from ddp_tasks.store.identity import Identity, MadeOf
from ddp_tasks.workers.once import prepared_once
from ddp_tasks.workers.spectra import ModelSpectra, layer_spectra
from ddp_tasks.workers.stored_run import StoredRun
from schemas.parameters import ModelParameters, RunError

CODE = """
import torch
from torch import nn
import gains
class Net(nn.Module):
    def __init__(self, own=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3)
        if own:
            self.load_state_dict(torch.load(own, weights_only=True))
    def forward(self, x):
        return self.conv(gains.GAIN * x).mean((2, 3))
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "gains.py").write_text("GAIN = 1.0\n")
    return f"{tmp_path}/code.py:Net"


@pytest.fixture
def saved(tmp_path):
    """Weights in a file, and how to put others in their place."""
    holder = torch.nn.Sequential()
    holder.conv = torch.nn.Conv2d(2, 3, 3, bias=True)

    def negate():
        holder.conv.weight.data.neg_()
        torch.save(holder.state_dict(), tmp_path / "weights.pt")

    negate()
    return str(tmp_path / "weights.pt"), holder.conv.bias, negate


def made_of(run):
    return MadeOf(model_digest(open_model(run.model)), "images")


def stored_run(run, made, place="store.zarr"):
    return StoredRun(Path(place), run.model_dump_json(), made)


def opened(run):
    return prepared_once(stored_run(run, made_of(run)))


def test_one_run_is_opened_anew_once_its_code_or_weights_changed(tmp_path, code, saved):
    weights, bias, negate = saved
    run = tiny_run(model={"factory": code, "weights": weights}, significance={})
    x = torch.ones(1, 2, 8, 8)
    first = opened(run)
    assert opened(run) is first
    # Where a store is being made and where it stands then, the run is the same.
    assert prepared_once(stored_run(run, made_of(run), "store.zarr.part")) is first
    (tmp_path / "gains.py").write_text("GAIN = 9.0\n")
    edited = opened(run)
    torch.testing.assert_close(edited.model(x) - bias, 9 * (first.model(x) - bias))
    negate()
    torch.testing.assert_close(opened(run).model(x) - bias, -(edited.model(x) - bias))


def test_weights_that_a_factory_reads_itself_are_read_anew_for_a_run_of_others(code, saved):
    weights, bias, negate = saved
    run = tiny_run(model={"factory": code, "kwargs": {"own": weights}}, significance={})
    x = torch.ones(1, 2, 8, 8)
    first = opened(run)
    negate()
    torch.testing.assert_close(opened(run).model(x) - bias, -(first.model(x) - bias))


def test_a_worker_that_opens_another_model_than_the_flow_says_so(code, saved):
    run = tiny_run(model={"factory": code, "weights": saved[0]}, significance={})
    made = made_of(run)
    saved[2]()
    with pytest.raises(RunError, match="opens another model than the flow: "):
        prepared_once(stored_run(run, made))


def test_a_model_of_a_list_is_opened_anew_once_its_code_or_weights_changed(code, saved):
    weights = saved[0]

    def norm(**changes):
        parameters = ModelParameters(factory=code, weights=weights)
        asked = {
            "model": parameters.model_dump_json(),
            "model_digest": model_digest(open_model(parameters)),
            "input_size": (2, 8, 8),
            "matrizations": (Matrization.UNFOLDED,),
        }
        rows = layer_spectra(ModelSpectra(**{**asked, **changes}), "conv")
        return float(rows["lambda_max"][0])

    first = norm()
    state = torch.load(weights, weights_only=True)
    state["conv.weight"] *= 2
    torch.save(state, weights)
    assert norm() == pytest.approx(4 * first)
    with pytest.raises(RunError, match="opens another model than the flow: "):
        norm(model_digest="of others")


def test_a_store_is_not_continued_with_edited_code_and_says_which_file(tmp_path, code):
    (tmp_path / "data.py").write_text("def images(): ...\n")
    run = tiny_run(model={"factory": code})
    images = run.images.model_copy(update={"factory": f"{tmp_path}/data.py:images"})
    run = run.model_copy(update={"images": images})
    made = Identity.of_run(run, "m", "i")
    stored = {
        "format_version": "6",
        "identity": json.dumps(made.parameters),
        "code": json.dumps(made.code),
        "model_digest": "m",
        "images_digest": "i",
    }
    assert Identity.of_run(run, "m", "i").refusal(stored) is None
    (tmp_path / "gains.py").write_text("GAIN = 2.0\n")
    refusal = Identity.of_run(run, "m", "i").refusal(stored)
    assert refusal == "the code of model.factory differs (gains.py)"
    (tmp_path / "gains.py").write_text("GAIN = 1.0\n")
    (tmp_path / "data.py").write_text("def images(): return []\n")
    refusal = Identity.of_run(run, "m", "i").refusal(stored)
    assert refusal == "the code of images.factory differs (data.py)"


def test_a_store_is_continued_with_the_same_code_in_another_folder(tmp_path, code):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("code.py", "gains.py"):
        (elsewhere / name).write_bytes((tmp_path / name).read_bytes())
    one, other = (
        Identity.of_run(tiny_run(model={"factory": factory}), "m", "i")
        for factory in (code, f"{elsewhere}/code.py:Net")
    )
    assert one == other
