"""A small matrix product in registers: the inner loop of the attention kernels.

    C[m, n] (+)= sum over k of  A[m, 2k] * B[2k, n] + A[m, 2k+1] * B[2k+1, n]

with A and B in bfloat16, C in float32.  Two bfloat16 numbers that are neighbors along k lie in one 32-bit word: A is an
array of such words with any two strides, B one whose words of 16 columns lie side by side.  One instruction of
AVX512-BF16 does 32 multiply-adds; ROWS x COLUMNS numbers of C stay in registers while k runs.
"""
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from polysemy.nn.kernels.launch import apart, intrinsic, routine

ROWS = 6
LANES = 16
WIDTH = 4
"""vectors of LANES columns in the widest tile: 24 of the 32 registers hold C"""
WORD = ir.IntType(32)
INDEX = ir.IntType(64)
FLOATS = ir.VectorType(ir.FloatType(), LANES)
WORDS = ir.VectorType(WORD, LANES)


def _at(builder: Any, base: Any, index: Any, type_: Any) -> Any:
    """The address of 4-byte number `index` from `base`, as a pointer to `type_`."""
    address = builder.add(base, builder.shl(index, INDEX(2)))
    return builder.inttoptr(address, type_.as_pointer())


def _splat(builder: Any, word: Any) -> Any:
    first = builder.insert_element(ir.Constant(WORDS, ir.Undefined), word, WORD(0))
    return builder.shuffle_vector(first, ir.Constant(WORDS, ir.Undefined), ir.Constant(WORDS, [0] * LANES))


def make_tile(width: int) -> Any:
    """The tile of ROWS x (width * LANES) as a function of addresses and strides, all int64, strides in 4-byte steps."""

    @intrinsic
    def tile(typingctx: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, steps: Any, c: Any,
             c_row: Any, add: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            _emit(builder, width, *values)
            return context.get_dummy_value()
        return types.void(*[types.int64] * 9), code
    return tile


def _emit(builder: Any, width: int, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, steps: Any, c: Any,
          c_row: Any, add: Any) -> None:
    function = builder.function
    # a float vector that reads bfloat16 pairs as 32-bit words
    dot = builder.module.globals.get("llvm.x86.avx512bf16.dpbf16ps.512") or ir.Function(
        builder.module, ir.FunctionType(FLOATS, [FLOATS, WORDS, WORDS]), "llvm.x86.avx512bf16.dpbf16ps.512")
    rows = [builder.mul(a_row, INDEX(m)) for m in range(ROWS)]
    columns = [INDEX(LANES * n) for n in range(width)]
    places = [[builder.add(builder.mul(c_row, INDEX(m)), column) for column in columns] for m in range(ROWS)]

    def pointer(m: int, n: int) -> Any:
        return _at(builder, c, places[m][n], FLOATS)

    before = builder.block
    load, loop, done = (function.append_basic_block(name) for name in ("tile_load", "tile_loop", "tile_done"))
    builder.cbranch(builder.icmp_signed("!=", add, INDEX(0)), load, loop)
    builder.position_at_end(load)
    old = [[builder.load(pointer(m, n), align=4) for n in range(width)] for m in range(ROWS)]
    builder.branch(loop)
    builder.position_at_end(loop)
    zero = ir.Constant(FLOATS, [0.0] * LANES)
    k = builder.phi(INDEX)
    sums = [[builder.phi(FLOATS) for _ in range(width)] for _ in range(ROWS)]
    for block, values in ((before, [[zero] * width] * ROWS), (load, old)):
        k.add_incoming(INDEX(0), block)
        for m in range(ROWS):
            for n in range(width):
                sums[m][n].add_incoming(values[m][n], block)
    b_at = builder.mul(k, b_step)
    right = [builder.load(_at(builder, b, builder.add(b_at, column), WORDS), align=4) for column in columns]
    a_at = builder.mul(k, a_step)
    new = []
    for m in range(ROWS):
        left = _splat(builder, builder.load(_at(builder, a, builder.add(a_at, rows[m]), WORD)))
        new.append([builder.call(dot, [sums[m][n], left, right[n]]) for n in range(width)])
    following = builder.add(k, INDEX(1))
    k.add_incoming(following, builder.block)
    for m in range(ROWS):
        for n in range(width):
            sums[m][n].add_incoming(new[m][n], builder.block)
    builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
    builder.position_at_end(done)
    for m in range(ROWS):
        for n in range(width):
            builder.store(new[m][n], pointer(m, n), align=4)


_tile1, _tile2, _tile3, _tile4 = (make_tile(width) for width in range(1, WIDTH + 1))


@routine
def product(a, a_row, a_step, b, b_step, steps, c, c_row, columns, add):
    """ROWS rows of C, `columns` (a multiple of LANES) wide, added to what is there if `add` is not 0.

    a, b and c are addresses; the strides (from row to row, from step to step along k) count 4-byte numbers.
    """
    apart()
    j = 0
    while columns - j >= 4 * LANES:
        _tile4(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
        j += 4 * LANES
    rest = columns - j
    if rest == 3 * LANES:
        _tile3(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
    elif rest == 2 * LANES:
        _tile2(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)
    elif rest == LANES:
        _tile1(a, a_row, a_step, b + 4 * j, b_step, steps, c + 4 * j, c_row, add)


@intrinsic
def transpose16(typingctx: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> Any:
    """Turn a square of 16 x 16 words: target[j, i] = source[i, j]; addresses and strides in words, int64."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, source_row, target, target_row = values
        lines = [builder.load(_at(builder, source, builder.mul(source_row, INDEX(i)), WORDS), align=4)
                 for i in range(LANES)]
        for half in (8, 4, 2, 1):  # swap the off-diagonal squares of size `half`, as in a recursive transposition
            lanes = range(LANES)
            upper = [lane if not lane & half else LANES + lane - half for lane in lanes]
            lower = [lane + half if not lane & half else LANES + lane for lane in lanes]
            for i in (i for i in lanes if not i & half):
                pair = lines[i], lines[i + half]
                lines[i], lines[i + half] = (builder.shuffle_vector(*pair, ir.Constant(WORDS, mask))
                                             for mask in (upper, lower))
        for i, line in enumerate(lines):
            builder.store(line, _at(builder, target, builder.mul(target_row, INDEX(i)), WORDS), align=4)
        return context.get_dummy_value()
    return types.void(*[types.int64] * 4), code
