"""The import rules of the design: cli -> stages, annotation -> core; light never reaches for heavy."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY_CORE = {
    f"stages.core.{name}"
    for name in (
        *("models", "fast_lora", "padding_free", "training", "preference_training", "watching"),
        *("launching", "sharding", "generation", "slots", "nucleus", "merged", "local_rewriter", "exam_model"),
    )
}
HEAVY_LIBRARIES = {"torch", "transformers", "trl", "peft", "lm_eval", "argilla", "bitsandbytes", "accelerate"}
ENTRY = {"stages.cli", "stages.__main__"}


@dataclass(frozen=True)
class Import:
    """One name that a module imports; `late` where it stands in a function, so that it costs nothing at start."""

    module: str
    target: str
    late: bool
    line: int


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, root: Path = ROOT) -> Iterator[Import]:
    """Everything that a file imports, `from a import b` as `a.b`; what only type checkers see is left out."""
    module = module_name(path, root)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.Import(names=names):
                    yield from (Import(module, name.name, late, child.lineno) for name in names)
                case ast.ImportFrom(module=source, names=names, level=level):
                    above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                    base = ".".join([*above, *([source] if source else [])])
                    yield from (Import(module, f"{base}.{name.name}", late, child.lineno) for name in names)
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    for other in child.orelse:
                        yield from walk(other, late)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    yield from walk(child, True)
                case _:
                    yield from walk(child, late)

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def broken_rule(found: Import, modules: set[str]) -> str | None:
    """The rule that an import breaks, if any. `modules` are ours, to tell a module from a name in it."""
    module, target = found.module, found.target
    if target not in modules and target.rpartition(".")[0] in modules:
        target = target.rpartition(".")[0]
    ours = is_within(target, "stages") or is_within(target, "annotation")
    library = target.partition(".")[0]
    if is_within(module, "annotation.server") and ours:
        return "annotation/server runs in Argilla's environment and imports nothing of ours"
    if not is_within(module, "annotation.server") and is_within(target, "annotation.server"):
        return "annotation/server is another environment's; nobody imports it"
    if is_within(module, "stages.core"):
        if ours and not is_within(target, "stages.core") and target != "stages":
            return "core imports nothing above itself"
        if module not in HEAVY_CORE and target in HEAVY_CORE:
            return "light core never imports heavy core"
        if module not in HEAVY_CORE and library in HEAVY_LIBRARIES and not found.late:
            return "light core imports no heavy library at its top"
    elif is_within(module, "stages"):
        if module in ENTRY:
            if library in HEAVY_LIBRARIES and not found.late:
                return "the CLI answers --help at once"
            if ours and not found.late and target not in {"stages.cli", "stages.core.errors"}:
                return "the CLI imports what it runs when it runs it"
        elif ours and not is_within(target, "stages.core"):
            return "stages meet on disk only: they never import each other, the CLI or annotation"
    elif is_within(module, "annotation") and is_within(target, "stages") and not is_within(target, "stages.core"):
        return "annotation imports core and no stage"
    return None


def python_files(root: Path) -> list[Path]:
    return sorted(path for package in ("stages", "annotation") for path in (root / package).rglob("*.py"))


def broken(root: Path) -> list[str]:
    files = python_files(root)
    modules = {module_name(path, root) for path in files}
    return [
        f"{path.relative_to(root)}:{found.line}: imports {found.target}: {rule}"
        for path in files
        for found in imports_of(path, root)
        if (rule := broken_rule(found, modules))
    ]


def test_imports_go_from_cli_to_stages_and_annotation_to_core() -> None:
    assert broken(ROOT) == []


def test_every_module_of_the_house_was_looked_at() -> None:
    modules = {module_name(path, ROOT) for path in python_files(ROOT)}
    assert modules >= {"stages.cli", "stages.prepare", "stages.core.recipe", "annotation.push", *HEAVY_CORE}
    assert any(is_within(module, "annotation.server") for module in modules)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("stages/core/records.py", "from stages import prepare"),
        ("stages/core/records.py", "import annotation.push"),
        ("stages/core/records.py", "def f():\n    from stages.cli import main"),
        ("stages/core/records.py", "import torch"),
        ("stages/core/records.py", "from torch.nn import Linear"),
        ("stages/core/records.py", "from stages.core import models"),
        ("stages/core/records.py", "from stages.core.models import load"),
        ("stages/core/records.py", "from . import models"),
        ("stages/core/records.py", "def f():\n    import stages.core.models"),
        ("stages/core/records.py", "try:\n    import trl\nexcept ImportError:\n    trl = None"),
        ("stages/prepare.py", "from stages import sft"),
        ("stages/prepare.py", "from stages.sft import run"),
        ("stages/prepare.py", "from .sft import run"),
        ("stages/prepare.py", "from annotation.push import push"),
        ("stages/cli.py", "from stages import sft"),
        ("stages/cli.py", "import torch"),
        ("stages/cli.py", "from stages.core.recipe import load_recipe"),
        ("annotation/push.py", "from stages.sft import run"),
        ("annotation/push.py", "import stages.prepare"),
        ("annotation/push.py", "from annotation.server import engine"),
        ("annotation/server/engine.py", "from stages.core.errors import KormedError"),
        ("annotation/server/engine.py", "from annotation.api import Api"),
        ("annotation/server/engine.py", "from .. import api"),
    ],
)
def test_a_broken_rule_is_found(tmp_path: Path, module: str, line: str) -> None:
    for name in (
        "core/records.py",
        "core/models.py",
        "prepare.py",
        "sft.py",
        "cli.py",
        "__init__.py",
        "core/__init__.py",
    ):
        (tmp_path / "stages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stages" / name).write_text("", encoding="utf-8")
    for name in ("push.py", "api.py", "__init__.py", "server/engine.py", "server/__init__.py"):
        (tmp_path / "annotation" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "annotation" / name).write_text("", encoding="utf-8")
    assert broken(tmp_path) == []
    (tmp_path / module).write_text(f"{line}\n", encoding="utf-8")
    (found,) = broken(tmp_path)
    assert found.startswith(f"{module}:")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("stages/core/records.py", "def f():\n    import torch"),
        ("stages/core/records.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("stages/core/records.py", "from stages.core import errors"),
        ("stages/core/models.py", "import torch"),
        ("stages/sft.py", "from stages.core import models, records\nimport torch"),
        (
            "stages/cli.py",
            "from stages.core.errors import KormedError\ndef f():\n    from stages.core.pipeline import Run",
        ),
        ("annotation/push.py", "import argilla\nfrom stages.core.records import Comparison"),
    ],
)
def test_what_the_design_allows_is_not_called_broken(tmp_path: Path, module: str, line: str) -> None:
    for name in ("stages/core/records.py", "stages/core/models.py", "stages/core/errors.py", module):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / module).write_text(f"{line}\n", encoding="utf-8")
    assert broken(tmp_path) == []
