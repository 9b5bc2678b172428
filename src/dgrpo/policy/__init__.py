"""A causal language model as a policy: load it, sample from it with keyed noise, score given text.

* `model.py`: `LanguageModel`, loaded from a folder, a shipped name or a hub name
* `noise.py`: counter-based Gumbel noise, the same bits on every device
* `sampling.py`: `Sampling` settings and the batched generation loop
* `decoding.py`: completions in progress, their prompts held once or repeated
* `padding.py`: prompts of different lengths as one batch
* `room.py`: whether prompts and completions fit into learned positions
* `cache.py`: a key-value cache that grows without copying
* `scoring.py`: log-probabilities and ranks of given tokens in one forward pass

Everything here works on any Hugging Face causal LM whose layers are attention, full or windowed;
`load_model` refuses recurrent ones. Nothing knows about nodes or peers.
"""
