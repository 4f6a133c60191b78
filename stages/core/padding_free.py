"""Training without padding: a batch's rows stand in one sequence, and attention is kept apart by row.

`remove_padding` wraps a Gemma's decoder. What goes in (padded rows with their attention mask, or rows packed into one
sequence with position ids that begin anew at each row) and what comes out keep their shapes, so the trainer above and
its loss are the same; only what is computed in between is less. On a GPU attention runs in flex attention's blocks of
tokens (arXiv 2412.05496) with Gemma 2's soft-capping as its score function; on a CPU, where flex attention does not
train, with a dense mask.

The block mask is made here from the rows' bounds. transformers would compile `create_block_mask` for it, which hung or
crashed with full packs (torch 2.11, transformers 5.17).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask
from transformers import PreTrainedModel

BLOCK = 128  # tokens; flex attention's default
FLEX = "flex_attention"


def remove_padding(model: PreTrainedModel, multiple: int) -> None:
    """Wrap the model's decoder; sequences are filled up to a multiple of `multiple` tokens.

    A compiled model sees few lengths that way. `multiple` itself is rounded up to one of 128.
    """
    decoder: Any = model.base_model
    decoder.forward = without_padding(decoder.forward, decoder.config, -(-multiple // BLOCK) * BLOCK)


def without_padding(forward: Callable[..., Any], config: Any, multiple: int) -> Callable[..., Any]:
    window: int = config.sliding_window

    @wraps(forward)
    def flat_forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        if attention_mask is None:
            if position_ids is None:
                raise AssertionError("neither an attention mask nor position ids say where rows end")
            real = None  # packed, so every token is one of a row
            ids, positions = input_ids.flatten(), position_ids.flatten()
        else:
            real = attention_mask.flatten().nonzero().squeeze(1)
            ids, positions = input_ids.flatten()[real], (attention_mask.cumsum(1) - 1).flatten()[real]
        tokens = len(ids)  # known without asking the GPU again, which would wait for all that is under way there
        ids, positions = fill_up(ids, multiple), fill_up(positions, multiple)
        documents = (positions == 0).cumsum(0)
        if config._attn_implementation == FLEX:
            masks: dict[str, Any] = {
                "full_attention": block_mask(documents, None),
                "sliding_attention": block_mask(documents, window),
            }
        else:
            masks = {"full_attention": dense_mask(documents, None), "sliding_attention": dense_mask(documents, window)}
        output = forward(
            input_ids=ids[None],
            position_ids=positions[None],
            attention_mask=masks,
            **{key: value for key, value in options.items() if key not in VARLEN},
        )
        hidden = output.last_hidden_state[0, :tokens]
        if real is not None:
            hidden = hidden.new_zeros(input_ids.numel(), hidden.shape[-1]).index_copy(0, real, hidden)
        output.last_hidden_state = hidden.view(*input_ids.shape, -1)
        return output

    return flat_forward


# What TRL's collator adds for FlashAttention; its own position ids are all that is needed here.
VARLEN = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")


def fill_up(values: torch.Tensor, multiple: int) -> torch.Tensor:
    """Zeros at the end up to a multiple: token 0 at position 0, so that each is a row of its own that nobody sees."""
    return torch.nn.functional.pad(values, (0, -len(values) % multiple))


def allowed(documents: torch.Tensor, window: int | None, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
    """Whether token q may look at token kv: in the same row, not later, and within the sliding window if there is one.

    In one row positions differ by as much as places in the sequence do. A window of w lets a token see itself and the
    w - 1 before it (transformers' sliding_window_overlay).
    """
    seen = (documents[q] == documents[kv]) & (kv <= q)
    return seen if window is None else seen & (q - kv < window)


def dense_mask(documents: torch.Tensor, window: int | None) -> torch.Tensor:
    """(1, 1, T, T): 0 where a token may look, the type's lowest value elsewhere."""
    places = torch.arange(len(documents), device=documents.device)
    seen = allowed(documents, window, places[:, None], places[None, :])
    mask = torch.zeros(seen.shape, device=documents.device)
    return mask.masked_fill(~seen, torch.finfo(mask.dtype).min)[None, None]


def block_mask(documents: torch.Tensor, window: int | None) -> BlockMask:
    """The same for flex attention, in blocks of 128 x 128 tokens: none, part or all of one may be seen.

    `documents` (T) never falls from one token to the next, so a block's first and last row say all of it.
    """
    blocks = documents.view(-1, BLOCK)
    first, last = blocks[:, 0], blocks[:, -1]
    at = torch.arange(len(blocks), device=documents.device)
    q, kv = at[:, None], at[None, :]
    touched = (kv <= q) & (last[None, :] >= first[:, None])
    whole = (kv < q) & (first[None, :] == last[:, None])
    if window is not None:
        touched &= q * BLOCK - (kv * BLOCK + BLOCK - 1) < window
        whole &= q * BLOCK + BLOCK - 1 - kv * BLOCK < window

    def mask_mod(batch: torch.Tensor, head: torch.Tensor, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return allowed(documents, window, q, kv)

    return BlockMask.from_kv_blocks(
        *listed(touched & ~whole), *listed(touched & whole), BLOCK_SIZE=BLOCK, mask_mod=mask_mod
    )


def listed(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each row of a (n, n) mask: how many are set, and their columns first; int32, with batch and head in front."""
    columns = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1).int()[None, None], columns.int()[None, None]
