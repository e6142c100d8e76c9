"""A stage is tried again where its error may pass by itself, and nowhere else."""

import errno
import os

import pytest
from prefect import flow
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from ddp_tasks.files.passing_errors import RETRIES, SECONDS, passes
from ddp_tasks.stages import artifacts
from ddp_tasks.stages.stage import stage
from schemas.parameters import RunError

pytestmark = pytest.mark.usefixtures("prefect_server")


def refused(number):
    return OSError(number, os.strerror(number), "/data/store.zarr")


def attempts(failures):
    """Carry out a stage that fails so often; its attempts, and the id of its flow's run."""
    tried = []

    @stage("write")
    def write():
        tried.append(1)
        if len(tried) <= len(failures):
            raise failures[len(tried) - 1]

    write._task.retry_delay_seconds = [0] * RETRIES

    @flow
    def writes():
        from prefect import runtime

        tried_in.append(runtime.flow_run.id)
        write()
        artifacts.await_shown()

    tried_in = []
    try:
        writes()
    except RunError as error:
        return len(tried), tried_in[0], str(error)
    return len(tried), tried_in[0], ""


def failures_of(client, run):
    """Artifacts of failures, one for each time that one was told of."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    return [one for one in client.read_artifacts(artifact_filter=of_run) if one.key == "failure"]


def test_a_hiccup_of_a_file_system_is_tried_again(client):
    count, run, said = attempts([refused(errno.ESTALE), refused(errno.EIO)])
    assert (count, said) == (3, "")
    assert failures_of(client, run) == []


def test_what_does_not_pass_fails_after_the_last_attempt(client):
    count, run, said = attempts([refused(errno.EIO)] * 9)
    assert count == 1 + RETRIES
    assert said == "write: Input/output error (/data/store.zarr)"
    (shown,) = failures_of(client, run)
    assert "Input/output error" in shown.data


@pytest.mark.parametrize(
    "error",
    [
        refused(errno.ENOSPC),
        refused(errno.EACCES),
        refused(errno.ENOENT),
        RunError("images: 3 are unreadable"),
    ],
    ids=str,
)
def test_what_a_person_must_mend_is_not_tried_again(error):
    count, _, said = attempts([error])
    assert count == 1
    assert said


def test_delays_grow():
    assert len(SECONDS) == RETRIES
    assert list(SECONDS) == sorted(set(SECONDS))
    assert not passes(None)
    assert not passes(OSError("of no number"))
