"""Decontamination measured: settings, planted paraphrases, the real benchmark, speed and memory.

    python -m tests.benchmarks.decontamination [BENCHMARK] [--json FILE] [--rows 1000 10000 30000 100000]

BENCHMARK is a folder of KorMedMCQA's <subset>/<split>.jsonl; without it only fictional text is measured (the demo's
questions and consults). Nothing of the benchmark's text is printed or written. Precision is counted against every other
question of the same exams as a negative, the same subjects included. Which pairs of the real benchmark are the same
question reworded (SAME below) was judged by one reader, after looking at all pairs with stems at least 0.5 alike and at
those with stem and choices together at least 0.4: it is a floor for what is there. Right answers were not looked at
then: a pair judged the same asks for the same thing, but many open questions ("…에 관한 설명으로 옳은 것은?") have
another right statement each time.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stages.core.chat import CONSULT_INSTRUCTION
from stages.core.decontamination import (
    CONTAINABLE,
    Fingerprint,
    Hit,
    Item,
    Protected,
    Texts,
    as_dropped,
    asks_else,
    clusters,
    find_hits,
    near_duplicates,
    same_answer,
)
from stages.core.records import ExamQuestion
from stages.core.shingles import containment, fold, in_one_unit, jaccard, near_pairs, shingles, split_ask

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "recipes" / "demo"
SUBSETS = ("doctor", "nurse", "pharm", "dentist")
THRESHOLD = 0.5
SAMPLE = 500  # questions of the real benchmark that are paraphrased

Rewrite = Callable[[str, random.Random], str]

# Rows of train or dev and the test question that they reword, by id.
SAME = """
nurse/train/549 nurse/test/845, pharm/train/299 pharm/test/866, nurse/train/542 nurse/test/546,
nurse/train/523 nurse/test/527, nurse/train/256 nurse/test/552, nurse/train/242 nurse/test/829,
nurse/train/205 nurse/test/793, dentist/train/73 dentist/test/622, nurse/train/478 nurse/test/483,
nurse/train/56 nurse/test/351, dentist/train/56 dentist/test/345, nurse/train/566 nurse/test/571,
nurse/train/518 nurse/test/522, dentist/train/37 dentist/test/332, dentist/train/157 dentist/test/432,
pharm/train/47 pharm/test/351, pharm/train/431 pharm/test/413, nurse/train/472 nurse/test/767,
pharm/train/627 pharm/test/608, nurse/train/49 nurse/test/637, dentist/train/45 dentist/test/335,
dentist/train/284 nurse/test/283, dentist/dev/125 dentist/test/121, nurse/dev/254 nurse/test/549,
dentist/dev/156 dentist/test/680, pharm/dev/158 pharm/test/765, nurse/dev/289 nurse/test/292,
dentist/train/202 dentist/test/472, nurse/train/539 nurse/test/543, pharm/train/148 pharm/test/139,
nurse/train/563 nurse/test/276, nurse/train/244 nurse/test/539, dentist/train/183 dentist/test/709,
doctor/train/626 pharm/test/298, dentist/dev/180 dentist/test/683, dentist/dev/102 dentist/test/95,
dentist/dev/249 dentist/test/246, nurse/dev/164 doctor/test/150, nurse/dev/181 nurse/test/768,
dentist/train/285 dentist/test/546, dentist/train/176 dentist/test/705, dentist/dev/89 dentist/test/366,
dentist/train/175 dentist/test/448, nurse/train/580 dentist/test/299, doctor/train/790 doctor/test/118,
dentist/dev/65 dentist/test/612, nurse/train/199 nurse/test/787, pharm/train/310 pharm/test/877,
nurse/train/283 nurse/test/287, nurse/train/573 dentist/test/291, nurse/train/473 nurse/test/769,
dentist/dev/52 dentist/test/49, nurse/train/262 nurse/test/558, pharm/train/268 pharm/test/836,
dentist/train/99 dentist/test/384, dentist/train/173 dentist/test/447, nurse/train/158 nurse/test/743,
dentist/train/287 nurse/test/578, nurse/dev/229 nurse/test/815, nurse/train/90 nurse/test/389,
nurse/train/485 nurse/test/491, nurse/train/520 nurse/test/524, nurse/train/61 nurse/test/357
"""
SAME_PAIRS = {tuple(pair.split()) for pair in SAME.split(",")}

# Other words for the same. The first list is what a synonym table was tried with, the second one it never saw.
SYNONYMS = """
고혈압:혈압이 높음, 당뇨병:당뇨, 복통:배가 아픔, 배가 아파:복통으로, 발열:열, 구토:토함, 두통:머리가 아픔,
머리가 아파:두통으로, 투여:투약, 흉통:가슴 통증, 호흡곤란:숨참, 숨이 차:호흡곤란으로, 메스꺼움:오심, 설사:물변,
변비:변이 굳음, 현기증:어지럼, 어지러움:현기증, 객혈:피가래, 갑상샘:갑상선, 콩팥:신장, 정강뼈:경골,
넙다리:대퇴, 빈맥:빠른맥, 부종:붓기, 황달:피부가 노래짐, 골절:뼈가 부러짐, 뇌졸중:중풍, 심근경색:심장마비,
가려움증:소양증, 저혈압:혈압이 낮음, 남자:남성, 여자:여성, 남아:남자아이, 여아:여자아이, 환자:환자분
"""
OTHER_SYNONYMS = """
병원에 왔다:내원하였다, 증상:증세, 수술:외과 처치, 치료:요법, 진단:판정, 검사:검진, 복용:섭취, 통증:아픔,
증가:상승, 감소:저하, 적절한:알맞은, 옳은:맞는, 원인:이유, 심한:극심한, 갑자기:별안간, 오른쪽:우측, 왼쪽:좌측,
양쪽:양측, 가슴:흉부, 소변:오줌, 대변:배변, 체중:몸무게, 혈압:BP, 맥박:심박수, 덩이:종괴, 약물:약제,
임신부:임부, 예방:방지, 영아:아기, 관찰:확인, 발생:출현
"""


def synonyms(words: str) -> dict[str, str]:
    return dict(pair.strip().split(":") for pair in words.split(","))


def respaced(text: str, rng: random.Random) -> str:
    """Four of ten spaces gone, and one after every twelfth syllable or so inside words."""
    letters = []
    for at, letter in enumerate(text):
        if letter == " " and rng.random() < 0.4:
            continue
        letters.append(letter)
        if re.match("[가-힣]{2}", text[at : at + 2]) and rng.random() < 0.08:
            letters.append(" ")
    return "".join(letters)


SWAPPED = ("은이", "는가", "이은", "가는", "을은", "를는")
OTHER_PARTICLE = {pair[0]: pair[1] for pair in SWAPPED} | {"에서": "에", "에": "에서", "와": "하고", "과": "하고"}
OTHER_PARTICLE |= dict.fromkeys(("의", "으로", "로", "도"), "")
PARTICLE = re.compile(r"(?<=[가-힣]{2})(" + "|".join(sorted(OTHER_PARTICLE, key=len, reverse=True)) + r")(?![가-힣])")


def with_other_particles(text: str, rng: random.Random) -> str:
    """Every second particle another one, or none."""
    return PARTICLE.sub(
        lambda found: rng.choice((OTHER_PARTICLE[found[1]], "")) if rng.random() < 0.5 else found[1], text
    )


OTHER_UNITS: list[tuple[str, Callable[[float], float], str]] = [
    (r" ?kg", lambda value: value * 1000, " g"),
    (r" ?g(?![a-zA-Z/])", lambda value: value * 1000, " mg"),
    (r" ?mg(?![a-zA-Z/])", lambda value: value / 1000, " g"),
    (r" ?(?:°C|℃|도)(?![가-힣])", lambda value: round(value * 1.8 + 32, 1), "°F"),
    (r" ?주(?= ?(?:전|후|간|된|째|동안|,|\.|가))", lambda value: value * 7, "일"),
    (r" ?년(?= ?(?:전|후|간|동안|째))", lambda value: value * 12, "개월"),
    (r" ?시간(?= ?(?:전|후|동안|마다))", lambda value: value * 60, "분"),
    (r" ?cm(?![a-zA-Z/^²³])", lambda value: value * 10, " mm"),
    (r" ?L(?![a-zA-Z/])", lambda value: value * 1000, " mL"),
]


def in_other_units(text: str, rng: random.Random) -> str:
    """Every number with a unit that has another one in use."""
    changed: list[str] = []

    def change(found: re.Match[str], convert: Callable[[float], float], unit: str) -> str:
        changed.append(f"{convert(float(found[1])):g}{unit}")
        return f"\0{len(changed) - 1}\0"  # so that g, made of kg, is not made mg

    for pattern, convert, unit in OTHER_UNITS:
        number = re.compile(r"(?<![\d,.\0/])(\d+(?:\.\d+)?)" + pattern)
        text = number.sub(lambda found, convert=convert, unit=unit: change(found, convert, unit), text)  # type: ignore[misc]
    return re.sub("\0(\\d+)\0", lambda found: changed[int(found[1])], text)


def in_other_words(words: dict[str, str], share: float = 1.0) -> Rewrite:
    pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    return lambda text, rng: pattern.sub(lambda found: words[found[0]] if rng.random() < share else found[0], text)


KNOWN, UNKNOWN = synonyms(SYNONYMS), synonyms(OTHER_SYNONYMS)
half_in_other_words = in_other_words(KNOWN | UNKNOWN, 0.5)
PARAPHRASES: dict[str, Rewrite] = {
    "spacing": respaced,
    "particles": with_other_particles,
    "other units": in_other_units,
    "choices swapped": lambda text, rng: text,
    "synonyms": in_other_words(KNOWN | UNKNOWN),
    "all of them": lambda text, rng: respaced(
        with_other_particles(half_in_other_words(in_other_units(text, rng), rng), rng), rng
    ),
}


def read_questions(folder: Path, *splits: str) -> list[Item]:
    return [
        Item.of(f"{subset}/{split}/{number}", ExamQuestion.model_validate_json(line))
        for subset in SUBSETS
        for split in splits
        for number, line in enumerate((folder / subset / f"{split}.jsonl").read_text("utf-8").splitlines(), start=1)
    ]


def read_demo_consults() -> list[Item]:
    rows = [json.loads(line) for line in (DEMO / "consults.jsonl").read_text("utf-8").splitlines()]
    return [
        Item(
            row["id"],
            row["question"],
            context=row["instruction"].removeprefix(CONSULT_INSTRUCTION).strip(),
            answer=row["answer"],
        )
        for row in rows
    ]


def paraphrased(item: Item, kind: str) -> Item | None:
    """The item said otherwise, its choices too and in another order; None: there was nothing to change."""
    rewrite, rng = PARAPHRASES[kind], random.Random(f"{item.id}/{kind}")
    text, context = rewrite(item.text, rng), rewrite(item.context, rng)
    if kind != "choices swapped" and (text, context) == (item.text, item.context):
        return None
    choices = [rewrite(choice, rng) for choice in item.choices]
    answer = choices[item.choices.index(item.answer)] if item.choices else item.answer
    rng.shuffle(choices)
    return Item(f"planted/{item.id}", text, tuple(choices), context, answer=answer)


def planted(originals: Sequence[Item], protected: Sequence[Item]) -> dict[str, dict[str, float]]:
    """For each kind: how many were planted, the share that hits its original, and the share of hits that are such.

    A hit on another question is wrong, even on one that asks nearly the same.
    """
    table = {}
    for kind in PARAPHRASES:
        rows = [row for item in originals if (row := paraphrased(item, kind)) is not None]
        hits = find_hits(rows, protected, rule="stem_and_choices", threshold=THRESHOLD)
        right = [hit for hit in hits if hit.row_id == f"planted/{hit.hit_id}"]
        table[kind] = {
            "planted": len(rows),
            "recall": round(len(right) / len(rows), 4),
            "recall, stem and choices": round(sum(hit.dropped for hit in right) / len(rows), 4),
            "precision": round(len(right) / len(hits), 4),
        }
    return table


def planted_duplicates(consults: Sequence[Item], threshold: float) -> dict[str, dict[str, float]]:
    """Each consult followed by its paraphrase: the share of those dropped, and rows dropped for another consult."""
    table = {}
    for kind in PARAPHRASES:
        if kind == "choices swapped":
            continue
        rows = [row for item in consults if (row := paraphrased(item, kind)) is not None]
        hits = near_duplicates([*consults, *rows], threshold=threshold)
        right = sum(hit.row_id == f"planted/{hit.hit_id}" for hit in hits)
        table[kind] = {"planted": len(rows), "recall": round(right / len(rows), 4), "wrong": len(hits) - right}
    return table


def hidden(questions: Sequence[Item], consults: Sequence[Item]) -> dict[str, Any]:
    """Exam questions paraphrased and put between consults, or between doctors' answers, and alarms without one."""
    rng = random.Random(0)
    stories = [f"{item.context} {item.text}" for item in consults]
    answers = [item.answer for item in consults]
    benchmark = Protected(questions, THRESHOLD)
    long = [one.item for one in benchmark.prints if len(one.stem) >= 60]
    table: dict[str, Any] = {}
    for kind in PARAPHRASES:
        found = in_answer = total = 0
        for item in rng.sample(long, min(300, len(long))):
            row = paraphrased(item, kind)
            if row is None:
                continue
            before, after = rng.sample(stories, 2), rng.sample(stories, 2)
            consult = Item(row.id, "어떻게 해야 할까요?", context=" ".join([*before, row.text, *after]))
            hits = find_hits_in(benchmark, consult)
            total += 1
            found += any(row.id == f"planted/{hit}" for hit in hits)
            answer = " ".join([rng.choice(answers), row.text, rng.choice(answers)])
            asked = rng.choice(consults)
            answered = Item(row.id, asked.text, context=asked.context, answer=answer)
            in_answer += any(row.id == f"planted/{hit}" for hit in find_hits_in(benchmark, answered))
        table[kind] = {
            "hidden": total,
            "recall": round(found / total, 4) if total else 0.0,
            "recall in the answer": round(in_answer / total, 4) if total else 0.0,
        }
    clean = [
        *consults,
        *(Item(str(n), " ".join(rng.sample(stories, 5)), answer=" ".join(rng.sample(answers, 5))) for n in range(300)),
    ]
    containable = [one.stem for one in benchmark.prints if len(one.stem) >= CONTAINABLE]
    folded = [shingles(fold(in_one_unit(f"{item.context} {item.text} {item.answer}"))) for item in clean]
    shares = [max(containment(stem, of) for stem in containable) for of in folded]
    table["consults without one"] = {
        "rows": len(clean),
        "hits": sum(bool(find_hits_in(benchmark, item)) for item in clean),
        "hits of the demo's as they are": sum(bool(find_hits_in(benchmark, item)) for item in consults),
        "greatest share of a question in one": round(max(shares), 3),
    }
    return table


def find_hits_in(benchmark: Protected, consult: Item) -> list[str]:
    return [benchmark.prints[number].item.id for _, number in benchmark.like(Fingerprint(consult))]


def real(folder: Path) -> dict[str, Any]:
    """The mirror's counts (13 characters, 0.3) again, and what becomes of those rows and of all others."""
    test, protected = read_questions(folder, "test"), read_questions(folder, "test", "fewshot")
    found: dict[str, Any] = {}
    for split in ("train", "dev"):
        rows = read_questions(folder, split)
        mirror = best_by(rows, test, lambda text: windows(fold(text), 13))
        same = {row.id for row in rows} & {row for row, (similarity, _) in mirror.items() if similarity == 1}
        near = {row for row, (similarity, _) in mirror.items() if similarity >= 0.3}
        hits = find_hits(rows, protected if split == "train" else test, rule="stem", threshold=THRESHOLD)
        hit_rows = {hit.row_id for hit in hits}
        judged = {hit.row_id for hit in hits if (hit.row_id, hit.hit_id) in SAME_PAIRS}
        gravest = {hit.row_id: hit for hit in reversed(hits)}
        both = find_hits(rows, protected if split == "train" else test, rule="stem_and_choices", threshold=THRESHOLD)
        found[split] = {
            "rows": len(rows),
            "stems equal to the letter": len(same),
            "of those found": len(same & hit_rows),
            "13-character shingles, at least 0.3": len(near),
            "of those found ": len(near & hit_rows),
            "not found": sorted(near - hit_rows),
            "rows with a hit": len(hit_rows),
            "judged the same question reworded": len(judged),
            "known pairs in this split": sum(f"/{split}/" in pair[0] for pair in SAME_PAIRS),
            "kinds": dict(Counter(hit.kind for hit in gravest.values())),
            **told_apart(gravest.values()),
            "dropped by rule stem": len(as_dropped(hits)),
            "dropped by rule stem_and_choices": len(as_dropped(both)),
            "of those for the answer alone": sum(
                hit.dropped and hit.kind in ("exact_stem", "near_stem")
                for hit in {hit.row_id: hit for hit in reversed(both)}.values()
            ),
            "of those judged the same question reworded": len(
                {hit.row_id for hit in both if hit.dropped and (hit.row_id, hit.hit_id) in SAME_PAIRS}
            ),
        }
    return found


def told_apart(gravest: Iterable[Hit]) -> dict[str, int]:
    """What the page says of each row's gravest hit."""
    hits = list(gravest)
    return {
        "same answer": sum(hit.same_answer is True for hit in hits),
        "other answer": sum(hit.same_answer is False for hit in hits),
        "asks something else": sum(hit.asks_else for hit in hits),
        "generic stem": sum(hit.is_generic for hit in hits),
        "generic stem, other answer": sum(hit.is_generic and not hit.same_answer for hit in hits),
    }


TURNED = re.compile(r"옳은 것은\s*\?$")


def repetitions(folder: Path) -> dict[str, dict[str, Any]]:
    """Pairs of exam questions whose words repeat each other: what the right answers and the asks say of them.

    Then questions asked the other way round ("옳지 않은 것은?", another right answer) and paraphrases, each behind its
    original.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, splits in {"train": ("train",), "all splits": ("train", "dev", "test")}.items():
        rows = read_questions(folder, *splits)
        pairs = words_alike(rows)
        table[name] = {
            "pairs alike in words": len(pairs),
            "same answer": sum(same_answer(one, other) is True for one, other in pairs),
            "other answer": sum(same_answer(one, other) is False for one, other in pairs),
            "asks something else": sum(asks_else(one, other) for one, other in pairs),
            "rows dropped": len(near_duplicates(rows, threshold=THRESHOLD)),
        }
        prints = [Fingerprint(row) for row in rows]
        alike = near_pairs([one.stem for one in prints], THRESHOLD)
        said = Counter(same_answer(rows[one], rows[other]) for one, other, _ in alike)
        table[f"{name}, stems alike"] = {"pairs": len(alike), "same answer": said[True], "other answer": said[False]}
    originals = [item for item in read_questions(folder, "train", "dev", "test") if TURNED.search(item.text)]
    turned = [
        Item(
            f"planted/{item.id}",
            TURNED.sub("옳지 않은 것은?", item.text),
            item.choices,
            answer=item.choices[item.choices.index(item.answer) - 1],
        )
        for item in originals
    ]
    table["asked the other way round"] = repeated(originals, turned)
    sample = random.Random(1).sample(read_questions(folder, "test"), SAMPLE)
    for kind in PARAPHRASES:
        table[f"paraphrased: {kind}"] = repeated(sample, [row for item in sample if (row := paraphrased(item, kind))])
    return table


def words_alike(rows: Sequence[Item]) -> list[tuple[Item, Item]]:
    texts = Texts(rows)
    return [
        (texts.prints[one].item, texts.prints[other].item)
        for one, likes in enumerate(texts.alike(THRESHOLD))
        for other, _ in likes
        if one < other
    ]


def repeated(originals: Sequence[Item], planted: Sequence[Item]) -> dict[str, Any]:
    """Of the planted rows, those that repeat their original by words alone, and those dropped for it."""
    rows = [*originals, *planted]
    by_words = {(other.id, one.id) for one, other in words_alike(rows)}
    texts = Texts(rows)  # rows that are equal to the letter share a text
    first = dict(zip(reversed(texts.of_row), reversed([row.id for row in rows]), strict=True))
    by_words |= {(row.id, first[text]) for row, text in zip(rows, texts.of_row, strict=True)}
    dropped = {(hit.row_id, hit.hit_id) for hit in near_duplicates(rows, threshold=THRESHOLD)}
    pairs = [(row.id, row.id.removeprefix("planted/")) for row in planted]
    return {
        "planted": len(planted),
        "alike in words": sum(pair in by_words for pair in pairs),
        "dropped": sum(pair in dropped for pair in pairs),
    }


def windows(text: str, characters: int) -> set[str]:
    return {text[at : at + characters] for at in range(max(1, len(text) - characters + 1))}


def best_by(
    rows: Sequence[Item], items: Sequence[Item], sets: Callable[[str], set[str]]
) -> dict[str, tuple[float, str]]:
    """For every row the greatest Jaccard similarity of its stem to an item's, over all pairs, and that item."""
    holders: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for number, item in enumerate(items):
        own = sets(item.text)
        sizes.append(len(own))
        for shingle in own:
            holders[shingle].append(number)
    best = {}
    for row in rows:
        own = sets(row.text)
        shared = Counter(number for shingle in own for number in holders.get(shingle, ()))
        scores = ((count / (len(own) + sizes[number] - count), -number) for number, count in shared.items())
        similarity, number = max(scores, default=(0.0, 0))
        best[row.id] = (similarity, items[-number].id)
    return best


def settings(folder: Path) -> list[dict[str, Any]]:
    """Stems alone, over all pairs: shingle length by what is done to the text before, at several thresholds."""
    protected = read_questions(folder, "test")
    rows = read_questions(folder, "train", "dev")
    originals = random.Random(1).sample(protected, SAMPLE)
    table = []
    for characters in (2, 3, 4, 5, 7, 13):
        for treatment in ("folded", "units", "units, ask", "units, ask, synonyms", "units, ask, particles"):
            sets = treated(characters, treatment)
            best = {
                kind: best_by([row for item in originals if (row := paraphrased(item, kind))], protected, sets)
                for kind in ("spacing", "particles", "other units", "synonyms", "all of them")
            }
            real_best = best_by(rows, protected, sets)
            for threshold in (0.3, 0.4, 0.5, 0.6, 0.7):
                hits = {(row, item) for row, (similarity, item) in real_best.items() if similarity >= threshold}
                recall = {
                    kind: sum(s >= threshold and row == f"planted/{item}" for row, (s, item) in scores.items())
                    / len(scores)
                    for kind, scores in best.items()
                }
                table.append(
                    {
                        "characters": characters,
                        "text": treatment,
                        "threshold": threshold,
                        **{kind: round(share, 3) for kind, share in recall.items()},
                        "real, same question": len(hits & SAME_PAIRS),
                        "real, another": len(hits - SAME_PAIRS),
                    }
                )
    return table


def treated(characters: int, treatment: str) -> Callable[[str], set[str]]:
    back = in_other_words({fold(other): fold(word) for word, other in KNOWN.items()})

    def sets(text: str) -> set[str]:
        if "units" in treatment:
            text = in_one_unit(text)
        if "particles" in treatment:
            text = PARTICLE.sub("", text)
        folded = fold(text)
        if "synonyms" in treatment:
            folded = back(folded, random.Random(0))
        if "ask" not in treatment:
            return windows(folded, characters)
        subject, asked = split_ask(folded)
        return windows(subject, characters) | ({f"ask {asked}"} if asked is not None else set())

    return sets


def missed(rows: Sequence[Item], items: Sequence[Item]) -> dict[str, int]:
    """Pairs of stems at least 0.5 alike that comparing all of them finds, and those that the index finds."""
    benchmark = Protected(items, THRESHOLD)
    holders: dict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(benchmark.prints):
        for shingle in one.text.tolist():
            holders[shingle].append(number)
    every, found = 0, 0
    for row in map(Fingerprint, rows):
        shared = Counter(number for shingle in row.text.tolist() for number in holders.get(shingle, ()))
        near = {n for n in shared if jaccard(row.text, benchmark.prints[n].text) >= THRESHOLD}
        every += len(near)
        found += len(near & set(benchmark.stems.near(row.text)))
    return {"all pairs": every, "found through MinHash": found}


def generated(count: int, name: str, seed: int) -> list[Item]:
    """Exam-like questions of words of the demo's, which share phrases as exam questions do."""
    rng = random.Random(seed)
    demo = read_questions(DEMO / "kormedmcqa", "train", "test")
    words = [word for item in demo for word in item.text.split()]
    choices = [choice for item in demo for choice in item.choices]
    asks = ("진단은?", "치료는?", "옳은 것은?", "에 관한 설명으로 옳은 것은?", "우선 시행할 검사는?")
    rows = [
        Item(
            f"{name}/{number}",
            " ".join([*rng.choices(words, k=rng.choice((4, 8, 12, 30, 60))), rng.choice(asks)]),
            tuple(rng.choices(choices, k=5)),
        )
        for number in range(count)
    ]
    return [replace(row, answer=row.choices[0]) for row in rows]


def rows_of(shape: str, count: int) -> list[Item]:
    """Ordinary rows, or those that would make a comparison of all pairs out of a careless index."""
    match shape:
        case "generated":
            return generated(count, "train", seed=1)
        case "one stem, other choices":
            return [replace(item, text="다음 중 옳은 것은?") for item in generated(count, "train", seed=1)]
        case "consults with answers":
            words = [word for item in read_demo_consults() for word in f"{item.text} {item.answer}".split()]
            rng = random.Random(0)
            texts = [[" ".join(rng.choices(words, k=k)) for k in (15, 40, 120)] for _ in range(count)]
            return [Item(str(n), text, context=c, answer=answer) for n, (text, c, answer) in enumerate(texts)]
        case "one text":
            return [Item(str(number), "약을 끊어도 되나요?", context="50세 여성, 고혈압.") for number in range(count)]
        case "one text, numbered":
            base = "50세 여성, 고혈압으로 암로디핀을 3년째 복용하고 있으며 두통과 어지러움이 있습니다."
            return [Item(str(n), "약을 끊어도 되나요?", context=f"{base} {n}번째 방문.") for n in range(count)]
        case "a megabyte each":
            words = [word for item in read_demo_consults() for word in f"{item.context} {item.text}".split()]
            rng = random.Random(0)
            return [Item(str(n), " ".join(rng.choices(words, k=90_000))) for n in range(count)]
    raise AssertionError(shape)


def peak_megabytes() -> int:
    """Of this process since it began (Linux; getrusage would give the peak of the parent that forked it)."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def timed(task: str, shape: str, count: int) -> dict[str, Any]:
    """One task in this process: seconds without making the rows, and the process's peak memory."""
    rows = rows_of(shape, count)
    protected = generated(3009, "test", seed=2)
    before, started = peak_megabytes(), time.perf_counter()
    if task == "find_hits":
        result = len(find_hits(rows, protected, rule="stem", threshold=THRESHOLD))
    elif task == "near_duplicates":
        result = len(near_duplicates(rows, threshold=0.7))
    else:
        result = len(clusters(rows, threshold=THRESHOLD))
    seconds = time.perf_counter() - started
    return {
        "task": task,
        "rows": count,
        "shape": shape,
        "result": result,
        "seconds": round(seconds, 2),
        "peak MB": peak_megabytes(),
        "of it rows and libraries MB": before,
    }


def crowded(count: int) -> dict[str, Any]:
    """Paraphrases of 500 of the demo-like rows behind `count` of them: what near_duplicates finds of what is there."""
    rows = generated(count, "train", seed=1)
    copies = [(item, copy) for item in rows[:500] if (copy := paraphrased(item, "all of them")) is not None]
    prints = [(Fingerprint(item), Fingerprint(copy)) for item, copy in copies]
    there = {
        copy.item.id
        for item, copy in prints
        if min(jaccard(item.stem, copy.stem), jaccard(item.choices, copy.choices)) >= THRESHOLD
    }
    hits = near_duplicates([*rows, *(copy for _, copy in copies)], threshold=THRESHOLD)
    found = {hit.row_id for hit in hits if hit.row_id == f"planted/{hit.hit_id}"}
    return {
        "rows": count,
        "planted": len(copies),
        "at least 0.5 alike": len(there),
        "of them found": len(there & found),
    }


def speed(counts: Iterable[int]) -> Iterable[dict[str, Any]]:
    runs = [(task, "generated", n) for task in ("find_hits", "near_duplicates", "clusters") for n in counts]
    runs += [("find_hits", "one stem, other choices", 10_000), ("near_duplicates", "one stem, other choices", 10_000)]
    runs += [("find_hits", "consults with answers", 10_000), ("near_duplicates", "consults with answers", 10_000)]
    runs += [("find_hits", "one text", 10_000), ("near_duplicates", "one text", 10_000)]
    runs += [
        (task, "one text, numbered", n) for task in ("near_duplicates", "clusters") for n in (5000, 10_000, 20_000)
    ]
    runs += [("find_hits", "a megabyte each", 20), ("near_duplicates", "a megabyte each", 20)]
    for task, shape, count in runs:  # each in a process of its own, whose peak is its own
        command = [sys.executable, "-m", "tests.benchmarks.decontamination", "--timed", task, shape, str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        yield json.loads(done.stdout)


def show(title: str, table: dict[str, dict[str, Any]] | Iterable[dict[str, Any]]) -> None:
    print(f"\n{title}")
    rows = [{"": name, **row} for name, row in table.items()] if isinstance(table, dict) else table
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            print(" | ".join(columns))
        print(" | ".join(str(value) for value in row.values()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", type=Path, nargs="?")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", type=int, nargs="*", default=[1000, 10_000, 30_000, 100_000])
    parser.add_argument("--timed", nargs=3, metavar=("TASK", "SHAPE", "ROWS"), help="one run of the speed table")
    asked = parser.parse_args()
    if asked.timed:
        task, shape, count = asked.timed
        print(json.dumps(timed(task, shape, int(count)), ensure_ascii=False))
        return
    consults, demo = read_demo_consults(), read_questions(DEMO / "kormedmcqa", "train", "dev", "test")
    measured: dict[str, Any] = {"cores": os.cpu_count(), "threshold": THRESHOLD}
    measured["fictional exam questions"] = planted(demo, demo)
    show("Paraphrases of the demo's exam questions against all of them", measured["fictional exam questions"])
    for threshold in (0.5, 0.6, 0.7, 0.8):
        name = f"fictional consults, {threshold}"
        measured[name] = planted_duplicates(consults, threshold)
        show(f"Paraphrases of the demo's consults, near_duplicates at {threshold}", measured[name])
    if asked.benchmark:
        test = read_questions(asked.benchmark, "test")
        measured["real exam questions"] = planted(random.Random(1).sample(test, SAMPLE), test)
        show(f"Paraphrases of {SAMPLE} test questions against all of them", measured["real exam questions"])
        measured["real"] = real(asked.benchmark)
        show("KorMedMCQA as it is", measured["real"])
        measured["repetitions"] = repetitions(asked.benchmark)
        show("Repetitions among KorMedMCQA's own questions, and planted ones", measured["repetitions"])
        measured["missed"] = missed(read_questions(asked.benchmark, "train", "dev"), test)
        show("What MinHash misses of it", {"stems": measured["missed"]})
        measured["hidden"] = hidden(test, consults)
        show("Exam questions inside consults", measured["hidden"])
        measured["settings"] = settings(asked.benchmark)
        show("Settings, stems alone", measured["settings"])
    measured["crowded"] = [crowded(count) for count in asked.rows]
    show("Paraphrases among many rows, near_duplicates at 0.5", measured["crowded"])
    measured["speed"] = []
    runs = speed(asked.rows)
    show("Speed", (measured["speed"].append(run) or run for run in runs))
    if asked.json:
        asked.json.write_text(json.dumps(measured, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
