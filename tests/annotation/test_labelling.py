"""labelling: what the annotate commands do with a run, and what they tell the person in front of the terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import argilla
import pytest

from annotation import conflicts, labelling, rounds
from annotation.api import Api
from annotation.embedded import Server
from annotation.people import credentials
from stages.core import artifacts
from stages.core.errors import KormedError
from stages.core.pipeline import Run
from stages.core.recipe import Annotation
from stages.core.records import Comparison, Response, read_jsonl, write_jsonl
from tests.annotation.examples import comparisons, free_port, respond

ANNOTATORS = ("simulated-1", "doctor-kim")


def run_of(tiny_run: Run, folder: Path, name: str, some: list[Comparison], config: Annotation) -> Run:
    """A run of its own with these comparisons for candidates, and a workspace on the tests' server."""
    run = Run(tiny_run.recipe.model_copy(update={"annotation": config, "name": name}), folder)
    run.path("candidates").mkdir(parents=True)
    write_jsonl(run.path("candidates") / "comparisons.jsonl", some)
    manifest = tiny_run.path("candidates") / artifacts.MANIFEST
    (run.path("candidates") / artifacts.MANIFEST).write_bytes(manifest.read_bytes())
    return run


def people_of(config: Annotation, **changes: object) -> Annotation:
    return config.model_copy(update={"annotators": ANNOTATORS, **changes})


def test_labelling_here_is_refused_while_a_teams_own_server_is_named(
    tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the questions would go there, and the annotators be sent here."""
    monkeypatch.setenv("ARGILLA_API_URL", "https://argilla.example.org")
    with pytest.raises(KormedError, match="unset both to label on this machine"):
        labelling.serve(tiny_run, "label", None, print)


def test_a_pull_waits_for_no_other_one_and_cuts_nothing(
    tiny_run: Run, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    run = run_of(tiny_run, tmp_path, "waits", comparisons(3400, 2), people_of(config))
    assert rounds.label(run).dataset in labelling.push_round(run, "label")
    run.responses.parent.mkdir(exist_ok=True)
    with (
        artifacts.lock(run.responses.parent, "the responses"),
        pytest.raises(KormedError, match="another process is making the responses"),
    ):
        labelling.pull_responses(run)


def test_before_anybody_answered_pull_says_where_to_label(
    tiny_run: Run, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    run = run_of(tiny_run, tmp_path, "unanswered", comparisons(3405, 2), people_of(config))
    with pytest.raises(KormedError, match="kormed annotate push"):
        labelling.pull_responses(run)
    labelling.push_round(run, "label")
    with pytest.raises(KormedError, match="nobody has answered yet"):
        labelling.pull_responses(run)


def test_push_and_progress_tell_of_comparisons_and_hidden_repeats(
    tiny_run: Run, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    some = comparisons(3410, 60)
    run = run_of(tiny_run, tmp_path, "repeats", some, people_of(config, repeats=0.05))
    assert "60 comparisons and 3 hidden repeats, 63 of them new" in labelling.push_round(run, "label")
    assert labelling.show_progress(run, "label").startswith("60 comparisons and 3 hidden repeats in repeats-")


def test_a_disagreement_goes_to_the_adjudicator_and_comes_back(
    tiny_run: Run, server: Server, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    some = comparisons(3500, 5)
    run = run_of(tiny_run, tmp_path, "disagree", some, people_of(config, adjudicators=("professor-han",)))
    labelling.push_round(run, "label")
    kim, colleague = person(server, "doctor-kim"), person(server, "simulated-1")
    answer(kim, colleague, some[0], "a", "b")
    answer(kim, colleague, some[1], "a", "a")
    answer(kim, colleague, some[2], "tie", "both_bad", comment="응급실 안내가 없음")
    respond(kim, some[3].id, "a")

    told = labelling.open_conflicts(run)
    assert told.startswith("2 conflicts to decide")
    assert "2 put before professor-han now" in told
    assert {some[0].id, some[2].id} <= set(told.split())
    assert some[0].question not in told and "응급실" not in told

    han = person(server, "professor-han")
    (dataset,) = han.get("/me/datasets")["items"]
    assert "조정 안내" in dataset["guidelines"]
    seen = {
        item["record"]["external_id"]: item["record"]["fields"]
        for item in han.post(f"/me/datasets/{dataset['id']}/records/search", {})["items"]
    }
    assert seen.keys() == {some[0].id, some[2].id}
    assert seen[some[0].id]["answer_a"] == some[0].a.text, "on the side where the annotators saw it"
    assert seen[some[2].id]["said"] == "· 둘 다 부적절하다\n· 비슷하다 / 의견: 응급실 안내가 없음"
    assert "doctor-kim" not in str(seen) and "simulated-1" not in str(seen)
    assert all(one["name"] != dataset["name"] for one in kim.get("/me/datasets")["items"])

    respond(han, some[0].id, "b", comment="A는 진료를 권하지 않음")
    respond(kim, some[2].id, "both_bad")  # who changes her mind
    answer(kim, colleague, some[3], "b", "a")
    told = labelling.open_conflicts(run)
    assert told.startswith("1 conflicts to decide")
    assert "1 decided by adjudicators" in told
    assert "1 put before adjudicators earlier, and the annotators agree by now" in told
    assert "1 put before professor-han now" in told
    rulings = [response for response in read_jsonl(run.responses, Response) if response.round == "adjudication"]
    assert [(ruling.comparison_id, ruling.annotator, ruling.value) for ruling in rulings] == [
        (some[0].id, "professor-han", "b")
    ]
    assert "professor-han has all of them already" in labelling.open_conflicts(run)
    assert "adjudication: 0 new or changed of 1 submitted" in labelling.pull_responses(run)
    assert "professor-han" in labelling.show_progress(run, "adjudication")


def test_without_an_adjudicator_conflicts_are_listed_and_the_way_to_name_one(
    tiny_run: Run, server: Server, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    some = comparisons(3520, 2)
    run = run_of(tiny_run, tmp_path, "nobody-decides", some, people_of(config))
    labelling.push_round(run, "label")
    answer(person(server, "doctor-kim"), person(server, "simulated-1"), some[1], "a", "tie")
    told = labelling.open_conflicts(run)
    assert "1 conflicts to decide" in told and some[1].id in told
    assert "annotation.adjudicators=[professor-han]" in told


def test_what_the_next_response_may_still_decide_is_no_conflict() -> None:
    some = comparisons(1, 1)
    entered = [
        Response(comparison_id=some[0].id, annotator=name, value=value, status="submitted", submitted_at="2026-03-02")
        for name, value in (("doctor-kim", "a"), ("doctor-lee", "b"))
    ]
    state = conflicts.find(some, entered, 3, ())
    assert (state.undecided, state.open) == ((), 1)
    assert len(conflicts.find(some, entered, 2, ()).undecided) == 1


def test_simulated_adjudicators_decide_what_simulated_annotators_did_not(
    tiny_run: Run, client: argilla.Argilla, config: Annotation, tmp_path: Path
) -> None:
    simulation = config.simulation.model_copy(update={"disagreement": 0.8})
    people = {"annotators": ("simulated-1", "simulated-2"), "adjudicators": ("simulated-9",), "repeats": 0.1}
    run = run_of(
        tiny_run,
        tmp_path,
        "simulated",
        comparisons(3540, 20),
        config.model_copy(update=people | {"simulation": simulation}),
    )
    labelling.simulate_annotators(run, "label")
    told = labelling.simulate_annotators(run, "adjudication")
    asked = int(re.search(r"(\d+) put before simulated-9 now", told).group(1))  # type: ignore[union-attr]
    assert asked > 0
    assert f"simulated-9: {asked} submitted by rule" in told
    assert labelling.open_conflicts(run).startswith("0 conflicts to decide")
    assert f"{asked} decided by adjudicators" in labelling.open_conflicts(run)
    lines = read_jsonl(run.responses, Response)
    repeats = rounds.label(run).repeats
    assert len([line for line in lines if line.comparison_id in repeats]) == 2 * len(repeats) == 4


def test_nobody_is_simulated_where_no_adjudicator_is(tiny_run: Run, config: Annotation, tmp_path: Path) -> None:
    run = run_of(tiny_run, tmp_path, "no-one", comparisons(3590, 1), people_of(config))
    with pytest.raises(KormedError, match=r"annotation\.adjudicators=\[simulated-1"):
        labelling.simulate_annotators(run, "adjudication")


def test_watching_shows_what_changed_and_goes_on_after_a_lost_connection(
    tiny_run: Run,
    server: Server,
    client: argilla.Argilla,
    config: Annotation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = comparisons(3600, 2)
    run = run_of(tiny_run, tmp_path, "watched", some, people_of(config))
    labelling.push_round(run, "label")
    shown: list[str] = []
    home, nowhere = os.environ["KORMED_ARGILLA_HOME"], str(tmp_path / "nowhere")
    glance = labelling._glance

    def gone(*_: object) -> str:
        raise KormedError("the server went away")

    def connection_is(home: str, look: Callable[..., str]) -> None:
        monkeypatch.setenv("KORMED_ARGILLA_HOME", home)
        monkeypatch.setattr(labelling, "_glance", look)

    turns: Iterator[Callable[[], None]] = iter(
        [
            lambda: respond(person(server, "doctor-kim"), some[0].id, "a"),
            lambda: None,  # nothing changed: nothing is shown
            lambda: connection_is(nowhere, gone),
            lambda: connection_is(home, glance),
        ]
    )

    def passing_time(seconds: float) -> None:
        turn = next(turns, None)
        if turn is None:
            raise KeyboardInterrupt
        turn()

    monkeypatch.setattr("annotation.labelling.time.sleep", passing_time)

    cleared: list[int] = []
    labelling.watch_progress(run, "label", shown.append, lambda: cleared.append(len(shown)))
    assert len(shown) == len(cleared) == 4
    assert "no response yet: doctor-kim, simulated-1" in shown[0]
    assert "no response yet: simulated-1" in shown[1]
    assert shown[2].startswith(shown[1]) and "trying again: the server went away" in shown[2]
    assert shown[3] == shown[1]


def test_watching_starts_no_server(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(tmp_path / "none"))
    with pytest.raises(KormedError, match="no server runs here; start it with `make label`"):
        labelling.watch_progress(tiny_run, "label", print, lambda: None)


SERVE = """
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from annotation import labelling
from stages.core.pipeline import Run
from stages.core.recipe import Recipe

run = Run(Recipe.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
labelling.serve(run, "label", None, lambda text: print(text, flush=True))
"""


def test_serving_tells_where_to_go_and_at_its_end_what_is_not_pulled(
    tiny_run: Run, config: Annotation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, port = tmp_path / "home", free_port()
    monkeypatch.setenv("KORMED_ARGILLA_HOME", str(home))
    some = comparisons(1, 2)
    run = run_of(tiny_run, tmp_path / "models", "served", some, people_of(config, port=port))
    recipe = tmp_path / "recipe.json"
    recipe.write_text(run.recipe.model_dump_json(by_alias=True), encoding="utf-8")
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        command = [sys.executable, "-c", SERVE, str(recipe), str(tmp_path / "models")]
        serving = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        told = wait_for(output, "make pull ", serving)
        assert f"open           http://127.0.0.1:{port}" in told
        assert "2 comparisons, 2 of them new" in told
        password = re.search(r"doctor-kim\s+password (\S+)", told).group(1)  # type: ignore[union-attr]
        assert told.count(password) == 1
        kim = Api(f"http://127.0.0.1:{port}", credentials(home)["doctor-kim"].api_key)
        respond(kim, some[0].id, "a")
        serving.send_signal(signal.SIGINT)
        assert serving.wait(60) == 0
    finally:
        serving.kill()
        serving.wait()
    assert "1 not pulled yet: bring them with `make pull`" in output.read_text()
    assert not run.responses.exists()


def wait_for(output: Path, words: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 120
    while words not in (told := output.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, told
        time.sleep(0.1)
    return told


def person(server: Server, name: str) -> Api:
    return Api(server.url, credentials(server.home)[name].api_key)


def answer(one: Api, other: Api, comparison: Comparison, first: str, second: str, comment: str = "") -> None:
    respond(one, comparison.id, first, comment=comment)
    respond(other, comparison.id, second)
