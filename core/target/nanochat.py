"""The target of this repository: nanochat/train.py, a small language model, scored in bits per byte."""

from __future__ import annotations

from core.model import Value
from core.target.book import BOOK
from core.target.contract import parse
from core.target.measured import DEFAULT_1, DEFAULT_2, DEFAULT_3, DEFAULT_50, FIFTY, FORTY, FOUND, OVER_SEEDS
from core.target.target import Target, Values

TOPICS: dict[str, tuple[str, ...]] = {  # topic -> its other names. Parts of a topic, such as Muon, are not listed
    "attention": (),
    "heads": ("attention heads", "number of heads", "head count"),
    "activation": ("activations", "activation function", "activation functions"),
    "normalisation": ("normalization", "norms"),
    "residuals": ("residual connections", "skip connections"),
    "schedule": ("schedules", "learning rate schedule", "learning rate schedules"),
    "optimizer": ("optimiser", "optimizers", "optimisers"),
    "regularisation": ("regularization",),
    "embeddings": ("embedding",),
    "size": ("sizes", "model size"),
}
AREAS = (
    "the learning rates and their schedule", "the batch size and the number of steps", "attention: heads, window, positions",
    "the MLP: width and activation", "normalisation and residual connections", "the embeddings and the output layer",
    "the optimizer's momentum and weight decay", "depth against width", "initial values",
)  # fmt: skip
KNOB_TOPICS = (
    ("schedule", ("WARM", "FINAL_LR")),
    ("heads", ("HEAD", "KV_")),
    ("embeddings", ("EMBED_STD", "VALUE_", "TIE_")),
    ("regularisation", ("_DECAY",)),
    ("optimizer", ("_LR", "MUON", "BETA", "MOMENTUM", "EPS")),
    ("attention", ("WINDOW", "ROPE", "SOFTCAP")),
    ("size", ("DEPTH", "WIDTH", "MLP", "BATCH", "SEQ_LEN")),
)
# What people call the knobs. Words of their own name, such as "depth" or "warm-up", are not listed.
KNOB_WORDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("batch", "batch size", "batches", "total batch size", "tokens per step"), ("TOTAL_BATCH",)),
    **dict.fromkeys(("micro batch", "rows"), ("BATCH_SIZE",)),
    **dict.fromkeys(("sequence length", "context length", "training length"), ("SEQ_LEN",)),
    **dict.fromkeys(("layers", "blocks", "number of layers", "number of blocks", "layer count"), ("DEPTH",)),
    **dict.fromkeys(("model width", "residual width"), ("WIDTH",)),
    **dict.fromkeys(("head size", "head dimension", "head width"), ("HEAD_DIM",)),
    **dict.fromkeys(("mlp width", "hidden width", "mlp size", "hidden size"), ("MLP_RATIO",)),
    **dict.fromkeys(("grouped query attention", "shared keys and values"), ("KV_GROUPS",)),
    **dict.fromkeys(("window size", "attention window"), ("WINDOW",)),
    **dict.fromkeys(("rotary base", "rope theta", "rotary embedding base"), ("ROPE_BASE",)),
    **dict.fromkeys(("logit cap", "logit softcap", "logit soft cap"), ("SOFTCAP",)),
    **dict.fromkeys(("tied embeddings", "weight tying"), ("TIE_EMBEDDINGS",)),
    **dict.fromkeys(("warmdown", "cooldown", "cool down", "decay of the learning rate"), ("WARM_DOWN",)),
    **dict.fromkeys(("final learning rate", "last learning rate"), ("FINAL_LR",)),
    **dict.fromkeys(("muon learning rate", "matrix learning rate", "learning rate of matrices"), ("MATRIX_LR",)),
    **dict.fromkeys(("embedding learning rate", "learning rate of embeddings"), ("EMBED_LR",)),
    **dict.fromkeys(("learning rate", "learning rates", "lr"), ("MATRIX_LR", "EMBED_LR", "UNEMBED_LR", "SCALAR_LR")),
    **dict.fromkeys(("weight decay", "decay"), ("MATRIX_DECAY", "ADAM_DECAY")),
    **dict.fromkeys(("momentum",), ("MUON_MOMENTUM", "ADAM_BETA1")),
    **dict.fromkeys(("beta", "betas"), ("ADAM_BETA1", "ADAM_BETA2")),
    **dict.fromkeys(("muon",), ("MUON_MOMENTUM", "MUON_STEPS")),
}
# How much a knob usually matters in a short training, relative to the others of its topic. The first proposals follow it.
IMPACT = {
    "DEPTH": 4.0, "MATRIX_LR": 3.5, "TOTAL_BATCH": 3.0, "EMBED_LR": 2.8, "WIDTH": 2.6, "UNEMBED_LR": 2.4, "SEQ_LEN": 2.2,
    "WARM_DOWN": 2.0, "MLP_RATIO": 1.8, "HEAD_DIM": 1.6, "SMEAR": 1.5, "ADAM_BETA1": 0.7, "ADAM_BETA2": 0.7, "ROPE_BASE": 0.5,
}  # fmt: skip
WORDS = {"WINDOW_PATTERN": ("L", "S", "SL", "SSL", "SSSL")}


def misfit(values: Values) -> str:
    """Return why the sizes do not fit each other (whole heads, groups and batches), or "" if they do."""
    width, head, groups = values.get("WIDTH"), values.get("HEAD_DIM"), values.get("KV_GROUPS")
    if isinstance(width, int) and isinstance(head, int):
        if head % 2 or not head or width % head:
            return f"HEAD_DIM must be even and divide WIDTH, which is {width}"
        if isinstance(groups, int) and (groups < 1 or (width // head) % groups):
            return f"KV_GROUPS must divide the number of heads, which is {width // head}"
    batch, rows, length = values.get("TOTAL_BATCH"), values.get("BATCH_SIZE"), values.get("SEQ_LEN")
    if isinstance(batch, int) and isinstance(rows, int) and isinstance(length, int):
        forward = rows * length
        if not forward or batch % forward:
            return f"TOTAL_BATCH must be a multiple of BATCH_SIZE * SEQ_LEN, which is {forward}"
    warm = [values.get(name) for name in ("WARM_UP", "WARM_DOWN")]
    if sum(value for value in warm if isinstance(value, float)) > 1.0:
        return "WARM_UP and WARM_DOWN are more than 1 together"
    return ""


def inactive_knobs(values: Values) -> set[str]:
    """Return the knobs that have no effect with these values. Changing them would only measure the noise."""
    inactive = set()
    pattern, window, length = (values.get(name) for name in ("WINDOW_PATTERN", "WINDOW", "SEQ_LEN"))
    short = isinstance(window, int) and isinstance(length, int) and window < length
    if isinstance(pattern, str) and "S" not in pattern:
        inactive.add("WINDOW")
    elif not short:
        inactive.add("WINDOW_PATTERN")
    if values.get("VALUE_EVERY") == 0:
        inactive.add("VALUE_STD")
    if values.get("TIE_EMBEDDINGS") is True:
        inactive.add("EMBED_STD")
    if values.get("DEPTH") == 1:
        inactive |= {"VALUE_EVERY"} if values.get("VALUE_EVERY") else set()
    return inactive & values.keys()


def follow(values: dict[str, Value], present: Values) -> dict[str, Value]:
    """Return the changed values, and those that must follow."""
    return align_total_batch(align_heads(values, present), present)


def align_heads(values: dict[str, Value], present: Values) -> dict[str, Value]:
    """Return the changed values, with HEAD_DIM lowered to WIDTH if the model becomes narrower than one head."""
    width, head = values.get("WIDTH"), present.get("HEAD_DIM")
    if "HEAD_DIM" in values or not (isinstance(width, int) and isinstance(head, int)):
        return values
    return values | {"HEAD_DIM": width} if 0 < width < head and width % 2 == 0 else values


def align_total_batch(values: dict[str, Value], present: Values) -> dict[str, Value]:
    """Return the changed values, with TOTAL_BATCH adjusted if it would no longer be a whole number of forward passes."""
    names = ("BATCH_SIZE", "SEQ_LEN", "TOTAL_BATCH")
    if not set(names) <= present.keys() or not set(names) & values.keys():
        return values
    rows, length, total = (values.get(name, present[name]) for name in names)
    if not (isinstance(rows, int) and isinstance(length, int) and isinstance(total, int)):
        return values
    if total % (rows * length) == 0:
        return values
    if "TOTAL_BATCH" in values and total < rows * length and total % length == 0:
        return values | {"BATCH_SIZE": total // length}
    return values | {"TOTAL_BATCH": rows * length}


TARGET = Target(
    path="nanochat/train.py",
    metric="val_bpb",
    unit="bpb",
    topics=TOPICS,
    areas=AREAS,
    knob_topics=KNOB_TOPICS,
    knob_words=KNOB_WORDS,
    other_topic="size",
    impacts=IMPACT,
    words=WORDS,
    book=BOOK,
    measured=(FOUND, FIFTY, FORTY, DEFAULT_1, DEFAULT_2, DEFAULT_3, DEFAULT_50, OVER_SEEDS),
    parse=parse,
    misfit=misfit,
    inactive_knobs=inactive_knobs,
    follow=follow,
)
