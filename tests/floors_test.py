"""Which file may import which: the layers of the package, by its syntax trees."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "tf_textgen"
# Names next to each other may not import each other; "" is the package's own `__init__`.
FLOORS = (
    ("errors", ""),
    ("fields",),
    ("config", "atomic_files", "file_locks", "progress_line", "compat"),
    ("objectives",),
    ("layers", "evaluation"),
    ("models", "text", "decoding", "optimizers"),
    ("client", "generator", "data"),
    ("runs", "export"),
    ("distribution", "judging", "server"),
    ("training",),
    ("jobs",),
    ("__main__",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
PRIVATE = re.compile(
    r"tensorflow\.python|tf\.__internal__|tf\.compat\.v1|tensorflow\.compat\.v1|keras\.src|tensorflow_text\.python"
)
FILES = sorted(PACKAGE.rglob("*.py"))


def _part(path: pathlib.Path) -> str:
    """The folder of a file in the package, or the file's own name at its top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem.replace("__init__", "")


def _imports(tree: ast.AST) -> Iterator[str]:
    """All modules that are imported, also inside functions and for annotations alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_for_type_checkers(node: ast.stmt) -> bool:
    """Whether it is the block that declares the public names, which never runs."""
    return isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING"


def _name(node: ast.AST) -> str:
    """`a.b.c` of the attribute or name, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _name(node.value)):
        return f"{before}.{node.attr}"
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_lead_down(path):
    own = _part(path)
    assert own in FLOOR_OF, f"{own} stands on no floor: add it to FLOORS"
    tree = ast.parse(path.read_text("utf-8"))
    if path == PACKAGE / "__init__.py":
        tree.body = [node for node in tree.body if not _is_for_type_checkers(node)]
    for module in _imports(tree):
        package, *inside = module.split(".")
        if package == "tf_textgen":
            part = inside[0]
            part = part if part in FLOOR_OF else ""
            assert part == own or FLOOR_OF[part] < FLOOR_OF[own], (
                f"{own} (floor {FLOOR_OF[own]}) imports {module}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_stand_in_compat_alone(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = {*_imports(tree), *(_name(node) for node in ast.walk(tree))}
    found = sorted(name for name in names if PRIVATE.search(name))
    assert not found or path.name == "compat.py", f"{found} belong in compat.py"


def test_configurations_import_no_tensorflow():
    for path in PACKAGE.rglob("*config.py"):
        modules = {module.split(".")[0] for module in _imports(ast.parse(path.read_text("utf-8")))}
        assert not modules & {"tensorflow", "keras", "numpy"}, path
