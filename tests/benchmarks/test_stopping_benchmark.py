import signal

from benchmarks.stopping import POINTS, Stop, run_file, section, stopped


def test_a_run_is_stopped_while_its_server_starts(tmp_path):
    run_file(tmp_path / "run")
    stop = stopped(tmp_path / "run", POINTS["server starts"], signal.SIGINT)
    assert stop.is_clean(signal.SIGINT), stop
    assert (stop.status, stop.left) == (130, 0)
    assert stop.seconds < 5


def test_what_is_left_or_printed_is_not_clean():
    clean = Stop(130, 0.4, 0, ("ddp: stopped by Ctrl-C",), False)
    assert clean.is_clean(signal.SIGINT)
    assert not Stop(130, 0.4, 1, clean.lines, False).is_clean(signal.SIGINT)
    assert not Stop(130, 0.4, 0, clean.lines * 2, False).is_clean(signal.SIGINT)
    assert not Stop(130, 0.4, 0, clean.lines, True).is_clean(signal.SIGINT)
    assert not Stop(-9, 0.1, 0, ("a worker's farewell",), False).is_clean(signal.SIGKILL)
    stops = {("imports", "Ctrl-C"): clean, ("end", "Ctrl-C"): Stop(0, 0.1, 2, (), False)}
    text = "\n".join(section(stops, {"Ctrl-C": ["zarr.json"]}))
    assert "1 of 2 stops clean" in text
    assert "2 processes left in all, 0.4 s to the prompt at most. 0 of 1 runs" in text
    assert "| imports | 0.4, 0, 1, 130 |" in text
