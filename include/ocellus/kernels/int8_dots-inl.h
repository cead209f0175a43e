// int8 dot products: rows of int8 activations times panels of q8 or q4 weights. Included once for each set of
// instructions, into a namespace that has defined `int8_vec`, the vectors and their dot product (see x86_int8_dots.ipp). No guard.
//
// Instructions multiply unsigned by signed bytes. The activations are the signed ones; the weights' codes are made unsigned
// by adding `offset`, which int8_rows::starts takes back. The products of a group of 32 columns are exact in
// 32-bit integers; then they are scaled to f32 and added to the output's sum, group after group. So an output has the
// same bits whichever function below computes it, for any number of rows.

/// A vector of outputs, `lanes` of a panel's 16: their part of a q4 line or of a q8 line, as unsigned codes.
struct q8_codes {
  static constexpr std::size_t line_columns = 4;
  static constexpr int offset = int8_vec::q8_offset;

  struct group {
    int8_vec::f32 scale;
    HWY_INLINE explicit group(const std::byte* scales)
        : scale(int8_vec::mul(int8_vec::load_f16(scales), int8_vec::set(quant_unit))) {}
    /// The codes of columns [4 Part, 4 Part + 4) of a line. w: `lanes` outputs of it
    template <int Part>
    HWY_INLINE int8_vec::i32 codes(const std::byte* w) const {
      return int8_vec::add_offset<offset>(int8_vec::load(w));
    }
  };
};

struct q4_codes {
  static constexpr std::size_t line_columns = 8;
  static constexpr int offset = int8_vec::q4_offset;

  struct group {
    int8_vec::f32 scale;
    int8_vec::i32 add;  // of an output, in each of its four bytes
    HWY_INLINE explicit group(const std::byte* scales)
        : scale(int8_vec::mul(int8_vec::load_f16(scales), int8_vec::set(quant_unit))),
          add(int8_vec::q4_add(scales, offset)) {}
    template <int Part>
    HWY_INLINE int8_vec::i32 codes(const std::byte* w) const {
      return int8_vec::add_bytes(int8_vec::q4_level(int8_vec::nibbles<Part>(int8_vec::load(w))), add);
    }
  };
};

inline constexpr std::size_t int8_lanes = int8_vec::lanes;
inline constexpr std::size_t int8_panel_vectors = panel_rows / int8_lanes;
inline constexpr std::size_t int8_k_block = 768;  // columns: 24 KiB of codes of two panels
inline constexpr std::size_t int8_prefetch_bytes = 4096;
inline constexpr std::size_t int8_prefetch_scale_bytes = 512;
// A tile takes two vectors of outputs: of two panels, or of one.
inline constexpr std::size_t int8_tile_panels = int8_lanes == panel_rows ? 2 : 1;
inline constexpr std::size_t group_lines = quant_group / 4;  // of unsigned codes: four columns each

/// sums[r] += dot(w, four codes of row r), for R rows.
template <class Format, std::size_t R, std::size_t Rows>
HWY_INLINE void dot_rows(int8_vec::i32 (&sums)[Rows], int8_vec::i32 w, const std::int8_t* x,
                         std::size_t x_row) {
  if constexpr (R != 0) {
    dot_rows<Format, R - 1>(sums, w, x, x_row);
    sums[R - 1] = int8_vec::dot<Format::offset>(sums[R - 1], w, int8_vec::spread(x + (R - 1) * x_row));
  }
}
/// The same for two vectors of outputs.
template <class Format, std::size_t R, std::size_t Rows>
HWY_INLINE void dot_rows(int8_vec::i32 (&sums0)[Rows], int8_vec::i32 (&sums1)[Rows], int8_vec::i32 w0,
                         int8_vec::i32 w1, const std::int8_t* x, std::size_t x_row) {
  if constexpr (R != 0) {
    dot_rows<Format, R - 1>(sums0, sums1, w0, w1, x, x_row);
    const int8_vec::i32 four = int8_vec::spread(x + (R - 1) * x_row);
    sums0[R - 1] = int8_vec::dot<Format::offset>(sums0[R - 1], w0, four);
    sums1[R - 1] = int8_vec::dot<Format::offset>(sums1[R - 1], w1, four);
  }
}

/// sums[r] = where row r's products of a group start.
template <class Format, std::size_t R, std::size_t Rows>
HWY_INLINE void start_rows(int8_vec::i32 (&sums)[Rows], const std::byte* starts, std::size_t x_row) {
  if constexpr (R != 0) {
    start_rows<Format, R - 1>(sums, starts, x_row);
    sums[R - 1] = Format::offset == 0 ? int8_vec::zero() : int8_vec::spread(starts + (R - 1) * x_row);
  }
}

/// totals[r] += sums[r] * (scale of the weights' group * scale of row r's group)
template <std::size_t R, std::size_t Rows>
HWY_INLINE void scale_rows(int8_vec::f32 (&totals)[Rows], const int8_vec::i32 (&sums)[Rows],
                           int8_vec::f32 scale, const std::byte* x_scale, std::size_t x_row) {
  if constexpr (R != 0) {
    scale_rows<R - 1>(totals, sums, scale, x_scale, x_row);
    const int8_vec::f32 both = int8_vec::mul(scale, int8_vec::spread_f32(x_scale + (R - 1) * x_row));
    totals[R - 1] = int8_vec::mul_add(int8_vec::to_f32(sums[R - 1]), both, totals[R - 1]);
  }
}

template <std::size_t R, std::size_t Rows>
HWY_INLINE void load_rows(int8_vec::f32 (&totals)[Rows], const float* out, std::size_t out_row) {
  if constexpr (R != 0) {
    load_rows<R - 1>(totals, out, out_row);
    totals[R - 1] = int8_vec::load_f32(out + (R - 1) * out_row);
  }
}
template <std::size_t R, std::size_t Rows>
HWY_INLINE void store_rows(const int8_vec::f32 (&totals)[Rows], float* out, std::size_t out_row) {
  if constexpr (R != 0) {
    store_rows<R - 1>(totals, out, out_row);
    int8_vec::store(totals[R - 1], out + (R - 1) * out_row);
  }
}
template <std::size_t R, std::size_t Rows>
HWY_INLINE void clear_rows(int8_vec::f32 (&totals)[Rows]) {
  if constexpr (R != 0) {
    clear_rows<R - 1>(totals);
    totals[R - 1] = int8_vec::set(0.0f);
  }
}

/// The lines of a group, from line L on, as the file holds them: decoded once for R rows.
template <class Format, std::size_t L, std::size_t R>
HWY_INLINE void dot_group(int8_vec::i32 (&sums)[R], const typename Format::group& group, const std::byte* w,
                          const std::int8_t* x, std::size_t x_row) {
  if constexpr (L * Format::line_columns != quant_group) {
    dot_rows<Format, R>(sums, group.template codes<0>(w), x, x_row);
    if constexpr (Format::line_columns == 8)
      dot_rows<Format, R>(sums, group.template codes<1>(w), x + 4, x_row);
    dot_group<Format, L + 1>(sums, group, w + line_bytes, x + Format::line_columns, x_row);
  }
}

/// A group of a panel for R rows, vector by vector from V on.
template <class Format, std::size_t V, std::size_t R>
HWY_INLINE void stream_group(int8_vec::f32 (&totals)[int8_panel_vectors][R], const std::byte* w,
                             const std::byte* scales, const std::int8_t* codes, const std::byte* x_scales,
                             const std::byte* starts, std::size_t x_row) {
  if constexpr (V != int8_panel_vectors) {
    const typename Format::group group(scales + V * int8_lanes * sizeof(f16));
    int8_vec::i32 sums[R];
    start_rows<Format, R>(sums, starts, x_row);
    dot_group<Format, 0>(sums, group, w + V * int8_lanes * 4, codes, x_row);
    scale_rows<R>(totals[V], sums, group.scale, x_scales, x_row);
    stream_group<Format, V + 1>(totals, w, scales, codes, x_scales, starts, x_row);
  }
}

template <std::size_t V, std::size_t R>
HWY_INLINE void clear_panel(int8_vec::f32 (&totals)[int8_panel_vectors][R]) {
  if constexpr (V != int8_panel_vectors) {
    clear_rows<R>(totals[V]);
    clear_panel<V + 1>(totals);
  }
}
template <std::size_t V, std::size_t R>
HWY_INLINE void store_panel(const int8_vec::f32 (&totals)[int8_panel_vectors][R], float* out,
                            std::size_t out_row) {
  if constexpr (V != int8_panel_vectors) {
    store_rows<R>(totals[V], out + V * int8_lanes, out_row);
    store_panel<V + 1>(totals, out, out_row);
  }
}

/// R rows by P panels, one or two, over all of K, straight from the file's lines: when there are too few rows to decode
/// them in advance. Two are two streams of memory, which a core reads a little faster than one. w, scales: of the first
/// panel, the other is `step` panels of w_size and k bytes on; out: [R, 16], and as many, 16 * step on
template <class Format, std::size_t R, std::size_t P>
HWY_NOINLINE void int8_stream(const int8_rows& x, const std::byte* HWY_RESTRICT w, std::size_t w_size,
                              std::size_t step, const std::byte* HWY_RESTRICT scales, float* HWY_RESTRICT out,
                              std::size_t out_row) {
  static_assert(P == 1 || P == 2);
  constexpr std::size_t group_bytes = quant_group / Format::line_columns * line_bytes;
  const std::size_t x_row = int8_rows::row_bytes(x.k);
  const std::int8_t* codes = x.codes(0);
  const auto* x_scales = reinterpret_cast<const std::byte*>(x.scales(0));
  const auto* starts = reinterpret_cast<const std::byte*>(x.starts(0));
  int8_vec::f32 totals[P][int8_panel_vectors][R];
  clear_panel<0>(totals[0]);
  clear_panel<0>(totals[P - 1]);
  for (std::size_t k = 0; k < x.k; k += quant_group) {
    for (std::size_t p = 0; p < P; ++p) {
      for (std::size_t i = 0; i < group_bytes; i += line_bytes)
        int8_vec::prefetch(w + p * step * w_size + int8_prefetch_bytes + i);
      int8_vec::prefetch(scales + p * step * x.k + int8_prefetch_scale_bytes);
    }
    stream_group<Format, 0>(totals[0], w, scales, codes, x_scales, starts, x_row);
    if constexpr (P == 2)
      stream_group<Format, 0>(totals[1], w + step * w_size, scales + step * x.k, codes, x_scales, starts,
                              x_row);
    w += group_bytes;
    scales += panel_rows * sizeof(f16);
    codes += quant_group;
    x_scales += sizeof(float);
    starts += sizeof(std::int32_t);
  }
  store_panel<0>(totals[0], out, out_row);
  if constexpr (P == 2) store_panel<0>(totals[1], out + step * panel_rows, out_row);
}

/// A part of a panel, and of its scales.
struct int8_part {
  const std::byte* codes;
  const std::byte* scales;
};

/// Decodes `columns` columns of a panel, and fetches as many of `coming`, what will be decoded next, from memory. codes:
/// [columns / 4][16][4]; to_scales: [columns / 32][16]
template <class Format>
HWY_NOINLINE void int8_decode(int8_part from, int8_part coming, std::size_t columns,
                              std::byte* HWY_RESTRICT codes, float* HWY_RESTRICT to_scales) {
  for (std::size_t c = 0; c < columns; c += quant_group) {
    for (std::size_t i = 0; i < quant_group; i += Format::line_columns, coming.codes += line_bytes)
      int8_vec::prefetch_later(coming.codes);
    int8_vec::prefetch_later(coming.scales);
    coming.scales += panel_rows * sizeof(f16);
    for (std::size_t v = 0; v < int8_panel_vectors; ++v) {
      const typename Format::group group(from.scales + v * int8_lanes * sizeof(f16));
      int8_vec::store(group.scale, to_scales + v * int8_lanes);
      const std::byte* line = from.codes + v * int8_lanes * 4;
      std::byte* to = codes + v * int8_lanes * 4;
      for (std::size_t i = 0; i < quant_group; i += Format::line_columns) {
        int8_vec::store(group.template codes<0>(line), to);
        if constexpr (Format::line_columns == 8) {
          int8_vec::store(group.template codes<1>(line), to + line_bytes);
          to += line_bytes;
        }
        to += line_bytes;
        line += line_bytes;
      }
    }
    from.codes += quant_group / Format::line_columns * line_bytes;
    from.scales += panel_rows * sizeof(f16);
    codes += group_lines * line_bytes;
    to_scales += panel_rows;
  }
}

/// A K block of the vectors of a tile, decoded.
struct int8_scratch {
  alignas(64) std::byte codes[int8_tile_panels][int8_k_block * panel_rows];
  alignas(64) float scales[int8_tile_panels][int8_k_block / quant_group * panel_rows];
};

/// The decoded lines of a group, from line L on, for two vectors of outputs.
template <class Format, std::size_t L, std::size_t R>
HWY_INLINE void dot_lines(int8_vec::i32 (&sums0)[R], int8_vec::i32 (&sums1)[R], const std::byte* codes0,
                          const std::byte* codes1, const std::int8_t* x, std::size_t x_row) {
  const std::size_t end = int8_vec::unrolls ? L + 1 : group_lines;
  for (std::size_t i = L; i < end; ++i) {
    dot_rows<Format, R>(sums0, sums1, int8_vec::load(codes0 + i * line_bytes),
                        int8_vec::load(codes1 + i * line_bytes), x + i * 4, x_row);
  }
  if constexpr (int8_vec::unrolls && L + 1 != group_lines) {
    dot_lines<Format, L + 1>(sums0, sums1, codes0, codes1, x, x_row);
  }
}

/// R rows by two vectors of outputs over `groups` groups, on top of what is in `out`. codes0, scales0: of the first vector, as
/// int8_decode leaves them; x: where the K block begins.
template <class Format, std::size_t R>
HWY_NOINLINE void int8_tile(const std::int8_t* HWY_RESTRICT x, const std::byte* x_scales,
                            const std::byte* starts, std::size_t x_row, const std::byte* HWY_RESTRICT codes0,
                            const float* HWY_RESTRICT scales0, const std::byte* HWY_RESTRICT codes1,
                            const float* HWY_RESTRICT scales1, std::size_t groups, float* HWY_RESTRICT out,
                            std::size_t out_row, bool add) {
  int8_vec::f32 totals0[R], totals1[R];
  if (add) {
    load_rows<R>(totals0, out, out_row);
    load_rows<R>(totals1, out + int8_lanes, out_row);
  } else {
    clear_rows<R>(totals0);
    clear_rows<R>(totals1);
  }
  for (std::size_t g = 0; g < groups; ++g) {
    int8_vec::i32 sums0[R], sums1[R];
    start_rows<Format, R>(sums0, starts, x_row);
    start_rows<Format, R>(sums1, starts, x_row);
    dot_lines<Format, 0>(sums0, sums1, codes0, codes1, x, x_row);
    codes0 += group_lines * line_bytes;
    codes1 += group_lines * line_bytes;
    x += quant_group;
    scale_rows<R>(totals0, sums0, int8_vec::load_f32(scales0), x_scales, x_row);
    scale_rows<R>(totals1, sums1, int8_vec::load_f32(scales1), x_scales, x_row);
    scales0 += panel_rows;
    scales1 += panel_rows;
    x_scales += sizeof(float);
    starts += sizeof(std::int32_t);
  }
  store_rows<R>(totals0, out, out_row);
  store_rows<R>(totals1, out + int8_lanes, out_row);
}

/// Calls body for R rows, R a constant: 1 <= r <= R.
template <std::size_t R, class Body>
HWY_INLINE void with_rows(std::size_t r, const Body& body) {
  if constexpr (R == 1) {
    body.template run<1>();
  } else if (r == R) {
    body.template run<R>();
  } else {
    with_rows<R - 1>(r, body);
  }
}

template <class Format>
struct int8_stream_call {
  const int8_rows& x;
  const std::byte* w;
  const std::byte* scales;
  float* out;
  std::size_t out_row;
  template <std::size_t R>
  HWY_INLINE void run() const {
    int8_stream<Format, R, 1>(x, w, 0, 0, scales, out, out_row);
  }
};

template <class Format>
struct int8_tile_call {
  const std::int8_t* x;
  const std::byte* x_scales;
  const std::byte* starts;
  std::size_t x_row;
  const std::byte* codes[2];
  const float* scales[2];
  std::size_t groups;
  float* out;
  std::size_t out_row;
  bool add;
  template <std::size_t R>
  HWY_INLINE void run() const {
    int8_tile<Format, R>(x, x_scales, starts, x_row, codes[0], scales[0], codes[1], scales[1], groups, out,
                         out_row, add);
  }
};

/// Sums of `rows` rows for up to panel_count panels, without bias. x: rows of int8; panels, scales: of the first panel,
/// panel_size bytes and k bytes apart; next: panels that this worker will probably be given next; out: [rows, 16 *
/// panel_count], whose rows go on for another 16 values when the panels are odd in number.
template <class Format>
HWY_NOINLINE void int8_sums(const int8_rows& x, std::size_t rows, const dot_panels& w, float* out,
                            std::size_t out_row, int8_scratch& scratch) {
  // Few rows are multiplied by weights as they are read, stream_rows at a time: from the second time on a panel comes from the
  // cache, and is decoded in less time than it takes to do that once into memory.
  if (rows <= int8_vec::few_rows) {
    // One row in two streams, each on through half of the panels.
    const std::size_t half = rows == 1 ? w.count / 2 : 0;
    for (std::size_t p = 0; p < half; ++p) {
      int8_stream<Format, 1, 2>(x, w.codes + p * w.size, w.size, half, w.scales + p * x.k,
                                out + p * panel_rows, out_row);
    }
    for (std::size_t p = 2 * half; p < w.count; ++p) {
      for (std::size_t r = 0; r < rows; r += int8_vec::stream_rows) {
        with_rows<int8_vec::stream_rows>(
            rows - r < int8_vec::stream_rows ? rows - r : int8_vec::stream_rows,
            int8_stream_call<Format>{x.from(r), w.codes + p * w.size, w.scales + p * x.k,
                                     out + r * out_row + p * panel_rows, out_row});
      }
    }
    // The first lines of what probably comes next.
    for (std::size_t i = 0; i < int8_prefetch_bytes; i += line_bytes) {
      int8_vec::prefetch(w.next_codes + i);
      if (half != 0) int8_vec::prefetch(w.next_codes + half * w.size + i);
    }
    return;
  }
  const auto part_at = [&](std::size_t panel, std::size_t k) {
    return int8_part{w.codes + panel * w.size + k / Format::line_columns * line_bytes,
                     w.scales + panel * x.k + k};
  };
  // Blocks of about the same size, in whole groups.
  const std::size_t blocks = (x.k + int8_k_block - 1) / int8_k_block;
  const std::size_t block = round_up((x.k + blocks - 1) / blocks, std::size_t{quant_group});
  for (std::size_t k0 = 0; k0 < x.k; k0 += block) {
    const std::size_t columns = x.k - k0 < block ? x.k - k0 : block;
    for (std::size_t first = 0; first < w.count; first += int8_tile_panels) {
      for (std::size_t p = first; p < first + int8_tile_panels && p < w.count; ++p) {
        const std::size_t then = p + int8_tile_panels;
        const int8_part coming = then < w.count       ? part_at(then, k0)
                                 : k0 + columns < x.k ? part_at(p - first, k0 + columns)
                                                      : int8_part{w.next_codes + (p - first) * w.size,
                                                                  w.next_scales + (p - first) * x.k};
        int8_decode<Format>(part_at(p, k0), coming, columns, scratch.codes[p - first],
                            scratch.scales[p - first]);
      }
      for (std::size_t column = 0; column < int8_tile_panels * panel_rows; column += 2 * int8_lanes) {
        // The second vector of an odd last panel is that panel again; its sums land in the tail and are zeroed later.
        const std::size_t other = int8_tile_panels == 2 && first + 1 < w.count ? 1 : 0;
        const std::size_t along =
            int8_tile_panels == 2 ? 0 : int8_lanes;  // from the first vector to the second
        const std::byte* codes[2] = {scratch.codes[0] + column * 4,
                                     scratch.codes[other] + (column + along) * 4};
        const float* scales[2] = {scratch.scales[0] + column, scratch.scales[other] + column + along};
        for (std::size_t r = 0; r < rows; r += int8_vec::tile_rows) {
          const int8_rows part = x.from(r);
          const std::size_t group = k0 / quant_group;
          with_rows<int8_vec::tile_rows>(
              rows - r < int8_vec::tile_rows ? rows - r : int8_vec::tile_rows,
              int8_tile_call<Format>{part.codes(0) + k0,
                                     reinterpret_cast<const std::byte*>(part.scales(0) + group),
                                     reinterpret_cast<const std::byte*>(part.starts(0) + group),
                                     int8_rows::row_bytes(x.k),
                                     {codes[0], codes[1]},
                                     {scales[0], scales[1]},
                                     columns / quant_group,
                                     out + r * out_row + first * panel_rows + column,
                                     out_row,
                                     k0 != 0});
        }
      }
    }
  }
}

/// int8_sums of the format that w has. scratch: an int8_scratch
inline void int8_sums_of_format(const int8_rows& x, std::size_t rows, const dot_panels& w, float* out,
                                std::size_t out_row, void* scratch) noexcept {
  auto& block = *static_cast<int8_scratch*>(scratch);
  if (w.format == weight_format::q8) {
    int8_sums<q8_codes>(x, rows, w, out, out_row, block);
  } else {
    int8_sums<q4_codes>(x, rows, w, out, out_row, block);
  }
}
