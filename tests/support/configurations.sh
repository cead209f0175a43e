# The configurations that tests/run.sh builds, as steps. Sourced; uses its variables root, build, jobs.

packages_base=(g++ make cmake libhwy-dev libstb-dev doctest-dev python3)
packages_full=(clang clang-format meson ninja-build pkg-config binutils g++-aarch64-linux-gnu qemu-user
  g++-mingw-w64-x86-64-posix)

# cmake_build FOLDER [OPTION...]
cmake_build() {
  local folder=$1
  shift
  cmake -S "$root" -B "$folder" "$@"
  cmake --build "$folder" --parallel "$jobs"
}

# every_error_code FILE: is every code of the library among those that the tests produced?
every_error_code() {
  local made=$1 code passed=0 failed=0
  if [ ! -f "$made" ]; then
    echo "no test told of an error"
    return 1
  fi
  for code in $(sed -n 's/^ *X([0-9]*, \([a-z0-9_]*\), ".*/\1/p' "$root/include/ocellus/error_code.hpp"); do
    if grep -qx "$code" "$made"; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      echo "no test produces the error $code"
    fi
  done
  [ "$passed" -gt 0 ]
  count "$passed" "$failed" 0
}

# system_calls OBJECT: do the tests make every system call of the library fail? What its object asks of libc is either
# among the calls that are wrapped or named here: it computes, cannot fail or may (madvise), or is the default host's
# memory.
system_calls() {
  local harmless='_.*|mem(chr|cmp|cpy|move|set)|strlen|erff?|expf?|logf?|powf?|sincosf?|sqrtf?|tanhf?|aligned_alloc|free|getpid'
  harmless+='|sysconf|madvise|sigfillset|pthread_(sigmask|join|attr_destroy|(mutex|cond)_[a-z]+)'
  nm -u "$1" > "$steps_logs/libc_calls.txt" || return 1
  grep -q " mmap" "$steps_logs/libc_calls.txt" || return 1  # not the library's object
  comm -23 <(awk '$1 == "U" && $2 !~ /^_Z/ {print $2}' "$steps_logs/libc_calls.txt" | grep -vxE "$harmless" | sort -u) \
    <(sed 's/^--wrap=//' "$root/tests/support/wrapped_calls.txt" | sort) | sed 's/^/no test makes this call of the library fail: /' |
    tee "$steps_logs/unwrapped.txt"
  [ ! -s "$steps_logs/unwrapped.txt" ]
}

# Not by any version: what it makes of a line differs from one to the next.
check_format() {
  if ! clang-format --version | grep -q ' version 14\.'; then
    echo "clang-format is not version 14"
    return 77
  fi
  # (Not with --dry-run, which in version 14 also names lines that it would leave as they are.)
  local file failed=0
  while read -r file; do
    clang-format "$file" | diff -u --label "$file" --label formatted "$file" - || failed=1
  done < <(find include tests examples bench -name '*.hpp' -o -name '*.ipp' -o -name '*-inl.h' -o -name '*.cpp' | sort)
  return "$failed"
}

# Two things at once to save a quarter of the time: clang's warnings and code, and the Meson build.
meson_build() {
  local folder=$build/full/meson
  rm -rf "$folder"
  CXX=clang++ meson setup "$folder" "$root" --buildtype=release -Dtests=enabled -Dexamples=enabled
  ninja -C "$folder" -j "$jobs"
}

build_static() {
  cmake_build "$build/full/static" -DOCELLUS_STATIC_DISPATCH=ON -DOCELLUS_NO_EXCEPTIONS=ON \
    -DCMAKE_CXX_FLAGS="-march=native"
}

# --- Debian unstable ------------------------------------------------------------------------------------------------

# unpack_unstable FOLDER PACKAGE...: packages of Debian unstable and all that they depend on, unpacked into a folder, the
# system left alone. Address and keys of the mirror are taken from the system's own configuration. The programs there
# need a newer C library than a stable release has, so that one is always among the packages.
unpack_unstable() {
  local into=$1 apt=$build/full/apt options mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
  shift
  rm -rf "$into"
  mirror=$(. /etc/os-release && [ "$ID" = debian ] &&
    apt-get indextargets --format '$(RELEASE) $(REPO_URI)' "Identifier: Packages" |
    awk -v release="$VERSION_CODENAME" '$1 == release {print $2; exit}') || true
  if [ -z "$mirror" ]; then
    echo "no Debian mirror is configured here"
    return 77
  fi
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$into"
  rm -f "$apt"/cache/archives/*.deb
  printf 'Types: deb\nURIs: %s\nSuites: unstable\nComponents: main\n' "$mirror" > "$apt/unstable.sources"
  if [ -f "$keys" ]; then echo "Signed-By: $keys" >> "$apt/unstable.sources"; fi
  : > "$apt/status"  # as if nothing were installed
  options=(-o Dir::Etc::sourcelist="$apt/unstable.sources" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
    -o APT::Sandbox::User=root -o Debug::NoLocking=true)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" install --download-only --yes --no-install-recommends "$@"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb -x "$package" "$into"; done
  ls "$apt/cache/archives"
}

# --- the newest Highway that Debian has -----------------------------------------------------------------------------

fetch_newest_highway() {
  unpack_unstable "$build/full/unstable" libhwy-dev
}

newest_highway_options() {
  local into=$build/full/unstable libraries
  if [ ! -d "$into" ]; then
    echo "the newest Highway was not fetched"
    return 77
  fi
  libraries=$(dirname "$(find "$into/usr/lib" -name libhwy.so)")
  highway_root=$into/usr
  # Only the program's start and its libraries are the newer ones; it is compiled and linked with the system's.
  highway_link="-Wl,--allow-shlib-undefined,--disable-new-dtags,-rpath,$libraries,--dynamic-linker,$(find "$into" -name 'ld-linux-*.so.*' | head -n 1)"
}

build_newest_highway() {
  newest_highway_options
  cmake_build "$build/full/newest_highway" -DOCELLUS_HIGHWAY_ROOT="$highway_root" -DCMAKE_EXE_LINKER_FLAGS="$highway_link"
}

embed_newest_highway() {
  newest_highway_options
  CXX=g++ OCELLUS_HIGHWAY_ROOT=$highway_root LDFLAGS=$highway_link tests/embedding/run.sh highway
}

# --- the format's own implementation of safetensors -----------------------------------------------------------------

fetch_safetensors() {
  unpack_unstable "$build/full/unstable_python" python3-safetensors
}

# With the Python that it was built for.
compare_safetensors() {
  local into=$build/full/unstable_python loader
  cmake --build "$build" --target safetensors_views
  loader=$(find "$into/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)
  PYTHONHOME=$into/usr PYTHONPATH=$into/usr/lib/python3/dist-packages \
    "$loader" --library-path "$(dirname "$loader")" "$into/usr/bin/python3" -S -B \
    tests/tools/safetensors_differential.py "$build/tests/safetensors_views"
}

# --- sanitizers -----------------------------------------------------------------------------------------------------

build_asan() {
  cmake_build "$build/full/asan" -DOCELLUS_SANITIZE=address,undefined
}

# (1,800 answers take a minute as they are, ten with sanitizers, and an hour emulated.)
many_answers='evalset: the micro*'

run_asan() {
  ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
    doctest "$build/full/asan/tests/ocellus_tests" --test-case-exclude="$many_answers"
}

build_tsan() {
  # (GCC warns that it does not follow fences.)
  cmake_build "$build/full/tsan" -DOCELLUS_SANITIZE=thread -DCMAKE_CXX_FLAGS=-Wno-tsan -DOCELLUS_BUILD_EXAMPLES=OFF
}

# Where addresses are more random than GCC 12's TSan can take, the program is run with fixed ones.
run_tsan() {
  local program=$build/full/tsan/tests/ocellus_tests
  if ! "$program" --count > /dev/null 2>&1; then emulator="setarch -R"; fi
  doctest "$program" --test-case="$threaded_tests"
}
threaded_tests='*thread*,*worker*,*busy*,*same bits*,session:*'

# --- other machines -------------------------------------------------------------------------------------------------

# foreign_headers FOLDER: the headers that are the same for every machine, without the rest of /usr/include.
foreign_headers() {
  mkdir -p "$1/include"
  for name in hwy doctest stb; do
    [ -d "/usr/include/$name" ]
    ln -sfn "/usr/include/$name" "$1/include/$name"
  done
}

build_aarch64() {
  local folder=$build/full/aarch64
  foreign_headers "$folder/root"
  cmake_build "$folder" -DCMAKE_TOOLCHAIN_FILE="$root/tests/support/aarch64.cmake" -DCMAKE_PREFIX_PATH="$folder/root" \
    -DOCELLUS_HIGHWAY_ROOT="$folder/root" -DOCELLUS_STATIC_DISPATCH=ON
}

aarch64_emulator="qemu-aarch64 -L /usr/aarch64-linux-gnu"

# Everything that computes; files and JSON are the same code everywhere, and so is what happens when they fail.
run_aarch64() {
  emulator=$aarch64_emulator
  doctest "$build/full/aarch64/tests/ocellus_tests" --test-case-exclude="$many_answers,*faults: *" --source-file='*tests/kernels/*,*tests/model/*,*tests/image/*,*tests/text/bpe*'
}

# The same answers as on this machine.
answer_aarch64() {
  local model=examples/data/micro.safetensors picture question here there
  if [ ! -f "$model" ]; then
    echo "no $model"
    return 77
  fi
  picture=$(find examples/data -name '*.png' | sort | head -n 1)
  for question in "[caption] please describe this image?" "[vqa] what color is the circle?"; do
    here=$("$build/examples/ocellus" ask "$model" "$picture" "$question")
    there=$($aarch64_emulator "$build/full/aarch64/examples/ocellus" ask "$model" "$picture" "$question")
    printf '%s\n  here:    %s\n  AArch64: %s\n' "$question" "$here" "$there"
    [ -n "$here" ]
    [ "$here" = "$there" ]
  done
}

build_windows() {
  local folder=$build/full/windows
  foreign_headers "$folder/root"
  cmake_build "$folder" -DCMAKE_TOOLCHAIN_FILE="$root/tests/support/windows.cmake" -DCMAKE_PREFIX_PATH="$folder/root" \
    -DOCELLUS_HIGHWAY_ROOT="$folder/root" -DOCELLUS_STATIC_DISPATCH=ON -DOCELLUS_BUILD_TESTS=OFF
}
