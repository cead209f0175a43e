// Prompt templates: the texts that TinyGPT-V was trained and shown with, as data, and a user's turn laid out
// by one.
#ifndef OCELLUS_TEXT_PROMPT_HPP
#define OCELLUS_TEXT_PROMPT_HPP

#include "ocellus/memory.hpp"
#include "ocellus/slice.hpp"

namespace ocellus::inline OCELLUS_ABI {

/// A user's turn is
///   opening, turn_begin, {image_open PICTURE image_close}..., image_gap, the user's text, turn_end
/// where the parts about pictures are left out if there is none and image_gap also if there is no text. The
/// first turn has `opening`. A later one has `answer_end` in its place: what stands between the model's
/// answer and the next turn. The stop string that ended an answer is not part of the context, so where
/// answers end in "###" it comes from there.
struct prompt_template {
  std::string_view name;
  std::string_view use;          ///< one line: what it was made for
  bool begins_with_end_of_text;  ///< the end-of-text token comes before everything else
  std::string_view opening;
  std::string_view answer_end;
  bool later_end_of_text;  ///< the end-of-text token follows answer_end
  std::string_view turn_begin;
  std::string_view image_open;
  std::string_view image_close;
  std::string_view image_gap;
  std::string_view turn_end;
  std::string_view stop;  ///< the string that ends an answer, besides the end-of-text token
  // What the published demonstrations and evaluations sample with; temperature 0 is greedy.
  float temperature;
  float top_p;
  float repetition_penalty;  ///< over generated tokens only
  std::uint32_t max_tokens;
};

/// All templates. Sources are the published repository's prompts, conversation code and evaluation scripts.
///
/// Later turns: chat_v0 and chat_v2 do as the demonstrations' conversation code does: it puts its separator
/// after each message, "###" in chat_v0 ("answer###Human: ..."), nothing in chat_v2. inst does as the
/// training on conversations does: the answer ends in "###", the next question begins with the end-of-text
/// token. The others were trained on single turns that end in "###"; theirs go on like chat_v0's.
std::span<const prompt_template> prompt_templates() noexcept;

/// The template of that name: caption, alignment, chat_v0, inst, chat_v2, eval, micro. Error:
/// template_unknown, with the names that there are.
[[nodiscard]] result<const prompt_template*> find_template(std::string_view name) noexcept;

enum class prompt_part : std::uint8_t {
  text,        ///< to be tokenized by itself, without parsing special tokens
  image,       ///< the embeddings of the next picture
  end_of_text  ///< the end-of-text token
};

struct prompt_segment {
  prompt_part part;
  std::string_view text;
};

/// A turn laid out: what goes into the context, in order. Two texts are never neighbours. Move-only.
class prompt {
 public:
  static constexpr std::uint32_t max_images = 1024;

  enum class turn : std::uint8_t { first, later };

  /// Lays out a turn. Errors: invalid_argument (more pictures than max_images), out_of_memory.
  [[nodiscard]] static result<prompt> make(const prompt_template& layout, turn which, std::uint32_t images,
                                           std::string_view user_text,
                                           const memory_hooks& memory = {}) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return parts_.size(); }
  /// The text is valid as long as this prompt lives.
  [[nodiscard]] prompt_segment operator[](std::size_t i) const noexcept {
    return {parts_[i].what, detail::slice(bytes_.view(), parts_[i].begin, parts_[i].end - parts_[i].begin)};
  }

 private:
  struct part {
    prompt_part what;
    std::size_t begin;
    std::size_t end;
  };
  explicit prompt(const memory_hooks& memory) noexcept : bytes_(memory), parts_(memory) {}
  [[nodiscard]] bool add_text(std::string_view more) noexcept;
  [[nodiscard]] bool add_mark(prompt_part what) noexcept;

  text bytes_;
  array<part> parts_;
};

/// What TinyGPT-V's stage 4 was taught to do, said by a tag at the beginning of the user's text.
enum class task : std::uint8_t { none, vqa, caption, grounding, refer, identify, detection };

/// "[vqa]", ...; empty for none.
[[nodiscard]] std::string_view tag_of(task what) noexcept;

/// Appends the user's text for a task: the tag, then the words that the training put around the subject.
///   vqa        the question                          "[vqa] what color is the car?"
///   caption    an instruction; empty: a usual one    "[caption] please describe this image?"
///   grounding  an instruction; empty: a usual one    "[grounding] please describe this image in details"
///   refer      what to look for                      "[refer] give me the location of the red car"
///   identify   a box, see append_box                 "[identify] what object is in this location
///   {<1><2><3><4>}" detection  what to look for                      "[detection] car" none       the text
///   itself
/// Error: out_of_memory; out is then as before.
[[nodiscard]] result<void> append_task(task what, std::string_view subject, text& out) noexcept;

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_PROMPT_HPP
