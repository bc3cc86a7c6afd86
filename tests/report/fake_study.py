"""A made-up study with every part filled in, for tests of the page and for looking at it."""

from __future__ import annotations

from typing import Any

BANDS = ["1–99", "100–499", "500–1,999", "2,000–9,999", "10,000+"]
WORDS = [("ship", 0.62), ("boat", 0.2), ("vessel", 0.08), ("captain", 0.03), ("crew", 0.02)]


def trained(name: str, score: float, megabytes: float, milliseconds: float, loss: float, **more: Any) -> dict[str, Any]:
    """A rung with three checkpoints that reaches `score` after 72 seconds."""
    curve = [{"seconds": 72 * part, "accuracy": 0.0625 + (score - 0.0625) * reach, "loss": loss + (1 - reach) * 2.4}
             for part, reach in ((1 / 16, 0.12), (1 / 4, 0.55), (1.0, 1.0))]
    bands = [{"accuracy": score + delta} for delta in (0.11, 0.05, 0.0, -0.06, -0.1)]
    return {"name": name, "label": name, "kind": "trained", "seconds": 72.4, "bytes": megabytes * 1e6,
            "milliseconds": milliseconds, "parameters": int(megabytes * 250_000),
            "cloze": {"accuracy": score, "interval": [score - 0.017, score + 0.017], "mrr": score + 0.17,
                      "bits": 4 * (1.05 - score), "bands": bands},
            "loss": loss, "curve": curve, "seed": 1, "remarks": ["one seed"],
            "fills": [[{"text": word, "probability": share} for word, share in WORDS],
                      [{"text": word, "probability": 0.3} for word in ("银行", "公司", "学校")]],
            "sees": "both sides at once", "costs": "a forward pass a gap", "good_for": "filling gaps, labels",
            "settings": {"recipe": name, "size": "mini", "seed": 1, "training": {"length": 128}},
            **more}


def control(name: str, score: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "label": name, "kind": "control", "seconds": 0.4, "bytes": 8e5, "milliseconds": 0.01,
            "cloze": {"accuracy": score, "interval": [score - 0.01, score + 0.01], "mrr": 0.21, "bits": 4.0,
                      "bands": [{"accuracy": score}] * 5}, "remarks": [], **more}


def verdict(name: str, accuracy: float) -> dict[str, Any]:
    """A control that passed."""
    return {"name": name, "accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], "passed": True}


def fake_study() -> dict[str, Any]:
    return {
        "kind": "ladder", "title": "Which model of language for books.txt?", "created": "2030-01-02 03:04",
        "version": "0.1.0", "command": "polysemy ladder books.txt --total 7 -o study", "purpose": "fill",
        "limits": {"max_ms": 20.0, "max_mb": None},
        "corpus": {"files": ["books.txt"], "words": 1_004_230, "documents": 2_009, "fingerprint": "3f" * 20},
        "budget": {"seconds": 72.0, "threads": 2, "size": "mini", "seed": 1},
        "cloze": {"items": 2000, "dev": 1000, "hash": "ab" * 16, "seed": 1,
                  "bands": [{"name": name, "items": 400} for name in BANDS]},
        "rungs": [
            control("unigram", 0.062), control("bigram", 0.215, counts=True), control("random weights", 0.064),
            trained("bert", 0.352, 24.1, 6.2, 4.31),
            trained("roberta", 0.371, 24.0, 6.1, 4.12, remarks=["one seed", "tie"]),
            trained("albert", 0.363, 7.9, 6.0, 4.25, remarks=["one seed", "tie"]),
            trained("spanbert", 0.331, 25.3, 6.3, 4.71), trained("distilbert", 0.318, 15.9, 3.2, 4.52),
            {**trained("hf:all-minilm", 0.481, 91, 14.0, 3.0), "kind": "downloaded", "curve": [],
             "remarks": ["may have seen this text"]},
            {"name": "hf:broken", "label": "hf:broken", "kind": "failed", "remarks": [],
             "error": "config.json must be JSON, got <script>alert(1)</script>"},
        ],
        "samples": [{"left": "Early in the morning the ", "gold": "ship",
                     "right": " left the harbor, heavy with grain and bound for the south; nobody saw her again."},
                    {"left": "他在", "right": "工作了十年，后来回到家乡教书。", "gold": "银行"}],
        "controls": [verdict("unigram", 0.062), verdict("random weights", 0.064),
                     {"name": "planted copies", "expected": "all found", "measured": "19 of 20", "passed": False}],
        "recommendation": {"choice": "albert", "lines": [
            {"name": "Ship", "text": "albert: it names the missing word in 36.3 % of 2,000 gaps (chance 6.2 %)."},
            {"name": "Why", "text": "roberta has 37.1 %, but albert ties with it and is the smallest of the tied."},
            {"name": "Limits", "text": "At most 20 ms: none is over it."},
            {"name": "Cost", "text": "72 s of training, 7.9 MB to ship, 6.0 ms a sentence on one core."},
            {"name": "Trust", "text": "One seed; controls at chance; hf:broken failed."}]},
        "method": ["Documents were split 80/10/10 by hash; passages of the test that stood in train were removed.",
                   "Every rung answered the same stored questions."],
        "environment": {"cpu": "A CPU", "cores": 2, "versions": {"torch": "2.13.0"}},
    }
