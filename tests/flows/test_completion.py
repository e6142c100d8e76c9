"""What a shell offers after Tab, and the version."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

DDP = "import sys; sys.argv[0] = 'ddp'; from flows.cli import main; main()"


def offered(words, cwd):
    """What the command answers a shell that completes the last of some words."""
    done = subprocess.run(
        [sys.executable, "-c", DDP],
        cwd=cwd,
        env={
            **os.environ,
            "_DDP_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(["ddp", *words]),
            "COMP_CWORD": str(len(words)),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout.split()


def test_the_shell_is_offered_presets_and_files(tmp_path):
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / "runs").mkdir()
    assert offered(["run", "cif"], tmp_path) == ["cifar10", "cifar10-vgg16"]
    assert {"digits", "mine.yaml", "runs/"} <= set(offered(["layers", ""], tmp_path))
    assert offered(["layers", "mi"], tmp_path) == ["mine.yaml"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["table", "{}", "fc"], ["fc1", "fc2"]),
        (["figure", "6", "{}", "--layer", "conv"], ["conv1", "conv2"]),
        (["distinguish", "{}", "left", "r"], ["right"]),
        (["distinguish", "{}", "left", "right", "--layer", "conv"], ["conv1", "conv2"]),
        (["ablate", "{}", "--layers", "conv1", "--layers", "f"], ["fc1", "fc2"]),
        (["ablate", "--layers", "conv2", "{}", "--layers", "f"], ["fc1", "fc2"]),
        (["describe", "{}", "--layers", "conv"], ["conv1", "conv2"]),
        (["prune", "{}", "--images", "20", "--layers", "fc"], ["fc1", "fc2"]),
        (["compare", "{}", "{}", "--layer", "conv"], ["conv1", "conv2"]),
        (["visualize", "{}", "--class", "le"], ["left"]),
        (["table", "nowhere", ""], []),
    ],
)
def test_the_shell_is_offered_layers_and_classes_of_a_run(finished, tmp_path, words, names):
    folder = tmp_path / "run"  # words are cut at blanks
    folder.symlink_to(finished.store.parent)
    assert offered([word.format(folder) for word in words], tmp_path) == names


def test_bash_itself_completes_what_the_command_offers(finished, tmp_path):
    (tmp_path / "run").symlink_to(finished.store.parent)
    command = tmp_path / "bin" / "ddp"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{DDP}" "$@"\n')
    command.chmod(0o755)
    script = """eval "$(_DDP_COMPLETE=source_bash ddp)"
        COMP_WORDS=(ddp ablate run --layers conv) COMP_CWORD=4
        "$(complete -p ddp | sed 's/.*-F \\([^ ]*\\).*/\\1/')" ddp
        echo "${COMPREPLY[@]}" """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("conv1 conv2\n", "")


def test_the_version_is_that_of_the_package(ddp):
    status, said = ddp("--version")
    assert (status, said.out) == (0, f"ddp {version('ddp-flows')}\n")
