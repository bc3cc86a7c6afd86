"""Lines that try an encoder: pieces of its own vocabulary in all neighbourhoods, many scripts, odd characters."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from polysemy.runtime import random_for
from polysemy.text import tokenizer_parts as parts

if TYPE_CHECKING:
    from polysemy.text.tokenizer import Tokenizer

CHECKED_LINES = 3000
SCRIPTS = (  # first and last code point of blocks to draw from
    (0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
    (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x20BF), (0x2100, 0x218F), (0x2200, 0x22FF), (0x2460, 0x24FF), (0x2580, 0x25FF),
    (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3100, 0x33FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x103FF), (0x1D400, 0x1D7FF),
    (0x1F300, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01EF),
)
ODD_PARTS = (
    "don't", "I'LL", "'re", "we've", "[MASK]", "<s>", "</s>", "<unk>", "[UNK]", "<|endoftext|>", "...", "--", "\t",
    "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u0000", "\u001c", "e\u0301", "n\u0303\u0323", "\u0130", "ß",
    "\ufb01", "½", "①", "…", "™", "\u212a", "\u212b", "가", "\u1100\u1161", "한국어", "हिन्दी", "ภาษา", "עִבְרִית",
    "\U0001f469\u200d\U0001f469", "\U0001f1e9\U0001f1ea", "我喜欢北京。", "１２３", "ＡＢＣ", "▁", "Ġ", "##", "##ing",
    "a" * 101, "x" * 60, "1234567890", "٣", "ǆ", "ﷺ",
)
ODD_LINES = (
    "", " ", "  ", "\n", "\n\n", " \n", "\n a", " a", "  a", "a ", "a  ", "a \n", "▁", "▁a", "a▁b", "'", "''s", " 's",
    "'s", "!'s", "a's b", "\u0301", " \u0301a", "a\u0301", "\u0301 a", "\u0000", "\u0000a", "a\u0000", "a\u00a0b",
    "\u3000a", "##a", "# #a", "中", "中a", "a中", "a 中 b", ".a.", ". a .", "\ud7a3", "½", " ½ ", "x½y", "'S", "'LL",
    "\u0130", "ΑΣ", "ΑΣ Σ", "\U0001f600", "\t\t", "a\t\tb", "a \t b", "\u2028", "a\u2028b", "\u0085", "\u001f",
    "\u00ad", "a\u00adb",
)


def check_lines(tokenizer: Tokenizer, count: int = CHECKED_LINES) -> Iterator[str]:
    """Lines that try an encoder: its own pieces joined in all ways, many scripts, odd spaces and characters."""
    numbers = random_for("encoder check").integers(0, 1 << 40, 100 * count).tolist()
    pieces = [piece.removeprefix("##").replace(parts.SPACE_MARK, " ").replace("Ġ", " ")
              for piece in tokenizer.vocabulary]

    def below(limit: int) -> int:
        return numbers.pop() % limit

    yield from ODD_LINES
    for number in range(count - len(ODD_LINES)):
        words = []
        for _ in range(1 + below(23)):
            choice = below(10)
            if choice < 6:
                words.append(pieces[below(len(pieces))])
            elif choice < 8:
                first, last = SCRIPTS[number % len(SCRIPTS)]
                words.append("".join(chr(first + below(last + 1 - first)) for _ in range(1 + below(8))))
            elif choice < 9:
                words.append(ODD_PARTS[below(len(ODD_PARTS))])
            else:
                words.append("".join(chr(32 + below(95)) for _ in range(1 + below(11))))
            words.append(("", " ", " ", " ", "\n", "  ")[below(6)])
        yield "".join(words)
