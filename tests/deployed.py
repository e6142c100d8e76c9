"""Deployments on a Prefect server: started, awaited, and what the server tells of them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect_processes import ROOT, Prefect, await_true
from runs import tiny_run

#: States in which a run has ended.
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

#: Services of the server look sooner than a person needs.
SOON = {
    # Sooner still, SQLite would be busy with little else.
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "5",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
}


class Deployed:
    """A server's deployments."""

    def __init__(self, prefect: Prefect) -> None:
        self.prefect = prefect
        self._client = httpx.Client(base_url=prefect.api, trust_env=False, timeout=120)

    def close(self) -> None:
        self._client.close()

    def ask(self, path: str, **content: Any) -> Any:
        return self._answer("POST", path, content).json()

    def ask_list(self, path: str, content: list[Any]) -> Any:
        return self._answer("POST", path, content).json()

    def read(self, path: str) -> Any:
        return self._answer("GET", path).json()

    def remove(self, path: str) -> None:
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """What the server answers, asked again while SQLite is busy, which it says by 503."""

        def told() -> httpx.Response | None:
            answer = self._client.request(method, path, json=content)
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        answer: httpx.Response = await_true(path, told, 60)
        return answer.raise_for_status()

    def worker(self, name: str = "worker") -> Any:
        """A worker of the pool, as a machine has it."""
        return self.prefect.started(
            name, "worker", "start", "--pool", "ddp", "--name", name, "--limit", "2"
        )

    def start(self, deployment: str, **parameters: Any) -> str:
        """Start a run now; return its id."""
        found = self.read(f"/deployments/name/{deployment}")
        made = self.ask(f"/deployments/{found['id']}/create_flow_run", parameters=parameters)
        return str(made["id"])

    def run(self, run: str) -> Any:
        return self.read(f"/flow_runs/{run}")

    def runs_of(self, deployment: str) -> list[Any]:
        found = self.read(f"/deployments/name/{deployment}")
        return list(self.ask("/flow_runs/filter", deployments={"id": {"any_": [found["id"]]}}))

    def ended(self, run: str) -> Any:
        """Wait until a run has ended."""

        def told() -> Any:
            now = self.run(run)
            return now if now["state"]["type"] in ENDED else None

        try:
            return await_true(f"run {run}", told, 240)
        except AssertionError as late:
            chosen = {"flow_run_id": {"any_": [run]}}
            said = self.ask("/logs/filter", logs=chosen, sort="TIMESTAMP_DESC", limit=20)
            lines = [f"{one['timestamp']} {one['message']}" for one in reversed(said)]
            late.add_note("\n".join([f"{self.run(run)['state']}", *lines]))
            raise

    def retry(self, run: str) -> None:
        """What the button Retry of a run's page does."""
        again = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.ask(f"/flow_runs/{run}/set_state", state=again, force=True)

    def shorten(self, automation: str, seconds: float) -> None:
        """Have an automation look back over so many seconds only."""
        (found,) = self.ask("/automations/filter", automations={"name": {"any_": [automation]}})
        trigger = found["trigger"] | {"within": seconds}
        kept = ("name", "description", "enabled", "tags", "actions")
        changed = {key: found[key] for key in kept} | {"trigger": trigger}
        self._answer("PUT", f"/automations/{found['id']}", changed)

    def artifacts(self, run: str) -> dict[str, Any]:
        found = self.ask("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
        return {one["key"]: one for one in found}


@contextmanager
def deployed_on(prefect: Prefect) -> Iterator[Deployed]:
    """A server with everything of ``deployment/prefect.yaml``."""
    prefect.environment |= SOON
    with prefect.serving():
        prefect.call("work-pool", "create", "ddp", "--type", "process")
        prefect.call("deploy", "--all", "--prefect-file", "deployment/prefect.yaml")
        deployed = Deployed(prefect)
        yield deployed
        deployed.close()


def tiny_file(folder: Path, images: str = "Noise", **kwargs: Any) -> Path:
    """A run file of the tiny run, whose least costs little."""
    run = tiny_run(images, kwargs, capacity=[], controls={"rotations": 0, "permutations": 0})
    content = json.loads(run.model_dump_json(exclude_defaults=True))
    content["significance"] |= {"resamples": 0, "sample_sizes": []}
    file = folder / "tiny.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@contextmanager
def received() -> Iterator[tuple[str, list[Any]]]:
    """An address of this machine, and what is posted to it."""
    posted: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((dict(self.headers), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook", posted
        finally:
            server.shutdown()
            thread.join()


def report_failures(prefect: Prefect, address: str) -> None:
    """Have failures reported to an address."""
    secrets = {"DDP_FAILURES_URL": address, "DDP_FAILURES_AUTHORIZATION": "Bearer of the test"}
    # A second call replaces what the first has made.
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "deployment/report_failures.py"],
            env=prefect.environment | secrets,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.stdout == "ddp-silence: created\nddp-failures: created\n", done.stderr


__all__ = ["ROOT", "Deployed", "deployed_on", "received", "report_failures", "tiny_file"]
