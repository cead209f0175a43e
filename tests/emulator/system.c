// The least of an operating system that a statically linked program of unit tests needs: it runs in ring 0 from a multiboot
// module, with memory, a way to print, a clock and the permission to use AMX tiles; no files, no threads, no signals.
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <elf.h>

enum { brk_begin = 0x10000000, brk_end = 0x18000000, map_end = 0x3e000000 };
enum { no_entry = -2, not_implemented = -38, no_memory = -12, invalid = -22 };

void run_program(uint64_t entry, uint64_t stack);

static void out_byte(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static uint8_t in_byte(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static uint64_t ticks(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

void* memset(void* to, int value, size_t bytes) {
  void* at = to;
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
  return to;
}
void* memcpy(void* to, const void* from, size_t bytes) {
  void* at = to;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(bytes)::"memory");
  return to;
}

static void print_bytes(const char* text, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; ++i) {
    while ((in_byte(0x3fd) & 0x20) == 0) {
    }
    out_byte(0x3f8, (uint8_t)text[i]);
  }
}
static void print(const char* text) {
  uint64_t n = 0;
  while (text[n] != 0) ++n;
  print_bytes(text, n);
}
static void print_number(uint64_t value) {
  char digits[20];
  int at = 20;
  do digits[--at] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  print_bytes(digits + at, (uint64_t)(20 - at));
}

/// Ends the emulator, by Bochs' port for it.
static void power_off(void) {
  while ((in_byte(0x3fd) & 0x40) == 0) {  // all is printed
  }
  for (const char* c = "Shutdown"; *c != 0; ++c) out_byte(0x8900, (uint8_t)*c);
  for (;;) __asm__ volatile("hlt");
}

static uint64_t brk_at = brk_begin, map_at = brk_end;

/// arg: of the call, in order. What is not known is not implemented, as on an old kernel.
int64_t system_call(uint64_t number, const uint64_t* arg) {
  switch (number) {
    case __NR_write:
      print_bytes((const char*)arg[1], arg[2]);
      return (int64_t)arg[2];
    case __NR_writev: {
      const uint64_t* parts = (const uint64_t*)arg[1];
      int64_t all = 0;
      for (uint64_t i = 0; i < arg[2]; ++i, parts += 2) {
        print_bytes((const char*)parts[0], parts[1]);
        all += (int64_t)parts[1];
      }
      return all;
    }
    case __NR_brk:
      if (arg[0] >= brk_begin && arg[0] <= brk_end) {
        if (arg[0] > brk_at) memset((void*)brk_at, 0, arg[0] - brk_at);
        brk_at = arg[0];
      }
      return (int64_t)brk_at;
    case __NR_mmap: {
      const uint64_t bytes = (arg[1] + 4095) & ~(uint64_t)4095, at = map_at;
      if ((int64_t)arg[4] >= 0) return not_implemented;
      if (bytes > map_end - at) return no_memory;
      memset((void*)at, 0, bytes);
      map_at += bytes;
      return (int64_t)at;
    }
    case __NR_arch_prctl:
      if (arg[0] == 0x1002) {  // ARCH_SET_FS
        __asm__ volatile("wrmsr" ::"c"(0xc0000100), "a"((uint32_t)arg[1]), "d"((uint32_t)(arg[1] >> 32)));
        return 0;
      }
      return arg[0] == 0x1023 && arg[1] == 18 ? 0 : invalid;  // ARCH_REQ_XCOMP_PERM for tiles
    case __NR_gettimeofday:
      ((uint64_t*)arg[0])[0] = ticks() / 1000000000;
      ((uint64_t*)arg[0])[1] = ticks() % 1000000000 / 1000;
      return 0;
    case __NR_clock_gettime:
      ((uint64_t*)arg[1])[0] = ticks() / 1000000000;
      ((uint64_t*)arg[1])[1] = ticks() % 1000000000;
      return 0;
    case __NR_getrandom:
      memset((void*)arg[0], 42, arg[1]);
      return (int64_t)arg[1];
    case __NR_openat:
    case __NR_readlink:
    case __NR_readlinkat:
      return no_entry;
    case __NR_munmap:
    case __NR_mprotect:
    case __NR_madvise:
    case __NR_futex:
    case __NR_rt_sigaction:
    case __NR_rt_sigprocmask:
    case __NR_sigaltstack:
      return 0;
    case __NR_set_tid_address:
    case __NR_getpid:
    case __NR_gettid:
      return 1;
    case __NR_exit:
    case __NR_exit_group:
      print("\nstatus ");
      print_number(arg[0]);
      print("\n");
      power_off();
  }
  return not_implemented;
}

/// The words of a command line, in place.
static int split(char* line, uint64_t* words, int most) {
  int n = 0;
  while (n < most) {
    while (*line == ' ') ++line;
    if (*line == 0) break;
    words[n++] = (uint64_t)line;
    while (*line != 0 && *line != ' ') ++line;
    if (*line == 0) break;
    *line++ = 0;
  }
  return n;
}

/// info: what multiboot tells, a structure of 32-bit words.
void start(const uint32_t* info) {
  out_byte(0x3fb, 0x80);  // the serial line: as fast as it goes, 8 bits
  out_byte(0x3f8, 1);
  out_byte(0x3f9, 0);
  out_byte(0x3fb, 3);
  if ((info[0] & 8) == 0 || info[5] == 0) {
    print("no program\n");
    power_off();
  }
  const uint32_t* module = (const uint32_t*)(uintptr_t)info[6];  // begin, end, command line
  const char* file = (const char*)(uintptr_t)module[0];
  const Elf64_Ehdr* elf = (const Elf64_Ehdr*)file;
  const Elf64_Phdr* part = (const Elf64_Phdr*)(file + elf->e_phoff);
  uint64_t headers = 0;
  for (int i = 0; i < elf->e_phnum; ++i) {
    if (part[i].p_type != PT_LOAD) continue;
    memcpy((void*)part[i].p_vaddr, file + part[i].p_offset, part[i].p_filesz);
    memset((void*)(part[i].p_vaddr + part[i].p_filesz), 0, part[i].p_memsz - part[i].p_filesz);
    if (part[i].p_offset == 0) headers = part[i].p_vaddr + elf->e_phoff;
  }
  // The stack as a program finds it: argc, argv, 0, environment, 0, auxiliary vector.
  static uint64_t stack[1 << 17] __attribute__((aligned(64)));
  static const char random[16] = "not at all";
  uint64_t words[64];
  const int count = split((char*)(uintptr_t)module[2], words, 64);
  uint64_t* top = stack + (1 << 17) - 128;
  uint64_t* at = top;
  *at++ = (uint64_t)count;
  for (int i = 0; i < count; ++i) *at++ = words[i];
  *at++ = 0;
  *at++ = 0;
  const uint64_t auxiliary[] = {AT_PAGESZ, 4096, AT_PHDR,  headers,     AT_PHENT,  sizeof(Elf64_Phdr),     AT_PHNUM,
                                elf->e_phnum, AT_ENTRY, elf->e_entry, AT_RANDOM, (uint64_t)random, AT_NULL, 0};
  memcpy(at, auxiliary, sizeof auxiliary);
  run_program(elf->e_entry, (uint64_t)top);
}
