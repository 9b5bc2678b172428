"""What a model's tokenizer must be able to do, and which of its tokens end a text.

Peers write texts that this tokenizer encodes and this model scores. So no text may raise in either.
"""

from __future__ import annotations

import json

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dgrpo.errors import DgrpoError, first_line

_STRANGE = "\x00\x07\u0301\u200b\ufffd\u6f22\U0001f40d\U0010fffd"
"""Characters that a vocabulary without bytes and without an unknown token cannot encode."""


def declared_ends(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The tokenizer's end token, then the further ones of generation settings and configuration.

    An end that is ordinary text for the tokenizer is left out, because any text may hold it.
    Configurations name such ends by accident: Llama's class fills in 2 for any vocabulary.
    """
    own = int(tokenizer.eos_token_id)
    declared: set[int | None] = set()
    config = network.config
    for settings in (network.generation_config, config, config.get_text_config(decoder=True)):
        ends = getattr(settings, "eos_token_id", None)
        declared |= set(ends) if isinstance(ends, list | tuple) else {ends}
    further = set(tokenizer.added_tokens_decoder) - {own}
    return (own, *sorted(further & declared))


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise DgrpoError if the tokenizer lacks an end token, text or a comparable vocabulary."""
    if tokenizer.eos_token_id is None:
        raise DgrpoError(
            f"model.name = {name!r}: its tokenizer has no end-of-sequence token",
            remedy="set eos_token in tokenizer_config.json; without it a completion cannot end",
        )
    if not tokenizer.is_fast:
        raise DgrpoError(
            f"model.name = {name!r}: its tokenizer {type(tokenizer).__name__} exists in "
            "Python only, and its vocabulary cannot be compared with a peer's",
            remedy="take a model with a tokenizer.json (a fast tokenizer)",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise DgrpoError(
            f"model.name = {name!r}: its tokenizer knows no text",
            remedy="give the folder its tokenizer.json",
        )
    try:
        tokenizer(_STRANGE, add_special_tokens=False)
    except Exception as error:  # tokenizers raises bare exceptions
        raise DgrpoError(
            f"model.name = {name!r}: its tokenizer cannot encode every text: {first_line(error)}",
            remedy="set unk_token, so that unknown characters have a token; peers may write any",
        ) from error


def keep_to_weights(
    tokenizer: PreTrainedTokenizerBase, network: PreTrainedModel, name: str
) -> None:
    """Take added tokens that the weights have no row for out of the tokenizer.

    Their names become plain text. Gemma-3-1B's tokenizer has such a token, and so has a model that
    got a `[PAD]` without a row for it. A peer's text that holds one would end the run.

    Raises DgrpoError if the tokenizer cannot do without: the token ends or opens texts, or belongs
    to the vocabulary proper.
    """
    rows = token_rows(network)
    known = _known(tokenizer)
    beyond = {text: i for text, i in known.items() if i >= rows}
    if not beyond:
        return
    needed = {tokenizer.eos_token_id, *tokenizer("a")["input_ids"]}
    if set(beyond.values()) <= set(tokenizer.added_tokens_decoder) - needed:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        state["added_tokens"] = [one for one in state["added_tokens"] if one["id"] < rows]
        tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
        # tokenizers numbers added tokens by itself where an id before them is free
        if _known(tokenizer) == {text: i for text, i in known.items() if i < rows}:
            return
    first = min(beyond, key=lambda text: beyond[text])
    raise DgrpoError(
        f"model.name = {name!r}: its tokenizer gives {first!r} the id {beyond[first]}, "
        f"and its weights have only {rows} rows",
        remedy="save it after model.resize_token_embeddings(len(tokenizer)), "
        "or give it the tokenizer that it was trained with",
    )


def token_rows(network: PreTrainedModel) -> int:
    """Ids below this can be read and predicted; embeddings may have more rows than the head."""
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    layers = (network.get_input_embeddings(), head)
    weights = [getattr(layer, "weight", None) for layer in layers]
    rows = [len(weight) for weight in weights if isinstance(weight, torch.Tensor)]
    return min([*rows, int(network.config.get_text_config(decoder=True).vocab_size)])


def _known(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    return dict(tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True))
