// ocellus-bench batch: what computing together is worth: tokens a second of 1, 2, 4 and 8 sequences, several questions
// about one picture with what they have in common computed once, and pictures in one pass; each against one after the
// other.
//
// Results are compared first: together must be one after the other, but for rounding. Rounds are interleaved and each
// figure is the median of its rounds, since other programs share the machine.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "commands.hpp"
#include "measure.hpp"
#include "must.hpp"
#include "ocellus/ocellus.hpp"

namespace ocellus_bench {
namespace {

using ocellus::session;

struct figure {
  std::string what;
  double count;        // of tokens, answers or pictures that are done in its time
  std::size_t single;  // the figure that it is compared with
  std::function<void()> run;
  std::vector<double> seconds = {};
};

class bench {
 public:
  static constexpr std::uint32_t most = 8;  // sequences
  static constexpr std::uint32_t question = 24, answer = 16, opening = 8;

  bench(const ocellus::model& model, ocellus::session_options options, const ocellus::host& hooks,
        std::uint32_t at)
      : model_(model), at_(at) {
    const bool sees = model.config().has_vision;
    options.batch = most;
    options.pictures = sees ? 4 : 1;
    options.context = room();
    sessions_.push_back(must(session::open(model, options, hooks)));
    while (sessions_.size() < most)
      sessions_.push_back(must(session::open(sessions_[0], {.context = room()})));
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      pixels_[i].resize(std::size_t{640} * 480 * 3);
      for (std::size_t j = 0; j < pixels_[i].size(); ++j)
        pixels_[i][j] = static_cast<std::uint8_t>((j + i) * 2654435761u >> 24);
      pictures_[i] = {pixels_[i].data(), 640, 480, 0, ocellus::pixel_format::rgb};
    }
    take(sessions_[0], at, 1);
    must(sessions_[0].step());
    context_ = must(sessions_[0].share(at));

    const std::size_t decode = figures_.size();
    for (const std::uint32_t n : {1u, 2u, 4u, 8u}) {
      figures_.push_back({"answers of " + std::to_string(n) + " sequences at " + std::to_string(at),
                          double(n) * answer, decode, [this, n] { decode_together(n); }});
    }
    if (!sees) return;
    for (const std::uint32_t n : {1u, 2u, 4u, 8u}) {
      const std::size_t single = figures_.size();
      const std::string what = std::to_string(n) + " questions about a picture";
      figures_.push_back({what + ", one by one", double(n), single, [this, n] { one_by_one(n); }});
      figures_.push_back({what + ", shared prefix", double(n), single, [this, n] { shared(n, false); }});
      figures_.push_back({what + ", together", double(n), single, [this, n] { shared(n, true); }});
    }
    for (const std::size_t n : {std::size_t{1}, std::size_t{2}, std::size_t{4}}) {
      const std::size_t single = figures_.size();
      const std::string what =
          std::to_string(n) + " pictures of " + std::to_string(model.config().vit.image_size) + " px";
      figures_.push_back({what + ", one by one", double(n), single, [this, n] {
                            for (std::size_t i = 0; i < n; ++i)
                              must(sessions_[0].encode(pictures_[i], embeddings_[i]));
                          }});
      figures_.push_back(
          {what + ", together", double(n), single, [this, n] {
             for (std::size_t i = 0; i < n; ++i) embeddings_[i] = {};
             must(sessions_[0].encode(std::span(pictures_).first(n), std::span(embeddings_).first(n)));
           }});
    }
  }

  /// Together must be one by one: `tolerance` of the norm.
  void check(double tolerance) {
    if (model_.config().has_vision) {
      one_by_one_pictures();
      const ocellus::image_embedding alone = std::move(embeddings_[3]);
      for (ocellus::image_embedding& e : embeddings_) e = {};
      must(sessions_[0].encode(pictures_, embeddings_));
      compare("pictures", embeddings_[3].values.span(), alone.values.span(), tolerance);
      for (std::uint32_t i = 0; i < most; ++i) ask(sessions_[0], i);
      const std::vector<float> last(sessions_[0].logits().begin(), sessions_[0].logits().end());
      share_picture();
      for (std::uint32_t i = 0; i < most; ++i) ask_behind(sessions_[i], i);
      must(session::step(pointers(most)));
      compare("questions", sessions_[most - 1].logits(), last, tolerance);
    }
    must(sessions_[0].start(context_));
    take(sessions_[0], 1, 5);
    must(sessions_[0].step());
    const std::vector<float> alone(sessions_[0].logits().begin(), sessions_[0].logits().end());
    for (session& s : sessions_) {
      must(s.start(context_));
      take(s, 1, 5);
    }
    must(session::step(pointers(most)));
    compare("tokens", sessions_[most - 1].logits(), alone, tolerance);
  }

  void run(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (figure& f : figures_) {
        prepare();
        f.seconds.push_back(seconds_of(f.run));
      }
    }
    std::printf("%s, context %u\n", std::string(sessions_[0].target()).c_str(), at_);
    for (const figure& f : figures_) {
      const figure& single = figures_[f.single];
      const double s = median(f.seconds), rate = f.count / s;
      std::printf("  %-44s %9.1f ms %8.2f a second  %5.2f x\n", f.what.c_str(), s * 1e3, rate,
                  rate / (single.count / median(single.seconds)));
    }
  }

 private:
  [[nodiscard]] std::uint32_t room() const {
    const std::uint32_t seen = model_.config().has_vision ? model_.config().qformer.queries : 0;
    return (std::max)(at_, opening + seen + question) + answer + 1;
  }
  std::vector<session*> pointers(std::uint32_t n) {
    std::vector<session*> all;
    for (std::uint32_t i = 0; i < n; ++i) all.push_back(&sessions_[i]);
    return all;
  }
  static void compare(const char* what, std::span<const float> a, std::span<const float> b,
                      double tolerance) {
    double square = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      square += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
      norm += double{b[i]} * double{b[i]};
    }
    const double error = std::sqrt(square / norm);
    std::printf("%s: together is off by %.1e\n", what, error);
    if (error <= tolerance) return;
    std::fprintf(stderr, "ocellus-bench: %s are wrong\n", what);
    std::exit(1);
  }
  void take(session& to, std::uint32_t count, std::uint32_t seed) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t token[] = {(i + seed * 131u) * 7919u % model_.config().phi.vocabulary};
      must(to.append(token));
    }
  }
  /// What is no part of a figure's time.
  void prepare() {
    for (session& s : sessions_) must(s.start(context_));
    if (model_.config().has_vision && embeddings_[0].values.size() == 0) one_by_one_pictures();
  }
  void one_by_one_pictures() {
    for (std::size_t i = 0; i < pictures_.size(); ++i)
      must(sessions_[0].encode(pictures_[i], embeddings_[i]));
  }
  void decode_together(std::uint32_t n) {
    const auto all = pointers(n);
    for (std::uint32_t i = 0; i < answer; ++i) {
      for (session* s : all) take(*s, 1, i);
      must(session::step(all));
    }
  }
  void begin_picture(session& s) {
    must(s.rewind(0));
    take(s, opening, 2);
    must(s.append(embeddings_[0]));
  }
  void ask(session& s, std::uint32_t which) {
    begin_picture(s);
    take(s, question, 3 + which);
    must(s.step());
  }
  void share_picture() {
    begin_picture(sessions_[0]);
    must(sessions_[0].step());
    prefix_ = must(sessions_[0].share(sessions_[0].position()));
  }
  void ask_behind(session& s, std::uint32_t which) {
    must(s.start(prefix_));
    take(s, question, 3 + which);
  }
  void finish(session& s) {
    for (std::uint32_t i = 0; i < answer; ++i) {
      must(s.step());
      take(s, 1, i);
    }
  }
  void one_by_one(std::uint32_t n) {
    for (std::uint32_t i = 0; i < n; ++i) {
      ask(sessions_[0], i);
      finish(sessions_[0]);
    }
  }
  void shared(std::uint32_t n, bool together) {
    share_picture();
    const auto all = pointers(n);
    for (std::uint32_t i = 0; i < n; ++i) {
      ask_behind(sessions_[i], i);
      if (!together) finish(sessions_[i]);
    }
    for (std::uint32_t i = 0; together && i < answer; ++i) {
      must(session::step(all));
      for (session* s : all) take(*s, 1, i);
    }
  }

  const ocellus::model& model_;
  std::uint32_t at_;
  std::vector<session> sessions_;
  ocellus::kv_prefix context_, prefix_;
  std::vector<std::uint8_t> pixels_[4];
  std::vector<ocellus::image_view> pictures_ = std::vector<ocellus::image_view>(4);
  std::vector<ocellus::image_embedding> embeddings_ = std::vector<ocellus::image_embedding>(4);
  std::vector<figure> figures_;
};

}  // namespace

usage declare_batch() {
  return {"batch",
          "MODEL",
          "Sequences, questions and pictures together, against one after the other.",
          {{"--precision", "P", "exact or fast (default)"},
           {"--target", "NAME", "kernels by name; default: the fastest of this processor"},
           {"--threads", "N", "default: one for each processor"},
           {"--rounds", "N", "of which each figure is the median; default 3"},
           {"--at", "N", "positions before the sequences' answers; default 100"}}};
}

int run_batch(arguments& given) {
  ocellus::session_options options;
  const std::string_view mode = given.text("--precision", "fast");
  if (mode != "exact" && mode != "fast") given.complain("--precision is exact or fast");
  options.mode = mode == "exact" ? ocellus::precision::exact : ocellus::precision::fast;
  options.target = given.text("--target");
  const auto threads = given.number<std::uint32_t>("--threads", 0, 1, ocellus::thread_pool::max_workers);
  const int rounds = given.number("--rounds", 3, 1, 1000);
  const auto at = given.number<std::uint32_t>("--at", 100, 1, 1u << 20);
  if (given.positionals().size() != 1) given.complain("batch takes one file");
  if (!given.problem().empty()) return exit_usage;

  const auto model = must(ocellus::model::open(given.positionals()[0]));
  auto pool = must(ocellus::thread_pool::make(threads));
  ocellus::host hooks;
  hooks.tasks = pool.hooks();
  bench runs(model, options, hooks, at);
  // int8 activations are rounded row by row, and alike in either case; what is left is the order of sums.
  runs.check(options.mode == ocellus::precision::fast ? 4e-2 : 2e-5);
  runs.run(rounds);
  return exit_ok;
}

}  // namespace ocellus_bench
