"""sft: instruction rows in, LoRA adapter out (QLoRA on a GPU), the loss on the answer only.

Writes the adapter, `base.json` (which base it stands on), `log.jsonl` (a row a step) and `dropped.jsonl` (rows longer
than `max_length` tokens). A stopped run goes on from its last checkpoint.
"""

import logging
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import PreTrainedTokenizerBase as Tokenizer
from trl import SFTConfig, SFTTrainer

from stages.core import artifacts, chat, models, sharding, training
from stages.core.errors import KormedError
from stages.core.recipe import Sft
from stages.core.records import Example, read_jsonl, write_jsonl

log = logging.getLogger("kormed")


def run(config: Sft, out: Path, *, prepare: Path) -> dict[str, float]:
    models.release()
    tokenizer = models.load_tokenizer(config.model)
    fitting = training.rows_that_fit(
        read_jsonl(prepare / "train.jsonl", Example),
        texts=lambda example: [(chat.example_prompt(example), chat.reply(example.answer))],
        id=lambda example: example.id,
        tokenizer=tokenizer,
        max_length=config.max_length,
    )
    examples, dropped = fitting.rows, fitting.dropped
    if artifacts.keeps_books():
        write_jsonl(out / "dropped.jsonl", dropped)
    if not examples:
        raise KormedError(f"{prepare}: none of {len(dropped)} rows fits sft.max_length={config.max_length}; raise it")
    log.info("sft: %d rows, %d dropped as longer than %d tokens", len(examples), len(dropped), config.max_length)
    training.preflight("sft", config, fitting.lengths)
    trainer = make_trainer(config, out, Dataset.from_list([row(example) for example in examples]), tokenizer)
    metrics = training.train(trainer, "sft", out)
    weights = sharding.whole_adapter(trainer.model_wrapped)  # by all processes, before rank 0 saves
    trainer.accelerator.wait_for_everyone()  # of several processes one alone writes from here on
    if artifacts.keeps_books():
        models.save_adapter(trainer.model, out, config.model, weights)
        training.drop_checkpoints(out)
    return metrics | {"rows": len(examples), "dropped": len(dropped)}


def make_trainer(config: Sft, out: Path, rows: Dataset, tokenizer: Tokenizer) -> SFTTrainer:
    """A trainer of a fresh LoRA adapter on the base, ready to run."""
    packed = config.pack_tokens is not None
    arguments = training.arguments(config, out)
    if packed:
        arguments["max_length"] = config.pack_tokens
    training.score_answers_only()
    trainer = SFTTrainer(
        model=models.load_base(config.model, sharding.shards(config)),
        args=sharding.on_one_gpu(
            SFTConfig(**arguments, completion_only_loss=True, packing=packed, packing_strategy="bfd")
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config.lora.r,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=list(config.lora.targets),
            task_type="CAUSAL_LM",
        ),
    )
    training.train_in_float32(trainer)
    if sharding.shards(config):
        sharding.prepare_sharding(trainer)
    # Packs are full but for the last ones, so one length is all there is to compile.
    length = config.pack_tokens * config.batch_size if config.pack_tokens else None
    training.speed_up(trainer, config, length)
    return trainer


def row(example: Example) -> dict[str, object]:
    """TRL's conversational prompt/completion form."""
    return {
        "prompt": [message.model_dump() for message in chat.example_prompt(example)],
        "completion": [message.model_dump() for message in chat.reply(example.answer)],
    }
