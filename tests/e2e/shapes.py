"""What parts of real architectures consist of, written down by hand: what test_shapes.py holds
the program against. Nothing here asks the program."""

import itertools
import re
from dataclasses import dataclass

LAYERS = 6  # of each checkpoint; a second stack has as many, or none at all
EXPERTS = 16


@dataclass(frozen=True)
class Shape:
    """An architecture. Names are beginnings of tensors' names; a tensor of none of them is a mistake
    of this table."""
    layers: str  # what stands before a layer's number, with its dot
    input: tuple  # needed by who has the first layer
    output: tuple  # by who has the last
    both: tuple = ()  # tied embeddings
    everybody: tuple = ()  # by who has any layer
    divide: int = 32
    experts: int = 0  # of each layer that has some
    expert: str = ""  # regular expression with the expert's number, behind a layer's
    stacked: str = ""  # or of tensors in which dim 0 is experts, or the rows of one after another
    mtp: bool = False  # one more numbered layer comes with the last stage
    # For slices: a checkpoint of two layers whose tensors of this glob exceed 1 MiB.
    slice: str = "*.q_proj.weight"
    slice_divide: int = 4
    slice_layer: int = 1


_LLAMA = dict(layers="model.layers.", input=("model.embed_tokens.",),
              output=("model.norm.", "lm_head."))

SHAPES = {
    "llama-3.1-8b": Shape(**_LLAMA, divide=16),
    "llama-3.1-8b-int8": Shape(**_LLAMA, divide=16, slice="*.gate_proj.weight"),
    "gemma-2-2b": Shape("model.layers.", (), ("model.norm.",), both=("model.embed_tokens.",),
                        divide=16, slice_divide=2),
    "gpt2": Shape("h.", ("wpe.",), ("ln_f.",), both=("wte.",), divide=8, slice="*.c_attn.weight",
                  slice_divide=2),
    "gpt-neox-20b": Shape("gpt_neox.layers.", ("gpt_neox.embed_in.",),
                          ("gpt_neox.final_layer_norm.", "embed_out."),
                          slice="*.query_key_value.weight", slice_divide=8),
    "falcon-7b": Shape("transformer.h.", ("transformer.word_embeddings.",),
                       ("transformer.ln_f.", "lm_head."), slice="*.query_key_value.weight"),
    "bloom-560m": Shape("h.", ("word_embeddings_layernorm.",), ("ln_f.",),
                        both=("word_embeddings.",), divide=8, slice="*.query_key_value.weight",
                        slice_divide=2),
    "mpt-7b": Shape("transformer.blocks.", (), ("transformer.norm_f.",), both=("transformer.wte.",),
                    slice="*.Wqkv.weight"),
    "mamba-130m": Shape("backbone.layers.", (), ("backbone.norm_f.",), both=("backbone.embeddings.",),
                        divide=8, slice="*.in_proj.weight", slice_divide=2),
    "chatglm3-6b": Shape("transformer.encoder.layers.",
                         ("transformer.embedding.",),
                         ("transformer.encoder.final_layernorm.", "transformer.output_layer."),
                         everybody=("transformer.rotary_pos_emb.",),
                         slice="*.query_key_value.weight"),
    "mixtral-8x22b": Shape(**_LLAMA, experts=8, expert=r"\.block_sparse_moe\.experts\.(\d+)\.",
                           slice="*.w1.weight", slice_divide=8),
    "deepseek-v3": Shape(**_LLAMA, experts=EXPERTS, expert=r"\.mlp\.experts\.(\d+)\.", mtp=True,
                         slice="*.mlp.gate_proj.weight", slice_divide=8, slice_layer=0),
    "qwen3-30b-a3b-mlx-4bit": Shape(**_LLAMA, divide=8, experts=EXPERTS, stacked="switch_mlp",
                                    slice_divide=1),
    "dbrx": Shape("transformer.blocks.", ("transformer.wte.",), ("transformer.norm_f.", "lm_head."),
                  experts=EXPERTS, stacked=".ffn.experts.mlp.", slice="*.Wqkv.weight",
                  slice_divide=8),
    # The first layer holds the position bias of all of them.
    "t5-base": Shape("decoder.block.", ("encoder.",), ("decoder.final_layer_norm.",),
                     both=("shared.",),
                     everybody=("decoder.block.0.layer.0.SelfAttention.relative_attention_bias.",),
                     divide=8, slice="*.wi.weight", slice_divide=2),
    "qwen2-vl-2b": Shape("model.layers.", ("visual.",), ("model.norm.",),
                         both=("model.embed_tokens.",), divide=16, slice_divide=2),
    "llava-1.5-7b": Shape("language_model.model.layers.",
                          ("vision_tower.", "multi_modal_projector.",
                           "language_model.model.embed_tokens."),
                          ("language_model.model.norm.", "language_model.lm_head."),
                          slice="language_model.*.q_proj.weight"),
}


class Reading:
    """A checkpoint's tensors ({name: header entry}) as this table understands them."""

    def __init__(self, shape, entries):
        self.shape = shape
        self.layer, self.sides = {}, {}
        self.bytes = {name: entry["data_offsets"][1] - entry["data_offsets"][0]
                      for name, entry in entries.items()}
        number = re.compile(re.escape(shape.layers) + r"(\d+)\.")
        for name in entries:
            found = number.match(name)
            if found and not name.startswith(shape.everybody):
                self.layer[name] = int(found[1])
                continue
            sides = [side for side, names in (("input", shape.input), ("output", shape.output),
                                              ("both", shape.both),
                                              ("everybody", shape.everybody)) if name.startswith(names)]
            if len(sides) != 1:
                raise AssertionError(f"{name} stands on {sides or 'no side'}")
            self.sides[name] = sides[0]
        self.numbered = max(self.layer.values()) + 1
        self.layers = self.numbered - shape.mtp

    def of_layers(self, first, last, to_the_end=False):
        """Names that layers first..last need; to_the_end as the last stage does."""
        ends = (("everybody",) + (("input", "both") if first == 0 else ())
                + (("output", "both") if last >= self.layers - 1 else ()))
        wanted = {name for name, side in self.sides.items() if side in ends}
        last = self.numbered - 1 if to_the_end else last
        return wanted | {name for name, layer in self.layer.items() if first <= layer <= last}

    def of_stage(self, index, count):
        """Every split into `count` stages is tried: the largest stage as small as may be, then the
        earlier stages as long as may be."""
        def ranges(cuts):
            edges = (0, *cuts, self.layers)
            return [(edges[i], edges[i + 1] - 1) for i in range(count)]

        def cost(cuts):
            sums = [sum(self.bytes[name] for name in
                        self.of_layers(first, last, last == self.layers - 1))
                    for first, last in ranges(cuts)]
            return max(sums), [first - last for first, last in ranges(cuts)]

        best = min(itertools.combinations(range(1, self.layers), count - 1), key=cost)
        first, last = ranges(best)[index - 1]
        return self.of_layers(first, last, index == count)

    def of_experts(self, first, last):
        """{name: bytes} of everything, but of experts only first..last."""
        wanted = {}
        for name, size in self.bytes.items():
            if self.shape.stacked and self.shape.stacked in name:
                wanted[name] = size * (last - first + 1) // self.shape.experts
                continue
            found = self.shape.expert and re.search(self.shape.expert, name)
            if not found or first <= int(found[1]) <= last:
                wanted[name] = size
        return wanted
