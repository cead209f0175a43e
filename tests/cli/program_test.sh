#!/bin/bash
# What the command line program prints and returns, good input and bad. The program is $OCELLUS_PROGRAM, or what is built
# in build/. Prints what is wrong and ends with "N passed, N failed".
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
program=$(realpath "${OCELLUS_PROGRAM:-$here/build/examples/ocellus}")
data=$here/examples/data
model=$data/micro.safetensors
picture=$data/circle_and_cross.png
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
source "$here/tests/support/expect.sh"

head -c 100000 "$model" >short.safetensors
head -c 2000 "$picture" >short.png
echo 'no picture at all' >words.png
long=$(printf 'word %.0s' {1..600})

expect "version" 0 "ocellus [0-9]*" "" "$program" --version
expect "help" 0 "*usage: ocellus*diff MODEL GOLDEN*" "" "$program" --help
for command in ask chat tokenize info inspect convert synth diff; do
  expect "help of $command" 0 "usage: ocellus $command *" "" "$program" "$command" --help
done
expect "no command" 2 "" "*usage:*" "$program"
expect "unknown command" 2 "" "*no command dance*" "$program" dance

expect "a caption, nothing else on stdout" 0 "a blue circle and a green cross" "" \
  "$program" ask "$model" "$picture" "[caption] please describe this image?"
for threads in 1 2 5; do
  expect "the same with $threads threads" 0 "a blue circle and a green cross" "" \
    "$program" ask "$model" "$picture" "[caption] please describe this image?" --threads $threads
done
expect "the same with the reference kernels" 0 "a blue circle and a green cross" "" \
  "$program" ask "$model" "$picture" "[caption] please describe this image?" --target reference
expect "seeded sampling is repeatable, and --stats goes to stderr" 0 "?*" "*a second*" \
  "$program" ask "$model" "$picture" "[vqa] what color is the circle?" --temperature 1.5 --top-k 9 --top-p 0.9 --seed 3 --stats
expect "a limit of tokens" 0 "a blue" "" "$program" ask "$model" "$picture" "[caption] please describe this image?" --max-tokens 2
expect "two pictures" 0 "*" "" "$program" ask "$model" "$picture" "$picture" "[vqa] what color is the circle?"
expect "several questions about a picture" 0 $'a blue circle and a green cross\ngreen\n<p>circle</p> {*}' "" \
  "$program" ask "$model" "$picture" "[caption] please describe this image?" "[vqa] what color is the cross?" "[detection] circle"
cross="[vqa] what color is the cross?" circle="[detection] circle"
expect "more questions than go together" 0 $'green\n<p>*}\ngreen\n<p>*}\ngreen\n<p>*}\ngreen\n<p>*}\ngreen' "*a second*" "$program" ask "$model" \
  "$picture" --stats "$cross" "$circle" "$cross" "$circle" "$cross" "$circle" "$cross" "$circle" "$cross"
expect "one of several questions is too long" 1 "" "*[(]context_full)" "$program" ask "$model" "$picture" "?" "$long"
expect "boxes of several questions" 2 "" "*--boxes takes one question*" "$program" ask "$model" "$picture" "?" "?" --boxes none.png
expect "no picture" 0 "*" "" "$program" ask "$model" "[vqa] what color is the circle?"
expect "boxes drawn" 0 "{<*>}" "1 box drawn into out.png" \
  "$program" ask "$model" "$picture" "[refer] the blue circle" --boxes out.png
expect "the drawn picture is a picture" 0 "a*" "" "$program" ask "$model" out.png "[caption] please describe this image?"
expect_input $'[vqa] what color is the cross?\n\n[vqa] what color is the circle?\n' \
  "chat: two turns" 0 $'green\n*' "" "$program" chat "$model" "$picture"
expect_input $'/show nowhere.png\n/quit\nnever asked\n' \
  "chat: a picture that is not there" 1 "" "*nowhere.png*" "$program" chat "$model" "$picture"

expect_input 'what color is it?' "tokenize" 0 "[0-9]*" "" "$program" tokenize "$model"
ids=$(printf 'two  words\n\t\xc3\xa4' | "$program" tokenize "$model")
expect_input "$ids" "tokenize and back" 0 $'two  words\n\t\xc3\xa4' "" "$program" tokenize "$model" --decode
expect_input '<|endoftext|>' "special tokens are parsed" 0 "[0-9][0-9][0-9]" "" "$program" tokenize "$model"
expect_input '<|endoftext|>' "or not" 0 "*[0-9] [0-9]*" "" "$program" tokenize "$model" --plain
expect_input '1 2 x' "decode: no number" 1 "" "*not a token id*" "$program" tokenize "$model" --decode
expect_input '4000000000' "decode: no token" 1 "" "*4000000000*" "$program" tokenize "$model" --decode
expect_input '' "tokenize nothing" 0 "" "" "$program" tokenize "$model"
expect "tokenize: a folder without a tokenizer" 1 "" "*no tokenizer*" "$program" tokenize "$work"

expect "info" 0 "*ViT*4 layers*template*micro*" "" "$program" info "$model"
expect "info of the processor" 0 "*kernels*reference*" "" "$program" info

expect "a model that is not there" 1 "" "*nowhere.safetensors*[(]not_found)" "$program" ask nowhere.safetensors "$picture" "?"
expect "a model cut short" 1 "" "*short.safetensors*[(]truncated_data)" "$program" ask short.safetensors "$picture" "?"
expect "a model that is a picture" 1 "" "*circle_and_cross.png*" "$program" info "$picture"
expect "a model that is a folder" 1 "" "*[(]not_regular)" "$program" info "$work"
expect "a picture that is not there" 1 "" "*nowhere.png*[(]not_found)" "$program" ask "$model" nowhere.png "?"
expect "a picture that is none" 1 "" "*words.png*[(]image_format)" "$program" ask "$model" words.png "?"
expect "a picture cut short" 1 "" "*short.png*[(]image_truncated)" "$program" ask "$model" short.png "?"
expect "a question longer than the context" 1 "" "*of the context's 512 are left [(]context_full)" "$program" ask "$model" "$picture" "$long"
expect "a template that does not exist" 1 "" '*"poem"*[(]template_unknown)' "$program" ask "$model" "$picture" "?" --template poem
expect "kernels that do not exist" 1 "" '*"abacus"*[(]target_unknown)' "$program" ask "$model" "$picture" "?" --target abacus
expect "a context larger than the model's" 1 "" "*512*[(]invalid_argument)" "$program" ask "$model" "$picture" "?" --context 513
expect "boxes into a folder that is not there" 1 "*" "*no/where.png*" "$program" ask "$model" "$picture" "[refer] the blue circle" --boxes no/where.png
expect "a golden that is none" 1 "" "*" "$program" diff "$model" "$picture"
expect "a golden without input" 1 "" "*prompt.before*" "$program" diff "$model" "$model"
expect "convert: nothing there" 1 "" "*nowhere*" "$program" convert --phi nowhere out.safetensors
expect "convert: a format that does not exist" 2 "" "*--format*" "$program" convert --phi . --format q9 out.safetensors
for format in f32 f16 bf16 q8 q4; do
  expect "synth: a model in $format" 0 "" "wrote made.safetensors, *; 4,088,896 weights in matrices, * bits each" \
    "$program" synth --size micro --format $format made.safetensors
  expect "a made model in $format answers" 0 "*" "" "$program" ask made.safetensors "$picture" "what?" --max-tokens 3
done
expect "a made model says what it is" 0 "*ViT*4 layers*I8*U8*257 ids*" "" "$program" info made.safetensors
expect "inspect: scales belong to their matrix" 0 "*scales of phi.embedding*phi.head.weight*q8 packed*" "" \
  "$program" inspect --verbose made.safetensors
rm -f made.safetensors
expect "synth: a size that does not exist" 2 "" "*--size*" "$program" synth --size tiny made.safetensors
expect "synth: a format that does not exist" 2 "" "*--vision-format*" "$program" synth --size micro --vision-format q3 made.safetensors
expect "synth: an odd image size" 1 "" "*image_size*" "$program" synth --size micro --image-size 100 made.safetensors
expect "nothing was left behind" 0 $'out.png\nshort.png\nshort.safetensors\nstderr\nstdin\nwords.png' "" ls

for wrong in "--threads 0" "--threads many" "--threads 4294967296" "--max-tokens 0" "--max-tokens -1" "--temperature nan" \
             "--temperature -1" "--top-p 0" "--top-p 2" "--seed 1x" "--frobnicate" "--seed" "--stats=1" "--precision best"; do
  # shellcheck disable=SC2086
  expect "usage: $wrong" 2 "" "ocellus ask: *${wrong%%[ =]*}*" "$program" ask "$model" "$picture" "?" $wrong
done
expect "usage: too few words" 2 "" "*usage: ocellus ask*" "$program" ask "$model"
expect "usage: diff of one file" 2 "" "*usage: ocellus diff*" "$program" diff "$model"

finish_cases
