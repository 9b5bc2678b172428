"""A causal language model as a policy: load it, sample from it with keyed noise, score given text.

* `model.py`: `load_model`, from a folder, a shipped name or a hub name
* `source.py`: where a model's files are
* `language_model.py`: `LanguageModel`, a network with its tokenizer
* `vocabulary.py`: tokens that end a text, tokens that the weights lack
* `passes.py`: whether a batch and a cache give what one text alone gives
* `noise.py`: counter-based Gumbel noise, the same bits on every device
* `sampling.py`: `Sampling` settings and the batched generation loop
* `decoding.py`: completions in progress, their prompts held once or repeated
* `padding.py`: prompts of different lengths as one batch
* `room.py`: whether prompts and completions fit into the model's positions
* `cache.py`: a key-value cache that grows without copying
* `scoring.py`: log-probabilities and ranks of given tokens in one forward pass

Everything here works on any Hugging Face causal LM whose layers are attention, full or windowed;
`load_model` refuses recurrent ones, and those that compute otherwise in a batch or with a cache.
Nothing knows about nodes or peers.
"""
