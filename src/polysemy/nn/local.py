"""Local attention: a query sees what is at most `reach` tokens away (Beltagy et al. 2020, the sliding window).

The mask over all pairs is the definition, and what short rows and weights on request use.  Longer rows are cut into
blocks of queries, each with the keys that any of its queries may see, so that time and memory grow with the length and
not with its square.  On CUDA the same band goes to FlexAttention where that compiles.
"""
from __future__ import annotations

import functools
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polysemy.config import Config
from polysemy.nn.dropout import BITS, Drop, drop, mix
from polysemy.nn.limits import check_size
from polysemy.nn.softmax import masked_softmax

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

SMALLEST_BLOCK = 64
"""queries of a block at least: smaller products would not keep a core busy"""
FLEX_BLOCK = 128
"""queries and keys of a block of FlexAttention, its own default"""


@dataclass(frozen=True, kw_only=True)
class Local(Config):
    """Every query sees the keys at most `reach` tokens away, on both sides or (causal) before it."""

    reach: int = 64
    """tokens on one side: half of what other libraries call the window"""

    def check(self) -> None:
        check_size("reach", self.reach)


class Window:
    """The keys that each query of one forward may see; made once and used by every layer.

    `documents` (b, t) are numbers, -1 at padding: none may look into another.  Masks are made when first needed.
    """

    def __init__(self, reach: int, causal: bool, documents: Int[Tensor, "b t"] | None = None) -> None:
        self.reach, self.causal, self.documents = reach, causal, documents
        self.block = max(reach, SMALLEST_BLOCK)
        self._made: dict[tuple[Any, ...], Any] = {}

    @property
    def span(self) -> int:
        """Keys that a block of queries may see."""
        return self.block + self.reach * (1 if self.causal else 2)

    def mask(self, t: int, device: torch.device) -> Bool[Tensor, "#b 1 t t"]:
        """Over all pairs: the definition."""
        return self._once(("mask", t, device), lambda: self._mask(t, device))

    def attend(self, q: Float[Tensor, "b h t e"], k: Float[Tensor, "b h t e"], v: Float[Tensor, "b h t e"],
               factor: float, dropped: Drop | None = None) -> Float[Tensor, "b h t e"]:
        """Contexts; `factor` multiplies the scores, `dropped` tells what dropout takes from the weights."""
        t = q.shape[2]
        if t > self.span:
            if dropped is None and flexible(q):
                return self.attend_flexibly(q, k, v, factor, _compiled())
            return self.attend_in_blocks(q, k, v, factor, dropped)
        mask = self.mask(t, q.device)
        if dropped is None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=factor)
        return drop(masked_softmax(q @ k.transpose(-1, -2) * factor, mask), dropped).to(v.dtype) @ v

    def attend_in_blocks(self, q: Tensor, k: Tensor, v: Tensor, factor: float, dropped: Drop | None = None) -> Tensor:
        """The same in linear time and memory; the last block may be partly empty."""
        b, h, t, _ = q.shape
        mask = self._once(("blocks", t, b, q.device), lambda: self._block_mask(t, b, q.device))
        cut, keys, values = self._queries(q), self._keys(k), self._keys(v)
        if dropped is None:
            y = F.scaled_dot_product_attention(cut, keys, values, attn_mask=mask, scale=factor)
        else:
            weights = masked_softmax(cut @ keys.transpose(-1, -2) * factor, mask)
            weights = torch.where(self._kept(dropped, t), weights * dropped.factor, 0)
            y = weights.to(v.dtype) @ values
        y = y.view(b, -1, h, self.block, y.shape[-1]).transpose(1, 2).flatten(2, 3)  # (b, h, n * block, e)
        return y[:, :, :t]

    def attend_flexibly(self, q: Tensor, k: Tensor, v: Tensor, factor: float, flex: Callable[..., Any]) -> Tensor:
        """The same by FlexAttention."""
        t = q.shape[2]
        made = self._once(("flex", t, q.device), lambda: self.flex_mask(t, q.device))
        return flex(q, k, v, block_mask=made, scale=factor)

    def flex_mask(self, t: int, device: torch.device) -> BlockMask:
        """The blocks that the band touches, by number; what a query sees inside them the rule says.

        `create_block_mask` would find them by the mask over all pairs, and `from_kv_blocks` turns the keys of queries
        into the queries of keys by a table of all blocks; a band needs neither.
        """
        from torch.nn.attention.flex_attention import BlockMask

        reach, ahead, documents = self.reach, 0 if self.causal else self.reach, self.documents
        near = lambda row, head, i, j: (i - j <= reach) & (j - i <= ahead)  # noqa: E731  no type checks inside
        seen = near if documents is None else lambda row, head, i, j: (
            near(row, head, i, j) & (documents[row, j] >= 0) & (documents[row, i] == documents[row, j]))
        n, before, after = (-(-tokens // FLEX_BLOCK) for tokens in (t, reach, ahead))
        keys, queries = _band(n, before, after, device), _band(n, after, before, device)
        return BlockMask((t, t), *keys, None, None, *queries, None, None, BLOCK_SIZE=(FLEX_BLOCK, FLEX_BLOCK),
                         mask_mod=seen)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _mask(self, t: int, device: torch.device) -> Tensor:
        gap = torch.arange(t, device=device)[:, None] - torch.arange(t, device=device)
        near = ((gap <= self.reach) & (gap >= (0 if self.causal else -self.reach)))[None, None]
        if self.documents is None:
            return near
        same = (self.documents[:, :, None] == self.documents[:, None, :]) & (self.documents >= 0)[:, None, :]
        return near & same[:, None]

    def _block_mask(self, t: int, b: int, device: torch.device) -> Tensor:
        """(b * n, 1, block, span): key column c of block m stands at m * block - reach + c."""
        n = -(-t // self.block)
        gap = torch.arange(self.span, device=device) - torch.arange(self.block, device=device)[:, None]
        near = (gap >= 0) & (gap <= self.span - self.block)
        at = self._columns(t, device)
        seen = near & ((at >= 0) & (at < t))[:, None, :]  # (n, block, span)
        if self.documents is None:
            seen = seen.expand(b, -1, -1, -1)
        else:
            right = n * self.block - t
            asking = F.pad(self.documents, (0, right), value=-1).view(b, n, self.block)
            there = F.pad(self.documents, (self.reach, right + self.span - self.block - self.reach), value=-1)
            there = there.unfold(1, self.span, self.block)  # (b, n, span)
            seen = seen & (asking[..., None] == there[:, :, None]) & (there >= 0)[:, :, None]
        return seen.reshape(-1, 1, self.block, self.span)

    def _columns(self, t: int, device: torch.device) -> Tensor:
        """(n, span): the place in its row of each key of each block, outside 0 .. t - 1 where there is none."""
        starts = torch.arange(0, t, self.block, dtype=torch.int32, device=device) - self.reach
        return starts[:, None] + torch.arange(self.span, dtype=torch.int32, device=device)

    def _queries(self, x: Tensor) -> Tensor:
        """(b, h, t, e) to blocks (b * n, h, block, e)."""
        x = F.pad(x, (0, 0, 0, -x.shape[2] % self.block))
        return x.unflatten(2, (-1, self.block)).transpose(1, 2).flatten(0, 1)

    def _keys(self, x: Tensor) -> Tensor:
        """(b, h, t, e) to what each block may see (b * n, h, span, e)."""
        right = -x.shape[2] % self.block + self.span - self.block - self.reach
        x = F.pad(x, (0, 0, self.reach, right)).unfold(2, self.span, self.block)  # (b, h, n, e, span)
        return x.permute(0, 2, 1, 4, 3).flatten(0, 1)

    def _kept(self, dropped: Drop, t: int) -> Tensor:
        """(b * n, h, block, span): which weights stay, the same ones of (b, h, t, t) as without blocks."""
        keys = self._queries(dropped.keys[..., None])
        columns = self._columns(t, keys.device).repeat(len(keys) * self.block // (t + -t % self.block), 1)
        bits = mix(keys ^ columns[:, None, None, :]) >> (32 - BITS) & ((1 << BITS) - 1)
        return bits >= dropped.threshold


def _band(n: int, before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of n blocks, how many (1, 1, n) and which (1, 1, n, at most before + 1 + after) stand near it, int32.

    Near are those from `before` blocks before it to `after` blocks after it; beyond its number a row repeats the last.
    """
    block = torch.arange(n, dtype=torch.int32, device=device)
    first, last = (block - before).clamp(min=0), (block + after).clamp(max=n - 1)
    which = first[:, None] + torch.arange(min(n, before + 1 + after), dtype=torch.int32, device=device)
    return (last - first + 1)[None, None], which.clamp(max=n - 1)[None, None]


def flexible(q: Tensor) -> bool:
    """Whether FlexAttention may serve: CUDA with a compiler, heads of a width that it takes."""
    return (q.is_cuda and q.shape[-1] in (16, 32, 64, 128, 256) and not torch.compiler.is_compiling()
            and importlib.util.find_spec("triton") is not None and _compiled() is not None)


@functools.cache
def _compiled() -> Any:
    """FlexAttention as one kernel, tried on a few numbers; None where it does not compile."""
    from torch.nn.attention.flex_attention import flex_attention

    flex = torch.compile(flex_attention, dynamic=True)
    try:
        window, x = Window(16, True), torch.zeros(1, 1, 256, 16, device="cuda")
        window.attend_flexibly(x, x, x, 1.0, flex)
    except Exception as error:  # whatever a compiler may raise: blocks do the same
        warnings.warn(f"FlexAttention does not compile here ({type(error).__name__}); attention runs in blocks",
                      stacklevel=2)
        return None
    return flex
