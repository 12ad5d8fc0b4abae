"""Pairs in, merged checkpoint out: LoRA + Matryoshka tuning and the proof that the merge lost nothing."""
