"""Two worlds whose right answers are known, learned by word2vec: topics, and a grid of gender and rank.

    python examples/word2vec_worlds.py

In the first, a sentence is about one topic: words of a topic must be nearer to each other than to any other word. In
the second, what stands beside a word depends on its gender and its rank, each by itself: then a step in meaning is a
step in space, and man : woman as king : ? has an answer. Both are shown for negative sampling, a Huffman tree and the
full softmax that the two save us from. A few seconds.
"""
from __future__ import annotations

import numpy as np

from polysemy.models.word2vec.config import Word2VecConfig
from polysemy.models.word2vec.fit import train
from polysemy.models.word_vectors import WordVectors
from polysemy.runtime import random_for
from polysemy.text.corpus import text_documents
from polysemy.text.encoded import encode

TOPICS = {"sea": "ship wave salt sail harbor", "kitchen": "pan flour oven spoon bread",
          "sky": "cloud star moon dawn rain"}
GENDERS, RANKS = ("man", "woman"), ("person", "royal", "child", "priest")
GRID = [["man", "king", "boy", "monk"], ["woman", "queen", "girl", "nun"]]


def topic_lines(count: int = 3000) -> list[str]:
    """Each line: eight words of one topic."""
    random = random_for("worlds", "topics")
    topics = [words.split() for words in TOPICS.values()]
    return [" ".join(random.choice(topics[int(random.integers(len(topics)))], 8)) for _ in range(count)]


def grid_lines(count: int = 40_000, companions: int = 30) -> list[str]:
    """Each line: a word of the grid and a companion c, with p(c | gender, rank) ~ f_gender(c) f_rank(c)."""
    random = random_for("worlds", "grid")
    shares = np.exp(random.normal(size=(2, 1, companions)) + random.normal(size=(1, 4, companions)))
    shares /= shares.sum(2, keepdims=True)
    lines = []
    for gender, rank in zip(random.integers(2, size=count), random.integers(4, size=count), strict=True):
        companion = random.choice(companions, p=shares[gender, rank])
        lines.append(f"{GRID[gender][rank]} with{chr(97 + companion // 26)}{chr(97 + companion % 26)}")
    return lines


def learned(lines: list[str], config: Word2VecConfig) -> tuple[WordVectors, float]:
    """The vectors and the loss on a sample of places."""
    text = encode(text_documents(["\n".join(lines)]), config.word_config)
    matrices, results = train(config, text, seed=1, threads=1, report=lambda progress: None, stop=lambda: False)
    return WordVectors(text.vocabulary.words, matrices.inputs[:, : config.size]), results["loss"]


def main() -> None:
    base = Word2VecConfig(size=16, min_count=1, subsample=0.0, dynamic_window=False, learning_rate=0.1)
    for name, changes in {"negative sampling": {}, "Huffman tree": {"loss": "hierarchical"},
                          "full softmax": {"loss": "softmax"}}.items():
        vectors, loss = learned(topic_lines(), base.replace(window=4, **changes))
        print(f"\n{name}, topics (loss {loss:.2f})")
        for words in TOPICS.values():
            word = words.split()[0]
            print(f"  {word:6} is near", ", ".join(f"{w} {c:.2f}" for w, c in vectors.most_similar(word, topn=5)))
        vectors, loss = learned(grid_lines(), base.replace(window=1, epochs=8, **changes))
        words = [word for row in GRID for word in row]
        rows = vectors[words]
        grid = WordVectors(words, rows - rows.mean(0))
        print(f"{name}, grid (loss {loss:.2f})")
        for rank in range(1, len(RANKS)):
            asked = GRID[0][0], GRID[1][0], GRID[0][rank]
            print(f"  {asked[0]} : {asked[1]} as {asked[2]} : {grid.analogy(*asked, topn=1)[0][0]}"
                  f"   (right: {GRID[1][rank]})")


if __name__ == "__main__":
    main()
