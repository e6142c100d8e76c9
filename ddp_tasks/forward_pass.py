"""One pass of images through a network that gives every layer's mean output beside the scores.

The pass is the floor of a run's cost. What makes it faster is chosen by ``ExtractionParameters``
and changes no layer's meaning: BatchNorms folded into the convolutions they follow, with the
layer's own mean recovered from the folded one (``folded_copy``); lower precision; compilation.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ddp_tasks.batch_norm_folding import FoldedLayer, fold_batch_norms
from ddp_tasks.class_scores import class_scores
from ddp_tasks.layers import LinearLayer, means_read
from schemas.parameters import ExtractionParameters, RunError

#: Scores of a batch, float32, shape (n, classes), and by layer the mean of Ȳ, shape (n, d).
Reading = tuple[Tensor, dict[str, Tensor]]

#: A channel that its BatchNorm scales down further than this beside the layer's greatest would
#: come back from the folded mean with as many digits fewer; its layer stays unfolded.
LEAST_SCALE = 1e-3

_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass
class ForwardPass:
    """A network made ready for the images of a run."""

    model: nn.Module
    """in evaluation mode, on the device that it runs on."""
    layers: tuple[LinearLayer, ...]
    """in the order of the cube."""
    vectors: Mapping[str, Tensor]
    """by layer, float64, shape (d, r): the mean of Ȳ times these is the signal vector."""
    precision: torch.dtype = torch.float32
    compiled: bool = False
    folded: Mapping[str, str] = field(default_factory=dict)
    """the BatchNorm that was folded into each layer for the pass."""

    def __post_init__(self) -> None:
        self._program: _Program | None = None

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.model.parameters()).device

    @contextmanager
    def reading(self) -> Iterator[Callable[[Tensor], Reading]]:
        """A function from input tensors (n, c, m, n) to their ``Reading``.

        Nothing is left in the network or in torch afterwards, whatever happens.
        """
        with torch.inference_mode():
            if self.compiled:
                yield self._by_program
            else:
                with self._eager() as read:
                    yield lambda batch: read(self._moved(batch))

    @contextmanager
    def _eager(self) -> Iterator[Callable[[Tensor], Reading]]:
        means: dict[str, Tensor] = {}
        with means_read(self.model, self.layers, means.__setitem__) as run:

            def read(batch: Tensor) -> Reading:
                means.clear()
                with self._autocast(batch.device):
                    output = run(batch)
                return class_scores(output, len(batch)).float(), dict(means)

            yield read

    def _by_program(self, batch: Tensor) -> Reading:
        batch = self._moved(batch)
        if self._program is None or self._program.images < len(batch):
            self._program = self._compile(batch)
        # A program takes one number of images: fewer are filled up with the first.
        missing = self._program.images - len(batch)
        filled = torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])])
        scores, *means = self._program.run(self._moved(filled))
        names = (layer.name for layer in self.layers)
        found = {name: mean[: len(batch)] for name, mean in zip(names, means, strict=True)}
        return scores[: len(batch)], found

    def _compile(self, batch: Tensor) -> _Program:
        """The pass as one program: traced with the means as outputs, then compiled.

        Raises
        ------
        RunError
            If the network cannot be traced (what it does may depend on the images) or compiled.
        """
        from torch.fx.experimental.proxy_tensor import make_fx

        def listed(images: Tensor) -> tuple[Tensor, ...]:
            with self._eager() as read:
                scores, means = read(images)
            return (scores, *(means[layer.name] for layer in self.layers))

        # Compiled for inference, with weights laid out for it once; they never change here.
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                batch = batch.clone()
                traced = make_fx(listed, tracing_mode="fake", _allow_non_fake_inputs=True)(batch)
                program = torch.compile(traced, dynamic=False, options={"freezing": True})
                program(batch)
        except Exception as error:  # the tracer and the compiler raise whatever they meet
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            raise RunError(
                f"extraction.compile: the network cannot be compiled: {reason}"
            ) from error
        return _Program(program, len(batch))

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.precision)

    def _moved(self, batch: Tensor) -> Tensor:
        memory = torch.channels_last if batch.ndim == 4 else torch.preserve_format
        return batch.to(self.device, memory_format=memory)


@dataclass(frozen=True)
class _Program:
    run: Callable[[Tensor], tuple[Tensor, ...]]
    images: int


def forward_pass(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    vectors: Mapping[str, Tensor],
    images: Tensor,
    *,
    options: ExtractionParameters,
    device: torch.device,
) -> ForwardPass:
    """The pass that a run asks for.

    Parameters
    ----------
    model
        in evaluation mode; it stays as it is where it is folded, else it moves to the device.
    vectors
        by layer, what its own mean is multiplied by for the signals; shape (d, r).
    images
        shape (n, c, m, n); one image is enough.
    """
    folded: Mapping[str, FoldedLayer] = {}
    if options.fast:
        model, folded = folded_copy(model, layers, images)
        # The folded layer's mean less its bias is scale · (mean Y - b).
        vectors = {
            name: v / folded[name].scale.to(v)[:, None] if name in folded else v
            for name, v in vectors.items()
        }
    return ForwardPass(
        model.to(device).to(memory_format=torch.channels_last),
        layers,
        vectors,
        _PRECISIONS[options.precision],
        options.compile,
        {name: found.batch_norm for name, found in folded.items()},
    )


def folded_copy(
    model: nn.Module, layers: tuple[LinearLayer, ...], images: Tensor
) -> tuple[nn.Module, Mapping[str, FoldedLayer]]:
    """A copy of a network whose convolutions do the work of the BatchNorms after them.

    A layer is folded where nothing but one BatchNorm reads its output, neither is used for
    anything else, and no channel is scaled down so far that its own mean would be lost.

    Parameters
    ----------
    images
        shape (n, c, m, n); one image is enough.

    Returns
    -------
    the copy, and what was folded, by layer
    """
    images = images.to(next(model.parameters()).device)
    found = fold_batch_norms(model, layers, images).layers
    calls = _calls(model, images)
    chosen = {
        layer.name: found[layer.name]
        for layer in layers
        if layer.name in found and _may_fold(model, layer, found[layer.name], calls)
    }
    copied = copy.deepcopy(model)
    for layer in layers:
        if (folded := chosen.get(layer.name)) is not None:
            module = copied.get_submodule(layer.module)
            like: Tensor = module.weight  # type: ignore[assignment]
            module.weight = nn.Parameter(folded.weight.to(like), requires_grad=False)
            module.bias = nn.Parameter(folded.bias.to(like), requires_grad=False)
            copied.set_submodule(folded.batch_norm, nn.Identity())
    return copied, chosen


def _may_fold(
    model: nn.Module, layer: LinearLayer, folded: FoldedLayer, calls: Counter[nn.Module]
) -> bool:
    module, batch_norm = model.get_submodule(layer.module), model.get_submodule(folded.batch_norm)
    scale = folded.scale.abs()
    owners = sum(module.weight is p for m in model.modules() for p in m._parameters.values())
    return (
        calls[module] == calls[batch_norm] == 1
        and owners == 1
        and not is_parametrized(module)
        and bool(scale.min() > LEAST_SCALE * scale.max())
    )


def _calls(model: nn.Module, images: Tensor) -> Counter[nn.Module]:
    """How often each module runs in one forward pass."""
    calls: Counter[nn.Module] = Counter()
    hooks = [
        module.register_forward_hook(lambda called, _, __: calls.update([called]))
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls
