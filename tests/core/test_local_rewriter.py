from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stages.core.errors import KormedError
from stages.core.local_rewriter import GumbelNoise, LocalModel, rewrite_locally
from stages.core.recipe import Rewriter
from stages.core.rewriting import CONSULT, PROBLEMS, Pending, Rewrite
from tests.tiny_gemma import write_tiny_gemma

PROMPT = f"질문을 정리하세요.\n{CONSULT}\n{PROBLEMS}"
CONSULTS = [
    Pending(f"c-{at}", f"{20 + at}세 남자입니다. AST {100 + at} 나왔어요. " + "술을 끊을까요? " * at, "made")
    for at in range(5)
]


@pytest.fixture
def local(tiny_base: Path) -> Rewriter:
    return Rewriter(kind="local", model=str(tiny_base), quantization="none", max_new_tokens=12, batch_size=2, tries=3)


def rewrite(config: Rewriter, done: tuple[str, ...] = ()) -> list[Rewrite]:
    kept: list[Rewrite] = []
    rewrite_locally(config, 7, PROMPT, CONSULTS, done, kept.append)
    return kept


def test_a_model_that_cannot_rewrite_has_every_try_rejected_with_its_reason(local: Rewriter) -> None:
    kept = rewrite(local)
    assert sorted(row.id for row in kept) == [consult.id for consult in CONSULTS]
    for row in kept:
        assert (row.question, row.tries, len(row.rejections)) == (None, 3, 3)
        assert all(one.reason for one in row.rejections)
        assert row.rejections[1].reply != row.rejections[2].reply  # each try draws with its own seed


def test_a_run_that_goes_on_in_the_middle_of_a_batch_says_what_a_whole_one_says(local: Rewriter) -> None:
    whole = rewrite(local)
    rest = rewrite(local, done=tuple(row.id for row in whole[:3]))  # one batch, and half of the next
    assert rest == whole[3:]


def test_the_draws_of_a_row_do_not_depend_on_its_batch() -> None:
    scores = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together, alone = GumbelNoise([1, 2, 3], 0.5), GumbelNoise([2], 0.5)
    ids = torch.zeros(3, 1, dtype=torch.long)
    for _ in range(3):
        assert torch.equal(together(ids, scores)[1], alone(ids[1:2], scores[1:2])[0])


def test_noise_samples_from_the_softmax_at_the_temperature() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0]])
    noise = GumbelNoise([1], 0.7)
    ids = torch.zeros(1, 1, dtype=torch.long)
    drawn = torch.tensor([int(noise(ids, scores).argmax()) for _ in range(4000)])
    shares = torch.bincount(drawn, minlength=3) / 4000
    assert torch.allclose(shares, torch.softmax(scores[0] / 0.7, dim=0), atol=0.03)  # 4 standard errors


def test_a_consult_longer_than_the_model_reads_is_rejected_and_the_others_are_asked(local: Rewriter) -> None:
    model = LocalModel(local, 7, PROMPT)
    long, short = model.answer([Pending("long", "머리가 아파요 " * 2000, "made"), CONSULTS[0]])
    assert long.problem is not None and "the model takes 2036 beside its answer" in long.problem
    assert long.text == ""
    assert short.problem is None or "the model takes" not in short.problem


def test_a_model_that_is_not_there_is_named_with_its_key(local: Rewriter, tmp_path: Path) -> None:
    with pytest.raises(KormedError, match=r"no config.json in it.*\(restructure.rewriter.model\)"):
        rewrite(local.model_copy(update={"model": str(tmp_path)}))


def test_a_model_without_chat_template_that_is_no_gemma_is_refused(local: Rewriter, tmp_path: Path) -> None:
    write_tiny_gemma(tmp_path, ["두통"])
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<eos>").save_pretrained(tmp_path)
    with pytest.raises(KormedError, match=r"no chat template.*restructure.rewriter.model"):
        rewrite(local.model_copy(update={"model": str(tmp_path)}))
