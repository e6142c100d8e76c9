"""Scores of how likely a network's prediction is wrong, and how well each tells wrong from right.

Every score is fitted on the images that choose and judged on the others: the margins of layer-wise
Gaussian scores (``gaussian_scores``), and the probability of the class that the network chose.
Several of them are combined by a logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddp_tasks.significance.auroc import Aurocs, aurocs

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Shaped

#: Names of the scores beside those of single layers.
SOFTMAX, LAST, LAYERS, ALL = (
    "max-softmax",
    "last layer and max-softmax",
    "all layers",
    "all layers and max-softmax",
)
#: What stands before a layer's name in the name of its own score.
ALONE = "layer "

#: Probabilities nearer to 0 or 1 count as this near: float32 does not hold the others.
_NEAREST = 1e-7
#: Wrong images below which an interval of the normal approximation is not to be trusted.
FEW = 30


@dataclass(frozen=True)
class MisclassificationScores:
    """Scores of all images, the greater the surer that the prediction is wrong."""

    names: tuple[str, ...]
    """``SOFTMAX``, ``LAST``, ``LAYERS``, ``ALL``, then ``ALONE`` and each layer."""
    scores: Float64[npt.NDArray[np.float64], "score n"]
    wrong: Shaped[npt.NDArray[np.bool_], " n"]
    choosing: Shaped[npt.NDArray[np.bool_], " n"]
    weights: Float64[npt.NDArray[np.float64], " feature"]
    """of the combination ``ALL``, by layer and at the end of max-softmax: change of the log-odds
    of an error by one standard deviation of the margin."""

    def judged(self) -> Aurocs:
        """Areas under the ROC curves of all scores, on the images that chose nothing."""
        return aurocs(self.scores[:, ~self.choosing], self.wrong[~self.choosing])

    def best_layer(self) -> int:
        """Position among ``names`` of the layer that is best alone on the images that choose."""
        own = [i for i, name in enumerate(self.names) if name.startswith(ALONE)]
        found = aurocs(self.scores[own][:, self.choosing], self.wrong[self.choosing])
        return own[int(found.value.argmax())]


def misclassification_scores(
    margins: Float64[npt.NDArray[np.float64], "n layer"],
    layers: tuple[str, ...],
    confidence: Float[npt.NDArray[np.floating], " n"],
    wrong: Shaped[npt.NDArray[np.bool_], " n"],
    choosing: Shaped[npt.NDArray[np.bool_], " n"],
) -> MisclassificationScores:
    """All scores of a network's predictions.

    Parameters
    ----------
    margins
        shape (n, layer); as ``gaussian_scores.split_margins`` gives them for each layer.
    layers
        names of the layers, in forward order. The last stands for the class scores: where it gives
        them, its signals are the class scores less the bias, turned.
    confidence
        shape (n,); probability of the class that the network chose.
    wrong
        shape (n,); whether the prediction is wrong.
    choosing
        shape (n,); images that the combinations are fitted on. Their margins come from Gaussians
        that they had no part in, so a combination of them holds for other images too.

    Raises
    ------
    ValueError
        If among the images of either part none is wrong, or none is right.
    """
    for part, name in ((choosing, "choose"), (~choosing, "judge")):
        if not 0 < int(wrong[part].sum()) < int(part.sum()):
            raise ValueError(
                f"of the {int(part.sum()):,} images that {name}, {int(wrong[part].sum()):,} are "
                "misclassified; a score needs both kinds"
            )
    p = np.clip(confidence.astype(np.float64), _NEAREST, 1 - _NEAREST)
    sure = np.log(p / (1 - p))
    features = np.column_stack([margins, sure])
    combined = {
        LAST: _combined(features[:, -2:], wrong, choosing),
        LAYERS: _combined(margins, wrong, choosing),
        ALL: _combined(features, wrong, choosing),
    }
    rows = [-confidence.astype(np.float64), *(score for score, _ in combined.values())]
    return MisclassificationScores(
        (SOFTMAX, *combined, *(f"{ALONE}{layer}" for layer in layers)),
        np.vstack([*rows, -margins.T]),
        wrong,
        choosing,
        combined[ALL][1],
    )


def _combined(
    features: Float64[npt.NDArray[np.float64], "n feature"],
    wrong: Shaped[npt.NDArray[np.bool_], " n"],
    choosing: Shaped[npt.NDArray[np.bool_], " n"],
) -> tuple[Float64[npt.NDArray[np.float64], " n"], Float64[npt.NDArray[np.float64], " feature"]]:
    """Log-odds of an error by logistic regression, and the weights of the standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features[choosing], wrong[choosing])
    return model.decision_function(features), model[-1].coef_[0]
