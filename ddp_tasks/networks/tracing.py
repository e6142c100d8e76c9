"""Finding the linear layers of a network, and how it takes its images, by running it.

Two images and their mirror images pass together and alone, in both memory layouts: what a run
would later do in any of its batches must give the same for an image.
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

#: Of the same images in the same form: what differs more is no rounding.
_REPEATED = 1e-5
#: Of a layer's mean over images and positions, in which terms may cancel.
_REPEATED_MEAN = 1e-3
#: Of a layer's means in two batches: sums may run in another order, not more.
_MEANS = 1e-2
#: Of the scores in another batch or memory layout, by the type of the weights.
_SCORES = {torch.float64: 1e-6, torch.bfloat16: 5e-2, torch.float16: 2e-2}

#: Dynamic quantisation takes the range of its steps from the whole batch.
_QUANTISED = 0.1

_ALONE = "shards.batch_size: 1 lets each image pass by itself"


class UnsteadyNetworkError(ValueError):
    """A network whose answer for an image is not one answer."""


def trace_layers(
    model: nn.Module,
    images: Tensor,
    *,
    output: str | None = None,
    alone: bool = False,
    more: Callable[[], Iterable[Tensor]] = tuple,
) -> Layers:
    """Run images through a network and note its linear layers as their weights are used.

    A weight used a second time in one forward pass is a layer of its own, NAME@2. What grows
    with the number of images is the image axis (sequences may come first, windows may lie below
    one another), and what changes with the images is no weight. Lazy modules get their weights.

    Parameters
    ----------
    model
        in evaluation mode.
    images
        shape (n, ...); two different ones are enough, of one another one is made.
    output
        as of ``class_scores``: the part of the network's output that holds the scores.
    alone
        whether a run shows the network one image at a time. Only then may the path of an image
        depend on the image.
    more
        gives further images, shape (1, ...) each, to find layers that the first do not reach.

    Raises
    ------
    UnsteadyNetworkError
        If the network answers differently when asked twice, or for an image beside others.
    ValueError
        If it does not give one row of class scores for each image, or is compiled: by torch.jit
        as a whole, or by torch.compile anywhere.
    """
    if isinstance(model, torch.jit.ScriptModule) or any(map(_is_compiled, model.modules())):
        raise ValueError("the network is compiled, which hides its layers; give it uncompiled")
    # Not inference mode: what lazy modules make here is used where gradients are.
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
        """of the first images in a batch of another size."""
        self.singles: list[Pass] = []
        """of one image each."""
        self.tried: list[Tensor] = []
        """those images."""

    def seen(self, images: Tensor, **changes: Any) -> Pass:
        """One pass of images, of which a copy is given."""
        found = Pass(self.model, replace(self.convention, **changes))
        found.run(images)
        return found

    def tried_with(self, images: Tensor, **changes: Any) -> Pass | Exception:
        """As ``seen``, or what the network raises."""
        try:
            return self.seen(images, **changes)
        except Exception as error:  # noqa: BLE001 - the person's own code raises whatever it does
            return error
        except SystemExit as error:
            return RuntimeError(error_shown(error))

    def begin(self) -> None:
        """The first pass: of two images, or of one by itself."""
        start = self.two[:1] if self.convention.alone else self.two
        found = self.tried_with(start)
        if isinstance(found, Exception) and self.convention.dtype not in (None, self.two.dtype):
            # A network may change the type of its inputs itself.
            other = self.tried_with(start, dtype=self.two.dtype)
            if isinstance(other, Pass):
                found, self.convention = other, replace(self.convention, dtype=self.two.dtype)
        if isinstance(found, Exception) and self.convention.alone:
            twice = self.tried_with(start, fewest=2)
            if isinstance(twice, Pass):
                found, self.convention = twice, replace(self.convention, fewest=2)
        elif isinstance(found, Exception) and isinstance(self.tried_with(self.two[:1]), Pass):
            raise ValueError(f"it takes one image at a time ({error_shown(found)}); {_ALONE}")
        if isinstance(found, Exception):
            raise found
        self.first = found
        self.convention = replace(
            self.convention, copies=found.overwritten, sigmoid=found.ends_in_sigmoid
        )

    def choose_layout(self) -> None:
        """Channels last where the network takes them and answers alike; ask twice otherwise."""
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
        """A pass with channels last in memory; the network's weights are left contiguous."""
        convention = replace(self.convention, channels_last=True)
        try:
            convention.laid_out(self.model)
            return self.tried_with(images, channels_last=True)
        finally:
            self.convention.laid_out(self.model)

    def show_alone(self) -> None:
        """Show each of the two images alone, and hold it against the first pass."""
        if self.convention.alone:
            self.other = (
                self.seen(self.two[:1], fewest=4) if self.convention.fewest > 1 else self.first
            )
            self.take_single(self.two[:1], self.first)
            self.take_single(self.two[1:])
            return
        one = self.tried_with(self.two[:1])
        if isinstance(one, Pass) and self.agree(self.first, one):
            self.other = one
            self.take_single(self.two[:1], one)
        else:
            four = self.tried_with(torch.cat([self.two, other_images(self.two)]))
            if isinstance(four, Exception) or not self.agree(self.first, four):
                self.refuse_batches(one)
            assert isinstance(four, Pass)
            # One image by itself is a case of its own to such a network: its axis is gone.
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

    def take_single(self, image: Tensor, found: Pass | None = None) -> None:
        """Note a pass of one image by itself."""
        self.tried.append(image)
        self.singles.append(found or self.seen(image))

    def show_more(self, more: Callable[[], Iterable[Tensor]]) -> None:
        """Show further images alone where some layer was not reached by all so far."""
        passes = [self.first, self.other, *self.singles]
        paths_differ = any(set(p.met) != set(self.first.met) for p in self.singles)
        if paths_differ or _uncalled(self.model, passes):
            for image in more():
                self.take_single(image)
        if self.convention.alone:
            return
        paths = [frozenset(one.met) for one in self.singles]
        for at, path in enumerate(paths):
            if path != paths[0]:
                self.check_together(0, at)
                return

    def check_together(self, one: int, other: int, together: Pass | None = None) -> None:
        """Refuse a network that gives two images other scores together than apart."""
        images = torch.cat([self.tried[one], self.tried[other]])
        found = together or self.tried_with(images)
        apart = torch.cat([self.singles[i].scores[:1] for i in (one, other)])
        if isinstance(found, Pass) and close(apart, found.scores, self.tolerance):
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
        """Whether both give the same scores for the images that both begin with."""
        rows = min(len(one.scores), len(other.scores))
        return close(one.scores, other.scores, self.tolerance, rows)

    def difference(self, one: Tensor, other: Tensor, tolerance: float) -> str:
        """Where the outputs for two batches that begin alike part."""
        runs = [lambda x=x: self.model(self.convention.given(x.clone())) for x in (one, other)]
        return first_difference(self.model, runs[0], runs[1], tolerance)

    def axis(self, name: str) -> int | None:
        """The axis of a layer's output that grows with the number of images."""
        met, again = self.first.met.get(name), self.other.met.get(name)
        if self.convention.alone and self.convention.fewest == 1:
            return 0
        if met is None or again is None:
            # Met by one image only, with as many others as the network needs.
            return 0 if self.convention.alone else None
        return _growing_axis(met, again)

    def in_order(self) -> list[str]:
        """The names of all layers met, in the order of the passes that met them."""
        order: list[str] = []
        for found in (self.first, *self.singles):
            place = 0
            for name in found.met:
                if name not in order:
                    order.insert(place, name)
                place = order.index(name) + 1
        return order

    def layers(self) -> Layers:
        """What the passes found."""
        passes = [self.first, self.other, *self.singles]
        found: list[LinearLayer] = []
        refused: dict[str, str] = {}
        not_plain = {base for one in passes for base in one.not_plain}
        for name in self.in_order():
            met = next(p.met[name] for p in passes if name in p.met)
            if (reason := self.refusal(name, met)) is not None:
                refused[name] = reason
            else:
                plain = name.removesuffix(f"@{met.number}") not in not_plain
                found.append(met.layer(name, self.axis(name) or 0, plain))
        used = {p for one in passes for met in one.met.values() for p in met.parameters}
        called = {module for one in passes for module in one.called}
        functions = {k: v for one in reversed(passes) for k, v in one.uses.functions.items()}
        left_out = not_analysed(self.model, used, called, functions)
        paths = {frozenset(one.met) for one in self.singles}
        if len(paths) > 1:
            tried = f"never calls for any of the {len(self.tried)} images tried"
            left_out = {k: v.replace("never calls", tried) for k, v in left_out.items()}
        return Layers(
            tuple(found),
            {**left_out, **refused},
            int(self.first.scores.shape[1]),
            self.convention,
            self.reaching() if self.convention.alone else self.two,
        )

    def reaching(self) -> Tensor:
        """The first of the images tried that together reach all layers; at least two."""
        kept, met = list(self.tried[:2]), {n for one in self.singles[:2] for n in one.met}
        for image, one in zip(self.tried[2:], self.singles[2:], strict=True):
            if not met >= set(one.met):
                kept.append(image)
                met |= set(one.met)
        return torch.cat(kept)

    def refusal(self, name: str, met: Met) -> str | None:
        """Why a use of a weight is not analysed, if it is not."""
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
        """Whether a layer answers alike whatever the image, as met by some images alone."""
        if len(alone) < 2 or not all(alone[0].same_mean(met, _REPEATED) for met in alone[1:]):
            return False
        first, *others = [p.met[name] for p in self.filled if name in p.met] or alone
        return all(first.same_mean(met, _REPEATED) for met in others)

    @cached_property
    def filled(self) -> list[Pass]:
        """Passes of two images alone, parameters of zeros filled with small numbers for them.

        A weight of zeros hides the images from all that follows it. Empty where there is none.
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
        """Why a layer's means of an image are not the same in another batch, if they are not."""
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
    """Whether a linear module neither ran nor had its weight used."""
    called = {module for one in passes for module in one.called}
    used = {name for one in passes for name in one.uses.functions}
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
    # Known by its name: importing its type loads the whole compiler.
    in_place = getattr(module, "_compiled_call_impl", None) is not None
    return in_place or type(module).__name__ == "OptimizedModule"


def _two(images: Tensor) -> Tensor:
    """Two different images."""
    if len(images) > 1 and not torch.equal(images[0], images[1]):
        return images[:2]
    return torch.cat([images[:1], other_images(images[:1])])


def other_images(images: Tensor) -> Tensor:
    """Different images that a network for the first ones takes: paler, and mirrored."""
    mirrored = images.flip(-1)
    return mirrored * 0.5 + 0.25 if images.is_floating_point() else mirrored
