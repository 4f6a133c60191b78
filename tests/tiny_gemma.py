"""A Gemma 2 small enough for tests: real architecture and tokenizer form, random weights, about 0.4 M parameters."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from stages.core.recipe import Lora

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
ALPHABET = 900  # letters at most
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def write_tiny_gemma(folder: Path, texts: Iterable[str], seed: int = 0, head_dim: int = 16) -> Path:
    """Save model and tokenizer (a BPE over `texts` with byte fallback, as Gemma's is) to `folder`."""
    tokenizer = tiny_tokenizer(texts)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        query_pre_attn_scalar=head_dim,
        sliding_window=128,
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    torch.manual_seed(seed)
    Gemma2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def with_adapter(base: PreTrainedModel, dropout: float = 0.0) -> PeftModel:
    """The base in training with a LoRA adapter on every linear layer that is not zero, and always the same."""
    torch.manual_seed(1)
    model = get_peft_model(base, LoraConfig(r=8, lora_dropout=dropout, target_modules=list(Lora().targets)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model.train()


def tiny_tokenizer(texts: Iterable[str], tokens: int = 1500) -> PreTrainedTokenizerFast:
    """The same for the same texts: of letters that are equally frequent the trainer itself keeps any."""
    texts = list(texts)
    counts = Counter(letter for text in texts for letter in text.replace(" ", "▁"))
    alphabet = sorted(counts, key=lambda letter: (-counts[letter], letter))[:ALPHABET]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=tokens, limit_alphabet=len(alphabet), initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    vocabulary = {token: at for at, token in enumerate([*SPECIAL, *BYTES])}
    for token in sorted(learned["vocab"], key=learned["vocab"].get):
        vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    # Gemma's tokenizer puts a BOS before every text, which is how a chat template's own BOS becomes a second one.
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=["<start_of_turn>", "<end_of_turn>"],
    )
