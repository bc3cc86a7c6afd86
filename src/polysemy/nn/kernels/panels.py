"""Products of a few rows with a large matrix, for models in use: float32, and 16-bit or 8-bit whole numbers.

    C[m, n] (+)= sum over k of A[m, k] * B[k, n]          A of a few tokens, B the weights, C in float32

A register holds a word of 32 bits for each of 16 columns: one float32, two int16 or four int8 that are neighbors along
k.  One instruction (AVX-512; VNNI for whole numbers) multiplies and adds 16, 32 or 64 pairs.  B is stored in panels of
PANEL columns so that it is read from end to end; A is rows of words.  ROWS x PANEL numbers of C stay in registers while
k runs; fewer rows have tiles of their own, so that one token costs what one token must.

Sums of int16 products are taken out of their 32 bits after every BLOCK words of k; `packed` chooses scales under which
they cannot leave them.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types

from polysemy.nn.kernels.launch import apart, intrinsic, routine
from polysemy.runtime import cpu_flags

ROWS, LANES, WIDTH = 6, 16, 4
PANEL = LANES * WIDTH
BLOCK = 48
"""words of k between two looks at the sums of int16: 96 products"""
PER_WORD = {"float32": 1, "int16": 2, "int8": 4}
CODES = {"float32": 0, "int16": 1, "int8": 2}
LARGEST = 16_383
"""of an int16 activation; weights get what then still fits (see `packed`)"""
WORD, INDEX = ir.IntType(32), ir.IntType(64)
WORDS, FLOATS = ir.VectorType(WORD, LANES), ir.VectorType(ir.FloatType(), LANES)
_INSTRUCTIONS = {"float32": "vfmadd231ps", "int16": "vpdpwssd", "int8": "vpdpbusd"}


def multiplies(form: str) -> bool:
    """Whether this processor has the instruction for a format."""
    return {"avx512f", "avx512bw"} <= cpu_flags() and (form == "float32" or "avx512_vnni" in cpu_flags())


# --- weights


class Packed(NamedTuple):
    """A matrix (n, k) as `product` reads it: panels of its rows, which are the columns of the product."""

    words: np.ndarray
    """int32 (panels, k / per word, PANEL)"""
    scales: np.ndarray
    """(n,) float32: what one step of each column is worth; ones for float32"""
    sums: np.ndarray
    """(n,) float32: sum over k of what is stored, times its scale; it undoes the shift of int8 activations"""


def packed(matrix: np.ndarray, form: str) -> Packed:
    """matrix (n, k) float32, contiguous; both sizes are filled up with zeros to whole panels and words.

    int16 and int8 have one scale for each output; the largest weight of a row is 32,767 or 127 steps, less where sums
    of BLOCK words with activations of LARGEST would leave 32 bits.
    """
    n, k = matrix.shape
    per = PER_WORD[form]
    rows, columns = -(-n // PANEL) * PANEL, -(-k // per) * per
    full = np.zeros((rows, columns), np.float32)
    full[:n, :k] = matrix
    scales = np.ones(rows, np.float32)
    if form != "float32":
        scales = np.abs(full).max(1) / (127 if form == "int8" else 32_767)
        if form == "int16":
            edges = np.arange(0, columns, BLOCK * per)
            most = np.add.reduceat(np.abs(full), edges, axis=1).max(1)
            # rounding may add half a step to each weight of a block
            scales = np.maximum(scales, most / (2.0**31 / LARGEST - BLOCK))
        scales = np.maximum(scales, 1e-30).astype(np.float32)
        full = np.rint(full / scales[:, None])
    stored = full.astype({"float32": np.float32, "int16": np.int16, "int8": np.int8}[form])
    words = stored.view(np.int32).reshape(rows // PANEL, PANEL, columns // per).transpose(0, 2, 1)
    sums = (full.sum(1, dtype=np.float64) * scales).astype(np.float32)
    return Packed(np.ascontiguousarray(words), scales[:n].copy(), sums[:n].copy())


# --- the tile


def _at(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """The address of word `index` from `base`, as a pointer to `kind`."""
    return builder.inttoptr(builder.add(base, builder.shl(index, INDEX(2))), kind.as_pointer())


def _splat(builder: Any, word: Any) -> Any:
    undefined = ir.Constant(WORDS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, word, WORD(0)), undefined,
                                  ir.Constant(WORDS, [0] * LANES))


def _make_tile(rows: int, width: int, form: str) -> Any:
    """rows x (width * LANES) as a function of addresses and strides, all int64, strides in words."""

    @intrinsic
    def tile(typingctx: Any, a: Any, a_row: Any, b: Any, b_step: Any, steps: Any, c: Any, c_row: Any, add: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if multiplies(form):  # compiled all the same where not, never called
                a, a_row, b, b_step, steps, *target = values
                _store(builder, _sums(builder, (rows, width, form), (a, a_row, b, b_step, steps)), *target)
            return context.get_dummy_value()
        return types.void(*[types.int64] * 8), code
    return tile


def _sums(builder: Any, shape: tuple[int, int, str], source: tuple[Any, ...]) -> list[list[Any]]:
    """The sums over k in registers, as floats."""
    (rows, width, form), (a, a_row, b, b_step, steps) = shape, source
    whole = form != "float32"
    kind = WORDS if whole else FLOATS
    zero = ir.Constant(kind, [0 if whole else 0.0] * LANES)
    multiply_add = ir.InlineAsm(ir.FunctionType(kind, [kind, WORDS, WORDS]), f"{_INSTRUCTIONS[form]} $3, $2, $0",
                                "=v,0,v,v", side_effect=False)
    before = builder.block
    loop, done = (builder.function.append_basic_block(name) for name in ("panel_loop", "panel_done"))
    starts = [builder.mul(a_row, INDEX(m)) for m in range(rows)]
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INDEX)
    k.add_incoming(INDEX(0), before)
    sums = [[builder.phi(kind) for _ in range(width)] for _ in range(rows)]
    at = builder.mul(k, b_step)
    right = [builder.load(_at(builder, b, builder.add(at, INDEX(LANES * n)), WORDS), align=4) for n in range(width)]
    new = []
    for m in range(rows):
        left = _splat(builder, builder.load(_at(builder, a, builder.add(k, starts[m]), WORD), align=4))
        new.append([builder.call(multiply_add, [sums[m][n], left, right[n]]) for n in range(width)])
    following = builder.add(k, INDEX(1))
    k.add_incoming(following, loop)
    for old_row, new_row in zip(sums, new, strict=True):
        for old, following_sum in zip(old_row, new_row, strict=True):
            old.add_incoming(zero, before)
            old.add_incoming(following_sum, loop)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
    builder.position_at_end(done)
    return [[builder.sitofp(x, FLOATS) if whole else x for x in row] for row in new]


def _store(builder: Any, sums: list[list[Any]], c: Any, c_row: Any, add: Any) -> None:
    """Write the sums to C, or add them to what is there."""
    done = builder.block
    old, store = (builder.function.append_basic_block(name) for name in ("panel_old", "panel_store"))
    places = [[_at(builder, c, builder.add(builder.mul(c_row, INDEX(m)), INDEX(LANES * n)), FLOATS)
               for n in range(len(row))] for m, row in enumerate(sums)]
    builder.cbranch(builder.icmp_signed("!=", add, INDEX(0)), old, store)
    builder.position_at_end(old)
    more = [[builder.fadd(x, builder.load(place, align=4)) for x, place in zip(row, line, strict=True)]
            for row, line in zip(sums, places, strict=True)]
    builder.branch(store)
    builder.position_at_end(store)
    found = []
    for row, more_row in zip(sums, more, strict=True):
        for x, y in zip(row, more_row, strict=True):
            phi = builder.phi(FLOATS)
            phi.add_incoming(x, done)
            phi.add_incoming(y, old)
            found.append(phi)
    for value, place in zip(found, (place for line in places for place in line), strict=True):
        builder.store(value, place, align=4)


# --- products

llvmlite.binding.initialize_native_asmparser()  # the instructions above are given by name


def _tiles(form: str) -> Any:
    """A panel and up to ROWS rows in one format."""
    one, two, four, six = (_make_tile(rows, WIDTH, form) for rows in (1, 2, 4, ROWS))

    @routine
    def tile(a, a_row, b, b_step, steps, c, c_row, rows, add):
        apart()
        i = 0
        if rows == 6:
            six(a, a_row, b, b_step, steps, c, c_row, add)
            i = 6
        elif rows >= 4:
            four(a, a_row, b, b_step, steps, c, c_row, add)
            i = 4
        if rows - i >= 2:
            two(a + 4 * i * a_row, a_row, b, b_step, steps, c + 4 * i * c_row, c_row, add)
            i += 2
        if i < rows:
            one(a + 4 * i * a_row, a_row, b, b_step, steps, c + 4 * i * c_row, c_row, add)
    return tile


def _columns(width: int) -> Any:
    """`width` vectors of columns and up to ROWS rows, in float32."""
    all_, one = _make_tile(ROWS, width, "float32"), _make_tile(1, width, "float32")

    @routine
    def tile(a, a_row, b, b_step, steps, c, c_row, rows):
        apart()
        if rows == 6:
            all_(a, a_row, b, b_step, steps, c, c_row, 0)
        else:
            for i in range(rows):
                one(a + 4 * i * a_row, a_row, b, b_step, steps, c + 4 * i * c_row, c_row, 0)
    return tile


_float32, _int16, _int8 = (_tiles(form) for form in CODES)
_columns1, _columns2 = _columns(1), _columns(2)


@routine
def product(form, a, a_row, panel, steps, c, c_row, rows):
    """One panel of a packed matrix and up to ROWS rows of A, in the format of code `form`.

    a, panel and c are addresses; a_row, c_row (from row to row) and `steps` count words.
    """
    if form == 0:
        _float32(a, a_row, panel, PANEL, steps, c, c_row, rows, 0)
    elif form == 1:
        for start in range(0, steps, BLOCK):
            _int16(a + 4 * start, a_row, panel + 4 * start * PANEL, PANEL, min(BLOCK, steps - start), c, c_row, rows,
                   start)
    else:
        _int8(a, a_row, panel, PANEL, steps, c, c_row, rows, 0)


@routine
def plain_product(a, a_row, b, b_step, steps, c, c_row, rows, columns):
    """Up to ROWS rows of A times rows of B, all float32; `columns` is a multiple of LANES."""
    j = 0
    while columns - j >= PANEL:
        _float32(a, a_row, b + 4 * j, b_step, steps, c + 4 * j, c_row, rows, 0)
        j += PANEL
    while columns - j >= 2 * LANES:
        _columns2(a, a_row, b + 4 * j, b_step, steps, c + 4 * j, c_row, rows)
        j += 2 * LANES
    if j < columns:
        _columns1(a, a_row, b + 4 * j, b_step, steps, c + 4 * j, c_row, rows)
