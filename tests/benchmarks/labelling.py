"""The labelling server measured: many comparisons pushed and found, twenty people at work, memory, starting, pulling.

    python -m tests.benchmarks.labelling [--minutes 10] [--annotators 20] [--pause 5] [--comparisons 10000]
        [--output tests/benchmarks/results/labelling-2cores.json]

Everything is done as a team would do it: the embedded server in a fresh home with full durability, `push` and `pull` as
the commands call them, and people (tests/annotation/load.py) who send what the page sends. Clients and server share the
machine. All text is fictional, put together from the sentences below. Linux only (/proc tells the server's memory).
"""

import argparse
import json
import logging
import math
import os
import platform
import random
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from annotation import embedded, environment
from annotation.api import Api
from annotation.connection import connect
from annotation.embedded import Server
from annotation.people import credentials
from annotation.progress import progress
from annotation.pull import pull
from annotation.push import push
from annotation.rounds import Round, label_round
from stages.core.artifacts import commit
from stages.core.recipe import Annotation
from stages.core.records import Candidate, Comparison
from tests.annotation.examples import free_port
from tests.annotation.load import Person, at_work

Result = TypeVar("Result")

RECIPE = "benchmark"
RARE = "백반"  # two syllables, in one comparison
OFTEN = "두통"

PLACES = (
    "머리",
    "목",
    "어깨",
    "허리",
    "무릎",
    "손목",
    "발목",
    "배",
    "가슴",
    "귀",
    "눈",
    "등",
    "옆구리",
    "턱",
    "종아리",
)
FEELINGS = (
    *(
        "콕콕 찌르는 느낌",
        "묵직한 통증",
        "저릿한 느낌",
        "화끈거림",
        "뻐근함",
        "가려움",
        "붓는 느낌",
        "조이는 듯한 통증",
    ),
    *("욱신거림", "두통", "어지럼", "메스꺼움", "땅기는 느낌", "먹먹함"),
)
TIMES = (
    "아침에 일어날 때",
    "밤에 누우면",
    "식사 뒤에",
    "오래 앉아 있으면",
    "계단을 오를 때",
    "찬 바람을 쐬면",
    "일을 마치고 나면",
)
DISEASES = ("앓던 병 없음", "고혈압 약 복용", "당뇨 관리 중", "천식 병력", "갑상선 약 복용", "비염", "위염 병력")
QUESTIONS = (
    "{days}일 전부터 {place} 쪽에 {feeling}이 있고 {time} 더합니다. 큰 병일까 걱정됩니다. 어느 과로 가야 할까요?",
    "{time} {place} 부위에 {feeling}이 반복됩니다. {days}일째인데 집에서 할 수 있는 것이 있을까요?",
    "얼마 전에 {place} 쪽을 부딪힌 뒤로 {feeling}이 남아 있습니다. {days}일이 지났는데 사진을 찍어 봐야 하나요?",
    "약을 {days}일 먹었는데도 {place} 쪽 {feeling}이 그대로입니다. {time} 심해지는데 약을 바꿔야 할까요?",
)
SENTENCES = (
    "걱정이 많으셨겠습니다.",
    "{days}일 동안 이어졌다니 많이 불편하셨겠습니다.",
    "말씀하신 {place} 쪽 {feeling}만으로는 원인을 하나로 정하기 어렵습니다.",
    "{time} 심해진다면 자세나 생활 습관과 관련이 있는지 먼저 살펴보는 것이 좋습니다.",
    "{place} 주변의 근육이 긴장해도 {feeling}을 느낄 수 있습니다.",
    "드물게 신경이 눌리거나 염증이 있어서 {feeling}이 생기기도 합니다.",
    "열이 나거나 체중이 줄거나 힘이 빠지는 증상이 있으면 바로 진료를 받으셔야 합니다.",
    "우선 {days}일 정도는 무리한 움직임을 피하고 따뜻하게 해 주시기 바랍니다.",
    "진통제는 설명서의 용량을 넘지 않게 드시고, 드시는 약이 있다면 약사와 상의해 주세요.",
    "나이가 {age}세이시고 앓던 병이 있다면 검사를 앞당기는 편이 안전합니다.",
    "{place} 부위를 손으로 눌렀을 때 통증이 뚜렷한지 확인해 보세요.",
    "가까운 의원에서 진찰을 받고 필요하면 영상 검사를 의뢰받으시면 됩니다.",
    "{time} 증상을 적어 두었다가 진료 때 보여 주시면 도움이 됩니다.",
    "술과 담배는 회복을 늦추므로 {days}주쯤은 멀리하시기 바랍니다.",
    "물을 충분히 드시고 잠을 {hours}시간 이상 주무시는 것이 좋습니다.",
    "{feeling}이 갑자기 심해지거나 말이 어눌해지면 119에 연락하십시오.",
    "온라인 상담은 진료를 대신하지 못하므로 직접 진찰을 받으시길 권합니다.",
    "큰 병이 아닌 경우가 많으니 너무 불안해하지 마시고 경과를 지켜보시기 바랍니다.",
    "{place} 쪽을 부드럽게 늘려 주는 운동을 하루 {hours}분씩 해 보세요.",
    "증상이 {days}일 넘게 이어지면 정형외과나 신경과에서 확인해 보시는 것이 좋겠습니다.",
    "함께 나타나는 다른 증상이 있는지도 중요하니 다시 알려 주시기 바랍니다.",
    "예전에 비슷한 {feeling}으로 치료받은 적이 있다면 그때의 기록을 가져가세요.",
)


def made_up_comparisons(count: int, seed: int = 0) -> list[Comparison]:
    """Fictional comparisons of about 800 to 1,500 characters, no answer and no question twice; one holds RARE."""
    rng = random.Random(seed)
    made = [_made_up(number, rng) for number in range(count)]
    texts = [text for one in made for text in (one.question + one.patient_information, one.a.text, one.b.text)]
    assert len(set(texts)) == len(texts)
    assert not any(RARE in text for text in texts)
    chosen = count // 2
    rare = made[chosen].a.model_copy(
        update={"text": f"{made[chosen].a.text} 피부가 하얗게 변했다면 {RARE}증일 수 있습니다."}
    )
    made[chosen] = made[chosen].model_copy(update={"a": rare})
    return made


def _made_up(number: int, rng: random.Random) -> Comparison:
    consult, facts = f"consult-{number:06}", _facts(rng)
    return Comparison(
        id=f"comparison-{number:06}",
        consult_id=consult,
        question=f"{rng.choice(QUESTIONS).format(**facts)} (지어낸 상담 {number + 1})",
        patient_information=f"{facts['age']}세, {rng.choice(('남성', '여성'))}, {rng.choice(DISEASES)}",
        a=_candidate(consult, f"candidate-{number:06}-a", facts, rng),
        b=_candidate(consult, f"candidate-{number:06}-b", facts, rng),
    )


def _facts(rng: random.Random) -> dict[str, str | int]:
    return {
        "days": rng.randint(2, 60),
        "hours": rng.randint(5, 30),
        "age": rng.randint(19, 84),
        "place": rng.choice(PLACES),
        "feeling": rng.choice(FEELINGS),
        "time": rng.choice(TIMES),
    }


def _candidate(consult: str, name: str, facts: dict[str, str | int], rng: random.Random) -> Candidate:
    sentences = rng.sample(SENTENCES, rng.randint(10, 17))
    text = " ".join(one.format(**(facts | {"days": rng.randint(2, 60)})) for one in sentences)
    return Candidate(
        id=name,
        consult_id=consult,
        text=text,
        checkpoint="sft",
        temperature=0.9,
        top_p=0.95,
        seed=rng.getrandbits(32),
        tokens=None,
        finished=True,
    )


def measure(home: Path, count: int, annotators: int, pause: float, minutes: float) -> dict[str, Any]:
    """Every number, in the order in which it was measured; seconds unless the name says otherwise."""
    os.environ["KORMED_ARGILLA_HOME"] = str(home)
    config = Annotation(
        seed=1,
        annotators=tuple(f"annotator-{number}" for number in range(1, annotators + 1)),
        responses_per_comparison=2,
        port=free_port(),
    )
    comparisons = made_up_comparisons(count)
    round = label_round(RECIPE, comparisons, config, home.parent / "responses.jsonl")
    server, first = timed(lambda: embedded.start(config, RECIPE))  # with everybody's account and password
    server.stop()
    server, second = timed(lambda: embedded.start(config, RECIPE))
    found: dict[str, Any] = {"first start": first, "second start": second}
    try:
        found |= measure_running(server, config, round, pause, minutes)
        found["restarts"] = server.restarts  # with one, the memory's peak would be of the last process alone
    finally:
        server.stop()
    found["database at the end, MB"] = megabytes(home / "argilla.db")
    return found


def measure_running(server: Server, config: Annotation, round: Round, pause: float, minutes: float) -> dict[str, Any]:
    found: dict[str, Any] = {"memory idle, MB": peak_memory(server)}
    with connect(config, RECIPE) as client:
        pushed, seconds = timed(lambda: push(client, round))
        lengths = sorted(
            sum(len(text) for text in (one.question, one.patient_information, one.a.text, one.b.text))
            for one in round.comparisons
        )
        found["push"] = {
            "comparisons": len(round.comparisons),
            "records, with repeats": pushed.total,
            "characters in one, least, median, most": [lengths[0], lengths[len(lengths) // 2], lengths[-1]],
            "seconds": seconds,
            "once more, nothing new": timed(lambda: push(client, round))[1],
            "database and journal, MB": megabytes(server.home / "argilla.db", server.home / "argilla.db-wal"),
            "memory peak, MB": peak_memory(server),
        }
        found["search"] = measure_search(server, round)
        found["durability"] = {"journal_mode": journal_mode(server.home), "synchronous": "FULL, see test_crashes.py"}
        found["labelling"] = measure_labelling(server, config, round, pause, minutes)
        state, seconds = timed(lambda: progress(client, round))
        found["progress command"] = {"seconds": seconds, "completed": state.completed, "pending": state.pending}
        pulled, seconds = timed(lambda: pull(client, round))
        found["pull"] = {"seconds": seconds, "responses": pulled.submitted}
    found["memory peak, MB"] = peak_memory(server)
    return found


def measure_search(server: Server, round: Round) -> dict[str, Any]:
    """As an annotator on the page: a word that one comparison holds, one that many hold, one that none holds."""
    api = Api(server.url, credentials(server.home)[round.people[0]].api_key)
    dataset = next(one for one in api.get("/me/datasets")["items"] if one["name"] == round.dataset)
    path = f"/me/datasets/{dataset['id']}/records/search?include=responses&limit=10"
    found = {}
    for name, word in (("a rare word", RARE), ("a frequent word", OFTEN), ("a word that is not there", "흑단")):
        answer, seconds = timed(partial(api.post, path, {"query": {"text": {"q": word}}}))
        found[name] = {"seconds": seconds, "found": answer["total"]}
    held = sum(RARE in one.a.text for one in round.shown) + sum(RARE in one.b.text for one in round.shown)
    assert found["a rare word"]["found"] == held, found
    return found


def measure_labelling(server: Server, config: Annotation, round: Round, pause: float, minutes: float) -> dict[str, Any]:
    known = credentials(server.home)
    people = [Person(server.url, known[name], round.dataset, pause, random.Random(name)) for name in config.annotators]
    with at_work(people):
        time.sleep(minutes * 60)
    failed = [one for person in people for one in person.failed]
    answers = [sent for person in people for sent in person.sent]
    return {
        "annotators": len(people),
        "pause": pause,
        "minutes": minutes,
        "answers": len(answers),
        "acknowledged": sum(sent.acknowledged for sent in answers),
        "errors": len(failed),
        "kinds of errors": dict(Counter(f"{one.kind} {one.status or one.reason}" for one in failed)),
        "requests": dict(latencies(people)),
        "memory peak, MB": peak_memory(server),
    }


def latencies(people: Sequence[Person]) -> Iterator[tuple[str, dict[str, float]]]:
    asked = [one for person in people for one in person.asked]
    for kind in dict.fromkeys(one.kind for one in asked):
        took = sorted(one.seconds for one in asked if one.kind == kind)
        yield (
            kind,
            {
                "count": len(took),
                "p50": round(at(took, 0.5), 3),
                "p95": round(at(took, 0.95), 3),
                "most": round(took[-1], 3),
            },
        )


def at(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def timed(action: Callable[[], Result]) -> tuple[Result, float]:
    """What it gives, and its seconds."""
    begun = time.perf_counter()
    result = action()
    return result, round(time.perf_counter() - begun, 3)


def peak_memory(server: Server) -> int:
    """The most that the server's process has held so far."""
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) // 1024


def megabytes(*files: Path) -> float:
    return round(sum(file.stat().st_size for file in files if file.exists()) / 2**20, 1)


def journal_mode(home: Path) -> str:
    """Stands in the file. `synchronous` does not: test_crashes.py asks the server's own connections for it."""
    with sqlite3.connect(f"file:{home / 'argilla.db'}?mode=ro", uri=True) as db:
        return str(db.execute("PRAGMA journal_mode").fetchone()[0])


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0))}


def versions() -> dict[str, str]:
    """Ours, and those of the server's own environment."""
    asked = (
        "import importlib.metadata, json, platform, sqlite3; print(json.dumps({"
        "'server python': platform.python_version(), 'sqlite': sqlite3.sqlite_version, "
        "**{name: importlib.metadata.version(name) for name in ('argilla-server', 'uvicorn', 'sqlalchemy')}}))"
    )
    python = environment.ensure_environment()
    inside = json.loads(subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout)
    return {"python": platform.python_version(), "argilla": version("argilla"), **inside}


def show(found: dict[str, Any]) -> None:
    push, labelling = found["push"], found["labelling"]
    rare = found["search"]["a rare word"]
    rows = [
        ("start, first / second", f"{found['first start']:.1f} s / {found['second start']:.1f} s"),
        (f"push of {push['comparisons']:,} ({push['records, with repeats']:,} records)", f"{push['seconds']:.1f} s"),
        ("  the same once more", f"{push['once more, nothing new']:.1f} s"),
        ("search of a rare word", f"{rare['seconds']:.2f} s, {rare['found']} found"),
        (f"{labelling['annotators']} annotators, {labelling['minutes']:g} minutes", f"{labelling['answers']} answers"),
        ("  errors", str(labelling["errors"])),
        *(
            (
                f"  {kind} ({took['count']})",
                f"p50 {took['p50']:.3f} s, p95 {took['p95']:.3f} s, most {took['most']:.3f} s",
            )
            for kind, took in labelling["requests"].items()
        ),
        (f"pull of {found['pull']['responses']:,} responses", f"{found['pull']['seconds']:.1f} s"),
        ("memory peak", f"{found['memory peak, MB']} MB ({found['memory idle, MB']} MB idle)"),
        ("restarts", str(found["restarts"])),
        ("database", f"{found['database at the end, MB']} MB"),
    ]
    for name, value in rows:
        print(f"{name:<40}{value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--pause", type=float, default=5, help="seconds between two answers of one annotator")
    parser.add_argument("--comparisons", type=int, default=10_000)
    parser.add_argument("--output", type=Path, help="for example tests/benchmarks/results/labelling-2cores.json")
    asked = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    for name in ("ARGILLA_API_URL", "ARGILLA_API_KEY"):
        os.environ.pop(name, None)  # a team's own server is not what is measured
    about = {"at": datetime.now(UTC).isoformat(), "commit": commit(), "machine": machine(), "versions": versions()}
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder) / "home", asked.comparisons, asked.annotators, asked.pause, asked.minutes)
    if asked.output:
        content = about | {"load at the end": os.getloadavg()[0], "measured": found}
        asked.output.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    show(found)


if __name__ == "__main__":
    main()
