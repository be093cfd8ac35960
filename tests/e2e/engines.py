"""What each engine reads on each rank of its pipeline, written down from the engines' own sources
(docs/engines.md names them), with none of the project's code. Tests hold presets against it."""

import fnmatch
import itertools
import json
import pathlib
import re

ENGINES = ("exo", "mlx-lm", "vllm", "sglang", "transformers")
FAMILIES = pathlib.Path(__file__).resolve().parent.parent / "piece/families"

# Globs of what sees or hears for a family's language model: vLLM builds it on every rank and refuses
# to start when a tensor of it is missing.
TOWERS = {
    "ERNIE 4.5 VL 28B-A3B": ("vision_model.*", "model.resampler_model.*"),
    "Gemma 3 4B": ("vision_tower.*", "multi_modal_projector.*"),
    "Gemma 3n E2B": ("model.vision_tower.*", "model.audio_tower.*", "model.embed_vision.*",
                     "model.embed_audio.*"),
    "Gemma 4 E2B": ("model.vision_tower.*", "model.audio_tower.*", "model.embed_vision.*",
                    "model.embed_audio.*"),
    "Granite Speech 3.3 2B": ("encoder.*", "projector.*"),
    "InternVL2.5 8B": ("vision_model.*", "mlp1.*"),
    "Kimi-VL A3B": ("vision_tower.*", "multi_modal_projector.*"),
    "LLaVA 1.5 7B": ("vision_tower.*", "multi_modal_projector.*"),
    "Llama 3.2 11B Vision": ("vision_model.*", "multi_modal_projector.*"),
    "Llama 4 Scout": ("vision_model.*", "multi_modal_projector.*"),
    "PaddleOCR-VL 0.9B": ("visual.*", "mlp_AR.*"),
    "Phi-4 multimodal": ("model.embed_tokens_extend.*",),
    "Qwen2-VL 2B": ("visual.*",),
    "Qwen2.5-Omni 7B": ("thinker.visual.*", "thinker.audio_tower.*"),
    "Qwen3-Omni 30B-A3B": ("thinker.visual.*", "thinker.audio_tower.*"),
    "Qwen3-VL 2B": ("model.visual.*",),
    "SmolVLM2 500M": ("model.vision_model.*", "model.connector.*"),
    "Step3": ("vision_model.*", "vit_*"),
}
# Encoder-decoders, speaking models and the like, which vLLM does not run as a pipeline.
NO_PIPELINE_IN_VLLM = {
    "BART large CNN", "Bark", "ByT5 small", "CLIP ViT-L/14", "DistilBART CNN 12-6", "Janus-Pro 7B",
    "Moonshine base", "MusicGen large", "OPUS-MT en-de", "Qwen3-TTS 1.7B", "T5 v1.1 XXL",
    "Whisper large-v3", "Whisper large-v3-turbo", "Whisper large-v3-turbo, 4 bit of MLX",
}


def exo_counts(layers, weights):
    """allocate_layers_proportionally() of exo: floats, the largest remainders first."""
    raw = [weight / sum(weights) * layers for weight in weights]
    counts = [int(share) for share in raw]
    order = sorted(range(len(raw)), key=lambda rank: raw[rank] - counts[rank], reverse=True)
    for rank in order[:layers - sum(counts)]:
        counts[rank] += 1
    for rank, count in enumerate(counts):
        if count == 0:
            counts[counts.index(max(counts))] -= 1
            counts[rank] = 1
    return counts


def layer_range(engine, layers, rank, ranks, weights=()):
    """[start, end) of a rank."""
    base, extra = divmod(layers, ranks)
    if engine == "exo" or weights:
        # Engines but exo are told counts; shardswarm divides by weights as exo does.
        counts = exo_counts(layers, weights or [1] * ranks)
    elif engine == "mlx-lm":  # PipelineMixin.pipeline(): low ranks get the extra layers
        counts = [base + (r < extra) for r in range(ranks)]
    elif engine == "vllm":  # get_pp_indices(): from the last but one backwards
        counts = [base] * ranks
        for i in range(2, extra + 2):
            counts[-i] += 1
    elif engine == "sglang":  # get_pp_indices(): the last ranks
        counts = [base + (r >= ranks - extra) for r in range(ranks)]
    else:  # transformers, PipelineStage.layer_range_for_rank(): all to the last
        return rank * base, layers if rank == ranks - 1 else (rank + 1) * base
    before = counts[rank + 1:] if engine == "mlx-lm" else counts[:rank]
    return sum(before), sum(before) + counts[rank]


class Family:
    """One file of tests/piece/families, read by itself."""

    def __init__(self, path):
        fixture = json.loads(path.read_text())
        self.name, self.main = fixture["family"], fixture["main"]
        self.stack = fixture["stacks"][self.main]
        self.layers = self.stack["layers"]
        self.tensors = [name for line in fixture["tensors"] for name in expand(line.split()[0])]
        self.numbered = re.compile(re.escape(self.main) + r"\.(\d+)\.")
        self.tied = fixture["config"].get("tie_word_embeddings", False)
        self.mtp_layers = {name for name in self.tensors if (self.layer_of(name) or 0) >= self.layers}

    def layer_of(self, name):
        found = self.numbered.match(name)
        return int(found[1]) if found else None

    def named(self, globs):
        return {name for name in self.tensors
                if any(fnmatch.fnmatchcase(name, glob) for glob in globs)}

    def needed(self, engine, rank, ranks, weights=()):
        """Names of the tensors that the engine reads on this rank."""
        start, end = layer_range(engine, self.layers, rank, ranks, weights)
        first, last = start == 0, end == self.layers
        names = {name for name in self.tensors
                 if self.layer_of(name) is not None and start <= self.layer_of(name) < end}
        # What a layer of another rank holds for all of them.
        names |= self.named(self.stack["middle"])
        if engine in ("exo", "mlx-lm"):
            return names | {name for name in self.tensors if self.layer_of(name) is None}
        if engine == "vllm":
            names |= self.named(TOWERS.get(self.name, ()))
        beside = self.named((self.stack["first"] if first else []) + (self.stack["last"] if last else []))
        if engine == "transformers" and self.mtp_layers:
            # It skips MTP layers, and so does not read an embedding for them. MTP modules outside the
            # layers come with the output side anyway.
            beside -= self.mtp_layers
            if not first and not self.tied:
                beside -= self.named(self.stack["first"])
        return names | beside


def expand(pattern):
    """"h.{0-2,5}.w" -> h.0.w, h.1.w, h.2.w, h.5.w."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = []
    for at, part in enumerate(parts):
        if at % 2 == 0:
            choices.append([part])
            continue
        numbers = []
        for run in part.split(","):
            low, _, high = run.partition("-")
            numbers += range(int(low), int(high or low) + 1)
        choices.append([str(number) for number in numbers])
    return ["".join(words) for words in itertools.product(*choices)]


def families():
    return [Family(path) for path in sorted(FAMILIES.glob("*.json"))]
