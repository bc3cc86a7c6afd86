"""What a reader counts while it reads, so that nothing is replaced, cut or skipped in silence."""
from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class ReadingReport:
    """Counts of one pass over a corpus; complete when the pass is."""

    documents: int = 0
    characters: int = 0
    invalid: int = 0  # invalid byte sequences and lone surrogates, replaced by U+FFFD
    nuls: int = 0  # NUL characters, replaced by spaces
    bad_lines: int = 0  # lines of a jsonl file that hold no text, skipped
    first_bad_line: str = ""  # where and why the first of them was skipped
    cut: int = 0  # places where a line or document longer than 1,000,000 characters was cut

    def to_dict(self) -> dict[str, int | str]:
        return asdict(self)

    def __str__(self) -> str:
        """One line for people: what was read, and what was changed in reading."""
        parts = [f"{self.documents:,} document{'s' * (self.documents != 1)}", f"{self.characters:,} characters"]
        for count, what in (
            (self.invalid, "invalid bytes replaced"), (self.nuls, "NULs replaced"),
            (self.bad_lines, f"lines skipped (first: {self.first_bad_line})"), (self.cut, "cuts in too long documents"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        return ", ".join(parts)
