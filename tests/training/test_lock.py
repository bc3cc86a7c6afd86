"""Two runs never share a folder, and a dead run never keeps it."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polysemy.errors import InputError
from polysemy.training.lock import NAME, folder_lock

HOLD = """
import sys, time
from pathlib import Path
from polysemy.training.lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(InputError, match=f"process {process.pid} on"), folder_lock(tmp_path):
            pass
        process.communicate("")
    with folder_lock(tmp_path):
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.communicate()
    assert (tmp_path / NAME).exists()
    with folder_lock(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_a_process_number_that_was_given_again_does_not_hold_the_lock(tmp_path: Path) -> None:
    with folder_lock(tmp_path):
        mine = json.loads((tmp_path / NAME).read_text())
    mine["started"] = "another boot:1"
    (tmp_path / NAME).write_text(json.dumps(mine))
    with folder_lock(tmp_path):
        pass


def test_a_lock_of_another_host_is_believed(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": None}))
    with pytest.raises(InputError, match=r"on elsewhere is training.*delete"), folder_lock(tmp_path):
        pass


def test_a_torn_lock_file_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"pid": 1')
    with folder_lock(tmp_path):
        pass


def test_the_lock_goes_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / NAME).exists()
