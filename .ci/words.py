"""Checker of the word list in `words.toml`: docstrings, comments, strings, names and Markdown.

.ci/words.py                 check the paths that the list calls clean (`make lint`)
.ci/words.py PATH …          check these paths, called clean or not
.ci/words.py --count         count the findings of each folder
"""

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TEXT_TOKENS = {
    getattr(tokenize, name)
    for name in ("COMMENT", "STRING", "FSTRING_MIDDLE")  # the last one since Python 3.12
    if hasattr(tokenize, name)
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A word that is to be replaced: where it is, and by what."""

    path: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        """Format as editors read it: file:line."""
        return f"{self.path}:{self.line}: {self.word!r}; write: {self.instead}"


@dataclass(frozen=True)
class WordList:
    """The content of `words.toml`."""

    clean: tuple[str, ...]
    words: Mapping[str, str]
    openings: Mapping[str, str]
    module_openings: Mapping[str, str]
    exceptions: Mapping[str, str]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Match any listed word; between the words of a phrase may be a line break."""
        longest_first = sorted(self.words, key=len, reverse=True)
        phrases = (r"[\s#]+".join(map(re.escape, word.split())) for word in longest_first)
        return re.compile(rf"(?<![A-Za-z])(?:{'|'.join(phrases)})(?![A-Za-z])", re.IGNORECASE)


def load(path: Path = HERE / "words.toml") -> WordList:
    """Read the word list."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return WordList(**{**content, "clean": tuple(content["clean"])})


def findings(path: Path, text: str, words: WordList) -> Iterator[Finding]:
    """Yield what is to be replaced in a file's text."""
    pieces = python_pieces(text) if path.suffix == ".py" else [(1, text)]
    for start, piece in pieces:
        for match in words.pattern.finditer(piece):
            line = start + piece.count("\n", 0, match.start())
            word = " ".join(match[0].replace("#", " ").split())
            yield Finding(path, line, word, words.words[word.lower()])
    if path.suffix == ".py":
        nodes = list(ast.walk(ast.parse(text)))
        yield from opening_findings(path, nodes, words)
        yield from name_findings(path, nodes, words)


def python_pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield strings and blocks of comments, each with its first line's number."""
    comment_start, comments = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in TEXT_TOKENS:
            continue
        line = token.start[0]
        if comments and not (
            token.type == tokenize.COMMENT and line == comment_start + len(comments)
        ):
            yield comment_start, "\n".join(comments)
            comments = []
        if token.type == tokenize.COMMENT:
            comment_start = comment_start if comments else line
            comments.append(token.string)
        else:
            yield line, token.string
    if comments:
        yield comment_start, "\n".join(comments)


def opening_findings(path: Path, nodes: Iterable[ast.AST], words: WordList) -> Iterator[Finding]:
    """Yield docstrings that begin with a listed word."""
    for node in nodes:
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node)
        if not docstring:
            continue
        first = re.split(r"\W", docstring, maxsplit=1)[0]
        listed = dict(words.openings)
        if isinstance(node, ast.Module):
            listed.update(words.module_openings)
        if first in listed:
            yield Finding(path, node.body[0].lineno, f"{first} …", listed[first])


def name_findings(path: Path, nodes: Iterable[ast.AST], words: WordList) -> Iterator[Finding]:
    """Yield functions and classes whose name has a listed word; a test's name is a sentence."""
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for match in words.pattern.finditer(node.name.replace("_", " ")):
                word = match[0].lower()
                yield Finding(path, node.lineno, f"{word} in {node.name}", words.words[word])


def tracked_files(paths: Iterable[str]) -> Iterator[Path]:
    """Yield the .py and .md files of git below some paths, those not yet added included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in sorted(set(listed.stdout.split("\0"))):
        if name.endswith((".py", ".md")) and (ROOT / name).is_file():
            yield Path(name)


def check(paths: Iterable[str], words: WordList) -> list[Finding]:
    """Return all findings below some paths, but for the files that are excepted."""
    return [
        found
        for path in tracked_files(paths)
        if str(path) not in words.exceptions
        for found in findings(path, (ROOT / path).read_text(encoding="utf-8"), words)
    ]


def folder_of(path: Path) -> str:
    """Return the folder that a finding is counted in."""
    parts = path.parts
    depth = 5 if parts[0] == "libs" else 2
    return "/".join(parts[: min(depth, len(parts) - 1)]) or path.name


def main() -> int:
    """Check, print what is found, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="*", help="instead of the paths that the list calls clean")
    parser.add_argument("--count", action="store_true", help="count the findings of each folder")
    options = parser.parse_args()
    words = load()
    if options.count:
        counts = Counter(folder_of(found.path) for found in check(options.paths or ["."], words))
        for folder, count in sorted(counts.items()):
            print(f"{count:6} {folder}")
        print(f"{counts.total():6} in all")
        return 0
    found = check(options.paths or words.clean, words)
    print(*found, sep="\n", end="\n" if found else "")
    if found:
        print(f"{len(found)} words of .ci/words.toml; see CONTRIBUTING.md, Documents")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
