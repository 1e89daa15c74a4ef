"""Caps the tail: a file has at most 600 lines, a function at most 80. Complexity (12) is ruff's C901."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80


def excesses(root: Path) -> list[str]:
    """Every file and function over its cap, as `path:line: what`."""
    found = []
    for path in sorted(
        p for folder in ("src", "tests", "bench", "examples", ".ci") for p in (root / folder).rglob("*.py")
    ):
        text = path.read_text(encoding="utf-8")
        num_lines = text.count("\n")
        if num_lines > MAX_FILE_LINES:
            found.append(f"{path}:1: {num_lines} lines, the cap is {MAX_FILE_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    found.append(
                        f"{path}:{node.lineno}: {node.name} has {length} lines, the cap is {MAX_FUNCTION_LINES}"
                    )
    return found


if __name__ == "__main__":
    problems = excesses(Path(__file__).resolve().parent.parent)
    print("\n".join(problems) or "size caps hold")
    sys.exit(bool(problems))
