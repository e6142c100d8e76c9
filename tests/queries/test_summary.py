import numpy as np
from findings import findings, nested, nothing

from ddp_tasks.hypergraphs.semantic_hierarchy import number_of_levels


def test_a_layers_sizes_are_those_of_its_stored_hierarchy():
    # Sets of classes: all; 0 to 2, of two vectors; 1 to 3; 1 alone. The longest chain has three.
    made = findings(nested())
    (layer,) = made.summary.layers
    assert (layer.nodes, layer.hyperedges, layer.equivalence_classes, layer.depth) == (5, 4, 4, 3)
    hierarchy = made.hierarchies["layer0"]
    assert layer.equivalence_classes == hierarchy.sizes["equivalence_class"]
    assert layer.depth == number_of_levels(hierarchy["level"].to_numpy())


def test_the_most_discriminating_vectors_are_ranked_over_layers():
    strong = np.concatenate([nested(), nested()[:, ::-1]])
    vectors = findings(strong).summary.discriminating
    eta_squared = [vector.eta_squared for vector in vectors]
    assert eta_squared == sorted(eta_squared, reverse=True)
    # v0 is significant for all images, which tells no class from another; v1 to v4 are for all
    # images of some classes and none of the others. Equal ones keep their order.
    expected = [*(("layer0", i) for i in (1, 2, 3, 4)), ("layer1", 1)]
    assert [(one.layer, one.singular_vector.vector) for one in vectors] == expected


def test_a_layer_in_which_nothing_is_significant_has_sizes_of_zero():
    (layer,) = findings(nothing()).summary.layers
    assert (layer.nodes, layer.hyperedges, layer.equivalence_classes, layer.depth) == (0, 0, 0, 0)
    assert layer.eta_squared == 0
