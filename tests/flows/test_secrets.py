"""Passwords, keys and certificates stay where they are used."""

import httpx
import pytest
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings
from runs import tiny_run

from flows import prefect_server as command_server
from flows.pipeline import run_pipeline

KEY = "pnu_a-key-that-stands-nowhere-else"


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Prefect with a home of its own, the key of a server elsewhere, and no server."""
    home = tmp_path / "prefect"
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.setenv("PREFECT_API_KEY", KEY)
    with temporary_settings({PREFECT_API_URL: None, PREFECT_API_KEY: KEY}):
        yield home


def holders(folder, secrets):
    """Files below a folder in which a secret stands."""
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and any(secret.encode() in file.read_bytes() for secret in secrets)
    ]


def test_only_the_run_that_started_a_temporary_server_may_use_it(alone):
    server = command_server.TemporaryServer()
    try:
        flows = f"{server.await_url()}/flows/filter"
        wrong = {"Authorization": f"Bearer {KEY}"}
        assert httpx.post(flows).status_code == 401
        assert httpx.post(flows, headers=wrong).status_code == 401
        assert httpx.post(flows, auth=("ddp", "guessed")).status_code == 401
        assert httpx.post(flows, auth=tuple(server.password.split(":"))).status_code == 200
    finally:
        server.end()


def test_no_secret_is_logged_or_stored(alone, tmp_path, capfd, caplog):
    out = tmp_path / "out"
    with command_server.served() as server, server.used():
        password = server._temporary.password
        command_server.carry_out(
            run_pipeline, tiny_run().model_copy(update={"cluster": "local"}), out
        )
    said = capfd.readouterr()
    secrets = [KEY, password, password.partition(":")[2], "PRIVATE KEY"]
    logged = said.out + said.err + caplog.text
    assert "are written" in logged
    assert not [secret for secret in secrets if secret in logged]
    assert list(alone.rglob("*.db")), "Prefect's records were not searched"
    assert (out / "store.zarr").is_dir()
    assert holders(alone, secrets) == []
    assert holders(out, secrets) == []
