"""kormed: parses, calls, prints; decides nothing. stdout is the result, stderr the talk."""

import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stages.core.errors import KormedError

if TYPE_CHECKING:
    from stages.core.pipeline import Run
    from stages.core.records import RoundName

# Before any library is imported: their chatter drowns ours, and nothing here phones home.
QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",  # lm-eval and datasets fork after the tokenizer was used
    "ARGILLA_ENABLE_TELEMETRY": "0",
    "PYTHONWARNINGS": "ignore",
}


TOLD = 10  # metrics of a stage on its line; an evaluation has some fifty
SECONDS_TO_RANK_0 = 5  # which has done a little more by the time it meets an error that all processes meet

DISK_TROUBLES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk failed",
    errno.EACCES: "not allowed",
    errno.EPERM: "not allowed",
}


class Refused(click.ClickException):
    """A KormedError on its way out: the bare message on stderr, its own exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # a class variable in Click, read through the instance

    def show(self, file: Any = None) -> None:
        """Of several processes that meet the same error rank 0 says it; the launcher then ends the others."""
        from stages.core.artifacts import keeps_books

        if not keeps_books():
            time.sleep(SECONDS_TO_RANK_0)
        click.echo(self.message if keeps_books() else f"rank {os.environ['RANK']}: {self.message}", err=True)


class Commands(click.Group):
    """Turns what a user can cause into one message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KormedError as error:
            raise Refused(str(error), error.exit_code) from None
        except KeyboardInterrupt:
            raise Refused(
                "\nstopped. Nothing finished is lost; the same command goes on where it was (kormed status RECIPE)", 2
            ) from None
        except Exception as error:
            trouble = disk_trouble(error)
            if trouble is None:
                raise
            raise Refused(
                f"{trouble}: {error}. What was finished is whole; mend that and run the same command again, which goes "
                f"on where it was",
                2,
            ) from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they are written below, which is the order of the work."""
        return list(self.commands)


def disk_trouble(error: BaseException) -> str | None:
    """What the disk refused, in words; None where it is another error.

    Also where a library wraps the system's error: safetensors in its own words, torch's writer in none at all.
    """
    if isinstance(error, OSError):
        return DISK_TROUBLES.get(error.errno or 0)
    wrapped = any(words in str(error) for words in ("No space left on device", "inline_container.cc"))
    return DISK_TROUBLES[errno.ENOSPC] if wrapped else None


def recipe_command(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe value, e.g. sft.epochs=1."
    )(function)
    return click.argument("recipe", type=click.Path(path_type=Path))(function)


def stage_command(function: Callable[..., None]) -> Callable[..., None]:
    function = click.option(
        "--force", is_flag=True, help="Make it anew; the one that stands there moves to .previous/."
    )(function)
    return recipe_command(function)


def gpus_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--gpus", type=click.IntRange(1), help="Train in so many processes, a GPU each.")(function)


def round_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--round",
        type=click.Choice(["label", "adjudication", "compare"]),
        default="label",
        help="label: candidates' answers; adjudication: what stayed undecided; compare: SFT's and DPO's answers.",
    )(function)


def open_run(recipe: Path, overrides: tuple[str, ...]) -> "Run":
    from stages.core.pipeline import Run
    from stages.core.recipe import load_recipe

    return Run(load_recipe(recipe, overrides))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kormed")
def main() -> None:
    """From a small Gemma to a Korean medical assistant, and what each step was worth on KorMedMCQA.

    \b
    kormed check recipes/gemma-2-2b-it.yaml
    kormed sft recipes/gemma-2-2b-it.yaml
    kormed status recipes/gemma-2-2b-it.yaml
    """
    from stages.core.artifacts import keeps_books

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.stderr.isatty():  # bars are for eyes; in a file they bury the lines
        os.environ.setdefault("TQDM_DISABLE", "1")
    if os.environ["PYTHONWARNINGS"] == "ignore":  # read at interpreter start, which is behind us
        warnings.filterwarnings("ignore")
    for library in ("lm_eval", "lm-eval", "bitsandbytes", "argilla", "httpx"):
        logging.getLogger(library).setLevel(logging.ERROR)
    logger = logging.getLogger("kormed")
    logger.setLevel(logging.INFO if keeps_books() else logging.ERROR)
    logger.handlers = [handler := logging.StreamHandler(sys.stderr)]
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.propagate = False


@main.command()
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe value first.")
def check(recipes: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Validate recipes without running anything; all problems at once.

    \b
    kormed check recipes/gemma-2-2b-it.yaml --set sft.learning_rate=1e-4
    """
    from stages.core.recipe import load_recipe

    problems = []
    for path in recipes:
        try:
            recipe = load_recipe(path, overrides)
            click.echo(f"{path}: good (runs as {recipe.name})")
        except KormedError as error:
            problems.append(str(error))
    if problems:
        raise KormedError("\n".join(problems))


@main.command()
@recipe_command
def status(recipe: Path, overrides: tuple[str, ...]) -> None:
    """What is done, stale (and why) or missing.

    \b
    kormed status recipes/demo/demo.yaml
    """
    from stages.core.pipeline import table

    click.echo(table(open_run(recipe, overrides)))


@main.command()
@stage_command
def collect(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Hidoc pages to raw consults: as robots.txt allows, one request at a time, every page kept.

    \b
    kormed collect recipes/hidoc.yaml --set collect.contact=me@my-hospital.kr --set collect.pages=2
    """
    bring(open_run(recipe, overrides), "collect", force)


@main.command(name="import")
@stage_command
def import_(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Consults and exam questions of your own (JSONL, CSV, parquet) in, in collect's place.

    \b
    kormed import recipes/own-data.yaml --set import.consults.path=data/consults.csv
    """
    bring(open_run(recipe, overrides), "import", force)


@main.command()
@stage_command
def restructure(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Raw consults to question, patient information and answer: de-identified, rewritten by an LLM, checked.

    \b
    kormed restructure recipes/hidoc.yaml
    OPENAI_BASE_URL=http://llm:8000/v1 kormed restructure recipes/hidoc.yaml --set restructure.rewriter.kind=server
    """
    bring(open_run(recipe, overrides), "restructure", force)


@main.command()
@stage_command
def prepare(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """KorMedMCQA and consults to decontaminated instruction rows.

    \b
    kormed prepare recipes/demo/demo.yaml
    """
    bring(open_run(recipe, overrides), "prepare", force)


@main.command()
@stage_command
@gpus_option
def sft(recipe: Path, overrides: tuple[str, ...], force: bool, gpus: int | None) -> None:
    """Instruction rows to the SFT adapter (QLoRA on a GPU).

    \b
    kormed sft recipes/gemma-2-2b-it.yaml --set sft.learning_rate=1e-4
    """
    train(open_run(recipe, overrides), "sft", recipe, overrides, force, gpus)


@main.command()
@stage_command
def candidates(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Several answers of the SFT model to each preference consult, paired for comparison.

    \b
    kormed candidates recipes/demo/demo.yaml
    """
    bring(open_run(recipe, overrides), "candidates", force)


@main.command()
@stage_command
def agreement(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """How far annotators agree, with themselves too, and what else moves their choice: agreement.html.

    \b
    kormed agreement recipes/demo/demo.yaml
    """
    run = open_run(recipe, overrides)
    pull_if_missing(run)
    bring(run, "agreement", force)
    click.echo(f"agreement: {run.path('agreement') / 'agreement.html'}")


@main.command(name="head-to-head")
@stage_command
def head_to_head(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """SFT's and DPO's answers to held-out consults as blinded pairs, for `annotate serve --round compare`.

    \b
    kormed head-to-head recipes/demo/demo.yaml
    """
    bring(open_run(recipe, overrides), "head_to_head", force)


@main.command()
@stage_command
def winrate(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """What people said of SFT's against DPO's answers: DPO's win rate with its interval.

    \b
    kormed winrate recipes/demo/demo.yaml
    """
    bring(open_run(recipe, overrides), "winrate", force)


@main.command()
@stage_command
def preferences(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Comparisons and pulled responses to chosen/rejected pairs; pulls first if nothing was pulled yet.

    \b
    kormed preferences recipes/demo/demo.yaml
    """
    run = open_run(recipe, overrides)
    pull_if_missing(run)
    bring(run, "preferences", force)


@main.command()
@stage_command
@gpus_option
def dpo(recipe: Path, overrides: tuple[str, ...], force: bool, gpus: int | None) -> None:
    """SFT adapter and preferences to the DPO adapter; stops unless its reference is proven to be SFT.

    \b
    kormed dpo recipes/demo/demo.yaml --set dpo.beta=0.2
    """
    run = open_run(recipe, overrides)
    pull_if_missing(run)
    train(run, "dpo", recipe, overrides, force, gpus)


@main.command()
@recipe_command
@click.option(
    "--values",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,…",
    help="Values of a key of section dpo (repeatable: each with each).",
)
def sweep(recipe: Path, overrides: tuple[str, ...], values: tuple[str, ...]) -> None:
    """DPO once for each combination of settings, and one table of them by held-out accuracy.

    \b
    kormed sweep recipes/demo/demo.yaml --values dpo.beta=0.05,0.1,0.3 --values dpo.learning_rate=1e-6,5e-6
    """
    from stages.sweep import combinations, failures, table, train

    chosen = combinations(recipe, overrides, values)
    run = open_run(recipe, overrides)
    pull_if_missing(run)
    results = train(run, chosen)
    click.echo(table(results, str(recipe), overrides))
    if failed := failures(results):
        raise KormedError(failed)


@main.command()
@stage_command
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Choice(["base", "sft", "dpo"]),
    help="Which to evaluate (repeatable); without it base, sft and, once it is trained, dpo.",
)
def evaluate(recipe: Path, overrides: tuple[str, ...], force: bool, checkpoints: tuple[str, ...]) -> None:
    """Base, SFT and DPO on lm-eval's stock KorMedMCQA v3.0, one base in memory.

    \b
    kormed evaluate recipes/demo/demo.yaml --checkpoint dpo
    """
    run = open_run(recipe, overrides)
    for name in run.evaluations(checkpoints):
        bring(run, name, force)


@main.command()
@stage_command
def report(recipe: Path, overrides: tuple[str, ...], force: bool) -> None:
    """Everything measured to report.html and report.md.

    \b
    kormed report recipes/demo/demo.yaml
    """
    run = open_run(recipe, overrides)
    bring(run, "report", force)
    click.echo(f"report: {run.path('report') / 'report.html'} (holds consults' text: treat it as patient data)")


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--subset", "subsets", multiple=True, help="Only this subset (repeatable); without it all of the exam.")
@click.option("--published", is_flag=True, help="Beside what others published, marked as not run by us.")
@click.option("--output", type=click.Path(path_type=Path), help="Write there (Markdown) instead of to stdout.")
def compare(runs: tuple[Path, ...], subsets: tuple[str, ...], published: bool, output: Path | None) -> None:
    """Evaluated runs (recipes or folders in models/) or sweeps in one table, with paired tests; makes nothing.

    \b
    kormed compare recipes/demo/demo.yaml recipes/low-memory.yaml
    kormed compare recipes/gemma-2-2b-it.yaml --published
    kormed compare models/demo/sweep models/demo/dpo
    """
    from stages.compare import compare as compare_runs
    from stages.compare import write

    text = compare_runs(runs, subsets=subsets, with_published=published)
    if output:
        write(text, output)
        click.echo(f"compare: {output}", err=True)
    else:
        click.echo(text)


@main.command()
@recipe_command
@click.option("--annotator", required=True, help="Whose responses and account go.")
@click.option("--yes", "really", is_flag=True, help="Do it; without this it only says what would go.")
def forget(recipe: Path, overrides: tuple[str, ...], annotator: str, really: bool) -> None:
    """Delete what an annotator entered, here and on the Argilla. The only command that deletes what people entered.

    \b
    kormed forget recipes/demo/demo.yaml --annotator doctor-lee
    kormed forget recipes/demo/demo.yaml --annotator doctor-lee --yes
    """
    from annotation.forgetting import forget_annotator

    click.echo(forget_annotator(open_run(recipe, overrides), annotator, really=really))


@main.command()
@click.argument("id")
@click.option("--recipe", type=click.Path(path_type=Path), help="Look in this recipe's run only.")
def trace(id: str, recipe: Path | None) -> None:
    """Where a row came from, and every decision on its way: consult, exam question, comparison, preference.

    \b
    kormed trace demo-0001
    kormed trace kormedmcqa/doctor/train/9 --recipe recipes/demo/demo.yaml
    """
    from stages.trace import trace as trace_row

    runs = [open_run(recipe, ()).folder] if recipe else None
    click.echo(trace_row(id, runs))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Write there instead of to stdout.")
@click.option("--score", is_flag=True, help="The rows have labelled spans: print precision and recall by type instead.")
def deidentify(file: Path, output: Path | None, score: bool) -> None:
    """Mask names, numbers, addresses … in JSONL rows with a `text`; the output's `spans` say what was masked.

    \b
    kormed deidentify recipes/demo/deidentification/test.jsonl --output masked.jsonl
    kormed deidentify recipes/demo/deidentification/test.jsonl --score
    """
    import json

    from stages.deidentify import mask_file, masked_rows, measure, table

    if score:
        click.echo(table(measure(file)))
    elif output:
        click.echo(f"{mask_file(file, output)} rows: {output}", err=True)
    else:
        for row in masked_rows(file):
            click.echo(json.dumps(row, ensure_ascii=False))


@main.group(cls=Commands)
def annotate() -> None:
    """Comparisons to annotators and their responses back, through Argilla.

    \b
    kormed annotate serve recipes/demo/demo.yaml
    kormed annotate progress recipes/demo/demo.yaml
    """


@annotate.command()
@recipe_command
@round_option
@click.option("--share", is_flag=True, help="Also on the local network, with TLS; without it on this machine alone.")
@click.option("--name", "names", multiple=True, help="With --share: a host name or address that people will type.")
@click.option("--certificate", type=click.Path(path_type=Path), help="With --share: yours (PEM); else one is made.")
@click.option("--key", type=click.Path(path_type=Path), help="With --share: the certificate's key (PEM).")
def serve(
    recipe: Path,
    overrides: tuple[str, ...],
    round: "RoundName",
    share: bool,
    names: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Start the embedded Argilla, push the comparisons and keep serving until Ctrl-C.

    \b
    kormed annotate serve recipes/demo/demo.yaml --set annotation.port=6901
    kormed annotate serve recipes/demo/demo.yaml --share --name argilla.hospital.lan
    """
    from annotation.labelling import serve as serve_comparisons
    from annotation.sharing import Sharing

    if not share and (names or certificate or key):
        raise KormedError("--name, --certificate and --key belong to --share, which is not given")
    run = open_run(recipe, overrides)
    bring_round(run, round)
    serve_comparisons(run, round, Sharing(names, certificate, key) if share else None, click.echo)


@annotate.command()
@recipe_command
@round_option
def push(recipe: Path, overrides: tuple[str, ...], round: "RoundName") -> None:
    """Bring the comparisons to Argilla; a second push adds nothing twice.

    \b
    ARGILLA_API_URL=… ARGILLA_API_KEY=… kormed annotate push recipes/gemma-2-2b-it.yaml
    """
    from annotation.labelling import push_round

    run = open_run(recipe, overrides)
    bring_round(run, round)
    click.echo(push_round(run, round))


@annotate.command()
@recipe_command
def pull(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Append what annotators entered since the last pull to the run's responses.

    \b
    kormed annotate pull recipes/demo/demo.yaml
    """
    from annotation.labelling import pull_responses

    run = open_run(recipe, overrides)
    click.echo(pull_responses(run))
    if run.entered("verdicts").exists():
        bring(run, "winrate", force=False)


@annotate.command()
@recipe_command
@round_option
@click.option("--watch", is_flag=True, help="Show it anew every few seconds, until Ctrl-C.")
def progress(recipe: Path, overrides: tuple[str, ...], round: "RoundName", watch: bool) -> None:
    """How far labelling is: done, pending, conflicts, and each annotator's pace and remaining time.

    \b
    kormed annotate progress recipes/demo/demo.yaml
    kormed annotate progress recipes/demo/demo.yaml --watch
    """
    from annotation.labelling import show_progress, watch_progress

    run = open_run(recipe, overrides)
    if watch:
        watch_progress(run, round, click.echo, click.clear)
    else:
        click.echo(show_progress(run, round))


@annotate.command()
@recipe_command
def conflicts(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Pull, list the comparisons that annotators left undecided, and put them before the adjudicators.

    \b
    kormed annotate conflicts recipes/demo/demo.yaml --set 'annotation.adjudicators=[professor-han]'
    """
    from annotation.labelling import open_conflicts

    click.echo(open_conflicts(open_run(recipe, overrides)))


@annotate.command()
@recipe_command
@round_option
def simulate(recipe: Path, overrides: tuple[str, ...], round: "RoundName") -> None:
    """Let the recipe's simulated annotators answer every comparison, by a stated rule, through the server's API.

    \b
    kormed annotate simulate recipes/demo/demo.yaml
    """
    from annotation.labelling import simulate_annotators

    run = open_run(recipe, overrides)
    bring_round(run, round)
    click.echo(simulate_annotators(run, round))
    if round == "compare":
        bring(run, "winrate", force=False)


@annotate.command()
@click.argument("target", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
def backup(target: Path | None) -> None:
    """Everything of the embedded Argilla into one file, readable by you alone, while it runs or not.

    \b
    kormed annotate backup
    kormed annotate backup /mnt/backup/argilla.tar
    """
    from annotation.backup import backup as back_up

    click.echo(back_up(target))


@annotate.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
def restore(source: Path) -> None:
    """The embedded Argilla as a backup has it; what stands there now is moved aside, never deleted.

    \b
    kormed annotate restore argilla-20260101T120000.tar
    """
    from annotation.backup import restore as restore_from

    click.echo(restore_from(source))


@annotate.group(cls=Commands)
def user() -> None:
    """Who may sign in, and as what.

    \b
    kormed annotate user list recipes/demo/demo.yaml
    """


@user.command()
@recipe_command
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["annotator", "adjudicator", "analyst"]),
    default="annotator",
    help="An adjudicator sees only what is undecided; an analyst sees everything, metadata too.",
)
def add(recipe: Path, overrides: tuple[str, ...], name: str, role: str) -> None:
    """Let somebody in, with a generated password that is shown once.

    \b
    kormed annotate user add recipes/demo/demo.yaml doctor-lee
    kormed annotate user add recipes/demo/demo.yaml professor-han --role adjudicator
    """
    from annotation.accounts import add as add_user

    click.echo(add_user(open_run(recipe, overrides), name, role))


@user.command(name="list")
@recipe_command
def list_(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Everybody who may sign in: role, workspaces, how many responses.

    \b
    kormed annotate user list recipes/demo/demo.yaml
    """
    from annotation.accounts import table

    click.echo(table(open_run(recipe, overrides)))


@user.command()
@recipe_command
@click.argument("name")
def reset(recipe: Path, overrides: tuple[str, ...], name: str) -> None:
    """A new password for somebody, shown once; the old one no longer opens anything.

    \b
    kormed annotate user reset recipes/demo/demo.yaml doctor-lee
    """
    from annotation.accounts import reset as reset_user

    click.echo(reset_user(open_run(recipe, overrides), name))


def train(run: "Run", name: str, recipe: Path, overrides: tuple[str, ...], force: bool, gpus: int | None) -> None:
    """In this process, or in several with a GPU each, which get this very command without --gpus."""
    if gpus is None or gpus == 1 or run.is_settled(name, force):
        bring(run, name, force)
        return
    from stages.core.launching import launch

    changes = [part for override in overrides for part in ("--set", override)]
    code = launch(run, name, [name, str(recipe), *changes, *(["--force"] if force else [])], gpus)
    if code:
        raise click.exceptions.Exit(code)


def bring(run: "Run", name: str, force: bool) -> None:
    from stages.core.artifacts import keeps_books
    from stages.core.pipeline import STAGES

    manifest = run.bring(name, force=force)
    if not keeps_books():
        return
    main_metric = STAGES[name].metric
    told = sorted(manifest.metrics.items(), key=lambda metric: metric[0] != main_metric)[:TOLD]
    metrics = "  ".join(f"{key} {value:.4g}" for key, value in told)
    more = f"  … ({len(manifest.metrics)} in manifest.json)" if len(manifest.metrics) > TOLD else ""
    click.echo(f"{name}: {run.path(name)}  {metrics}{more}")


def bring_round(run: "Run", round: "RoundName") -> None:
    """What a round is about, made now if it is missing."""
    run.bring("head_to_head" if round == "compare" else "candidates")


def pull_if_missing(run: "Run") -> None:
    if not run.responses.exists():
        from annotation.labelling import pull_responses

        click.echo(pull_responses(run), err=True)
