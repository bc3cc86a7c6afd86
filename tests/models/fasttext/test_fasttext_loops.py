"""The compiled loops of fastText against slow Python twins, and the twins' rule against the original's."""
from __future__ import annotations

import fasttext_twin as twin
import numpy as np
import pytest

from polysemy.models.fasttext import cbow, hierarchical, skipgram
from polysemy.models.fasttext.plain import KINDS, learn_plain
from polysemy.models.fasttext.staging import Stage
from polysemy.models.fasttext.subword_table import subword_table
from polysemy.models.huffman import Tree, fasttext_tree
from polysemy.models.kernels.drawing import alias_table, start_state
from polysemy.models.kernels.rows import aligned
from polysemy.models.kernels.sentences import thresholds
from polysemy.models.kernels.tiles import TILE_ROWS

WORDS = ["the", "cat", "cats", "catch", "dog", "dogs", "a", "sat", "été", "北京"]
COUNTS = np.array([50, 30, 20, 15, 12, 10, 9, 8, 7, 6])
SIZE, NEGATIVES, WINDOW, RATE = 20, 5, 3, 0.3
STATE = start_state(3, "test")


@pytest.fixture
def toy() -> dict:
    random = np.random.default_rng(5)
    tokens = random.integers(0, len(WORDS), 300).astype(np.int32)
    tokens[random.random(300) < 0.08] = -1
    tokens[7] = -2
    tokens[-1] = -1
    tokens.flags.writeable = False
    table = subword_table(WORDS, COUNTS, 2, 4, 40)
    inputs, outputs = aligned(table.num_rows, SIZE), aligned(len(WORDS), SIZE)
    inputs[:, :SIZE] = random.normal(size=(table.num_rows, SIZE))
    outputs[:, :SIZE] = random.normal(size=(len(WORDS), SIZE)) * 0.3
    keep = np.linspace(0.6, 1, len(WORDS))
    return {
        "tokens": tokens, "table": table, "inputs": inputs, "outputs": outputs, "kept": thresholds(keep),
        "rows": [table.rows[table.starts[w] : table.starts[w + 1]].tolist() for w in range(len(WORDS))],
        "negatives": alias_table(COUNTS, 0.5), "tree": fasttext_tree(COUNTS),
    }


def in_double(toy: dict) -> tuple[np.ndarray, np.ndarray]:
    return toy["inputs"][:, :SIZE].astype(np.float64), toy["outputs"][:, :SIZE].astype(np.float64)


def run_fast(toy: dict, mode: str, loss: str, stretch: int) -> tuple:
    tree: Tree = toy["tree"]
    width = toy["inputs"].shape[1]
    if loss == "negative":
        make = skipgram.skipgram_negative if mode == "skipgram" else cbow.cbow_negative
        loop, choice = make(NEGATIVES, width), (toy["negatives"],)
    else:
        make = hierarchical.skipgram_hierarchical if mode == "skipgram" else hierarchical.cbow_hierarchical
        loop, choice = make(width), (tree.starts, tree.nodes, tree.codes)
    tokens, table = toy["tokens"], toy["table"]
    return loop(tokens, 0, len(tokens), len(tokens), toy["kept"], table.starts, table.rows, *choice, toy["inputs"],
                toy["outputs"], WINDOW, np.float32(RATE), stretch, Stage.make(table.starts, SIZE).parts(),
                np.uint64(STATE))


@pytest.mark.parametrize("loss", ["negative", "hierarchical"])
@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
@pytest.mark.parametrize("stretch", [1, 60])
def test_a_fast_loop_equals_its_twin(toy: dict, mode: str, loss: str, stretch: int) -> None:
    inputs, outputs = in_double(toy)
    twin.fast(toy["tokens"], toy["kept"], toy["rows"], mode, loss, NEGATIVES, toy["negatives"], toy["tree"], inputs,
              outputs, WINDOW, RATE, STATE, stretch, TILE_ROWS)
    at, read, loss_sum, measured, _ = run_fast(toy, mode, loss, stretch)
    assert (at, read) == (len(toy["tokens"]), int((toy["tokens"] >= 0).sum()))
    assert 0 < loss_sum / measured < 40
    np.testing.assert_allclose(toy["inputs"][:, :SIZE], inputs, atol=2e-3)
    np.testing.assert_allclose(toy["outputs"][:, :SIZE], outputs, atol=2e-3)
    assert not toy["inputs"][:, SIZE:].any(), "padding stays zero"


@pytest.mark.parametrize("loss", ["negative", "hierarchical", "softmax"])
@pytest.mark.parametrize("mode", ["skipgram", "cbow"])
def test_the_plain_loop_makes_the_updates_of_the_original(toy: dict, mode: str, loss: str) -> None:
    inputs, outputs = in_double(toy)
    twin.plain(toy["tokens"], toy["kept"], toy["rows"], mode, loss, NEGATIVES, toy["negatives"], toy["tree"], inputs,
               outputs, WINDOW, RATE, STATE)
    table, tree, tokens = toy["table"], toy["tree"], toy["tokens"]
    learn_plain(tokens, 0, len(tokens), len(tokens), toy["kept"], table.starts, table.rows, mode == "skipgram",
                KINDS[loss], NEGATIVES, toy["negatives"], tree.starts, tree.nodes, tree.codes, toy["inputs"][:, :SIZE],
                toy["outputs"][:, :SIZE], WINDOW, np.float32(RATE), int(np.diff(table.starts).max()), np.uint64(STATE))
    np.testing.assert_allclose(toy["inputs"][:, :SIZE], inputs, atol=2e-3)
    np.testing.assert_allclose(toy["outputs"][:, :SIZE], outputs, atol=2e-3)


def test_the_tree_is_full_and_gives_frequent_words_short_codes() -> None:
    tree = fasttext_tree(COUNTS)
    lengths = np.diff(tree.starts)
    assert sum(2.0 ** -lengths) == 1
    assert (np.diff(lengths) >= 0).all()
    assert set(tree.nodes.tolist()) == set(range(len(COUNTS) - 1))


def test_the_tree_takes_a_node_before_a_leaf_of_the_same_count() -> None:
    tree = fasttext_tree(np.array([2, 2, 1, 1]))  # 1 + 1 makes a node of 2, which is joined first
    assert np.diff(tree.starts).tolist() == [1, 2, 3, 3]
