"""Text for the tokenizer tests: real English from the standard library's sources, some Chinese, odd lines."""
from __future__ import annotations

import argparse
import functools
import re
from pathlib import Path

from polysemy.text.tokenizer import Tokenizer, TokenizerConfig

KINDS = ("wordpiece", "bpe", "bytebpe", "unigram")
CHINESE = (
    "我喜欢在北京大学学习自然语言处理。",
    "今天天气很好,我们去公园散步吧!", "银行在河的旁边,河水很清。",
    "他说:“我明天不来了。”",
    "上海和北京都是中国的大城市。",
    "学习语言需要很多时间和耐心。", "这本书讲的是机器学习的历史。",
    "我们的模型在小数据上也能工作。",
)


@functools.cache
def english() -> tuple[str, ...]:
    """Some 40 kB of prose and code words, one line each."""
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    prose = [line.strip() for line in source.splitlines() if re.search(r"[a-z]{3,} [a-z]{3,}", line)]
    return tuple(prose)


@functools.cache
def texts() -> tuple[str, ...]:
    return english() + CHINESE * 3


@functools.cache
def trained(kind: str, **settings: object) -> Tokenizer:
    """A tokenizer of 700 pieces, trained once a session for each kind and setting."""
    return Tokenizer.train(texts(), TokenizerConfig(kind=kind, **{"vocab_size": 700, **settings}))  # type: ignore[arg-type]
