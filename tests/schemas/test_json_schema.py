"""The JSON Schema of run files: true to the parameters, named by every file of the package."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from schemas import json_schema
from schemas.json_schema import MODELINE, SECTIONS, schema_path, schema_text
from schemas.run_files import presets

FOLDER = Path(json_schema.__file__).parent
FILES = [
    *(("run", FOLDER / f"presets/{name}.yaml") for name in presets()),
    *(("zoo", FOLDER / f"zoos/{name}.yaml") for name in presets("zoos")),
]


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_file_is_what_the_parameters_say(kind):
    written = schema_path(kind).read_text("utf-8")
    assert written == schema_text(kind), f"python -m schemas.json_schema writes {kind}.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(written))


@pytest.mark.parametrize(("kind", "file"), FILES, ids=lambda one: getattr(one, "stem", one))
def test_every_file_names_its_schema_and_fits_it(kind, file):
    first, description, *_ = file.read_text().splitlines()
    assert first.startswith(MODELINE)
    assert (file.parent / first.removeprefix(MODELINE)).resolve() == schema_path(kind).resolve()
    assert presets(file.parent.name)[file.stem] == description.lstrip("# ")
    validator = jsonschema.Draft202012Validator(json.loads(schema_text(kind)))
    content = yaml.safe_load(file.read_text())
    assert list(validator.iter_errors(content)) == []
    assert list(validator.iter_errors({**content, "modle": {}}))


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"significance": {"superclasses": "groups.yaml"}}, True),
        ({"significance": {"superclasses": {"round": ["0"]}}}, True),
        ({"significance": {"quantile": 2}}, False),
        ({"layers": ["conv*"]}, True),
        ({"layers": 3}, False),
        ({"images": {"factory": "no factory"}}, False),
    ],
)
def test_what_a_run_takes_fits_and_what_it_refuses_does_not(change, fits):
    content = {"model": {"factory": "a:b"}, "images": {"factory": "c:d"}, **change}
    validator = jsonschema.Draft202012Validator(json.loads(schema_text("run")))
    assert validator.is_valid(content) == fits
