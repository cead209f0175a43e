// The names that tensors have in published checkpoints, brought to one form: that of the reference implementation's
// state dict ("llama_model.model.layers.3.self_attn.dense.weight").
#ifndef OCELLUS_MODEL_CHECKPOINT_NAMES_HPP
#define OCELLUS_MODEL_CHECKPOINT_NAMES_HPP

#include <string_view>

#include "ocellus/error.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// Where a file comes from, in the order of loading: what comes later overlays what came before.
enum class source_role : std::uint8_t { phi, vit, qformer, stage };

/// "Phi-2", "ViT", "Q-Former", "stage": for messages.
[[nodiscard]] std::string_view name_of(source_role role) noexcept;

/// A tensor's name of up to 255 bytes, built without allocation. Longer text makes it invalid.
class checkpoint_name {
 public:
  static constexpr std::size_t max_bytes = 255;

  checkpoint_name() noexcept = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  checkpoint_name(std::string_view from) noexcept { append(from); }
  checkpoint_name& append(std::string_view more) noexcept {
    if (more.size() > max_bytes - length_) {
      valid_ = false;
      return *this;
    }
    for (char c : more) text_[length_++] = c;
    return *this;
  }
  checkpoint_name& append_number(std::uint32_t n) noexcept {
    char digits[10];
    std::size_t first = sizeof digits;
    do digits[--first] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    return append({digits + first, sizeof digits - first});
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text_, length_}; }
  [[nodiscard]] bool valid() const noexcept { return valid_; }

 private:
  char text_[max_bytes];
  std::size_t length_ = 0;
  bool valid_ = true;
};

/// A name in the one form, and whether more had to be done for it than to put the part's usual prefix before it.
struct canonical_name {
  checkpoint_name name;
  bool renamed = false;
};

/// Takes off "module." (DistributedDataParallel), "base_model.model.", ".base_layer" and LoRA's ".default" (peft), turns
/// the names of the first Phi-2 files (transformer.h.N.mixer...) into today's and puts "visual_encoder." or "llama_model."
/// before names that come from a file of that part alone. Unknown names pass through. Never fails but by length.
[[nodiscard]] canonical_name canonical_name_of(source_role role, std::string_view given) noexcept;

/// A tensor that published files hold and the model does not use, by its canonical name: what it belongs to ("text branch
/// of the Q-Former"), or "" if it is none of those.
[[nodiscard]] std::string_view surplus_of(std::string_view name) noexcept;
[[nodiscard]] inline bool is_surplus_name(std::string_view name) noexcept {
  return !surplus_of(name).empty();
}

/// Reads "prefix.N.rest": N and the rest, if the name begins so.
[[nodiscard]] bool split_layer_name(std::string_view name, std::string_view prefix, std::uint32_t& layer,
                                    std::string_view& rest) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_MODEL_CHECKPOINT_NAMES_HPP
