"""How features of frozen layers are used (Peters et al. 2018, 3.2 and 3.3): a learned mix, and a BiLSTM that reads it.

    x = gamma * sum_j softmax(s)_j (h_j - m_j) * r_j    h_0 ... h_L: the layers of the frozen body
    y = [LSTM(x); backward LSTM(x); x]                  the mix stands beside what the reader made of it (paper, 3.3)

m_j and r_j (d numbers each) are the mean and one over the deviation of what the task shows of each layer (`measure`):
most of a state is the same for every word, and what differs is so small that nothing is learned from it as it is.  The
paper speaks of layer norm, which keeps the common part.

The task learns L + 2 numbers of the mix and a reader of its own, where BERT's way is to train the whole body and add
one matrix.  The paper joins the mix with word vectors of the task and has a larger reader for each task; here layer 0,
which is among the mixed, is all that is known of the word alone, and the reader is one layer for all tasks.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polysemy.nn.dropout import Dropout
from polysemy.nn.recurrent import RecurrentLayer
from polysemy.nn.scalar_mix import ScalarMix


class MixHead(nn.Module):
    """The states of all layers (each (b, t, d)) to those of a BiLSTM over their mix, and the mix.

    num_layers   the embedding counts as one
    hidden_size  d; each direction of the reader is half as wide
    dropout      on the mix and on what the reader gives
    """

    def __init__(self, num_layers: int, hidden_size: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        size = max(1, hidden_size // 2)
        self.output_size = 2 * size + hidden_size
        self.mix = ScalarMix(num_layers, dropout=dropout)
        self.middle: Tensor
        self.scale: Tensor
        for name in ("middle", "scale"):  # m and r: measured once, not learned
            self.register_buffer(name, torch.empty(num_layers, hidden_size))
        self.ahead = RecurrentLayer("lstm", hidden_size, size, forget_bias=1.0)
        self.back = RecurrentLayer("lstm", hidden_size, size, forget_bias=1.0)
        self.dropout = Dropout(dropout)

    @torch.no_grad()
    def first_weights(self, generator: Callable[[str], torch.Generator]) -> list[Tensor]:
        """Layers as they are, until `measure` has seen some; no parameter is done by that."""
        self.middle.zero_()
        self.scale.fill_(1)
        return []

    @torch.no_grad()
    def measure(self, batches: Iterable[Sequence[Float[Tensor, "n d"]]]) -> None:
        """Bring layers to mean 0 and variance 1 in every number, as seen in `batches`: states by layer.

        A number that hardly varies keeps its scale.  Sums run in float64: how states are batched hardly matters.
        """
        count, sums, squares = 0, torch.zeros_like(self.middle, dtype=torch.float64), None
        for batch in batches:
            states = torch.stack(list(batch)).double()
            count += states.shape[1]
            sums += states.sum(1)
            squares = states.square().sum(1) + (0 if squares is None else squares)
        if squares is None or count < 2:
            return
        mean = sums / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        flat = deviation <= 1e-3 * deviation.amax(1, keepdim=True).clamp(min=1e-12)
        self.middle.copy_(mean)
        self.scale.copy_(torch.where(flat, 1.0, 1 / deviation.clamp(min=1e-30)))

    def forward(self, layers: Sequence[Float[Tensor, "b t d"]], visible: Bool[Tensor, "b t"] | None = None
                ) -> Float[Tensor, "b t e"]:
        """The reader's states, then the mix; `visible` is False at padding, which stands on the right.

        Padding changes nothing before it; what stands at the padding itself means nothing.
        """
        mix = self.mixed(layers)
        x = mix.transpose(0, 1)
        order = reversing(x.shape[1], x.shape[0], visible, x.device).t()[..., None]
        start = self.ahead.start(x.shape[1], x)
        ahead, _ = self.ahead(x, start)
        back, _ = self.back(x.gather(0, order.expand_as(x)), start)
        back = back.gather(0, order.expand_as(back))
        read = torch.cat([ahead, back], -1).transpose(0, 1)
        return torch.cat([self.dropout(read), mix], -1)

    def mixed(self, layers: Sequence[Float[Tensor, "b t d"]]) -> Float[Tensor, "b t d"]:
        """The mix alone, as it was learned: features for any other use."""
        if len(layers) != len(self.scale):
            return self.mix(layers)  # which says what is wrong
        return self.mix([(layer - middle.to(layer.dtype)) * scale.to(layer.dtype)
                         for layer, middle, scale in zip(layers, self.middle, self.scale, strict=True)])

    def report(self) -> dict[str, float]:
        """What was learned: `layer 0`, `layer 1`, ... with shares that add up to 1, and `gamma`."""
        shares = self.mix.shares().detach().tolist()
        gamma = float(self.mix.gamma.detach())
        return {**{f"layer {number}": share for number, share in enumerate(shares)}, "gamma": gamma}


def reversing(rows: int, columns: int, visible: Tensor | None, device: torch.device) -> Tensor:
    """(rows, columns) column numbers that turn the real part of each row around and leave its padding; its own inverse.
    """
    places = torch.arange(columns, device=device).expand(rows, columns)
    if visible is None:
        return places.flip(1)
    lengths = visible.sum(1, keepdim=True)
    return torch.where(places < lengths, lengths - 1 - places, places)
