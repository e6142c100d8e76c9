"""A Prefect server that refuses what a run shows, or is away: one warning, and the same numbers."""

import io
import logging
import time

import pytest
import run_stages
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from refusing_proxy import RefusingProxy
from runs import tiny_run

from ddp_tasks.stages import artifacts, decomposition, signals
from ddp_tasks.stages.stage import stage
from ddp_tasks.store import shards
from flows import prefect_server as command_server
from schemas.parameters import RunError


@pytest.fixture
def proxy(prefect_server, monkeypatch):
    """In front of the server, and in its place; nothing was warned of before."""
    monkeypatch.setattr(artifacts, "_SENDER", artifacts._Sender())
    opened = RefusingProxy(PREFECT_API_URL.value())
    with temporary_settings({PREFECT_API_URL: opened.url}):
        yield opened
    opened.close()


@pytest.fixture
def warnings():
    """What a run warns of."""
    lines = []

    class Keep(logging.Handler):
        def emit(self, record):
            if record.levelno >= logging.WARNING and record.name.startswith("prefect"):
                lines.append(record.getMessage())

    loggers, handler = [logging.getLogger(f"prefect.{n}_runs") for n in ("task", "flow")], Keep()
    for logger in loggers:
        logger.addHandler(handler)
    yield lines
    for logger in loggers:
        logger.removeHandler(handler)


@flow
def carry_out(run, path, address, between):
    decomposition.decompose_layers(run, path, address)
    between()
    signals.fill_cube(run, path, address)
    for part in ("findings", "places"):
        artifacts.show(lambda part=part: create_markdown_artifact(part, key=part))
    artifacts.await_shown()
    return command_server.left(path)


@pytest.fixture
def assert_same_cube(address, undisturbed, tmp_path):
    """Carries out a run, which must end well and with the cube of an undisturbed one."""

    def carried_out(between=lambda: None):
        path = tmp_path / "store.zarr"
        with command_server.served() as server, server.used():
            run = tiny_run(), path, address, between
            assert command_server.carry_out(carry_out, *run) == path
        assert shards.missing_shards(path) == []
        assert run_stages.cube(path).tobytes() == run_stages.cube(undisturbed).tobytes()

    return carried_out


@flow
def refuses():
    stage("of the test")(no_room)()


def no_room():
    raise OSError(28, "No space left on device", "/the/place")


@pytest.fixture
def terminal():
    """What Prefect shows there, which pytest would show at its own end."""
    stream = io.StringIO()
    handler = PrefectConsoleHandler(stream=stream)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_a_refusal_within_a_flow_is_left_to_the_last_line(prefect_server, terminal):
    with (
        command_server.served() as server,
        server.used(),
        pytest.raises(RunError, match=r"of the test: No space left on device \(/the/place\)$"),
    ):
        command_server.carry_out(refuses)
    said = terminal.getvalue()
    assert "Beginning flow run" in said
    assert "No space left" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("status", [500, 403])
def test_refused_artifacts_progress_and_logs_are_warned_of_once(
    proxy, assert_same_cube, warnings, capfd, status
):
    proxy.refuse("artifacts|logs", status)
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
        assert_same_cube()
    assert proxy.refusals >= 3
    told = [line for line in warnings if "does not accept" in line]
    assert len(told) == 1
    assert str(status) in told[0]
    said = capfd.readouterr().err
    assert "Error logging to API" not in said
    assert "Traceback" not in said
    assert said.count("does not accept all of the log") == 1


def test_a_server_that_is_away_for_a_while_costs_no_number(proxy, assert_same_cube, capfd):
    def leave():
        proxy.leave(5)
        time.sleep(0.1)

    assert_same_cube(leave)
    assert proxy.refusals >= 1
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "Error logging to API" not in said
