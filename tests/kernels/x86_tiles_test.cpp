// Who may use AMX tiles: what CPUID says, what the host allows, what the system grants. That the tiles multiply is tested with
// linear() in linear_fast_test.cpp: those of this processor if it has any, and modelled ones.
#include <doctest/doctest.h>

#include <iostream>
#include <string>

#include "ocellus/kernels/kernels.hpp"
#include "ocellus/kernels/x86_tiles.hpp"
#include "support/skip.hpp"
#include "support/system_faults.hpp"

using namespace ocellus::detail;
using namespace ocellus_tests;
using ocellus::precision;

namespace {

constexpr unsigned amx_bits = 1u << 22 | 1u << 24;
constexpr std::uint64_t tile_states = std::uint64_t{3} << 17;

std::uint32_t features_of(unsigned leaf7_edx, std::uint64_t xcr0) {
  const unsigned first[4] = {1, 0, 1u << 11, leaf7_edx}, second[4] = {1u << 4 | 1u << 5, 0, 0, 0};
  return x86_features_of(first, second, xcr0);
}

constexpr std::uint32_t all_but_amx = x86_avx_vnni | x86_avx512_vnni | x86_avx512_bf16;

}  // namespace

TEST_CASE(
    "tiles: a processor has them if CPUID names both tiles and bf16 and the system keeps both of their "
    "states") {
  CHECK(features_of(amx_bits, 0xe7 | tile_states) == (all_but_amx | x86_amx_bf16));
  CHECK(features_of(amx_bits, ~std::uint64_t{0}) == (all_but_amx | x86_amx_bf16));
  for (const unsigned missing : {1u << 22, 1u << 24})
    CHECK(features_of(amx_bits & ~missing, tile_states) == all_but_amx);
  for (const int state : {17, 18})
    CHECK(features_of(amx_bits, tile_states & ~(std::uint64_t{1} << state)) == all_but_amx);
  CHECK(features_of(~0u, 0xe7) == all_but_amx);
  CHECK(features_of(0, ~std::uint64_t{0}) == all_but_amx);
}

TEST_CASE(
    "tiles: the system is asked once, only if the processor has them and the host allows it; a refusal takes "
    "nothing else") {
  for (const bool granted : {true, false}) {
    for (const bool allow : {true, false}) {
      for (const std::uint32_t found :
           {std::uint32_t{0}, all_but_amx, std::uint32_t{x86_amx_bf16}, all_but_amx | x86_amx_bf16}) {
        CAPTURE(granted);
        CAPTURE(allow);
        CAPTURE(found);
        int asked = 0;
        const std::uint32_t usable = x86_usable_features(found, allow, [&] {
          ++asked;
          return granted;
        });
        const bool has = (found & x86_amx_bf16) != 0;
        CHECK(asked == (has && allow ? 1 : 0));
        CHECK(usable == (granted && allow ? found : found & all_but_amx));
      }
    }
  }
}

TEST_CASE(
    "tiles: a table with tiles is there only where the host allows it, and the fastest without them "
    "otherwise") {
  const bool has = (x86_features() & x86_amx_bf16) != 0;
  const auto with = ocellus::cpu_kernels(precision::fast),
             without = ocellus::cpu_kernels(precision::fast, false);
  const auto uses_tiles = [](const ocellus::kernels* table) {
    return std::string(table->name).find("_AMX") != std::string::npos;
  };
  std::cout << "AMX tiles: "
            << (!has                      ? "none in this processor"
                : uses_tiles(with.back()) ? "used"
                                          : "not permitted")
            << std::endl;
  for (const ocellus::kernels* table : without) CHECK_FALSE(uses_tiles(table));
  for (const ocellus::kernels* table : ocellus::cpu_kernels(precision::exact)) CHECK_FALSE(uses_tiles(table));
  CHECK(with.size() == without.size() + (uses_tiles(with.back()) ? 1 : 0));
  if (!has) CHECK_FALSE(uses_tiles(with.back()));
  CHECK(ocellus::find_cpu_kernels("", precision::fast, false) == without.back());
  CHECK(ocellus::find_cpu_kernels("AVX3_AMX", precision::fast, false) == nullptr);
}

TEST_CASE("tiles: the system's refusal, with any error, is no") {
#if !defined(OCELLUS_TEST_SYSTEM_FAULTS)
  OCELLUS_SKIP_SYSTEM_FAULTS();
#elif !OCELLUS_X86_TILES
  OCELLUS_SKIP("no tiles on this platform");
#else
  for (const int error : {EINVAL, EOPNOTSUPP, ENOSPC, EPERM, ENOSYS}) {
    const system_faults faults({system_call::arch_prctl, 1, 1, error});
    CHECK_FALSE(x86_ask_for_tiles());
    CHECK(faults.hits() == 1);
  }
  {
    const system_faults faults({system_call::arch_prctl, 1, 1, 0, 1});
    CHECK(x86_ask_for_tiles());
  }
  const bool has = (x86_features() & x86_amx_bf16) != 0;
  {
    const system_faults refused({system_call::arch_prctl, 1, system_fault::for_ever, EPERM});
    CHECK(ocellus::find_cpu_kernels("", precision::fast) ==
          ocellus::cpu_kernels(precision::fast, false).back());
    CHECK(refused.calls(system_call::arch_prctl) == (has ? 1 : 0));
  }
  const system_faults none;
  static_cast<void>(ocellus::cpu_kernels(precision::fast, false));
  static_cast<void>(ocellus::cpu_kernels(precision::exact));
  CHECK(none.calls(system_call::arch_prctl) == 0);
  if (!has) CHECK_FALSE(x86_ask_for_tiles());
#endif
}
