"""The figures that ``ddp figure`` draws, by name, and what each shows."""

from __future__ import annotations

#: Figures of the paper, each a page of its own.
OF_PAPER = {
    "6": "hypergraph and hierarchy of a convolution, with images",
    "7": "the same of another layer",
    "9": "part of a deep layer's hierarchy",
    "10": "a vector that two images share",
}

#: Figures of a layer, as its section of the report has them, and what they show.
OF_LAYER = {
    "spectrum": "singular values",
    "distribution": "signals of all images, and thresholds",
    "hypergraph": "classes and the vectors that they share",
    "hierarchy": "equivalence classes in their order, with exemplars",
    "unfolded": "the whole hierarchy, where it is wide",
    "overview": "all incidences, where there are many",
    "significance": "shares of each class's images",
    "intervals": "shares with intervals that hold together",
    "discrimination": "vectors by how well they tell classes apart",
    "highest-level": "the highest quantile at which an incidence holds",
    "stability": "incidences that resamples leave undecided",
    "jaccard": "how alike classes are",
    "family-nodes": "nodes over quantile and percentage",
    "family-classes": "equivalence classes over the same",
    "family-depth": "depth of the hierarchy over the same",
}

#: Figures of a whole run.
OF_RUN = {"controls": "every measure beside other bases", "spectra": "spectra of all layers"}
