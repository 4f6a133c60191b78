"""The rewriter on this machine: any chat model of transformers, in NF4 on a GPU, in bf16 on a CPU."""

import logging
import re
from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from stages.core.chat import END_OF_TURN, GEMMA_TEMPLATE
from stages.core.errors import KormedError
from stages.core.generation import batches, finish
from stages.core.models import from_pretrained, quantization
from stages.core.recipe import Model, Rewriter
from stages.core.rewriters import CUT_OFF, Keep, seed_of, temperature_of
from stages.core.rewriting import Pending, Reply, Rewrite, ask, hear

log = logging.getLogger("kormed")


def rewrite_locally(
    config: Rewriter, seed: int, prompt: str, consults: Sequence[Pending], done: Collection[str], keep: Keep
) -> None:
    """Batches of `batch_size` consults of like length, each asked again until all of its consults are finished.

    The batches are cut over all consults, and one that was finished in part is asked again as a whole: so a run that
    goes on says the same as one that never stopped, whatever a batch's shape does to the last bits.

    Raises:
        KormedError: the model cannot be loaded, is no chat model, or does not fit.
    """
    model = LocalModel(config, seed, prompt)
    lengths = [len(model.prompt_ids(consult)) for consult in consults]
    for batch in batches(lengths, config.batch_size):
        pending = [consults[at] for at in batch]
        if all(consult.id in done for consult in pending):
            continue
        while pending:
            states = [
                hear(consult, reply, config.tries)
                for consult, reply in zip(pending, model.answer(pending), strict=True)
            ]
            for state in states:
                if isinstance(state, Rewrite) and state.id not in done:
                    keep(state)
            pending = [state for state in states if isinstance(state, Pending)]


class LocalModel:
    """A chat model in memory and the prompt that it gets."""

    def __init__(self, config: Rewriter, seed: int, prompt: str) -> None:
        self.config, self.seed, self.prompt = config, seed, prompt
        base = Model(base=config.model, revision=config.revision, quantization=config.quantization)
        try:
            self.tokenizer = load_tokenizer(base)
            self.model = load_model(base)
        except KormedError as error:  # it names the keys of the recipe's section `model`
            raise KormedError(re.sub(r"\bmodel\.(base|quantization)", _own_key, str(error))) from None
        ends = self.model.generation_config.eos_token_id
        ids = [*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id, end_of_turn(self.tokenizer)]
        self.ends = sorted({id for id in ids if id is not None})

    def prompt_ids(self, pending: Pending) -> list[int]:
        ids: Any = self.tokenizer.apply_chat_template(
            [ask(pending, self.prompt).model_dump()], add_generation_prompt=True, return_dict=True
        )
        return list(ids["input_ids"])

    def answer(self, pending: Sequence[Pending]) -> list[Reply]:
        """A reply for each, generated together; one whose prompt is longer than the model reads gets the reason."""
        prompts = [self.prompt_ids(consult) for consult in pending]
        room = self.model.config.get_text_config().max_position_embeddings - self.config.max_new_tokens
        fits = [at for at, prompt in enumerate(prompts) if len(prompt) <= room]
        said = dict(zip(fits, self._generate([pending[at] for at in fits], [prompts[at] for at in fits]), strict=True))
        too_long = "the prompt has {} tokens, the model takes {} beside its answer"
        return [said.get(at) or Reply("", too_long.format(len(prompt), room)) for at, prompt in enumerate(prompts)]

    def _generate(self, pending: Sequence[Pending], prompts: Sequence[list[int]]) -> list[Reply]:
        if not pending:
            return []
        padded = self.tokenizer.pad({"input_ids": list(prompts)}, padding_side="left", return_tensors="pt")
        settings = GenerationConfig(
            max_new_tokens=self.config.max_new_tokens,
            do_sample=False,
            eos_token_id=self.ends,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        temperature = temperature_of(self.config, pending[0])  # a batch is at one try
        noise = [GumbelNoise([seed_of(self.seed, one) for one in pending], temperature)] if temperature else []
        try:
            with torch.inference_mode():
                output = self.model.generate(
                    **padded.to(self.model.device),
                    generation_config=settings,
                    logits_processor=LogitsProcessorList(noise),
                )
        except torch.OutOfMemoryError:
            raise KormedError(
                f"{self.config.model}: {len(pending)} consults at once do not fit into the GPU's memory; set "
                f"restructure.rewriter.batch_size below {self.config.batch_size}; what was finished is kept"
            ) from None
        width = padded["input_ids"].shape[1]
        found = [finish(self.tokenizer, at, row, self.ends) for at, row in enumerate(output[:, width:].tolist())]
        return [Reply(one.text, None if one.finished else CUT_OFF) for one in found]


def _own_key(found: re.Match[str]) -> str:
    return "restructure.rewriter." + {"base": "model", "quantization": "quantization"}[found[1]]


class GumbelNoise(LogitsProcessor):
    """Sampling with a generator for each row: the largest of logits/temperature + Gumbel noise is a draw from the
    softmax (arXiv 1411.0030), and a row's draws do not depend on what else is in its batch.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.seeds, self.temperature = seeds, temperature
        self.generators: list[torch.Generator] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        if not self.generators:
            self.generators = [torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds]
        shape = scores.shape[1:]
        draws = [torch.rand(shape, generator=own, device=scores.device) for own in self.generators]
        noise = -torch.log(-torch.log(torch.stack(draws).clamp(1e-20, 1 - 1e-7)))
        return scores.float() / self.temperature + noise


def load_tokenizer(base: Model) -> Tokenizer:
    """Any chat model's tokenizer; a pretrained Gemma's gets Gemma's own template.

    Raises:
        KormedError: it is not there, is gated, or has no chat template.
    """
    tokenizer: Tokenizer = from_pretrained(AutoTokenizer, base, padding_side="left")
    if not tokenizer.chat_template and end_of_turn(tokenizer) is None:
        raise KormedError(f"{base.base}: no chat template in its tokenizer; a chat model was wanted (model.base)")
    if not tokenizer.chat_template:
        log.info("restructure: %s has no chat template, so it gets Gemma's", base.base)
        tokenizer.chat_template = GEMMA_TEMPLATE
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def end_of_turn(tokenizer: Tokenizer) -> int | None:
    """The id of Gemma's `<end_of_turn>`; None in another model's tokenizer."""
    found = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    return found if isinstance(found, int) and found != tokenizer.unk_token_id else None


def load_model(base: Model) -> Any:
    """The model in NF4 (QLoRA, arXiv 2305.14314) on a GPU, in bf16 on a CPU."""
    options: dict[str, Any] = {"dtype": torch.bfloat16, "use_safetensors": True}
    if quantization(base) == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    if torch.cuda.is_available():
        options["device_map"] = {"": torch.cuda.current_device()}
    config = from_pretrained(AutoConfig, base).get_text_config()
    if getattr(config, "attn_logit_softcapping", None):  # Gemma 2's; only eager heeds it (transformers#32309)
        options["attn_implementation"] = "eager"
    model = from_pretrained(AutoModelForCausalLM, base, **options).train(False)
    # As in models.Loaded: packed, the last position costs no copy of the vocabulary matrix for each prompt on a CPU.
    model.get_output_embeddings().register_forward_pre_hook(lambda _, hidden: (hidden[0].contiguous(),))
    return model
