"""Compute the floating-point operations per training token, and the peak of a card.

Model FLOPs utilisation (MFU) = tokens/s x operations per token / the card's peak.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.change import knobs

# Dense bfloat16 tensor operations with float32 accumulation, in TFLOP/s. Sources: NVIDIA's data sheets of the B200 (HGX), H200,
# H100, A100, A40, A30, A10, L40S, L40, L4, RTX 6000 Ada, RTX A6000, A5000 and A4000 (half of the figures with sparsity). GeForce
# cards by the appendices of NVIDIA's whitepapers on GA102, Ada and RTX Blackwell: twice the float32 rate.
PEAK_TFLOPS = {
    "b200": 2250.0, "h200": 989.4, "gh200": 989.4, "h100 pcie": 756.0, "h100 nvl": 835.5, "h100": 989.4,
    "a100": 312.0, "a800": 312.0, "a40": 149.7, "a30": 165.0, "a10": 125.0, "l40s": 362.0, "l40": 181.0, "l4": 121.0,
    "rtx 6000 ada": 364.2, "rtx a6000": 154.8, "rtx a5000": 111.1, "rtx a4000": 76.7,
    "rtx 5090": 209.5, "rtx 5080": 112.6, "rtx 5070 ti": 87.9, "rtx 5070": 61.7, "rtx 5060 ti": 47.4,
    "rtx 4090": 165.2, "rtx 4080 super": 104.4, "rtx 4080": 97.5, "rtx 4070 ti super": 88.2, "rtx 4070 ti": 80.2,
    "rtx 4070 super": 71.0, "rtx 4070": 58.3, "rtx 4060 ti": 44.1, "rtx 4060": 30.2,
    "rtx 3090 ti": 80.0, "rtx 3090": 71.2, "rtx 3080 ti": 68.2, "rtx 3080": 59.5, "rtx 3070 ti": 43.5, "rtx 3070": 40.6,
    "rtx 3060 ti": 32.4, "rtx 3060": 25.5,
}  # fmt: skip


def peak_flops(card: str) -> float | None:
    """Return a card's peak in FLOP/s by the driver's name of the card; None for a card that is not in the table.

    Laptop cards have the same names as much faster cards and many power limits, so they count as unknown.
    """
    words = card.lower().replace("-", " ").split()
    if "laptop" in words or "max" in words:
        return None
    name = f" {' '.join(words)} "
    matches = [key for key in PEAK_TFLOPS if f" {key} " in name]
    return PEAK_TFLOPS[max(matches, key=len)] * 1e12 if matches else None


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that determine the operations per token."""

    width: int
    seq_len: int
    vocab_size: int
    matmul_params: int  # weights that every token is multiplied with: the blocks' matrices and the unembedding
    spans: tuple[int, ...]  # by layer, the most positions that attention covers

    @property
    def flops_per_token(self) -> int:
        """6 N + 12 x width x span over all layers: the usual formula, which also counts masked positions."""
        return 6 * self.matmul_params + 12 * self.width * sum(self.spans)

    @property
    def causal_flops_per_token(self) -> float:
        """The same formula with only the unmasked positions of attention: about half of the full span."""
        seen = [span - span * (span - 1) / (2 * self.seq_len) for span in self.spans]  # mean over the positions
        return 6 * self.matmul_params + 12 * self.width * sum(seen)


def shape_of(source: str, vocab_size: int) -> Shape:
    """Return the shape of the model in a train.py. Raises KeyError if it lacks a knob of the shipped one."""
    value = {knob.name: knob.value for knob in knobs.read(source)}

    def number(name: str) -> int:
        return int(value[name])

    width, depth, length = number("WIDTH"), number("DEPTH"), number("SEQ_LEN")
    attention = 2 * width**2 + 2 * width**2 // number("KV_GROUPS")  # query, out; key, value
    mlp = 2 * number("MLP_RATIO") * width**2
    pattern = str(value["WINDOW_PATTERN"])
    kinds = [pattern[layer % len(pattern)] for layer in range(depth)]
    spans = tuple(min(number("WINDOW"), length) if kind == "S" else length for kind in kinds)
    return Shape(width, length, vocab_size, depth * (attention + mlp) + vocab_size * width, spans)
