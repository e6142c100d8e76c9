import os
import socket
import subprocess
import sys

import pytest
import torch

from ddp_tasks.workers.devices import Place, best_device, cuda_devices, device_name


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


def test_a_place_names_host_process_and_device():
    device = torch.device("cpu")
    place = Place.here(device)
    assert place.worker == f"{socket.gethostname()}, process {os.getpid()}"
    assert place.device == device_name(device)
    assert device_name(device).endswith(f", {torch.get_num_threads()} threads of torch")
    assert not place.on_gpu


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_convolutions_in_full_float32_once_it_is_asked_for():
    device = best_device()
    assert not torch.backends.cudnn.allow_tf32
    assert str(torch.cuda.get_device_properties(device).uuid) in Place.here(device).device
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 64, 16, 16, generator=generator)
    weight = torch.randn(64, 64, 3, 3, generator=generator)
    found = torch.nn.functional.conv2d(images.to(device), weight.to(device)).cpu()
    exact = torch.nn.functional.conv2d(images.double(), weight.double())
    # Float32 rounds at 6e-8, TensorFloat-32 at 5e-4; sums of 576 products add to either.
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()
