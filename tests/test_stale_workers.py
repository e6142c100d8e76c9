"""A worker that stays up never uses code or weights of another content."""

import torch
from runs import tiny_run

from ddp_tasks.preparation import prepared_once

CODE = """
import torch
from torch import nn
import gains
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 3, 3)
    def forward(self, x):
        return self.conv(gains.GAIN * x).mean((2, 3))
"""


def test_one_run_is_opened_anew_once_its_code_or_weights_changed(tmp_path):
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "gains.py").write_text("GAIN = 1.0\n")
    saved = torch.nn.Sequential()
    saved.conv = torch.nn.Conv2d(2, 3, 3, bias=True)
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    model = {"factory": f"{tmp_path}/code.py:Net", "weights": f"{tmp_path}/weights.pt"}
    run = tiny_run(model=model, significance={}).model_dump_json()
    x, bias = torch.ones(1, 2, 8, 8), saved.conv.bias
    first = prepared_once(run)
    assert prepared_once(run) is first
    (tmp_path / "gains.py").write_text("GAIN = 9.0\n")
    edited = prepared_once(run)
    torch.testing.assert_close(edited.model(x) - bias, 9 * (first.model(x) - bias))
    saved.conv.weight.data.neg_()
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    torch.testing.assert_close(prepared_once(run).model(x) - bias, -(edited.model(x) - bias))
