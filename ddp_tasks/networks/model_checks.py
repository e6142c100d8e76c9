"""Whether models can be opened, found out without memory for their weights.

Networks are built on torch's meta device, and the tensors of checkpoints are mapped. Code that
builds a network may keep what it built, and a file that is cut while it is mapped ends the process:
whoever has more to do looks in a process of its own, such as ``main`` is.
"""

from __future__ import annotations

import json
import os
import time
import warnings

import torch

from ddp_tasks.callables import factories
from ddp_tasks.networks.checkpoints import MisfitError
from ddp_tasks.networks.fitting_variants import SECONDS
from ddp_tasks.networks.models import built, check_weights, load_weights_file, torchvision_entry
from schemas.parameters import ModelParameters, RunError

#: Seconds that one process may spend on looking for variants that checkpoints fit.
_SECONDS_FOR_VARIANTS = 3 * SECONDS


def check_model(
    parameters: ModelParameters, *, numbers: bool = True, seconds: float = SECONDS
) -> None:
    """Refuse what ``open_model`` would refuse, in less time and memory.

    Weights of torchvision are only looked up by name.

    Parameters
    ----------
    numbers
        whether a checkpoint is read whole, to find weights that are not finite.
    seconds
        that may be spent on looking for the variant that a checkpoint fits.

    Raises
    ------
    RunError
        As in ``open_model``.
    """
    # What a module makes when it is imported must not be without data.
    factories.resolve(parameters.factory)
    file = parameters.weights_file
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                model = built(parameters)
        except RunError:
            model = built(parameters)  # some code needs the numbers
        if file is None:
            if parameters.weights is not None:
                torchvision_entry(parameters)
            return
        for parameter in model.parameters():
            parameter.requires_grad_(False)  # mapped tensors may be whole numbers
        load_weights_file(model, parameters, mapped=True, seconds=seconds)
    if numbers:
        check_weights(model, f"model.weights {str(file)!r}", lazy=True, counts=False)


def main() -> None:
    """Check the models that standard input names, a line of JSON each, and answer likewise.

    A line holds ``model`` and ``numbers``; an answer is the reason of a refusal, or null.
    """
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What factories read and print is neither.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    left = _SECONDS_FOR_VARIANTS
    for line in questions:
        asked, began, why = json.loads(line), time.monotonic(), None
        parameters = ModelParameters.model_validate(asked["model"])
        try:
            check_model(parameters, numbers=asked["numbers"], seconds=min(SECONDS, left))
        except MisfitError as misfit:
            why = misfit.short
            left = max(0.0, left - (time.monotonic() - began))
        except RunError as refusal:
            why = " ".join(str(refusal).split())
        answers.write(f"{json.dumps(why)}\n")
        answers.flush()


if __name__ == "__main__":
    main()
