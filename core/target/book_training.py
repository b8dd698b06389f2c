"""The book, part two: edits of the training: schedule, regularisation, optimizer. See book.py."""

from __future__ import annotations

from core.target.entry import Entry

LOSS = "    return F.cross_entropy(logits.flatten(0, 1), y.flatten())"
DOWN = "    return FINAL_LR + (1 - FINAL_LR) * left"
STEPS = "    for rule in rules:\n        rule.step(scale)"
MUON_STEP = "matrix.mul_(1 - lr * MATRIX_DECAY).sub_(lr * change)"
ADAM_MEAN = "        mean.lerp_(gradient, 1 - ADAM_BETA1)\n"
ADAM_STEP = "tensor.mul_(keep).addcdiv_(rate * mean, spread, value=-1)"

TRAINING: tuple[Entry, ...] = (
    Entry("cosine", "schedule", "Cosine warm-down instead of a straight line: more time at both ends of it.",
          (("import importlib.util\n", "import importlib.util\nimport math\n"),
           (DOWN, "    left = 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))\n" + DOWN)),
          "arXiv:1608.03983", "none", instead="shape of the warm-down"),
    Entry("sqrt-down", "schedule", "A warm-down that falls fast and then slowly (1 - sqrt).",
          ((DOWN, "    left = 1 - (1 - min(1.0, left)) ** 0.5\n" + DOWN),),
          "arXiv:2405.18392", "none", instead="shape of the warm-down"),
    Entry("square-down", "schedule", "A quadratic warm-down: most of the late time at small rates.",
          ((DOWN, "    left = left * left\n" + DOWN),),
          "one of the shapes compared in arXiv:2405.18392", "none", instead="shape of the warm-down"),
    Entry("z-loss", "regularisation", "A small z-loss keeps the logits' normaliser near one.",
          ((LOSS, "    z = torch.logsumexp(logits, dim=-1)  # (B, T)\n"
            "    return F.cross_entropy(logits.flatten(0, 1), y.flatten()) + 1e-4 * z.square().mean()"),),
          "PaLM, arXiv:2204.02311", "one pass over the logits"),
    Entry("label-smoothing", "regularisation", "Smooth the labels by 1%: less certain early, steadier gradients.",
          ((LOSS, "    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), label_smoothing=0.01)"),),
          "arXiv:1512.00567", "one pass over the logits; the loss of training is no longer that of the score"),
    Entry("cautious-muon", "optimizer", "Cautious Muon: only the part of a step that agrees with the present gradient (arXiv:2411.16085).",
          ((MUON_STEP, "now = gradient_of(matrix)\n                change = change * ((change * now) > 0)\n"
            "                " + MUON_STEP),),
          "arXiv:2411.16085", "one pass over the matrices"),
    Entry("cautious-adam", "optimizer", "Cautious Adam: skip the coordinates whose momentum disagrees with the gradient (arXiv:2411.16085).",
          ((ADAM_MEAN, ADAM_MEAN + "        agrees = (mean * gradient) > 0\n"),
           (ADAM_STEP, ADAM_STEP.replace("rate * mean,", "rate * mean * agrees,"))),
          "arXiv:2411.16085", "one pass over the embeddings"),
    Entry("no-nesterov", "optimizer", "Plain momentum instead of Nesterov's: a little less code.",
          (("ahead = gradient.lerp_(momentum, MUON_MOMENTUM)  # Nesterov: the momentum, one step ahead", "ahead = momentum"),),
          "an ablation of Muon, kellerjordan.github.io/posts/muon", "none"),
    Entry("momentum-warm-up", "optimizer", "Let Muon's momentum grow from 0.85 in the first steps: early gradients change fast.",
          (("        lr = self.lr * scale\n        for group", "        lr = self.lr * scale\n        self.count = getattr(self, \"count\", 0) + 1\n"
            "        memory = min(MUON_MOMENTUM, 0.85 + 0.001 * self.count)\n        for group"),
           ("momentum.lerp_(gradient, 1 - MUON_MOMENTUM)", "momentum.lerp_(gradient, 1 - memory)")),
          "modded-nanogpt warms Muon's momentum up", "none"),
    Entry("update-scale", "optimizer", "Scale each matrix's step by its size (0.2 sqrt(max)) as Moonlight does (arXiv:2502.16982).",
          (("update = update * max(1.0, update.size(1) / update.size(2)) ** 0.5  # tall matrices take larger steps",
            "update = update * (max(update.size(1), update.size(2)) / WIDTH) ** 0.5"),),
          "arXiv:2502.16982", "none; it changes the best MATRIX_LR"),
    Entry("grad-norm", "optimizer", "Normalise each matrix's gradient before it enters the momentum: no batch counts double.",
          (("momentum.lerp_(gradient, 1 - MUON_MOMENTUM)",
            "gradient = gradient / (gradient.norm(dim=(1, 2), keepdim=True) + 1e-8)\n"
            "            momentum.lerp_(gradient, 1 - MUON_MOMENTUM)"),),
          "block-normalised gradients, arXiv:1707.04822", "one pass over the gradients"),
    Entry("short-first", "schedule", "Half as long sequences in the first quarter of the budget: more steps while there is little context to use.",
          (("        loss = loss_of(model, x, y)\n",
            "        if run.progress < 0.25:\n            x, y = x[:, : SEQ_LEN // 2], y[:, : SEQ_LEN // 2]\n"
            "        loss = loss_of(model, x, y)\n"),),
          "arXiv:2108.06084", "twice the steps in that time; on a GPU one more compilation in the budget"),
    Entry("slow-embedding-decay", "schedule", "The rate of the embeddings falls to a third only: rare tokens still learn at the end.",
          ((STEPS,
            "    for number, rule in enumerate(rules):\n        rule.step(max(scale, 0.33) if number == 1 else scale)"),),
          "after modded-nanogpt, where embeddings have a schedule of their own", "none"),
    Entry("weight-average", "schedule", "Return the average of the weights over the last tenth of the budget.",
          (("    passes = max(1,",
            "    weights, count = list(model.parameters()), 0\n    sums = [torch.zeros_like(weight) for weight in weights]\n    passes = max(1,"),
           ("            run.log(loss=loss.detach(), lr_scale=scale)\n    return model",
            "            run.log(loss=loss.detach(), lr_scale=scale)\n"
            "            if run.progress > 0.9 and number % (4 * passes) == 0:\n"
            "                count += 1\n"
            "                for total, weight in zip(sums, weights, strict=True):\n"
            "                    total.add_(weight.detach())\n"
            "    for total, weight in zip(sums, weights, strict=True):\n"
            "        weight.data.copy_(total / count if count else weight)\n"
            "    return model")),
          "LAWA, arXiv:2306.03241", "one pass over the weights in every fourth of the last steps"),
    Entry("clip", "regularisation", "Clip the gradient's norm at 1: a rare bad batch does not set the model back.",
          ((STEPS,
            "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    for rule in rules:\n        rule.step(scale)"),),
          "arXiv:1211.5063", "one pass over the gradients"),
    Entry("cautious-decay", "regularisation", "Decay a matrix only where its step points the same way.",
          ((MUON_STEP, "matrix.sub_(lr * 0.1 * matrix * ((matrix * change) > 0)).sub_(lr * change)"),),
          "arXiv:2510.12402", "one pass over the matrices"),
    Entry("row-norm", "optimizer", "Give each row of a Muon step the same length: no output unit moves less than the others.",
          (("            for matrix, change in zip(group, update, strict=True):",
            "            length = update.norm(dim=(1, 2), keepdim=True) / update.size(1) ** 0.5  # (N, 1, 1)\n"
            "            update = update * length / (update.norm(dim=2, keepdim=True) + 1e-8)\n"
            "            for matrix, change in zip(group, update, strict=True):"),),
          "NorMuon, arXiv:2510.05491, without its memory", "one pass over the steps"),
    Entry("no-tall-factor", "optimizer", "Tall matrices take the same step as the others.",
          (("            update = update * max(1.0, update.size(1) / update.size(2)) ** 0.5  # tall matrices take larger steps\n", ""),),
          "the first Muon had no such factor", "none"),
    Entry("muon-unembedding", "optimizer", "Muon for the unembedding too: all its directions learn at the same speed.",
          (("        Muon(list(model.blocks.parameters()), MATRIX_LR, model.dtype),",
            "        Muon([*model.blocks.parameters(), model.unembed.weight], MATRIX_LR, model.dtype),"),
           ("        AdamW([model.unembed.weight], UNEMBED_LR * by_width, ADAM_DECAY),\n", "")),
          "arXiv:2502.16982 asks what else Muon may train", "an orthogonalisation of a V x C matrix; not with TIE_EMBEDDINGS"),
    Entry("momentum-cool-down", "optimizer", "Muon remembers less at the end, so that it follows the falling rate.",
          (("momentum.lerp_(gradient, 1 - MUON_MOMENTUM)", "momentum.lerp_(gradient, 1 - (MUON_MOMENTUM if scale > 0.3 else 0.85))"),),
          "after modded-nanogpt", "none"),
    Entry("row-adam", "optimizer", "Adam with one second moment a row (Adafactor): a rare token's embedding steps as a whole.",
          (("square.mul_(ADAM_BETA2).addcmul_(gradient, gradient, value=1 - ADAM_BETA2)",
            "square.mul_(ADAM_BETA2).add_(gradient.square().mean(-1, keepdim=True), alpha=1 - ADAM_BETA2)"),), "arXiv:1804.04235", "none"),
    Entry("nadam", "optimizer", "Nesterov's look ahead in Adam as well.",
          ((ADAM_MEAN, ADAM_MEAN + "        ahead = torch.lerp(mean, gradient, 1 - ADAM_BETA1)\n"),
           (ADAM_STEP, ADAM_STEP.replace("rate * mean,", "rate * ahead,"))), "Dozat 2016", "one pass over the embeddings"),
)  # fmt: skip
