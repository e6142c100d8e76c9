"""One pass of images through a network that gives every layer's mean output beside the scores.

The pass is the floor of a run's cost. What makes it faster is chosen by ``ExtractionParameters``
and changes no layer's meaning: BatchNorms folded into the convolutions they follow, with the
layer's own mean recovered from the folded one (``folded_copy``); lower precision; compilation.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ddp_tasks.networks.batch_norm_folding import FoldedLayer, fold_batch_norms
from ddp_tasks.networks.calling_convention import AS_THEY_COME, CallingConvention
from ddp_tasks.networks.layers import LinearLayer, PathError, means_read
from schemas.parameters import ExtractionParameters, RunError
from schemas.shown import error_shown


class Reading(NamedTuple):
    """What one batch of images gives."""

    scores: Tensor
    """float32, shape (n, classes)."""
    means: dict[str, Tensor]
    """by layer, the mean of Ȳ; shape (n, d)."""
    reached: dict[str, Tensor]
    """by layer, whether each image reached it, shape (n,); of layers that not all reached, and
    whose means are NaN for the others."""


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
    convention: CallingConvention = AS_THEY_COME
    """how the network takes its images."""

    def __post_init__(self) -> None:
        self._program: _Program | None = None

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return next(self.model.parameters()).device

    @contextmanager
    def reading(self) -> Iterator[Callable[[Tensor], Reading]]:
        """A function from input tensors (n, ...) to their ``Reading``.

        Nothing is left in the network or in torch afterwards, whatever happens. It raises
        ``PathError`` where not all images of a batch reach a layer, unless each passes alone.
        """
        with torch.inference_mode(), self._eager() as eager:
            read = self._by_program if self.compiled else eager
            yield partial(self._one_by_one, read) if self.convention.alone else read

    @contextmanager
    def _eager(self) -> Iterator[Callable[[Tensor], Reading]]:
        means: dict[str, Tensor] = {}
        steady = not self.convention.alone
        with means_read(self.model, self.layers, means.__setitem__, steady=steady) as run:

            def read(batch: Tensor) -> Reading:
                means.clear()
                images = len(batch)
                given = self.convention.given(batch, self.device)
                with self._autocast(given.device):
                    output = run(given)
                scores = self.convention.scores(output, len(given)).float()
                missed = [one.name for one in self.layers if one.name not in means]
                if missed and not self.convention.alone:
                    raise PathError(missed[0], f"by 0 of the {images} images")
                found = {name: mean[:images] for name, mean in means.items()}
                return Reading(scores[:images], found, {})

            yield read

    def _one_by_one(self, read: Callable[[Tensor], Reading], batch: Tensor) -> Reading:
        """Each image by itself, with NaN for the layers that it does not reach."""
        alone = [read(image) for image in batch.split(1)]
        means, reached = {}, {}
        for layer in self.layers:
            there = torch.tensor([layer.name in one.means for one in alone])
            nowhere = torch.full((1, layer.shape[0]), torch.nan, device=self.device)
            found = [one.means.get(layer.name, nowhere) for one in alone]
            means[layer.name] = torch.cat(found)
            if not there.all():
                reached[layer.name] = there
        return Reading(torch.cat([one.scores for one in alone]), means, reached)

    def _by_program(self, batch: Tensor) -> Reading:
        images = len(batch)
        if self._program is None or self._program.images < images:
            self._program = self._compile(batch.to(self.device))
        # A program takes one number of images: fewer are filled up with the first.
        missing = self._program.images - images
        filled = torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])])
        scores, *means = self._program.run(filled.to(self.device))
        names = (layer.name for layer in self.layers)
        found = {name: mean[:images] for name, mean in zip(names, means, strict=True)}
        return Reading(scores[:images], found, {})

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
                scores, means, _ = read(images)
            return (scores, *(means[layer.name] for layer in self.layers))

        # Compiled for inference, with weights laid out for it once; they never change here.
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                batch = batch.clone()
                traced = make_fx(listed, tracing_mode="fake", _allow_non_fake_inputs=True)(batch)
                program = torch.compile(traced, dynamic=False, options={"freezing": True})
                program(batch)
        except Exception as error:  # the tracer and the compiler raise whatever they meet
            raise RunError(
                f"extraction.compile: the network cannot be compiled: {error_shown(error)}"
            ) from error
        return _Program(program, len(batch))

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.precision)


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
    convention: CallingConvention = AS_THEY_COME,
) -> ForwardPass:
    """The pass that a run asks for.

    Parameters
    ----------
    model
        in evaluation mode; it stays as it is where it is folded, else it moves to the device.
    vectors
        by layer, what its own mean is multiplied by for the signals; shape (d, r).
    images
        shape (n, ...), that together reach all layers.
    convention
        how the network takes them.
    """
    folded: Mapping[str, FoldedLayer] = {}
    if options.fast:
        model, folded = folded_copy(model, layers, images, convention)
        # The folded layer's mean less its bias is scale · (mean Y - b).
        vectors = {
            name: v / folded[name].scale.to(v)[:, None] if name in folded else v
            for name, v in vectors.items()
        }
    return ForwardPass(
        convention.laid_out(model.to(device)),
        layers,
        vectors,
        _PRECISIONS[options.precision],
        options.compile,
        {name: found.batch_norm for name, found in folded.items()},
        convention,
    )


def folded_copy(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    images: Tensor,
    convention: CallingConvention = AS_THEY_COME,
) -> tuple[nn.Module, Mapping[str, FoldedLayer]]:
    """A copy of a network whose convolutions do the work of the BatchNorms after them.

    A layer is folded where nothing but one BatchNorm reads its output, neither is used for
    anything else, and no channel is scaled down so far that its own mean would be lost.

    Parameters
    ----------
    images, convention
        as of ``fold_batch_norms``.

    Returns
    -------
    the copy, and what was folded, by layer
    """
    found = fold_batch_norms(model, layers, images, convention).layers
    calls = _calls(model, convention.batches(images, next(model.parameters()).device))
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


def _calls(model: nn.Module, batches: Iterable[Tensor]) -> Counter[nn.Module]:
    """How often each module runs in one forward pass, of those shown the pass of most."""
    calls: Counter[nn.Module] = Counter()
    most: Counter[nn.Module] = Counter()
    hooks = [
        module.register_forward_hook(lambda called, _, __: calls.update([called]))
        for module in model.modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                calls.clear()
                model(batch)
                most |= calls
    finally:
        for hook in hooks:
            hook.remove()
    return most
