"""Finding the linear layers of a network, and how it takes images, by running it.

Two images and their mirror images pass together and alone, in both memory layouts, since an image
must give the same result in every batch of a later run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ddp_tasks.networks.calling_convention import CallingConvention, input_dtype
from ddp_tasks.networks.differing_modules import close, first_difference
from ddp_tasks.networks.layers import Layers, LinearLayer
from ddp_tasks.networks.linear_calls import LINEAR
from ddp_tasks.networks.not_analysed import not_analysed, quantised_modules
from ddp_tasks.networks.traced_passes import Met, Pass
from schemas.shown import error_shown

#: Tolerance for the same images in the same form: greater differences are not rounding.
_REPEATED = 1e-5
#: Tolerance for a layer's mean over images and positions, in which terms may cancel.
_REPEATED_MEAN = 1e-3
#: Tolerance for a layer's means in two batches, which differ only in the order of sums.
_MEANS = 1e-2
#: Tolerance for scores in another batch or memory layout, by the type of the weights.
_SCORES = {torch.float64: 1e-6, torch.bfloat16: 5e-2, torch.float16: 2e-2}

#: Tolerance for quantised networks: dynamic quantisation takes its range from the whole batch.
_QUANTISED = 0.1

_ALONE = "shards.batch_size: 1 lets each image pass by itself"


class UnsteadyNetworkError(ValueError):
    """A network that does not always give the same output for an image."""


def trace_layers(
    model: nn.Module,
    images: Tensor,
    *,
    output: str | None = None,
    alone: bool = False,
    more: Callable[[], Iterable[Tensor]] = tuple,
) -> Layers:
    """Run images through a network and note its linear layers when their weights are used.

    A weight used a second time in one forward pass is another layer, NAME@2. The axis that grows
    with the number of images is the image axis (sequences may come first, and windows may be
    stacked). A tensor that changes with the images is no weight. Lazy modules get their weights.

    Parameters
    ----------
    model
        in evaluation mode.
    images
        shape (n, ...); two different ones are enough, and from one a second is made.
    output
        as in ``class_scores``: the part of the network's output that holds the scores.
    alone
        whether the run gives the network one image at a time. Only then may the path of an image
        depend on the image.
    more
        gives further images, shape (1, ...) each, to find layers that the first ones do not reach.

    Raises
    ------
    UnsteadyNetworkError
        If the output for an image differs in a second pass, or beside other images.
    ValueError
        If it does not give one row of class scores for each image, or is compiled: by torch.jit
        as a whole, or by torch.compile anywhere.
    """
    if isinstance(model, torch.jit.ScriptModule) or any(map(_is_compiled, model.modules())):
        raise ValueError("the network is compiled, which hides its layers; give it uncompiled")
    # Not inference mode: weights that lazy modules make here are later used with gradients.
    with torch.no_grad():
        if any(is_lazy(p) for p in model.parameters()):
            model(images)
        two = _two(images)
        convention = CallingConvention(input_dtype(model), output=output, alone=alone, copies=True)
        tracing = _Tracing(model, convention, two)
        tracing.begin()
        tracing.choose_layout()
        tracing.show_alone()
        tracing.show_more(more)
        return tracing.layers()


class _Tracing:
    """The passes of one network."""

    def __init__(self, model: nn.Module, convention: CallingConvention, two: Tensor) -> None:
        self.model, self.convention, self.two = model, convention, two
        self.tolerance = _SCORES.get(convention.dtype or torch.float32, 1e-3)
        if quantised_modules(model):
            self.tolerance = _QUANTISED
        self.first: Pass
        self.other: Pass
        """a pass of the first images in a batch of another size."""
        self.singles: list[Pass] = []
        """passes of one image each."""
        self.tried: list[Tensor] = []
        """the images of those passes."""

    def seen(self, images: Tensor, **changes: Any) -> Pass:
        """One pass of images, with changes to the convention."""
        done = Pass(self.model, replace(self.convention, **changes))
        done.run(images)
        return done

    def tried_with(self, images: Tensor, **changes: Any) -> Pass | Exception:
        """As ``seen``, or the exception that the network raises."""
        try:
            return self.seen(images, **changes)
        except Exception as error:  # noqa: BLE001 - the person's own code may raise anything
            return error
        except SystemExit as error:
            return RuntimeError(error_shown(error))

    def begin(self) -> None:
        """Run the first pass: of two images, or of one alone."""
        start = self.two[:1] if self.convention.alone else self.two
        outcome = self.tried_with(start)
        if isinstance(outcome, Exception) and self.convention.dtype not in (None, self.two.dtype):
            # The network may change the type of its inputs itself.
            other = self.tried_with(start, dtype=self.two.dtype)
            if isinstance(other, Pass):
                outcome, self.convention = other, replace(self.convention, dtype=self.two.dtype)
        if isinstance(outcome, Exception) and self.convention.alone:
            twice = self.tried_with(start, fewest=2)
            if isinstance(twice, Pass):
                outcome, self.convention = twice, replace(self.convention, fewest=2)
        elif isinstance(outcome, Exception) and isinstance(self.tried_with(self.two[:1]), Pass):
            raise ValueError(f"it takes one image at a time ({error_shown(outcome)}); {_ALONE}")
        if isinstance(outcome, Exception):
            raise outcome
        self.first = outcome
        self.convention = replace(
            self.convention, copies=outcome.overwritten, sigmoid=outcome.ends_in_sigmoid
        )

    def choose_layout(self) -> None:
        """Choose channels last if the outputs are the same; otherwise check a second pass."""
        start = self.two[: 1 if self.convention.alone else 2]
        last: Pass | Exception | None = None
        if start.ndim == 4:
            last = self.in_channels_last(start)
            if isinstance(last, Pass) and self.first.repeated_by(last, _REPEATED, _REPEATED_MEAN):
                self.convention = replace(self.convention, channels_last=True)
                return
        again = self.seen(start)
        if not self.first.repeated_by(again, _REPEATED, _REPEATED_MEAN):
            where = self.difference(start, start, _REPEATED)
            raise UnsteadyNetworkError(
                f"it gives another output when it is asked twice for the same images: {where}"
            )
        if isinstance(last, Pass) and self.first.repeated_by(last, self.tolerance, _MEANS):
            self.convention = replace(self.convention, channels_last=True)

    def in_channels_last(self, images: Tensor) -> Pass | Exception:
        """A pass with channels last in memory; afterwards the weights are contiguous again."""
        convention = replace(self.convention, channels_last=True)
        try:
            convention.laid_out(self.model)
            return self.tried_with(images, channels_last=True)
        finally:
            self.convention.laid_out(self.model)

    def show_alone(self) -> None:
        """Run each of the two images alone, and compare it with the first pass."""
        if self.convention.alone:
            self.other = (
                self.seen(self.two[:1], fewest=4) if self.convention.fewest > 1 else self.first
            )
            self.take_single(self.two[:1], self.first)
            self.take_single(self.two[1:])
            return
        single = self.tried_with(self.two[:1])
        if isinstance(single, Pass) and self.agree(self.first, single):
            self.other = single
            self.take_single(self.two[:1], single)
        else:
            four = self.tried_with(torch.cat([self.two, other_images(self.two)]))
            if isinstance(four, Exception) or not self.agree(self.first, four):
                self.refuse_batches(single)
            assert isinstance(four, Pass)
            # Such a network treats one image alone differently: its axis is gone.
            self.other, self.convention = four, replace(self.convention, fewest=2)
            self.take_single(self.two[:1])
        self.take_single(self.two[1:])
        self.check_together(0, 1, self.first)

    def refuse_batches(self, one: Pass | Exception) -> None:
        """Refuse a network whose output for an image depends on its batch."""
        if isinstance(one, Pass):
            behind, cure = self.two[:1], f"; {_ALONE}"
        else:
            behind, cure = torch.cat([self.two, other_images(self.two)]), ""
        where = self.difference(behind, self.two, self.tolerance)
        raise UnsteadyNetworkError(
            f"it gives another output for the same image in another batch: {where}{cure}"
        )

    def take_single(self, image: Tensor, recorded: Pass | None = None) -> None:
        """Note a pass of one image alone."""
        self.tried.append(image)
        self.singles.append(recorded or self.seen(image))

    def show_more(self, more: Callable[[], Iterable[Tensor]]) -> None:
        """Run further images alone if some layer was not reached by all so far."""
        passes = [self.first, self.other, *self.singles]
        paths_differ = any(set(p.met) != set(self.first.met) for p in self.singles)
        if paths_differ or _uncalled(self.model, passes):
            for image in more():
                self.take_single(image)
        if self.convention.alone:
            return
        paths = [frozenset(single.met) for single in self.singles]
        for at, path in enumerate(paths):
            if path != paths[0]:
                self.check_together(0, at)
                return

    def check_together(self, one: int, other: int, together: Pass | None = None) -> None:
        """Refuse a network whose scores for two images differ together and alone."""
        images = torch.cat([self.tried[one], self.tried[other]])
        outcome = together or self.tried_with(images)
        apart = torch.cat([self.singles[i].scores[:1] for i in (one, other)])
        if isinstance(outcome, Pass) and close(apart, outcome.scores, self.tolerance):
            return
        names = set(self.singles[one].met) ^ set(self.singles[other].met)
        if not names:
            self.refuse_batches(self.singles[one])
        listed = ", ".join(repr(n) for n in self.in_order() if n in names)
        raise UnsteadyNetworkError(
            "the path of an image through it depends on the other images of its batch: only "
            f"some images reach {listed}; {_ALONE}"
        )

    def agree(self, one: Pass, other: Pass) -> bool:
        """Whether both passes give the same scores for the images with which both begin."""
        rows = min(len(one.scores), len(other.scores))
        return close(one.scores, other.scores, self.tolerance, rows)

    def difference(self, one: Tensor, other: Tensor, tolerance: float) -> str:
        """Where the passes of two batches that begin alike first differ, in words."""
        runs = [lambda x=x: self.model(self.convention.inputs(x.clone())) for x in (one, other)]
        return first_difference(self.model, runs[0], runs[1], tolerance)

    def axis(self, name: str) -> int | None:
        """The axis of a layer's output that grows with the number of images."""
        met, again = self.first.met.get(name), self.other.met.get(name)
        if self.convention.alone and self.convention.fewest == 1:
            return 0
        if met is None or again is None:
            # Reached by one image only, with as many others as the network needs.
            return 0 if self.convention.alone else None
        return _growing_axis(met, again)

    def in_order(self) -> list[str]:
        """The names of all layers reached, in the order of the passes."""
        order: list[str] = []
        for traced in (self.first, *self.singles):
            place = 0
            for name in traced.met:
                if name not in order:
                    order.insert(place, name)
                place = order.index(name) + 1
        return order

    def layers(self) -> Layers:
        """The layers that the passes found."""
        passes = [self.first, self.other, *self.singles]
        linear: list[LinearLayer] = []
        refused: dict[str, str] = {}
        not_plain = {base for traced in passes for base in traced.not_plain}
        for name in self.in_order():
            met = next(p.met[name] for p in passes if name in p.met)
            if (reason := self.refusal(name, met)) is not None:
                refused[name] = reason
            else:
                plain = name.removesuffix(f"@{met.number}") not in not_plain
                linear.append(met.layer(name, self.axis(name) or 0, plain))
        used = {p for traced in passes for met in traced.met.values() for p in met.parameters}
        called = {module for traced in passes for module in traced.called}
        functions = {k: v for traced in reversed(passes) for k, v in traced.uses.functions.items()}
        left_out = not_analysed(self.model, used, called, functions)
        paths = {frozenset(traced.met) for traced in self.singles}
        if len(paths) > 1:
            tried = f"never calls for any of the {len(self.tried)} images tried"
            left_out = {k: v.replace("never calls", tried) for k, v in left_out.items()}
        return Layers(
            tuple(linear),
            {**left_out, **refused},
            int(self.first.scores.shape[1]),
            self.convention,
            self.reaching() if self.convention.alone else self.two,
        )

    def reaching(self) -> Tensor:
        """The first of the tried images that together reach all layers; at least two."""
        kept, met = list(self.tried[:2]), {n for single in self.singles[:2] for n in single.met}
        for image, single in zip(self.tried[2:], self.singles[2:], strict=True):
            if not met >= set(single.met):
                kept.append(image)
                met |= set(single.met)
        return torch.cat(kept)

    def refusal(self, name: str, met: Met) -> str | None:
        """Why a use of a weight is not analysed; None if it is."""
        kind = met.kind
        if not met.known:
            return f"{kind} whose weight is no parameter of the network"
        every = [p.met[name] for p in (self.first, self.other, *self.singles) if name in p.met]
        for again in every:
            if not met.same_weights(again):
                return f"{kind} whose weight or bias depends on the images"
        axis = self.axis(name)
        alone = [p.met[name] for p in self.singles if name in p.met]
        if (self.convention.alone or axis is None) and self.constant(name, alone):
            return f"{kind} whose input has no axis of images: it is the same for all"
        if axis is None:
            return (
                f"{kind} that only some of a batch's images pass through, in rows that cannot be "
                f"told apart; {_ALONE}"
            )
        if self.convention.alone:
            return None
        return self.mixed(name, met, axis)

    def constant(self, name: str, alone: Sequence[Met]) -> bool:
        """Whether a layer gives the same mean for every image, judged by images alone."""
        if len(alone) < 2 or not all(alone[0].same_mean(met, _REPEATED) for met in alone[1:]):
            return False
        first, *others = [p.met[name] for p in self.filled if name in p.met] or alone
        return all(first.same_mean(met, _REPEATED) for met in others)

    @cached_property
    def filled(self) -> list[Pass]:
        """Passes of two images alone, with parameters of zeros filled with small numbers.

        A weight of zeros hides the images from all that follows it. Empty if there is none.
        """
        zeros = [p.data for p in self.model.parameters() if _is_zero(p)]
        drawn = torch.Generator().manual_seed(0)
        try:
            for tensor in zeros:
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=drawn))
            return [self.seen(image) for image in self.tried[:2]] if zeros else []
        finally:
            for tensor in zeros:
                tensor.zero_()

    def mixed(self, name: str, met: Met, axis: int) -> str | None:
        """Why a layer's means for an image differ in another batch; None if they do not."""
        again = self.other.met[name]
        mean, others = met.means.get(axis), again.means.get(axis)
        if mean is None or others is None or not bool(torch.isfinite(mean).all()):
            return None
        rows = min(len(mean), len(others))
        if close(mean, others, _MEANS, rows):
            return None
        where = self.difference(self.two[:1], self.two, _MEANS)
        if "from the batch" in where:
            return f"{met.kind} whose input depends on the batch: {where}"
        return f"{met.kind} whose rows of one image do not lie together"


def _growing_axis(met: Met, again: Met) -> int | None:
    shape, grown = met.output_shape, again.output_shape
    for axis in range(len(shape) - 1 if met.kind == "Linear" else 1):
        rows, rest = divmod(shape[axis], met.images)
        expected = (*shape[:axis], rows * again.images, *shape[axis + 1 :])
        if rest == 0 and rows and grown == expected:
            return axis
    return None


def _uncalled(model: nn.Module, passes: Sequence[Pass]) -> bool:
    """Whether a linear module neither ran nor had its parameters used."""
    called = {module for traced in passes for module in traced.called}
    used = {name for traced in passes for name in traced.uses.functions}
    return any(
        isinstance(module, (*LINEAR, nn.MultiheadAttention))
        and module not in called
        and not any(f"{name}.{p}" in used for p, _ in module.named_parameters())
        for name, module in model.named_modules()
    )


def _is_zero(parameter: Tensor) -> bool:
    known = parameter.is_floating_point() and parameter.element_size() > 1
    if not known or parameter.is_meta or parameter.layout is not torch.strided:
        return False
    return bool(parameter.numel()) and not bool(parameter.any())


def _is_compiled(module: nn.Module) -> bool:
    # Recognised by name, since importing the type loads the whole compiler.
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or type(module).__name__ == "OptimizedModule"


def _two(images: Tensor) -> Tensor:
    """Two different images."""
    if len(images) > 1 and not torch.equal(images[0], images[1]):
        return images[:2]
    return torch.cat([images[:1], other_images(images[:1])])


def other_images(images: Tensor) -> Tensor:
    """Different images that the same network takes: mirrored, and paler if they are floats."""
    mirrored = images.flip(-1)
    return mirrored * 0.5 + 0.25 if images.is_floating_point() else mirrored
