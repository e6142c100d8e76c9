"""Lists of tiny models for the capacity metric."""

from runs import HERE

from schemas.run_files import check
from schemas.zoo import ZooParameters


def tiny_zoo(models, **changes):
    content = {"name": "tiny", "input_size": [2, 8, 8], "models": models, "cluster": "local"}
    return check(ZooParameters, {**content, **changes}, "tiny zoo")


def model(name, accuracy, factory="TinyNetwork", **more):
    return {
        "name": name,
        "family": "tiny",
        "accuracy": accuracy,
        "factory": f"{HERE}:{factory}",
        **more,
    }
