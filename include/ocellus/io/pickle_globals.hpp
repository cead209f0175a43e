// The functions, classes and types that a checkpoint's pickle may mention; no other name means anything to us.
#ifndef OCELLUS_IO_PICKLE_GLOBALS_HPP
#define OCELLUS_IO_PICKLE_GLOBALS_HPP

#include <string_view>

#include "ocellus/dtype.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

enum class pickle_global : std::uint32_t {
  unknown,
  ordered_dict,
  rebuild_tensor,
  rebuild_tensor_typed,
  rebuild_parameter,
  storage,
  untyped_storage,
  element_type
};

struct pickle_global_name {
  std::string_view name;
  pickle_global what;
  dtype type = dtype::f32;
};

// "module name" of everything that a checkpoint may mention.
inline constexpr pickle_global_name pickle_globals[] = {
    {"collections OrderedDict", pickle_global::ordered_dict},
    {"torch._utils _rebuild_tensor_v2", pickle_global::rebuild_tensor},
    {"torch._utils _rebuild_tensor_v3", pickle_global::rebuild_tensor_typed},
    {"torch._utils _rebuild_parameter", pickle_global::rebuild_parameter},
    {"torch.storage UntypedStorage", pickle_global::untyped_storage},
    {"torch FloatStorage", pickle_global::storage, dtype::f32},
    {"torch HalfStorage", pickle_global::storage, dtype::f16},
    {"torch BFloat16Storage", pickle_global::storage, dtype::bf16},
    {"torch DoubleStorage", pickle_global::storage, dtype::f64},
    {"torch LongStorage", pickle_global::storage, dtype::i64},
    {"torch IntStorage", pickle_global::storage, dtype::i32},
    {"torch ShortStorage", pickle_global::storage, dtype::i16},
    {"torch CharStorage", pickle_global::storage, dtype::i8},
    {"torch ByteStorage", pickle_global::storage, dtype::u8},
    {"torch BoolStorage", pickle_global::storage, dtype::boolean},
    {"torch float32", pickle_global::element_type, dtype::f32},
    {"torch float16", pickle_global::element_type, dtype::f16},
    {"torch bfloat16", pickle_global::element_type, dtype::bf16},
    {"torch float64", pickle_global::element_type, dtype::f64},
    {"torch int64", pickle_global::element_type, dtype::i64},
    {"torch int32", pickle_global::element_type, dtype::i32},
    {"torch int16", pickle_global::element_type, dtype::i16},
    {"torch int8", pickle_global::element_type, dtype::i8},
    {"torch uint8", pickle_global::element_type, dtype::u8},
    {"torch bool", pickle_global::element_type, dtype::boolean},
};

}  // namespace detail
}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_IO_PICKLE_GLOBALS_HPP
