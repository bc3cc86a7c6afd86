"""Work spread over child Pythons, results in order, bounded memory.

The children are plain subprocesses that talk over pipes. Unlike `multiprocessing` they never run the caller's main
script again, so a script needs no `if __name__ == "__main__"` and a notebook or `python -c` works; they never inherit
threads or locks; and when the parent dies in whatever way they read the end of their input and leave.
"""
from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import queue
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from polysemy.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
State = TypeVar("State")

START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from polysemy.text.processes import serve; serve()"
)
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
) | {"TOKENIZERS_PARALLELISM": "false"}


def ordered_map(
    function: Callable[[State, Item], Result], state: State, items: Iterable[Item], processes: int
) -> Iterator[Result]:
    """`Workers.map` by workers of its own."""
    with started(processes) as workers:
        yield from workers.map(function, state, items)


@contextlib.contextmanager
def started(processes: int, modules: Sequence[str] = ()) -> Iterator[Workers]:
    """Workers that import the modules while the caller goes on; they end with the block. processes=1: none."""
    with contextlib.ExitStack() as stack:
        children = []
        for _ in range(processes if processes > 1 else 0):
            children.append(_Child(modules))
            stack.callback(children[-1].stop)
        yield Workers(children)


class Workers:
    """Child processes of one thread each; without any all happens here."""

    def __init__(self, children: Sequence[_Child]) -> None:
        self._children = children

    def map(self, function: Callable[[State, Item], Result], state: State, items: Iterable[Item]) -> Iterator[Result]:
        """`function(state, item)` for each item, in order.

        The function is one at the top of a module, state (sent once to each child) and items can be pickled. At most
        two items per child are in flight, so a generator of items is read only as fast as results are taken. An
        exception of the function is raised here; so is the death of a child.
        """
        if not self._children:
            for item in items:
                yield function(state, item)
            return
        free: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        for child in self._children:
            child.send((function, state))
            free.put(child)

        def run(item: Item) -> Any:
            child = free.get()
            try:
                return child.call(item)
            finally:
                free.put(child)

        running: deque[Future[Any]] = deque()
        with _threads(len(self._children)) as threads:
            for item in items:
                running.append(threads.submit(run, item))
                if len(running) >= 2 * len(self._children):
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()


@contextlib.contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that drop what has not begun when the block is left by an exception."""
    threads = ThreadPoolExecutor(count)
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


class _Child:
    """One child process and the pipe to it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD
        )
        self.send(sys.path)
        self.send(list(modules))

    def call(self, item: Any) -> Any:
        self.send(item)
        assert self._process.stdout is not None
        try:
            worked, result = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._death() from error
        if worked:
            return result
        if isinstance(result, InputError):
            raise result
        raise RuntimeError(f"a worker process failed:\n{result}")

    def stop(self) -> None:
        """End the child at once; it holds nothing that is not sent again."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()

    def send(self, value: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(value, self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError as error:
            raise self._death() from error

    def _death(self) -> RuntimeError:
        code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return RuntimeError(f"a worker process ended {how}; what is finished is kept, run the same again "
                            "(with fewer processes if memory was short)")


def serve() -> None:
    """The child's side: import modules, read a function with its state, then answer each item until the input ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    source = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)  # whatever is printed must not get between the answers
        for name in pickle.load(source):
            importlib.import_module(name)
        function, state = pickle.load(source)
        while True:
            try:
                item = pickle.load(source)
            except EOFError:
                return
            try:
                answer = (True, function(state, item))
            except InputError as error:
                answer = (False, error)
            except BaseException:  # a panic of a native library is no Exception
                answer = (False, traceback.format_exc())
            try:
                pickle.dump(answer, target, protocol=5)
                target.flush()
            except BrokenPipeError:
                os._exit(1)
