"""What `kormed annotate` does: a run's comparisons to an Argilla, and what people said of them back to the run."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import get_args

import argilla

from annotation import conflicts, embedded, progress, pull, push, rounds, simulated
from annotation.connection import api_keys, connect, is_teams
from annotation.dataset import find_pushed, records
from annotation.embedded import Server
from annotation.rounds import ROUNDS, Round
from annotation.sharing import Sharing
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.records import Choice, Response, RoundName, read_appended

log = logging.getLogger("kormed")

Say = Callable[[str], None]

WATCH_SECONDS = 5.0
WATCH_SHARE = 4  # at least so many times as long as the reading took, to leave the server to those who label


def serve(run: Run, name: RoundName, sharing: Sharing | None, say: Say) -> None:
    """Start the embedded server, push a round, tell where to go, and serve until it is stopped.

    Raises:
        KormedError: the server does not come up, or ended by itself.
    """
    if is_teams():
        raise KormedError(
            "ARGILLA_API_URL or ARGILLA_API_KEY is set, which names a team's own Argilla: `kormed annotate push` "
            "(make push) brings the comparisons there; unset both to label on this machine"
        )
    config, recipe = run.recipe.annotation, run.recipe.name
    round = ROUNDS[name](run)
    with embedded.running(config, recipe, sharing) as server:
        with connect(config, recipe) as client:
            if name != "adjudication":  # `conflicts` pushes that one
                say(describe(push.push(client, round)))
            elif find_pushed(client, round) is None:
                say("nothing is put before adjudicators yet: run `kormed annotate conflicts RECIPE` in another window")
        say(welcome(server, round))
        try:
            server.wait()
        except KeyboardInterrupt:
            say(farewell(server, run))


def welcome(server: Server, round: Round) -> str:
    """Where to go, who signs in and how, and what to do next, for somebody in front of a terminal."""
    doing = {"label": "to compare", "adjudication": "to adjudicate", "compare": "to compare SFT's and DPO's answers"}
    lines = ["", "Argilla is ready. Leave this window open; Ctrl-C ends it, and no answer is lost.", ""]
    if server.shared_urls:
        lines += [f"  open           {url}   (any computer of this network)" for url in server.shared_urls]
        lines += [
            f"                 {server.url}   (a browser on this machine)",
            f"  certificate    SHA-256 {server.fingerprint}",
            "                 a browser that does not know it warns: compare this, then go on",
        ]
    else:
        lines.append(f"  open           {server.url}   (a browser on this machine; nobody else reaches it)")
    people = ", ".join(round.people) or "nobody yet: set annotation.adjudicators in the recipe"
    lines += [f"  sign in as     {people}   ({doing[round.name]})"]
    lines += [f"  new {person.role:<10} {person.username}   password {person.password}" for person in server.new]
    if server.new:
        lines.append("                 hand each their own; they are not shown again")
    lines += [
        f"  passwords      {server.home / 'credentials.json'} (you alone can read it)",
        "",
        "Meanwhile, in another window:",
        "  make progress  how far everybody is (kormed annotate progress RECIPE --watch: all the time)",
        "  make pull      bring the answers to the run, as often as you like",
    ]
    return "\n".join(lines)


def farewell(server: Server, run: Run) -> str:
    """What is still to be pulled. Raises KeyboardInterrupt where somebody does not want to know."""
    how = "bring them with `make pull` (kormed annotate pull RECIPE), which starts the server by itself"
    try:
        with connect(run.recipe.annotation, run.recipe.name) as client:
            missing = sum(pull.count_missing(client, round) for round in _pushed(client, run))
    except KormedError as error:
        log.info("%s", error)
        return f"stopped; every answer is in {server.home}; {how}"
    if missing == 0:
        return f"stopped; every answer is in {server.home}, and all of them were pulled"
    return f"stopped; every answer is in {server.home}. {missing} not pulled yet: {how}"


def push_round(run: Run, name: RoundName) -> str:
    if name == "adjudication":
        return open_conflicts(run)
    config, recipe = run.recipe.annotation, run.recipe.name
    round = ROUNDS[name](run)
    with connect(config, recipe, create=True) as client:
        return describe(push.push(client, round))


def pull_responses(run: Run) -> str:
    """Bring what was said in every round that was pushed."""
    config, recipe = run.recipe.annotation, run.recipe.name
    label = rounds.label(run)
    with connect(config, recipe) as client:
        found = _pushed(client, run) or [label]  # of which pull then says that it was not pushed
        lines = [describe_pulled(round, pull.pull(client, round)) for round in found]
    if not any(round.file.exists() for round in found):
        raise KormedError(
            f"{recipe}: nobody has answered yet; label at the address that `make label` prints, then pull"
        )
    return "\n".join(lines)


def show_progress(run: Run, name: RoundName) -> str:
    config, recipe = run.recipe.annotation, run.recipe.name
    with connect(config, recipe) as client:
        return _glance(client, run, ROUNDS[name](run))


def watch_progress(run: Run, name: RoundName, say: Say, clear: Callable[[], None]) -> None:
    """Show progress anew whenever it changed, until Ctrl-C. A lost connection is one line more, and we go on.

    Raises:
        KormedError: no server runs, or there is nothing to show, at the beginning.
    """
    config, recipe = run.recipe.annotation, run.recipe.name
    round, shown, table = ROUNDS[name](run), "", ""
    try:
        while True:
            try:
                _check_running()
                with connect(config, recipe) as client:
                    while True:
                        begun = time.monotonic()
                        table = _glance(client, run, round)
                        shown = _show(table, shown, say, clear)
                        time.sleep(max(WATCH_SECONDS, WATCH_SHARE * (time.monotonic() - begun)))
            except KormedError as error:
                if not table:
                    raise
                shown = _show(f"{table}\n\nnot up to date, trying again: {error}", shown, say, clear)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _check_running() -> None:
    """Raises KormedError where `connect` would start the embedded server: nobody labels on one that only we know of."""
    if not is_teams() and embedded.find_running(embedded.home_folder()) is None:
        raise KormedError(f"{embedded.home_folder()}: no server runs here; start it with `make label`, then watch")


def _show(text: str, shown: str, say: Say, clear: Callable[[], None]) -> str:
    if text != shown:
        clear()
        say(text)
    return text


def open_conflicts(run: Run) -> str:
    """Pull, list what annotators left undecided, and put it before the adjudicators."""
    config, recipe = run.recipe.annotation, run.recipe.name
    label, adjudication = rounds.label(run), rounds.adjudication(run)
    with connect(config, recipe, create=bool(config.adjudicators)) as client:
        pull.pull(client, label)
        there = find_pushed(client, adjudication)
        if there:
            pull.pull(client, adjudication)
        before = {item["external_id"] for item in records(client, there["id"], with_responses=False)} if there else ()
        entered = read_appended(label.file, Response)
        state = conflicts.find(label.comparisons, entered, label.responses_each, before)
        lines = describe_conflicts(state, before)
        if not config.adjudicators:
            if state.undecided:
                lines.append(
                    "nobody is named to decide them: set annotation.adjudicators in the recipe, for example "
                    "--set 'annotation.adjudicators=[professor-han]'; their accounts are made with it"
                )
            return "\n".join(lines)
        if state.undecided:
            undecided = [conflict.comparison for conflict in state.undecided]
            said = {conflict.comparison.id: conflicts.told(conflict.responses) for conflict in state.undecided}
            pushed = push.push(client, rounds.adjudication(run, undecided, said))
            who = ", ".join(config.adjudicators)
            lines.append(f"{pushed.new} put before {who} now" if pushed.new else f"{who} has all of them already")
            lines.append(f"workspace {adjudication.workspace}, dataset {pushed.dataset}")
    return "\n".join(lines)


def simulate_annotators(run: Run, name: RoundName) -> str:
    """Push a round, let the simulated annotators answer what they have not answered yet, and pull."""
    config, recipe = run.recipe.annotation, run.recipe.name
    round = ROUNDS[name](run)
    names = simulated.simulated_names(round)
    lines = [push_round(run, name)]
    with connect(config, recipe, create=True) as client:
        if find_pushed(client, round) is None:  # no conflict, so nothing was put before adjudicators
            return "\n".join(lines)
        keys = api_keys(client, round.workspace, names)
        done = simulated.simulate(client.api_url, keys, round, config, config.seed)
        lines += [f"{annotator}: {count} submitted by rule" for annotator, count in done.submitted.items()]
        lines.append(describe_pulled(round, pull.pull(client, round)))
    return "\n".join(lines)


def describe(pushed: push.Pushed) -> str:
    what = progress.counted(pushed.total - pushed.repeats, pushed.repeats)
    return f"dataset {pushed.dataset}: {what}, {pushed.new} of them new"


def describe_pulled(round: Round, pulled: pull.Pulled) -> str:
    return (
        f"{round.name}: {pulled.appended} new or changed of {pulled.submitted} submitted, {pulled.draft} drafts, "
        f"{pulled.discarded} discarded -> {round.file}"
    )


def describe_conflicts(state: conflicts.Conflicts, before: Sequence[str] | set[str]) -> list[str]:
    """The undecided ones with their votes, and what became of the others. Not the patients' words."""
    values: tuple[Choice, ...] = get_args(Choice)
    lines = [f"{len(state.undecided)} conflicts to decide: all responses in, and no majority"]
    if state.undecided:
        rows = [["comparison", *values, "adjudicators"]]
        rows += [
            [
                conflict.comparison.id,
                *(str(conflict.votes[value]) for value in values),
                "see it" if conflict.comparison.id in before else progress.NONE,
            ]
            for conflict in state.undecided
        ]
        lines += ["", *progress.table(rows), ""]
    if state.decided:
        lines.append(f"{state.decided} decided by adjudicators")
    if state.resolved:
        lines.append(f"{state.resolved} put before adjudicators earlier, and the annotators agree by now")
    if state.open:
        lines.append(f"{state.open} undecided so far with responses still to come, which may decide them")
    return lines


def _pushed(client: argilla.Argilla, run: Run) -> list[Round]:
    """The run's rounds that people can see."""
    names: tuple[RoundName, ...] = ("label", "adjudication") + (("compare",) if run.manifest("head_to_head") else ())
    return [round for round in (ROUNDS[name](run) for name in names) if find_pushed(client, round)]


def _glance(client: argilla.Argilla, run: Run, round: Round) -> str:
    longest = timedelta(minutes=run.recipe.agreement.longest_gap_minutes)
    return progress.render(progress.progress(client, round), longest)
