#!/bin/bash
# Builds small programs around the library in every way that the README names, and checks the promises made to those who
# embed it. One line a case, at last "N passed, N failed".
#
#   tests/embedding/run.sh [PATTERN]     the cases whose name contains PATTERN
#
# CXX: the compiler (g++). OCELLUS_HIGHWAY_ROOT: where another Highway is; LDFLAGS: what programs then need to link.
set -u
cd "$(dirname "$0")"
source ../support/steps.sh

only=${1:-}
cxx=${CXX:-g++}
export CXX=$cxx
root=$(cd ../.. && pwd)
work=$root/build/full/embedding-$cxx${OCELLUS_HIGHWAY_ROOT:+-highway}
steps_logs=$root/build/logs/embedding-$cxx${OCELLUS_HIGHWAY_ROOT:+-highway}
steps_tail=25
rm -rf "$work" "$steps_logs"
mkdir -p "$work"

warnings=(-std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror)
flags=("${warnings[@]}" -I"$root/include" ${OCELLUS_HIGHWAY_ROOT:+-isystem "$OCELLUS_HIGHWAY_ROOT/include"})
libraries=(-pthread)
if [ -n "${OCELLUS_HIGHWAY_ROOT:-}" ]; then
  libraries+=(-L"$(dirname "$(find "$OCELLUS_HIGHWAY_ROOT" -name libhwy.so | head -n 1)")")
fi
libraries+=(-lhwy)

case_of() {
  local name=$1
  if [[ $name == *"$only"* ]]; then run_step "$@"; fi
}

# build_and_run NAME SOURCE... [-- OPTION...]: one program out of these files, without optimisation to save time.
build_and_run() {
  local name=$1 sources=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do sources+=("$1") && shift; done
  if [ $# -gt 0 ]; then shift; fi
  $cxx "${flags[@]}" -O0 "$@" "${sources[@]}" -o "$work/$name" ${LDFLAGS:-} "${libraries[@]}"
  "$work/$name"
}

# The README's last resort: no build system, no library.
plain_static() {
  $cxx -std=c++20 -I"$root/include" ${OCELLUS_HIGHWAY_ROOT:+-isystem "$OCELLUS_HIGHWAY_ROOT/include"} -DOCELLUS_STATIC_DISPATCH \
    program/*.cpp -o "$work/plain"
  "$work/plain"
  if ldd "$work/plain" | grep -i hwy; then return 1; fi
}

dispatching() { build_and_run dispatching program/*.cpp; }

no_exceptions() {
  build_and_run no_exceptions program/*.cpp -- -fno-exceptions -fno-rtti -DOCELLUS_STATIC_DISPATCH
}

highway_user() { build_and_run highway_user highway_user/*.cpp -- -w -Ihighway_user; }
highway_user_static() { build_and_run highway_user_static highway_user/*.cpp -- -w -Ihighway_user -DOCELLUS_STATIC_DISPATCH; }
stb_user() { build_and_run stb_user stb_user/*.cpp -- -w -DOCELLUS_STATIC_DISPATCH; }

macros() {
  build_and_run macros program/*.cpp -- -include hwy/highway.h -include macros/macros.hpp -DOCELLUS_STATIC_DISPATCH
}

no_image_files() {
  build_and_run no_image_files program/*.cpp -- -DOCELLUS_NO_IMAGE_FILES -DOCELLUS_STATIC_DISPATCH
  if nm -C "$work/no_image_files" | grep stbi_; then return 1; fi
}

shared_library() {
  $cxx "${flags[@]}" -O0 -fPIC -fvisibility=hidden -shared shared_library/library.cpp -o "$work/liblibrary.so" ${LDFLAGS:-} \
    "${libraries[@]}"
  $cxx "${flags[@]}" shared_library/main.cpp -o "$work/shared_library" -L"$work" -llibrary -Wl,-rpath,"$work"
  "$work/shared_library"
  echo "exported besides library_answer (must be nothing of ours, stb's or Highway's):"
  # (Instances of standard templates are exported whatever they are instances of.)
  if nm -D --defined-only "$work/liblibrary.so" | grep -E ' _Z[A-Z]*(7ocellus|3hwy)|stbi_'; then return 1; fi
  nm -D --defined-only "$work/liblibrary.so" | grep library_answer
}

two_versions() {
  local other=$work/other
  mkdir -p "$other"
  cp -r "$root/include" "$other/"
  sed -i 's/OCELLUS_ABI v[0-9_]*/OCELLUS_ABI v9_9/; s/\(OCELLUS_VERSION_STRING\) ".*"/\1 "9.9.0"/' "$other/include/ocellus/config.hpp"
  $cxx "${flags[@]}" -DOCELLUS_STATIC_DISPATCH -DNAME=first -c two_versions/version.cpp -o "$work/first.o"
  $cxx "${warnings[@]}" -I"$other/include" ${OCELLUS_HIGHWAY_ROOT:+-isystem "$OCELLUS_HIGHWAY_ROOT/include"} \
    -DOCELLUS_STATIC_DISPATCH -DNAME=second -c two_versions/version.cpp -o "$work/second.o"
  $cxx "${flags[@]}" two_versions/main.cpp "$work/first.o" "$work/second.o" -pthread -o "$work/two_versions"
  "$work/two_versions"
  echo "symbols that both define, other than those of the standard library (must be none):"
  if comm -12 <(nm -C --defined-only "$work/first.o" | cut -c18- | sort -u) \
    <(nm -C --defined-only "$work/second.o" | cut -c18- | sort -u) | grep -E '^. ' | grep -E 'ocellus|stbi'; then
    return 1
  fi
}

# --- build systems --------------------------------------------------------------------------------------------------

cmake_subdirectory() {
  cmake -S cmake_subdirectory -B "$work/cmake_subdirectory" -DOCELLUS_SOURCE="$root"
  cmake --build "$work/cmake_subdirectory"
  "$work/cmake_subdirectory/program"
}

install_library() {
  cmake -S "$root" -B "$work/install-build" -DCMAKE_INSTALL_PREFIX="$work/prefix" -DOCELLUS_BUILD_TESTS=OFF \
    -DOCELLUS_BUILD_EXAMPLES=OFF
  # (Only headers are installed: nothing has to be built for it.)
  cmake --install "$work/install-build"
  (cd "$root/include" && find . -type f | sort) > "$work/expected"
  (cd "$work/prefix/include" && find . -type f | sort) | diff "$work/expected" -
}

need_installed() {
  if [ ! -d "$work/prefix" ]; then install_library; fi
}

cmake_package() {
  need_installed
  cmake -S cmake_package -B "$work/cmake_package" -DCMAKE_PREFIX_PATH="$work/prefix"
  cmake --build "$work/cmake_package"
  "$work/cmake_package/program"
}

cmake_package_static() {
  need_installed
  cmake -S cmake_package -B "$work/cmake_package_static" -DCMAKE_PREFIX_PATH="$work/prefix" -DOCELLUS_STATIC_DISPATCH=ON
  cmake --build "$work/cmake_package_static"
  "$work/cmake_package_static/program"
  if ldd "$work/cmake_package_static/program" | grep -i hwy; then return 1; fi
}

pkg_config() {
  local flags_found
  need_installed
  flags_found=$(PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name ocellus.pc)") pkg-config --cflags --libs ocellus)
  echo "$flags_found"
  # (Options word by word.)
  $cxx -std=c++20 program/*.cpp $flags_found -o "$work/pkg_config"
  "$work/pkg_config"
}

meson_subproject() {
  local project=$work/meson_subproject
  mkdir -p "$project/subprojects"
  cp meson_subproject/meson.build program/*.cpp "$project"
  ln -s "$root" "$project/subprojects/ocellus"
  meson setup "$project/build" "$project" --buildtype=plain
  ninja -C "$project/build"
  "$project/build/program"
  if find "$project/build" -name 'ocellus_tests*' | grep .; then return 1; fi
}

# expect_failure WORD COMMAND...: the command must fail and say the word.
expect_failure() {
  local word=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "no error: $*"
    return 1
  fi
  echo "$output"
  grep -q "$word" <<< "$output"
}

missing_dependencies() {
  local nowhere=(-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF -DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF
    -DCMAKE_MAKE_PROGRAM="$(command -v make)" -DCMAKE_CXX_COMPILER="$(command -v "$cxx")" -G "Unix Makefiles")
  local highway=(-DOCELLUS_HIGHWAY_INCLUDE=/x -DOCELLUS_HIGHWAY_LIBRARY=/x/libhwy.so)
  expect_failure libhwy-dev cmake -S "$root" -B "$work/missing1" "${nowhere[@]}"
  expect_failure libhwy-dev cmake -S "$root" -B "$work/missing2" "${nowhere[@]}" -DOCELLUS_HIGHWAY_INCLUDE=/x
  expect_failure libstb-dev cmake -S "$root" -B "$work/missing3" "${nowhere[@]}" "${highway[@]}"
  expect_failure doctest-dev cmake -S "$root" -B "$work/missing4" "${nowhere[@]}" "${highway[@]}" -DOCELLUS_STB_INCLUDE=/x
  expect_failure libhwy-dev meson setup "$work/missing5" "$root" -Dhighway_root="$work"
}

# --- promises -------------------------------------------------------------------------------------------------------

# Every header compiles alone, twice in a row, without warnings.
each_header_alone() {
  mkdir -p "$work/alone"
  export flags_of_header="${flags[*]}" alone=$work/alone
  (cd "$root/include" && find ocellus -name '*.hpp' -o -name '*.ipp' | sort) > "$work/headers.txt"
  xargs -P "${JOBS:-$(nproc)}" -I '{}' bash -c '
    name=$1
    file=$alone/${name//\//_}.cpp
    printf "#include \"%s\"\n#include \"%s\"\n" "$name" "$name" > "$file"
    if $CXX $flags_of_header -fsyntax-only "$file"; then echo "counted: 1 0 0"; else echo "not alone: $name"; echo "counted: 0 1 0"; fi
  ' header '{}' < "$work/headers.txt" 2>&1
}

# implementation.hpp names every .ipp file.
all_parts() {
  diff <(cd "$root/include" && find ocellus -name '*.ipp' | sort) \
    <(sed -n 's/^#include "\(.*\.ipp\)".*/\1/p' "$root/include/ocellus/implementation.hpp" | sort)
}

# What a user's file gets to see through ocellus.hpp.
light_includes() {
  echo '#include <ocellus/ocellus.hpp>' > "$work/light.cpp"
  $cxx "${flags[@]}" -M "$work/light.cpp" | tr ' ' '\n' > "$work/light.txt"
  if grep -E '/hwy/|stb_|/(iostream|ostream|sstream|fstream|filesystem|regex|thread|mutex|future|functional|map|unordered_map|windows\.h|vector)$' \
    "$work/light.txt"; then
    return 1
  fi
}

# Processor time for a file that includes ocellus.hpp: the fastest of five.
# compile_ms FILE: the least processor time of five compilations, in milliseconds.
compile_ms() {
  local i least=99999 spent times
  for i in 1 2 3 4 5; do
    times=$(TIMEFORMAT='%U %S'; { time $cxx -std=c++20 -O2 -I"$root/include" -c "$1" -o "$work/time.o" > /dev/null 2>&1; } 2>&1)
    spent=$(awk '{printf "%d", ($1 + $2) * 1000}' <<< "$times")
    if [ "$spent" -lt "$least" ]; then least=$spent; fi
  done
  echo "$least"
}
# On a busy machine all compilations are slower: what counts there is that it takes at most three times what <string> does.
compile_time() {
  local ours theirs
  echo '#include <ocellus/ocellus.hpp>' > "$work/time.cpp"
  echo '#include <string>' > "$work/string.cpp"
  ours=$(compile_ms "$work/time.cpp")
  theirs=$(compile_ms "$work/string.cpp")
  echo "$ours ms; <string> alone $theirs ms"
  [ "$ours" -lt 500 ] || [ "$ours" -lt $((3 * theirs)) ]
}

# A release build's object: what it calls, what it defines.
release_object() {
  local object=$work/release.o begin=$SECONDS
  $cxx "${flags[@]}" -O2 "$@" -c "$root/examples/support/implementation.cpp" -o "$object"
  echo "compiled in $((SECONDS - begin)) s"
  nm -u "$object" | awk '{print $2}' | c++filt | sort > "$work/calls.txt"
  echo "everything that it calls:"
  sed 's/^/  /' "$work/calls.txt"
  echo "of these, what the library promises not to call (must be none):"
  # Where exceptions are on, clang puts a call of std::terminate() behind every call that noexcept forbids to throw (a
  # hook of the host); it stands in one function of clang's own.
  if nm "$object" | grep -q ' __clang_call_terminate$'; then sed -i '/^std::terminate()$/d' "$work/calls.txt"; fi
  if grep -E "$forbidden" "$work/calls.txt"; then return 1; fi
  echo "own definitions of operator new or delete (must be none):"
  if nm -C --defined-only "$object" | grep -E ' operator (new|delete)'; then return 1; fi
  echo "code that runs before main (must be none):"
  if objdump -h "$object" | grep -E '\.(init_array|ctors|preinit_array)'; then return 1; fi
  if nm "$object" | grep -E '_GLOBAL__sub_I|__cxx_global_var_init'; then return 1; fi
  echo "variables, other than constants and thread-local ones (must be none):"
  objdump -t "$object" | awk '/ \.(tbss|tdata|data\.rel\.ro)/ {print $NF}' > "$work/harmless.txt"
  if nm --defined-only "$object" | awk '$2 ~ /^[bBdDsS]$/ && $3 !~ /^(DW\.ref\.|_ZGV)/ {print $3}' |
    grep -vxFf "$work/harmless.txt" | c++filt | grep .; then
    return 1
  fi
}
forbidden='^(operator (new|delete).*|abort|exit|_exit|_Exit|quick_exit|raise|kill|__assert.*|std::terminate.*|std::__throw_.*|__cxa_throw.*|__cxa_allocate_exception|__cxa_rethrow|__cxa_guard.*|__cxa_atexit|atexit|std::__glibcxx_assert.*|.*printf.*|puts|putchar|fputs|fwrite|perror|std::cout|std::cerr|.*basic_ostream.*|getenv|secure_getenv|setlocale|localeconv|strto.*|atof|atoi|rand|srand)(@.*)?$'

release_object_no_exceptions() { release_object -fno-exceptions -fno-rtti; }

case_of "plain compiler call, static dispatch" plain_static
case_of "two files and implementation.hpp" dispatching
case_of "no exceptions, no RTTI" no_exceptions
case_of "a program that uses highway" highway_user
case_of "a program that uses highway, static dispatch" highway_user_static
case_of "a program that uses stb_image" stb_user
case_of "macros of windows.h and worse" macros
case_of "no picture files" no_image_files
case_of "a shared library with hidden symbols" shared_library
case_of "two versions in one program" two_versions
case_of "CMake: add_subdirectory" cmake_subdirectory
case_of "CMake: install" install_library
case_of "CMake: find_package" cmake_package
case_of "CMake: find_package, static dispatch" cmake_package_static
case_of "pkg-config" pkg_config
case_of "Meson: subproject" meson_subproject
case_of "a missing dependency is named" missing_dependencies
case_of "each header alone" each_header_alone
case_of "implementation.hpp has all parts" all_parts
case_of "ocellus.hpp is light" light_includes
case_of "ocellus.hpp compiles in half a second" compile_time
case_of "release object" release_object
case_of "release object, no exceptions" release_object_no_exceptions
count "$steps_passed" "$steps_failed" "$steps_skipped"
finish_steps
