#!/bin/bash
# `ocellus inspect`: what it prints and returns for good files, other files and hostile ones, for people and for scripts.
# The program is $OCELLUS_PROGRAM, or what is built in build/. Prints what is wrong and ends with "N passed, N failed".
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
program=$(realpath "${OCELLUS_PROGRAM:-$here/build/examples/ocellus}")
golden=$here/tests/data/golden
model=$here/examples/data/micro.safetensors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
source "$here/tests/support/expect.sh"

# expect_json NAME CODE EXPRESSION FILE...: the output is one line of printable ASCII and JSON, of which the Python
# expression over d is true.
expect_json() {
  local name=$1 code=$2 expression=$3
  shift 3
  # shellcheck disable=SC2016
  expect "JSON: $name" "$code" "True" "" bash -c '
    "$0" inspect --json "${@:3}" >"$1"; code=$?
    LC_ALL=C grep "[^ -~]" "$1"
    python3 -c "import json, sys; d = json.load(open(sys.argv[1])); print($2)" "$1"
    exit "$code"' "$program" "$work/json" "$expression" "$@"
}

# --- every kind of file, for people

expect "ViT" 0 "*ViT, as eva_vit_g.pth (convert --vit)*of the file's*tensor *vision.blocks.*.qkv.bias*not used: last block of the ViT*" "" \
  "$program" inspect "$golden/eva_vit_g.pth"
expect "Q-Former" 0 "*convert --qformer)*queries*qformer.layers.#.self.qkv.weight*text branch of the Q-Former*" "" \
  "$program" inspect "$golden/blip2_pretrained_flant5xxl.pth"
expect "stage file" 0 "*stage 4 by its name (convert --stage)*rank *LoRA of phi.layers.#.qkv.weight*" "" \
  "$program" inspect "$golden/TinyGPT-V_for_Stage4.pth"
expect "Phi-2, a folder" 0 "*Phi-2 (convert --phi*MLP 200*context*layout*tokenizer     none*phi.embedding*" "" "$program" inspect "$golden/phi-2"
expect "Phi-2, a file" 0 "*Phi-2 (convert --phi*layout*phi.embedding*" "" "$program" inspect "$golden/phi-2/model.safetensors"
expect "another file" 0 "*no file that ocellus knows*" "" "$program" inspect "$golden/golden.safetensors"
expect "tokenizer, a folder" 0 "*what          tokenizer*50295 ids*" "" "$program" inspect "$here/tests/data/tokenizer"
expect "model" 0 "*model of format 0*4 layers*template      micro*bf16 packed  [[]512, 160]*tokenizer*" "" "$program" inspect "$model"
expect "layers share rows" 0 "*phi.layers.0-3.qkv.weight*qformer.layers.0,2.cross.q.weight*" "" "$program" inspect "$model"
expect "or each has its own" 0 "*phi.layers.0.qkv.weight*phi.layers.3.qkv.weight*" "" "$program" inspect "$model" --verbose
python3 - "$golden/TinyGPT-V_for_Stage4.pth" <<'PYTHON'
import shutil, sys, zipfile
shutil.copy(sys.argv[1], "trained.pth")
with zipfile.ZipFile("trained.pth", "a") as file:
    file.writestr(file.namelist()[0].split("/")[0] + "/data/1000", bytes(2_000_000))
PYTHON
expect "what is not the model's is not read" 0 "*not read      2.0 MB beside the tensors*" "" "$program" inspect trained.pth
expect "checksums" 0 "*convert --stage*" "" "$program" inspect --checksums "$golden/TinyGPT-V_for_Stage4.pth"

# --- and for scripts

expect_json "ViT" 0 "d['kind'] == 'vit' and d['container'] == 'torch' and d['vit']['layers'] + 1 == d['vit']['blocks_in_file']" "$golden/eva_vit_g.pth"
expect_json "Q-Former" 0 "d['kind'] == 'qformer' and d['qformer']['cross_layers'][0] == 0 and 'phi' not in d" "$golden/blip2_pretrained_flant5xxl.pth"
expect_json "stage file" 0 "d['kind'] == 'stage' and d['stage']['number'] == 4 and d['stage']['told_by'] == 'name' and d['stage']['lora_rank'] > 0" \
  "$golden/TinyGPT-V_for_Stage4.pth"
expect_json "Phi-2" 0 "d['kind'] == 'phi' and d['phi']['layout'] in ('Wqkv', 'query_key_value', 'q_proj') and d['phi']['heads'] > 0" "$golden/phi-2"
expect_json "tokenizer" 0 "d['kind'] == 'tokenizer' and d['tokenizer_ids'] == 50295 and d['tensors'] == []" "$here/tests/data/tokenizer"
expect_json "model" 0 "d['kind'] == 'model' and d['model']['stops'] == ['###'] and d['file_bytes'] == $(stat -c %s "$model")" "$model"
expect_json "a packed matrix" 0 "[(t['shape'], t['stored_shape'], t['format']) for t in d['tensors'] if t['name'] == 'vision.patch.weight'] == [([176, 588], [11, 320, 16, 2], 'bf16')]" "$model"
expect_json "sums" 0 "d['tensor_bytes'] == sum(t['bytes'] for t in d['tensors']) == sum(s['bytes'] for s in d['dtypes'].values()) and len(d['tensors']) == sum(s['tensors'] for s in d['uses'].values())" \
  "$golden/eva_vit_g.pth"
expect_json "several files: an array; a refused one in it" 1 "[e.get('kind', e.get('error', {}).get('code')) for e in d] == ['model', 'not_found', 'phi']" \
  "$model" nowhere "$golden/phi-2"
expect_json "refused: code, number and message" 1 "d['error']['code'] == 'not_found' and d['error']['number'] == 100 and 'nowhere' in d['error']['message'] and d['path'] == 'nowhere'" nowhere

# --- files that are refused

python3 - "$here" <<'PYTHON'
import os, subprocess, sys
for name in "pth", "safetensors":
    subprocess.run([sys.executable, sys.argv[1] + f"/tests/data/corpora/{name}_corpus_gen.py", name], check=True, stdout=subprocess.DEVNULL)
PYTHON
while read -r code file; do
  expect "refused: $file" 1 "" "ocellus: *\"$file\"*[(]$code)" "$program" inspect "$file"
  expect_json "refused: $file" 1 "d['error']['code'] == '$code'" "$file"
done <<'CASES'
empty_file safetensors/a01_empty.safetensors
header_past_eof safetensors/a06_hdrlen_gt_file.safetensors
header_too_large safetensors/a08_hdrlen_u64max.safetensors
truncated_data safetensors/a15_truncated_data.safetensors
trailing_data safetensors/a17_polyglot_zip_tail.safetensors
not_this_format safetensors/a21_gzip_magic.safetensors
zip_end safetensors/a22_pickle_zip.safetensors
not_this_format safetensors/a23_html_lfs.safetensors
utf8 safetensors/b16_invalid_utf8_in_name.safetensors
bad_name safetensors/b21_nul_escape_in_name.safetensors
limit_name safetensors/b27_name_64k.safetensors
json_depth safetensors/b28_deep_nesting_arr.safetensors
duplicate_key safetensors/c03_dup_via_escape.safetensors
overflow safetensors/d26_shape_overflow_mul.safetensors
rank safetensors/d35_rank_9.safetensors
zip_compressed pth/z20_deflate_bomb_pkl.pth
legacy_tar pth/z37_legacy_tar_ustar.pth
legacy_pickle pth/z38_legacy_magic_pickle.pth
pickle_global pth/p25_global_os_system.pth
view_range pth/m01_offset_past_storage.pth
CASES
python3 - "$golden/TinyGPT-V_for_Stage4.pth" <<'PYTHON'
import sys, zipfile
file = bytearray(open(sys.argv[1], "rb").read())
largest = max(zipfile.ZipFile(sys.argv[1]).infolist(), key=lambda entry: entry.file_size)
file[largest.header_offset + largest.file_size // 2 + 128] ^= 1
open("damaged.pth", "wb").write(file)
PYTHON
expect "the bytes of tensors are compared when asked for" 1 "" "*[(]zip_crc)" "$program" inspect --checksums damaged.pth
expect "and only then" 0 "*convert --stage*" "" "$program" inspect damaged.pth
expect "a folder with nothing" 1 "" "*[(]not_found)" "$program" inspect pth/.
expect "a device" 1 "" "*[(]not_found)" "$program" inspect /dev/null
expect "the good ones of several are shown" 1 "$golden/phi-2*Phi-2*" "*nowhere*[(]not_found)" "$program" inspect nowhere "$golden/phi-2"

# --- names that would do something to a terminal

python3 - <<'PYTHON'
import json, struct
def write(path, names):
    header = json.dumps({n: {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i, n in enumerate(names)}).encode()
    with open(path, "wb") as f: f.write(struct.pack("<Q", len(header)) + header + bytes(len(names)))
write("hostile.safetensors", ["\x1b]0;owned\x07", "line\nfeed", "\u202egpj.exe", "\u009b31m", "del\x7f", "back\\slash", "\U0001f600", "n" * 4096, ""])
PYTHON
cp "$golden/phi-2/model.safetensors" $'\x1b[31m\xe2\x80\xae\xff.safetensors'
# shellcheck disable=SC2016
expect "nothing but printable ASCII" 1 "" "" bash -c '"$0" inspect ./*.safetensors | LC_ALL=C grep "[^ -~]"' "$program"
expect "control characters, letters that turn the text around" 0 '*\\x1b]0;owned\\x07*\\xe2\\x80\\xaegpj.exe*' "" "$program" inspect hostile.safetensors
expect "long names are cut" 0 "*nnn...*" "" bash -c '"$0" inspect hostile.safetensors | cut -c -200' "$program"
expect_json "JSON has them whole" 0 "{'\\x1b]0;owned\\x07', 'line\\nfeed', '\\u202egpj.exe', '\\u009b31m', 'del\\x7f', 'back\\\\slash', '\\U0001f600', 'n' * 4096, ''} == {t['name'] for t in d['tensors']}" \
  hostile.safetensors
expect "paths are escaped" 0 './\\x1b[[]31m\\xe2\\x80\\xae\\xff.safetensors*Phi-2*' "" "$program" inspect ./*31m*
expect_json "a path that is no UTF-8" 0 "d['path'].endswith('\\u202e\\ufffd.safetensors') and d['kind'] == 'phi'" ./*31m*

# --- a conversion's inventory

expect "convert tells the choices, LoRA's scale among them" 0 "" "*choice: Phi-2's attention weights*choice: LoRA of rank * is added with a scale of 8.5 / *tensors: *loaded*merged*ignored*wrote out.safetensors*" \
  "$program" convert --vit "$golden/eva_vit_g.pth" --qformer "$golden/blip2_pretrained_flant5xxl.pth" --phi "$golden/phi-2" \
  --stage "$golden/TinyGPT-V_for_Stage4.pth" --lora-alpha 8.5 out.safetensors
expect "what it wrote is a model" 0 "*model of format 0*" "" "$program" inspect out.safetensors

expect "usage: no file" 2 "" "*usage: ocellus inspect FILE...*" "$program" inspect
expect "usage: an option that does not exist" 2 "" "ocellus inspect: *--tensors*" "$program" inspect --tensors "$model"

finish_cases
