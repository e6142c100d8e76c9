"""Proxies in the environment are not asked for this machine, and stay a person's for all else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_ASK = """
import flows, httpx, os, urllib.request
with httpx.Client() as client:
    print(type(client._transport_for_url(httpx.URL("http://127.0.0.1:4200/api"))._pool).__name__)
    print(type(client._transport_for_url(httpx.URL("http://localhost:4200/"))._pool).__name__)
    print(type(client._transport_for_url(httpx.URL("http://[::1]:4200/"))._pool).__name__)
    print(type(client._transport_for_url(httpx.URL("http://prefect.example/"))._pool).__name__)
print(urllib.request.proxy_bypass("127.0.0.1"))  # what websockets asks
"""


_TELL = """
import flows, json, os
print(json.dumps({k: v for k, v in os.environ.items() if k.upper() == "NO_PROXY"}))
"""


@pytest.mark.parametrize("names", [(), ("NO_PROXY",), ("no_proxy",), ("NO_PROXY", "no_proxy")])
def test_this_machine_is_reached_without_the_proxies_of_the_environment(names):
    kept = {k: v for k, v in os.environ.items() if k.lower() not in {"no_proxy", "http_proxy"}}
    environment = {
        **kept,
        **dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9"),
        **dict.fromkeys(names, "kept.example"),
        "PYTHONPATH": str(ROOT),
    }
    printed = subprocess.run(
        [sys.executable, "-c", _ASK], env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    assert printed == [*["ConnectionPool"] * 3, "HTTPProxy", "True"]


@pytest.mark.parametrize(
    ("set_before", "after"),
    [
        ({}, {"no_proxy": "127.0.0.1,localhost,::1", "NO_PROXY": "127.0.0.1,localhost,::1"}),
        ({"NO_PROXY": "a, b"}, {"NO_PROXY": "a,b,127.0.0.1,localhost,::1"}),
        ({"no_proxy": "localhost"}, {"no_proxy": "localhost,127.0.0.1,::1"}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*"}),
    ],
)
def test_what_a_person_exempts_stays_exempted(set_before, after):
    kept = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
    printed = subprocess.run(
        [sys.executable, "-c", _TELL],
        env={**kept, **set_before, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert json.loads(printed) == after
