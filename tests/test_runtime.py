from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.runtime import choose_device, choose_dtype, random_for, seed_for, set_threads


def test_the_same_key_gives_the_same_numbers_in_another_process() -> None:
    code = (
        "from polysemy.runtime import random_for, seed_for\n"
        "print(seed_for(1, 'a'), random_for(1, 'a').integers(1 << 60))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [str(seed_for(1, "a")), str(random_for(1, "a").integers(1 << 60))]


def test_keys_differ_by_every_part_its_type_and_its_place() -> None:
    keys = [(1, "a"), (1, "b"), (2, "a"), ("1", "a"), ("a", 1), (1, "a", 0), (1,), ("1\x1fa",)]
    assert len({seed_for(*key) for key in keys}) == len(keys)


def test_generators_of_neighboring_keys_are_unrelated() -> None:
    draws = np.stack([random_for(0, step).random(2000) for step in range(4)])
    correlation = np.corrcoef(draws) - np.eye(4)
    assert np.abs(correlation).max() < 0.1


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (choose_device, "gpu"),
        (choose_device, "cudax"),
        (choose_device, "cuda:x"),
        (choose_dtype, "float16"),
        (set_threads, 0),
    ],
)
def test_unknown_names_are_refused(function, value) -> None:
    with pytest.raises(InputError, match="must be"):
        function(value)
