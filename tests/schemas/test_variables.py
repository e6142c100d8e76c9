import numpy as np
import pytest
import xarray as xr

from schemas.variables import DIMENSIONS, GROUPS, SchemaError, declared, describe, validate

_DTYPES = {"float": "f4", "integer": "i8", "boolean": "?", "string": "O"}


def _dataset(group):
    """A dataset that matches its declaration, of two along every dimension."""
    return xr.Dataset(
        {
            name: (variable.dims, _values(name, variable))
            for name, variable in declared(group).variables.items()
        }
    )


def _values(name, variable):
    values = np.zeros([2] * len(variable.dims), dtype=_DTYPES[variable.kind])
    if variable.kind == "string":
        values[...] = "text"
    return values


GROUP_NAMES = [pattern.format(layer="conv1", model="ResNet-20") for pattern in GROUPS]


@pytest.mark.parametrize("group", GROUP_NAMES)
def test_what_is_declared_is_accepted(group):
    dataset = _dataset(group)
    assert validate(dataset, group) is dataset
    assert set(map(str, dataset.dims)) <= set(DIMENSIONS)


@pytest.mark.parametrize("group", GROUP_NAMES)
def test_each_missing_variable_is_refused_unless_it_is_optional(group):
    for name, variable in declared(group).variables.items():
        lacking = _dataset(group).drop_vars(name)
        if variable.optional:
            validate(lacking, group)
        else:
            with pytest.raises(SchemaError, match=f"{group}: {name} is missing"):
                validate(lacking, group)


@pytest.mark.parametrize("group", GROUP_NAMES)
def test_undeclared_variables_are_refused(group):
    with pytest.raises(SchemaError, match=f"{group}: colour, size not declared"):
        validate(_dataset(group).assign(size=3, colour="blue"), group)


@pytest.mark.parametrize("group", GROUP_NAMES)
def test_each_variable_of_other_dims_is_refused(group):
    for name, variable in declared(group).variables.items():
        dataset = _dataset(group).drop_vars(name)
        dims = (*variable.dims, "colour")
        dataset[name] = (dims, np.zeros([2] * len(dims), dtype=_DTYPES[variable.kind]))
        with pytest.raises(SchemaError, match=f"{name} has dims .*'colour'.* declared"):
            validate(dataset, group)


@pytest.mark.parametrize("group", GROUP_NAMES)
def test_each_variable_of_another_kind_is_refused(group):
    for name, variable in declared(group).variables.items():
        for kind, dtype in _DTYPES.items():
            if kind == variable.kind:
                continue
            dataset = _dataset(group).drop_vars(name)
            dataset[name] = (variable.dims, np.zeros([2] * len(variable.dims), dtype=dtype))
            with pytest.raises(SchemaError, match=f"{name} has dtype .*declared {variable.kind}"):
                validate(dataset, group)


def test_transposed_dims_are_refused():
    dataset = _dataset("decomposition/conv1").transpose("singular_vector", ...)
    with pytest.raises(SchemaError, match=r"U has dims \('singular_vector', 'channel'\)"):
        validate(dataset, "decomposition/conv1")


@pytest.mark.parametrize("dtype", ["O", "U4", np.dtypes.StringDType()])
def test_strings_of_every_make_are_strings(dtype):
    dataset = _dataset("exemplars").drop_vars("image")
    dims = ("direction", "layer", "singular_vector", "place")
    dataset["image"] = (dims, np.full((2, 2, 2, 2), "0001", dtype=dtype))
    validate(dataset, "exemplars")


def test_groups_of_layers_take_any_layers_name():
    for layer in ("conv1", "features.0", "shared@2", "layer1/0"):
        assert declared(f"hierarchies/{layer}") is GROUPS["hierarchies/{layer}"]
    for group in ("singals", "decomposition", "signals/conv1", "decomposition/"):
        with pytest.raises(SchemaError, match="is not declared; declared: layers, "):
            declared(group)


def test_descriptions_are_put_on_a_copy():
    dataset = _dataset("significance")
    described = describe(dataset, "significance")
    assert described["threshold"].attrs["source"] == "5"
    assert described["threshold"].attrs["units"] == "layer output before bias"
    assert described["quantile"].attrs["long_name"] == "quantile level, ascending"
    assert "source" not in described["quantile"].attrs
    assert described.attrs["meaning"] == GROUPS["significance"].meaning
    assert dataset.attrs == {}
    assert dataset["threshold"].attrs == {}
    xr.testing.assert_equal(dataset, described)


def test_every_dimension_and_variable_says_what_it_means():
    for group in GROUPS.values():
        assert group.meaning
        for variable in group.variables.values():
            assert variable.meaning
            assert set(variable.dims) <= set(DIMENSIONS)


def test_text_is_stored_as_text_in_its_order_and_without_entries(tmp_path):
    # Transposed, so that the order in memory is another than that of the indices.
    refusal = np.array([["a", "b"], ["c", "d"], ["e", "f"]], dtype=object).T
    dataset = xr.Dataset(
        {"strongest": (("direction", "equivalence_class", "place"), np.zeros((2, 0, 4), object))}
    )
    described = describe(dataset, "hierarchies/conv1")
    assert described["strongest"].dtype == np.dtypes.StringDType()
    dims = ("direction", "equivalence_class", "target_class")
    dataset = xr.Dataset({"exemplar": (dims, refusal[None])})
    described = describe(dataset, "hierarchies/conv1")
    described.to_zarr(tmp_path / "text.zarr", zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "text.zarr", consolidated=False) as stored:
        assert stored["exemplar"].to_numpy().tolist() == [refusal.tolist()]
