// steps: runs a forward pass in pieces. The pass is written as straight code, one call for one tensor equation; steps
// cuts the calls into units and remembers how many units have run. A pass that was interrupted, by
// its time budget or by a stop of the host, is simply run again from its first line: units that are done are skipped,
// the rest continue. Kernels never write over their inputs, so a unit that was cut off can be repeated.
#ifndef OCELLUS_MODEL_STEPS_HPP
#define OCELLUS_MODEL_STEPS_HPP

#include <initializer_list>

#include "ocellus/kernels/kernels.hpp"
#include "ocellus/tensor.hpp"
#include "ocellus/time.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Sees the values between the stages of a pass: "vit.block.3", "phi.layer.0", "logits". For comparing with goldens,
/// attention maps and the like; observing allocates and copies.
struct observer {
  void* context = nullptr;
  /// values: [rows, cols]; first_row: where they stand in the whole stage (logits come in blocks of rows).
  void (*observe)(void* context, std::string_view stage, std::uint32_t first_row,
                  tensor_view<const float> values) = nullptr;

  [[nodiscard]] explicit operator bool() const noexcept { return observe != nullptr; }
};

class steps {
 public:
  /// Rows of a unit when time is limited. A last unit of fewer than least_part_rows goes with the one before.
  static constexpr std::uint32_t block_rows = 64;

  /// To be called before each run of the pass. A fresh start forgets the units that are done.
  void begin(const kernels& table, context& ctx, const observer& watch, time_budget budget,
             bool fresh) noexcept {
    table_ = &table;
    ctx_ = &ctx;
    watch_ = watch;
    budget_ = budget;
    start_ = steady_nanoseconds();
    at_ = 0;
    if (fresh) done_ = 0;
    paused_ = ctx.failed();
  }
  /// After the pass's last line: has all of it run?
  [[nodiscard]] bool finished() const noexcept { return done_ == at_; }

  // One method for each entry of the table; see kernels.hpp for what they compute.

  void linear(const matrix& x, std::initializer_list<linear_output> outputs) noexcept {
    by_rows(x.rows, [&](std::uint32_t first, std::uint32_t count) {
      linear_output part[3];
      std::uint32_t n = 0;
      for (const linear_output& o : outputs) {
        part[n] = o;
        part[n].out = o.out.slice(first, count);
        if (o.residual) part[n].residual = o.residual.slice(first, count);
        ++n;
      }
      table_->linear(*ctx_, x.slice(first, count), part, n);
    });
  }
  void layer_norm(const layer_norm_args& args) noexcept {
    unit([&] { table_->layer_norm(*ctx_, args); });
  }
  void rms_norm(const rms_norm_args& args) noexcept {
    unit([&] { table_->rms_norm(*ctx_, args); });
  }
  void add(const matrix& a, const matrix& b, const matrix& out) noexcept {
    unit([&] { table_->add(*ctx_, a, b, out); });
  }
  /// `count` sequences, of which sequence(i) is the i-th. A long one is cut into blocks of query rows, short ones share a
  /// call.
  template <class Sequence>
  void attention(attention_args args, std::uint32_t count, const Sequence& sequence) noexcept {
    const auto call = [&](const attention_sequence* parts, std::uint32_t n) {
      args.sequences = parts;
      args.sequence_count = n;
      table_->attention(*ctx_, args);
    };
    std::uint32_t i = 0;
    while (i < count) {
      const attention_sequence next = sequence(i);
      if (next.rows < block_rows) {
        i = together(i, count, block_rows, sequence, call);
        continue;
      }
      by_rows(next.rows, [&](std::uint32_t first, std::uint32_t rows) {
        attention_sequence part = next;
        part.first_row = next.first_row + first;
        part.rows = rows;
        part.position = next.position + first;
        call(&part, 1);
      });
      ++i;
    }
  }
  template <class Sequence>
  void rotary_append(rotary_append_args args, std::uint32_t count, const Sequence& sequence) noexcept {
    const auto call = [&](const attention_sequence* parts, std::uint32_t n) {
      args.sequences = parts;
      args.sequence_count = n;
      table_->rotary_append(*ctx_, args);
    };
    for (std::uint32_t i = 0; i < count;) i = together(i, count, UINT32_MAX, sequence, call);
  }
  void copy(const matrix& from, const matrix& to) noexcept {
    unit([&] { table_->copy(*ctx_, from, to); });
  }
  /// Shows rows to the observer, if there is one.
  void observe(std::string_view stage, const matrix& values, std::uint32_t first_row = 0) noexcept {
    if (!watch_) return;
    unit([&] {
      auto copy = tensor<float>::make({values.rows, values.cols}, ctx_->hooks().memory);
      if (!copy) return ctx_->fail(copy.error().code());
      table_->download(*ctx_, values, copy->data());
      watch_.observe(watch_.context, stage, first_row, copy->view());
    });
  }
  /// The same for a numbered stage: "vit.block." and 3.
  void observe(std::string_view stage, std::uint32_t number, const matrix& values) noexcept {
    if (!watch_) return;
    char name[48];
    std::size_t length = stage.copy(name, 32);
    char digits[10];
    std::size_t n = 0;
    do digits[n++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    while (n > 0) name[length++] = digits[--n];
    observe(std::string_view(name, length), values);
  }

 private:
  template <class Run>
  void unit(const Run& run) noexcept {
    const std::uint64_t mine = at_++;
    if (paused_ || mine != done_) return;
    run();
    after(1);
  }
  /// Units of block_rows rows. Without a limit of time all that are left are one call: kernels give a row the same bits
  /// in either case.
  template <class Run>
  void by_rows(std::uint32_t rows, const Run& run) noexcept {
    const std::uint32_t units =
        rows < block_rows + least_part_rows ? 1 : (rows - least_part_rows) / block_rows + 1;
    const std::uint64_t mine = at_;
    at_ += units;
    while (!paused_ && done_ < at_) {
      const auto unit = static_cast<std::uint32_t>(done_ - mine);
      const std::uint32_t count = budget_.limited() ? 1 : units - unit;
      const std::uint32_t first = unit * block_rows;
      run(first, unit + count == units ? rows - first : block_rows);
      after(count);
    }
  }
  /// Counts what has run, unless it failed; pauses the pass if it did, or if its time is used up.
  void after(std::uint32_t units) noexcept {
    if (ctx_->failed()) {
      paused_ = true;
      return;
    }
    done_ += units;
    paused_ = budget_.limited() && budget_.used_up_by(steady_nanoseconds() - start_);
  }

  /// One unit for sequences from `first` on, as many as have up to most_rows rows; which one comes next.
  template <class Sequence, class Call>
  std::uint32_t together(std::uint32_t first, std::uint32_t count, std::uint64_t most_rows,
                         const Sequence& sequence, const Call& call) noexcept {
    constexpr std::uint32_t most = 16;  // they are on the stack
    std::uint32_t end = first;
    for (std::uint64_t rows = 0; end < count && end - first < most; ++end) {
      rows += sequence(end).rows;
      if (rows > most_rows && end != first) break;
    }
    unit([&] {
      attention_sequence parts[most];
      for (std::uint32_t i = first; i < end; ++i) parts[i - first] = sequence(i);
      call(parts, end - first);
    });
    return end;
  }

  const kernels* table_ = nullptr;
  context* ctx_ = nullptr;
  observer watch_;
  time_budget budget_;
  std::int64_t start_ = 0;
  std::uint64_t at_ = 0;    // the unit that the pass is at
  std::uint64_t done_ = 0;  // units that have run
  bool paused_ = false;
};

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_STEPS_HPP
