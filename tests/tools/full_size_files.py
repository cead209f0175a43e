#!/usr/bin/env python3
"""Writes TinyGPT-V's four published files in their real sizes, layouts and types, with random weights: 8.7 GB.

Usage: full_size_files.py OUT [--optimizer hole|zeros]

  OUT/eva_vit_g.pth                      fp16, 40 blocks, 224 pixels                                       2.0 GB
  OUT/blip2_pretrained_flant5xxl.pth     fp32, inside {"model": ...}                                       0.4 GB
  OUT/phi-2/                             fp16, two safetensors shards with an index; the tokenizer's files 5.6 GB
  OUT/TinyGPT-V_for_Stage4.pth           fp32 LoRA of rank 64 and norms, beside the state of the optimizer 0.6 GB

Needs Python's standard library alone. Weights are normal with the deviations of real layers; a block of them is repeated
from random places on, which is as good as noise to a converter and much faster. The optimizer's state is a hole in the
file by default and its checksums are wrong, so that a converter which looks at it fails.
"""
import argparse
import array
import collections
import json
import math
import os
import pickle
import random
import shutil
import struct
import sys
import types
import zlib

VIT, VIT_MLP, VIT_BLOCKS, PATCHES = 1408, 6144, 40, 16 * 16
QFORMER, QFORMER_MLP, QFORMER_LAYERS, QUERIES, T5 = 768, 3072, 12, 32, 4096
PHI, PHI_MLP, PHI_LAYERS, PHI_HEADS, VOCABULARY, RANK = 2560, 10240, 32, 32, 51200, 64
SHARD_BYTES = 4_995_584_424  # of microsoft/phi-2's first shard


class Weights:
    """Streams of normal numbers as bytes."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.normal = [self.rng.gauss(0, 1) for _ in range(1_000_003)]
        self.blocks = {}

    def block(self, dtype, mean, deviation):
        key = (dtype, mean, deviation)
        if key not in self.blocks:
            values = [mean + deviation * v for v in self.normal]
            self.blocks[key] = (array.array("f", values).tobytes() if dtype == "F32" else
                                struct.pack(f"<{len(values)}e", *values))
        return self.blocks[key]

    def chunks(self, tensor):
        if tensor.dtype == "I64":
            yield struct.pack(f"<{tensor.count}q", *range(tensor.count))
            return
        block = memoryview(self.block(tensor.dtype, tensor.mean, tensor.deviation))
        left = tensor.bytes
        at = self.rng.randrange(len(block) // 4) * 4
        while left > 0:
            part = block[at:at + left]
            yield part
            left -= len(part)
            at = 0


class Tensor:
    sizes = {"F16": 2, "F32": 4, "I64": 8}

    def __init__(self, dtype, shape, deviation=0.02, mean=0.0, hole=False):
        self.dtype, self.shape, self.deviation, self.mean, self.hole = dtype, tuple(shape), deviation, mean, hole
        self.count = math.prod(shape)
        self.bytes = self.count * self.sizes[dtype]

    def __reduce__(self):
        strides = [math.prod(self.shape[i + 1:]) for i in range(len(self.shape))]
        return rebuild, (Storage(self), 0, self.shape, tuple(strides), False, collections.OrderedDict())


class Storage:
    def __init__(self, tensor):
        self.tensor = tensor


def torch_names():
    """What torch.save's pickles name, for the pickler to find."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("HalfStorage", "FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))

    def _rebuild_tensor_v2():
        pass

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    return torch, _rebuild_tensor_v2


torch, rebuild = torch_names()


class TorchPickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.tensors = []

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = {"F16": torch.HalfStorage, "F32": torch.FloatStorage, "I64": torch.LongStorage}[value.tensor.dtype]
        self.tensors.append(value.tensor)
        return "storage", kind, str(len(self.tensors) - 1), "cpu", value.tensor.count


class Archive:
    """A zip archive as torch.save writes it: stored entries whose data begin at multiples of 64, sizes behind the data
    and in the directory, 64-bit end records always."""

    def __init__(self, path):
        self.stem = os.path.splitext(os.path.basename(path))[0]
        self.file = open(path, "wb")
        self.directory, self.count = b"", 0

    def add(self, name, chunks, hole=0):
        name = f"{self.stem}/{name}".encode()
        begin = self.file.tell()
        pad = -(begin + 30 + len(name) + 4) % 64
        self.file.write(struct.pack("<4s5HIIIHH", b"PK\3\4", 0, 0x0808, 0, 0, 0, 0, 0, 0, len(name), pad + 4) + name +
                        b"FB" + struct.pack("<H", pad) + b"Z" * pad)
        crc = size = 0
        for chunk in chunks:
            self.file.write(chunk)
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
        if hole > 0:
            self.file.seek(hole, os.SEEK_CUR)
            crc, size = 0xbadc0de, hole
        assert size < 1 << 32
        self.file.write(struct.pack("<4sIII", b"PK\7\10", crc, size, size))
        far = begin >= 1 << 32
        extra = struct.pack("<HHQ", 1, 8, begin) if far else b""
        self.directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, 0x0808, 0, 0, 0, crc, size, size, len(name),
                                      len(extra), 0, 0, 0, 0, 0xffffffff if far else begin) + name + extra
        self.count += 1

    def close(self):
        begin, size = self.file.tell(), len(self.directory)
        self.file.write(self.directory)
        self.file.write(struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 0x031e, 45, 0, 0, self.count, self.count, size, begin))
        self.file.write(struct.pack("<4sIQI", b"PK\6\7", 0, begin + size, 1))
        self.file.write(struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, min(self.count, 0xffff), min(self.count, 0xffff), size,
                                    min(begin, 0xffffffff), 0))
        self.file.close()


def torch_save(root, path, weights):
    import io
    program = io.BytesIO()
    pickler = TorchPickler(program)
    pickler.dump(root)
    archive = Archive(path)
    archive.add("data.pkl", [program.getvalue()])
    archive.add("byteorder", [b"little"])
    for i, tensor in enumerate(pickler.tensors):
        archive.add(f"data/{i}", [] if tensor.hole else weights.chunks(tensor), tensor.bytes if tensor.hole else 0)
    archive.add("version", [b"3\n"])
    archive.add(".data/serialization_id", [b"1" * 40])
    archive.close()


class Names(collections.OrderedDict):
    """A state dictionary of one type. (Pickled as its base class.)"""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def add(self, name, *shape, **how):
        self[name] = Tensor(self.dtype, shape, **how)

    def linear(self, name, n, k):
        self.add(name + ".weight", n, k)
        self.add(name + ".bias", n)

    def norm(self, name, n):
        self.add(name + ".weight", n, mean=1.0, deviation=0.1)
        self.add(name + ".bias", n)

    def plain(self):
        return collections.OrderedDict(self)


def vit():
    t = Names("F16")
    t.add("cls_token", 1, 1, VIT)
    t.add("pos_embed", 1, PATCHES + 1, VIT)
    t.add("patch_embed.proj.weight", VIT, 3, 14, 14)
    t.add("patch_embed.proj.bias", VIT)
    for i in range(VIT_BLOCKS):
        at = f"blocks.{i}."
        t.norm(at + "norm1", VIT)
        t.add(at + "attn.q_bias", VIT)
        t.add(at + "attn.v_bias", VIT)
        t.add(at + "attn.qkv.weight", 3 * VIT, VIT)
        t.linear(at + "attn.proj", VIT, VIT)
        t.norm(at + "norm2", VIT)
        t.linear(at + "mlp.fc1", VIT_MLP, VIT)
        t.linear(at + "mlp.fc2", VIT, VIT_MLP)
    t.norm("norm", VIT)
    t.linear("head", 1000, VIT)
    return t.plain()


def blip2():
    t = Names("F32")
    t.add("query_tokens", 1, QUERIES, QFORMER)
    t.norm("ln_vision", VIT)
    bert = "Qformer.bert."
    t[bert + "embeddings.position_ids"] = Tensor("I64", (1, 512))
    t.norm(bert + "embeddings.LayerNorm", QFORMER)
    for i in range(QFORMER_LAYERS):
        at = f"{bert}encoder.layer.{i}."
        for part, keys in [("attention", QFORMER)] + ([("crossattention", VIT)] if i % 2 == 0 else []):
            t.linear(at + part + ".self.query", QFORMER, QFORMER)
            t.linear(at + part + ".self.key", QFORMER, keys)
            t.linear(at + part + ".self.value", QFORMER, keys)
            t.linear(at + part + ".output.dense", QFORMER, QFORMER)
            t.norm(at + part + ".output.LayerNorm", QFORMER)
        t.linear(at + "intermediate_query.dense", QFORMER_MLP, QFORMER)
        t.linear(at + "output_query.dense", QFORMER, QFORMER_MLP)
        t.norm(at + "output_query.LayerNorm", QFORMER)
    t.linear("t5_proj", T5, QFORMER)
    return {"model": t.plain()}


def phi():
    t = Names("F16")
    t.add("model.embed_tokens.weight", VOCABULARY, PHI, deviation=0.05)
    for i in range(PHI_LAYERS):
        at = f"model.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "dense"):
            t.linear(at + "self_attn." + name, PHI, PHI)
        t.linear(at + "mlp.fc1", PHI_MLP, PHI)
        t.linear(at + "mlp.fc2", PHI, PHI_MLP)
        t.norm(at + "input_layernorm", PHI)
    t.norm("model.final_layernorm", PHI)
    t.linear("lm_head", VOCABULARY, PHI)
    return t.plain()


def stage(optimizer):
    t = Names("F32")
    t.linear("llama_proj", 4096, QFORMER)
    t.linear("llama_proj2", PHI, 4096)
    root = "llama_model.base_model.model.model."
    for i in range(PHI_LAYERS):
        at = f"{root}layers.{i}."
        for name, n in (("query_key_value", 3 * PHI), ("dense", PHI)):
            t.add(f"{at}self_attn.{name}.lora_A.weight", RANK, PHI, deviation=0.01)
            t.add(f"{at}self_attn.{name}.lora_B.weight", n, RANK, deviation=0.005)
        for name in ("q_layernorm", "k_layernorm"):
            t.add(f"{at}self_attn.{name}.weight", PHI // PHI_HEADS, mean=1.0, deviation=0.1)
        for name in ("post_layernorm", "input_layernorm"):
            t.add(f"{at}{name}.weight", PHI, mean=1.0, deviation=0.1)
    t.add(root + "final_layernorm.weight", PHI, mean=1.0, deviation=0.1)
    state = {}
    for i, weight in enumerate(t.values()):
        def moment():
            return Tensor("F32", weight.shape, deviation=0.0, hole=optimizer == "hole")
        state[i] = {"step": 5000, "exp_avg": moment(), "exp_avg_sq": moment()}
    model = t.plain()
    model["Qformer.bert.embeddings.position_ids"] = Tensor("I64", (1, 512))
    groups = [{"lr": 1e-5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05, "params": list(state)}]
    return {"model": model, "optimizer": {"state": state, "param_groups": groups},
            "config": {"run": {"seed": 42, "amp": True}, "model": {"arch": "mini_gpt4", "image_size": 448}},
            "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 17}, "epoch": 49}


def write_phi_folder(folder, weights):
    os.makedirs(folder, exist_ok=True)
    shards, used = [{}, {}], 0
    for name, tensor in phi().items():
        used += tensor.bytes
        shards[1 if used > SHARD_BYTES else 0][name] = tensor
    where = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for name, tensor in shard.items():
            header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, at + tensor.bytes]}
            at += tensor.bytes
            where[name] = file
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder, file), "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for tensor in shard.values():
                out.writelines(weights.chunks(tensor))
    total = sum(t.bytes for shard in shards for t in shard.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as out:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, out, indent=2)
    with open(os.path.join(folder, "config.json"), "w") as out:
        json.dump({"architectures": ["PhiForCausalLM"], "model_type": "phi", "hidden_act": "gelu_new",
                   "hidden_size": PHI, "intermediate_size": PHI_MLP, "num_hidden_layers": PHI_LAYERS,
                   "num_attention_heads": PHI_HEADS, "num_key_value_heads": PHI_HEADS, "partial_rotary_factor": 0.4,
                   "rope_theta": 10000.0, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048,
                   "vocab_size": VOCABULARY, "tie_word_embeddings": False, "torch_dtype": "float16"}, out, indent=2)
    words = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/tokenizer")
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        shutil.copy(os.path.join(words, name), folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--optimizer", choices=["hole", "zeros"], default="hole")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    weights = Weights(seed=4)
    torch_save(vit(), os.path.join(options.out, "eva_vit_g.pth"), weights)
    torch_save(blip2(), os.path.join(options.out, "blip2_pretrained_flant5xxl.pth"), weights)
    torch_save(stage(options.optimizer), os.path.join(options.out, "TinyGPT-V_for_Stage4.pth"), weights)
    write_phi_folder(os.path.join(options.out, "phi-2"), weights)


if __name__ == "__main__":
    main()
