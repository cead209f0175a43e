// Which errors the library made, for the step of tests/run.sh that asks whether a test produces every code: linked in with
// OCELLUS_OBSERVE_ERRORS. At its end a program adds their names, one a line, to the file that OCELLUS_ERRORS_MADE names. An
// error that a hook of a test returns counts as well; tests have none but write_failed.
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "ocellus/error.hpp"

namespace {

std::atomic<bool> made[1000];  // by the code's number

struct at_exit {
  ~at_exit() {
    const char* path = std::getenv("OCELLUS_ERRORS_MADE");
    std::FILE* file = path != nullptr ? std::fopen(path, "a") : nullptr;
    if (file == nullptr) return;
#define OCELLUS_ERROR_MADE(number, name, text) \
  if (made[number]) std::fputs(#name "\n", file);
    OCELLUS_ERROR_CODES(OCELLUS_ERROR_MADE)
#undef OCELLUS_ERROR_MADE
    std::fclose(file);
  }
} report;

}  // namespace

namespace ocellus::inline OCELLUS_ABI {

void detail::observe_error(error_code code) noexcept { made[static_cast<std::size_t>(code)] = true; }

}  // namespace ocellus::inline OCELLUS_ABI
