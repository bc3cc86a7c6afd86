"""Work spread over child Pythons, results in order, bounded memory.

The children are plain subprocesses that talk over pipes. Unlike `multiprocessing` they never run the caller's main
script again, so a script needs no `if __name__ == "__main__"` and a notebook or `python -c` works; they never inherit
threads or locks; and when the parent dies in whatever way they read the end of their input and leave.
"""
from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
    """`function(state, item)` for each item, in order, by so many child processes of one thread each.

    The function is one at the top of a module, state (sent once to each child) and items can be pickled. With
    processes=1 all happens here. At most two items per child are in flight, so a generator of items is read only as
    fast as results are taken. An exception of the function is raised here; so is the death of a child.
    """
    if processes <= 1:
        for item in items:
            yield function(state, item)
        return
    with contextlib.ExitStack() as stack:
        children: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        for _ in range(processes):
            child = _Child(function, state)
            stack.callback(child.stop)
            children.put(child)
        threads = stack.enter_context(_threads(processes))

        def run(item: Item) -> Any:
            child = children.get()
            try:
                return child.call(item)
            finally:
                children.put(child)

        running: deque[Future[Any]] = deque()
        for item in items:
            running.append(threads.submit(run, item))
            if len(running) >= 2 * processes:
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

    def __init__(self, function: Callable[..., Any], state: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD
        )
        self._send(sys.path)
        self._send((function, state))

    def call(self, item: Any) -> Any:
        self._send(item)
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

    def _send(self, value: Any) -> None:
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
    """The child's side: read a function with its state, then answer each item until the input ends."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    source = sys.stdin.buffer
    with os.fdopen(os.dup(1), "wb") as target:
        os.dup2(2, 1)  # whatever is printed must not get between the answers
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
