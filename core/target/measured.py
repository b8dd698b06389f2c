"""What was measured on a CPU: 60 s for each experiment, two cores, profile cpu-fp32, DEPTH 1. Tests compare it with its sources.

NIGHT is tests/recorded/found. A gain is the mean over its pairs, so most of them are as uncertain as one measurement (0.0025 bpb),
and later ones were measured on top of what was kept before. OVER_SEEDS is benchmarks/effects.jsonl, the mean over 12 seeds.
"""

from __future__ import annotations

from core.model import Effect
from core.target.target import Measured

NIGHT = Measured(
    device="cpu",
    profiles=("cpu", "cpu-fp32"),
    dataset="python",
    budget_s=60.0,
    effects=(
        Effect(
            gain=0.01009,
            edits=("unembed-init", "momentum-warm-up"),
            before={"MLP_RATIO": 4, "EMBED_LR": 0.2},
            after={"MLP_RATIO": 3, "EMBED_LR": 0.263},
        ),
        Effect(gain=0.02043, step="DEPTH up", before={"DEPTH": 1}, after={"DEPTH": 2}),
        Effect(gain=0.00199, edits=("unembed-init",)),
        Effect(gain=0.00097, edits=("gelu",)),
        Effect(gain=0.00084, step="SMEAR down", before={"SMEAR": 0.2}, after={"SMEAR": 0.118}),
        Effect(gain=0.00548, edits=("layer-norm",)),
        Effect(gain=-0.00073, edits=("silu",)),
        Effect(gain=0.00132, step="MLP_RATIO down", before={"MLP_RATIO": 4}, after={"MLP_RATIO": 3}),
        Effect(gain=-0.0034, edits=("update-scale",)),
        Effect(
            gain=0.00122,
            edits=("momentum-warm-up", "nadam"),
            before={"MATRIX_LR": 0.02, "EMBED_LR": 0.2},
            after={"MATRIX_LR": 0.0263, "EMBED_LR": 0.263},
        ),
        Effect(gain=0.00115, step="WARM_DOWN up", before={"WARM_DOWN": 0.5}, after={"WARM_DOWN": 0.68}),
        Effect(gain=-0.00802, edits=("relu2-glu",)),
        Effect(gain=-0.00357, edits=("cautious-decay",)),
        Effect(gain=-0.02583, step="SEQ_LEN down", before={"SEQ_LEN": 256}, after={"SEQ_LEN": 128}),
        Effect(gain=0.0007, edits=("nadam",)),
        Effect(gain=0.03241, edits=("key-shift",)),
        Effect(gain=-0.00761, edits=("mlp-norm-hidden",)),
        Effect(gain=-0.0101, step="UNEMBED_LR up", before={"UNEMBED_LR": 0.004}, after={"UNEMBED_LR": 0.0068}),
        Effect(
            gain=-0.00677,
            edits=("no-nesterov", "label-smoothing", "momentum-warm-up"),
            before={"EMBED_LR": 0.2},
            after={"EMBED_LR": 0.397},
        ),
        Effect(
            gain=-0.04444,
            step="WIDTH down",
            before={"WIDTH": 128, "HEAD_DIM": 128},
            after={"WIDTH": 64, "HEAD_DIM": 64},
        ),
        Effect(gain=-0.00213, edits=("no-nesterov",)),
        Effect(gain=-0.00504, edits=("label-smoothing",)),
        Effect(gain=-0.00117, step="EMBED_LR up", before={"EMBED_LR": 0.2}, after={"EMBED_LR": 0.34}),
        Effect(gain=-0.02522, edits=("sandwich-mlp",)),
        Effect(gain=-0.04914, edits=("no-rotary",)),
        Effect(
            gain=-0.02311,
            step="TOTAL_BATCH down",
            before={"TOTAL_BATCH": 2048, "BATCH_SIZE": 8},
            after={"TOTAL_BATCH": 1024, "BATCH_SIZE": 4},
        ),
        Effect(gain=0.01242, edits=("two-back",)),
        Effect(gain=0.00205, edits=("momentum-warm-up",)),
        Effect(gain=0.00156, step="MATRIX_LR up", before={"MATRIX_LR": 0.02}, after={"MATRIX_LR": 0.034}),
        Effect(gain=0.00031, edits=("cautious-muon",)),
    ),
)
OVER_SEEDS = Measured(
    device="cpu",
    profiles=("cpu", "cpu-fp32"),
    dataset="python",
    budget_s=60.0,
    effects=(Effect(gain=0.01069, edits=("bigrams",)),),
)
