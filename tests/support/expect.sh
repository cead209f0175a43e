# Sourced by tests of the command line program: runs commands and compares what they print and return. Set work to a folder
# for scratch files first.
passed=0 failed=0

# expect NAME CODE STDOUT-PATTERN STDERR-PATTERN COMMAND...: patterns are bash globs for all of the output.
expect() {
  local name=$1 code=$2 out=$3 err=$4 got_out got_code
  shift 4
  got_out=$("$@" 2>"$work/stderr" </dev/null)
  got_code=$?
  local got_err
  got_err=$(cat "$work/stderr")
  # shellcheck disable=SC2053
  if [[ $got_code == "$code" && $got_out == $out && $got_err == $err ]]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n  command: %s\n  code %s, expected %s\n  stdout: %s\n  expected: %s\n  stderr: %s\n  expected: %s\n' \
      "$name" "$*" "$got_code" "$code" "$got_out" "$out" "$got_err" "$err"
  fi
}
# The same with text on standard input.
expect_input() {
  local input=$1
  shift
  printf '%s' "$input" >"$work/stdin"
  local name=$1 code=$2 out=$3 err=$4
  shift 4
  # shellcheck disable=SC2016
  expect "$name" "$code" "$out" "$err" bash -c '"$@" <"$0"' "$work/stdin" "$@"
}

# The last lines, the first of them for steps.sh, and the script's exit status.
finish_cases() {
  echo "counted: $passed $failed 0"
  echo "$passed passed, $failed failed"
  [[ $failed == 0 ]]
}
