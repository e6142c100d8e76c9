import subprocess
import sys

import torch

from ddp_tasks.workers.devices import best_device, cuda_devices


def test_as_many_devices_are_counted_as_torch_counts():
    assert cuda_devices() == torch.cuda.device_count()
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_machine_without_the_driver_is_asked_without_torch():
    code = (
        "import sys\n"
        "from ddp_tasks.workers import devices\n"
        "devices._DRIVER = 'libno_such_driver.so.1'\n"
        "print(devices.cuda_devices(), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"
