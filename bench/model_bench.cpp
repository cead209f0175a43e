// Speed and memory of a whole model: opening it, a picture, prompts of several lengths, tokens at several contexts, picture
// to first token. Without any download: `ocellus synth --size full --format q4 random.safetensors`.
//
//   model_bench MODEL [--threads N] [--target NAME] [--rounds 3] [--json]
//
// Rounds of all measurements are interleaved, each with a plain read loop over 1 GiB, and each figure is the median of its
// rounds, since other programs share the machine. "Read" is the bytes that one token must touch (weights, keys and values)
// by its time, and per cent of what the read loop gave.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include "measure.hpp"
#include "ocellus/ocellus.hpp"

namespace {

using namespace ocellus_bench;

[[noreturn]] void give_up(const ocellus::error& why) {
  std::fprintf(stderr, "model_bench: %.*s\n", static_cast<int>(why.message().size()), why.message().data());
  std::exit(1);
}

template <class T>
T must(ocellus::result<T>&& done) {
  if (!done) give_up(done.error());
  if constexpr (!std::is_void_v<T>) return std::move(*done);
}

/// Bytes of weights that every token reads: all matrices of Phi, but of the embedding one row.
double bytes_of_a_token(const ocellus::model& model) {
  double bytes = 0;
  for (const ocellus::tensor_info& t : model.contents().tensors()) {
    if (t.name.starts_with("phi.layers.") || t.name.starts_with("phi.head."))
      bytes += static_cast<double>(t.bytes.size());
  }
  return bytes;
}

/// The most memory that the process ever had, pages of mapped files included; 0 where the system does not say.
double peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6) * 1024;
  }
  return 0;
}

struct figure {
  std::string what;
  std::uint32_t tokens;  // 0: not about tokens
  double bytes;          // that are read; 0: not compared
  std::function<void()> run;
  std::uint32_t context = 0;  // tokens that must be there before
  std::vector<double> seconds = {};
};

class bench {
 public:
  bench(const std::string& file, const ocellus::host& hooks, const ocellus::session_options& options)
      : file_(file),
        hooks_(hooks),
        model_(must(ocellus::model::open(file, hooks))),
        session_(must(ocellus::session::open(model_, options, hooks))) {
    for (std::size_t i = 0; i < pixels_.size(); ++i)
      pixels_[i] = static_cast<std::uint8_t>(i * 2654435761u >> 24);
    figures_.push_back({"open", 0, 0, [this] { must(ocellus::model::open(file_, hooks_)); }});
    if (model_.config().has_vision) {
      const std::string size = std::to_string(model_.config().vit.image_size);
      figures_.push_back({"picture, " + size + " px", 0, 0, [this] { see(); }});
      figures_.push_back({"picture and 48 tokens to the first", 0, 0, [this] {
                            see();
                            must(session_.rewind(0));
                            must(session_.append(picture_));
                            take(48);
                            must(session_.step());
                          }});
    }
    for (const std::uint32_t n : {16u, 64u, 128u, 512u, 1024u, 1536u}) {
      if (n > session_.context()) continue;
      figures_.push_back({"prompt", n, 0, [this, n] {
                            must(session_.rewind(0));
                            take(n);
                            must(session_.step());
                          }});
    }
    for (const std::uint32_t at : {100u, 1000u}) {
      if (at + answer > session_.context()) continue;
      const ocellus::phi_config& c = model_.config().phi;
      const double cached = 2.0 * c.layers * at * c.width * sizeof(float);
      figures_.push_back({"answer at " + std::to_string(at), answer,
                          answer * (bytes_of_a_token(model_) + cached),
                          [this, at] {
                            must(session_.rewind(at));
                            for (std::uint32_t i = 0; i < answer; ++i) {
                              take(1);
                              must(session_.step());
                            }
                          },
                          at});
    }
  }

  void run(int rounds) {
    for (figure& f : figures_) {
      reach_context_of(f);
      f.run();
    }
    peak_ = peak_resident_bytes();  // without the memory that is read for comparison
    constexpr std::size_t read_bytes = std::size_t{1} << 30;
    const block memory(read_bytes);
    std::memset(memory.data(), 1, read_bytes);
    for (int round = 0; round < rounds; ++round) {
      for (figure& f : figures_) {
        if (f.bytes != 0) {
          const double seconds = seconds_of([&] { read_all(hooks_.tasks, memory, read_bytes); });
          read_.push_back(static_cast<double>(read_bytes) / seconds);
        }
        reach_context_of(f);
        f.seconds.push_back(seconds_of(f.run));
      }
    }
  }

  void print_table() const {
    std::printf("%s, %u threads, context %u\n", std::string(session_.target()).c_str(), hooks_.tasks.workers,
                session_.context());
    if (!read_.empty()) std::printf("plain read %.1f GB/s\n", median(read_) * 1e-9);
    for (const figure& f : figures_) {
      const double s = median(f.seconds);
      const std::string what = f.what + (f.tokens != 0 ? ", " + std::to_string(f.tokens) + " tokens" : "");
      std::printf("  %-38s %9.1f ms", what.c_str(), s * 1e3);
      if (f.tokens != 0) std::printf(" %8.1f tokens/s", f.tokens / s);
      if (f.bytes != 0)
        std::printf("  read %.1f GB/s, %.0f %%", f.bytes / s * 1e-9, 100 * f.bytes / s / median(read_));
      std::printf("\n");
    }
    std::printf("file %.2f GB, peak memory %.2f GB, mapped pages included\n",
                static_cast<double>(model_.file_bytes()) * 1e-9, peak_ * 1e-9);
  }

  void print_json() const {
    std::printf(
        "{\"target\":\"%s\",\"threads\":%u,\"file_bytes\":%llu,\"peak_resident_bytes\":%.0f,\"read_bytes_per_"
        "second\":%.0f,\"figures\":[",
        std::string(session_.target()).c_str(), hooks_.tasks.workers,
        static_cast<unsigned long long>(model_.file_bytes()), peak_, read_.empty() ? 0.0 : median(read_));
    const char* comma = "";
    for (const figure& f : figures_) {
      std::printf("%s{\"what\":\"%s\",\"tokens\":%u,\"bytes\":%.0f,\"seconds\":%.6f}", comma, f.what.c_str(),
                  f.tokens, f.bytes, median(f.seconds));
      comma = ",";
    }
    std::printf("]}\n");
  }

 private:
  static constexpr std::uint32_t answer = 16;  // tokens

  /// What comes before an answer is not part of its time.
  void reach_context_of(const figure& f) {
    if (session_.length() < f.context) take(f.context - session_.length());
    must(session_.step());
  }
  void see() {
    must(session_.encode(ocellus::image_view{pixels_.data(), 640, 480, 0, ocellus::pixel_format::rgb},
                         picture_));
  }
  void take(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t token[] = {i * 7919u % model_.config().phi.vocabulary};
      must(session_.append(token));
    }
  }

  std::string file_;
  ocellus::host hooks_;
  ocellus::model model_;
  ocellus::session session_;
  ocellus::image_embedding picture_;
  std::vector<std::uint8_t> pixels_ = std::vector<std::uint8_t>(std::size_t{640} * 480 * 3);
  std::vector<figure> figures_;
  std::vector<double> read_;  // bytes a second
  double peak_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::string model;
  ocellus::session_options options;
  std::uint32_t threads = 0;
  int rounds = 3;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool valued = i + 1 < argc;
    if (word == "--json") {
      json = true;
    } else if (word == "--threads" && valued) {
      threads = static_cast<std::uint32_t>(std::atoi(argv[++i]));
    } else if (word == "--target" && valued) {
      options.target = argv[++i];
    } else if (word == "--rounds" && valued) {
      rounds = (std::max)(1, std::atoi(argv[++i]));
    } else if (!word.starts_with("--") && model.empty()) {
      model = word;
    } else {
      std::fprintf(stderr, "model_bench: %s?\n", argv[i]);
      return 2;
    }
  }
  if (model.empty()) return std::fprintf(stderr, "model_bench MODEL, see bench/model_bench.cpp\n"), 2;
  auto pool = must(ocellus::thread_pool::make(threads));
  ocellus::host hooks;
  hooks.tasks = pool.hooks();
  bench runs(model, hooks, options);
  runs.run(rounds);
  json ? runs.print_json() : runs.print_table();
  return 0;
}
