"""A run in which everything that people name is called what no figure, page or log bears well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve()

#: What would run in a page, format a text, call for a formula, or act on a terminal.
NAMES = (
    "<script>window.ran='a script'</script>",
    "<img src=x onerror=\"window.ran='a picture'\">",
    "a|b`c`**d** | e",
    "$x_1$ and $$\\frac{a}{b}$$ \\(c\\)",
    "{{ 7 * 7 }}{% raw %}${x}",
    "[a](http://example.com) <http://example.com>",
    "line\nbreak\tand tab\r",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202eright to left\u2066",
    "@{x} @text $index %d {0} $$",
    "x" * 300,
    "[red]rich[/red] &amp; \"double\" 'single'",
    "</title></script></td><b>bold",
)

TITLE = "<script>window.ran='the title'</script>|`$x_1$` [red]{{ 7 * 7 }}"

#: Of the layers; a module's name has no dot.
LAYERS = (
    "<script>window['ran']='a layer'</script>",
    NAMES[3],
    "\x1b[31m|`{{ 7 * 7 }}`\n",
    "[red]@{x}" + "y" * 300,
)


class Named:
    """Noise (2, 8, 8) of a class for each name, brightest at the class's own place."""

    classes = NAMES

    def __init__(self, images: int = 5 * len(NAMES)) -> None:
        self.targets = [i % len(NAMES) for i in range(images)]
        noise = np.random.default_rng(0).normal(0, 1, (images, 2, 8, 8)).astype(np.float32)
        for i, target in enumerate(self.targets):
            noise[i].reshape(-1)[8 * target : 8 * target + 8] += 6
        self.images = torch.from_numpy(noise)
        self.samples = [(f"{NAMES[t]} {i}", t) for i, t in enumerate(self.targets)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.targets[index]


class NamedNetwork(nn.Module):
    """Two convolutions and two fully connected layers, seeded, under odd names."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            modules = (
                nn.Conv2d(2, 6, 3, padding=1),
                nn.Conv2d(6, 8, 3, stride=2),
                nn.Linear(8 * 3 * 3, 9),
                nn.Linear(9, len(NAMES)),
            )
        for name, module in zip(LAYERS, modules, strict=True):
            self.add_module(name, module)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images of shape (n, 2, 8, 8)."""
        first, second, third, last = (self.get_submodule(name) for name in LAYERS)
        x = torch.relu(second(torch.relu(first(images))))
        return last(torch.relu(third(x.flatten(1))))
