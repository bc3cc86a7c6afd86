"""The blocks of a corpus scanned by threads, in their order; a few are read ahead, their memory is used again."""
from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from polysemy.text.corpus import Document
from polysemy.text.counts import ReadingReport
from polysemy.text.vocabulary import WordConfig
from polysemy.text.word_blocks import Block, Buffers, check_nuls, mended, read_corpus
from polysemy.text.word_scanner import Scan, Scratch, scan_block


class Scanned(NamedTuple):
    """A block: its scans in order, its bytes, and how many invalid sequences were replaced in it."""

    scans: list[Scan]
    size: int
    invalid: int


class WordReader:
    """Iterate once for the blocks of a corpus; what was changed in those given out so far stands in `report`."""

    def __init__(self, corpus: Iterable[Document], config: WordConfig, threads: int) -> None:
        self.config, self.threads = config, threads
        self.report = ReadingReport()
        self._scratch, self._buffers = Scratch(), Buffers()
        self._blocks: Generator[Block] = read_corpus(corpus, self.report, self._buffers)

    def __iter__(self) -> Iterator[Scanned]:
        for scanned in map(self._scan, self._blocks) if self.threads == 1 else self._scanned_by_threads():
            self.report.invalid += scanned.invalid
            self.report.nuls += sum(scan.nuls for scan in scanned.scans)
            yield scanned

    def give_back(self, scan: Scan) -> None:
        """The scan is read, its arrays are free."""
        self._scratch.give_back(scan)

    def close(self) -> None:
        """Let the memory of blocks and scans go."""
        self._scratch, self._buffers = Scratch(), Buffers()
        self._blocks.close()

    def _scanned_by_threads(self) -> Iterator[Scanned]:
        waiting: deque[Future[Scanned]] = deque()
        with ThreadPoolExecutor(self.threads) as pool:
            try:
                for block in self._blocks:
                    waiting.append(pool.submit(self._scan, block))
                    if len(waiting) > self.threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for job in waiting:
                    job.cancel()

    def _scan(self, block: Block) -> Scanned:
        text, invalid = mended(block)
        scans = list(scan_block(text, self.config, self._scratch))
        check_nuls(block, sum(scan.nuls for scan in scans))
        self._buffers.give_back(block)
        return Scanned(scans, text.size, invalid)
