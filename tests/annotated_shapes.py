"""Shapes in the annotations of the mathematics, checked at every call while tests run.

Imported before the modules that it checks. The product itself never loads jaxtyping, which would
cost ``ddp table`` 13 ms: annotations stay text, and their names are known to type checkers alone.
So the tests make them known to all modules.
"""

import builtins

import jaxtyping

ROOMS = (
    "ddp_tasks.weights",
    "ddp_tasks.significance",
    "ddp_tasks.signals",
    "ddp_tasks.hypergraphs",
    "ddp_tasks.controls",
)

for _name in ("Bool", "Float", "Float64", "Inexact", "Int64", "Shaped"):
    setattr(builtins, _name, getattr(jaxtyping, _name))

#: As for type checkers, an int will do where a float is asked for.
_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

jaxtyping.install_import_hook(ROOMS, _CHECKER)
