"""Asking for memory before it is needed, from compiled code."""
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types

intrinsic: Any = extending.intrinsic
LINE = 64
"""bytes of a line of the cache"""


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the line of the cache at an address that will be read soon; any address will do."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = builder.module.declare_intrinsic("llvm.prefetch", [place], ir.FunctionType(
            ir.VoidType(), [place, word, word, word]))
        builder.call(function, [builder.inttoptr(values[0], place), word(0), word(3), word(1)])
        return context.get_dummy_value()
    return types.void(types.uint64), code
