import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.core.errors import KormedError
from stages.core.recipe import Rewriter
from stages.core.rewriters import rewrite_on_server
from stages.core.rewriting import Pending, Rewrite, load_prompt
from tests.llm_server import MODEL, LlmServer, llm_server

PROMPT = load_prompt(None)
CONSULTS = [
    Pending(f"c-{at}", f"{20 + at}세 남자입니다. 검사에서 AST {100 + at} 나왔어요. 술을 끊으면 나을까요?", f"made-{at}")
    for at in range(12)
]
SERVER = Rewriter(kind="server", model=MODEL, in_flight=4, timeout_seconds=5, max_new_tokens=64)

Point = Callable[[LlmServer], None]


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Point:
    """Makes the client talk to the server, with no key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return lambda server: monkeypatch.setenv("OPENAI_BASE_URL", server.url)


def rewrite(config: Rewriter = SERVER, consults: list[Pending] = CONSULTS, done: tuple[str, ...] = ()) -> list[Rewrite]:
    kept: list[Rewrite] = []
    rewrite_on_server(config, 7, PROMPT, consults, done, kept.append)
    return kept


def test_every_consult_is_rewritten_with_several_requests_in_flight_and_no_more_than_allowed(point: Point) -> None:
    with llm_server(seconds=0.05) as server:
        point(server)
        kept = rewrite()
    assert sorted(row.id for row in kept) == sorted(consult.id for consult in CONSULTS)
    assert {row.tries for row in kept} == {1}
    assert kept[0].question == "술을 끊으면 나을까요?"
    assert {row.id: row.made_of for row in kept} == {consult.id: consult.made_of for consult in CONSULTS}
    assert server.most_in_flight == 4
    assert len(server.asked) == len(CONSULTS)


def test_the_server_gets_schema_seed_and_limits(point: Point) -> None:
    with llm_server() as server:
        point(server)
        rewrite(consults=CONSULTS[:2])
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, 64, 0)
    assert set(body["response_format"]["json_schema"]["schema"]["required"]) == {"question", "patient_information"}
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert server.bodies[0]["seed"] != server.bodies[1]["seed"]


def test_what_is_done_is_not_asked_for(point: Point) -> None:
    with llm_server() as server:
        point(server)
        kept = rewrite(done=tuple(consult.id for consult in CONSULTS[2:]))
    assert sorted(row.id for row in kept) == ["c-0", "c-1"]
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", ["429", "500", "cut", "cut_in_the_middle", "invalid_body", "no_choices"])
def test_a_request_that_failed_on_the_way_is_repeated_and_costs_no_try(point: Point, fault: str) -> None:
    with llm_server({"": [fault]}) as server:
        point(server)
        (row,) = rewrite(consults=CONSULTS[:1])
    assert (row.tries, row.rejections) == (1, ())
    assert len(server.asked) == 2


def test_a_request_that_takes_too_long_is_repeated(point: Point) -> None:
    with llm_server({"": ["slow"]}) as server:
        point(server)
        (row,) = rewrite(SERVER.model_copy(update={"timeout_seconds": 0.3}), CONSULTS[:1])
    assert row.tries == 1
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("truncated", "cut off by the token limit"),
        ("two_objects", "one JSON object was wanted, found 2"),
        ("wrong_keys", "JSON with other fields"),
        ("number_instead_of_text", "JSON with other fields"),
        ("not_json", "one JSON object was wanted, found none"),
        ("refusal_in_words", "one JSON object was wanted, found none"),
        ("empty", "empty reply"),
        ("empty_question", "empty question"),
        ("english", "not Korean"),
        ("control_token", "control token: <end_of_turn>"),
        ("refusal", "the model refuses: 도와드릴 수 없습니다"),
        ("invented_number", "invented: 39.4도"),
        ("invented_drug", "invented: 타이레놀"),
        ("personal_data", "invented: [전화번호]"),
        ("dropped_value", "missing: 100, AST, AST 100"),
        ("too_long", "the server refuses this consult: Error code: 400"),
    ],
)
def test_a_bad_answer_costs_a_try_and_the_model_is_told(point: Point, fault: str, reason: str) -> None:
    with llm_server(
        {"": [fault] * (2 if fault == "too_long" else 1)}
    ) as server:  # refused with the schema, and without
        point(server)
        (row,) = rewrite(consults=CONSULTS[:1])
    assert (row.tries, row.question) == (2, "술을 끊으면 나을까요?")
    assert row.rejections[0].reason.startswith(reason)
    last = server.bodies[-1]
    assert f"이전 답의 문제: {reason}" in last["messages"][0]["content"]
    assert last["temperature"] == SERVER.retry_temperature


@pytest.mark.parametrize("fault", ["prose", "fences"])
def test_json_with_words_around_it_is_taken(point: Point, fault: str) -> None:
    with llm_server({"": [fault]}) as server:
        point(server)
        (row,) = rewrite(consults=CONSULTS[:1])
    assert row.tries == 1


def test_when_all_tries_are_used_the_row_has_no_rewrite_and_every_reason(point: Point) -> None:
    with llm_server({"AST 100": ["not_json", "*"]}) as server:
        point(server)
        kept = {row.id: row for row in rewrite(consults=CONSULTS[:3])}
    assert kept["c-0"].question is None
    assert [one.reason for one in kept["c-0"].rejections] == ["one JSON object was wanted, found none"] * SERVER.tries
    assert kept["c-1"].question and kept["c-2"].question


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", "Error code: 500.*the same command goes on"),
        ("401", "refuses the key .OPENAI_API_KEY.*no such key"),
        ("404", "no model 'rule-based' .restructure.rewriter.model.*does not exist"),
        ("400", "unknown parameter: seed"),
        ("redirect", "307"),
    ],
)
def test_a_server_that_goes_on_refusing_stops_the_stage_and_drops_nothing(
    point: Point, fault: str, message: str
) -> None:
    config = SERVER.model_copy(update={"in_flight": 1})
    kept: list[Rewrite] = []
    with llm_server({"AST 102": [fault, "*"]}) as server:
        point(server)
        with pytest.raises(KormedError, match=message):
            rewrite_on_server(config, 7, PROMPT, CONSULTS, (), kept.append)
    assert [row.id for row in kept] == ["c-0", "c-1"]
    assert {row.question for row in kept} == {"술을 끊으면 나을까요?"}
    if fault in ("401", "404", "redirect"):
        assert len(server.asked) == 3  # asked once: a retry would be refused too


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://me:secret@127.0.0.1:9/v1")
    with pytest.raises(KormedError, match=r"http://127.0.0.1:9/v1 \(OPENAI_BASE_URL\): no connection") as error:
        rewrite(consults=CONSULTS[:1])
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("url", "message"), [("", "would send patients' texts"), ("localhost:8000", "was wanted")])
def test_without_a_servers_address_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, url: str, message: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(KormedError, match=message):
        rewrite()


def test_the_key_of_the_environment_is_sent(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    with llm_server() as server:
        point(server)
        rewrite(consults=CONSULTS[:1])
        monkeypatch.setenv("OPENAI_API_KEY", "a-key")
        rewrite(consults=CONSULTS[:1])
    assert server.keys == ["Bearer none", "Bearer a-key"]


def test_a_server_without_json_schema_is_asked_without_and_told_of_once(
    point: Point, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kormed")
    with llm_server(takes_schema=False) as server:
        point(server)
        kept = rewrite(SERVER.model_copy(update={"in_flight": 1}))
    assert len(kept) == len(CONSULTS)
    assert sum("response_format" in body for body in server.bodies) == 1
    assert sum("takes no JSON schema" in line for line in caplog.messages) == 1


def test_the_server_path_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, stages.restructure; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
