"""Has Prefect report the failure of deployed runs to an address.

``DDP_FAILURES_URL`` names the address, such as a chat's incoming webhook, and
``DDP_FAILURES_AUTHORIZATION`` the header that goes with it, if one is needed. The server of
``PREFECT_API_URL`` keeps both, encrypted, in a block; called again, this replaces block and
automations.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

BLOCK = "ddp-failures"


def main() -> None:
    """Save the block, and create the automations of ``automations.yaml`` anew."""
    if not PREFECT_API_URL.value():
        sys.exit(
            "PREFECT_API_URL names no server; write that of the deployments, such as "
            "http://127.0.0.1:4200/api"
        )
    address = os.environ.get("DDP_FAILURES_URL", "")
    if urlsplit(address).scheme not in {"http", "https"}:
        sys.exit("DDP_FAILURES_URL names no address; write one such as https://host/hooks/KEY")
    authorization = os.environ.get("DDP_FAILURES_AUTHORIZATION")
    headers = {"Content-Type": "application/json"}
    if authorization:
        headers["Authorization"] = authorization
    block = Webhook(url=address, headers=headers).save(BLOCK, overwrite=True)
    content = yaml.safe_load(Path(__file__).with_name("automations.yaml").read_text())
    for written in content["automations"]:
        for action in written["actions"]:
            if action["type"] == "call-webhook":
                action["block_document_id"] = str(block)
        with get_client(sync_client=True) as client:
            for before in client.read_automations_by_name(written["name"]):
                client.delete_automation(before.id)
        Automation(**written).create()
        sys.stdout.write(f"{written['name']}: created\n")


if __name__ == "__main__":
    main()
