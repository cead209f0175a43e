#!/bin/bash
# Converts published files of their real sizes with `ocellus convert` and holds its memory against the limit: less than
# 1 GB, one matrix of the files at a time. The files have random weights (tests/tools/full_size_files.py); the state of
# the optimizer in the stage file has wrong checksums and must not be looked at. One line a step, at last
# "N passed, N failed".
#
#   tests/full_size/run.sh [--format F]... [--folder DIR] [--keep]
#
#   --format F     of the model's matrices; may stand several times (default: bf16)
#   --folder DIR   where the files are made, or are already; needs 9 GB and the model's size more, 8 GB in
#                  bf16 (default: build/full_size)
#   --keep         leave there what was made
#
# Not a part of tests/run.sh because of its size; it takes five minutes on an idle machine. Linux, python3.
# OCELLUS_PROGRAM: the program (default: build/examples/ocellus).
set -u
cd "$(dirname "$0")/../.."
source tests/support/steps.sh

program=${OCELLUS_PROGRAM:-build/examples/ocellus}
folder=build/full_size
keep=0
formats=()
while [ $# -gt 0 ]; do
  case $1 in
    --format) formats+=("${2:?--format needs a name}") && shift ;;
    --folder) folder=${2:?--folder needs a path} && shift ;;
    --keep) keep=1 ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
  esac
  shift
done
if [ ${#formats[@]} -eq 0 ]; then formats=(bf16); fi
if [ ! -x "$program" ]; then
  echo "no program $program: build it first (see README.md) or set OCELLUS_PROGRAM" >&2
  exit 2
fi
steps_logs=build/logs/full_size

if [ -e "$folder/phi-2/vocab.json" ]; then made=0; else made=1; fi  # (the last thing that is written)

make_files() {
  if [ "$made" -eq 1 ]; then python3 tests/tools/full_size_files.py "$folder"; fi
  du -sh "$folder"
}

# convert FORMAT
convert() {
  python3 tests/tools/peak_memory.py --limit-mb 1000 "$program" convert --vit "$folder/eva_vit_g.pth" \
    --qformer "$folder/blip2_pretrained_flant5xxl.pth" --phi "$folder/phi-2" \
    --stage "$folder/TinyGPT-V_for_Stage4.pth" --image-size 448 --format "$1" "$folder/model_$1.safetensors"
}

# open_model FORMAT: all of it is checked but the weights' values.
open_model() {
  "$program" info "$folder/model_$1.safetensors"
}

# shown NAME COMMAND...: a step, and the last line that it printed.
shown() {
  run_step "$@"
  if [ "$step_ok" -eq 1 ]; then tail -n 1 "$steps_logs/${1//[^A-Za-z0-9_.-]/_}.log" | sed 's/^/      /'; fi
}

shown "files of full size" make_files
if [ "$step_ok" -eq 1 ]; then
  for format in "${formats[@]}"; do
    shown "convert to $format in less than 1 GB" convert "$format"
    if [ "$step_ok" -eq 1 ]; then run_step "open $format" open_model "$format"; fi
    if [ "$keep" -eq 0 ]; then rm -f "$folder/model_$format.safetensors"; fi
  done
fi
if [ "$keep" -eq 0 ] && [ "$made" -eq 1 ]; then
  rm -rf "$folder"/{eva_vit_g,blip2_pretrained_flant5xxl,TinyGPT-V_for_Stage4}.pth "$folder/phi-2"
  rmdir "$folder" 2> /dev/null
fi
finish_steps
