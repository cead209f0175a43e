"""Writes tests/data/golden: a random TinyGPT-V small enough to commit, as the four files that a user of the real one
has, and what the reference computes with it, stage by stage.

  python3 make_golden.py OUT        needs PyTorch, numpy and safetensors

Sizes are awkward on purpose: a token count that is no multiple of anything, an MLP of 383, a vocabulary of 101, a
position table that must be resized, a base layout whose fused rows must be permuted, LoRA to be merged.
"""
import json
import random
import sys

import torch
from safetensors.torch import save_file

import tinygptv as tg


@torch.no_grad()
def stages(m, px, pre, post, new_tokens):
    """Every intermediate that a port is compared with. f32; shapes without the batch of one."""
    g, c, v = {"pixels": px[0]}, m.c, m.visual_encoder
    x = v.patch_embed(px)
    g["vit.patches"] = x[0]
    x = torch.cat([v.cls_token, x], 1) + v.pos_embed
    for i, b in enumerate(v.blocks):
        x = b(x)
        g[f"vit.block.{i}"] = x[0]
    image = m.ln_vision(x)
    g["ln_vision"] = image[0]
    q = m.Qformer.bert.embeddings.LayerNorm(m.query_tokens)
    for i, layer in enumerate(m.Qformer.bert.encoder.layer):
        q = layer(q, image)
        g[f"qformer.layer.{i}"] = q[0]
    e = m.llama_proj2(m.llama_proj(q))
    g["image_embeds"] = e[0]
    x = m.embed_prompt([pre, post], [e])
    g["prompt_embeds"] = x[0]
    cos, sin = tg.rope_table(c, x.shape[1])
    h = x
    for i, layer in enumerate(m.llama_model.model.layers):
        h = layer(h, cos, sin, None)
        g[f"phi.layer.{i}"] = h[0]
    g["logits"] = m.llama_model.lm_head(m.llama_model.model.final_layernorm(h))[0]
    ids = m.generate(x, new_tokens)
    y = m.llama_model(torch.cat([x, m.llama_model.embed(torch.tensor([ids]))], 1))
    g["answer_logits"] = m.llama_model.lm_head(y)[0, x.shape[1] - 1:]
    for name, value in (("greedy", ids), ("prompt.before", pre), ("prompt.after", post)):
        g[name] = torch.tensor(value, dtype=torch.int64)
    return {k: t.contiguous() for k, t in g.items()}


def main(out, seed=11):
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = random.Random(seed)
    c = tg.Config(image_size=42, pretrain_image_size=28, vit_width=88, vit_layers=1, vit_heads=1, query_tokens=5,
                  qformer_width=64, qformer_layers=2, qformer_heads=1, qformer_mlp=72, proj_width=52, hidden_size=80,
                  heads=1, layers=2, intermediate_size=200, vocab_size=101, lora_r=4, max_positions=128)
    m = tg.TinyGptV(c).eval()
    for n, p in m.named_parameters():
        flat = p.dim() <= 1 or "lora" in n or "token" in n or "pos_embed" in n
        torch.nn.init.normal_(p, std=0.3 if flat else 1.5 / p.shape[-1] ** 0.5)
        if "norm" in n.lower() and n.endswith("weight"):
            p.data.add_(1)
    m.llama_model.model.embed_tokens.weight.data.normal_(std=1)
    for n, p in m.named_parameters():  # what the published files cannot hold
        if n.endswith(("q_layernorm.bias", "k_layernorm.bias")):
            p.data.zero_()
    state = m.state_dict()
    for n in state:  # what they hold in f16
        if n.startswith("visual_encoder.") or n.startswith("llama_model.") and not tg.trainable(n):
            state[n].copy_(state[n].half().float())
    small = (torch.randn(1, (c.pretrain_image_size // c.patch_size) ** 2 + 1, c.vit_width) * 0.3).half().float()
    m.visual_encoder.pos_embed = torch.nn.Parameter(small.clone())
    tg.save_checkpoints(m, out, lora_style="peft-0.3", phi_layout="split", shards=1)
    grid = c.image_size // c.patch_size
    m.visual_encoder.pos_embed = torch.nn.Parameter(tg.interpolate_pos_embed(small, grid))
    ids = lambda n: [rng.randrange(c.vocab_size) for _ in range(n)]
    px = torch.randn(1, 3, c.image_size, c.image_size)
    save_file(stages(m, px, ids(6), ids(9), 24), f"{out}/golden.safetensors")
    json.dump({"image_size": c.image_size, "lora_alpha": c.lora_alpha}, open(f"{out}/convert.json", "w"))


main(sys.argv[1])
