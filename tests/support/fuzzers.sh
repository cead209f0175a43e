# The fuzzers of tests/fuzz as steps of tests/run.sh. Sourced; uses its variables root, build, jobs. Seeds are made by
# fuzz_seeds and the corpora of tests/data/corpora; what fuzzing adds stays in build/full/fuzz/corpus for the next time.
#
# FUZZ_SECONDS=n fuzzes each target for n seconds (default: 20). To go on by hand, or to run one file again:
#   build/full/fuzz/tests/fuzz/json_fuzz -dict=tests/fuzz/json.dict build/full/fuzz/corpus/json
#   build/full/fuzz/tests/fuzz/json_fuzz FILE

fuzz_folder=$build/full/fuzz

build_fuzzers() {
  # On some releases libFuzzer is a package of its own, which clang only recommends.
  if apt-cache show libclang-rt-dev > /dev/null 2>&1; then install_missing libclang-rt-dev; fi
  cmake_build "$fuzz_folder" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS=-march=native -DOCELLUS_BUILD_FUZZERS=ON \
    -DOCELLUS_STATIC_DISPATCH=ON -DOCELLUS_BUILD_TESTS=OFF -DOCELLUS_BUILD_EXAMPLES=OFF
  rm -rf "$fuzz_folder/seeds"
  "$fuzz_folder/tests/fuzz/fuzz_seeds" "$fuzz_folder/seeds"
  python3 tests/data/corpora/safetensors_corpus_gen.py "$fuzz_folder/corpora/safetensors"
  python3 tests/data/corpora/pth_corpus_gen.py "$fuzz_folder/corpora/torch"
}

fuzz_targets() { (cd tests/fuzz && ls ./*_fuzz.cpp) | sed 's,^\./,,;s,_fuzz\.cpp$,,'; }

# fuzz_input_folders TARGET: what is there for it, one a line; the first is the one that fuzzing adds to.
fuzz_input_folders() {
  local folder
  mkdir -p "$fuzz_folder/corpus/$1"
  for folder in corpus seeds corpora; do
    if [ -d "$fuzz_folder/$folder/$1" ]; then echo "$fuzz_folder/$folder/$1"; fi
  done
}

# run_fuzzer TARGET OPTION...: counts it as passed if nothing was found and something was accepted.
run_fuzzer() {
  local target=$1 log=$fuzz_folder/$1.log found=$fuzz_folder/findings/$1- code=0
  shift
  "$fuzz_folder/tests/fuzz/${target}_fuzz" -timeout=20 -rss_limit_mb=2048 -artifact_prefix="$found" "$@" > "$log" 2>&1 || code=$?
  if [ "$code" -eq 0 ] && grep -aq '^accepted: [1-9]' "$log"; then
    echo "$target: $(grep -a '^accepted: ' "$log" | tail -n 1)"
    count 1 0 0
    return 0
  fi
  echo "$target: ERROR: exit status $code, $(grep -a '^accepted: ' "$log" | tail -n 1), log: $log"
  grep -a -E -A 12 'does not hold|promised|ERROR: |runtime error: |ALARM: ' "$log" | head -n 24 || true
  count 0 1 0
}

# for_fuzz_targets FUNCTION: calls it for each target, as many at a time as there are jobs. At last tells which inputs
# failed.
for_fuzz_targets() {
  local target
  mkdir -p "$fuzz_folder/findings"
  for target in $(fuzz_targets); do
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n || true; done
    "$1" "$target" &
  done
  wait
  grep -aho 'Test unit written to .*' "$fuzz_folder"/*.log | sed 's/.* written to /reproducer: /' || true
}

# Every seed, every file of the corpora, everything that earlier runs kept.
replay_fuzzers() { for_fuzz_targets replay_one; }
replay_one() {
  local folders
  mapfile -t folders < <(fuzz_input_folders "$1")
  run_fuzzer "$1" -runs=0 -max_len=100000000 "${folders[@]}"  # larger than any file
}

run_fuzzers() { for_fuzz_targets fuzz_one; }
fuzz_one() {
  local folders options=("-max_total_time=${FUZZ_SECONDS:-20}")
  mapfile -t folders < <(fuzz_input_folders "$1")
  if [ -f "tests/fuzz/$1.dict" ]; then options+=("-dict=$root/tests/fuzz/$1.dict"); fi
  # A few files of the corpora are megabytes; they were replayed.
  if [ -d "$fuzz_folder/corpora/$1" ]; then options+=(-max_len=16384); fi
  run_fuzzer "$1" "${options[@]}" "${folders[@]}"
}
