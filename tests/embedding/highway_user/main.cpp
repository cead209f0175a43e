// A program that uses Highway itself, in all the places where that is done. Exit code 0: both work.
#include <ocellus/kernels/kernels.hpp>
#include <ocellus/ocellus.hpp>

namespace program {
float dispatched_sum(const float* x, std::size_t n);
}
bool same_file_works();
std::size_t lanes_of_the_user();

int main() {
  float x[64];
  for (int i = 0; i < 64; ++i) x[i] = 1.0f;
  if (program::dispatched_sum(x, 64) != 64.0f) return 1;
  if (!same_file_works()) return 2;
  if (lanes_of_the_user() < 1) return 3;
#if defined( \
    OCELLUS_STATIC_DISPATCH)  // (for a target that Highway does not know there is only the scalar table)
  return ocellus::cpu_kernels().size() == 0 ? 4 : 0;
#else
  return ocellus::cpu_kernels().size() > 1 ? 0 : 4;
#endif
}
