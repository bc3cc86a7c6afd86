"""Run a Numba function on all of torch's threads.

A kernel is a function `(arguments, part, parts)` that does its share of the work: `arguments` is the address of 64-bit
numbers (addresses of tensors, sizes, the bits of floats), and the share is `part` out of `parts`.  It is compiled once
per machine (Numba keeps the machine code on disk) and run by torch's own OpenMP threads: a second pool of threads
would spin against the first on the same cores, which costs more than the kernels save.  Where torch's OpenMP library
cannot be called, one thread of Numba's own does all parts.

Results depend on `parts` (the number of torch threads) only where a kernel says so, never on timing.
"""
from __future__ import annotations

import ctypes
import functools
import inspect
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core import cgutils
from torch import Tensor

from polysemy.machine_code import FAST, code_folder, intrinsic, kept_in

SIGNATURE = types.void(types.int64, types.int64, types.int64)
BARE: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""only kernels call these functions, so what Python would call need not be compiled"""


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """The address as what `carray` takes."""
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)
    return types.voidptr(types.int64), code


@intrinsic
def apart(typingctx: Any) -> Any:
    """Let the function that says this be compiled once and called, not copied to each place where it is called."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()
    return types.void(), code


@intrinsic
def real(typingctx: Any, bits: Any) -> Any:
    """The float argument (float64) that `run` packed into 64 bits."""
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())
    return types.float64(types.int64), code


@intrinsic
def _call(typingctx: Any, address: Any, arguments: Any, part: Any, parts: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        function = builder.inttoptr(values[0], ir.FunctionType(ir.VoidType(), [word] * 3).as_pointer())
        builder.call(function, values[1:])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 4), code


@intrinsic
def _team(typingctx: Any) -> Any:
    """(number of this thread, number of threads) in an OpenMP region."""
    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = ir.FunctionType(ir.IntType(32), [])
        pair = [builder.sext(builder.call(cgutils.get_or_insert_function(builder.module, number, name), []),
                             ir.IntType(64)) for name in ("omp_get_thread_num", "omp_get_num_threads")]
        return context.make_tuple(builder, signature.return_type, pair)
    return types.UniTuple(types.int64, 2)(), code


def routine(function: Callable[..., Any]) -> Any:
    """A function that kernels call."""
    return njit(fastmath=FAST, error_model="numpy", **BARE)(inspect.unwrap(function))


def inlined(function: Callable[..., Any]) -> Any:
    """A small function whose body is copied to where kernels call it."""
    return njit(inline="always", **BARE)(inspect.unwrap(function))


class Kernel:
    """A Python function that is compiled when it is first run."""

    def __init__(self, function: Callable[[int, int, int], None], fast: bool) -> None:
        self.function, self.fast = function, fast

    @functools.cached_property
    def address(self) -> int:
        return _compile(self.function, SIGNATURE, self.fast)


def kernel(function: Callable[[int, int, int], None]) -> Kernel:
    """Make a kernel; sums may be taken in any order and multiply-adds fused."""
    return Kernel(inspect.unwrap(function), fast=True)


class Family:
    """Kernels that differ in the kind of numbers they read (or in other constants), made when first asked for."""

    def __init__(self, make: Callable[..., Callable[[int, int, int], None]]) -> None:
        self.make = inspect.unwrap(make)
        self.made: dict[tuple[Any, ...], Kernel] = {}

    def __call__(self, *key: torch.dtype | int) -> Kernel:
        """The kernel for tensors of these dtypes."""
        if key not in self.made:
            self.made[key] = kernel(self.make(*(NUMBERS[k] if isinstance(k, torch.dtype) else k for k in key)))
        return self.made[key]


NUMBERS = {torch.bfloat16: np.uint16, torch.float32: np.float32}
"""what a kernel sees of a tensor: the bits of bfloat16, or float32"""


def family(make: Callable[..., Callable[[int, int, int], None]]) -> Family:
    """From a function of (NumPy type, ...) that makes a kernel's function."""
    return Family(make)


def run(kernel: Kernel, *arguments: Tensor | int | float, parts: int | None = None) -> None:
    """Run all parts and wait.  Tensors must be contiguous (or the kernel told their strides) and kept alive."""
    words = (ctypes.c_int64 * len(arguments))(*[_word(argument) for argument in arguments])
    parts = parts or torch.get_num_threads()
    region = (ctypes.c_int64 * 3)(kernel.address, ctypes.addressof(words), parts)
    enter, begin = _region()
    if begin is None:
        enter(ctypes.addressof(region))
    else:
        begin(enter, ctypes.addressof(region), parts, 0)


def _word(argument: Tensor | int | float) -> int:
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    if isinstance(argument, float):
        return struct.unpack("q", struct.pack("d", argument))[0]
    return argument


def _compile(function: Callable[..., None], signature: Any, fast: bool) -> int:
    options: dict[str, Any] = {"nopython": True, "fastmath": FAST if fast else False, "error_model": "numpy"}
    here = Path(__file__).parent
    folder = code_folder(*dict.fromkeys((here, Path(function.__code__.co_filename).parent)))
    with kept_in(folder):
        compiled: Any = cfunc(signature, cache=folder is not None, **options)(function)
    _alive.append(compiled)
    return compiled.address


_alive: list[Any] = []


@inspect.unwrap
def _whole(region: int) -> None:
    """One thread does every part."""
    a = carray(pointer(region), (3,), np.int64)
    for part in range(a[2]):
        _call(a[0], a[1], part, a[2])


@inspect.unwrap
def _share(region: int) -> None:
    """One thread of an OpenMP team does parts `thread`, `thread + threads`, ..."""
    a = carray(pointer(region), (3,), np.int64)
    thread, threads = _team()
    for part in range(thread, a[2], threads):
        _call(a[0], a[1], part, a[2])


@functools.cache
def _region() -> tuple[Any, Any]:
    """(the function that enters a region, GOMP_parallel that starts it on torch's threads, or None)."""
    library = _openmp()
    if library is None:
        address = _compile(_whole, types.void(types.int64), False)
        return ctypes.CFUNCTYPE(None, ctypes.c_int64)(address), None
    for name in ("omp_get_thread_num", "omp_get_num_threads"):
        llvmlite.binding.add_symbol(name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    begin = library.GOMP_parallel
    begin.argtypes, begin.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return _compile(_share, types.void(types.int64), False), begin


def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch runs on, if it has GNU's entry point (LLVM's and Intel's have it too on Linux)."""
    folder = Path(torch.__file__).parent / "lib"
    files = sorted(str(path) for pattern in ("libgomp*.so*", "libiomp*.so*", "libomp*.so*")
                   for path in folder.glob(pattern))
    for file in files or _loaded():
        try:
            library = ctypes.CDLL(file)
        except OSError:
            continue
        if all(hasattr(library, name) for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")):
            return library
    return None


def _loaded() -> list[str]:
    """OpenMP libraries that this process has loaded (Linux), for a torch that brings none of its own."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {line.split(maxsplit=5)[-1] for line in lines if "/" in line}
    return sorted(file for file in files if Path(file).name.startswith(("libgomp", "libiomp", "libomp")))
