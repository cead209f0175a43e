#include "engine.hpp"

namespace ocellus_cli {

option threads_option() {
  return {"--threads", "N", "workers, this thread among them; default: one for each processor"};
}

std::vector<option> engine_options(std::string_view default_precision) {
  return {threads_option(),
          {"--target", "NAME", "kernels by name, see `ocellus info`; default: the fastest"},
          {"--precision", "P",
           default_precision == "exact" ? "exact (default) or fast" : "fast (default) or exact"}};
}

std::vector<option> answer_options() {
  return {{"--template", "NAME", "prompt template; default: the model's"},
          {"--max-tokens", "N", "of one answer; default: the template's"},
          {"--context", "N", "positions of the conversation; default: the model's, at most 2048"},
          {"--temperature", "T", "0 (default): always the likeliest token"},
          {"--top-k", "K", "choose among the K likeliest tokens only"},
          {"--top-p", "P", "choose among the likeliest tokens that reach this probability"},
          {"--repetition-penalty", "R", "above 1: makes tokens of the answer less likely again"},
          {"--seed", "S", "of the random numbers; default 0"},
          {"--stats", "", "times and token rates on standard error"}};
}

engine::engine(arguments& given, std::string_view default_precision)
    : threads_(given.number<std::uint32_t>("--threads", 0, 1, ocellus::thread_pool::max_workers)) {
  session_.target = given.text("--target");
  const std::string_view precision = given.text("--precision", default_precision);
  session_.mode = precision == "exact" ? ocellus::precision::exact : ocellus::precision::fast;
  if (precision != "exact" && precision != "fast")
    given.complain("--precision is exact or fast, not \"" + std::string(precision) + "\"");
}

bool engine::start() {
  host_.stop = catch_interrupts();
  host_.log.write = [](void*, ocellus::log_level level, std::string_view message) {
    if (level == ocellus::log_level::warning) note("ocellus: " + std::string(message));
  };
  auto pool = ocellus::thread_pool::make(threads_);
  if (!pool) {
    fail(pool.error());
    return false;
  }
  pool_.emplace(std::move(*pool));
  host_.tasks = pool_->hooks();
  return true;
}

ocellus::chat_options read_answer_options(arguments& given, const engine& runs_on) {
  ocellus::chat_options options;
  options.session = runs_on.session();
  options.session.context = given.number<std::uint32_t>("--context", 0, 1, UINT32_MAX);
  options.template_name = given.text("--template");
  options.max_tokens = given.number<std::uint32_t>("--max-tokens", 0, 1, UINT32_MAX);
  options.choose.temperature = given.number<float>("--temperature", 0, 0, 100);
  options.choose.top_k = given.number<std::uint32_t>("--top-k", 0, 0, UINT32_MAX);
  options.choose.top_p = given.number<float>("--top-p", 1, 1e-6f, 1);
  options.choose.repetition_penalty = given.number<float>("--repetition-penalty", 1, 0.01f, 100);
  options.choose.seed = given.number<std::uint64_t>("--seed", 0, 0, UINT64_MAX);
  return options;
}

ocellus::result<void> show_file(ocellus::chat& to, std::string_view path, const ocellus::host& host,
                                ocellus::image* last) {
  OCELLUS_ASSIGN(auto picture, ocellus::load_image(path, {}, host.memory));
  progress("looking at the picture ...");
  const auto shown = to.show(picture);
  progress_done();
  if (!shown) return shown.error();
  if (last != nullptr) *last = std::move(picture);
  return {};
}

std::string rate_text(std::uint32_t tokens, std::chrono::nanoseconds time) {
  const double seconds = std::chrono::duration<double>(time).count();
  std::string text =
      std::to_string(tokens) + (tokens == 1 ? " token in " : " tokens in ") + seconds_text(time);
  if (seconds > 0) text += ", " + fixed_text(tokens / seconds, 1) + " a second";
  return text;
}

void note_reply(const ocellus::reply& reply) {
  const char* const ends[] = {"not finished", "the model stopped", "the limit of tokens",
                              "the context is full"};
  note("question: " + rate_text(reply.prompt_tokens, std::chrono::nanoseconds(reply.prompt_nanoseconds)));
  note("answer: " + rate_text(reply.tokens, std::chrono::nanoseconds(reply.answer_nanoseconds)) +
       "; ended by: " + ends[static_cast<int>(reply.end)]);
}

}  // namespace ocellus_cli
