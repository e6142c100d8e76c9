import errno
from dataclasses import replace
from pathlib import Path

import pytest
from runs import tiny_run

from ddp_tasks.images.samples import Sample
from ddp_tasks.networks.models import model_digest
from ddp_tasks.prepared_run import prepare
from ddp_tasks.store.identity import MadeOf
from ddp_tasks.workers.agreement import Agreement, Versions, Witness, versions
from ddp_tasks.workers.stored_run import StoredRun


@pytest.fixture
def agreement(tmp_path):
    run = tiny_run()
    prepared = prepare(run)
    made_of = MadeOf(model_digest(prepared.model), prepared.images.digest())
    witness = Witness(tmp_path / ".agreement", "these words")
    witness.path.write_text("these words")
    stored = StoredRun(Path(), run.model_dump_json(), made_of)
    return Agreement(str(tmp_path), versions(), witness, stored, Sample.of(prepared.images))


def test_a_worker_like_the_flow_differs_in_nothing(agreement, tmp_path):
    assert agreement.differences() == []
    assert [file.name for file in tmp_path.iterdir()] == [".agreement"]


def test_versions_and_both_values_are_named(agreement):
    theirs = {**versions().must_agree, "torch": "1.0"}
    other = replace(agreement, token="one", versions=Versions(theirs, {}))
    here = versions().must_agree["torch"]
    assert other.differences() == [f"torch is {here} there and 1.0 here"]


def test_the_build_and_pythons_last_number_may_differ():
    one = versions()
    may = {**one.may_differ, "the build of torch": "cu130", "Python's release": "3.11.0"}
    other = Versions(one.must_agree, may)
    assert other.differing(one) == []
    assert len(other.differing_harmlessly(one)) == 2


def test_the_source_of_this_package_is_compared():
    assert "(source " in versions().must_agree["ddp-flows"]


def test_another_folder_is_named(agreement, tmp_path):
    agreement.witness.path.write_text("other words")
    assert agreement.differences() == [f"the output folder {tmp_path} is another one there"]


def test_a_folder_that_is_not_there_is_named(agreement, tmp_path):
    agreement.witness.path.unlink()
    (said,) = agreement.differences()
    assert said == f"the output folder {tmp_path} is not the same there (No such file or directory)"


def test_a_hiccup_of_the_file_system_is_no_difference(agreement, monkeypatch):
    def stale(*_args, **_kwargs):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as to:
        to.setattr(Path, "read_text", stale)
        with pytest.raises(OSError, match="Stale"):
            agreement.differences()
    assert agreement.differences() == []


def test_other_weights_are_named(agreement):
    made_of = MadeOf("another", agreement.stored.made_of.images_digest)
    other = replace(agreement, token="other", stored=replace(agreement.stored, made_of=made_of))
    (said,) = other.differences()
    assert "opens another model than the flow: their digests differ" in said


def test_other_images_are_named(agreement):
    sample = replace(agreement.sample, ids=("cat.png", *agreement.sample.ids[1:]))
    other = replace(agreement, token="a third", sample=sample)
    assert other.differences() == ["an image is '00' there and 'cat.png' here"]
