"""A text as numbers of words: its vocabulary and an array of int32, from one pass over a corpus.

Blocks of the corpus are scanned by threads, each with its own small table of words, and joined in their order; the
result does not depend on threads or blocks.

Memory, beside the libraries: while reading, 1.7 bytes a word of packed numbers, 45 to 60 bytes a different word, and
about 25 MB of blocks under way; then the numbers at 4 bytes a word, a little more than those that are kept, while the
packed ones go. So the peak is 1.15 to 1.25 times the encoded text of 20 million words. Beyond `memory_bytes` numbers
go to a file; beyond 8 million different words the rarest are forgotten (and counted).
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polysemy.errors import InputError
from polysemy.memory import give_back_memory
from polysemy.text.corpus import Document
from polysemy.text.counts import ReadingReport
from polysemy.text.vocabulary import UNKNOWN, Vocabulary, WordConfig

if TYPE_CHECKING:
    from polysemy.text.word_reading import WordReader
    from polysemy.text.word_store import WordStore
    from polysemy.text.word_table import WordTable

MEMORY_BYTES = 1 << 30
"""Numbers kept in memory when there is a folder to put more into."""
NO_TOKENS = np.zeros(0, np.int32)


@dataclass
class EncodedText:
    """A text as numbers.

    tokens      int32 (n,), in memory or memory-mapped: a word's number, -1 at the end of each line, -2 for an unknown
                word (only with keep_unknown; else it left nothing). No line is empty.
    seconds     wall time of encoding; `bytes`: the text that was read, as UTF-8
    forgotten   words that were forgotten because there were too many different ones, and `lost`, their occurrences
    report      what was replaced or skipped in reading
    """

    tokens: np.ndarray
    vocabulary: Vocabulary
    seconds: float = 0.0
    bytes: int = 0
    forgotten: int = 0
    lost: int = 0
    report: ReadingReport = field(default_factory=ReadingReport)

    @property
    def num_tokens(self) -> int:
        """How many of the tokens are words of the vocabulary."""
        step = 1 << 20
        return sum(int(np.count_nonzero(self.tokens[at : at + step] >= 0)) for at in range(0, len(self.tokens), step))

    def __str__(self) -> str:
        """One line for people: what there is, how fast it was read, and what was changed in reading."""
        speed = self.bytes / 1e6 / max(self.seconds, 1e-9)
        parts = [f"{self.vocabulary.total:,} words, {len(self.vocabulary):,} of them different and frequent enough",
                 f"{self.bytes / 1e6:,.1f} MB in {self.seconds:.1f} s ({speed:,.0f} MB/s)"]
        for count, what in ((self.report.invalid, "invalid bytes replaced"), (self.report.nuls, "NULs taken as spaces"),
                            (self.report.bad_lines, "lines skipped"),
                            (self.forgotten, f"rare words forgotten while counting ({self.lost:,} occurrences)")):
            if count:
                parts.append(f"{count:,} {what}")
        return ", ".join(parts)


def encode(
    corpus: Iterable[Document],
    config: WordConfig,
    *,
    folder: Path | None = None,
    threads: int = 2,
    vocabulary: Vocabulary | None = None,
    stop: Callable[[], bool] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> EncodedText:
    """The words of a corpus as numbers, and the vocabulary they belong to, in one pass.

    corpus      a `Corpus`, `TextDocuments`, or any documents; a line is a sentence
    folder      an existing folder for `words.int32` when the numbers take more than `memory_bytes`; None: memory only
    vocabulary  use this one, with its rule, instead of learning one (of `config` then only keep_unknown counts); it may
                not have phrases
    stop        asked after each block (2 MB): true ends the reading, and what was read so far counts

    Deterministic whatever the threads. InputError when there is nothing to train on: no text, no word frequent enough,
    one word only, or none that the given vocabulary has.
    """
    from polysemy.text.word_reading import WordReader
    from polysemy.text.word_store import WordStore

    if config.phrases and vocabulary is None:
        return _with_phrases(corpus, config, folder=folder, threads=threads, stop=stop, memory_bytes=memory_bytes)
    if vocabulary is not None and vocabulary.phrases is not None:
        raise InputError("vocabulary must have no phrases to number a corpus, got one that joins words; use its `ids`")
    if threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    began = time.perf_counter()
    store = WordStore(folder, memory_bytes)
    try:
        rule = config if vocabulary is None else vocabulary.config
        result = _encode(WordReader(corpus, rule, threads), store, config, vocabulary, stop or (lambda: False))
    except BaseException:
        store.discard()
        raise
    result.seconds = time.perf_counter() - began
    return result


def _with_phrases(
    corpus: Iterable[Document], config: WordConfig, *, folder: Path | None, **options: Any
) -> EncodedText:
    """`encode` with the frequent pairs of words joined; words that are left out keep their neighbors apart."""
    from polysemy.text.phrases import PhraseConfig, join_phrases

    plain = encode(corpus, config.replace(phrases=0, keep_unknown=True), folder=folder, **options)
    text, _ = join_phrases(plain, PhraseConfig(passes=config.phrases), folder=folder, keep_unknown=config.keep_unknown)
    text.vocabulary.config = config
    return text


def _encode(
    reader: WordReader, store: WordStore, config: WordConfig, vocabulary: Vocabulary | None, stop: Callable[[], bool]
) -> EncodedText:
    from polysemy.text.word_store import GONE
    from polysemy.text.word_table import WordTable

    unknown = UNKNOWN if config.keep_unknown else GONE
    table = WordTable() if vocabulary is None else WordTable.of(vocabulary.words)
    size = words_read = known = 0
    for block in reader:
        for scan in block.scans:
            words_read += scan.words_read
            if vocabulary is None:
                numbers = table.add(scan.words)
            else:
                numbers = table.find(scan.words)
                numbers[numbers < 0] = unknown
            known += store.append(scan.tokens, numbers)
            reader.give_back(scan)
        size += block.size
        if stop():
            break
    reader.close()
    if not words_read:
        raise InputError(f"corpus must hold words, got {size:,} bytes without any; nothing to train on")
    if not known:
        raise InputError("corpus must hold words of the given vocabulary, got none; nothing to train on")
    if vocabulary is None:
        vocabulary, numbers = _rank(table, config, words_read, unknown)
    else:
        numbers = np.arange(len(vocabulary), dtype=np.int32)
    result = EncodedText(NO_TOKENS, vocabulary, 0.0, size, table.forgotten, table.lost, reader.report)
    del table, block, scan  # their memory is needed for the tokens
    result.tokens = store.finish(numbers)
    give_back_memory()
    return result


def _rank(table: WordTable, config: WordConfig, words_read: int, unknown: int) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary of a filled table, and the final number of each provisional one."""
    words, counts, numbers = table.ranked(config.min_count, config.max_words)
    if len(words) < 2:
        raise InputError(
            f"corpus must hold at least two different words seen {config.min_count} times (min_count), got "
            f"{len(words)} among {words_read:,} running words; nothing to train on: add text or lower min_count"
        )
    final = np.full(table.next_number, unknown, np.int32)
    final[numbers] = np.arange(len(words), dtype=np.int32)
    return Vocabulary(words, counts, config, words_read), final
