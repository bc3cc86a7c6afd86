"""kill -9 at random moments, dropout on: does a resumed run end with the bits of an uninterrupted one?

    python benchmarks/resume_kill.py [CORPUS] [--kills 20] [--steps 240] [--dtype bfloat16]

Trains one tiny BERT to its end, then the same run in another folder that is killed again and again (no signal handler
can see kill -9) at moments drawn evenly over steps, evaluations and saves, and started again by the same command.
Compares the losses of all steps and the sha256 of the final weights and optimizer state.  One process, fixed threads.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    args = arguments()
    if args.child:
        train(args)
        return
    with tempfile.TemporaryDirectory(prefix="polysemy-kill-") as work:
        corpus = args.corpus or write_text(Path(work) / "corpus.txt")
        begun = time.perf_counter()
        run(args, corpus, Path(work) / "whole").wait()
        seconds = time.perf_counter() - begun
        kills, phases, spent = kill_again_and_again(args, corpus, Path(work) / "killed", seconds)
        report(Path(work), kills, phases, spent)


def kill_again_and_again(args: argparse.Namespace, corpus: str, folder: Path, seconds: float) -> tuple[int, dict, int]:
    """Kills, how often each phase was hit, steps done more than once."""
    moments, kills, phases, again = random.Random(args.seed), 0, {"start": 0, "step": 0, "save": 0}, 0
    while True:
        process = run(args, corpus, folder)
        if kills < args.kills:
            deadline = moments.uniform(0, 1.6 * seconds / (args.kills + 1))
            waits = moments.random() < 0.9  # else it dies while it starts or reads its checkpoint
            if waits and process.stdout is not None:
                process.stdout.readline()
            time.sleep(deadline)
            if process.poll() is None:
                saving = list((folder / "checkpoints").glob(".step*"))
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                phases["save" if saving else "step" if waits else "start"] += 1
                again += lost_steps(folder)
                print(f"kill {kills}: after step {last_step(folder)}", file=sys.stderr, flush=True)
                continue
        if process.wait():
            raise SystemExit(f"the run failed with code {process.returncode}")
        return kills, phases, again


def report(work: Path, kills: int, phases: dict, again: int) -> None:
    whole, killed = ([json.loads(line) for line in (work / name / "metrics.jsonl").read_text().splitlines()]
                     for name in ("whole", "killed"))
    losses = all(a["step"] == b["step"] and a["loss"] == b["loss"] and a["gradient_norm"] == b["gradient_norm"]
                 for a, b in zip(whole, killed, strict=True))
    digests = {name: [digest(path) for path in (work / name / "model.safetensors", newest(work / name))]
               for name in ("whole", "killed")}
    equal = digests["whole"] == digests["killed"]
    print(f"{kills} kills ({', '.join(f'{count} in {phase}' for phase, count in phases.items())}), {len(whole)} steps, "
          f"{again} of them done again: losses {'equal' if losses else 'DIFFER'}, final weights and optimizer "
          f"{'equal' if equal else 'DIFFER'} bit for bit, sha256 {digests['killed'][0][:16]}")
    if not (losses and equal):
        raise SystemExit(1)


def run(args: argparse.Namespace, corpus: str, folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, __file__, corpus, "--child", str(folder), "--steps", str(args.steps), "--threads",
             str(args.threads), "--dtype", args.dtype]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})


def train(args: argparse.Namespace) -> None:
    """The run itself: prints a line once it takes its first step."""
    from polysemy.models.bert import configure
    from polysemy.runtime import set_threads
    from polysemy.text.corpus import Corpus
    from polysemy.training.budget import Budget
    from polysemy.training.pretrain import pretrain

    set_threads(args.threads)
    config = configure("tiny", "ladder", vocab_size=1000)
    body = config.model
    body = body.replace(embedding=body.embedding.replace(dropout=0.1),
                        transformer=body.transformer.replace(dropout=0.1, attention_dropout=0.1))
    training = config.training.replace(checkpoint_every=10, evaluate_every=25, batch_size=8, micro_batch_size=4,
                                       length=64, dtype=args.dtype)
    told = []

    def tell(step: object) -> None:
        if not told:
            told.append(print("training", flush=True))

    pretrain(config.replace(model=body, training=training), Corpus([args.corpus]), args.child,
             budget=Budget(steps=args.steps), progress=tell)


def write_text(path: Path) -> str:
    """Made-up sentences: enough for some epochs."""
    draw = random.Random(1)
    words = ["".join(draw.choices("aeioulnrstmk", k=draw.randint(2, 8))) for _ in range(2000)]
    documents = ["\n".join(" ".join(draw.choices(words, k=draw.randint(4, 16))).capitalize() + "."
                           for _ in range(draw.randint(3, 12))) for _ in range(400)]
    path.write_text("\n\n".join(documents))
    return str(path)


def last_step(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def lost_steps(folder: Path) -> int:
    saved = [int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*")]
    return max(0, last_step(folder) - max(saved, default=0))


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("step-*")) / "optimizer.safetensors"


def digest(path: Path) -> str:
    from polysemy.artifact import sha256

    return sha256(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
