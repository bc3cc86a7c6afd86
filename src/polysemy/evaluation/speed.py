"""What a model costs to use: milliseconds for one sentence, sentences a second, bytes on disk, peak memory.

Measured on one core in a process of its own (`measure_folder`), so that memory is that of loading and answering and of
nothing before. The clock starts after warm-up; single sentences are timed one by one, as a user at a prompt meets them.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from polysemy.capability import Embeds, ScoresText
from polysemy.errors import InputError

Answer = Callable[[Sequence[str]], Any]
WARM_UP = 5
BATCH_SIZE = 32
NOT_NEEDED = {"metrics.jsonl", "README.md", "lock"}
"""Files of a run folder that answering does without."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
                   "RAYON_NUM_THREADS")
CHILD = "from polysemy.evaluation.speed import child; child()"


def answer_of(model: Any) -> tuple[str, Answer]:
    """What is timed, with its name: embedding where the model can, else scoring."""
    if isinstance(model, Embeds):
        return "embed", model.embed
    if isinstance(model, ScoresText):
        scorer = model
        return "score", lambda texts: [scorer.score(text) for text in texts]
    raise InputError(f"model must embed or score texts to be timed, got {type(model).__name__}")


def measure(answer: Answer, sentences: Sequence[str], *, seconds: float = 5.0) -> dict[str, Any]:
    """Time an answering function in this process, on its present threads, for about `seconds`.

    milliseconds_p50 and _p95: one sentence at a time; sentences_per_second: batches of BATCH_SIZE, sentences of
    similar length together as they come. At least ten single answers and one batch are timed, however slow.
    """
    if not sentences:
        raise InputError("sentences must hold at least one to be timed, got none")
    for number in range(WARM_UP):
        answer([sentences[number % len(sentences)]])
    singles: list[float] = []
    end = time.perf_counter() + seconds / 2
    while len(singles) < 10 or (time.perf_counter() < end and len(singles) < 2_000):
        start = time.perf_counter()
        answer([sentences[len(singles) % len(sentences)]])
        singles.append(1e3 * (time.perf_counter() - start))
    singles.sort()
    batches = [sentences[at : at + BATCH_SIZE] for at in range(0, len(sentences), BATCH_SIZE)]
    answer(batches[0])
    done, start = 0, time.perf_counter()
    for number in range(2_000):
        answer(batches[number % len(batches)])
        done += len(batches[number % len(batches)])
        if time.perf_counter() - start > seconds / 2:
            break
    return {"milliseconds_p50": singles[len(singles) // 2], "milliseconds_p95": singles[int(0.95 * (len(singles) - 1))],
            "sentences_per_second": done / (time.perf_counter() - start), "timed_sentences": len(singles)}


def measure_folder(folder: str | Path, sentences: Sequence[str], *, seconds: float = 5.0) -> dict[str, Any]:
    """Load a run folder in a fresh process on one core and time it; adds bytes, load_seconds and peak_bytes.

    Raises InputError with the process's last words where it fails.
    """
    folder = Path(folder)
    request = json.dumps({"folder": str(folder), "sentences": list(sentences), "seconds": seconds})
    settings = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, "1"), "TOKENIZERS_PARALLELISM": "false"}
    source = str(Path(__file__).parents[2])
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run([sys.executable, "-c", CHILD], input=request, text=True, capture_output=True, env=settings,
                          encoding="utf-8", check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise InputError(f"model in {folder} must load and answer, got {words[-1] if words else done.returncode}")
    return {**json.loads(done.stdout.splitlines()[-1]), "bytes": bytes_on_disk(folder), "cores": 1}


def bytes_on_disk(folder: str | Path) -> int:
    """Size of the files that are needed to answer: weights, tokenizer, settings; no checkpoints, no logs."""
    return sum(file.stat().st_size for file in Path(folder).iterdir() if file.is_file() and file.name not in NOT_NEEDED)


def child() -> None:
    """The fresh process: reads the request from standard input, prints its result as one line."""
    import polysemy

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    request = json.loads(sys.stdin.read())
    start = time.perf_counter()
    name, answer = answer_of(polysemy.load(request["folder"]))
    answer(request["sentences"][:1])
    loaded = time.perf_counter() - start
    result = {"operation": name, **measure(answer, request["sentences"], seconds=request["seconds"])}
    print(json.dumps({**result, "load_seconds": loaded, "peak_bytes": peak_bytes()}))


def peak_bytes() -> int:
    """The most memory this process ever held at once."""
    try:  # what getrusage says on Linux starts with the peak of the process that started this one
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
