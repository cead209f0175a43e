"""TinyGPT-V of the published size in PyTorch, with random weights: what a Python program gets on this processor.

compare.py sends this file, behind the reference model (tests/tools/reference/tinygptv.py), to a Python that has torch.
Prints one line of JSON: seconds for a picture, for a prompt of 32 + 48 tokens, for one token behind it, and for picture to
first token; each the median of some runs after one that does not count.

  [--dtype bf16|f32] [--image 224|448] [--threads N] [--runs N]
"""
import argparse
import json
import os
import time

import tinygptv
import torch

options = argparse.ArgumentParser()
options.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
options.add_argument("--image", type=int, default=224)
options.add_argument("--threads", type=int, default=os.cpu_count())
options.add_argument("--runs", type=int, default=3)
given = options.parse_args()


def fill(tensor, *_, **__):
    """In place of torch's random numbers, which would take minutes: small, and different enough."""
    flat = tensor.data.view(-1)
    flat[:] = 0.01
    flat[::3] = -0.01
    return tensor


def median_seconds(run, runs):
    run()
    seconds = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) // 2]


def build():
    config = tinygptv.full(4)
    config.image_size = given.image
    config.lora_r = 1
    for name in ("normal_", "kaiming_uniform_", "xavier_uniform_", "trunc_normal_"):
        setattr(torch.nn.init, name, fill)
    model = tinygptv.TinyGptV(config).eval()
    for parameter in model.parameters():
        fill(parameter)
    for layer in model.modules():  # LoRA merged, as it would be served
        if isinstance(layer, tinygptv.LoraLinear):
            layer.forward = lambda x, layer=layer: torch.nn.functional.linear(x, layer.weight, layer.bias)
    return model


torch.set_num_threads(given.threads)
torch.set_default_dtype(torch.bfloat16 if given.dtype == "bf16" else torch.float32)
with torch.no_grad():
    model = build()
    language = model.llama_model
    pixels = torch.randn(1, 3, given.image, given.image)
    picture = median_seconds(lambda: model.encode_image(pixels), given.runs)
    prompt = model.embed_prompt([[1] * 24, [2] * 24], [model.encode_image(pixels)])
    caches = []

    def prefill():
        caches[:] = [[] for _ in language.model.layers]
        return language.lm_head(language(prompt, caches)[:, -1])

    prompt_seconds = median_seconds(prefill, given.runs)
    token = torch.tensor([[3]])
    step_seconds = median_seconds(lambda: language.lm_head(language(language.embed(token), caches)[:, -1]), 12)
print(json.dumps({"picture": picture, "prompt_tokens": prompt.shape[1], "prompt": prompt_seconds,
                  "token": step_seconds, "first": picture + prompt_seconds, "torch": torch.__version__}))
