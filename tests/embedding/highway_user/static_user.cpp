// The program's own code for the compiler's target, in a file where ocellus.hpp comes after Highway.
#include <hwy/highway.h>

#include <ocellus/kernels/kernels.hpp>
#include <ocellus/ocellus.hpp>

std::size_t lanes_of_the_user() {
  return hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<float>());
}
