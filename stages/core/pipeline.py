"""The order of the stages, written once: what each one reads, whether it stands, and how to bring it about."""

import logging
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from stages.core import artifacts, metering
from stages.core.artifacts import Manifest, Request
from stages.core.errors import KormedError
from stages.core.recipe import PROMPT, Recipe

log = logging.getLogger("kormed")

# What people entered: append-only, pulled from Argilla, made by no stage. Two files, so that what is said of DPO's
# answers makes nothing stale that DPO was made of.
RESPONSES = "responses"  # to candidates' comparisons, adjudicators' decisions among them
VERDICTS = "verdicts"  # to head_to_head's pairs of SFT's and DPO's answers
ENTERED = {RESPONSES: "responses/responses.jsonl", VERDICTS: "responses/verdicts.jsonl"}


@dataclass(frozen=True)
class Read:
    """One artifact that a stage reads, or only parts of it; with `when`, only once that artifact is complete."""

    artifact: str
    parts: tuple[str, ...] = ()
    when: str | None = None


@dataclass(frozen=True)
class Stage:
    """A verb: the module that does it, the recipe section it gets, what it reads, the metric that stands for it.

    `derived`: quick to remake and made of nothing but its inputs, so a stale one makes way without being asked.
    `asked`: reaches out (crawls, calls an LLM), so no other stage sets it off; it runs when its own command is given.
    `incidental`: keys of its section that change how the artifact comes about and not what it is.
    """

    name: str
    module: str
    section: str
    reads: tuple[Read, ...]
    metric: str
    derived: bool = False
    asked: bool = False
    incidental: tuple[str, ...] = ()


BENCHMARK = Read("prepare", ("benchmark",))
EVALUATION = Read("prepare", ("benchmark", "consults/heldout.jsonl"))
TRAINING = ("report_to", "save_steps")  # incidental to SFT and DPO
TRAINED = ("sft", "dpo")  # by several processes, where a launcher starts them; all else is made in one

PIPELINE = (
    Stage(
        "collect",
        "stages.collect",
        "collect",
        (),
        "consults",
        asked=True,
        incidental=(
            "contact",
            "store",
            "offline",
            "delay_seconds",
            "jitter_seconds",
            "timeout_seconds",
            "retries",
            "retry_seconds",
            "max_refusals",
        ),
    ),
    Stage("import", "stages.import_", "import_", (), "consults"),
    Stage(
        "restructure",
        "stages.restructure",
        "restructure",
        (Read("collect"), Read("import", ("consults.jsonl",))),
        "consults",
        asked=True,
        incidental=("rewriter.batch_size", "rewriter.in_flight", "rewriter.timeout_seconds"),
    ),
    Stage("prepare", "stages.prepare", "prepare", (Read("collect"), Read("import"), Read("restructure")), "rows"),
    Stage("sft", "stages.sft", "sft", (Read("prepare", ("train.jsonl",)),), "loss", incidental=TRAINING),
    Stage(
        "candidates",
        "stages.candidates",
        "candidates",
        (Read("prepare", ("consults/preference.jsonl",)), Read("sft")),
        "comparisons",
    ),
    Stage(
        "agreement",
        "stages.agreement",
        "agreement",
        (Read("candidates", ("comparisons.jsonl",)), Read(RESPONSES)),
        "responses",
        derived=True,
    ),
    Stage(
        "preferences",
        "stages.preferences",
        "preferences",
        (Read("candidates"), Read(RESPONSES)),
        "preferences",
        derived=True,
    ),
    Stage(
        "dpo",
        "stages.dpo",
        "dpo",
        (Read("sft"), Read("preferences", ("train.jsonl", "heldout.jsonl"))),
        "loss",
        incidental=TRAINING,
    ),
    Stage("evaluate/base", "stages.evaluate", "evaluate", (BENCHMARK,), "accuracy"),
    Stage("evaluate/sft", "stages.evaluate", "evaluate", (EVALUATION, Read("sft")), "accuracy"),
    Stage("evaluate/dpo", "stages.evaluate", "evaluate", (EVALUATION, Read("dpo")), "accuracy"),
    Stage(
        "head_to_head",
        "stages.head_to_head",
        "head_to_head",
        (Read("evaluate/sft", ("heldout.jsonl",)), Read("evaluate/dpo", ("heldout.jsonl",))),
        "comparisons",
        derived=True,
    ),
    Stage(
        "winrate", "stages.winrate", "head_to_head", (Read("head_to_head"), Read(VERDICTS)), "win_rate", derived=True
    ),
    Stage(
        "report",
        "stages.report",
        "report",
        (
            Read("prepare"),
            Read("sft"),
            Read("evaluate/base"),
            Read("evaluate/sft"),
            Read("candidates", when="candidates"),
            Read("agreement", when="preferences"),
            Read("preferences", when="preferences"),
            Read("dpo", when="dpo"),
            Read("evaluate/dpo", when="dpo"),
            Read("winrate", when="winrate"),
        ),
        "checkpoints",
        derived=True,
    ),
)
STAGES = {stage.name: stage for stage in PIPELINE}
FROM_CONSULTS = (
    "candidates",
    "agreement",
    "preferences",
    "dpo",
    "evaluate/dpo",
    "head_to_head",
    "winrate",
)  # nothing to do on exam questions alone
ASKED = {"collect": "crawls a site", "restructure": "has a language model rewrite every consult"}
UNUSED = {
    "collect": "nothing to collect; give the recipe a section `collect` (contact, departments, pages or consults)",
    "import": "nothing to import; give the recipe a section `import` (consults: {path, columns}, questions: …)",
    "restructure": "nothing to restructure: no consults are collected or imported (sections `collect`, `import`)",
}
NOTHING_ENTERED = {
    RESPONSES: "no responses yet. Label with `make label`, then `make pull` "
    "(or, in a recipe with simulated annotators, `kormed annotate simulate RECIPE`)",
    VERDICTS: "nobody has compared SFT's and DPO's answers yet. `make compare-label` shows them, `make pull` brings "
    "what was said (or, with simulated annotators, `kormed annotate simulate RECIPE --round compare`)",
}
EVALUATIONS = tuple(stage.name for stage in PIPELINE if stage.section == "evaluate")

State = Literal["done", "stale", "missing"]


@dataclass(frozen=True)
class Standing:
    """Where a stage stands: done, stale (why), or missing (what of it can be resumed)."""

    stage: Stage
    state: State
    why: tuple[str, ...] = ()
    manifest: Manifest | None = None


class Run:
    """One recipe's artifacts under `models/<name>/`."""

    def __init__(self, recipe: Recipe, models: Path = Path("models")) -> None:
        self.recipe = recipe
        self.folder = models / recipe.name
        self._manifests: dict[str, Manifest | None] = {}
        self._changed: dict[str, str | None] = {}

    def path(self, artifact: str) -> Path:
        return self.folder / artifact

    def entered(self, artifact: str) -> Path:
        """The append-only file of everything that people entered: `RESPONSES` or `VERDICTS`."""
        return self.folder / ENTERED[artifact]

    @property
    def responses(self) -> Path:
        return self.entered(RESPONSES)

    def manifest(self, artifact: str) -> Manifest | None:
        """What was made, where it is complete. Whether its files are still those, `standing` says."""
        if artifact not in self._manifests:
            self._manifests[artifact] = artifacts.read_manifest(self.path(artifact))
        return self._manifests[artifact]

    def changed(self, artifact: str, manifest: Manifest) -> str | None:
        """Hashed once a process, since adapters and benchmarks are not small."""
        if artifact not in self._changed:
            self._changed[artifact] = artifacts.changed(self.path(artifact), manifest)
        return self._changed[artifact]

    def reads(self, stage: Stage) -> tuple[Read, ...]:
        return tuple(
            read
            for read in stage.reads
            if self._wants(stage, read) and (read.when is None or self.manifest(read.when) is not None)
        )

    def _wants(self, stage: Stage, read: Read) -> bool:
        """Whether the stage reads it under this recipe. Beside collected consults, questions alone may be imported."""
        if stage.name == "restructure" and read.artifact == "import":
            return self.recipe.import_ is not None and self.recipe.import_.consults is not None
        return self.uses(read.artifact)

    def uses(self, artifact: str) -> bool:
        """Whether this recipe has the stage at all: consults may be collected, imported, or come as they are."""
        match artifact:
            case "collect":
                return self.recipe.collect is not None
            case "import":
                return self.recipe.import_ is not None
            case "restructure":
                return self.recipe.restructures
        return True

    def asked(self, stage: Stage) -> bool:
        """Whether only the stage's own command runs it. Without an LLM there is nothing in restructure to ask for."""
        return stage.asked and not (stage.name == "restructure" and self.recipe.restructure.rewriter.kind == "none")

    def inputs(self, stage: Stage) -> dict[str, str] | None:
        """Content hashes of what the stage reads; None while something that it needs is missing."""
        found: dict[str, str] = {}
        for read in self.reads(stage):
            if read.artifact in ENTERED:
                if not self.entered(read.artifact).exists():
                    return None
                found[read.artifact] = artifacts.hash_file(self.entered(read.artifact))
                continue
            manifest = self.manifest(read.artifact)
            if manifest is None:
                return None
            if read.parts:
                found |= {f"{read.artifact}:{part}": manifest.part(part) for part in read.parts}
            else:
                found[read.artifact] = manifest.content
        return found

    def request(self, stage: Stage, inputs: Mapping[str, str]) -> Request:
        section = getattr(self.recipe, stage.section)
        config = section.model_dump(mode="json")
        return Request(stage.name, config | self._files(stage, config), inputs, stage.incidental)

    def _files(self, stage: Stage, config: Mapping[str, Any]) -> dict[str, Any]:
        """Hashes of the files that a section names, so that a corrected file makes its artifact stale."""
        hashes = {}
        if stage.name == "restructure" and self.recipe.restructure.rewriter.kind != "none" and not config["prompt"]:
            hashes["prompt_sha256"] = artifacts.hash_file(PROMPT)
        for name in ("consults", "questions", "prompt"):
            named = config.get(name)
            path = named.get("path") if isinstance(named, Mapping) else named
            if isinstance(path, str) and Path(path).is_file():
                hashes[f"{name}_sha256"] = artifacts.hash_file(Path(path))
        for name in ("benchmark", "task_folder"):
            folder = config.get(name)
            if folder and Path(folder).is_dir():
                hashes[f"{name}_sha256"] = artifacts.digest(artifacts.hash_folder(Path(folder)))
        return hashes

    def standing(self, name: str) -> Standing:
        """Done, stale or missing. A stage is stale as well when something it was made of is stale or gone."""
        stage = STAGES[name]
        manifest = self.manifest(name)
        if manifest is None:
            return Standing(stage, "missing", self._begun(stage))
        why_stale = [change] if (change := self.changed(name, manifest)) else []
        for read in self.reads(stage):
            if read.artifact in STAGES:
                below = self.standing(read.artifact)
                if below.state != "done":
                    why_stale.append(f"{read.artifact} is {below.state}")
        inputs = self.inputs(stage)
        if inputs is None:
            inputs = manifest.inputs
        section = stage.section.rstrip("_")
        why_stale += artifacts.differences(manifest, self.request(stage, inputs), f"{section}.")
        return Standing(stage, "stale" if why_stale else "done", tuple(why_stale), manifest)

    def _begun(self, stage: Stage) -> tuple[str, ...]:
        """What a stopped run left, in words, and whether this recipe goes on from there."""
        if not artifacts.partial_place(self.path(stage.name)).exists():
            return ()
        inputs = self.inputs(stage)
        if inputs is not None and artifacts.begun_otherwise(self.path(stage.name), self.request(stage, inputs)):
            return ("was begun with other settings or inputs, which the next run sets aside in .previous/",)
        return ("was begun and not finished; the same command goes on from there",)

    def bring(self, name: str, *, force: bool = False) -> Manifest:
        """The artifact `name`, made now if it is missing, its missing inputs first.

        Raises:
            KormedError: something on the way is stale, or only people can make it.
        """
        stage = STAGES[name]
        if not self.uses(name):
            raise KormedError(f"{self.recipe.name}: {UNUSED[name]}")
        if name in FROM_CONSULTS and not self.recipe.has_consults:
            raise KormedError(
                "prepare.consults is not set and the recipe collects and imports none, so there is nothing to answer "
                "and compare; name a JSONL file of consults, or go on with exam questions alone: sft, evaluate and "
                "report need no candidates"
            )
        self.bring_inputs(name)
        standing = self.standing(name)
        if standing.state == "done" and not force and standing.manifest is not None:
            log.info("%s: done already (%s)", name, self.path(name))
            return standing.manifest
        if standing.state == "stale" and not force and not stage.derived:
            raise KormedError(self._stale(standing))
        if artifacts.processes() > 1 and name not in TRAINED:
            raise KormedError(
                f"{name}: made in one process, and {artifacts.processes()} were started; run `kormed {command(name)} "
                f"RECIPE` without a launcher"
            )
        # Beside an artifact that stands, what is half done is an earlier --force that was stopped: it goes on
        if force and standing.state == "missing" and artifacts.keeps_books():
            artifacts.discard_partial(self.path(name))
        return self._make(stage, replace=standing.state != "missing")

    def is_settled(self, name: str, force: bool) -> bool:
        """Whether `bring` has nothing to make: the artifact is done, or so stale that it refuses."""
        return not force and self.manifest(name) is not None

    def bring_inputs(self, name: str) -> None:
        """What the artifact needs, made now where it is missing.

        Raises:
            KormedError: something on the way is stale, or only people can make it.
        """
        for read in self.reads(STAGES[name]):
            self._bring_input(STAGES[name], read)

    def evaluations(self, checkpoints: Sequence[str]) -> list[str]:
        """The evaluations asked for; of none in particular: base, SFT and, once it is trained, DPO."""
        if checkpoints:
            return [f"evaluate/{checkpoint}" for checkpoint in checkpoints]
        return [name for name in EVALUATIONS if name != "evaluate/dpo" or self.manifest("dpo") is not None]

    def _bring_input(self, stage: Stage, read: Read) -> None:
        if read.artifact in ENTERED:
            if not self.entered(read.artifact).exists():
                raise KormedError(f"{self.entered(read.artifact)}: {NOTHING_ENTERED[read.artifact]}")
            return
        below = self.standing(read.artifact)
        if artifacts.processes() > 1 and (below.state == "missing" or (below.state == "stale" and below.stage.derived)):
            raise KormedError(
                f"{self.path(read.artifact)}: {below.state}, and {artifacts.processes()} processes would all make it; "
                f"run `kormed {command(read.artifact)} RECIPE` alone first"
            )
        if below.state == "stale" and below.stage.derived:
            log.info("%s: %s is stale (%s); making it anew", stage.name, read.artifact, "; ".join(below.why))
            self.bring(read.artifact)
            return
        if below.state == "stale":
            raise KormedError(self._stale(below, wanted_by=stage.name))
        if below.state == "missing" and self.asked(below.stage):
            raise KormedError(
                f"{self.path(read.artifact)}: missing, and {stage.name} needs it. {read.artifact} "
                f"{ASKED[read.artifact]}, so it runs only when asked: `kormed {command(read.artifact)} RECIPE` "
                f"(make {command(read.artifact)})"
            )
        if below.state == "missing":
            log.info("%s: needs %s, which is missing; making it first", stage.name, read.artifact)
            self.bring(read.artifact)

    def _make(self, stage: Stage, *, replace: bool) -> Manifest:
        inputs = self.inputs(stage)
        if inputs is None:  # every input was brought just before
            raise AssertionError(f"{stage.name}: inputs vanished")
        reads = {
            argument(read.artifact): (self.entered if read.artifact in ENTERED else self.path)(read.artifact)
            for read in self.reads(stage)
        }
        config = getattr(self.recipe, stage.section)
        module = import_module(stage.module)
        log.info("%s: started", stage.name)
        before = metering.gpu_allocations()
        manifest = artifacts.make(
            self.path(stage.name),
            self.request(stage, inputs),
            lambda out: module.run(config, out, **reads),
            device=lambda: device(before),
            replace=replace,
        )
        self._manifests[stage.name] = manifest
        self._changed[stage.name] = None
        took = duration(manifest.seconds) + (f" in {manifest.sessions} sessions" if manifest.sessions > 1 else "")
        log.info("%s: done in %s -> %s", stage.name, took, self.path(stage.name))
        return manifest

    def _stale(self, standing: Standing, wanted_by: str | None = None) -> str:
        name = standing.stage.name
        reasons = "".join(f"\n  {reason}" for reason in standing.why)
        need = f" (needed by {wanted_by})" if wanted_by else ""
        return (
            f"{self.path(name)}: stale{need}, and nothing made is written over:{reasons}\n"
            f"  ways out: give the recipe another name (it starts from nothing, labels included); or "
            f"`kormed {command(name)} RECIPE --force`, "
            f"which moves the old one to {self.path(name).parent / artifacts.PREVIOUS}/"
        )


def argument(artifact: str) -> str:
    """The keyword under which a stage gets the artifact: `evaluate_sft`, and `import_`, since Python keeps `import`."""
    return "import_" if artifact == "import" else artifact.replace("/", "_")


def command(name: str) -> str:
    """What makes the artifact: `evaluate/sft` is `evaluate --checkpoint sft`."""
    return name.replace("_", "-").replace("/", " --checkpoint ")


def table(run: Run) -> str:
    """Every stage on a line: state, when, how long, main metric; under it why it is stale."""
    lines = [f"{'stage':<16}{'state':<10}{'finished (UTC)':<22}{'took':<15}metric"]
    for stage in (stage for stage in PIPELINE if run.uses(stage.name)):
        standing = run.standing(stage.name)
        made = standing.manifest
        if made is None:
            lines.append(f"{stage.name:<16}{standing.state:<10}".rstrip())
        else:
            metric = f"{stage.metric} {made.metrics[stage.metric]:.4g}"
            when = made.finished_at.removesuffix("+00:00").replace("T", " ")
            lines.append(f"{stage.name:<16}{standing.state:<10}{when:<22}{duration(made.seconds):<15}{metric}")
        lines += [f"{'':<16}  {why}" for why in standing.why]
    return "\n".join(lines)


def device(allocations: int = 0) -> str:
    """The hardware's name for the manifest, without importing torch for stages that do not use it.

    A stage that has taken nothing on a GPU, where the process had taken it `allocations` times before
    (`metering.gpu_allocations`), ran on the CPU, whatever ran there earlier in the same process.
    """
    torch = sys.modules.get("torch")
    if torch is not None and metering.gpu_allocations() > allocations:
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
