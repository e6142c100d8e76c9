"""The images of a run over several hosts, which says where each was read and takes its time."""

import os
import time
from pathlib import Path

from runs import Noise

HERE = Path(__file__).resolve()


class Watched(Noise):
    """Noise; a worker whose environment asks for that marks its host, and reads slowly.

    It reads nothing while there is a file ``hold`` beside the marks.
    """

    def __getitem__(self, index):
        if mark := os.environ.get("DDP_TEST_MARK"):
            Path(mark).touch()
            time.sleep(0.2)
            while Path(mark).with_name("hold").exists():
                time.sleep(0.1)
        return super().__getitem__(index)
