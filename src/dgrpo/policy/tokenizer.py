"""The tokenizer that a model's folder holds, and not the one that transformers expects.

For some model types (Qwen2's among them) `AutoTokenizer` builds the type's own class even where a
folder says that its tokenizer.json is complete. Vocabulary and merges are then the folder's, but
how a text is normalised and cut before merging is the type's: indented programs, for example, come
out in tokens that the model has never seen.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config

_GENERIC = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes that add nothing to tokenizer.json, by their names in transformers 5 and 4."""


class FiledTokenizer:
    """Loads as `AutoTokenizer` does, but believes a folder that names a generic class."""

    @staticmethod
    def from_pretrained(source: str, **options: Any) -> Any:
        """The tokenizer; raises what transformers raises."""
        declared = get_tokenizer_config(source, **options).get("tokenizer_class")
        loader: Any = PreTrainedTokenizerFast if declared in _GENERIC else AutoTokenizer
        return loader.from_pretrained(source, **options)
