"""compare: runs or sweeps in, one table of them with paired tests out. Reads artifacts; makes none.

Runs stand beside each other by their exam, `models/<name>/evaluate/`; DPO adapters, a sweep's or a run's own, by the
held-out pairs that people judged. Where these are not the same questions, put in the same way, it refuses.
"""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.core import artifacts, between_runs, findings, markdown, published, runs_table, sweep_table
from stages.core.artifacts import MANIFEST
from stages.core.between_runs import Exam
from stages.core.errors import KormedError
from stages.core.pipeline import EVALUATIONS, Run
from stages.core.recipe import load_recipe
from stages.core.records import Checkpoint
from stages.core.sweep_table import Tried

log = logging.getLogger("kormed")

RECIPES = (".yaml", ".yml")
CHECKPOINTS: tuple[Checkpoint, ...] = ("base", "sft", "dpo")
SCALES = (
    "Margin and log-probability are against each adapter's own SFT, and a margin grows with dpo.beta: compare it only "
    "where that is the same."
)


@dataclass(frozen=True)
class Named:
    """A run as the user named it. `run`: where that was by a recipe, so that what is stale can be told."""

    name: str
    folder: Path
    recipe: str  # as in a command; RECIPE where only the folder was named
    run: Run | None

    def evaluation(self, checkpoint: Checkpoint) -> Path:
        return self.folder / "evaluate" / checkpoint


def compare(
    names: Sequence[Path], *, subsets: Sequence[str] = (), with_published: bool = False, models: Path = Path("models")
) -> str:
    """Markdown that reads as it stands. `names`: recipes, run folders or their names, or sweeps and DPO adapters.

    `subsets`: only these, for every run; none: all, which every run must have. `with_published`: beside the figures of
    published.yaml.

    Raises:
        KormedError: something named is not there or not evaluated, or cannot be compared; says why, and the way out.
    """
    found = {name: dpo_adapters(place(name, models)) for name in names}
    runs = [name for name in names if not found[name]]
    adapters = [folder for folders in found.values() for folder in folders]
    if adapters and runs:
        raise KormedError(
            f"{runs[0]} is a run and {adapters[0]} DPO alone, which sat no exam: they have no scale in common. To put "
            f"a run's own DPO beside a sweep, name its folder, models/<name>/dpo"
        )
    if adapters and (subsets or with_published):
        raise KormedError("--subset and --published are about the exam, which a sweep's adapters did not sit")
    blocks = compare_adapters(adapters) if adapters else compare_runs(runs, subsets, with_published, models)
    return "\n\n".join(filter(None, blocks))


def write(text: str, file: Path) -> None:
    """
    Raises:
        KormedError: `file` is a folder, or in one that is not there.
    """
    if file.is_dir() or not file.parent.is_dir():
        raise KormedError(f"--output {file}: {'this is a folder' if file.is_dir() else f'no folder {file.parent}'}")
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        temporary.write_text(f"{text}\n", encoding="utf-8")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)  # there only if something went wrong on the way


# What was named


def place(name: Path, models: Path) -> Path:
    """A recipe or folder as it is named, or else the run of that name."""
    return name if name.exists() or name.suffix in RECIPES else models / name


def dpo_adapters(folder: Path) -> list[Path]:
    """The finished DPO adapters of a sweep, or the one that this folder is; empty where it is neither.

    Raises:
        KormedError: no combination of the sweep is finished.
    """
    if not folder.is_dir():
        return []
    if folder.name != "sweep" or (folder / "evaluate").is_dir():
        return [folder] if is_dpo(folder) else []
    done = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and is_dpo(path))
    if not done:
        raise KormedError(f"{folder}: no combination is finished; the same `kormed sweep` goes on where it stopped")
    return done


def is_dpo(folder: Path) -> bool:
    manifest = artifacts.read_manifest(folder) if folder.is_dir() else None
    return manifest is not None and manifest.stage == "dpo"


def find_run(name: Path, models: Path) -> Named:
    """
    Raises:
        KormedError: there is no such recipe or run, or it is a folder inside a run.
    """
    if name.suffix in RECIPES:
        run = Run(load_recipe(name), models)
        return Named(run.recipe.name, run.folder, str(name), run)
    folder = place(name, models)
    if not folder.is_dir():
        there = sorted(path.name for path in models.glob("*") if (path / "evaluate").is_dir())
        near = difflib.get_close_matches(folder.name, there, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise KormedError(f"{name}: no such recipe or run; {hint}evaluated in {models}: {', '.join(there) or 'none'}")
    for inner in (folder, folder.parent):
        if inner.name == "evaluate":
            raise KormedError(f"{name}: a part of a run; name the run, {inner.parent}")
    return Named(folder.name if folder.parent == models else str(folder), folder, "RECIPE", None)


# Runs


def compare_runs(names: Sequence[Path], subsets: Sequence[str], with_published: bool, models: Path) -> list[str]:
    """Blocks of Markdown, some of them empty."""
    found = [find_run(name, models) for name in names]
    require_several(found, with_published)
    exams = [read_exam(named, str(number)) for number, named in enumerate(found, start=1)]
    if subsets:
        exams = [between_runs.only(exam, subsets) for exam in exams]
    between_runs.require_same_exam(exams)
    sources = published.read_published() if with_published else ()
    differing = [line for pair in zip(found, exams, strict=True) for line in unlike_published(*pair)] if sources else []
    for exam in exams:
        log.info("compare: %s: %s", exam.name, ", ".join(one.checkpoint for one in exam.evaluations))
    return [
        "\n".join(markdown.paragraph(runs_table.told(exam), f"{exam.label}. ") for exam in exams),
        markdown.paragraph(runs_table.how_asked(exams[0], bool(subsets))),
        runs_table.accuracies(exams, sources),
        markdown.paragraph(runs_table.ACCURACIES + (runs_table.NOT_BY_US if sources else "")),
        *runs_table.tested(exams),
        runs_table.listed(
            "To know:",
            [
                *(line for named in found for line in (*stale(named), *interrupted(named))),
                *runs_table.remarks(exams),
                *runs_table.published_sources(sources),
                *differing,
            ],
        ),
    ]


def require_several(found: Sequence[Named], with_published: bool) -> None:
    folders = [named.folder.resolve() for named in found]
    for at, named in enumerate(found):
        if folders[at] in folders[:at]:
            raise KormedError(f"{named.folder}: named twice; a run is compared with other runs")
    if len(found) == 1 and not with_published:
        raise KormedError(
            f"{found[0].folder}: one run alone; name another one, or --published for what others published. Its own "
            f"checkpoints are compared in its report (`kormed report {found[0].recipe}`)"
        )


def read_exam(named: Named, label: str) -> Exam:
    """
    Raises:
        KormedError: nothing is evaluated, a file was changed since, or the run's checkpoints do not pair.
    """
    evaluations = []
    for checkpoint in CHECKPOINTS:
        folder = named.evaluation(checkpoint)
        manifest = artifacts.read_manifest(folder)
        if manifest is None:
            continue
        if change := artifacts.changed(folder, manifest):
            raise KormedError(f"{folder}: {change}")
        evaluations.append(findings.read_evaluation(checkpoint, folder))
    if not evaluations:
        nothing = f"{named.folder}: no checkpoint is evaluated there; `kormed evaluate {named.recipe}` does it"
        raise KormedError("\n".join(interrupted(named)) or nothing)
    findings.require_pairs(evaluations)
    return Exam(label, named.name, named.recipe, tuple(evaluations))


def interrupted(named: Named) -> list[str]:
    """Evaluations that were begun and not finished, and what goes on with them."""
    found = []
    for checkpoint in CHECKPOINTS:
        folder = named.evaluation(checkpoint)
        again = f"`kormed evaluate {named.recipe} --checkpoint {checkpoint}"
        if not artifacts.partial_place(folder).exists():
            continue
        if (folder / MANIFEST).exists():
            found.append(f"{folder}: the finished evaluation; a newer one was begun and stopped ({again} --force`)")
        else:
            found.append(f"{folder}: begun and not finished; {again}` goes on where it stopped")
    return found


def stale(named: Named) -> list[str]:
    """Evaluations that are not of the recipe as it is now, by the reason: their figures are of what was then."""
    if named.run is None:
        return []
    by_reason: dict[str, list[str]] = {}
    for standing in map(named.run.standing, EVALUATIONS):
        if standing.state == "stale":
            by_reason.setdefault("; ".join(standing.why), []).append(standing.stage.name)
    return [
        f"{named.folder}: stale, so these are figures of how it was then: {', '.join(names)} ({why})"
        for why, names in by_reason.items()
    ]


def unlike_published(named: Named, exam: Exam) -> list[str]:
    """Why the published figures are not of this run's model and questions, in words; empty: they are.

    Raises:
        KormedError: it was not asked KorMedMCQA at all.
    """
    settings, questions = exam.evaluations[0].settings, benchmark_questions(named, exam)
    if others := published.other_benchmark(questions):
        raise KormedError(
            f"--published: {exam.name} was not asked KorMedMCQA ({'; '.join(others)}), and published figures stand "
            f"only beside its own questions; leave --published out, or set prepare.benchmark to KorMedMCQA"
        )
    differing = published.unlike(settings.base, settings.limit, questions)
    return [f"{exam.name} is not what was published: {'; '.join(differing)}"] if differing else []


def benchmark_questions(named: Named, exam: Exam) -> dict[str, int]:
    """Test questions of each subset that the run was asked, in its whole benchmark.

    Raises:
        KormedError: only a part was asked, and what it is a part of is gone.
    """
    first, folder = exam.evaluations[0], named.folder / "prepare"
    prepared, evaluated = artifacts.read_manifest(folder), findings.manifest_of(first.folder)
    if prepared is not None and prepared.part("benchmark") == evaluated.inputs.get("prepare:benchmark"):
        benchmark = findings.read_eda(folder / "eda.json").benchmark
        return {subset: benchmark[subset]["test"] for subset in sorted(exam.subsets)}
    if first.settings.limit is not None:
        raise KormedError(
            f"--published: {exam.name} was asked {first.settings.limit} questions a subset, and of which benchmark "
            f"cannot be told, since {folder} is not what it was evaluated on; evaluate again (`kormed evaluate "
            f"{named.recipe} --force`), or leave --published out"
        )
    asked = [answer.subset for answer in first.answers.values()]
    return {subset: asked.count(subset) for subset in sorted(exam.subsets)}


# Sweeps


def compare_adapters(named: Sequence[Path]) -> list[str]:
    """Blocks of Markdown, some of them empty."""
    folders = list({folder.resolve(): folder for folder in named}.values())
    if len(folders) == 1:
        raise KormedError(f"{folders[0]}: one DPO adapter alone; name another one, or a sweep (models/<name>/sweep)")
    tried = sweep_table.ranked([read_adapter(folder) for folder in folders])
    sweep_table.require_same_pairs(tried)
    log.info("compare: %d DPO adapters", len(tried))
    tests = sweep_table.against_best(tried)
    numbered = [replace(one, name=str(number)) for number, one in enumerate(tried, start=1)]
    table = [("", *sweep_table.HEADER[1:]), *sweep_table.rows(numbered, tests)]
    shown = [0, 1, 2, 4, 7]  # losses may be of different kinds; steps and time stand in sweep's own table
    return [
        "\n".join(markdown.paragraph(one.name, f"{number}. ") for number, one in enumerate(tried, start=1)),
        markdown.table([[row[at] for at in shown] for row in table]),
        markdown.paragraph(sweep_table.noise(tried, tests)),
        markdown.paragraph(SCALES),
        runs_table.listed("To know:", [*sweep_table.unlike_inputs(tried), *outdated(tried), *unfinished(folders)]),
    ]


def read_adapter(folder: Path) -> Tried:
    """
    Raises:
        KormedError: a file was changed since, or no held-out pair was judged.
    """
    manifest = findings.manifest_of(folder)
    if change := artifacts.changed(folder, manifest):
        raise KormedError(f"{folder}: {change}")
    agrees = sweep_table.agreements(folder / "heldout.jsonl")
    if not agrees:
        raise KormedError(
            f"{folder}: no held-out pair was judged, so there is nothing to compare it by; raise preferences.heldout, "
            f"or dpo.max_length where none fits it, and train again"
        )
    return Tried(str(folder), manifest, agrees)


def outdated(tried: Sequence[Tried]) -> list[str]:
    """Adapters that do not start from the SFT adapter that their run has now."""
    found = []
    for one in tried:
        above = Path(one.name).parent
        sft = (above.parent if above.name == "sweep" else above) / "sft"
        manifest = artifacts.read_manifest(sft)
        if manifest is not None and manifest.content != one.manifest.inputs.get("sft"):
            found.append(f"{one.name} starts from another SFT adapter than {sft} is now")
    return found


def unfinished(folders: Sequence[Path]) -> list[str]:
    sweeps = dict.fromkeys(folder.parent for folder in folders if folder.parent.name == "sweep")
    return [
        f"{path}: begun and not finished; the same `kormed sweep` goes on where it stopped"
        for sweep in sweeps
        for path in sorted(sweep.glob(".*.partial"))
    ]
