"""Writes LLVM vector instructions on float32: what the micro-kernels in `tiles` are put together from."""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

FLOAT, INT, WORD, BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(8)
MOST_SUMS = 16
"""vectors of sums held in registers by a loop over rows"""
MOST = 30.0
"""beyond it a sigmoid is 0 or 1 to float32"""


class Vectors:
    """Vector instructions at the place where `builder` writes; addresses are int64, offsets count floats."""

    def __init__(self, builder: ir.IRBuilder, floats: int) -> None:
        self.builder, self.floats = builder, floats
        self.type = ir.VectorType(FLOAT, floats)
        self.zero = ir.Constant(self.type, [0.0] * floats)

    def constant(self, value: float) -> ir.Constant:
        """A vector of one number."""
        return ir.Constant(self.type, [value] * self.floats)

    def address(self, table: Any, index: Any) -> Any:
        """Entry `index` (a value or a number) of a table of addresses."""
        index = WORD(index) if isinstance(index, int) else index
        return self.builder.load(self.builder.gep(self.builder.inttoptr(table, WORD.as_pointer()), [index]))

    def addresses(self, table: Any, count: int) -> list[Any]:
        """The first `count` entries of a table of addresses."""
        return [self.address(table, i) for i in range(count)]

    def load(self, row: Any, at: int) -> Any:
        """A vector from float `at` of a row."""
        value: Any = self.builder.load(self._place(row, at, self.type))
        value.align = 4
        return value

    def store(self, value: Any, row: Any, at: int) -> None:
        """Write a vector to float `at` of a row."""
        instruction: Any = self.builder.store(value, self._place(row, at, self.type))
        instruction.align = 4

    def splat(self, number: Any) -> Any:
        """A vector of one float32 value."""
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, number, INT(0))
        return self._shuffle(first, undefined, [0] * self.floats)

    def splat_from(self, row: Any, at: int) -> Any:
        """A vector of the float at `at`."""
        return self.splat(self.builder.load(self._place(row, at, FLOAT)))

    def pick(self, row: Any, places: Sequence[int], count: int) -> Any:
        """A vector of the floats at these places of a buffer whose first `count` floats are used."""
        loaded = [self.load(row, at) for at in range(0, count, self.floats)]
        if len(loaded) == 1:
            return self._shuffle(loaded[0], loaded[0], list(places))
        value = ir.Constant(self.type, ir.Undefined)
        for lane, place in enumerate(places):
            number = self.builder.extract_element(loaded[place // self.floats], INT(place % self.floats))
            value = self.builder.insert_element(value, number, INT(lane))
        return value

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b)

    def subtract(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b)

    def multiply(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, or a b where c is None."""
        return self.builder.fmul(a, b) if c is None else self._call("fmuladd", a, b, c)

    def sigmoid(self, x: Any) -> Any:
        """1 / (1 + 2**y) with y = -x log2 e: 2**y from its Taylor series on [-1/2, 1/2] and the float's exponent."""
        b = self.builder
        x = self._call("maxnum", self._call("minnum", x, self.constant(MOST)), self.constant(-MOST))
        y = b.fmul(x, self.constant(-math.log2(math.e)))
        whole = self._call("rint", y)
        part = b.fsub(y, whole)
        power = self.constant(math.log(2) ** 6 / math.factorial(6))
        for k in range(5, -1, -1):
            power = self.multiply_add(power, part, self.constant(math.log(2) ** k / math.factorial(k)))
        integers = ir.VectorType(INT, self.floats)
        exponent = b.shl(b.fptosi(whole, integers), ir.Constant(integers, [23] * self.floats))
        scaled = b.bitcast(b.add(b.bitcast(power, integers), exponent), self.type)
        one = self.constant(1.0)
        return b.fdiv(one, b.fadd(one, scaled))

    def totals(self, sums: Sequence[Any]) -> Any:
        """A vector whose lane j is the sum of the lanes of sums[j]; at most as many as lanes, lanes beyond are 0.

        A tree: each step lays two vectors side by side and adds their halves, so that n sums cost n - 1 additions.
        """
        values = list(sums) + [self.zero] * (self.floats - len(sums))
        lanes = self.floats
        for low, high in self._halvings():
            values = [self.builder.fadd(self._shuffle(p, q, low), self._shuffle(p, q, high))
                      for p, q in zip(values[::2], values[1::2], strict=True)]
            lanes //= 2
        assert lanes == len(values) == 1
        return values[0]

    def loop_sums(self, table: Any, count: Any, places: Iterable[int]) -> list[Any]:
        """For each place: the sum over `count` rows of a table, by a loop over the rows."""
        b, places = self.builder, list(places)
        slots = [cgutils.alloca_once_value(b, self.zero) for _ in places]
        for slot in slots:
            b.store(self.zero, slot)
        with cgutils.for_range(b, count) as loop:
            row = self.address(table, loop.index)
            for slot, at in zip(slots, places, strict=True):
                b.store(b.fadd(b.load(slot), self.load(row, at)), slot)
        return [b.load(slot) for slot in slots]

    def prefetch(self, row: Any, at: int) -> None:
        """Ask for the cache line that holds float `at`, into the second cache: long rows would crowd the first one."""
        pointer = BYTE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, INT, INT, INT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [self._place(row, at, BYTE), INT(0), INT(2), INT(1)])

    def _halvings(self) -> list[tuple[list[int], list[int]]]:
        """Masks of each step of `totals`: first within quarters of four lanes, then between the quarters."""
        n, quarters = self.floats, range(0, self.floats, 4)
        within = ((0, n, 1, n + 1), (2, n + 2, 3, n + 3)), ((0, 1, n, n + 1), (2, 3, n + 2, n + 3))
        steps = [([q + j for q in quarters for j in low], [q + j for q in quarters for j in high])
                 for low, high in within]
        if n == 16:
            steps.append((self._quarters(0, 1, 4, 5), self._quarters(2, 3, 6, 7)))
            steps.append((self._quarters(0, 2, 4, 6), self._quarters(1, 3, 5, 7)))
        elif n == 8:
            steps.append((self._quarters(0, 2), self._quarters(1, 3)))
        return steps

    @staticmethod
    def _quarters(*which: int) -> list[int]:
        return [4 * q + j for q in which for j in range(4)]

    def _place(self, row: Any, at: int, kind: ir.Type) -> Any:
        return self.builder.inttoptr(self.builder.add(row, WORD(4 * at)), kind.as_pointer())

    def _shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT, len(lanes)), lanes))

    def _call(self, name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(self.type, [self.type] * len(arguments))
        full = f"llvm.{name}.v{self.floats}f32"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, full), arguments)
