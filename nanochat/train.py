"""The model under research: a small GPT, its optimizers and its training loop. This is THE file that experiments edit.

`train(run)` builds a model, trains it on `run.batches(...)` until they end, and returns it: a callable that turns
tokens (B, T) into logits (B, T, V). In shapes, B = sequences, T = positions, C = width, H = heads, D = head
dimension, V = vocabulary, F = hidden width of the MLP. Try it alone: python -m nanochat.train --budget 10
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from nanochat.run import Run

DEPTH = 2  # transformer blocks
WIDTH = 128  # width of the residual stream; a multiple of HEAD_DIM
HEAD_DIM = 128  # width of one attention head; even, divides WIDTH
KV_GROUPS = 1  # query heads that share one key/value head; divides the number of heads
MLP_RATIO = 4  # hidden width of the MLP / WIDTH
SEQ_LEN = 256  # positions per training sequence
BATCH_SIZE = 8  # sequences per forward pass
TOTAL_BATCH = 2**11  # tokens per optimizer step; gradients accumulate where a forward pass holds fewer
WINDOW_PATTERN = "L"  # attention span by layer, repeated: L = all positions, S = the last WINDOW
WINDOW = 128  # positions that a short (S) layer sees
ROPE_BASE = 10000.0  # base wavelength of the rotary embedding
VALUE_EVERY = 1  # every n-th layer, counted from the last, has a value embedding; 0 = none
SMEAR = 0.2  # initial weight, learned per channel, of the previous token's embedding in each token's
SOFTCAP = 0.0  # logits stay within +-SOFTCAP (a GPU profile uses 15); 0 = no cap, a fifth faster on a CPU
TIE_EMBEDDINGS = False  # the unembedding is the embedding
EMBED_STD = 1.0  # initial scale of the token embedding
VALUE_STD = 1.0  # initial scale of the value embeddings
MATRIX_LR = 0.02  # Muon: weight matrices
EMBED_LR = 0.2  # AdamW: embeddings, at width 768; scaled by (WIDTH / 768) ** -0.5
UNEMBED_LR = 0.004  # AdamW: unembedding, at width 768; scaled likewise
SCALAR_LR = 0.05  # AdamW: per-layer scalars
MATRIX_DECAY = 0.0  # Muon: decoupled weight decay
ADAM_DECAY = 0.0  # AdamW: decoupled weight decay of the embeddings
ADAM_BETA1 = 0.8  # AdamW: memory of the mean gradient
ADAM_BETA2 = 0.95  # AdamW: memory of the squared gradient
MUON_MOMENTUM = 0.95  # Muon: memory of the mean gradient
MUON_STEPS = 5  # Muon: iterations of the orthogonalisation, at most 5
WARM_UP = 0.0  # fraction of the budget in which the learning rates rise
WARM_DOWN = 0.5  # fraction of the budget in which they fall
FINAL_LR = 0.0  # their last value, as a fraction of the full one


def norm(x: Tensor) -> Tensor:
    """Scale to unit root mean square over the last dimension; nothing is learned."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding (arXiv:2104.09864): turn pairs of x (B, T, H, D) by angles that grow with the position."""
    left, right = x.chunk(2, dim=-1)  # 2 x (B, T, H, D/2)
    return torch.cat((left * cos - right * sin, left * sin + right * cos), dim=-1)  # (B, T, H, D)


class Linear(nn.Linear):
    """A matrix without bias, stored in float32, multiplied in the dtype of its input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))  # (..., inputs) -> (..., outputs)


class Attention(nn.Module):
    """Causal attention over all positions, or over a sliding window."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window
        self.heads = WIDTH // HEAD_DIM
        self.kv_heads = self.heads // KV_GROUPS
        self.query = Linear(WIDTH, self.heads * HEAD_DIM)
        self.key = Linear(WIDTH, self.kv_heads * HEAD_DIM)
        self.value = Linear(WIDTH, self.kv_heads * HEAD_DIM)
        self.out = Linear(self.heads * HEAD_DIM, WIDTH)

    def forward(self, x: Tensor, extra: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        """x (B, T, C) and, where the layer has one, extra (B, T, kv_heads*D), added to the values -> (B, T, C)."""
        batch, length, _ = x.shape
        q = self.query(x).view(batch, length, self.heads, HEAD_DIM)  # (B, T, H, D)
        k = self.key(x).view(batch, length, self.kv_heads, HEAD_DIM)  # (B, T, kv_heads, D)
        v = self.value(x)  # (B, T, kv_heads*D)
        if extra is not None:
            v = v + extra
        v = v.view(batch, length, self.kv_heads, HEAD_DIM)  # (B, T, kv_heads, D)
        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))
        y = attend(q, k, v, self.window)  # (B, T, H, D)
        out: Tensor = self.out(y.reshape(batch, length, -1))  # (B, T, C)
        return out


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Softmax attention of q (B, T, H, D) over k, v (B, T, kv_heads, D) -> (B, T, H, D)."""
    length = q.size(1)
    reach = min(window, length)
    if reach < length and q.is_cuda and q.dtype == torch.bfloat16 and not torch.version.hip:
        y: Tensor = torch.ops.aten._flash_attention_forward(  # several times faster than a mask
            q, k, v, None, None, length, length, 0.0, False, False, window_size_left=reach - 1, window_size_right=0
        )[0]
        return y
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, heads, T, D)
    grouped = k.size(1) != q.size(1)
    if reach == length:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)  # (B, H, T, D)
    else:
        position = torch.arange(length, device=q.device)  # (T,)
        back = position[:, None] - position[None, :]  # (T, T), how far the key lies behind the query
        seen = (back >= 0) & (back < reach)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=grouped)
    return y.transpose(1, 2)


class MLP(nn.Module):
    """Two matrices with a squared ReLU between them (arXiv:2109.08668)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = Linear(WIDTH, MLP_RATIO * WIDTH)
        self.down = Linear(MLP_RATIO * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)  # (B, T, F)
        hidden = F.relu(hidden).square()
        out: Tensor = self.down(hidden)  # (B, T, C)
        return out


class Block(nn.Module):
    """Attention, then MLP, each on a normed copy of the stream and added to it."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.attention = Attention(window)
        self.mlp = MLP()

    def forward(self, x: Tensor, extra: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(norm(x), extra, cos, sin)  # (B, T, C)
        x = x + self.mlp(norm(x))  # (B, T, C)
        return x


class GPT(nn.Module):
    """Tokens (B, T) -> logits (B, T, V)."""

    blocks: Any  # one Block a layer
    value_embeds: Any  # by the layer's number: nn.Embedding
    cos: Tensor
    sin: Tensor

    def __init__(self, vocab_size: int, longest: int, device: torch.device) -> None:
        super().__init__()
        self.dtype = compute_dtype(device)
        tables = self.dtype if device.type == "cuda" else torch.float32  # half the traffic
        self.embed = nn.Embedding(vocab_size, WIDTH, dtype=tables)
        spans = [WINDOW_PATTERN[layer % len(WINDOW_PATTERN)] for layer in range(DEPTH)]
        self.blocks = nn.ModuleList(Block(WINDOW if span == "S" else longest) for span in spans)
        kv_width = WIDTH // KV_GROUPS
        self.value_embeds = nn.ModuleDict(
            {str(i): nn.Embedding(vocab_size, kv_width, dtype=tables) for i in range(DEPTH) if has_value_embedding(i)}
        )
        self.unembed = Linear(WIDTH, vocab_size)
        self.stream_scale = nn.Parameter(torch.empty(DEPTH))  # weight of the stream entering each layer
        self.skip_scale = nn.Parameter(torch.empty(DEPTH))  # weight of the embedding, added again at each layer
        self.value_scale = nn.Parameter(torch.empty(DEPTH))  # weight of the value embedding
        self.smear = nn.Parameter(torch.empty(WIDTH))  # weight of the previous token's embedding
        frequency = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)  # (D/2,)
        angle = torch.arange(longest)[:, None] * frequency  # (longest, D/2)
        self.register_buffer("cos", angle.cos()[None, :, None, :].to(self.dtype))  # (1, longest, 1, D/2)
        self.register_buffer("sin", angle.sin()[None, :, None, :].to(self.dtype))
        self.to(device)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw all weights afresh, in place. Each block starts as the identity: what it adds is zero."""
        self.embed.weight.normal_(std=EMBED_STD)
        for table in self.value_embeds.values():
            table.weight.normal_(std=VALUE_STD)
        bound = (3 / WIDTH) ** 0.5  # uniform with standard deviation WIDTH ** -0.5
        for block in self.blocks:
            for matrix in (block.attention.query, block.attention.key, block.attention.value, block.mlp.up):
                matrix.weight.uniform_(-bound, bound)
            block.attention.out.weight.zero_()
            block.mlp.down.weight.zero_()
        self.unembed.weight.normal_(std=0.001)
        if TIE_EMBEDDINGS:
            self.unembed.weight = self.embed.weight
            self.unembed.weight.normal_(std=WIDTH**-0.5)
        self.smear.fill_(SMEAR)
        self.stream_scale.fill_(1.0)
        self.skip_scale.fill_(0.1)
        self.value_scale.fill_(0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int64 (B, T) -> logits float32 (B, T, V); position t sees the tokens up to t."""
        length = tokens.size(1)
        cos, sin = self.cos[:, :length], self.sin[:, :length]  # (1, T, 1, D/2)
        x = norm(self.embed(tokens).to(self.dtype))  # (B, T, C)
        previous = F.pad(x, (0, 0, 1, 0))[:, :-1]  # (B, T, C), x one position later
        x = norm(x + self.smear.to(self.dtype) * previous)  # lets one layer find what followed a token before
        first = x
        stream, skip, value = (s.to(self.dtype) for s in (self.stream_scale, self.skip_scale, self.value_scale))
        for i, block in enumerate(self.blocks):
            x = stream[i] * x + skip[i] * first  # (B, T, C)
            extra = None
            if has_value_embedding(i):
                extra = value[i] * self.value_embeds[str(i)](tokens).to(self.dtype)  # (B, T, kv_heads*D)
            x = block(x, extra, cos, sin)  # (B, T, C)
        x = norm(x)
        logits: Tensor = self.unembed(x).float()  # (B, T, V)
        if SOFTCAP:
            logits = SOFTCAP * torch.tanh(logits / SOFTCAP)
        return logits


def has_value_embedding(layer: int) -> bool:
    return VALUE_EVERY > 0 and (DEPTH - 1 - layer) % VALUE_EVERY == 0


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if device.type != "cpu":
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
    return torch.bfloat16 if fast else torch.float32


def compiled(function: Any, weights: Iterable[Tensor]) -> Any:
    """The function, compiled for each set of shapes, where the weights are on a GPU and Triton is there."""
    on_gpu = any(weight.is_cuda for weight in weights)
    return torch.compile(function, dynamic=False) if on_gpu and importlib.util.find_spec("triton") else function


# Coefficients of the quintic of each iteration: Amsel et al., "The Polar Express", arXiv:2505.16932.
POLAR_EXPRESS = (
    (8.15655452, -22.4832929, 15.8787699),
    (4.04292994, -2.80891747, 0.500017845),
    (3.8916678, -2.77248415, 0.506064818),
    (3.28575366, -2.36812949, 0.464490242),
    (2.34654133, -1.70978284, 0.423235512),
)


def orthogonalise(g: Tensor) -> Tensor:
    """Set the singular values of each matrix in g (N, rows, columns) to about 1, keeping its singular vectors."""
    tall = g.size(1) > g.size(2)
    x: Tensor = g.transpose(1, 2) if tall else g  # (N, r, c) with r <= c
    x = x / (x.norm(dim=(1, 2), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:MUON_STEPS]:
        gram = x @ x.mT  # (N, r, r)
        x = a * x + (b * gram + c * gram @ gram) @ x  # (N, r, c)
    return x.transpose(1, 2) if tall else x


def gradient_of(tensor: Tensor) -> Tensor:
    """Its gradient; zeros for a weight that the loss did not use."""
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


class Muon:
    """Momentum, orthogonalised: Jordan et al., kellerjordan.github.io/posts/muon. Matrices of one shape step together."""

    def __init__(self, matrices: list[Tensor], lr: float, dtype: torch.dtype) -> None:
        self.lr, self.dtype = lr, dtype  # dtype: of the orthogonalisation
        self.groups = [[m for m in matrices if m.shape == shape] for shape in sorted({m.shape for m in matrices})]
        self.momenta = [torch.zeros(len(g), *g[0].shape, device=g[0].device) for g in self.groups]  # (N, rows, columns)
        self.orthogonalise = compiled(orthogonalise, matrices)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update, with the learning rate times `scale`."""
        lr = self.lr * scale
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            gradient = torch.stack([gradient_of(m) for m in group])  # (N, rows, columns)
            momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
            ahead = gradient.lerp_(momentum, MUON_MOMENTUM)  # Nesterov: the momentum, one step ahead
            update = self.orthogonalise(ahead.to(self.dtype)).float()
            update = update * max(1.0, update.size(1) / update.size(2)) ** 0.5  # tall matrices take larger steps
            for matrix, change in zip(group, update, strict=True):
                matrix.mul_(1 - lr * MATRIX_DECAY).sub_(lr * change)


class AdamW:
    """Adam with decoupled weight decay (arXiv:1711.05101), for tensors that share a learning rate."""

    def __init__(self, tensors: list[Tensor], lr: float, decay: float = 0.0) -> None:
        self.tensors, self.lr, self.decay = tensors, lr, decay
        self.means = [torch.zeros_like(t, dtype=torch.float32) for t in tensors]
        self.squares = [torch.zeros_like(t, dtype=torch.float32) for t in tensors]
        self.apply = compiled(self.move, tensors)
        self.steps = 0

    @staticmethod
    def move(tensor: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *numbers: Tensor) -> None:
        """One update, in place; the gradient is used up."""
        keep, rate, bias = numbers
        gradient = gradient.float()
        mean.lerp_(gradient, 1 - ADAM_BETA1)
        square.mul_(ADAM_BETA2).addcmul_(gradient, gradient, value=1 - ADAM_BETA2)
        spread = torch.div(square, bias, out=gradient).sqrt_().add_(1e-10)
        tensor.mul_(keep).addcdiv_(rate * mean, spread, value=-1)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update, with the learning rate times `scale`."""
        lr = self.lr * scale
        self.steps += 1
        bias, square_bias = 1 - ADAM_BETA1**self.steps, 1 - ADAM_BETA2**self.steps
        numbers = (1 - lr * self.decay, lr / bias, square_bias)  # tensors for compiled code: they change
        for tensor, mean, square in zip(self.tensors, self.means, self.squares, strict=True):
            self.apply(tensor, gradient_of(tensor), mean, square, *(mean.new_full((), n) for n in numbers))


def optimizers(model: GPT) -> list[Muon | AdamW]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    by_width = (WIDTH / 768) ** -0.5
    embeddings = [table.weight for table in model.value_embeds.values()]
    if not TIE_EMBEDDINGS:
        embeddings.append(model.embed.weight)
    return [
        Muon(list(model.blocks.parameters()), MATRIX_LR, model.dtype),
        AdamW(embeddings, EMBED_LR * by_width, ADAM_DECAY),
        AdamW([model.unembed.weight], UNEMBED_LR * by_width, ADAM_DECAY),
        AdamW([model.smear, model.stream_scale, model.skip_scale, model.value_scale], SCALAR_LR),
    ]


def schedule(progress: float) -> float:
    """The learning rates' multiplier at a progress in [0, 1]: up, flat, down, all linear."""
    if progress < WARM_UP:
        return (progress + 0.001) / (WARM_UP + 0.001)
    if progress < 1 - WARM_DOWN:
        return 1.0
    left = (1 - progress) / max(WARM_DOWN, 1e-6)  # of the way down, 1 to 0
    return FINAL_LR + (1 - FINAL_LR) * left


def next_token_loss(model: GPT, x: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the targets y (B, T), given x (B, T)."""
    logits = model(x)  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def update(model: GPT, rules: list[Muon | AdamW], scale: float) -> None:
    """One step of every optimizer; the gradients are used up."""
    for rule in rules:
        rule.step(scale)
    model.zero_grad(set_to_none=True)


def warm_up(run: Run, model: GPT, loss_of: Any) -> None:
    """Compile everything on random tokens before the clock starts, then forget what they taught."""
    rules = optimizers(model)
    for x, y in run.warmup_batches(BATCH_SIZE, SEQ_LEN):
        loss_of(model, x, y).backward()
        update(model, rules, 1.0)
    model.initialise()


def train(run: Run) -> Callable[[Tensor], Tensor]:
    """Train until the batches end; return the model."""
    model = GPT(run.vocab_size, max(SEQ_LEN, run.seq_len), run.device)
    loss_of = compiled(next_token_loss, model.parameters())
    if loss_of is not next_token_loss:
        warm_up(run, model, loss_of)
    rules = optimizers(model)
    passes = max(1, TOTAL_BATCH // (BATCH_SIZE * SEQ_LEN))  # forward passes per optimizer step
    for number, (x, y) in enumerate(run.batches(BATCH_SIZE, SEQ_LEN), start=1):
        loss = loss_of(model, x, y)
        (loss / passes).backward()
        if number % passes == 0:
            scale = schedule(run.progress)
            update(model, rules, scale)
            run.log(loss=loss.detach(), lr_scale=scale)
    return model


if __name__ == "__main__":
    importlib.import_module("nanochat.local").main()
