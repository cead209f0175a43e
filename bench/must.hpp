// What a benchmark cannot go on without.
#ifndef OCELLUS_BENCH_MUST_HPP
#define OCELLUS_BENCH_MUST_HPP

#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <utility>

#include "ocellus/error.hpp"

namespace ocellus_bench {

/// The value; an error is told and ends the program.
template <class T>
T must(ocellus::result<T>&& done) {
  if (!done) {
    const auto why = done.error().message();
    std::fprintf(stderr, "ocellus-bench: %.*s\n", static_cast<int>(why.size()), why.data());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*done);
}

}  // namespace ocellus_bench

#endif  // OCELLUS_BENCH_MUST_HPP
