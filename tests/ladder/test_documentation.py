"""Prose out of documentation: sentences stay, everything else goes."""
from __future__ import annotations

import pytest

from polysemy.ladder.documentation import docstrings, is_prose, paragraphs, plain, string_values

NUMPY_STYLE = """
Interpolate a function that is known at some points, by straight lines between them.

Parameters
----------
x : array_like
    The places at which the function is wanted, in any order that you like to give them.
period : None or float, optional
    A period for the places; the values of `x` and `xp` are taken as angles when it is given.

>>> interp(2.5, [1, 2, 3], [3, 2, 0])
1.0

Notes
-----
The places must be in rising order, and this is not checked, because it would cost more than the rest::

    if np.any(np.diff(xp) <= 0): this line is code that nobody should ever learn from by reading it

.. code-block:: python

    this too is code and it is written so that it would look like prose to any simple rule of words.

.. note::
   This note is prose and stays, since it tells the reader what happens at the ends of the range.
"""


def test_descriptions_stay_and_signatures_code_and_rules_go() -> None:
    found = list(paragraphs(NUMPY_STYLE))
    assert found[0] == "Interpolate a function that is known at some points, by straight lines between them."
    assert "The places at which the function is wanted, in any order that you like to give them." in found
    assert any(line.startswith("This note is prose and stays") for line in found)
    text = "\n".join(found)
    for lost in ("array_like", "interp(2.5", "np.diff", "this too is code", "-----", "Parameters"):
        assert lost not in text


def test_docstrings_come_in_source_order_from_nested_definitions() -> None:
    source = '"""A."""\nclass C:\n    "B."\n    def f(self):\n        "C."\n        def g():\n            "D."\n' \
             'if True:\n    def h():\n        "E."\n'
    assert list(docstrings(source)) == ["A.", "B.", "C.", "D.", "E."]


@pytest.mark.parametrize("source", ["def broken(:\n", "\0", "x = " + "(" * 500 + ")" * 500])
def test_a_source_that_cannot_be_parsed_gives_nothing(source: str) -> None:
    assert list(docstrings(source)) == []


def test_topics_are_read_from_a_literal_dictionary() -> None:
    assert list(string_values("topics = {'a': 'One.', 'b': 2, 'c': 'Three.'}")) == ["One.", "Three."]


@pytest.mark.parametrize(("marked", "wanted"), [
    (":class:`~collections.OrderedDict` keeps order", "collections.OrderedDict keeps order"),
    ("see `the manual <https://example.org/x>`_ for more", "see the manual for more"),
    ("[a link](https://example.org) and ``code``", "a link and code"),
    ("**bold** and *emphasis* of a_name_with_scores", "bold and emphasis of a_name_with_scores"),
])
def test_markup_is_removed(marked: str, wanted: str) -> None:
    assert plain(marked) == wanted


@pytest.mark.parametrize(("line", "expected"), [
    ("This function returns the list of all the files that were found in the folder.", True),
    ("Licensed under the Apache License, so you may not use this file except as it says there.", False),
    ("int x = foo(bar[i]); // and this is how it is done in the code of the other one", False),
    ("Alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron.", False),
    ("Too short to be of use.", False),
])
def test_prose_is_told_from_the_rest(line: str, expected: bool) -> None:
    assert is_prose(line) is expected
