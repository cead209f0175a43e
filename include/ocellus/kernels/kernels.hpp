// The seam between the model and what computes it: one struct of function pointers. The CPU fills one table for each
// SIMD target, the scalar reference is another, a GPU fills the same. Model code owns opaque buffers and calls the
// table; it never reads or writes activations or weights itself.
//
// Contract of every entry:
// - It takes the context first, is noexcept and returns nothing. A failure, and a stop that the host asked for, is
//   sticky in the context: the entry may return with its outputs half written, and the caller reads it once a step.
// - Outputs never overlap inputs. So an interrupted call can simply be made again.
// - Shapes are trusted: they were checked when the model was opened.
// - Activations are f32 rows of `cols` values with a stride that is a multiple of 64. Entries may read the tail
//   [cols, round_up(cols, 64)) of an input row, which is 0, and write 0 to the tail of each output row.
// - Keys and values are rows of f32 or f16 of which nothing beyond a head's own D values is read or written.
// - Vectors (biases, norm weights) are matrices of one f32 row, 64-byte aligned, with the same zero tail.
// - The bits of a result depend on the shapes of the call and on the table, never on workers or their order.
//
// Letters in shapes: T rows (tokens), N outputs, K inputs, H heads, D head size, P cached positions.
#ifndef OCELLUS_KERNELS_KERNELS_HPP
#define OCELLUS_KERNELS_KERNELS_HPP

#include "ocellus/kernels/context.hpp"
#include "ocellus/kernels/packed.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// A caller that cuts the rows of a pass into several calls gives none of them fewer: an entry may compute fewer in another
/// way, and a row has the same bits however a pass was cut.
inline constexpr std::uint32_t least_part_rows = 16;

/// The largest head size that attention and rotary_append take (their scratch is sized for it).
inline constexpr std::uint32_t max_head_size = 256;

/// A piece of a backend's memory. What the handle points to is the backend's business; on the CPU it is the memory.
struct buffer {
  void* handle = nullptr;
  std::uint64_t bytes = 0;
  bool owned = false;  ///< allocated by the backend, not wrapped
};

/// Rows of numbers in a buffer: row i starts `offset` bytes + i * stride elements behind the handle.
struct matrix {
  void* handle = nullptr;
  std::uint64_t offset = 0;  ///< bytes
  dtype type = dtype::f32;   ///< f16 for keys and values alone
  std::uint32_t rows = 0;
  std::uint32_t cols = 0;
  std::uint64_t stride = 0;  ///< elements from one row to the next

  [[nodiscard]] explicit operator bool() const noexcept { return handle != nullptr; }
  /// Rows [first, first + count).
  [[nodiscard]] matrix slice(std::uint32_t first, std::uint32_t count) const noexcept {
    matrix part = *this;
    part.offset += first * stride * (bits_of(type) / 8);
    part.rows = count;
    return part;
  }
  /// Columns [first, first + count) of every row; its tail is then what stands there, not 0.
  [[nodiscard]] matrix columns(std::uint32_t first, std::uint32_t count) const noexcept {
    matrix part = *this;
    part.offset += std::uint64_t{first} * (bits_of(type) / 8);
    part.cols = count;
    return part;
  }
  /// Rows of activations together with their zero tails.
  [[nodiscard]] matrix with_tails() const noexcept {
    matrix whole = *this;
    whole.cols = round_up(cols, column_pad);
    return whole;
  }
};

/// A weight [n, k] in the packed layout (see packed.hpp), at `offset` bytes behind the handle, any alignment.
struct packed_matrix {
  void* handle = nullptr;
  std::uint64_t offset = 0;
  weight_format format = weight_format::f32;
  std::uint32_t n = 0;
  std::uint32_t k = 0;
  std::uint64_t scales = 0;  ///< of q8 and q4: bytes behind the handle
};

/// A matrix [rows, cols] whose rows are gathered, row-major in any format (see packed.hpp), any alignment.
struct gathered_table {
  void* handle = nullptr;
  std::uint64_t offset = 0;
  weight_format format = weight_format::f32;
  std::uint32_t rows = 0;
  std::uint32_t cols = 0;
  std::uint64_t scales = 0;  ///< of q8 and q4: bytes behind the handle
};

enum class activation : std::uint8_t {
  none,
  gelu,       ///< x/2 (1 + erf(x / sqrt 2)): the ViT and the Q-Former
  gelu_tanh,  ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): Phi's gelu_new
};

/// One product of linear(): out = act(x W^T + bias) + residual.
struct linear_output {
  packed_matrix weight;  ///< [N, K]
  matrix bias = {};      ///< [N], or none
  activation act = activation::none;
  matrix residual = {};  ///< [T, N], or none; may not overlap out
  matrix out;            ///< [T, N]
};

/// One layer norm: out = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, row by row, biased variance.
struct layer_norm_args {
  matrix x;       ///< [T, K]
  matrix weight;  ///< [K]
  matrix bias;    ///< [K]
  float eps = 0;
  matrix out;  ///< [T, K]
};

/// out = x / sqrt(mean(x^2) + eps) * weight + residual, row by row.
struct rms_norm_args {
  matrix x;              ///< [T, K]
  matrix weight;         ///< [K]
  matrix residual = {};  ///< [T, K], or none
  float eps = 0;
  matrix out;  ///< [T, K]
};

/// Keys and values of consecutive positions, all heads. Head h of position p: k row p, `h * head_stride` elements on.
/// All segments of a sequence are of one type: the table's cache_type, or f32 where keys and values are activations
/// themselves (the ViT, the Q-Former).
struct kv_segment {
  matrix k;                       ///< [P, D] rows of head 0
  matrix v;                       ///< [P, D] rows of head 0
  std::uint64_t head_stride = 0;  ///< elements
};

/// The rows of one sequence within a call, and the keys that they see: at most a shared prefix and the sequence's own
/// tail, concatenated. Segment lengths (k.rows) count the rows of this call when their keys are in the cache already.
struct attention_sequence {
  std::uint32_t first_row = 0;
  std::uint32_t rows = 0;
  std::uint32_t position = 0;  ///< of first_row among the keys; used when causal
  kv_segment segments[2];
  std::uint32_t segment_count = 0;
};

/// out = softmax(q k^T * scale) v for each head. Causal: row i of a sequence sees keys 0 .. position + i, and what stands
/// in later ones, infinity and NaN as well, does not reach it.
struct attention_args {
  matrix q;    ///< [T, H * D]
  matrix out;  ///< [T, H * D]
  std::uint32_t heads = 0;
  std::uint32_t head_size = 0;
  float scale = 0;
  bool causal = false;
  const attention_sequence* sequences = nullptr;
  std::uint32_t sequence_count = 0;
};

/// Phi's way from the fused projection to attention: q and k of each head pass a layer norm over the D values of the
/// head (when its weights are there), then the first `rotary_size` of them are rotated in halves by the row's position
/// (RoPE, NeoX style); q goes to q_out, k and v are stored into the last segment of the sequence, as f32 or rounded to
/// the nearest f16, ties to even, beyond 65504 to infinity: whichever type the segment has.
struct rotary_append_args {
  matrix qkv;  ///< [T, 3 * H * D]: q of all heads, k of all heads, v of all heads
  std::uint32_t heads = 0;
  std::uint32_t head_size = 0;
  std::uint32_t rotary_size = 0;
  matrix q_weight, q_bias, k_weight, k_bias;  ///< [D] each, or none
  float eps = 0;
  matrix cosines, sines;  ///< [positions, rotary_size / 2]
  matrix q_out;           ///< [T, H * D]
  /// Row i of a sequence has position + i; its key and value go to row position + i - (rows of earlier segments).
  const attention_sequence* sequences = nullptr;
  std::uint32_t sequence_count = 0;
};

/// out row i = table row ids[i], widened to f32.
struct embed_args {
  gathered_table table;                ///< [vocabulary, K]
  const std::uint32_t* ids = nullptr;  ///< host memory, T of them, each below table.rows
  matrix out;                          ///< [T, K]
};

/// How a table computes.
/// exact: activations, keys, values and sums in f32. What goldens are compared with.
/// fast: sums in f32; products of int8 or bf16 where the processor has them; keys and values in f16.
enum class precision : std::uint8_t { exact, fast };

/// Of a KV cache.
[[nodiscard]] constexpr dtype cache_type_of(precision mode) noexcept {
  return mode == precision::exact ? dtype::f32 : dtype::f16;
}

/// The table. Entries that a step may call while it runs allocate nothing.
struct kernels {
  const char*
      name;  ///< "reference", or the instructions: "AVX2", "NEON" (as Highway names targets), "AVX3_VNNI"
  precision mode;
  dtype cache_type;  ///< of a KV cache for this table: f32 when exact, f16 when fast

  /// Scratch that one worker needs; the context's scratch must hold it for each of its workers.
  std::uint64_t scratch_bytes_per_worker;
  /// Scratch that a call of linear() needs beside it, for each value of its padded input x [T, round_up(K, 64)].
  std::uint64_t scratch_bytes_per_value;

  /// `bytes` of memory, zeroed and at least 64-byte aligned; handle null and the context failed when there is none.
  buffer (*allocate)(context& ctx, std::uint64_t bytes) noexcept;
  /// Gives back what allocate or wrap returned, and empties the buffer; an empty one is left alone.
  void (*release)(context& ctx, buffer& memory) noexcept;
  /// Makes memory of the host (a mapped file) readable by the entries; on the CPU without a copy.
  buffer (*wrap)(context& ctx, const void* memory, std::uint64_t bytes) noexcept;
  /// Host rows of cols elements without gaps to a matrix of the same type; tails become 0.
  void (*upload)(context& ctx, const void* rows, const matrix& to) noexcept;
  /// A matrix to host rows without gaps.
  void (*download)(context& ctx, const matrix& from, void* rows) noexcept;
  /// Rows to rows of the same shape and type, column by column; what stands behind them is left alone.
  void (*copy)(context& ctx, const matrix& from, const matrix& to) noexcept;

  /// Several weights applied to one input. x: [T, K].
  void (*linear)(context& ctx, const matrix& x, const linear_output* outputs, std::uint32_t count) noexcept;
  void (*layer_norm)(context& ctx, const layer_norm_args& args) noexcept;
  void (*rms_norm)(context& ctx, const rms_norm_args& args) noexcept;
  /// out = a + b; all [T, K].
  void (*add)(context& ctx, const matrix& a, const matrix& b, const matrix& out) noexcept;
  void (*attention)(context& ctx, const attention_args& args) noexcept;
  void (*rotary_append)(context& ctx, const rotary_append_args& args) noexcept;
  void (*embed)(context& ctx, const embed_args& args) noexcept;
};

/// The tables of one precision that this processor can run.
class kernel_tables {
 public:
  static constexpr std::size_t capacity = 12;

  constexpr void push(const kernels* table) noexcept { tables_[count_++] = table; }
  [[nodiscard]] constexpr const kernels* const* begin() const noexcept { return tables_; }
  [[nodiscard]] constexpr const kernels* const* end() const noexcept { return tables_ + count_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return count_; }
  [[nodiscard]] constexpr const kernels* operator[](std::size_t i) const noexcept { return tables_[i]; }
  [[nodiscard]] constexpr const kernels* back() const noexcept { return tables_[count_ - 1]; }

 private:
  const kernels* tables_[capacity] = {};
  std::size_t count_ = 0;
};

/// The scalar table: every entry as its formula reads, sums in double. Specification and oracle. The fast one differs in
/// the type of its cache alone.
[[nodiscard]] const kernels& reference_kernels(precision mode = precision::exact) noexcept;

/// The tables that this processor can run, slowest first; the reference is the first. Those of fast precision may have
/// one with AMX tiles, for which the system is asked for permission, unless allow_amx is false.
[[nodiscard]] kernel_tables cpu_kernels(precision mode = precision::exact, bool allow_amx = true) noexcept;

/// The table of that name among cpu_kernels(mode, allow_amx); the last, fastest one for an empty name; null if there is none.
[[nodiscard]] const kernels* find_cpu_kernels(std::string_view name, precision mode = precision::exact,
                                              bool allow_amx = true) noexcept;

#if defined(OCELLUS_MODEL_TILES)
namespace detail {
/// For tests: the table with AMX tiles that are ordinary code, see model_tiles-inl.h. Null without AVX-512.
[[nodiscard]] const kernels* model_tiles_kernels() noexcept;
}  // namespace detail
#endif

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_KERNELS_KERNELS_HPP
