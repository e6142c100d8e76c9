import subprocess
import sys


def test_a_process_ends_without_looking_through_its_objects():
    # What is registered first is called last.
    code = """
import atexit, gc
from flows.quick_exit import dask_setup
atexit.register(lambda: print(gc.get_freeze_count() > 1000, len(gc.get_objects()) < 100))
print(gc.get_freeze_count() > 1000)
dask_setup(None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]
