"""What a run asks for and what a store holds, each declared once."""

from schemas.parameters import RunError, RunParameters
from schemas.run_files import load_run, presets
from schemas.variables import FORMAT_VERSION, SchemaError, validate

__all__ = [
    "FORMAT_VERSION",
    "RunError",
    "RunParameters",
    "SchemaError",
    "load_run",
    "presets",
    "validate",
]
