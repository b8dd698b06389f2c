"""What was measured on a CPU with 60 s for each experiment and two cores. Tests compare it with its sources.

FOUND, FIFTY, FORTY and DEFAULT_1 to DEFAULT_3 are nights in tests/recorded. A gain is the mean over its pairs, so most of them are as
uncertain as one measurement (0.0025 bpb), and later ones were measured on top of what was kept before. OVER_SEEDS is
benchmarks/effects.jsonl, the mean over 12 seeds.
"""

from __future__ import annotations

from functools import partial

from core.model import Effect, Value
from core.target.target import Measured

PROFILES = ("cpu", "cpu-fp32")  # they differ only in DEPTH and the precision
_on_a_cpu = partial(Measured, device="cpu", profiles=PROFILES, dataset="python", budget_s=60.0, noise=0.0028)


def _effect(gain: float, *edits: str, step: str = "", **moves: tuple[Value, Value]) -> Effect:
    """Return the gain of ideas of the book and of moved constants. `moves`: the values before and after."""
    before, after = ({name: pair[at] for name, pair in moves.items()} for at in (0, 1))
    return Effect(gain=gain, edits=edits, step=step, before=before, after=after)


FOUND = _on_a_cpu(  # with the profile cpu-fp32, which starts with DEPTH 1
    effects=(
        _effect(0.01009, "unembed-init", "momentum-warm-up", MLP_RATIO=(4, 3), EMBED_LR=(0.2, 0.263)),
        _effect(0.02043, step="DEPTH up", DEPTH=(1, 2)),
        _effect(0.00199, "unembed-init"),
        _effect(0.00097, "gelu"),
        _effect(0.00084, step="SMEAR down", SMEAR=(0.2, 0.118)),
        _effect(0.00548, "layer-norm"),
        _effect(-0.00073, "silu"),
        _effect(0.00132, step="MLP_RATIO down", MLP_RATIO=(4, 3)),
        _effect(-0.0034, "update-scale"),
        _effect(0.00122, "momentum-warm-up", "nadam", MATRIX_LR=(0.02, 0.0263), EMBED_LR=(0.2, 0.263)),
        _effect(0.00115, step="WARM_DOWN up", WARM_DOWN=(0.5, 0.68)),
        _effect(-0.00802, "relu2-glu"),
        _effect(-0.00357, "cautious-decay"),
        _effect(-0.02583, step="SEQ_LEN down", SEQ_LEN=(256, 128)),
        _effect(0.0007, "nadam"),
        _effect(0.03241, "key-shift"),
        _effect(-0.00761, "mlp-norm-hidden"),
        _effect(-0.0101, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(-0.00677, "no-nesterov", "label-smoothing", "momentum-warm-up", EMBED_LR=(0.2, 0.397)),
        _effect(-0.04444, step="WIDTH down", WIDTH=(128, 64), HEAD_DIM=(128, 64)),
        _effect(-0.00213, "no-nesterov"),
        _effect(-0.00504, "label-smoothing"),
        _effect(-0.00117, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(-0.02522, "sandwich-mlp"),
        _effect(-0.04914, "no-rotary"),
        _effect(-0.02311, step="TOTAL_BATCH down", TOTAL_BATCH=(2048, 1024), BATCH_SIZE=(8, 4)),
        _effect(0.01242, "two-back"),
        _effect(0.00205, "momentum-warm-up"),
        _effect(0.00156, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(0.00031, "cautious-muon"),
    ),
)
FIFTY = _on_a_cpu(  # the same profile
    effects=(
        _effect(-0.03598, step="SEQ_LEN up", SEQ_LEN=(256, 512), TOTAL_BATCH=(2048, 4096)),
        _effect(0.01132, "no-embedding-norm"),
        _effect(-0.00155, "value-start", "no-smear-norm", MATRIX_LR=(0.02, 0.0115), WARM_DOWN=(0.5, 0.575)),
        _effect(-0.0002, step="UNEMBED_LR down", UNEMBED_LR=(0.004, 0.00235)),
        _effect(-0.00234, "running-mean"),
        _effect(-0.00628, "attention-out-norm"),
        _effect(-0.23173, step="WIDTH up", WIDTH=(128, 256)),
        _effect(0.00019, "value-start"),
        _effect(-0.01228, "gelu"),
        _effect(-0.00491, step="EMBED_LR down", EMBED_LR=(0.2, 0.118)),
        _effect(-0.01157, "z-loss"),
        _effect(-0.00243, "update-scale"),
        _effect(-0.00433, step="TOTAL_BATCH up", TOTAL_BATCH=(2048, 4096)),
        _effect(-0.01949, "silu"),
        _effect(-0.04223, "no-final-norm"),
        _effect(-0.01152, step="DEPTH down", DEPTH=(2, 1)),
        _effect(-0.00452, "weight-average"),
        _effect(-0.02787, DEPTH=(2, 3)),
        _effect(-0.00173, step="MATRIX_LR down", MATRIX_LR=(0.02, 0.0118)),
        _effect(-0.00264, "row-adam"),
        _effect(-0.00149, "row-norm"),
        _effect(0.01348, step="DEPTH up", DEPTH=(1, 2)),
        _effect(-0.00395, "relu"),
        _effect(0.00244, "no-smear-norm"),
        _effect(-0.00149, step="SMEAR down", SMEAR=(0.2, 0.118)),
        _effect(-0.00291, "orthogonal-init"),
        _effect(-0.00492, "relu2-glu"),
        _effect(-0.00128, step="MLP_RATIO down", MLP_RATIO=(4, 3)),
        _effect(-0.00093, "swiglu"),
        _effect(0.00091, "slow-embedding-decay"),
        _effect(0.00078, step="WARM_DOWN up", WARM_DOWN=(0.5, 0.68)),
        _effect(-0.00121, "token-bias"),
        _effect(-0.00354, "orthogonal-init", "no-nesterov", MATRIX_LR=(0.02, 0.0263)),
        _effect(-0.01269, step="SEQ_LEN down", SEQ_LEN=(256, 128)),
        _effect(0.00053, "unembed-init"),
        _effect(-0.02173, "sandwich-mlp"),
        _effect(-0.01118, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(-0.01305, "mlp-norm-hidden"),
        _effect(0.00192, "orthogonal-init"),
        _effect(-0.04574, step="WIDTH down", WIDTH=(128, 64), HEAD_DIM=(128, 64)),
        _effect(-0.01228, "sharper-attention"),
        _effect(0.00914, "layer-norm"),
        _effect(-0.00785, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(-0.00186, "no-nesterov"),
        _effect(-0.00336, "half-rotary"),
        _effect(-0.02254, step="TOTAL_BATCH down", TOTAL_BATCH=(2048, 1024), BATCH_SIZE=(8, 4)),
        _effect(-0.01128, "cosine"),
        _effect(-0.00534, "cautious-muon"),
        _effect(-0.00384, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(-0.00988, "leaky-relu2"),
    ),
)
FORTY = _on_a_cpu(  # with the profile cpu
    effects=(
        _effect(0.00389, "momentum-warm-up"),
        _effect(0.00209, "short-first"),
        _effect(-0.00734, step="SEQ_LEN down", SEQ_LEN=(256, 128)),
        _effect(-0.01941, "sharper-attention"),
        _effect(0.0009, "row-adam", MATRIX_LR=(0.02, 0.0302), EMBED_LR=(0.2, 0.229)),
        _effect(-0.00336, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(-0.0176, "value-norm"),
        _effect(0.00058, "row-adam", "orthogonal-init", MATRIX_LR=(0.02, 0.0346), EMBED_LR=(0.2, 0.302)),
        _effect(-0.01116, step="WIDTH down", WIDTH=(128, 64), HEAD_DIM=(128, 64)),
        _effect(-0.0483, "no-qk-norm"),
        _effect(0.00122, "row-adam", "orthogonal-init", MATRIX_LR=(0.02, 0.0302)),
        _effect(0.00054, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(0.00205, "row-adam"),
        _effect(-0.00756, "mlp-shift"),
        _effect(-0.04723, step="TOTAL_BATCH down", TOTAL_BATCH=(2048, 1024), BATCH_SIZE=(8, 4)),
        _effect(-0.01689, "value-shift"),
        _effect(-0.02858, "mlp-norm-hidden"),
        _effect(-0.00019, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(-0.01173, "no-nesterov"),
        _effect(-0.00037, "orthogonal-init"),
        _effect(-0.01863, step="DEPTH down", DEPTH=(2, 1)),
        _effect(-0.15574, "shifted-value"),
    ),
)
DEFAULT_1 = _on_a_cpu(  # with the profile cpu, knowing the three nights above
    effects=(
        _effect(0.00236, step="MLP_RATIO down", MLP_RATIO=(4, 3)),
        _effect(-0.0188, "key-is-query"),
        _effect(-0.00447, "unembed-init"),
        _effect(-0.0013, step="WARM_DOWN up", WARM_DOWN=(0.5, 0.68)),
        _effect(0.00745, "row-adam"),
        _effect(-0.00133, "short-first", MATRIX_LR=(0.02, 0.0263), EMBED_LR=(0.2, 0.229)),
        _effect(-0.00441, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(0.00522, "short-first"),
        _effect(0.01121, "layer-norm"),
        _effect(-0.00435, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(-0.02482, "no-nesterov"),
        _effect(-0.01249, "two-back"),
        _effect(-0.00617, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(0.0318, "key-shift"),
    ),
)
DEFAULT_2 = _on_a_cpu(  # with the profile cpu, knowing the three nights above
    effects=(
        _effect(-0.00416, "weight-average"),
        _effect(0.01282, step="MLP_RATIO down", MLP_RATIO=(4, 3)),
        _effect(0.00288, "nadam"),
        _effect(0.00277, "head-gate"),
        _effect(-0.00249, step="WARM_DOWN up", WARM_DOWN=(0.5, 0.68)),
        _effect(-0.0273, "sandwich-attention"),
        _effect(0.01441, "bigrams"),
        _effect(-0.03281, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(0.01251, "layer-norm"),
        _effect(-0.0037, "no-tall-factor"),
        _effect(-0.00607, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(0.00149, "no-embedding-norm"),
        _effect(-0.00054, "two-back"),
        _effect(-0.00193, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(0.04319, "key-shift"),
    ),
)
DEFAULT_3 = _on_a_cpu(  # with the profile cpu, knowing the three nights above
    effects=(
        _effect(0.00268, step="WARM_DOWN up", WARM_DOWN=(0.5, 0.68)),
        _effect(-0.02983, "cautious-adam"),
        _effect(-0.03093, "muon-unembedding"),
        _effect(-0.01874, step="SEQ_LEN down", SEQ_LEN=(256, 128)),
        _effect(0.00672, "slow-embedding-decay"),
        _effect(-0.00053, "relu"),
        _effect(-0.01993, step="DEPTH down", DEPTH=(2, 1)),
        _effect(0.01381, "layer-norm", "two-back", MATRIX_LR=(0.02, 0.0302)),
        _effect(-0.0122, step="UNEMBED_LR up", UNEMBED_LR=(0.004, 0.0068)),
        _effect(-0.01451, "no-tall-factor"),
        _effect(0.00366, "layer-norm"),
        _effect(-0.01236, step="EMBED_LR up", EMBED_LR=(0.2, 0.34)),
        _effect(-0.00241, "no-embedding-norm"),
        _effect(0.00141, "two-back"),
        _effect(0.00063, step="MATRIX_LR up", MATRIX_LR=(0.02, 0.034)),
        _effect(0.0355, "key-shift"),
    ),
)
OVER_SEEDS = _on_a_cpu(effects=(_effect(0.01069, "bigrams"),))
