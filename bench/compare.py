#!/usr/bin/env python3
"""Runs ocellus and what it is compared with in turns, and prints medians and ratios: llama.cpp on a Phi-2 of the same size
(decoding and prompts), PyTorch on the whole TinyGPT-V (pictures, picture to first token). Only Python's library is needed.

  bench/compare.py --model q4.safetensors --model q8.safetensors --model bf16.safetensors \\
      --llama llama-bench --gguf q4=phi2-Q4_0.gguf --gguf q8=phi2-Q8_0.gguf --gguf bf16=phi2-F16.gguf \\
      --torch python3 --json result.json

--model FILE      a model of ours, as `ocellus synth --size full --format F --image-size 224|448` makes it; repeat it. The
                  first of each format decodes and reads prompts; all encode pictures.
--llama COMMAND   llama-bench, with whatever must stand before it: "chroot /peers llama-bench"
--gguf F=FILE     what llama-bench runs beside our format F, as the command sees it
--torch COMMAND   a Python that has torch, in the same way; the script goes through its standard input
--only LIST       of decode,prefill,picture,first,curves (default: all but curves)
--rounds N        default 3. --threads N: for all alike; default: one for each processor
--bench FILE      default build/bench/ocellus-bench. --precision P: fast (default) or exact
--json FILE       where results go; those of an earlier run with other --only stay in it. bench/plot.py draws them.

What is compared runs side by side: for each format, ocellus and llama.cpp in turns, so that both meet the same
neighbours; a ratio is the median of the rounds' ratios. Three rounds of all take about 15 minutes. A round needs the
files of one format in memory (bf16: 14 GB), and PyTorch 9 GB.
"""
import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
prompts = [64, 128, 512]
contexts = [100, 1000]
pytorch_prompt = 80  # 32 of a picture and 48 of text
time_limit = 900  # seconds, of one command


def run(command, text=None):
    """Its standard output, or None and a note."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=time_limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as why:
        print(f"  {command[0]}: {why}", file=sys.stderr)
        return None
    if done.returncode != 0:
        print(f"  {shlex.join(command)[:200]}: exit code {done.returncode}\n{done.stderr[-600:]}", file=sys.stderr)
        return None
    return done.stdout


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Ocellus:
    def __init__(self, given):
        self.given = given

    def report(self, file, groups, more=()):
        command = [self.given.bench, "model", file, "--json", "--only", ",".join(groups), "--threads",
                   str(self.given.threads), "--precision", self.given.precision, *more]
        made = run(command)
        return json.loads(made) if made else None

    @staticmethod
    def figures(report):
        """(group, tokens, at) to (seconds, share of the limit)."""
        return {(f["group"], f["tokens"] if f["group"] == "prefill" else 0, f["at"]):
                (statistics.median(f["seconds"]), statistics.median(f["shares"]) if f["shares"] else None,
                 f["tokens"]) for f in report["figures"]}


class Llama:
    def __init__(self, given):
        self.given = given
        self.files = dict(pair.split("=", 1) for pair in given.gguf)

    def has(self, form):
        return bool(self.given.llama) and form in self.files

    def name(self, form):
        return "llama.cpp " + os.path.basename(self.files[form]).rsplit(".", 1)[0].rsplit("-", 1)[-1]

    def tokens_per_second(self, form, prompt_lengths, depths):
        """(prompt or 0, depth) to tokens a second. llama-bench warms up by itself."""
        made = {}
        base = shlex.split(self.given.llama) + ["-m", self.files[form], "-r", "1", "-t", str(self.given.threads), "-fa",
                                                "on", "-o", "json"]
        parts = []
        if prompt_lengths:
            parts.append(["-p", ",".join(map(str, prompt_lengths)), "-n", "0"])
        if depths:
            parts.append(["-p", "0", "-n", "16", "-d", ",".join(map(str, depths))])
        for part in parts:
            for test in json.loads(run(base + part) or "[]"):
                made[test["n_prompt"], test.get("n_depth", 0)] = test["avg_ts"]
        return made


class Torch:
    def __init__(self, given):
        self.given = given

    def seconds(self, image):
        with open(os.path.join(here, "../tests/tools/reference/tinygptv.py"), encoding="utf-8") as file:
            model = file.read()
        with open(os.path.join(here, "peers/torch_bench.py"), encoding="utf-8") as file:
            bench = file.read()
        script = (f"import sys, types\nmodule = types.ModuleType('tinygptv')\nsys.modules['tinygptv'] = module\n"
                  f"exec(compile({model!r}, 'tinygptv.py', 'exec'), module.__dict__)\n"
                  f"exec(compile({bench!r}, 'torch_bench.py', 'exec'))\n")
        made = run(shlex.split(self.given.torch) + ["-", "--image", str(image), "--threads", str(self.given.threads)],
                   script)
        return json.loads(made.strip().splitlines()[-1]) if made else None


class Rows:
    """One for each comparison: values of ours and of the peer, a pair a round."""

    def __init__(self):
        self.all = {}

    def add(self, key, unit, ours, peer, theirs, share=None):
        """key: (group, format, what). unit: tokens/s, or s, of which less is better."""
        row = self.all.setdefault(key, {"group": key[0], "format": key[1], "what": key[2], "unit": unit, "peer": peer,
                                        "ocellus": [], "other": [], "share_of_limit": []})
        row["ocellus"].append(ours)
        row["other"].append(theirs)
        if share is not None:
            row["share_of_limit"].append(share)

    def finished(self):
        for row in self.all.values():
            pairs = [(a, b) for a, b in zip(row["ocellus"], row["other"]) if a and b]
            ratios = [b / a if row["unit"] == "s" else a / b for a, b in pairs]
            row["ratio"] = statistics.median(ratios) if ratios else None
            row["ratios"] = ratios
        return list(self.all.values())


def compare_text(given, ours, llama, files, rows):
    for form, file in files.items():
        lengths = prompts if "prefill" in given.only else []
        depths = contexts if "decode" in given.only else []
        groups = [g for g in ("prefill", "decode") if g in given.only]
        if not groups:
            return
        for number in range(given.rounds):
            print(f"{form}, round {number + 1}: {', '.join(groups)}", file=sys.stderr, flush=True)
            report = ours.report(file, groups, ["--rounds", "1", "--prompts", ",".join(map(str, prompts)), "--contexts",
                                                ",".join(map(str, contexts))])
            peer = llama.tokens_per_second(form, lengths, depths) if llama.has(form) else {}
            name = llama.name(form) if llama.has(form) else None
            if report is None:
                continue
            figures = ours.figures(report)
            for n in [n for n in lengths if ("prefill", n, 0) in figures]:
                seconds, share, _ = figures["prefill", n, 0]
                rows.add(("prefill", form, f"prompt of {n}"), "tokens/s", n / seconds, name, peer.get((n, 0)), share)
            for at in [at for at in depths if ("decode", 0, at) in figures]:
                seconds, share, tokens = figures["decode", 0, at]
                rows.add(("decode", form, f"tokens at {at}"), "tokens/s", tokens / seconds, name, peer.get((0, at)),
                         share)


def compare_pictures(given, ours, torch, files, rows):
    groups = [g for g in ("picture", "first") if g in given.only]
    if not groups:
        return
    text_beside = {}  # format to the picture size beside which prompt and token are shown: they do not depend on it
    for number in range(given.rounds):
        made = []
        for file in files:
            print(f"{os.path.basename(file)}, round {number + 1}: {', '.join(groups)}", file=sys.stderr, flush=True)
            report = ours.report(file, groups + ["prefill", "decode"],
                                 ["--rounds", "1", "--prompts", str(pytorch_prompt), "--contexts", str(pytorch_prompt),
                                  "--context", "128"])
            if report and report["image_size"]:
                made.append(report)
        for image in sorted({r["image_size"] for r in made}):
            theirs = {}
            if given.torch:
                print(f"PyTorch, {image} px, round {number + 1}", file=sys.stderr, flush=True)
                theirs = torch.seconds(image) or {}
            for report in made:
                if report["image_size"] != image:
                    continue
                figures, form = ours.figures(report), report["format"]
                peer = "PyTorch bf16" if given.torch else None
                if "picture" in groups:
                    seconds, share, _ = figures["picture", 0, 0]
                    rows.add(("picture", form, f"picture of {image} px"), "s", seconds, peer, theirs.get("picture"),
                             share)
                if "first" in groups:
                    seconds, share, _ = figures["first", 0, 0]
                    rows.add(("first", form, f"{image} px and 48 tokens to the first"), "s", seconds, peer,
                             theirs.get("first"), share)
                if text_beside.setdefault(form, image) == image:
                    seconds, share, tokens = figures["prefill", pytorch_prompt, 0]
                    rows.add(("first", form, f"prompt of {pytorch_prompt}"), "s", seconds, peer, theirs.get("prompt"),
                             share)
                    seconds, share, tokens = figures["decode", 0, pytorch_prompt]
                    rows.add(("first", form, "one token"), "s", seconds / tokens, peer, theirs.get("token"), share)


def print_table(rows):
    print(f"{'':34} {'ocellus':>10} {'peer':>10}  ratio  of the limit")
    for row in rows:
        values = [statistics.median([v for v in row[who] if v] or [0]) for who in ("ocellus", "other")]
        digits = 3 if row["unit"] == "s" else 1
        ratio = f"{row['ratio']:5.2f}" if row["ratio"] else "    -"
        share = f"{100 * statistics.median(row['share_of_limit']):3.0f} %" if row["share_of_limit"] else ""
        print(f"{row['format'] + ', ' + row['what']:34} {values[0]:10.{digits}f} {values[1]:10.{digits}f}  {ratio}  "
              f"{share:6}  {row['unit']}, {row['peer'] or 'no peer'}")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", action="append", required=True)
    options.add_argument("--bench", default=os.path.join(here, "../build/bench/ocellus-bench"))
    options.add_argument("--llama")
    options.add_argument("--gguf", action="append", default=[])
    options.add_argument("--torch")
    options.add_argument("--only", default="decode,prefill,picture,first")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--precision", default="fast")
    options.add_argument("--json")
    given = options.parse_args()
    given.only = given.only.split(",")
    for name in given.only:
        if name not in ("decode", "prefill", "picture", "first", "curves"):
            options.error(f"--only: there is no {name}")

    ours, rows = Ocellus(given), Rows()
    first = {}  # of each format
    for file in given.model:
        # A measurement that is over at once tells format and machine.
        report = ours.report(file, ["load"], ["--rounds", "1"])
        if report is None:
            sys.exit(f"{file} could not be measured")
        first.setdefault(report["format"], file)
    result = {"processor": processor(), "threads": given.threads, "target": report["target"],
              "precision": given.precision, "rounds": given.rounds, "rows": [], "curves": []}

    compare_text(given, ours, Llama(given), first, rows)
    compare_pictures(given, ours, Torch(given), given.model, rows)
    result["rows"] = rows.finished()
    if "curves" in given.only:
        for file in given.model:
            print(f"{os.path.basename(file)}: curves", file=sys.stderr, flush=True)
            report = ours.report(file, ["picture", "prefill", "decode", "first", "load", "threads"])
            if report:
                result["curves"].append(report)
    print(f"\n{result['processor']}, {given.threads} threads, {result['target']}, {given.precision}")
    print_table(result["rows"])
    if given.json:
        if os.path.exists(given.json):
            with open(given.json, encoding="utf-8") as file:
                before = json.load(file)
            again = {(r["group"], r["format"], r["what"]) for r in result["rows"]}
            kept = [r for r in before["rows"] if (r["group"], r["format"], r["what"]) not in again]
            result["rows"] = kept + result["rows"]
            files = {c["file"] for c in result["curves"]}
            result["curves"] = [c for c in before["curves"] if c["file"] not in files] + result["curves"]
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
