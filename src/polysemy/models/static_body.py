"""Static word vectors as a body: the state of a word is its row of the table, whatever stands around it.

The control of everything that reads context: the same heads, the same training, no context at all.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from polysemy.config import Config
from polysemy.errors import InputError
from polysemy.models.encoder import Encoded
from polysemy.nn.dropout import Dropout
from polysemy.nn.fused import look_up
from polysemy.nn.heads import HeadSizes
from polysemy.nn.limits import check_rate, check_size
from polysemy.text.vocabulary import WordConfig


@dataclass(frozen=True, kw_only=True)
class StaticConfig(Config):
    """Size of the table, and how text is cut into its words."""

    vocab_size: int = 8000
    """rows: the words, then one for padding and one for texts without a known word, both of zeros at first"""
    hidden_size: int = 100
    """numbers a vector"""
    words: WordConfig = field(default_factory=WordConfig)
    """the rule that cut the text the vectors were learned from"""
    dropout: float = 0.0
    """on the vectors"""

    def check(self) -> None:
        check_size("vocab_size", self.vocab_size)
        check_size("hidden_size", self.hidden_size)
        check_rate("dropout", self.dropout)

    def body(self) -> Static:
        """The body of this config."""
        return Static(self)

    def head_sizes(self) -> HeadSizes:
        """What heads must know of this body."""
        return HeadSizes(hidden_size=self.hidden_size, table_size=self.hidden_size, vocab_size=self.vocab_size)

    def with_vocabulary(self, vocab_size: int) -> StaticConfig:
        """The same body for so many rows."""
        return self.replace(vocab_size=vocab_size)

    @property
    def num_layers(self) -> int:
        """None: layer 0, the table, is also the last."""
        return 0


class Static(nn.Module):
    """Token ids to rows of the table."""

    stateful: ClassVar[bool] = False
    """training reads every row from its beginning"""

    def __init__(self, config: StaticConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.dropout = Dropout(config.dropout)

    @property
    def table(self) -> Float[Tensor, "v d"]:
        """The vectors."""
        return self.embedding.weight

    def forward(self, ids: Int[Tensor, "b t"], positions: Int[Tensor, "b t"] | None = None,
                segments: Int[Tensor, "b t"] | None = None, documents: Int[Tensor, "b t"] | None = None,
                visible: Bool[Tensor, "b t"] | None = None, *, hidden_states: bool = False,
                attention: bool = False) -> Float[Tensor, "b t d"] | Encoded:
        """The row of each id; place, segment, document and company mean nothing.

        With `hidden_states` an Encoded whose one layer it is.
        """
        if attention:
            raise InputError("attention must not be asked of static vectors, got true; they have none")
        states = self.dropout(look_up(self.table, ids))
        return Encoded(states, [states], []) if hidden_states else states
