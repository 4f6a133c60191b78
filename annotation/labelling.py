"""What `kormed annotate` does: a run's comparisons to an Argilla, and what people said of them back to the run."""

import os
from collections.abc import Callable

from annotation import embedded, progress, pull, push, simulated
from annotation.connection import api_keys, connect
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.records import Comparison, read_jsonl


def serve(run: Run, say: Callable[[str], None]) -> None:
    """Start the embedded server, push, tell where to go, and serve until it is stopped.

    Raises:
        KormedError: the server does not come up, or ended by itself.
    """
    if os.environ.get("ARGILLA_API_URL") or os.environ.get("ARGILLA_API_KEY"):
        raise KormedError(
            "ARGILLA_API_URL or ARGILLA_API_KEY is set, which names a team's own Argilla: `kormed annotate push` "
            "(make push) brings the comparisons there; unset both to label on this machine"
        )
    config, name = run.recipe.annotation, run.recipe.name
    with embedded.running(config, name) as server:
        with connect(config, name) as client:
            pushed = push.push(client, name, comparisons(run), config)
        say(describe(pushed))
        for person in server.new:
            say(f"new {person.role}: {person.username}   password: {person.password}   (shown once)")
        say(f"passwords of everybody: {server.home / 'credentials.json'} (readable by you alone)")
        say(f"label at {server.url} as {', '.join(config.annotators)}; Ctrl-C here stops the server")
        try:
            server.wait()
        except KeyboardInterrupt:
            say(f"stopped; every answer is in {server.home}. Bring them here with `kormed annotate pull` (make pull)")


def push_comparisons(run: Run) -> str:
    config, name = run.recipe.annotation, run.recipe.name
    with connect(config, name, create=True) as client:
        return describe(push.push(client, name, comparisons(run), config))


def pull_responses(run: Run) -> str:
    config, name = run.recipe.annotation, run.recipe.name
    with connect(config, name) as client:
        pulled = pull.pull(client, name, comparisons(run), run.responses)
    if not run.responses.exists():
        raise KormedError(f"{name}: nobody has answered yet; label at the address that `make label` prints, then pull")
    return (
        f"pulled: {pulled.appended} new or changed of {pulled.submitted} submitted, {pulled.draft} drafts, "
        f"{pulled.discarded} discarded -> {run.responses}"
    )


def show_progress(run: Run) -> str:
    config, name = run.recipe.annotation, run.recipe.name
    with connect(config, name) as client:
        return progress.render(progress.progress(client, name, comparisons(run)))


def simulate_annotators(run: Run) -> str:
    """Push, let the simulated annotators answer what they have not answered yet, and pull."""
    config, name = run.recipe.annotation, run.recipe.name
    names = simulated.simulated_names(config)
    rows = comparisons(run)
    with connect(config, name, create=True) as client:
        lines = [describe(push.push(client, name, rows, config))]
        keys = api_keys(client, names)
        done = simulated.simulate(client.api_url, keys, name, rows, config, config.seed)
        lines += [f"{annotator}: {count} submitted by rule" for annotator, count in done.submitted.items()]
        pulled = pull.pull(client, name, rows, run.responses)
    return "\n".join([*lines, f"pulled: {pulled.appended} new or changed -> {run.responses}"])


def comparisons(run: Run) -> list[Comparison]:
    """Raises KormedError where the run has none yet."""
    manifest = run.manifest("candidates")
    if manifest is None:
        raise KormedError(f"{run.path('candidates')}: no comparisons yet; run `kormed candidates RECIPE` first")
    return read_jsonl(run.path("candidates") / "comparisons.jsonl", Comparison)


def describe(pushed: push.Pushed) -> str:
    return f"dataset {pushed.dataset}: {pushed.total} comparisons, {pushed.new} of them new"
