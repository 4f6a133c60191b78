"""Several runs on the same exam: whether they may stand beside each other, and the paired tests between them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stages.core import findings
from stages.core.errors import KormedError
from stages.core.findings import NUMERIC, Evaluation
from stages.core.statistics import PairedTest, paired_tests
from stages.core.wording import NAMES, differing

# What a difference of makes two accuracies figures of different exams. The base may differ between runs, and prompts
# are looked at subset by subset.
SAME = tuple(name for name in findings.SAME if name not in ("base", "base_fingerprint"))
SETTABLE = ("fewshot", "chat_template", "limit", "max_gen_toks")  # of a recipe's section evaluate


@dataclass(frozen=True)
class Exam:
    """One run's evaluated checkpoints, at least one, in the order base, SFT, DPO.

    `label`: its number in the tables. `recipe`: as the user would type it in a command.
    """

    label: str
    name: str
    recipe: str
    evaluations: tuple[Evaluation, ...]

    def of(self, checkpoint: str) -> Evaluation | None:
        return next((one for one in self.evaluations if one.checkpoint == checkpoint), None)

    def named(self, evaluation: Evaluation) -> str:
        return f"{self.label} {NAMES[evaluation.checkpoint]}"

    @property
    def subsets(self) -> set[str]:
        return {answer.subset for answer in self.evaluations[0].answers.values()}

    @property
    def best(self) -> Evaluation:
        """The checkpoint with most right answers; of equal ones the earlier."""
        return max(self.evaluations, key=lambda one: sum(answer.correct for answer in one.answers.values()))


@dataclass(frozen=True)
class Between:
    """A later run's checkpoint against one of the first run's, on the same questions.

    `overall` is corrected (Holm) over all such tests of the table; `by_subset` over the subsets. `of_the_best`: the two
    were chosen because they have most right answers, which flatters both.
    """

    before: str
    after: str
    overall: PairedTest
    by_subset: dict[str, PairedTest]
    of_the_best: bool = False


# What may stand beside each other


def only(exam: Exam, subsets: Sequence[str]) -> Exam:
    """The run's answers to some subsets alone.

    Raises:
        KormedError: a subset was not asked.
    """
    if missing := [subset for subset in subsets if subset not in exam.subsets]:
        raise KormedError(
            f"--subset {missing[0]}: {exam.name} was not asked it; it was asked {', '.join(sorted(exam.subsets))}"
        )
    return replace(
        exam,
        evaluations=tuple(
            replace(one, answers={key: answer for key, answer in one.answers.items() if answer.subset in subsets})
            for one in exam.evaluations
        ),
    )


def require_same_exam(exams: Sequence[Exam]) -> None:
    """Every run was asked the same questions in the same way as the first. Within a run that is already so.

    Raises:
        KormedError: names what differs, in which two runs, and the way out.
    """
    for exam in exams[1:]:
        _require_same_way(exams[0], exam)
        _require_same_subsets(exams[0], exam)
        _require_same_prompts(exams[0], exam)
        _require_same_questions(exams[0], exam)


def _require_same_way(first: Exam, other: Exam) -> None:
    was, now = first.evaluations[0].settings, other.evaluations[0].settings
    differing = [name for name in SAME if getattr(was, name) != getattr(now, name)]
    if not differing:
        return
    said = "; ".join(
        f"{name} is {_value(getattr(was, name))} in {first.name} and {_value(getattr(now, name))} in {other.name}"
        for name in differing
    )
    sets = [f" --set evaluate.{name}={_value(getattr(was, name))}" for name in differing if name in SETTABLE]
    way = (
        f"give both recipes the same section evaluate and evaluate one again, for example "
        f"`kormed evaluate {other.recipe}{''.join(sets)} --force`"
        if len(sets) == len(differing)
        else "evaluate both again with one kormed (`kormed evaluate RECIPE --force`)"
    )
    raise KormedError(f"{other.name} cannot be compared with {first.name}: {said}; {way}")


def _value(setting: object) -> str:
    """As a recipe has it."""
    match setting:
        case None:
            return "null"
        case bool():
            return str(setting).lower()
    return str(setting)


def _require_same_subsets(first: Exam, other: Exam) -> None:
    for one, another in ((first, other), (other, first)):
        if missing := sorted(one.subsets - another.subsets):
            both = sorted(one.subsets & another.subsets)
            way = (
                f"compare what both were asked with {' '.join(f'--subset {subset}' for subset in both)}"
                if both
                else "they have no subset in common (prepare.subsets)"
            )
            raise KormedError(f"{another.name} was not asked {', '.join(missing)}, and {one.name} was; {way}")


def _require_same_prompts(first: Exam, other: Exam) -> None:
    was, now = first.evaluations[0].settings, other.evaluations[0].settings
    if was.prompts is None or now.prompts is None:
        return
    differing = [subset for subset in sorted(first.subsets) if was.prompts.get(subset) != now.prompts.get(subset)]
    if not differing:
        return
    template = (
        "their bases differ, and so may their chat templates: with evaluate.chat_template=false both get the same text"
        if was.chat_template and was.base_fingerprint != now.base_fingerprint
        else "prepare both from the same benchmark, with one version of the libraries, and evaluate again "
        "(`kormed evaluate RECIPE --force`)"
    )
    raise KormedError(
        f"{other.name} cannot be compared with {first.name}: what was put to them differs in {', '.join(differing)}, "
        f"although few-shot count and template setting are the same (few-shot examples, their order, or the template's "
        f"text); {template}"
    )


def _require_same_questions(first: Exam, other: Exam) -> None:
    before, after = first.evaluations[0].answers, other.evaluations[0].answers
    way = (
        "both need the same benchmark (prepare.benchmark); mend the one that is wrong and evaluate it again "
        "(`kormed evaluate RECIPE --force`)"
    )
    alone = sorted(before.keys() ^ after.keys())
    if alone:
        subset, _, doc_id = alone[0]
        raise KormedError(
            f"{other.name} cannot be compared with {first.name}: {len(alone)} questions do not pair (first: question "
            f"{doc_id} of {subset}), so they were not asked the same; {way}"
        )
    for key, answer in after.items():
        if answer.target != before[key].target:
            raise KormedError(
                f"{other.name} cannot be compared with {first.name}: the right answer to question {answer.doc_id} of "
                f"{answer.subset} is {answer.target} there and {before[key].target} here; {way}"
            )


# What differs and is said


def unchecked_prompts(exams: Sequence[Exam]) -> list[str]:
    """Names of the runs that were evaluated before prompts were recorded."""
    return [exam.name for exam in exams if exam.evaluations[0].settings.prompts is None]


def uneven(exams: Sequence[Exam]) -> list[str]:
    """What is not the same for all runs, or within one, and may move single answers, in words."""
    found = [f"in {exam.label}, {differing(one)}" for exam in exams for one in findings.uneven(exam.evaluations)]
    for name in ("base", *NUMERIC, "device"):
        values = [_of_first(exam, name) for exam in exams]
        if len(set(values)) > 1:
            listed = ", ".join(f"{value} for {exam.label}" for exam, value in zip(exams, values, strict=True))
            then = ", so a difference between these runs is not of training alone" if name == "base" else ""
            found.append(f"{name.replace('lm_eval', 'lm-eval')} differs: {listed}{then}")
    return found


def _of_first(exam: Exam, name: str) -> str:
    first = exam.evaluations[0]
    return first.device if name == "device" else str(getattr(first.settings, name))


def is_same_base(one: Evaluation, other: Evaluation) -> bool:
    """By its weights where both evaluations recorded them, otherwise by its name."""
    was, now = one.settings, other.settings
    if was.base_fingerprint is None or now.base_fingerprint is None:
        return was.base == now.base
    return was.base_fingerprint == now.base_fingerprint


def differing_texts(one: Evaluation, other: Evaluation) -> int:
    """How many answers to the same questions are not the same text."""
    return sum(answer.text != other.answers[key].text for key, answer in one.answers.items())


def shared_bases(exams: Sequence[Exam]) -> list[list[Exam]]:
    """Runs whose base is the same and gave the same answers, grouped; a run without an evaluated base is in none."""
    groups: list[list[Exam]] = []
    for exam in exams:
        base = exam.of("base")
        if base is None:
            continue
        for group in groups:
            other = group[0].of("base")
            if other is not None and is_same_base(other, base) and not differing_texts(other, base):
                group.append(exam)
                break
        else:
            groups.append([exam])
    return groups


def restless_bases(exams: Sequence[Exam]) -> list[str]:
    """Where the same base answered otherwise in another run: how much moves without any training, in words."""
    groups = shared_bases(exams)
    found = []
    for at, group in enumerate(groups):
        base = group[0].of("base")
        for other in groups[:at]:
            before = other[0].of("base")
            if base is not None and before is not None and is_same_base(before, base):
                found.append(
                    f"{other[0].name} and {group[0].name} have the same base, and {differing_texts(before, base)} of "
                    f"{len(base.answers):,} answers of it differ in their text: so much moves by the way of computing "
                    f"(batches, dtype, libraries, device), without any training"
                )
                break
    return found


# Tests


def tests(exams: Sequence[Exam]) -> list[Between]:
    """Every checkpoint of a later run against the same one of the first, and best against best where that is another
    pair. Where all answers are the same there is nothing to test.
    """
    first = exams[0]
    pairs = []
    for exam in exams[1:]:
        for after in exam.evaluations:
            before = first.of(after.checkpoint)
            if before is not None and differing_texts(before, after):
                pairs.append((before, exam, after, False))
        if first.best.checkpoint != exam.best.checkpoint:
            pairs.append((first.best, exam, exam.best, True))
    contrasts = [findings.contrasts([before, after])[0] for before, _, after, _ in pairs]
    overall = paired_tests([(one.overall.questions, one.overall.gained, one.overall.lost) for one in contrasts])
    return [
        Between(first.named(before), exam.named(after), test, contrast.by_subset, of_the_best)
        for (before, exam, after, of_the_best), contrast, test in zip(pairs, contrasts, overall, strict=True)
    ]


def untested(exams: Sequence[Exam]) -> list[str]:
    """Checkpoints of later runs that no test speaks of, and why, in words. A shared base is not among them."""
    first, found = exams[0], []
    for exam in exams[1:]:
        for after in exam.evaluations:
            before, what = first.of(after.checkpoint), exam.named(after)
            if before is None:
                like = NAMES[after.checkpoint]
                found.append(f"{what} is not tested against its like: {first.name} has no evaluated {like}")
            elif not differing_texts(before, after) and not (
                after.checkpoint == "base" and is_same_base(before, after)
            ):
                found.append(f"{what} gave the same answers as {first.named(before)}, word for word")
    return found
