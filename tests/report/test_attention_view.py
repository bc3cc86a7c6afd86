"""The attention page and picture: everything there, everything escaped, nothing fetched."""
from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polysemy.errors import InputError
from polysemy.models.attention_labels import Labels
from polysemy.models.attention_maps import AttentionMap, Span, rollout
from polysemy.report.attention import Names, payload, write_view
from polysemy.report.attention_picture import draw, heads_figure, one_figure
from polysemy.runtime import random_for

EVIL = "</script><script>x()</script><img src=x onerror=x()>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Reader(HTMLParser):
    """Tags, attributes and the texts of a page; what stands in a script is not text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.inside = tag == "script"
        self.scripts += [""] * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data
        else:
            self.text += data


def some(layers: int, heads: int, t: int, s: int, stairs: bool = False) -> np.ndarray:
    scores = np.exp(2 * random_for("view", layers, heads, t).normal(size=(layers, heads, t, s)))
    scores = scores * np.tril(np.ones((t, s)), s - t) if stairs else scores
    return (scores / scores.sum(-1, keepdims=True)).astype(np.float32)


PIECES = ["[CLS]", "it", EVIL, "机器", "人", "[SEP]"]
NAMES = Names(Labels(PIECES, [Span("[CLS]", 0, 1), Span("it", 1, 2), Span(EVIL, 2, 3), Span("机器人", 3, 5),
                              Span("[SEP]", 5, 6)], [0, 5]))


def found(stairs: bool = False) -> AttentionMap:
    return AttentionMap(PIECES, some(2, 3, 6, 6, stairs))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("view") / "view.html"
    return write_view(found(), path, title=EVIL, model="runs/bert", names=NAMES).read_text()


def data_of(page: str) -> dict[str, Any]:
    return json.loads(Reader(page).scripts[0])


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2")


def test_the_page_asks_no_network_for_anything(page: str) -> None:
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttp|import\(", page)
    assert re.findall(r"https?:[^\"\s]+", page) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert not [name for name, _ in Reader(page).attributes if name in ("src", "href", "action")]
    assert "default-src 'none'" in page


def test_only_the_page_s_own_script_may_run(page: str) -> None:
    reader = Reader(page)
    assert reader.tags.count("script") == 2
    named = re.search(r"script-src 'sha256-([^']+)'", page)
    assert named
    assert base64.b64encode(hashlib.sha256(reader.scripts[1].encode()).digest()).decode() == named.group(1)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


def test_foreign_text_is_text(page: str) -> None:
    reader = Reader(page)
    assert "img" not in reader.tags
    assert EVIL in reader.text  # the title, as read
    data = data_of(page)
    assert data["queries"]["pieces"] == PIECES
    assert data["queries"]["words"][3] == ["机器人", 3, 5]
    assert "机器人" in page


def test_the_page_says_that_weights_explain_nothing(page: str) -> None:
    assert "Weights are not an explanation" in Reader(page).text


def test_all_weights_are_in_the_page(page: str) -> None:
    data, weights = data_of(page), found().weights
    held = unpacked(data["weights"]).reshape(weights.shape) / data["unit"]
    np.testing.assert_allclose(held, weights, atol=0.51 / data["unit"])
    np.testing.assert_allclose(unpacked(data["rollout"]).reshape(6, 6) / data["unit"], rollout(weights), atol=1e-4)
    assert data["start"] == [1, "mean"]
    assert not data["causal"]


def test_a_causal_map_tells_where_nobody_may_look() -> None:
    data = payload(found(stairs=True))
    assert data["causal"]
    hidden = np.frombuffer(zlib.decompress(base64.b64decode(data["unseen"])), np.uint8).reshape(6, 6)
    np.testing.assert_array_equal(hidden, np.triu(np.ones((6, 6)), 1))


def test_a_map_between_two_texts_has_two_sides_and_no_rollout() -> None:
    data = payload(AttentionMap(["a", "b"], some(1, 2, 2, 3), ["x", "y", "z"]), start=("mean", 2))
    assert (data["queries"]["pieces"], data["keys"]["pieces"]) == (["a", "b"], ["x", "y", "z"])
    assert data["rollout"] is None
    assert data["start"] == ["mean", 1]


def test_bad_use_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a file name that ends in .html, got .*view.pdf"):
        write_view(found(), tmp_path / "view.pdf")
    with pytest.raises(InputError, match=r"must be a file name that ends in .png"):
        draw(found(), tmp_path / "view.html")
    with pytest.raises(InputError, match="layer must be 1 to 2"):
        write_view(found(), tmp_path / "view.html", start=(3, "mean"))
    with pytest.raises(InputError, match="names of queries must be 6, one a piece, got 1"):
        payload(found(), names=Names(Labels(["a"], [], [])))
    assert not list(tmp_path.iterdir())


def test_the_same_map_gives_the_same_page_and_picture(page: str, tmp_path: Path) -> None:
    again = write_view(found(), tmp_path / "view.html", title=EVIL, model="runs/bert", names=NAMES)
    assert again.read_text() == page
    pictures = [draw(found(), tmp_path / f"{i}.png", head=None).read_bytes() for i in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


def test_the_picture_names_every_piece_and_takes_none_for_a_formula() -> None:
    figure = one_figure(AttentionMap(["$x^2$", "robot"], some(1, 1, 2, 2)), some(1, 1, 2, 2)[0, 0], "$a$ title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["$x^2$", "robot"] * 2
    assert not any(text.get_parse_math() for text in [*figure.axes[0].texts, *figure.texts])


def test_names_in_the_picture_do_not_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    pieces = [f"extraordinary{i}" for i in range(60)]
    figure = one_figure(AttentionMap(pieces, some(1, 1, 60, 60)), some(1, 1, 60, 60)[0, 0])
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 120
    for side in (boxes[:60], boxes[60:]):
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(side))
    assert all(box.x0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_a_grid_has_every_head_of_the_layer() -> None:
    figure = heads_figure(AttentionMap(list("abcd"), some(2, 7, 4, 4)), 2)
    assert len(figure.axes) == 7
    assert [text.get_text() for text in figure.texts] == [f"head {i}" for i in range(1, 8)]


DRIVE = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  while (!document.documentElement.dataset.ready) await wait(20);
  const at = (name, value) => document.querySelector(`[name=${name}][value="${value}"]`).click();
  at("layer", 0); at("head", 1);
  document.querySelectorAll(".tok")[1].focus();
  const read = () => [document.getElementById("sentence").textContent,
    [...document.querySelectorAll("#ranks em")].map((e) => e.textContent).join(" ")].join(" = ");
  const said = [read()];
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
  said.push(read());
  at("direction", "in"); said.push(read());
  document.querySelector("[name=words]").click();
  said.push([...document.querySelectorAll(".tok")].length);
  document.body.textContent = JSON.stringify(said);
})();
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_shares_of_the_chosen_head(page: str, tmp_path: Path) -> None:
    """The page's own script runs under its policy; then, in a copy without the policy, it is driven by keys."""
    (tmp_path / "page.html").write_text(page)
    assert 'data-ready="yes"' in browse(tmp_path / "page.html", tmp_path)
    driven = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page)
    (tmp_path / "driven.html").write_text(driven.replace("</body>", f"<script>{DRIVE}</script></body>"))
    body = browse(tmp_path / "driven.html", tmp_path)
    said = json.loads(re.sub(r"<[^>]*>", "", body[body.index("<body>"):]).replace("&lt;", "<").replace("&gt;", ">"))
    weights = found().weights[0, 1]
    told = [("it looks at", weights[1]), (f"{EVIL} looks at", weights[2]), (f"{EVIL} is looked at by", weights[:, 2])]
    for line, (sentence, shares) in zip(said[:3], told, strict=True):
        words, _, numbers = line.partition(" = ")
        assert words == sentence
        shown = [float(number) for number in re.findall(r"[\d.]+", numbers)]
        np.testing.assert_allclose(shown, 100 * np.sort(shares)[::-1], atol=0.07)  # one digit after the point
    assert said[3] == 5


def browse(path: Path, folder: Path) -> str:
    """The document after its scripts ran."""
    assert CHROMIUM
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
               "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}",
               "--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
