"""Settings, servers and the browser that tests share."""

import os
import shutil
import sys

import annotated_shapes  # noqa: F401 - before anything that it checks
import digits_run
import pytest
import run_stages
from hypothesis import settings
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness
from runs import HERE, tiny_run

from flows import cli
from flows.pipeline import run_pipeline

pytest_plugins = ["slow_exit", "reached"]

# In continuous integration the same examples are drawn on every run, so a failure there can be
# repeated; elsewhere every run draws new ones.
settings.register_profile(
    "suite", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _commands_in_this_process(monkeypatch):
    """The process goes on after a command that a test calls, and its signals are pytest's."""
    monkeypatch.setattr(cli, "leave", sys.exit)
    monkeypatch.setattr(cli.stopping, "watch", lambda: None)


@pytest.fixture
def ddp(monkeypatch, capsys):
    """Run the command; give back its status and what it says."""
    # Where code lies is not recorded: the store names it as runs.py:NAME.
    monkeypatch.chdir(HERE.parent)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ddp", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return end.value.code, said

    return call


@pytest.fixture(scope="session")
def prefect_server():
    """A Prefect server with a database of its own."""
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def client(prefect_server):
    """Of that server."""
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def finished(prefect_server, tmp_path_factory):
    """The tiny run, whole; tests leave its folder as it is."""
    # A folder's name may hold what addresses and patterns give a meaning to.
    return run_pipeline(tiny_run(), tmp_path_factory.mktemp("finished 1 é #%20?[x]"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The folder in which the default preset was carried out, and what the command said."""
    folder = tmp_path_factory.mktemp("digits")
    return folder, digits_run.carried_out(folder)


@pytest.fixture(scope="module")
def address():
    """Of a Dask scheduler with two workers."""
    with run_stages.cluster(2) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def undisturbed(prefect_server, address, tmp_path_factory):
    """The store of the tiny run, its cube finished."""
    path = tmp_path_factory.mktemp("undisturbed") / "store.zarr"
    run_stages.fill(tiny_run(), path, address)
    return path


# Of a module, not of the session: while Playwright drives a browser, its event loop runs in this
# thread, and no other can.
@pytest.fixture(scope="module")
def chromium():
    """Chromium as Playwright drives it, without a network but this machine."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    options = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=options)
        yield opened
        opened.close()


@pytest.fixture
def browser(chromium):
    """A tab of a browser without any network; what goes wrong in its pages is in ``errors``."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    tab = context.new_page()
    tab.errors = []
    tab.on("console", lambda m: tab.errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    yield tab
    context.close()
