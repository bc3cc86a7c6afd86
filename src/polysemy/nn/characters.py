"""A word's vector from its bytes: convolutions, highway layers, a projection (Kim et al. 2016; Peters et al. 2018).

    bytes -> vectors -> convolution of each width -> maximum over places -> ReLU -> highways -> projection

A word is its UTF-8 bytes, at most MAX_BYTES of them, between BEGIN_WORD and END_WORD, filled up with PAD to FRAME: what
AllenNLP and bilm-tf show their models, without AllenNLP's extra 0 for masked words.  No word is unknown: every string
has bytes.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError

BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PAD = range(256, 261)
SYMBOLS = 261
"""256 bytes and the five above"""
FRAME = 50
MAX_BYTES = FRAME - 2


@dataclass(frozen=True, kw_only=True)
class Characters(Config):
    """Sizes of the network that reads a word's bytes."""

    byte_size: int = 16
    """width of a byte's vector"""
    widths: tuple[int, ...] = (1, 2, 3, 4, 5)
    """how many bytes each group of filters sees at once"""
    filters: tuple[int, ...] = (32, 32, 64, 64, 64)
    """filters of each width"""
    num_highways: int = 1

    def check(self) -> None:
        if len(self.widths) != len(self.filters) or not self.widths:
            raise InputError(f"filters must be one number for each of widths, got {len(self.filters)} and "
                             f"{len(self.widths)}; set both")
        if not all(1 <= width <= FRAME for width in self.widths):
            raise InputError(f"widths must be in 1..{FRAME}, got {', '.join(map(str, self.widths))}")
        if not all(1 <= count <= 2**16 for count in self.filters):
            raise InputError(f"filters must be in 1..{2**16}, got {', '.join(map(str, self.filters))}")
        if not 1 <= self.byte_size <= 2**12:
            raise InputError(f"byte_size must be in 1..{2**12}, got {self.byte_size}")
        if not 0 <= self.num_highways <= 64:
            raise InputError(f"num_highways must be in 0..64, got {self.num_highways}")


def framed(word: str) -> list[int]:
    """The FRAME symbols of a word; bytes beyond MAX_BYTES are cut off, even within a character."""
    symbols = [BEGIN_WORD, *word.encode("utf-8", "replace")[:MAX_BYTES], END_WORD]
    return symbols + [PAD] * (FRAME - len(symbols))


def frames(words: Sequence[str]) -> Int[Tensor, "n 50"]:
    """One row of symbols (int16) a word."""
    return torch.tensor([framed(word) for word in words], dtype=torch.int16).reshape(-1, FRAME)


class Highway(nn.Module):
    """y = g x + (1 - g) ReLU(W x + b), g = sigmoid(V x + c): the gate carries the input (Srivastava et al. 2015).

    W and V are one matrix, as in AllenNLP; c begins at 1, so that the layer begins near the identity.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * size, size))
        self.bias = nn.Parameter(torch.empty(2 * size))

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Normal with deviation size**-0.5; returns the parameters that are done."""
        size = self.weight.shape[1]
        self.weight.copy_(torch.empty(self.weight.shape).normal_(std=size**-0.5, generator=generator("weight")))
        self.bias.zero_()
        self.bias.chunk(2)[1].fill_(1)
        return list(self.parameters())

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        changed, gate = F.linear(x, self.weight, self.bias).chunk(2, -1)
        gate = torch.sigmoid(gate)
        return gate * x + (1 - gate) * F.relu(changed)


class CharacterEncoder(nn.Module):
    """Vectors (n, size) of words from their bytes."""

    def __init__(self, config: Characters, size: int) -> None:
        super().__init__()
        self.config = config
        self.byte = nn.Parameter(torch.empty(SYMBOLS, config.byte_size))
        self.convolutions = nn.ModuleList(nn.Conv1d(config.byte_size, count, width)
                                          for width, count in zip(config.widths, config.filters, strict=True))
        self.highways = nn.ModuleList(Highway(sum(config.filters)) for _ in range(config.num_highways))
        self.projection = nn.Linear(sum(config.filters), size)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Bytes uniform within 1, as in bilm-tf; filters so that their outputs have variance 1; all biases 0.

        Returns the parameters that are done: all but the highways'.
        """
        self.byte.copy_(torch.empty(self.byte.shape).uniform_(-1, 1, generator=generator("byte")))
        for name, layer in [*self.convolutions.named_children(), ("projection", self.projection)]:
            weight, bias = layer.weight, layer.bias
            assert isinstance(weight, Tensor) and isinstance(bias, Tensor)  # noqa: PT018
            std = weight[0].numel() ** -0.5 * (1 if name == "projection" else 3**0.5)
            weight.copy_(torch.empty(weight.shape).normal_(std=std, generator=generator(name)))
            bias.zero_()
        return [self.byte, *self.convolutions.parameters(), *self.projection.parameters()]

    def forward(self, symbols: Int[Tensor, "n f"] | UInt8[Tensor, "n f"]) -> Float[Tensor, "n size"]:
        """`symbols` are rows that `frames` gives."""
        symbols = _shortened(symbols.long(), max(self.config.widths))
        x = F.embedding(symbols, self.byte).transpose(1, 2)
        x = torch.cat([F.relu(layer(x).amax(-1)) for layer in self.convolutions], -1)
        for highway in self.highways:
            x = highway(x)
        return self.projection(x)


def _shortened(symbols: Tensor, widest: int) -> Tensor:
    """The columns that can matter: the longest word, and filling as far as the widest filter can look beyond it.

    Windows of filling alone are all equal, so the maximum over places is that of the whole frame.
    """
    longest = int((symbols != PAD).sum(1).max()) if len(symbols) else 0
    return symbols[:, :min(symbols.shape[1], longest + widest)]
