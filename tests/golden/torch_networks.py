"""The PyTorch networks behind the golden models: small, seeded, one per family of operators."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

BATCH = 3
LENGTH = 5


@dataclasses.dataclass
class Network:
    """A module with its example inputs.

    arguments: by tensor name, in forward()'s order.
    outputs: the names of what forward() returns.
    dynamic: tensor name -> {axis: symbol}.
    legacy, dynamo: the opsets to export at, with each exporter.
    fixed_in_legacy: a symbol the TorchScript exporter turns into a constant.
    """

    module: nn.Module
    arguments: dict[str, torch.Tensor]
    outputs: tuple[str, ...] = ("y",)
    dynamic: dict[str, dict[int, str]] = dataclasses.field(default_factory=dict)
    legacy: tuple[int, ...] = (14,)
    dynamo: tuple[int, ...] = (18,)
    fixed_in_legacy: str = ""


class Lambda(nn.Module):
    """A function as a module, with the submodules it uses."""

    def __init__(self, function: Callable, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *arguments: torch.Tensor):
        return self.function(self, *arguments)


def batch_only(*names: str) -> dict[str, dict[int, str]]:
    return {name: {0: "batch"} for name in names}


def settle_batch_norm(module: nn.Module) -> nn.Module:
    """Gives BatchNorm layers statistics a trained network could have; fresh ones are 0 and 1."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(0, 0.5)
            layer.running_var.uniform_(0.5, 2.0)
            with torch.no_grad():
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
    return module


# Multi-layer perceptrons -------------------------------------------------------------------------


def mlp_batchnorm() -> Network:
    layers: list[nn.Module] = []
    for inputs, outputs in ((12, 16), (16, 8)):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(0.1)]
    module = settle_batch_norm(nn.Sequential(*layers, nn.Linear(8, 1), nn.Sigmoid()))
    return Network(module, {"x": torch.randn(BATCH, 12)}, dynamic=batch_only("x", "y"),
                   legacy=(7, 9, 13), dynamo=(18, 22))


def mlp_input_batchnorm() -> Network:
    """BatchNorm before the first layer and none after it: folds forward, not backward."""
    module = settle_batch_norm(
        nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 16, bias=False), nn.SELU(),
                      nn.BatchNorm1d(16), nn.Linear(16, 2), nn.LogSoftmax(dim=-1)))
    return Network(module, {"x": torch.randn(BATCH, 12)}, dynamic=batch_only("x", "y"),
                   legacy=(13,))


def mlp_activations() -> Network:
    kinds: tuple[nn.Module, ...] = (
        nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.LeakyReLU(0.2), nn.ELU(0.7),
        nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.Hardswish(), nn.Hardsigmoid(),
        nn.Mish(), nn.PReLU(8), nn.CELU(1.3), nn.Softsign(), nn.ReLU6(), nn.SELU(), nn.LogSigmoid())
    layers: list[nn.Module] = [nn.Linear(12, 8)]
    for kind in kinds:
        layers += [kind, nn.Linear(8, 8)]
    return Network(nn.Sequential(*layers, nn.Softmax(dim=1)), {"x": torch.randn(BATCH, 12)},
                   dynamic=batch_only("x", "y"), dynamo=(18, 20))


def mlp_layernorm_gelu() -> Network:
    module = nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 16),
                           nn.LayerNorm(16, elementwise_affine=False), nn.GELU(), nn.Linear(16, 1))
    return Network(module, {"x": torch.randn(BATCH, 12)}, dynamic=batch_only("x", "y"),
                   legacy=(13, 17), dynamo=(18, 20))


def mlp_groupnorm_rms() -> Network:
    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.rms(self.group(self.first(x))))

    module = Lambda(forward, first=nn.Linear(12, 16), group=nn.GroupNorm(4, 16), rms=nn.RMSNorm(16),
                    last=nn.Linear(16, 1))
    return Network(module, {"x": torch.randn(BATCH, 12)}, dynamic=batch_only("x", "y"),
                   legacy=(), dynamo=(18, 23))  # TorchScript has no form for RMSNorm.


def mlp_residual() -> Network:
    """ResNet-style blocks, three inputs of different shapes, a squeeze at the end."""

    def forward(self: Lambda, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor):
        h = F.relu(self.first(x * scale + shift))
        h = h + self.second(F.relu(self.bn(h)))
        return self.last(h).squeeze(-1), h.max(dim=1).values, h.argmax(dim=1)

    module = settle_batch_norm(Lambda(forward, first=nn.Linear(12, 16), second=nn.Linear(16, 16),
                                      bn=nn.BatchNorm1d(16), last=nn.Linear(16, 1)))
    arguments = {"x": torch.randn(BATCH, 12), "scale": torch.rand(BATCH, 1),
                 "shift": torch.randn(12)}
    names = ("score", "peak", "peak_at")
    return Network(module, arguments, names, batch_only("x", "scale", *names), legacy=(13,))


# Embeddings ---------------------------------------------------------------------------------------


def embeddings() -> Network:
    """One int64 input a category, as card models take them."""

    def forward(self: Lambda, amount: torch.Tensor, *ids: torch.Tensor) -> torch.Tensor:
        vectors = [table(i) for table, i in zip((self.mcc, self.country, self.hour), ids)]
        return self.mlp(torch.cat([amount, *vectors], dim=1))

    module = Lambda(forward, mcc=nn.Embedding(20, 6), country=nn.Embedding(9, 4),
                    hour=nn.Embedding(24, 3),
                    mlp=nn.Sequential(nn.Linear(17, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid()))
    arguments = {"amount": torch.randn(BATCH, 4), "mcc": torch.randint(0, 20, (BATCH,)),
                 "country": torch.randint(0, 9, (BATCH,)), "hour": torch.randint(0, 24, (BATCH,))}
    return Network(module, arguments, dynamic=batch_only(*arguments, "y"), legacy=(11,))


def embedding_columns() -> Network:
    """All categories in one [batch, 3] int64 tensor, sliced by column and offset."""

    def forward(self: Lambda, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        wide = self.table(ids + self.offsets).flatten(1)
        first = self.extra(ids[:, 0])
        return self.mlp(torch.cat([x, wide, first], dim=-1))

    module = Lambda(forward, table=nn.Embedding(40, 4), extra=nn.Embedding(10, 2),
                    mlp=nn.Sequential(nn.Linear(5 + 12 + 2, 8), nn.ReLU(), nn.Linear(8, 1)))
    module.register_buffer("offsets", torch.tensor([0, 10, 25]))
    arguments = {"x": torch.randn(BATCH, 5), "ids": torch.randint(0, 10, (BATCH, 3))}
    return Network(module, arguments, dynamic=batch_only("x", "ids", "y"), legacy=(11,))


def embedding_pool() -> Network:
    """Bags of merchant ids: mean, sum and masked mean over the bag."""

    def forward(self: Lambda, ids: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        vectors = self.table(ids)
        weight = keep.unsqueeze(-1)
        masked = (vectors * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        return self.last(torch.cat([vectors.mean(dim=1), vectors.sum(dim=1), masked,
                                    vectors.amax(dim=1)], dim=1))

    module = Lambda(forward, table=nn.Embedding(30, 6, padding_idx=0), last=nn.Linear(24, 1))
    arguments = {"ids": torch.randint(0, 30, (BATCH, LENGTH)),
                 "keep": (torch.rand(BATCH, LENGTH) > 0.4).float()}
    dynamic = {"ids": {0: "batch", 1: "length"}, "keep": {0: "batch", 1: "length"},
               "y": {0: "batch"}}
    return Network(module, arguments, dynamic=dynamic, legacy=(11, 13))


# Recurrent networks -------------------------------------------------------------------------------

SEQUENCE = {"x": {0: "batch", 1: "length"}, "y": {0: "batch"}}


def recurrent(kind: type[nn.RNNBase], layers: int, bidirectional: bool = False,
              legacy: tuple[int, ...] = (14,), dynamo: tuple[int, ...] = (18,)) -> Network:
    """Batch first, the last step into a linear layer."""

    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.rnn(x)
        return torch.sigmoid(self.last(steps[:, -1]))

    hidden = 8
    module = Lambda(forward, rnn=kind(6, hidden, layers, batch_first=True,
                                      bidirectional=bidirectional),
                    last=nn.Linear(hidden * (2 if bidirectional else 1), 1))
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 6)}, dynamic=SEQUENCE, legacy=legacy,
                   dynamo=dynamo)


def lstm_states() -> Network:
    """Time first, states in and out: what a caller keeps between two parts of a sequence."""

    def forward(self: Lambda, x: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor):
        steps, (h, c) = self.rnn(x, (h0, c0))
        return steps, h, c

    module = Lambda(forward, rnn=nn.LSTM(6, 8, 2))
    arguments = {"x": torch.randn(LENGTH, BATCH, 6), "h0": torch.randn(2, BATCH, 8) * 0.5,
                 "c0": torch.randn(2, BATCH, 8) * 0.5}
    outputs = ("steps", "h", "c")
    dynamic = {"x": {0: "length", 1: "batch"}, "steps": {0: "length", 1: "batch"}}
    dynamic |= {name: {1: "batch"} for name in ("h0", "c0", "h", "c")}
    return Network(module, arguments, outputs, dynamic, legacy=(11, 17))


def lstm_hidden() -> Network:
    """The final hidden state of both directions instead of the last step; no bias."""

    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        _, (h, _) = self.rnn(x)
        return self.last(torch.cat([h[-2], h[-1]], dim=-1))

    module = Lambda(forward, rnn=nn.LSTM(6, 8, batch_first=True, bidirectional=True, bias=False),
                    last=nn.Linear(16, 1))
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 6)}, dynamic=SEQUENCE)


def gru_step() -> Network:
    """One event and the card's state in, the score and the new state out."""

    def forward(self: Lambda, x: torch.Tensor, state: torch.Tensor):
        _, new_state = self.rnn(x.unsqueeze(0), state.unsqueeze(0))
        return torch.sigmoid(self.last(new_state[0])), new_state[0]

    module = Lambda(forward, rnn=nn.GRU(6, 8), last=nn.Linear(8, 1))
    arguments = {"x": torch.randn(BATCH, 6), "state": torch.randn(BATCH, 8) * 0.5}
    outputs = ("score", "new_state")
    return Network(module, arguments, outputs, batch_only(*arguments, *outputs), legacy=(11, 17))


def gru_cell() -> Network:
    """nn.GRUCell, which exporters spell out in matrix products and activations."""

    def forward(self: Lambda, x: torch.Tensor, state: torch.Tensor):
        new_state = self.cell(x, state)
        return torch.sigmoid(self.last(new_state)), new_state

    module = Lambda(forward, cell=nn.GRUCell(6, 8), last=nn.Linear(8, 1))
    arguments = {"x": torch.randn(BATCH, 6), "state": torch.randn(BATCH, 8) * 0.5}
    outputs = ("score", "new_state")
    return Network(module, arguments, outputs, batch_only(*arguments, *outputs))


# Convolutions -------------------------------------------------------------------------------------


def conv_stack() -> Network:
    module = settle_batch_norm(nn.Sequential(
        nn.Conv1d(6, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Conv1d(8, 8, 3, padding=4, dilation=4, groups=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), nn.BatchNorm1d(8), nn.SiLU(),
        nn.AvgPool1d(3, stride=1, padding=1), nn.Conv1d(8, 4, 1),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1)))
    return Network(module, {"x": torch.randn(BATCH, 6, 16)}, dynamic=batch_only("x", "y"),
                   legacy=(8, 11, 17), dynamo=(18, 23))


def conv_causal() -> Network:
    """Temporal convolution: left padding only, gated, dynamic length, events in rows."""

    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        h = F.pad(x.transpose(1, 2), (4, 0))
        a, b = self.conv(h).chunk(2, dim=1)
        h = torch.tanh(a) * torch.sigmoid(b)
        return self.last(torch.cat([h.mean(dim=2), h.amax(dim=2), h[:, :, -1]], dim=1))

    module = Lambda(forward, conv=nn.Conv1d(6, 16, 3, dilation=2), last=nn.Linear(24, 1))
    return Network(module, {"x": torch.randn(BATCH, 11, 6)}, dynamic=SEQUENCE, legacy=(11, 17))


# Attention ----------------------------------------------------------------------------------------


def scaled_dot_product() -> Network:
    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v)
        return self.out(h.transpose(1, 2).reshape(batch, length, width))

    module = Lambda(forward, qkv=nn.Linear(16, 48), out=nn.Linear(16, 16))
    dynamic = {"x": {0: "batch", 1: "length"}, "y": {0: "batch", 1: "length"}}
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 16)}, dynamic=dynamic,
                   dynamo=(18, 23))


def causal_attention() -> Network:
    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (self.qkv(x)).chunk(3, dim=-1)
        h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)
        return self.out(h[:, 0, -1])

    module = Lambda(forward, qkv=nn.Linear(16, 48), out=nn.Linear(16, 1))
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 16)}, dynamic=SEQUENCE,
                   dynamo=(18, 23))


def multihead_attention() -> Network:
    """nn.MultiheadAttention with a boolean key-padding mask; weights returned as well."""

    def forward(self: Lambda, x: torch.Tensor, padded: torch.Tensor):
        return self.attention(x, x, x, key_padding_mask=padded)

    module = Lambda(forward, attention=nn.MultiheadAttention(16, 4, batch_first=True))
    padded = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    padded[1, 3:] = True
    dynamic = {"x": {0: "batch", 1: "length"}, "padded": {0: "batch", 1: "length"},
               "y": {0: "batch", 1: "length"}, "weights": {0: "batch", 1: "length", 2: "length"}}
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 16), "padded": padded},
                   ("y", "weights"), dynamic, fixed_in_legacy="length")


def encoder(mask: str, width: int, layers: int, norm_first: bool, legacy: tuple[int, ...],
            dynamo: tuple[int, ...]) -> Network:
    """nn.TransformerEncoder over embedded events, masked mean, linear head.

    mask: "bool" (True where padded), "float" (0 or -inf), "keep" (1 where real), or "none".
    """

    def forward(self: Lambda, x: torch.Tensor, *masks: torch.Tensor) -> torch.Tensor:
        h = self.events(x) + self.position[: x.shape[1]]
        if not masks:
            return self.last(self.encoder(h)[:, 0])
        padding = masks[0] < 0.5 if mask == "keep" else masks[0]
        h = self.encoder(h, src_key_padding_mask=padding)
        weight = ((~padding).float() if padding.dtype == torch.bool else (padding > -1).float())
        weight = weight.unsqueeze(-1)
        return self.last((h * weight).sum(dim=1) / weight.sum(dim=1))

    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, norm_first=norm_first,
                                       activation="gelu" if norm_first else "relu")
    module = Lambda(forward, events=nn.Linear(6, width), last=nn.Linear(width, 1),
                    encoder=nn.TransformerEncoder(layer, layers, enable_nested_tensor=False))
    module.register_parameter("position", nn.Parameter(torch.randn(12, width) * 0.1))
    arguments = {"x": torch.randn(BATCH, LENGTH, 6)}
    dynamic = dict(SEQUENCE)
    if mask != "none":
        padded = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
        padded[1, 3:] = True
        padded[2, 1:] = True
        name = "keep" if mask == "keep" else "padding"
        added = torch.zeros(BATCH, LENGTH).masked_fill(padded, -torch.inf)
        arguments[name] = {"bool": padded, "keep": (~padded).float(), "float": added}[mask]
        dynamic[name] = {0: "batch", 1: "length"}
    return Network(module, arguments, dynamic=dynamic, legacy=legacy, dynamo=dynamo,
                   fixed_in_legacy="length")


def plain_encoder() -> Network:
    """Attention spelled out, as models did before scaled_dot_product_attention: old opsets too."""

    def forward(self: Lambda, x: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, 4, width // 4).transpose(1, 2)
                   for part in (self.q(x), self.k(x), self.v(x)))
        weights = torch.matmul(q, k.transpose(-2, -1)) / (width // 4) ** 0.5
        weights = weights.masked_fill(padded[:, None, None, :], -1e9).softmax(dim=-1)
        h = torch.matmul(weights, v).transpose(1, 2).contiguous().view(batch, length, width)
        h = self.norm1(x + self.out(h))
        h = self.norm2(h + self.down(F.gelu(self.up(h))))
        return self.last(h.masked_fill(padded.unsqueeze(-1), 0.0).amax(dim=1))

    linear = {name: nn.Linear(16, 16) for name in ("q", "k", "v", "out")}
    module = Lambda(forward, **linear, norm1=nn.LayerNorm(16), norm2=nn.LayerNorm(16),
                    up=nn.Linear(16, 32), down=nn.Linear(32, 16), last=nn.Linear(16, 1))
    padded = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    padded[0, 2:] = True
    dynamic = {**SEQUENCE, "padded": {0: "batch", 1: "length"}}
    return Network(module, {"x": torch.randn(BATCH, LENGTH, 16), "padded": padded}, dynamic=dynamic,
                   legacy=(11, 13, 17))


# Tabular architectures ----------------------------------------------------------------------------


def dcn_v2() -> Network:
    """Cross layers (x0 * (W x + b) + x) beside a deep tower."""

    def forward(self: Lambda, dense: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        x0 = torch.cat([dense, *(table(ids[:, i]) for i, table in enumerate(self.tables))], dim=1)
        x = x0
        for cross in self.crosses:
            x = x0 * cross(x) + x
        return torch.sigmoid(self.last(torch.cat([x, self.deep(x0)], dim=1)))

    width = 4 + 3 * 4
    module = Lambda(forward, tables=nn.ModuleList(nn.Embedding(10, 4) for _ in range(3)),
                    crosses=nn.ModuleList(nn.Linear(width, width) for _ in range(2)),
                    deep=nn.Sequential(nn.Linear(width, 12), nn.ReLU(),
                                       nn.Linear(12, 8), nn.ReLU()),
                    last=nn.Linear(width + 8, 1))
    arguments = {"dense": torch.randn(BATCH, 4), "ids": torch.randint(0, 10, (BATCH, 3))}
    return Network(module, arguments, dynamic=batch_only("dense", "ids", "y"), legacy=(13,))


def deepfm() -> Network:
    """Factorization machine: half of (square of sum - sum of squares), and a deep tower."""

    def forward(self: Lambda, ids: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        v = self.table(ids) * values.unsqueeze(-1)
        pairs = 0.5 * (v.sum(dim=1) ** 2 - (v ** 2).sum(dim=1)).sum(dim=1, keepdim=True)
        linear = (self.bias(ids).squeeze(-1) * values).sum(dim=1, keepdim=True)
        return torch.sigmoid(pairs + linear + self.deep(v.flatten(1)))

    module = Lambda(forward, table=nn.Embedding(30, 4), bias=nn.Embedding(30, 1),
                    deep=nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 1)))
    arguments = {"ids": torch.randint(0, 30, (BATCH, 6)), "values": torch.rand(BATCH, 6)}
    return Network(module, arguments, dynamic=batch_only("ids", "values", "y"), legacy=(11, 13))


def resnext() -> Network:
    """Blocks of parallel branches, added up, around a residual: as a list and as a batched
    product."""

    def forward(self: Lambda, x: torch.Tensor) -> torch.Tensor:
        x = x + torch.stack([branch(x) for branch in self.branches]).sum(dim=0)
        h = torch.einsum("bi,kio->bko", x, self.weight)
        h = F.relu(self.norm(h.flatten(1)).reshape(h.shape))
        return self.last(x + h.mean(dim=1))

    def branch() -> nn.Module:
        return nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 12))

    module = Lambda(forward, branches=nn.ModuleList(branch() for _ in range(4)),
                    norm=nn.BatchNorm1d(48), last=nn.Linear(12, 1))
    module.register_parameter("weight", nn.Parameter(torch.randn(4, 12, 12) * 0.3))
    return Network(settle_batch_norm(module), {"x": torch.randn(BATCH, 12)},
                   dynamic=batch_only("x", "y"), legacy=(13,))


def tabnet() -> Network:
    """Attentive steps: gated linear units, a softmax feature mask, prior scaling."""

    def forward(self: Lambda, x: torch.Tensor):
        x = self.norm(x)
        prior = torch.ones_like(x)
        decided = torch.zeros(x.shape[0], 8)
        attention = self.start(x)
        for transform, attend in zip(self.transforms, self.attends):
            mask = torch.softmax(attend(attention) * prior, dim=-1)
            prior = prior * (1.3 - mask)
            decision, attention = F.glu(transform(x * mask), dim=-1).split([8, 4], dim=-1)
            decided = decided + F.relu(decision)
        return self.last(decided), prior.pow(2).mean(dim=1).sqrt()

    module = Lambda(forward, norm=nn.BatchNorm1d(12), start=nn.Linear(12, 4),
                    transforms=nn.ModuleList(nn.Linear(12, 24) for _ in range(2)),
                    attends=nn.ModuleList(nn.Linear(4, 12) for _ in range(2)), last=nn.Linear(8, 2))
    names = ("logits", "focus")
    return Network(settle_batch_norm(module), {"x": torch.randn(BATCH, 12)}, names,
                   batch_only("x", *names), legacy=(13,))


def shapes_and_masks() -> Network:
    """Where, comparisons, one-hot, cumulative sums, sorting: what feature code leaves in a
    graph."""

    def forward(self: Lambda, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        x = torch.where(torch.isnan(x), self.fill, x)
        x = torch.clamp(x, -3, 3)
        logs = torch.log1p(x.abs()) * torch.sign(x)
        hot = F.one_hot(code, 5).float()
        top = torch.topk(x, 3, dim=1).values
        running = torch.cumsum(x, dim=1)[:, ::2]
        flags = ((x > 0.5) & (x <= 2) | (x == 0)).float()
        spread = x.std(dim=1, keepdim=True)
        trig = torch.cat([torch.sin(x[:, :1]), torch.cos(x[:, :1]), torch.exp(-x[:, 1:2] ** 2),
                          torch.sqrt(x[:, 2:3].abs() + 1e-3), torch.floor(x[:, 3:4])], dim=1)
        return self.last(torch.cat([logs, hot, top, running, flags, spread, trig,
                                    x.min(dim=1, keepdim=True).values], dim=1))

    module = Lambda(forward, last=nn.Linear(8 + 5 + 3 + 4 + 8 + 1 + 5 + 1, 1))
    module.register_buffer("fill", torch.randn(8))
    x = torch.randn(BATCH, 8)
    x[0, 2] = torch.nan
    x[2, 5] = torch.nan
    return Network(module, {"x": x, "code": torch.tensor([0, 4, 2])},
                   dynamic=batch_only("x", "code", "y"), legacy=(13,))


NETWORKS: dict[str, Callable[[], Network]] = {
    "mlp_bn_relu": mlp_batchnorm,
    "mlp_bn_first": mlp_input_batchnorm,
    "mlp_activations": mlp_activations,
    "mlp_ln_gelu": mlp_layernorm_gelu,
    "mlp_groupnorm_rms": mlp_groupnorm_rms,
    "mlp_residual": mlp_residual,
    "embeddings": embeddings,
    "embedding_columns": embedding_columns,
    "embedding_pool": embedding_pool,
    "rnn1": lambda: recurrent(nn.RNN, 1, dynamo=()),  # Dynamo unrolls it at one length.
    "lstm1": lambda: recurrent(nn.LSTM, 1, legacy=(9, 11, 17), dynamo=(18, 22)),
    "lstm2": lambda: recurrent(nn.LSTM, 2),
    "lstm_bi": lambda: recurrent(nn.LSTM, 2, bidirectional=True),
    "lstm_states": lstm_states,
    "lstm_hidden": lstm_hidden,
    "gru1": lambda: recurrent(nn.GRU, 1, legacy=(9, 11, 17), dynamo=(18, 22)),
    "gru2": lambda: recurrent(nn.GRU, 2),
    "gru_bi": lambda: recurrent(nn.GRU, 1, bidirectional=True),
    "gru_step": gru_step,
    "gru_cell": gru_cell,
    "conv_stack": conv_stack,
    "conv_causal": conv_causal,
    "sdpa": scaled_dot_product,
    "sdpa_causal": causal_attention,
    "mha_mask": multihead_attention,
    "encoder_bool": lambda: encoder("bool", 32, 2, False, (14,), (18,)),
    "encoder_float": lambda: encoder("float", 16, 1, False, (17,), (18,)),
    "encoder_keep": lambda: encoder("keep", 16, 1, True, (17,), (20,)),
    "encoder_nomask": lambda: encoder("none", 16, 1, True, (14,), (18, 23)),
    "encoder_plain": plain_encoder,
    "dcn_v2": dcn_v2,
    "deepfm": deepfm,
    "resnext": resnext,
    "tabnet": tabnet,
    "features": shapes_and_masks,
}
