"""trace: a row's id in, its source and every decision on its way out. Reads artifacts; makes none."""

import difflib
import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from stages.core.artifacts import read_manifest
from stages.core.errors import KormedError
from stages.core.lineage import Line, about, describe, outdated, own_names, read_lines, repeat_id


def trace(id: str, runs: Sequence[Path] | None, models: Path = Path("models")) -> str:
    """Everything that is known of the row, a line a decision. `runs` None: look in every run.

    Raises:
        KormedError: no run knows the id.
    """
    folders = sorted(path for path in models.glob("*") if path.is_dir()) if runs is None else runs
    found, known = [], set()
    for folder in folders:
        lines = read_lines(folder)
        repeats = {repeat for line in lines if (repeat := repeat_id(line.row))}
        told = [*source(folder, id), *(tell(line, repeats) for line in about(lines, id))]
        if told:
            notes = [f"  {a} was made of another {b} than the one there now" for a, b in outdated(folder).items()]
            found.append("\n".join([f"{id} in {folder}", *notes, *told]))
        known |= {name for line in lines for name in own_names(line.row)}
    if not found:
        near = difflib.get_close_matches(id, known, n=3)
        hint = f"; near it: {', '.join(near)}" if near else ""
        hint = hint if known else "; nothing is made there yet (kormed prepare RECIPE, or make prepare)"
        raise KormedError(f"{id}: no run in {', '.join(map(str, folders)) or models} knows this id{hint}")
    return "\n\n".join(found)


def source(folder: Path, id: str) -> list[str]:
    """An exam question's place in the benchmark, which its id gives; nothing where there is no such place."""
    manifest = read_manifest(folder / "prepare")
    place = re.fullmatch(r"kormedmcqa/(\w+)/(\w+)/(\d+)", id)
    if manifest is None or place is None:
        return []
    subset, split, row = place.groups()
    questions = json.loads((folder / "prepare" / "eda.json").read_text(encoding="utf-8"))["benchmark"]
    if not 1 <= int(row) <= questions.get(subset, {}).get(split, 0):
        return []
    return [f"  {'source':<14} {manifest.config['benchmark']}: {subset}, {split}, row {row}"]


def tell(line: Line, repeats: Collection[str]) -> str:
    return f"  {line.artifact:<14} {describe(line.row, repeats)}\n  {'':<14}   {line.place}"
