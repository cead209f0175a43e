#!/usr/bin/env bash
# Runs the unit tests of AMX tiles on an emulated processor that has them, where the real one has none: Bochs, from 2.8 on, with its
# model of Sapphire Rapids. Linux asks a processor with AMX for a feature (XFD) that Bochs 3 lacks, so the tests run
# without it: system.c beside this file is all the system that they get, one thread and no files.
#
#   tests/emulator/run.sh [FILTER...]     what doctest's -tc takes; by default all that concerns tiles
#
# BUILD=DIR           the build folder (build-emulator)
# EMULATOR_ROOT=DIR   a tree with Bochs, if this system's is too old: debootstrap --variant=minbase trixie DIR, and in it
#                     apt-get install --no-install-recommends bochs bochs-term
# SECONDS_LIMIT=N     for the emulator (1800)
# Needs also: isolinux, syslinux-common, xorriso (Debian's names).
#
# Bochs 3.0 and 3.1 compute VCVTNE2PS2BF16 wrongly (both halves of the result from one source), so the table AVX3_BF16,
# which uses it, fails there, and with it calls of few rows on AVX3_AMX. The kernels of tiles do without that instruction.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$(dirname "$here")")
build=${BUILD:-$source/build-emulator}
root=${EMULATOR_ROOT:-}
filter=${*:-*tiles*}
filter=${filter// /,}

mkdir -p "$build"
cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Release -DOCELLUS_BUILD_TESTS=ON -DOCELLUS_STATIC_DISPATCH=ON \
  -DCMAKE_CXX_FLAGS=-march=x86-64-v4 -DCMAKE_EXE_LINKER_FLAGS="-static -no-pie -Wl,-Ttext-segment=0x4000000" >"$build/emulator.log"
cmake --build "$build" --target ocellus_tests --parallel "$(nproc)" >>"$build/emulator.log"

# system.c, as a 32-bit file that multiboot loaders take, although its code is of 64 bits.
work=$root/tmp/ocellus-emulator
rm -rf "$work" && mkdir -p "$work/cd/isolinux"
${CC:-cc} -c -o "$work/boot.o" "$here/boot.S"
${CC:-cc} -O1 -c -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only -fno-stack-protector -fcf-protection=none \
  -o "$work/system.o" "$here/system.c"
ld -m elf_x86_64 -z max-page-size=4096 --no-warn-rwx-segments -T "$here/system.ld" -o "$work/system" "$work/boot.o" "$work/system.o"
objcopy -O elf32-i386 "$work/system" "$work/cd/isolinux/system"

modules=/usr/lib/syslinux/modules/bios
cp "${ISOLINUX:-/usr/lib/ISOLINUX/isolinux.bin}" $modules/{ldlinux,mboot,libcom32}.c32 "$work/cd/isolinux"
cp "$build/tests/ocellus_tests" "$work/cd/isolinux/tests"
cat >"$work/cd/isolinux/isolinux.cfg" <<END
DEFAULT tests
PROMPT 0
LABEL tests
  KERNEL mboot.c32
  APPEND system --- tests -tc=$filter -nc -d
END
xorriso -as mkisofs -quiet -o "$work/tests.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table "$work/cd" 2>>"$build/emulator.log"

cat >"$work/bochsrc" <<END
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=sapphire_rapids, count=1, ips=200000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=/tmp/ocellus-emulator/tests.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/tmp/ocellus-emulator/output.txt
log: /tmp/ocellus-emulator/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
clock: sync=none
END
run=(bochs-bin -q -f /tmp/ocellus-emulator/bochsrc)
[ -z "$root" ] || run=(chroot "$root" "${run[@]}")
timeout "${SECONDS_LIMIT:-1800}" "${run[@]}" </dev/null >"$work/emulator.txt" 2>&1 || true  # shutting down counts as a failure

cat "$work/output.txt"
grep -aq '^status 0' "$work/output.txt" && grep -aq '^AMX tiles: used' "$work/output.txt"
