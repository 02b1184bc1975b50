"""The code that decides numbers: a digest of every module that classes are defined in or import, but for other packages'."""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from experiment.core.environment import OWN
from experiment.core.identity import digest

Code = Mapping[str, str]  # digest of each module, by its name


def code_of(kinds: Iterable[type]) -> Code:
    """Return the digests of the modules of these classes and of all that they import, directly or not, in a stable order.

    Installed packages and Python's own modules are left out: a run records their versions. Import statements are followed
    wherever they are, also in functions.
    """
    code: dict[str, str] = {}
    waiting = sorted({kind.__module__ for kind in kinds})
    while waiting:
        name = waiting.pop()
        if name not in code and (file := _file(name)) is not None:
            code[name], imported = _read(name, file, file.stat().st_mtime_ns)
            waiting += imported
    return {name: code[name] for name in sorted(code)}


def code_digest(code: Code) -> str:
    """Return one digest of modules; their names do not count, so that a module may be moved or renamed."""
    return digest(sorted(set(code.values())))


def changed(code: Code, other: Code) -> list[str]:
    """Return the names of modules whose content `other` does not have."""
    return [name for name, content in code.items() if content not in other.values()]


@cache
def _read(name: str, file: Path, mtime_ns: int) -> tuple[str, tuple[str, ...]]:
    """Return the digest of a module and the names that it imports. Comments, docstrings and layout do not count."""
    tree = ast.parse(file.read_bytes())
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    imported = tuple(_imported(tree, package))
    return digest(ast.unparse(_Bare().visit(tree))), imported


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the names that may be modules of the import statements in a module of `package`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


class _Bare(ast.NodeTransformer):
    """Removes what decides no number: strings that are statements, and from where the project's own names are imported."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        own = node.level or _is_own(str(node.module).partition(".")[0])
        return ast.ImportFrom(None, node.names, level=1) if own else node


def _file(name: str) -> Path | None:
    """Return the source of a module; None for packages of others and for names that are no modules."""
    if not _is_own(name.partition(".")[0]):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a name in a module
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _is_own(package: str) -> bool:
    """Return whether a top-level package is one of ours, installed or not, or one that is not installed."""
    if package in OWN:
        return True
    if package in sys.stdlib_module_names or (spec := importlib.util.find_spec(package)) is None:
        return False
    places = [Path(place).resolve() for place in spec.submodule_search_locations or [str(spec.origin)]]
    installed = {Path(sysconfig.get_path(scheme)).resolve() for scheme in ("purelib", "platlib")}
    return not any(place.is_relative_to(folder) for place in places for folder in installed)
