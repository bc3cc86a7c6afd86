"""Documentation as running prose: docstrings out of Python sources, paragraphs out of marked-up text.

Sources are parsed, never imported or run. What reads like a sentence is kept; what reads like code, a table, a
signature, a list of options or a licence is dropped.
"""

from __future__ import annotations

import ast
import inspect
import re
import string
import warnings
from collections.abc import Iterator

WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*")
# Words that hold English sentences together; option lists and code comments have few of them.
GLUE_WORDS = """
    a about after all also an and any are as at be because been before being between both but by can cannot did do
    does each either else every for from further had has have he her his how however i if in instead into is it its
    may might more most must neither no nor not of on once one only or other our out over same she should since so
    some such than that the their them then there these they this those through to under until up upon used using
    very was we were what when where whether which while who will with within without would you your
"""
GLUE = frozenset(GLUE_WORDS.split())
LICENCE = re.compile(
    r"(?i)copyright|\(c\) \d{4}|licen[cs]ed under|without warranty|redistribut|permission is hereby|all rights reserved"
)
ROLE = re.compile(r":[A-Za-z:+._-]{2,30}:`([^`]*)`")
DIRECTIVE = re.compile(r"^\s*\.\.\s+([\w:-]+)::(.*)$")
# Directives whose body is prose; every other directive's body is code, a picture or a table.
PROSE_DIRECTIVES = frozenset(("note", "warning", "tip", "important", "caution", "seealso", "hint", "attention"))
HEADING = re.compile(r"^\s*([=\-~^\"'#*+_:.`])\1{2,}\s*$")
TABLE = re.compile(r"^\s*[|+]|\s[|]\s|^\s*[=\-+]+(\s+[=\-+]+)+\s*$")
# Lines that are no prose whatever stands around them: rules, prompts, Markdown headings, markup, "Returns:".
NOISE = re.compile(
    r"""^\s*(?:([=\-~^"'#*+_:.`])\1{2,}\s*$|>>>|\.\.\.(?:\s|$)|\$\s|%\s|In\s\[\d+\]|Out\[\d+\]|\#|<|[A-Z]\w*:\s*$)"""
)
# "x : array_like", "x (`int`, *optional*):", "def f(x):" with the description on the next line.
SIGNATURE = re.compile(r"^\s*[`*]*[\w.*`, ]+\s+(?::\s|\(.*\)\s*:?\s*$)|^\s*[\w.]+\(.*\)(?:\s*->.*)?:?$")
ITEM = re.compile(
    r"^\s*(?:(?:[-*+•]|\(?\d{1,2}[.)]|#\.|\(?[a-z]\))\s+(?=\S)|"  # bullets and numbers
    r"[:@](?:param|type|returns?|rtype|raises?|arg|keyword|ivar|cvar|var)\b[^:]*:\s*|"  # :param x:
    r"[`*]*[\w.*]+[`*]*(?:\s*\(.*?\))?\s*(?:--|:)\s+(?=[A-Z]))"  # x (int): What it is
)
URL = re.compile(r"<?https?://[^\s>)\]]+>?")
STATEMENT_LISTS = ("body", "handlers", "orelse", "finalbody")
HOLDERS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.Try, ast.ExceptHandler, ast.With)
LETTERS = dict.fromkeys(map(ord, string.ascii_letters + " "))
SYMBOLS = dict.fromkeys(map(ord, "=_<>{}[]|\\/@#$%^&*~+`"))
ENDS = ".!?)\"'”’:"
LONGEST_PARAGRAPH = 2_000  # characters; a longer one is a listing in most cases


def docstrings(source: str) -> Iterator[str]:
    """Docstrings of a module, its classes and functions, in source order; nothing when the source cannot be parsed."""
    tree = _parse(source)
    waiting: list[ast.AST] = [tree] if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield inspect.cleandoc(text)
        # Only statements that hold statements: the rest has no docstrings, and walking it costs most of the time.
        inner = [child for name in STATEMENT_LISTS for child in getattr(node, name, ()) if isinstance(child, HOLDERS)]
        waiting.extend(reversed(inner))


def string_values(source: str) -> Iterator[str]:
    """Values of a module's literal dictionaries of strings, in source order (`pydoc_data.topics`)."""
    tree = _parse(source)
    for node in tree.body if tree else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for value in node.value.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


def paragraphs(text: str) -> Iterator[str]:
    """Prose paragraphs of reStructuredText, Markdown or a docstring, one line each, markup removed."""
    for block in _blocks(text):
        line = plain(" ".join(part.strip() for part in block))
        if is_prose(line):
            yield line


def plain(text: str) -> str:
    """One line of text without the markup of reStructuredText and Markdown."""
    text = ROLE.sub(lambda found: found[1].split(" <")[0].lstrip("~!"), text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # Markdown links and pictures
    text = re.sub(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}", r"\1", text)
    text = re.sub(r"``([^`]*)``|`([^`]*)`_{0,2}", lambda found: found[1] or found[2] or "", text)
    text = re.sub(r"(?<!\w)(\*{1,2}|_{1,2})(?=\S)([^*_]+?)(?<=\S)\1(?!\w)", r"\2", text)
    text = re.sub(r"\s*\[(?:\d+|[A-Z]\w{0,12})\]_", "", text)  # citations
    text = URL.sub("", text)
    text = re.sub(r"<[/a-zA-Z!][^>]*>", "", text)
    text = re.sub(r"\\([*_`\\ ])", r"\1", text)
    text = re.sub(r"::(?=\s|$)", ":", text)
    return re.sub(r"\s+([,.;])(?=\s|$)", r"\1", re.sub(r"\s+", " ", text)).strip()


def is_prose(line: str) -> bool:
    """Whether a line reads like sentences: long enough, closed, glued by function words, few symbols."""
    if not 40 <= len(line) <= LONGEST_PARAGRAPH or line[-1] not in ENDS:
        return False
    if not (line[0].isalnum() or line[0] in "\"'“("):
        return False
    others, plain_length = len(line.translate(LETTERS)), len(line.translate(SYMBOLS))
    if others > 0.14 * len(line) or plain_length < 0.97 * len(line) or LICENCE.search(line):
        return False
    words = WORD.findall(line)
    return len(words) >= 8 and sum(word.lower() in GLUE for word in words) >= 0.22 * len(words)


def _parse(source: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes are not our user's concern
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _blocks(text: str) -> Iterator[list[str]]:
    """Runs of lines that belong together, without code, tables, headings, directives and signatures."""
    block: list[str] = []
    literal_indent: int | None = None  # inside a literal block: its lines stand deeper than this
    for line, indent in _outside_fences(text):
        if literal_indent is not None and line:
            if indent > literal_indent:
                continue
            literal_indent = None
        directive = DIRECTIVE.match(line)
        if directive or NOISE.match(line) or TABLE.search(line) or line.lstrip().startswith(".. "):
            if block and not HEADING.match(line):  # an underline takes the heading above it along
                yield block
            block = []
            if directive and directive[1] in PROSE_DIRECTIVES:
                block = [directive[2]] if directive[2].strip() else []
            elif line.lstrip().startswith(".. "):
                literal_indent = indent
            continue
        item = ITEM.match(line)
        if block and (item or not line or _moved(block, indent)):
            yield block
            block = []
        if line and not SIGNATURE.match(line):
            block.append(" " * indent + line[item.end() :].lstrip() if item else line)
        if line.endswith("::"):
            yield block
            block, literal_indent = [], indent
    if block:
        yield block


def _outside_fences(text: str) -> Iterator[tuple[str, int]]:
    """Lines with their indent, empty instead of those between Markdown's code fences."""
    fenced = False
    for line in text.expandtabs().splitlines():
        line = line.rstrip()
        is_fence = line.lstrip().startswith(("```", "~~~"))
        fenced ^= is_fence
        yield ("", 0) if fenced or is_fence else (line, len(line) - len(line.lstrip()))


def _moved(block: list[str], indent: int) -> bool:
    """Whether a line at `indent` leaves the block: a hanging first line is one move and allowed."""
    last = block[-1]
    return len(block) > 1 and indent != len(last) - len(last.lstrip()) and not last.endswith(",")
