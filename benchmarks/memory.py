"""Compute the GPU memory that each profile needs, without a GPU: python benchmarks/memory.py [PROFILE ...]

The memory that a training step keeps for its backward pass is found by tracing. The shipped train.py with the profile's knobs is
traced on tensors without data, and the graph is split as by Inductor. Two rows per pass are traced, since bytes per token do not
depend on the number of rows. The rest is computed from shapes. Prints Markdown rows for docs/hardware.md.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from functorch.compile import aot_function, min_cut_rematerialization_partition
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes.joint_graph import joint_graph_passes
from torch._subclasses import FakeTensorMode

from core.change import knobs
from core.machine import profiles

ROWS = 2
CONTEXT_GIB = 0.5  # for CUDA and the kernels, in each of the two processes
GIB = 2**30


def fitted(profile: profiles.Profile) -> ModuleType:
    """Return the shipped train.py with the profile's knobs, in bfloat16 and with the windows of an Ampere GPU."""
    source = (Path(__file__).resolve().parents[1] / "nanochat" / "train.py").read_text(encoding="utf-8")
    source = knobs.set_knobs(source, dict(profile.knobs))
    assert source.count("q.is_cuda and ") == 1
    module = ModuleType("fitted")
    exec(compile(source.replace("q.is_cuda and ", ""), "train.py", "exec"), module.__dict__)
    module.__dict__["compute_dtype"] = lambda device: torch.bfloat16
    return module


def size(value: Any) -> int:
    """Return the bytes of a traced tensor; 0 for anything else."""
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def saved_per_token(module: ModuleType, model: Any) -> float:
    """Return the bytes per token that a training step keeps for its backward pass, without the weights."""
    kept: list[int] = []

    def forward_compiler(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        outputs = next(node for node in graph.graph.nodes if node.op == "output").args[0]
        weights = {node for node in graph.graph.nodes if node.op == "placeholder"}
        kept.append(
            sum(
                size(node.meta["val"])
                for node in outputs[1:]
                if isinstance(node, torch.fx.Node) and node not in weights
            )
        )
        return graph

    def partition(joint: torch.fx.GraphModule, inputs: Any, **more: Any) -> Any:
        joint_graph_passes(joint)
        return min_cut_rematerialization_partition(joint, inputs, compiler="inductor", **more)

    names, weights = zip(*model.named_parameters(), strict=True)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        x = torch.zeros(ROWS, module.SEQ_LEN, dtype=torch.int64)

        def loss(weights: Any, x: torch.Tensor) -> torch.Tensor:
            logits = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (x,))
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten())

        compiled = aot_function(
            loss, fw_compiler=forward_compiler, bw_compiler=lambda graph, inputs: graph,
            partition_fn=partial(partition), decompositions=select_decomp_table(),
        )  # fmt: skip
        compiled([mode.from_tensor(weight) for weight in weights], x)
    return kept[0] / (ROWS * module.SEQ_LEN)


def row(name: str) -> str:
    """Return a row of the table in docs/hardware.md."""
    profile = profiles.named(name)
    module = fitted(profile)
    model = module.GPT(profile.vocab_size, module.SEQ_LEN, torch.device("cpu"))
    tables = [model.embed, *model.value_embeds.values()]
    for table in tables:
        table.to(torch.bfloat16)  # as on a GPU
    in_tables = sum(table.weight.numel() for table in tables)
    others = sum(weight.numel() for weight in model.parameters()) - in_tables
    matrices = sum(weight.numel() for weight in model.blocks.parameters())
    # Tables: bfloat16 with its gradient, and two float32 statistics. Others: float32 with its gradient, and a momentum or two
    # statistics. The step of the matrices stacks gradients in float32 and holds two bfloat16 and one float32 copy of them.
    weights = in_tables * (2 + 2 + 8) + others * (4 + 4 + 8) - matrices * 4 + matrices * (4 + 4 + 2 + 2)
    tokens = module.BATCH_SIZE * module.SEQ_LEN
    saved = saved_per_token(module, model)
    logits = tokens * profile.vocab_size * 6  # their gradient in float32, and in bfloat16
    training = (tokens * saved + logits + weights) / GIB + CONTEXT_GIB
    asked = profile.score_batch * profile.seq_len
    answer = asked * (
        profile.vocab_size * 4 * 3 + module.WIDTH * 2 * 16
    )  # bf16 twice, float32, softcap; some activations
    scorer = asked * profile.vocab_size * 4 * 2 / GIB + CONTEXT_GIB  # the logits and one private copy
    evaluation = (answer + weights) / GIB + CONTEXT_GIB + scorer
    return (
        f"| {name} | {module.DEPTH} x {module.WIDTH} | {module.BATCH_SIZE} x {module.SEQ_LEN} | {saved / 1024:.0f} KiB "
        f"| {training:.1f} GiB | {evaluation:.1f} GiB | {module.TOTAL_BATCH:,} |"
    )


def main() -> None:
    names = sys.argv[1:] or [name for name in profiles.PROFILES if name.startswith("gpu-")]
    print("| profile | model | rows x positions | kept per token | training | evaluation | tokens per optimizer step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
