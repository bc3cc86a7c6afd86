"""What the original program made (facebookresearch/fastText at 1142dc4), stored: its file and its updates.

`original.bin`: skip-gram, dim 4, bucket 60, minn 2, maxn 4, of four copies of two lines. The classifiers: our own
documents, one thread, 3 epochs, rate 0.5, started from the vectors below (-pretrainedVectors), so nothing is drawn.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polysemy.models.fasttext.config import FasttextConfig
from polysemy.models.fasttext.features import make_features, number_words
from polysemy.models.fasttext.files import read_fasttext, write_fasttext
from polysemy.models.fasttext.model import FasttextModel
from polysemy.models.fasttext.supervised import KINDS, learn_labels
from polysemy.models.huffman import fasttext_tree
from polysemy.models.kernels.rows import aligned

FILE = Path(__file__).parent / "original.bin"
VECTORS = {  # its print-word-vectors; the last three are unknown words
    "the": [1.1893, 1.0721, -0.13454, -0.172], "cats": [1.3164, 1.0276, -0.0078858, -0.083954],
    "été": [1.2311, 0.87646, 0.013362, -0.076958], "北京大学": [1.2361, 0.89046, -0.027645, -0.096031],
    "catsat": [1.2699, 0.89764, -0.019784, -0.10121], "étés": [1.1552, 0.93793, -0.013712, -0.093153],
    "大学": [1.1051, 0.74816, -0.035468, -0.16846],
}
OUTPUTS = {  # rows a, b, c (nodes of the tree), and the input row of w3
    "softmax": ([[0.107885, 0.119723, 0.021499, -0.096504, -0.125783], [0.047339, -0.00182, -0.049299, -0.051456,
                 -0.006302], [-0.155224, -0.117903, 0.027801, 0.147959, 0.132086]],
                [-0.281564, -0.955695, -0.751171, 0.14401, 0.906706]),
    "ova": ([[0.086669, 0.088808, 0.0093, -0.07876, -0.094412], [0.025758, -0.032931, -0.061346, -0.033351, 0.025307],
             [-0.178705, -0.150717, 0.015814, 0.167832, 0.165546]],
            [-0.280277, -0.953816, -0.750426, 0.142935, 0.904799]),
    "hierarchical": ([[0.101413, 0.057, -0.039807, -0.100024, -0.068279], [0.086795, 0.089247, 0.009649, -0.078822,
                      -0.094827], [0, 0, 0, 0, 0]],
                     [-0.286004, -0.960525, -0.751952, 0.147998, 0.911795]),
}
TOLERANCE = {"softmax": 2e-6, "ova": 0.01, "hierarchical": 0.01}
"""its sigmoid is a table of steps of 1/32: only the softmax is computed exactly"""
KNOWN = [*(f"w{number}" for number in range(25)), "</s>"]


def documents() -> list[tuple[str, list[str]]]:
    def numbers(seed: int) -> Iterator[int]:
        while True:
            seed = (seed * 1103515245 + 12345) % 2**31
            yield seed >> 16

    draw = numbers(1)
    return [(label, [f"w{next(draw) % 25}" for _ in range(110 + next(draw) % 40)]) for label in "aabacabb"]


def test_its_file_gives_its_vectors_of_known_and_unknown_words(tmp_path: Path) -> None:
    model = read_fasttext(FILE)
    assert isinstance(model, FasttextModel)
    np.testing.assert_allclose(model[list(VECTORS)], list(VECTORS.values()), rtol=1e-4)
    write_fasttext(tmp_path / "again.bin", model)
    assert (tmp_path / "again.bin").read_bytes() == FILE.read_bytes()


@pytest.mark.parametrize("loss", ["softmax", "ova", "hierarchical"])
def test_the_classifier_makes_its_updates_at_its_rate(loss: str) -> None:
    data = documents()
    words, tokens, starts = number_words([words for _, words in data])
    rows = {word: row for row, word in enumerate(KNOWN)}
    features = make_features(words, tokens, starts, rows, FasttextConfig(task="classify").resolved())
    inputs, outputs = aligned(26, 5), aligned(3, 5)
    inputs[:, :5] = np.round([[np.sin(5 * i + j + 1) for j in range(5)] for i in range(26)], 4)
    lengths = np.diff(features.starts) + 1
    total = 3 * (lengths.sum() + 26)  # it counts the words of the vectors it starts from, too, ...
    order, seen = list(range(8)) * 3, 3 * lengths.sum()
    while seen < total:  # ... and goes on from the top until it has read as many
        order.append(len(order) % 8)
        seen += lengths[order[-1]]
    tree, targets = fasttext_tree(np.array([4, 3, 1])), np.array(["abc".index(label) for label, _ in data], np.int32)
    learn_labels(16)(np.array(order), features.codes.astype(np.int32), features.starts, targets, np.arange(9), lengths,
                     0, len(order), inputs, outputs, tree.starts, tree.nodes, tree.codes, KINDS[loss], 0.5, 0.5 / total,
                     aligned(2, 5), np.uint64(1))
    expected, row = OUTPUTS[loss]
    np.testing.assert_allclose(outputs[:, :5], expected, atol=TOLERANCE[loss])
    np.testing.assert_allclose(inputs[rows["w3"], :5], row, atol=TOLERANCE[loss] / 4)
