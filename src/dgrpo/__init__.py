"""dgrpo: decentralised GRPO, the attacks on it, and the defenses."""
