#!/bin/bash
# Installs what is missing (Debian, Ubuntu), builds the command line program into build/, asks it about a picture and
# draws the boxes that it was asked for into build/demo.png.
#
#   examples/demo.sh [PICTURE]
#
# The model that comes with the source has 4 million parameters and knows coloured shapes on a plain ground, nothing else.
set -eu
picture=$(realpath "${1:-$(dirname "$0")/data/circle_and_cross.png}")
cd "$(dirname "$0")/.."
source tests/support/install.sh

install_missing g++ make cmake libhwy-dev libstb-dev
echo "building (a minute the first time) ..."
mkdir -p build
{
  # (Of a folder that was configured for the tests the tests are kept.)
  [ -f build/CMakeCache.txt ] || cmake -S . -B build -DOCELLUS_BUILD_TESTS=OFF
  cmake --build build --parallel "$(nproc)" --target ocellus_program
} > build/demo.log 2>&1 || { tail -n 40 build/demo.log; exit 1; }

ask() {
  printf '\n> %s\n' "$1"
  build/examples/ocellus ask examples/data/micro.safetensors "$picture" "$@"
}
echo "the picture: $picture"
ask "[caption] please describe this image?"
ask "[vqa] how many shapes are there?"
ask "[vqa] is there a blue circle?"
ask "[grounding] please describe this image in details" --boxes build/demo.png
printf '\nThe picture with its boxes: %s\n' "$PWD/build/demo.png"
