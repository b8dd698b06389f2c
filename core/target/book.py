"""Structural edits for train.py: ideas from the literature, as exact replacements that can be combined where they fit.

An entry applies if each of its search texts occurs exactly once. So it still applies after edits elsewhere, and is skipped if
an earlier edit changed its place. The tests train every entry, alone and combined.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.model import Edit


@dataclass(frozen=True)
class Entry:
    """One idea: its name, topic, hypothesis, and its changes as (search, replace)."""

    name: str
    topic: str
    hypothesis: str
    changes: tuple[tuple[str, str], ...]

    @property
    def edits(self) -> tuple[Edit, ...]:
        return tuple(Edit(search=search, replace=replace) for search, replace in self.changes)


RELU2 = "hidden = F.relu(hidden).square()"
MLP_IN = "x = x + self.mlp(norm(x))  # (B, T, C)"
ATTENTION_IN = "x = x + self.attention(norm(x), extra, cos, sin)  # (B, T, C)"
LOSS = "    return F.cross_entropy(logits.flatten(0, 1), y.flatten())"
DOWN = "    return FINAL_LR + (1 - FINAL_LR) * left"
QK = "q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))"
MUON_STEP = "matrix.mul_(1 - lr * MATRIX_DECAY).sub_(lr * change)"
ADAM_MEAN = "        mean.lerp_(gradient, 1 - ADAM_BETA1)\n"
ADAM_STEP = "tensor.mul_(keep).addcdiv_(rate * mean, spread, value=-1)"
EMBED_IN = "x = norm(self.embed(tokens).to(self.dtype))  # (B, T, C)"

BOOK: tuple[Entry, ...] = (
    Entry("gelu", "activation", "GELU instead of squared ReLU: a smooth gate may train better in so few steps.",
          ((RELU2, "hidden = F.gelu(hidden)"),)),
    Entry("silu", "activation", "SiLU instead of squared ReLU, as most open models use it.", ((RELU2, "hidden = F.silu(hidden)"),)),
    Entry("leaky-relu2", "activation", "Leaky squared ReLU: a small slope on the negative side keeps units alive.",
          ((RELU2, "hidden = F.leaky_relu(hidden, 0.1)\n        hidden = hidden * hidden.abs()"),)),
    Entry("relu3-half", "activation", "Squared ReLU with a linear part: less extreme hidden values early on.",
          ((RELU2, "hidden = F.relu(hidden)\n        hidden = 0.5 * hidden + 0.5 * hidden.square()"),)),
    Entry("mlp-norm-hidden", "normalisation", "Norm the hidden layer of the MLP before its second matrix (sub-LN), to even out its scale.",
          ((RELU2, "hidden = norm(F.relu(hidden).square())"),)),
    Entry("sandwich-mlp", "normalisation", "Norm the output of the MLP as well (sandwich norm), so that no layer drowns the others.",
          ((MLP_IN, "x = x + norm(self.mlp(norm(x))) * 0.3  # (B, T, C)"),)),
    Entry("sandwich-attention", "normalisation", "Norm the output of the attention as well (sandwich norm).",
          ((ATTENTION_IN, "x = x + norm(self.attention(norm(x), extra, cos, sin)) * 0.3  # (B, T, C)"),)),
    Entry("no-qk-norm", "normalisation", "Without QK norm: at this size the attention may do without, and it costs time.",
          ((QK, "q, k = rotate(q, cos, sin), rotate(k, cos, sin)"),)),
    Entry("sharper-attention", "attention", "Scale queries and keys by 1.2 after their norm: sharper attention.",
          ((QK, "q, k = 1.2 * norm(rotate(q, cos, sin)), 1.2 * norm(rotate(k, cos, sin))"),)),
    Entry("softer-attention", "attention", "Scale queries after their norm by 0.7: softer attention.",
          ((QK, "q, k = 0.7 * norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))"),)),
    Entry("norm-before-rotation", "attention", "Norm queries and keys before they are rotated, once less work in the rotated basis.",
          ((QK, "q, k = rotate(norm(q), cos, sin), rotate(norm(k), cos, sin)"),)),
    Entry("parallel-block", "residuals", "Attention and MLP side by side from one norm (as in PaLM): fewer steps in a row, more tokens.",
          ((ATTENTION_IN, "normed = norm(x)\n        mixed = self.attention(normed, extra, cos, sin)  # (B, T, C)"),
           (MLP_IN, "x = x + mixed + self.mlp(normed)  # (B, T, C)"))),
    Entry("no-embedding-skip", "residuals", "Drop the path from the embedding to every layer: less code, and the stream may not need it.",
          (("x = stream[i] * x + skip[i] * first  # (B, T, C)", "x = stream[i] * x  # (B, T, C)"),)),
    Entry("stronger-skip", "residuals", "Start the path from the embedding at 0.3 instead of 0.1.",
          (("self.skip_scale.fill_(0.1)", "self.skip_scale.fill_(0.3)"),)),
    Entry("half-mlp-residual", "residuals", "Halve what the MLP adds: a calmer stream at high learning rates.",
          ((MLP_IN, "x = x + 0.5 * self.mlp(norm(x))  # (B, T, C)"),)),
    Entry("two-back", "embeddings", "Mix a little of the token two places back into each embedding: trigrams for free.",
          ((EMBED_IN, "e = self.embed(tokens).to(self.dtype)  # (B, T, C)\n"
            "        x = norm(e + 0.15 * F.pad(e, (0, 0, 2, -2)))  # (B, T, C)"),)),
    Entry("no-embedding-norm", "embeddings", "Do not norm the embedding: let frequent tokens have their own size.",
          ((EMBED_IN, "x = self.embed(tokens).to(self.dtype)  # (B, T, C)"),)),
    Entry("value-start", "embeddings", "Give the value embeddings full weight from the start.",
          (("self.value_scale.fill_(0.5)", "self.value_scale.fill_(1.0)"),)),
    Entry("unembed-init", "embeddings", "Start the unembedding at zero: the first loss is exactly uniform.",
          (("self.unembed.weight.normal_(std=0.001)", "self.unembed.weight.zero_()"),)),
    Entry("cosine", "schedule", "Cosine warm-down instead of a straight line: more time at both ends of it.",
          (("import importlib.util\n", "import importlib.util\nimport math\n"),
           (DOWN, "    left = 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))\n" + DOWN))),
    Entry("sqrt-down", "schedule", "A warm-down that falls fast and then slowly (1 - sqrt).",
          ((DOWN, "    left = 1 - (1 - min(1.0, left)) ** 0.5\n" + DOWN),)),
    Entry("square-down", "schedule", "A quadratic warm-down: most of the late time at small rates.",
          ((DOWN, "    left = left * left\n" + DOWN),)),
    Entry("z-loss", "regularisation", "A small z-loss keeps the logits' normaliser near one.",
          ((LOSS, "    z = torch.logsumexp(logits, dim=-1)  # (B, T)\n"
            "    return F.cross_entropy(logits.flatten(0, 1), y.flatten()) + 1e-4 * z.square().mean()"),)),
    Entry("label-smoothing", "regularisation", "Smooth the labels by 1%: less certain early, steadier gradients.",
          ((LOSS, "    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), label_smoothing=0.01)"),)),
    Entry("cautious-muon", "optimizer", "Cautious Muon: only the part of a step that agrees with the present gradient (arXiv:2411.16085).",
          ((MUON_STEP, "now = gradient_of(matrix)\n                change = change * ((change * now) > 0)\n"
            "                " + MUON_STEP),)),
    Entry("cautious-adam", "optimizer", "Cautious Adam: skip the coordinates whose momentum disagrees with the gradient (arXiv:2411.16085).",
          ((ADAM_MEAN, ADAM_MEAN + "        agrees = (mean * gradient) > 0\n"),
           (ADAM_STEP, ADAM_STEP.replace("rate * mean,", "rate * mean * agrees,")))),
    Entry("no-nesterov", "optimizer", "Plain momentum instead of Nesterov's: a little less code.",
          (("ahead = gradient.lerp_(momentum, MUON_MOMENTUM)  # Nesterov: the momentum, one step ahead", "ahead = momentum"),)),
    Entry("momentum-warm-up", "optimizer", "Let Muon's momentum grow from 0.85 in the first steps: early gradients change fast.",
          (("        lr = self.lr * scale\n        for group", "        lr = self.lr * scale\n        self.count = getattr(self, \"count\", 0) + 1\n"
            "        memory = min(MUON_MOMENTUM, 0.85 + 0.001 * self.count)\n        for group"),
           ("momentum.lerp_(gradient, 1 - MUON_MOMENTUM)", "momentum.lerp_(gradient, 1 - memory)"))),
    Entry("update-scale", "optimizer", "Scale each matrix's step by its size (0.2 sqrt(max)) as Moonlight does (arXiv:2502.16982).",
          (("update = update * max(1.0, update.size(1) / update.size(2)) ** 0.5  # tall matrices take larger steps",
            "update = update * (max(update.size(1), update.size(2)) / WIDTH) ** 0.5"),)),
    Entry("grad-norm", "optimizer", "Normalise each matrix's gradient before it enters the momentum: no batch counts double.",
          (("momentum.lerp_(gradient, 1 - MUON_MOMENTUM)",
            "gradient = gradient / (gradient.norm(dim=(1, 2), keepdim=True) + 1e-8)\n"
            "            momentum.lerp_(gradient, 1 - MUON_MOMENTUM)"),)),
    Entry("out-init", "size", "Start the attention's and the MLP's last matrices small instead of zero: gradients flow at once.",
          (("block.mlp.down.weight.zero_()", "block.mlp.down.weight.uniform_(-0.1 * bound, 0.1 * bound)"),
           ("block.attention.out.weight.zero_()", "block.attention.out.weight.uniform_(-0.1 * bound, 0.1 * bound)"))),
    Entry("key-is-query", "heads", "Let keys start equal to queries: similar tokens attend to each other from the first step.",
          (("            block.attention.out.weight.zero_()",
            "            if KV_GROUPS == 1:\n                block.attention.key.weight.copy_(block.attention.query.weight)\n"
            "            block.attention.out.weight.zero_()"),)),
    Entry("head-gate", "heads", "Gate each head by a sigmoid of its own mean: heads can switch themselves off.",
          (("        out: Tensor = self.out(y.reshape(batch, length, -1))  # (B, T, C)",
            "        y = y * torch.sigmoid(2 + q.mean(dim=-1, keepdim=True))  # (B, T, H, D)\n"
            "        out: Tensor = self.out(y.reshape(batch, length, -1))  # (B, T, C)"),)),
)  # fmt: skip
