// The entry that libFuzzer calls, and how many inputs the library accepted: a target that accepts none tests nothing.
#include "fuzz/fuzz.hpp"

namespace {

struct tally {
  std::uint64_t inputs = 0, accepted = 0;
  ~tally() {
    std::fprintf(stderr, "accepted: %llu of %llu\n", static_cast<unsigned long long>(accepted),
                 static_cast<unsigned long long>(inputs));
  }
};

tally counted;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bool accepted = ocellus_fuzz::run({reinterpret_cast<const std::byte*>(data), size});
  ++counted.inputs;
  counted.accepted += accepted ? 1 : 0;
  return 0;
}
