"""The plain script that the main job is held against does the same science."""

from runs import tiny_run

from benchmarks.main_job import nodes, parts
from benchmarks.plain_job import significant_vectors
from ddp_tasks.prepared_run import prepare
from flows.texts.run import closing_lines


def test_the_plain_script_finds_what_the_run_finds(finished):
    prepared = prepare(tiny_run())
    numbers = significant_vectors(tiny_run(), prepared.model, prepared.images)
    assert numbers == {layer.layer: layer.nodes for layer in finished.summary.layers}
    assert sum(numbers.values()) > 0


def test_what_a_run_prints_is_read(finished):
    printed = closing_lines(finished, finished.seconds, 12.5)
    assert nodes(printed) == {layer.layer: layer.nodes for layer in finished.summary.layers}
    assert parts(printed).keys() == finished.seconds.keys()
