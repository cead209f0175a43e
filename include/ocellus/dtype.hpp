// Element types: their names in safetensors files, their sizes, and the two 16-bit floating-point formats.
#ifndef OCELLUS_DTYPE_HPP
#define OCELLUS_DTYPE_HPP

#include <bit>
#include <cstring>
#include <string_view>

#include "ocellus/config.hpp"

namespace ocellus::inline OCELLUS_ABI {

// Every element type that the safetensors format defines: enumerator, name in files, bits an element.
#define OCELLUS_DTYPES(X)          \
  X(boolean, "BOOL", 8)            \
  X(f4, "F4", 4)                   \
  X(f6_e2m3, "F6_E2M3", 6)         \
  X(f6_e3m2, "F6_E3M2", 6)         \
  X(u8, "U8", 8)                   \
  X(i8, "I8", 8)                   \
  X(f8_e5m2, "F8_E5M2", 8)         \
  X(f8_e4m3, "F8_E4M3", 8)         \
  X(f8_e8m0, "F8_E8M0", 8)         \
  X(f8_e4m3fnuz, "F8_E4M3FNUZ", 8) \
  X(f8_e5m2fnuz, "F8_E5M2FNUZ", 8) \
  X(i16, "I16", 16)                \
  X(u16, "U16", 16)                \
  X(f16, "F16", 16)                \
  X(bf16, "BF16", 16)              \
  X(i32, "I32", 32)                \
  X(u32, "U32", 32)                \
  X(f32, "F32", 32)                \
  X(c64, "C64", 64)                \
  X(f64, "F64", 64)                \
  X(i64, "I64", 64)                \
  X(u64, "U64", 64)

enum class dtype : std::uint8_t {
#define OCELLUS_DTYPE_ENUM(name, text, bits) name,
  OCELLUS_DTYPES(OCELLUS_DTYPE_ENUM)
#undef OCELLUS_DTYPE_ENUM
};

/// "F32"
constexpr std::string_view name_of(dtype type) noexcept {
  switch (type) {
#define OCELLUS_DTYPE_NAME(name, text, bits) \
  case dtype::name:                          \
    return text;
    OCELLUS_DTYPES(OCELLUS_DTYPE_NAME)
#undef OCELLUS_DTYPE_NAME
  }
  return "?";
}

constexpr std::uint32_t bits_of(dtype type) noexcept {
  switch (type) {
#define OCELLUS_DTYPE_BITS(name, text, bits) \
  case dtype::name:                          \
    return bits;
    OCELLUS_DTYPES(OCELLUS_DTYPE_BITS)
#undef OCELLUS_DTYPE_BITS
  }
  return 0;
}

/// The type of that name; false if there is none.
constexpr bool parse_dtype(std::string_view name, dtype& type) noexcept {
#define OCELLUS_DTYPE_PARSE(name_, text, bits) \
  if (name == text) return type = dtype::name_, true;
  OCELLUS_DTYPES(OCELLUS_DTYPE_PARSE)
#undef OCELLUS_DTYPE_PARSE
  return false;
}

/// IEEE binary16.
struct f16 {
  std::uint16_t bits;
};

/// bfloat16: the upper half of an f32.
struct bf16 {
  std::uint16_t bits;
};

constexpr float to_f32(float v) noexcept { return v; }

constexpr float to_f32(bf16 v) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(v.bits) << 16);
}

constexpr float to_f32(f16 v) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(v.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (v.bits >> 10) & 31u;
  const std::uint32_t mantissa = v.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float tiny = static_cast<float>(mantissa) * 0x1p-24f;  // zero and subnormals: exact in f32
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(tiny));
}

/// Rounds to nearest, ties to even; NaN stays NaN.
constexpr bf16 to_bf16(float v) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(v);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

/// Rounds to nearest, ties to even; beyond 65504 becomes infinity; NaN stays NaN.
constexpr f16 to_f16(float v) noexcept {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude >= 0x38800000u) {  // normal in f16
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
  }
  // Subnormal in f16: adding 0.5 leaves the value, rounded by the addition itself, in the low bits.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u))};
}

/// Element i of an array of f32, f16, bf16 or f64 at any address, as f32; of no other type.
inline float load_as_f32(dtype type, const std::byte* from, std::uint64_t i) noexcept {
  const std::byte* at = from + i * (bits_of(type) / 8);
  const auto as = [at]<class T>(T element) noexcept {
    std::memcpy(&element, at, sizeof element);
    return element;
  };
  switch (type) {
    case dtype::f16:
      return to_f32(as(f16{}));
    case dtype::bf16:
      return to_f32(as(bf16{}));
    case dtype::f64:
      return static_cast<float>(as(0.0));
    default:
      return as(0.0f);
  }
}

/// The dtype that holds elements of type T.
template <class T>
inline constexpr bool has_dtype = false;
template <class T>
struct dtype_of_type;

#define OCELLUS_DTYPE_OF(cpp, name)             \
  template <>                                   \
  inline constexpr bool has_dtype<cpp> = true;  \
  template <>                                   \
  struct dtype_of_type<cpp> {                   \
    static constexpr dtype value = dtype::name; \
  };
OCELLUS_DTYPE_OF(float, f32)
OCELLUS_DTYPE_OF(double, f64)
OCELLUS_DTYPE_OF(f16, f16)
OCELLUS_DTYPE_OF(bf16, bf16)
OCELLUS_DTYPE_OF(std::int8_t, i8)
OCELLUS_DTYPE_OF(std::uint8_t, u8)
OCELLUS_DTYPE_OF(std::int32_t, i32)
OCELLUS_DTYPE_OF(std::uint32_t, u32)
OCELLUS_DTYPE_OF(std::int64_t, i64)
#undef OCELLUS_DTYPE_OF

template <class T>
inline constexpr dtype dtype_of = dtype_of_type<T>::value;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_DTYPE_HPP
