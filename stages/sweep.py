"""sweep: DPO once for each combination of some settings, from the same SFT adapter and pairs, and one table.

Each run is an artifact of its own, `models/<name>/sweep/<settings>/`: a killed sweep goes on where it was, and what is
finished stays. People's labels are read where they stand.
"""

import hashlib
import itertools
import logging
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stages.core import artifacts
from stages.core.artifacts import Manifest, Request
from stages.core.errors import KormedError
from stages.core.pipeline import STAGES, Run, device, duration
from stages.core.recipe import Recipe, load_recipe
from stages.core.records import Preference, read_jsonl
from stages.core.sweep_table import HEADER, Tried, against_best, agreements, noise, ranked, rows

log = logging.getLogger("kormed")

DPO = STAGES["dpo"]
SHARED_FILE = "reference.jsonl"  # of SFT and the pairs, not of what is swept; each row says what it belongs to


@dataclass(frozen=True)
class Combination:
    """`settings`: `dpo.key=value` as typed. `name`: its folder, by the values as the recipe reads them."""

    name: str
    settings: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Trained:
    """A finished combination. `agrees`: whether the policy agrees with the people, by held-out pair's id."""

    combination: Combination
    manifest: Manifest
    agrees: dict[str, bool]

    @property
    def tried(self) -> Tried:
        """Named in the table by its settings."""
        words = (setting.removeprefix("dpo.") for setting in self.combination.settings)
        return Tried(" ".join(words), self.manifest, self.agrees)


@dataclass(frozen=True)
class Failed:
    combination: Combination
    reason: str


def combinations(path: Path, overrides: Sequence[str], values: Sequence[str]) -> list[Combination]:
    """Every combination of `values` (`dpo.beta=0.05,0.1`), each a whole checked recipe.

    Raises:
        KormedError: a key is not one of section dpo or changes nothing in the result, a value does not fit, or two
            combinations are the same.
    """
    made: dict[str, Combination] = {}
    for settings in itertools.product(*map(choices, values)):
        recipe = load_recipe(path, [*overrides, *settings])
        config = artifacts.flatten(recipe.dpo.model_dump(mode="json"))
        keys = [setting.partition("=")[0].removeprefix("dpo.") for setting in settings]
        name = folder_name({key: config[key] for key in keys})
        if name in made:
            raise KormedError(f"--values: {' '.join(settings)} is the same as {' '.join(made[name].settings)}")
        made[name] = Combination(name, settings, recipe)
    return list(made.values())


def choices(value: str) -> list[str]:
    """`dpo.beta=0.05,0.1` as `dpo.beta=0.05` and `dpo.beta=0.1`."""
    key, equals, listed = value.partition("=")
    wanted = "a key of section dpo and its values were wanted, for example dpo.beta=0.05,0.1,0.3"
    parts = [part.strip() for part in listed.split(",")]
    if not equals or not key.startswith("dpo.") or not all(parts):
        raise KormedError(f"--values {value}: {wanted}")
    if key.removeprefix("dpo.") in DPO.incidental:
        raise KormedError(f"--values {value}: {key} changes nothing in the adapter; {wanted}")
    return [f"{key}={part}" for part in parts]


def folder_name(config: dict[str, Any]) -> str:
    """`beta=0.05,loss=ipo`; with a hash behind it where a value is too long or has what a path cannot hold."""
    whole = ",".join(f"{key}={value}" for key, value in config.items())
    clean = re.sub(r"[^\w.=,+-]", "_", whole)[:120]
    return clean if clean == whole else f"{clean}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def train(run: Run, chosen: Sequence[Combination]) -> list[Trained | Failed]:
    """Every combination's artifact, those that stand there as they are. One that fails does not lose the others.

    Raises:
        KormedError: nothing is held out to compare them by, or SFT or the preferences cannot be had.
    """
    if artifacts.processes() > 1:
        raise KormedError("sweep: trains one combination after the other in one process; start it without a launcher")
    run.bring("sft")
    run.bring("preferences")
    heldout = run.path("preferences") / "heldout.jsonl"
    if not read_jsonl(heldout, Preference):
        raise KormedError(
            f"{heldout}: no pairs held out, and a sweep compares by them; set preferences.heldout above 0 or label "
            f"more, then `kormed preferences RECIPE`"
        )
    results: list[Trained | Failed] = []
    for number, combination in enumerate(chosen, start=1):
        log.info("sweep: %d of %d: %s", number, len(chosen), " ".join(combination.settings))
        try:
            results.append(trained(run, combination))
        except KormedError as error:
            log.error("sweep: %s failed: %s", combination.name, error)
            results.append(Failed(combination, str(error)))
    return results


def trained(run: Run, combination: Combination) -> Trained:
    """The combination's artifact, made now where it is missing or was made of other inputs or settings."""
    folder = run.path("sweep") / combination.name
    request = request_of(run, combination)
    manifest = artifacts.read_manifest(folder)
    if manifest is not None and (change := artifacts.changed(folder, manifest)):
        raise KormedError(f"{folder}: {change}")
    why = [] if manifest is None else artifacts.differences(manifest, request, "dpo.")
    if manifest is not None and not why:
        log.info("sweep: %s: done already", combination.name)
    else:
        if why:
            log.info("sweep: %s is made anew: %s", combination.name, "; ".join(why))
        manifest = artifacts.make(
            folder, request, lambda out: train_one(run, combination, out), device=device, replace=bool(why)
        )
        log.info("sweep: %s: done in %s", combination.name, duration(manifest.seconds))
    if not manifest.metrics["heldout_pairs"]:
        raise KormedError(f"none of the held-out pairs fits dpo.max_length={combination.recipe.dpo.max_length}")
    return Trained(combination, manifest, agreements(folder / "heldout.jsonl"))


def request_of(run: Run, combination: Combination) -> Request:
    """What `kormed dpo` would ask for with the combination's settings."""
    own = Run(combination.recipe, run.folder.parent)
    inputs = own.inputs(DPO)
    if inputs is None:  # both were brought before
        raise AssertionError("dpo's inputs vanished")
    return own.request(DPO, inputs)


def train_one(run: Run, combination: Combination, out: Path) -> dict[str, float]:
    """DPO's own run, with what another one of this recipe has computed of the same reference."""
    others = [path for path in sorted(run.folder.glob(f"sweep/*/{SHARED_FILE}")) if path.parent != out]
    there = [*others, *run.folder.glob(f"dpo/{SHARED_FILE}")]
    if there and not (out / SHARED_FILE).exists():
        shutil.copyfile(there[0], out / f".{SHARED_FILE}.tmp")
        (out / f".{SHARED_FILE}.tmp").replace(out / SHARED_FILE)
    metrics: dict[str, float] = import_module(DPO.module).run(
        combination.recipe.dpo, out, sft=run.path("sft"), preferences=run.path("preferences")
    )
    return metrics


def table(results: Sequence[Trained | Failed], recipe: str, overrides: Sequence[str]) -> str:
    """The finished combinations by held-out accuracy, the best first, what of it is noise, and the way to take one.

    Of equally good ones the larger mean margin stands first. It says so where none finished.
    """
    combinations = {result.tried.name: result.combination for result in results if isinstance(result, Trained)}
    done = ranked([result.tried for result in results if isinstance(result, Trained)])
    if not done:
        return "no combination finished"
    tests = against_best(done)
    first = command(recipe, overrides, combinations[done[0].name])
    return "\n".join([*aligned([HEADER, *rows(done, tests)]), "", noise(done, tests), f"take the first: {first}"])


def failures(results: Sequence[Trained | Failed]) -> str | None:
    """What failed, a line each, and the way to have it; None where all is done."""
    failed = [result for result in results if isinstance(result, Failed)]
    if not failed:
        return None
    lines = [f"  {' '.join(result.combination.settings)}: {result.reason}" for result in failed]
    return "\n".join(
        [
            f"sweep: {len(failed)} of {len(results)} combinations failed; the others are kept, and the same command "
            f"tries these again:",
            *lines,
        ]
    )


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]


def command(recipe: str, overrides: Sequence[str], combination: Combination) -> str:
    sets = [part for setting in [*overrides, *combination.settings] for part in ("--set", setting)]
    return shlex.join(["kormed", "dpo", recipe, *sets])
