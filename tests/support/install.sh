# Sourced by scripts: installs Debian or Ubuntu packages that are missing. Never asks anything.

# install_missing PACKAGE...
install_missing() {
  local package output missing=() root=()
  if ! command -v dpkg-query > /dev/null || ! command -v apt-get > /dev/null; then
    echo "not a Debian system; what is used is called there: $*" >&2
    return 0
  fi
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi
  echo "installing ${missing[*]}" >&2
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
      echo "please install as root: apt-get install ${missing[*]}" >&2
      return 1
    fi
    root=(sudo)
  fi
  # An update that fails (a mirror of somebody else's that is gone) may not matter; if it does, its words are shown.
  if ! output=$({
    "${root[@]}" apt-get update -qq || true
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  } 2>&1 < /dev/null); then
    echo "$output" >&2
    return 1
  fi
}
