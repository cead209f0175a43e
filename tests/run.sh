#!/bin/bash
# Runs the tests. Installs what is missing (Debian, Ubuntu), builds into build/, prints one line a step and at last
# "N passed, N failed", where a step with a unit test program counts its test cases and any other step counts as one.
#
#   tests/run.sh                  one configuration: all unit tests and the goldens that come with the source
#   tests/run.sh --goldens DIR    the larger goldens in DIR as well
#   tests/run.sh --full           then: other compilers, no exceptions, static dispatch, the newest Highway, sanitizers,
#                                 fuzzing, embedding, Meson, AArch64 (emulated), Windows (compiled), formatting, mutated
#                                 safetensors files judged by Python's safetensors too
#   tests/run.sh --only PATTERN   of these, the steps whose name contains PATTERN (implies --full)
#
# Logs are in build/logs. JOBS=n compiles n files at a time (default: one for each processor); FUZZ_SECONDS=n fuzzes
# each parser for n seconds (default: 20).
set -u
cd "$(dirname "$0")/.."
source tests/support/install.sh
source tests/support/steps.sh
source tests/support/configurations.sh

full=0
only=
goldens=
while [ $# -gt 0 ]; do
  case $1 in
    --full) full=1 ;;
    --only) full=1 only=${2:?--only needs a pattern} && shift ;;
    --goldens) goldens=$(cd "${2:?--goldens needs a folder}" && pwd) || exit 2; shift ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
  esac
  shift
done

root=$PWD
build=$root/build
steps_logs=$build/logs
jobs=${JOBS:-$(nproc)}
source tests/support/fuzzers.sh
export OCELLUS_GOLDENS=$goldens
rm -rf "$steps_logs"

step() {
  if [ -z "$only" ] || [[ $1 == *"$only"* ]]; then run_step "$@"; fi
}

step "packages" install_missing "${packages_base[@]}"
[ "$step_ok" -eq 1 ] || { finish_steps; exit 1; }
step "gcc: build" cmake_build "$build" -DCMAKE_BUILD_TYPE=Release -DOCELLUS_BUILD_TESTS=ON -DOCELLUS_BUILD_BENCH=ON \
  -DOCELLUS_OBSERVE_ERRORS=ON
if [ "$step_ok" -eq 1 ]; then
  export OCELLUS_ERRORS_MADE=$build/errors_made.txt
  rm -f "$OCELLUS_ERRORS_MADE"
  step "gcc: unit tests" doctest "$build/tests/ocellus_tests"
  for script in $(find tests -name '*_test.sh' | sort); do
    step "gcc: ${script#tests/}" env OCELLUS_PROGRAM="$build/examples/ocellus" bash "$script"
  done
  step "gcc: every system call" system_calls \
    "$build/CMakeFiles/ocellus_implementation.dir/examples/support/implementation.cpp.o"
  step "gcc: every error code" every_error_code "$OCELLUS_ERRORS_MADE"
  unset OCELLUS_ERRORS_MADE
fi

if [ "$full" -eq 1 ]; then
  step "packages for --full" install_missing "${packages_full[@]}"
  step "formatting" check_format
  step "clang and Meson: build" meson_build
  if [ "$step_ok" -eq 1 ]; then step "clang and Meson: unit tests" doctest "$build/full/meson/ocellus_tests"; fi
  step "static dispatch, no exceptions: build" build_static
  if [ "$step_ok" -eq 1 ]; then step "static dispatch, no exceptions: unit tests" doctest "$build/full/static/tests/ocellus_tests"; fi
  step "newest Highway: fetch" fetch_newest_highway
  if [ "$step_ok" -eq 1 ]; then step "newest Highway: build" build_newest_highway; fi
  if [ "$step_ok" -eq 1 ]; then step "newest Highway: unit tests" doctest "$build/full/newest_highway/tests/ocellus_tests"; fi
  step "safetensors: fetch" fetch_safetensors
  if [ "$step_ok" -eq 1 ]; then step "safetensors: mutants, with the format's own implementation" compare_safetensors; fi
  step "ASan and UBSan: build" build_asan
  if [ "$step_ok" -eq 1 ]; then step "ASan and UBSan: unit tests" run_asan; fi
  step "fuzzers: build" build_fuzzers
  if [ "$step_ok" -eq 1 ]; then
    step "fuzzers: seeds and corpora" replay_fuzzers
    step "fuzzers: ${FUZZ_SECONDS:-20} s each" run_fuzzers
  fi
  step "TSan: build" build_tsan
  if [ "$step_ok" -eq 1 ]; then step "TSan: threaded tests" run_tsan; fi
  step "AArch64: build" build_aarch64
  if [ "$step_ok" -eq 1 ]; then
    step "AArch64: unit tests" run_aarch64
    step "AArch64: micro model" answer_aarch64
  fi
  step "Windows: compile and link" build_windows
  for compiler in g++ clang++; do
    step "embedding, $compiler" env CXX="$compiler" tests/embedding/run.sh
  done
  step "embedding, newest Highway" embed_newest_highway
fi
finish_steps
