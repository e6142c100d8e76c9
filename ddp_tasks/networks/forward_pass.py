"""One pass of images through a network that gives the scores and every layer's mean output.

A run costs at least as much as this pass. ``ExtractionParameters`` choose how it is made faster,
which changes no layer's meaning: BatchNorms are folded into the convolutions before them, and the
layer's own mean is recovered from the folded one (``folded_copy``); lower precision; compilation.
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
    """The scores and mean outputs for one batch of images."""

    scores: Tensor
    """float32, shape (n, classes)."""
    means: dict[str, Tensor]
    """by layer, the mean of Ȳ; shape (n, d)."""
    reached: dict[str, Tensor]
    """by layer, whether each image reached it, shape (n,); only for layers that not all images
    reached, whose means are NaN for the others."""


#: Least scale of a channel by its BatchNorm, relative to the layer's greatest scale. Below it the
#: mean recovered from the folded one would lose too many digits, so the layer is not folded.
LEAST_SCALE = 1e-3

_PRECISIONS = {
    "float32": torch.float32,
    "tfloat32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass
class ForwardPass:
    """A network prepared for the images of a run."""

    model: nn.Module
    """in evaluation mode, on the device that it runs on."""
    layers: tuple[LinearLayer, ...]
    """in the order of the cube."""
    vectors: Mapping[str, Tensor]
    """by layer, float64, shape (d, r): the mean of Ȳ times these is the signal vector."""
    precision: torch.dtype = torch.float32
    compiled: bool = False
    folded: Mapping[str, str] = field(default_factory=dict)
    """by layer, the BatchNorm that was folded into it for the pass."""
    convention: CallingConvention = AS_THEY_COME
    """how the network takes its images."""
    tensor_float: bool = False
    """whether a GPU may round the factors of products to TensorFloat-32."""

    def __post_init__(self) -> None:
        self._program: _Program | None = None

    @property
    def device(self) -> torch.device:
        """The device on which the network runs."""
        return next(self.model.parameters()).device

    @contextmanager
    def reading(self) -> Iterator[Callable[[Tensor], Reading]]:
        """A function from input tensors (n, ...) to their ``Reading``.

        Afterwards all hooks are removed from the network and torch, whatever happens. The function
        raises ``PathError`` if not all images of a batch reach a layer, unless each passes alone.
        """
        with torch.inference_mode(), self._products(), self._eager() as eager:
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
                given = self.convention.inputs(batch, self.device)
                with self._autocast(given.device):
                    output = run(given)
                scores = self.convention.scores(output, len(given)).float()
                missed = [layer.name for layer in self.layers if layer.name not in means]
                if missed and not self.convention.alone:
                    raise PathError(missed[0], f"by 0 of the {images} images")
                means_of_batch = {name: mean[:images] for name, mean in means.items()}
                return Reading(scores[:images], means_of_batch, {})

            yield read

    def _one_by_one(self, read: Callable[[Tensor], Reading], batch: Tensor) -> Reading:
        """Each image alone, with NaN for the layers that it does not reach."""
        alone = [read(image) for image in batch.split(1)]
        means, reached = {}, {}
        for layer in self.layers:
            reaches = torch.tensor([layer.name in reading.means for reading in alone])
            nowhere = torch.full((1, layer.shape[0]), torch.nan, device=self.device)
            layer_means = [reading.means.get(layer.name, nowhere) for reading in alone]
            means[layer.name] = torch.cat(layer_means)
            if not reaches.all():
                reached[layer.name] = reaches
        return Reading(torch.cat([reading.scores for reading in alone]), means, reached)

    def _by_program(self, batch: Tensor) -> Reading:
        images = len(batch)
        if self._program is None or self._program.images < images:
            self._program = self._compile(batch.to(self.device))
        # A program takes a fixed number of images: fewer are filled up with the first one.
        missing = self._program.images - images
        filled = torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])])
        scores, *means = self._program.run(filled.to(self.device))
        names = (layer.name for layer in self.layers)
        means_by_layer = {name: mean[:images] for name, mean in zip(names, means, strict=True)}
        return Reading(scores[:images], means_by_layer, {})

    def _compile(self, batch: Tensor) -> _Program:
        """The pass as one program: traced with the means as outputs, then compiled.

        Raises
        ------
        RunError
            If the network cannot be compiled or traced (its path may depend on the images).
        """
        from torch.fx.experimental.proxy_tensor import make_fx

        def listed(images: Tensor) -> tuple[Tensor, ...]:
            with self._eager() as read:
                scores, means, _ = read(images)
            return (scores, *(means[layer.name] for layer in self.layers))

        # Compiled for inference: the weights, which never change here, are laid out once.
        try:
            with torch.inference_mode(mode=False), torch.no_grad():
                batch = batch.clone()
                traced = make_fx(listed, tracing_mode="fake", _allow_non_fake_inputs=True)(batch)
                program = torch.compile(traced, dynamic=False, options={"freezing": True})
                program(batch)
        except Exception as error:  # the tracer and the compiler may raise anything
            raise RunError(
                f"extraction.compile: the network cannot be compiled: {error_shown(error)}"
            ) from error
        return _Program(program, len(batch))

    def _products(self) -> AbstractContextManager[None]:
        on_gpu = self.device.type == "cuda"
        return products(tensor_float=self.tensor_float) if on_gpu else nullcontext()

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.precision)


@contextmanager
def products(*, tensor_float: bool) -> Iterator[None]:
    """Products of float32 on a GPU in full precision, or with factors rounded to TensorFloat-32.

    Torch rounds those of convolutions unless it is told not to. This is a setting of the process.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = tensor_float
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


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
        in evaluation mode; if layers are folded, a copy is used, else it moves to the device.
    vectors
        by layer, the factors that turn its own mean into signals; shape (d, r).
    images
        shape (n, ...); together they reach all layers.
    convention
        how the network takes the images.
    """
    folded: Mapping[str, FoldedLayer] = {}
    if options.fast:
        model, folded = folded_copy(model, layers, images, convention)
        # The folded layer's mean minus its bias is scale · (mean Y - b).
        vectors = {
            name: v / folded[name].scale.to(v)[:, None] if name in folded else v
            for name, v in vectors.items()
        }
    return ForwardPass(
        convention.laid_out(model.to(device)),
        layers,
        # Once, and not for every shard: those of a wide network are hundreds of megabytes.
        {name: v.to(device) for name, v in vectors.items()},
        _PRECISIONS[options.precision],
        options.compile,
        {name: folded_layer.batch_norm for name, folded_layer in folded.items()},
        convention,
        options.precision == "tfloat32",
    )


def folded_copy(
    model: nn.Module,
    layers: tuple[LinearLayer, ...],
    images: Tensor,
    convention: CallingConvention = AS_THEY_COME,
) -> tuple[nn.Module, Mapping[str, FoldedLayer]]:
    """A copy of a network whose convolutions also do the work of the BatchNorms after them.

    A layer is folded if only one BatchNorm reads its output, neither of the two is used for
    anything else, and no channel is scaled down so far that its own mean would be lost.

    Parameters
    ----------
    images, convention
        as in ``fold_batch_norms``.

    Returns
    -------
    the copy, and the folded layers by name
    """
    folded_layers = fold_batch_norms(model, layers, images, convention).layers
    calls = _calls(model, convention.batches(images, next(model.parameters()).device))
    chosen = {
        layer.name: folded_layers[layer.name]
        for layer in layers
        if layer.name in folded_layers and _may_fold(model, layer, folded_layers[layer.name], calls)
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
    """How often each module runs in one forward pass; the most of several passes."""
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
