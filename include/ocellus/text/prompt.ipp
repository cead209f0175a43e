// Prompt templates and the layout of a turn.
#ifndef OCELLUS_TEXT_PROMPT_IPP
#define OCELLUS_TEXT_PROMPT_IPP

#include "ocellus/text/prompt.hpp"

namespace ocellus::inline OCELLUS_ABI {
namespace detail {

inline constexpr prompt_template prompt_table[] = {
    {.name = "caption",
     .use = "stages 1 and 2: a caption right after the picture; text, if any, is its beginning",
     .begins_with_end_of_text = true,
     .opening = "",
     .answer_end = "\n",
     .later_end_of_text = false,
     .turn_begin = "",
     .image_open = "",
     .image_close = "",
     .image_gap = "",
     .turn_end = "",
     .stop = "\n",
     .temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1,
     .max_tokens = 300},
    {.name = "alignment",
     .use = "stage 3, as trained",
     .begins_with_end_of_text = true,
     .opening = "",
     .answer_end = "",
     .later_end_of_text = false,
     .turn_begin = "###Human: ",
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = " ###Assistant: ",
     .stop = "###",
     .temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1,
     .max_tokens = 300},
    {.name = "chat_v0",
     .use = "the demonstration of stages 1 to 3",
     .begins_with_end_of_text = false,
     .opening = "Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I "
                "provide it "
                "to you. Please answer my questions.",
     .answer_end = "",
     .later_end_of_text = false,
     .turn_begin = "###Human: ",
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = "###Assistant: ",
     .stop = "###",
     .temperature = 1.0f,
     .top_p = 0.9f,
     .repetition_penalty = 1.05f,
     .max_tokens = 300},
    {.name = "inst",
     .use = "stage 4, as trained",
     .begins_with_end_of_text = true,
     .opening = "",
     .answer_end = "###",
     .later_end_of_text = true,
     .turn_begin = "[INST] ",
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = "  [/INST]",  // two spaces: instructions were stored with one at their end
     .stop = "###",
     .temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1,
     .max_tokens = 500},
    {.name = "chat_v2",
     .use = "the demonstration of stage 4",
     .begins_with_end_of_text = false,
     .opening = "",
     .answer_end = "",
     .later_end_of_text = false,
     .turn_begin = "<s>[INST] ",  // "<s>" is text to this tokenizer
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = " [/INST]",
     .stop = "###",
     .temperature = 0.6f,
     .top_p = 0.9f,
     .repetition_penalty = 1.05f,
     .max_tokens = 500},
    {.name = "eval",
     .use = "the published evaluation scripts",
     .begins_with_end_of_text = false,
     .opening = "",
     .answer_end = "",
     .later_end_of_text = false,
     .turn_begin = "###Human: ",
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = "###Assistant: ",
     .stop = "###",
     .temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1,
     .max_tokens = 20},
    {.name = "micro",
     .use = "the built-in micro model",
     .begins_with_end_of_text = false,
     .opening = "",
     .answer_end = "",
     .later_end_of_text = false,
     .turn_begin = "###Human: ",
     .image_open = "<Img>",
     .image_close = "</Img>",
     .image_gap = " ",
     .turn_end = " ###Assistant: ",
     .stop = "###",
     .temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1,
     .max_tokens = 60},
};

}  // namespace detail

std::span<const prompt_template> prompt_templates() noexcept { return detail::prompt_table; }

result<const prompt_template*> find_template(std::string_view name) noexcept {
  for (const prompt_template& known : detail::prompt_table) {
    if (known.name == name) return &known;
  }
  return error(error_code::template_unknown, "no prompt template ", quoted{name},
               "; there are caption, alignment, chat_v0, inst, chat_v2, eval, micro");
}

bool prompt::add_text(std::string_view more) noexcept {
  if (more.empty()) return true;
  if (parts_.empty() || parts_.back().what != prompt_part::text) {
    if (!add_mark(prompt_part::text)) return false;
  }
  if (!bytes_.append(more)) return false;
  parts_.back().end = bytes_.size();
  return true;
}

bool prompt::add_mark(prompt_part what) noexcept {
  return parts_.push_back({what, bytes_.size(), bytes_.size()});
}

result<prompt> prompt::make(const prompt_template& layout, turn which, std::uint32_t images,
                            std::string_view user_text, const memory_hooks& memory) noexcept {
  if (images > max_images) {
    return error(error_code::invalid_argument, images, " pictures in one turn; at most ", max_images);
  }
  prompt made(memory);
  const bool first = which == turn::first;
  bool stored = true;
  if (first) {
    if (layout.begins_with_end_of_text) stored = made.add_mark(prompt_part::end_of_text);
    stored = stored && made.add_text(layout.opening);
  } else {
    stored = made.add_text(layout.answer_end);
    if (layout.later_end_of_text) stored = stored && made.add_mark(prompt_part::end_of_text);
  }
  stored = stored && made.add_text(layout.turn_begin);
  for (std::uint32_t i = 0; i < images; ++i) {
    stored = stored && made.add_text(layout.image_open) && made.add_mark(prompt_part::image) &&
             made.add_text(layout.image_close);
  }
  if (images != 0 && !user_text.empty()) stored = stored && made.add_text(layout.image_gap);
  stored = stored && made.add_text(user_text) && made.add_text(layout.turn_end);
  if (!stored) return no_memory("a prompt with ", user_text.size(), " bytes of text");
  return made;
}

std::string_view tag_of(task what) noexcept {
  switch (what) {
    case task::none:
      return "";
    case task::vqa:
      return "[vqa]";
    case task::caption:
      return "[caption]";
    case task::grounding:
      return "[grounding]";
    case task::refer:
      return "[refer]";
    case task::identify:
      return "[identify]";
    case task::detection:
      return "[detection]";
  }
  return "";
}

result<void> append_task(task what, std::string_view subject, text& out) noexcept {
  std::string_view words;
  if (what == task::refer) words = "give me the location of ";
  if (what == task::identify) words = "what object is in this location ";
  if (what == task::caption && subject.empty()) words = "please describe this image?";
  if (what == task::grounding && subject.empty()) words = "please describe this image in details";
  const std::size_t before = out.size();
  if (out.append(tag_of(what)) && out.append(what == task::none ? "" : " ") && out.append(words) &&
      out.append(subject)) {
    return {};
  }
  out.truncate(before);
  return no_memory("a question of ", subject.size(), " bytes");
}

}  // namespace ocellus::inline OCELLUS_ABI

#endif  // OCELLUS_TEXT_PROMPT_IPP
