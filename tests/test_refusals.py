"""What is refused: in one sentence, before any work, whatever a person hands over."""

import pickle

from flows.refusals import refusal_text
from schemas import RunError


def test_keys_and_arguments_become_options_on_the_command_line_alone():
    error = RunError("out: 'x' is a file", change=("out", "model.weights", "out"))
    assert str(error) == "out: 'x' is a file"
    assert refusal_text(error).splitlines() == [
        "--out 'x' is a file",
        "  choose another with --out",
        "  change it with --set model.weights=VALUE",
    ]
    assert refusal_text(RunError("model.weights: gone")) == "model.weights: gone"


def test_a_refusal_comes_whole_from_a_worker():
    error = pickle.loads(pickle.dumps(RunError("gone", change=("model.weights",))))
    assert (str(error), error.change) == ("gone", ("model.weights",))
