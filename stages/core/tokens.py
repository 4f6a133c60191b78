"""Counting tokens with a base's tokenizer alone, which needs no torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


class NoTokenizer(Exception):
    """The tokenizer cannot be read here; the message says why. Token counts are then left out, nothing else."""


def counter(base: str, revision: str | None) -> Callable[[Sequence[str]], list[int]]:
    """A function that gives the number of tokens of each text, special tokens not counted.

    Raises:
        NoTokenizer: no such folder, or the hub does not give it (offline, gated).
    """
    tokenizer = Tokenizer.from_file(str(_file(base, revision)))
    tokenizer.no_truncation()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return count


def _file(base: str, revision: str | None) -> Path:
    local = Path(base) / TOKENIZER
    if local.is_file():
        return local
    if Path(base).is_dir() or base.startswith((".", "/")) or base.count("/") != 1 or Path(base).parent.is_dir():
        raise NoTokenizer(f"no {TOKENIZER} in {base}")
    cached = try_to_load_from_cache(base, TOKENIZER, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(base, TOKENIZER, revision=revision))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise NoTokenizer(f"{base}: {' '.join(str(error).split())[:200]}") from None
