# Sourced by test scripts: runs named steps, shows one line for each, counts, and ends with "N passed, N failed".
# A step is a function or a command. It succeeds with 0, fails with anything else, and is skipped with 77 (the last line
# that it prints then says why). Inside a step the first command that fails ends it (set -e). Set steps_logs to a folder
# first; do not call run_step in a condition.
#
# What is counted: the lines that a step prints through count (test cases of a unit test program, cases of another
# script); a step that prints none counts as one.

steps_passed=0
steps_failed=0
steps_skipped=0
step_ok=1  # was the last step done, and did it succeed?

# count PASSED FAILED SKIPPED: what this step adds to the sums.
count() { echo "counted: $1 $2 $3"; }

# run_step NAME COMMAND [ARGUMENT...]
run_step() {
  set +e
  local name=$1 log begin seconds code passed failed skipped
  shift
  log=$steps_logs/${name//[^A-Za-z0-9_.-]/_}.log
  mkdir -p "$steps_logs"
  begin=$SECONDS
  (
    set -e
    "$@"
  ) > "$log" 2>&1 < /dev/null
  code=$?
  seconds=$((SECONDS - begin))
  read -r passed failed skipped < <(awk '/^counted: /{p+=$2; f+=$3; s+=$4} END{print p+0, f+0, s+0}' "$log")
  if [ "$code" -eq 77 ]; then
    skipped=$((skipped + 1))
    echo "skip  $name: $(tail -n 1 "$log")"
  elif [ "$code" -ne 0 ] || [ "$failed" -ne 0 ]; then
    if [ "$failed" -eq 0 ]; then failed=1; fi
    echo "FAIL  $name (${seconds} s, log: $log)"
    # Of a long log first the places that say error.
    {
      head -n -"${steps_tail:-40}" "$log" | grep -E -B 3 -A 3 '(ERROR|error|Error): ' | head -n 24
      tail -n "${steps_tail:-40}" "$log"
    } | cut -c -200 | sed 's/^/      | /'
  else
    if [ $((passed + skipped)) -eq 0 ]; then passed=1; fi
    echo "ok    $name (${seconds} s, $passed passed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped"))"
    if [ "$skipped" -ne 0 ]; then grep '^SKIPPED: ' "$log" | sort | uniq | sed 's/^/      | /' || true; fi
  fi
  steps_passed=$((steps_passed + passed))
  steps_failed=$((steps_failed + failed))
  steps_skipped=$((steps_skipped + skipped))
  step_ok=$((code == 0))
}

# The last line, and the script's exit status.
finish_steps() {
  if [ "$steps_skipped" -eq 0 ]; then
    echo "$steps_passed passed, $steps_failed failed"
  else
    echo "$steps_passed passed, $steps_failed failed, $steps_skipped skipped"
  fi
  [ "$steps_failed" -eq 0 ]
}

# doctest PROGRAM [ARGUMENT...]: runs a unit test program and counts its cases. Cases that left themselves out
# (support/skip.hpp) are counted as skipped. $emulator, if set, is a command that runs the program.
doctest() {
  local output code=0
  output=$(mktemp)
  set +e
  ${emulator:-} "$@" 2>&1 | tee "$output"
  code=${PIPESTATUS[0]}
  set -e
  awk -F '[|:]' -v code="$code" '
    /^SKIPPED: / && !($0 in known) { known[$0]; left_out++ }
    /^\[doctest\] test cases:/ { passed += $3; failed += $4; seen = 1 }
    END {
      if (!seen || (code != 0 && failed == 0)) failed++
      print "counted:", passed - left_out, failed, left_out + 0
    }' "$output"
  rm -f "$output"
  return "$code"
}
