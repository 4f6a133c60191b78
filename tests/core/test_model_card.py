"""model_card: what the hub reads are the numbers of the table, and nothing is claimed that the run does not know."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from stages.core import chat, eda, findings, model_card, preference_side
from stages.core.artifacts import Manifest
from stages.core.findings import Evaluation, LabelLengths, Labels, Settings, Winrate
from stages.core.pipeline import Run
from stages.core.preference_side import Accuracy
from stages.core.records import LETTERS, Answer, Checkpoint, Example

GIBIBYTE = 2**30
SUBSETS = ("doctor", "nurse")
TEXT = "이 문장은 모델의 답변입니다"  # must stand in no card
ADAPTER = "adapter_model.safetensors"


def evaluation(checkpoint: Checkpoint, right: int, **changes: Any) -> Evaluation:
    """40 questions a subset; of each the first `right` are answered right, the last five without a letter."""
    settings = {
        "task": "kormedmcqa",
        "task_version": 3.0,
        "fewshot": 5,
        "chat_template": True,
        "fewshot_as_multiturn": False,
        "limit": None,
        "max_gen_toks": None,
        "base": "google/gemma-2-2b-it",
        "base_fingerprint": "0011",
        "dtype": "bfloat16",
        "quantization": "nf4",
        "lm_eval": "0.4.13",
        "letters_as": LETTERS,
    }
    answers = {}
    for subset in SUBSETS:
        for number in range(40):
            extracted = "[invalid]" if number >= 35 else "A" if number < right else "B"
            answers[(subset, f"hash-{number}", number)] = Answer(
                subset=subset,
                doc_id=number,
                doc_hash=f"hash-{number}",
                target="A",
                text=TEXT,
                extracted=extracted,
                correct=extracted == "A",
                letters=(0.0, -1.0, -2.0, -3.0, -4.0) if number < right else (-1.0, 0.0, -2.0, -3.0, -4.0),
                read=None if extracted == "[invalid]" else extracted,
            )
    return Evaluation(
        checkpoint, Path("nowhere"), Settings.model_validate(settings | changes), answers, {}, "1 x NVIDIA H100"
    )


def manifest(stage: str, config: dict[str, Any] | None = None, **said: Any) -> Manifest:
    recorded: dict[str, Any] = {"gpus": 1, "gpu_seconds": 3600.0, "peak_memory": 21 * GIBIBYTE, "peak_memory_of": "gpu"}
    return Manifest(
        stage=stage,
        config=config or {"seed": 42},
        inputs={},
        content=f"content-of-{stage}",
        files={ADAPTER: f"weights-of-{stage}"},
        metrics={},
        seconds=3600.0,
        finished_at="2026-05-04T10:20:30+00:00",
        commit="0123456789abcdef0123456789abcdef01234567",
        libraries={"trl": "1.16.0"},
        device="1 x NVIDIA H100",
        **(recorded | said),
    )


def labels(annotators: Sequence[str]) -> Labels:
    return Labels(
        responses={"submitted": 40},
        values={"a": 30, "b": 10},
        annotators={name: {"submitted": 20} for name in annotators},
        comparisons=25,
        labelled=25,
        kept=22,
        dropped={"tie": 3},
        agreement=0.8,
        adjudicated=0,
        lengths=LabelLengths(chosen_longer=11, rejected_longer=11, equal=0, p=1.0, warning=None),
        unsafe=0,
    )


def card(
    checkpoint: model_card.Tuned,
    *,
    annotators: Sequence[str] = ("kim", "lee"),
    right: tuple[int, ...] = (10, 20, 22),
    prepare: dict[str, Any] | None = None,
    consults: int = 3,
    winrate: Winrate | None = None,
    heldout: Accuracy | None = None,
    **changes: Any,
) -> str:
    names: tuple[Checkpoint, ...] = ("base", "sft", "dpo")
    evaluations = [evaluation(name, count, **changes) for name, count in zip(names, right, strict=False)]
    rows = [
        Example(id=f"{source}-{n}", question="가" * 30, instruction=instruction, answer=answer, source=source)
        for source, instruction, answer, count in (
            ("kormedmcqa/doctor", chat.EXAM_INSTRUCTION, "A", 12),
            ("consult", chat.CONSULT_INSTRUCTION, "진료를 받으세요.", consults),
        )
        for n in range(count)
    ]
    stages = ["sft", "candidates", "preferences", "dpo", *(f"evaluate/{name}" for name in names)]
    data = {"benchmark": "sean0042/KorMedMCQA", "benchmark_revision": "abc123", "decontaminate": "stem"}
    return model_card.render(
        checkpoint,
        name="trial",
        heldout=heldout,
        evaluations=evaluations,
        rows=findings.rows(evaluations),
        contrasts=findings.contrasts(evaluations),
        artifacts=[manifest("prepare", data | (prepare or {})), *map(manifest, stages)],
        eda=eda.Eda(
            benchmark={"doctor": {"train": 20, "dev": 5, "test": 40, "fewshot": 5}},
            consult_parts={"sft": consults, "preference": 25, "heldout": 5},
            flow=(),
            lengths=tuple(eda.measure(rows, None)),
            letters=eda.letters(rows),
            tokenizer=None,
            tokens_missing=None,
        ),
        dropped=[],
        epochs=2.0,
        labels=labels(annotators) if len(right) > 2 else None,
        pairs=(20, 2) if len(right) > 2 else None,
        winrate=winrate,
    )


def read(text: str) -> ModelCardData:
    """The metadata as the hub's own reader finds it."""
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    return data


def results(text: str) -> dict[str | None, EvalResult]:
    """By subset; None: all of them."""
    found = read(text).eval_results
    assert found is not None
    return {one.dataset_config: one for one in found}


def table(text: str) -> dict[str, list[str]]:
    """The percentages in the first table of the results, by subset."""
    body = text.split("## Results", 1)[1].split("Task kormedmcqa", 1)[0]
    lines = re.findall(r"^\| (\w+) \(\d+\) \|(.*)\|$", body, re.MULTILINE)
    return {name: [cell.split(" %")[0].strip() for cell in cells.split("|")] for name, cells in lines}


@pytest.mark.parametrize(("checkpoint", "column"), [("sft", 1), ("dpo", 2)])
def test_what_the_hub_reads_are_the_numbers_of_the_table(checkpoint: model_card.Tuned, column: int) -> None:
    text = card(checkpoint)
    found, shown = results(text), table(text)
    assert shown.keys() == {*SUBSETS, "all"}
    for name, percent in shown.items():
        one = found[None if name == "all" else name]
        assert f"{one.metric_value:.2f}" == percent[column]
        assert one.verified is False
        assert (one.metric_type, one.dataset_type, one.dataset_split) == ("accuracy", "sean0042/KorMedMCQA", "test")
        assert one.dataset_revision == "abc123"
        assert one.dataset_args is not None
        assert one.dataset_args["num_few_shot"] == 5
        assert one.task_name == "kormedmcqa 3.0 of lm-eval 0.4.13"


def test_the_metadata_comes_back_as_it_was_written() -> None:
    data = read(card("dpo"))
    assert data.model_name == "trial-dpo"
    assert data.base_model == "google/gemma-2-2b-it"
    assert (data.language, data.library_name, data.pipeline_tag) == ("ko", "peft", "text-generation")
    assert data.datasets == ["sean0042/KorMedMCQA"]
    assert {"lora", "dpo", "medical"} <= set(data.tags or [])
    assert data.license == "gemma"


def test_the_card_of_sft_knows_nothing_of_dpo() -> None:
    text = card("sft", annotators=["simulated-1"])
    assert [len(percent) for percent in table(text).values()] == [2, 2, 2]
    assert "→ DPO" not in text
    assert "Simulated" not in text
    assert "content-of-dpo" not in text
    assert "weights-of-sft" in text


def test_a_run_without_preferences_has_a_card_of_sft() -> None:
    text = card("sft", right=(10, 20))
    assert "SFT got 50.00 % of 80 questions right against base's 25.00 %: better" in text
    assert "comparisons of the run" not in text


def test_what_was_not_shown_is_not_said_to_be_better() -> None:
    text = card("dpo", right=(10, 11, 12))
    assert "DPO got 30.00 % of 80 questions right against base's 25.00 %: no difference shown" in text
    assert "better (p" not in text


def test_simulated_annotators_are_said_at_the_top_and_nobody_is_named() -> None:
    text = card("dpo", annotators=["simulated-1", "simulated-2", "kim"])
    opening = text.split("## How to load it")[0]
    assert "> **Some annotators are simulated" in opening
    assert "1 annotator and 2 simulated annotators gave 40 responses" in text
    assert "kim" not in text
    assert "simulated" not in card("dpo").casefold()


def test_no_answer_stands_in_the_card() -> None:
    assert TEXT not in card("sft") + card("dpo")


def test_of_a_base_in_a_folder_the_card_tells_the_name_and_asks_for_the_hub_id(tmp_path: Path) -> None:
    folder = tmp_path / "gemma-3-270m"
    folder.mkdir()
    text = card("sft", base=str(folder), prepare={"benchmark": str(tmp_path / "exam")})
    data = read(text)
    assert (data.base_model, data.datasets, data.license) == (None, None, "gemma")
    assert str(tmp_path) not in text
    assert "taken from a folder named gemma-3-270m (fingerprint 0011)" in text
    assert "Its exam questions came from a folder named exam. If they are KorMedMCQA's" in text
    assert {one.dataset_type for one in results(text).values()} == {"exam"}


@pytest.mark.parametrize("base", ["models/gemma-3-270m", "../gemma-3-270m", "/somewhere/gemma-3-270m"])
def test_a_folder_is_never_taken_for_a_model_on_the_hub(base: str) -> None:
    assert model_card.hub_id(base) is None
    assert model_card.shareable(base) == "gemma-3-270m"


@pytest.mark.parametrize(("base", "licence"), [("google/gemma-2-9b-it", "gemma"), ("someone/another-base", None)])
def test_the_licence_is_said_only_where_the_base_tells_it(base: str, licence: str | None) -> None:
    text = card("sft", base=base)
    assert read(text).license == licence
    assert ("Gemma Terms of Use" in text) == (licence is not None)
    assert "CC BY-NC 2.0" in text
    assert "for their owner to decide" in text
    assert "owner to decide" not in card("sft", consults=0)


def test_form_is_told_from_knowledge_where_the_numbers_tell_them_apart() -> None:
    text = card("sft")
    assert "found no letter in 12.5 % of base's answers and in 12.5 % of SFT's; such an answer counts as wrong." in text
    assert "By the likeliest letter, which needs no form, base got 25.00 %" in text
    assert "part of a gain" not in text


def test_preferences_and_cost_and_limits_follow_the_numbers() -> None:
    heldout = preference_side.accuracy([f"consult-{n}" for n in range(20)], [1.0] * 15 + [-1.0] * 5)
    text = card("dpo", heldout=heldout)
    assert "15 of 20 held-out preferences: 75.0 % (95 % interval 53.1–88.8 %), where 50 % is chance" in text
    assert "Trained on 20 preferences for 2 epochs." in text
    assert "took 8.0 GPU hours on 1 x NVIDIA H100; the largest peak was 21.0 GiB (prepare)." in text
    assert "not a medical device" in text
    assert "The sample is small: with 80 questions" in text
    assert "were counted and not dropped" in card("dpo", prepare={"decontaminate": "report"})
    assert "like one in the question alone stayed" in card("dpo", prepare={"decontaminate": "stem_and_choices"})
    assert "were not de-identified by kormed" in card("dpo", prepare={"deidentify": False})


def test_what_was_measured_on_a_part_of_the_questions_says_so_to_the_hub() -> None:
    args = results(card("sft", limit=40))["nurse"].dataset_args
    assert args is not None
    assert (args["limit"], args["questions"]) == (40, 40)
    assert "limit" not in (results(card("sft"))["nurse"].dataset_args or {})


def test_the_code_in_the_card_runs_without_a_network(
    tiny_run: Run, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = card("sft", base=str(tiny_base))
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for said, real in (
        (f'"path/to/{tiny_base.name}"', repr(str(tiny_base))),
        ('"path/to/adapter"', repr(str(tiny_run.path("sft")))),
        ("max_new_tokens=256", "max_new_tokens=4"),
    ):
        assert code.count(said) == 1
        code = code.replace(said, real)
    names: dict[str, Any] = {}
    exec(code, names)
    asked = names["tokenizer"].decode(names["inputs"]["input_ids"][0])
    assert asked.startswith("<bos><start_of_turn>user\n" + chat.CONSULT_INSTRUCTION)
    assert asked.count("<bos>") == 1
    assert names["written"].shape[1] > names["inputs"]["input_ids"].shape[1]
    assert capsys.readouterr().out.endswith("\n")
    trained = [name for name, _ in names["model"].named_parameters() if "lora_B" in name]
    assert any(names["model"].get_parameter(name).abs().sum() > 0 for name in trained)


def test_the_prompt_in_the_code_is_the_one_that_the_chat_template_makes(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    (code,) = re.findall(r"(question = .*?)inputs =", card("sft"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.chat_template = chat.GEMMA_TEMPLATE
    messages = [message.model_dump() for message in chat.consult_prompt(names["question"], "")]
    made = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert f"<bos>{names['prompt']}" == made
