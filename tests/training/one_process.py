"""What each process of a distributed test runs: `torchrun one_process.py FOLDER STEPS [SETTING=VALUE ...]`."""
from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from polysemy.text.corpus import Corpus
from polysemy.text.segments import NextSentence
from polysemy.training.budget import Budget
from polysemy.training.learner import Learner
from polysemy.training.loop import Step
from polysemy.training.outcome import InterruptError
from polysemy.training.pretrain import pretrain
from small_runs import small_config


def main(folder: Path, steps: int, settings: dict[str, str]) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    config = small_config(hidden_size=32, heads=("masked_lm", "pair"), segments=NextSentence(), batch_size=7, length=32,
                          micro_batch_size=2, checkpoint_every=4, evaluate_every=4, learning_rate=3e-3,
                          dtype=settings.get("dtype", "float32"))
    def act(step: Step) -> None:
        if step.number == int(settings.get("at", "0")):
            os.kill(os.getpid(), getattr(signal, settings["signal"]))

    if settings.get("fail") == str(rank):
        def broken(self: Learner) -> bool:
            raise ValueError("a broken process")

        Learner.finite = broken  # type: ignore[method-assign]
    try:
        pretrain(config, Corpus([folder.parent / "corpus.txt"]), folder, budget=Budget(steps=steps),
                 sharded="sharded" in settings, progress=act)
    except InterruptError as error:
        print(f"rank {rank}: {error}", flush=True)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), dict(word.partition("=")[::2] for word in sys.argv[3:]))
