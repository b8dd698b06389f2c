"""A bigram model: the smallest train.py that keeps the contract."""

import torch
import torch.nn.functional as F

LR = 0.0002  # learning rate
DECAY = 0.0  # how much of the learning rate is gone at the end
BATCH = 8  # rows a step


class Bigram(torch.nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(vocab, vocab))

    def forward(self, x):
        return self.table[x]


def train(run):
    model = Bigram(run.vocab_size).to(run.device)
    state = torch.zeros_like(model.table)
    for x, y in run.batches(BATCH, run.seq_len):
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        (grad,) = torch.autograd.grad(loss, model.table)
        state.mul_(0.99).addcmul_(grad, grad, value=0.01)
        step = LR * (1 - DECAY * run.progress)
        with torch.no_grad():
            model.table -= step * grad / (state.sqrt() + 1e-5)
        run.log(loss=loss.item())
    return model
