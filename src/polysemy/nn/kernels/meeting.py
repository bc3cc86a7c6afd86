"""Threads that wait for one another inside a kernel, by counting up one number in memory."""
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from polysemy.nn.kernels.launch import apart, intrinsic, routine

WORD = ir.IntType(64)
SPINS, PATIENCE = 4000, 1 << 21
"""how often a waiting thread looks before it lets others run between looks, and how often until it gives up"""
GIVEN_UP = 64
"""bytes after the count: there stands a number, not 0, once a thread has given up"""


@intrinsic
def count_up(typingctx: Any, address: Any) -> Any:
    """Add 1 to the 64-bit number at an address, seen by all threads, after all that was written before; the old one."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = builder.inttoptr(values[0], WORD.as_pointer())
        return builder.atomic_rmw("add", place, WORD(1), "seq_cst")
    return types.int64(types.int64), code


@intrinsic
def _look(typingctx: Any, address: Any) -> Any:
    """The 64-bit number at an address as other threads left it."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(builder.inttoptr(values[0], WORD.as_pointer()), "seq_cst", 8)
    return types.int64(types.int64), code


@intrinsic
def _let_others(typingctx: Any) -> Any:
    """Give the core to another thread that wants it."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()
    return types.void(), code


@routine
def meet(meeting, turn, parts):
    """Wait until every part has come here `turn` times; a part that waited too long tells all to give up."""
    apart()
    if parts == 1:
        return
    count_up(meeting)
    looks = 0
    while _look(meeting) < turn * parts:
        looks += 1
        if looks > SPINS:
            _let_others()
            if looks > PATIENCE or _look(meeting + GIVEN_UP) != 0:
                count_up(meeting + GIVEN_UP)
                return
