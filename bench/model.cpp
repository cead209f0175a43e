// ocellus-bench model: speed and memory of a whole model. Opening it, a picture, prompts of several lengths, tokens at
// several contexts, picture to first token, numbers of threads. Without any download: `ocellus synth --size full`.
//
// Rounds of all measurements are interleaved and each figure is the median of its rounds, since other programs share the
// machine. Just before each one, the machine shows what it can do: it reads 1 GiB (memory of its own and the model's file,
// the faster counts) and runs a loop of the instruction that the kernels are made of. No pass can be faster than its bytes
// at that speed, nor than its operations at that one; the larger of these two times is its limit, and a figure's per cent
// are the limit by the time that it took.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

#include "commands.hpp"
#include "measure.hpp"
#include "model_report.hpp"
#include "must.hpp"
#include "ocellus/ocellus.hpp"
#include "peaks.hpp"
#include "reading.hpp"

namespace ocellus_bench {
namespace {

/// A figure of /proc/self/status in bytes: VmHWM is the most memory that the process ever had, pages of mapped files
/// included, RssAnon what it has now without these. 0 where the system does not say.
double memory_status(std::string_view name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::atof(line.c_str() + name.size() + 1) * 1024;
  }
  return 0;
}

/// What is read to see how fast this machine reads.
class readable {
 public:
  static constexpr std::size_t size = std::size_t{1} << 30;

  explicit readable(const std::string& file) : file_(must(ocellus::byte_source::open(file))) {
    std::fill_n(static_cast<char*>(memory_.data()), size, char{1});
    static_cast<void>(speed({}));  // the file's pages come into the process
  }
  /// Bytes a second.
  [[nodiscard]] double speed(const ocellus::task_hooks& tasks) const {
    const double own = size / seconds_of([&] { read(tasks); });
    const std::size_t piece = (std::min)(size, file_.bytes().size());
    const auto times = static_cast<int>(size / piece);
    const double seconds = seconds_of([&] {
      for (int i = 0; i < times; ++i) read_all(tasks, file_.bytes().data(), piece);
    });
    return (std::max)(own, static_cast<double>(piece) * times / seconds);
  }
  void read(const ocellus::task_hooks& tasks) const { read_all(tasks, memory_.data(), size); }

 private:
  block memory_{size};
  ocellus::byte_source file_;
};

/// A session with workers of its own, and what it is asked to do.
class talker {
 public:
  talker(const ocellus::model& model, const ocellus::session_options& options, std::uint32_t threads)
      : pool_(must(ocellus::thread_pool::make(threads))),
        hooks_(host_of(pool_)),
        session_(must(ocellus::session::open(model, options, hooks_))),
        vocabulary_(model.config().phi.vocabulary),
        pixels_(std::size_t{640} * 480 * 3) {
    for (std::size_t i = 0; i < pixels_.size(); ++i)
      pixels_[i] = static_cast<std::uint8_t>(i * 2654435761u >> 24);
  }
  talker(const talker&) = delete;

  [[nodiscard]] const ocellus::host& hooks() const { return hooks_; }
  [[nodiscard]] const ocellus::session& session() const { return session_; }
  [[nodiscard]] std::uint32_t threads() const { return hooks_.tasks.workers; }

  void see() {
    must(session_.encode(ocellus::image_view{pixels_.data(), 640, 480, 0, ocellus::pixel_format::rgb},
                         picture_));
  }
  void prompt(std::uint32_t tokens) {
    must(session_.rewind(0));
    take(tokens);
  }
  void see_and_prompt(std::uint32_t tokens) {
    see();
    must(session_.rewind(0));
    must(session_.append(picture_));
    take(tokens);
  }
  /// Makes sure that there are so many positions.
  void reach(std::uint32_t position) {
    if (session_.length() < position) take(position - session_.length());
    must(session_.rewind(position));
  }
  void answer(std::uint32_t tokens) {
    for (std::uint32_t i = 0; i < tokens; ++i) take(1);
  }

 private:
  void take(std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t token[] = {i * 7919u % vocabulary_};
      must(session_.append(token));
    }
    must(session_.step());
  }

  static ocellus::host host_of(const ocellus::thread_pool& pool) {
    ocellus::host hooks;
    hooks.tasks = pool.hooks();
    return hooks;
  }

  ocellus::thread_pool pool_;
  ocellus::host hooks_;
  ocellus::session session_;
  std::uint32_t vocabulary_;
  std::vector<std::uint8_t> pixels_;
  ocellus::image_embedding picture_;
};

/// A figure and how to get it.
struct measurement : figure {
  talker* by = nullptr;
  std::function<void()> run = {};
  std::function<void()> before = {};  // not part of its time
};

struct options {
  std::string file;
  ocellus::session_options session;
  std::uint32_t threads = 0;
  int rounds = 3;
  std::vector<std::uint32_t> prompts, contexts;
  std::vector<std::string> only;  // groups; empty: all

  [[nodiscard]] bool wants(std::string_view group) const {
    return only.empty() || std::find(only.begin(), only.end(), group) != only.end();
  }
};

class bench {
 public:
  explicit bench(const options& o)
      : options_(o),
        model_(must(ocellus::model::open(o.file))),
        table_(*ocellus::find_cpu_kernels(o.session.target, o.session.mode)),
        main_(model_, o.session, o.threads) {}

  void run() {
    // What one session does comes first: then the memory of a model is known. Sessions in a batch belong behind it.
    if (options_.wants("picture")) add_picture(main_, "picture");
    if (options_.wants("first")) add_first_token();
    if (options_.wants("prefill")) add_prefill();
    if (options_.wants("decode")) add_decode();
    warm_up(0);
    made_.peak_resident_bytes = memory_status("VmHWM");
    made_.anonymous_bytes = memory_status("RssAnon");
    const std::size_t first = all_.size();
    if (options_.wants("load")) add_load();
    if (options_.wants("threads")) add_threads();
    warm_up(first);

    machine_.emplace(options_.file);
    for (int round = 0; round < options_.rounds; ++round) {
      for (measurement& m : all_) measure(m);
    }
    watch_idleness();
  }

  [[nodiscard]] report result() && {
    const ocellus::model_config& c = model_.config();
    made_.file = options_.file;
    made_.file_bytes = static_cast<double>(model_.file_bytes());
    made_.format = name_of(model_.weights().phi.layers[0].fc1.weight.format);
    if (c.has_vision) {
      made_.vision_format = name_of(model_.weights().vit.blocks[0].fc1.weight.format);
      made_.image_size = c.vit.image_size;
    }
    made_.target = main_.session().target();
    made_.precision = options_.session.mode == ocellus::precision::exact ? "exact" : "fast";
    made_.threads = main_.threads();
    made_.context = main_.session().context();
    made_.session_bytes =
        static_cast<double>(must(ocellus::session::estimate(c, options_.session, main_.hooks())));
    made_.instruction = language_peak().instruction;
    if (!reads_.empty()) {
      made_.read_bytes_per_second = median(reads_);
      made_.operations_per_second = median(peaks_);
    }
    for (measurement& m : all_) made_.figures.push_back(std::move(m));
    return std::move(made_);
  }

 private:
  static constexpr std::uint32_t answer = 16;  // tokens

  void add(figure what, talker& by, std::function<void()> run, std::function<void()> before = {}) {
    what.threads = by.threads();
    all_.push_back({std::move(what), &by, std::move(run), std::move(before)});
  }
  void add_picture(talker& by, const char* group) {
    if (!model_.config().has_vision) return;
    const std::string size = std::to_string(model_.config().vit.image_size);
    add({.group = group, .what = "picture of " + size + " px", .least = picture_work(model_)}, by,
        [&by] { by.see(); });
  }
  void add_prompt(talker& by, const char* group, std::uint32_t n) {
    if (n > by.session().context()) return;
    add({.group = group,
         .what = "prompt",
         .tokens = n,
         .least = tokens_work(model_, 0, n, table_.cache_type)},
        by, [&by, n] { by.prompt(n); });
  }
  void add_answer(talker& by, const char* group, std::uint32_t at) {
    if (at + answer > by.session().context()) return;
    work least = tokens_work(model_, at + answer / 2, 1, table_.cache_type);
    least.bytes *= answer, least.operations *= answer;
    add(
        {.group = group,
         .what = "answer at " + std::to_string(at),
         .tokens = answer,
         .at = at,
         .least = least},
        by, [&by] { by.answer(answer); }, [&by, at] { by.reach(at); });
  }
  // The longest prompt last and the longest context first: so most of what an answer needs before it is there already.
  void add_prefill() {
    std::sort(options_.prompts.begin(), options_.prompts.end());
    for (const std::uint32_t n : options_.prompts) add_prompt(main_, "prefill", n);
  }
  void add_decode() {
    std::sort(options_.contexts.rbegin(), options_.contexts.rend());
    for (const std::uint32_t at : options_.contexts) add_answer(main_, "decode", at);
  }
  void add_first_token() {
    if (!model_.config().has_vision) return;
    constexpr std::uint32_t words = 48;
    const std::uint32_t rows = words + model_.config().qformer.queries;
    if (rows > main_.session().context()) return;
    work least = tokens_work(model_, 0, rows, table_.cache_type);
    const work picture = picture_work(model_);
    least.bytes += picture.bytes, least.operations += picture.operations;
    add({.group = "first", .what = "picture and 48 tokens to the first", .least = least}, main_,
        [this] { main_.see_and_prompt(words); });
  }

  /// From a path to the first layer's work.
  void add_load() {
    add({.group = "load", .what = "open the model"}, main_,
        [this] { opened_.emplace(must(ocellus::model::open(options_.file, main_.hooks()))); });
    add({.group = "load", .what = "open a session"}, main_, [this] {
      opened_session_.emplace(must(ocellus::session::open(*opened_, options_.session, main_.hooks())));
    });
    add({.group = "load", .what = "begin its first layer"}, main_, [this] {
      const std::uint32_t token[] = {1};
      must(opened_session_->append(token));
      must(opened_session_->step(std::chrono::nanoseconds(1)));  // one unit of work, then time is up
    });
  }

  void add_threads() {
    ocellus::session_options small = options_.session;
    small.context = 160;
    const std::uint32_t most = main_.threads();
    std::vector<std::uint32_t> counts = {1, 2, most, 2 * most, 4 * most};
    std::sort(counts.begin(), counts.end());
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    for (const std::uint32_t n : counts) {
      talkers_.push_back(std::make_unique<talker>(model_, small, n));
      talker& by = *talkers_.back();
      add_picture(by, "threads");
      add_prompt(by, "threads", 128);
      add_answer(by, "threads", 100);
      add({.group = "threads",
           .what = "the machine: " + std::string(language_peak().instruction),
           .machine_amount = language_peak().operations * n},
          by, [this, &by] { static_cast<void>(measure_peak(by.hooks().tasks, language_peak())); });
      add({.group = "threads", .what = "the machine: reading", .machine_amount = readable::size}, by,
          [this, &by] {
            if (machine_) machine_->read(by.hooks().tasks);
          });
    }
  }

  void warm_up(std::size_t first) {
    for (std::size_t i = first; i < all_.size(); ++i) {
      const measurement& m = all_[i];
      // Of prompts and answers the longest is enough.
      const bool longest = std::none_of(all_.begin(), all_.end(), [&](const measurement& other) {
        return other.group == m.group && other.tokens + other.at > m.tokens + m.at;
      });
      if (!longest && (m.group == "prefill" || m.group == "decode")) continue;
      if (m.before) m.before();
      m.run();
    }
  }

  void measure(measurement& m) {
    double read = 0, peak = 0;
    if (m.least.bytes != 0) {
      read = machine_->speed(m.by->hooks().tasks);
      peak = measure_peak(m.by->hooks().tasks, peak_of(table_.name, arithmetic_of(table_, m.least.format)));
      if (m.threads == main_.threads()) reads_.push_back(read);
      if (m.threads == main_.threads() && m.group != "picture") peaks_.push_back(peak);
    }
    if (m.before) m.before();
    m.seconds.push_back(seconds_of(m.run));
    if (m.least.bytes != 0) {
      const double reading = m.least.bytes / read, computing = m.least.operations / peak;
      m.by_reading = reading > computing;
      m.shares.push_back((std::max)(reading, computing) / m.seconds.back());
    }
  }

  void watch_idleness() {
    const auto session_bytes =
        must(ocellus::session::estimate(model_.config(), options_.session, main_.hooks()));
    made_.touch_seconds = seconds_of([&] {
      const block memory(session_bytes);
      std::fill_n(static_cast<volatile char*>(memory.data()), session_bytes, char{1});
    });
    main_.answer(1);
    made_.idle_wall_seconds = 0.5;
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    made_.idle_seconds = static_cast<double>(std::clock() - before) / static_cast<double>(CLOCKS_PER_SEC);
  }

  [[nodiscard]] peak language_peak() const {
    return peak_of(table_.name, arithmetic_of(table_, model_.weights().phi.layers[0].fc1.weight.format));
  }

  options options_;
  ocellus::model model_;
  const ocellus::kernels& table_;
  talker main_;
  std::vector<std::unique_ptr<talker>> talkers_;
  std::vector<measurement> all_;
  std::optional<readable> machine_;
  std::optional<ocellus::model> opened_;
  std::optional<ocellus::session> opened_session_;
  std::vector<double> reads_, peaks_;
  report made_;
};

std::vector<std::uint32_t> numbers(arguments& given, std::string_view name, std::string_view otherwise) {
  std::vector<std::uint32_t> list;
  std::istringstream words{std::string(given.text(name, otherwise))};
  for (std::string word; std::getline(words, word, ',');) {
    const auto value = static_cast<std::uint32_t>(std::strtoul(word.c_str(), nullptr, 10));
    if (value == 0) given.complain(std::string(name) + " takes numbers with commas between them");
    list.push_back(value);
  }
  return list;
}

constexpr std::string_view groups[] = {"picture", "first", "prefill", "decode", "load", "threads"};

}  // namespace

usage declare_model() {
  return {"model",
          "MODEL",
          "Speed and memory of a whole model, against what the machine can do.",
          {{"--precision", "P", "exact or fast (default)"},
           {"--target", "NAME", "kernels by name; default: the fastest of this processor"},
           {"--threads", "N", "default: one for each processor"},
           {"--context", "N", "positions of the sessions; default: what the model was trained for"},
           {"--rounds", "N", "of which each figure is the median; default 3"},
           {"--only", "LIST", "of picture,first,prefill,decode,load,threads; default: all"},
           {"--prompts", "LIST", "lengths; default 16,32,64,128,256,512,1024,1536"},
           {"--contexts", "LIST", "positions before an answer; default 100,500,1000,1900"},
           {"--json", "", "for scripts, with the seconds of every round"}}};
}

int run_model(arguments& given) {
  options o;
  const std::string_view mode = given.text("--precision", "fast");
  if (mode != "exact" && mode != "fast") given.complain("--precision is exact or fast");
  o.session.mode = mode == "exact" ? ocellus::precision::exact : ocellus::precision::fast;
  o.session.target = given.text("--target");
  o.session.context = given.number<std::uint32_t>("--context", 0, 1, 1u << 20);
  o.threads = given.number<std::uint32_t>("--threads", 0, 1, ocellus::thread_pool::max_workers / 4);
  o.rounds = given.number("--rounds", 3, 1, 1000);
  o.prompts = numbers(given, "--prompts", "16,32,64,128,256,512,1024,1536");
  o.contexts = numbers(given, "--contexts", "100,500,1000,1900");
  std::istringstream words{std::string(given.text("--only"))};
  for (std::string word; std::getline(words, word, ',');) {
    if (std::find(std::begin(groups), std::end(groups), word) == std::end(groups))
      given.complain("--only: there is no " + word);
    o.only.push_back(word);
  }
  if (ocellus::find_cpu_kernels(o.session.target, o.session.mode) == nullptr)
    given.complain("this processor runs no kernels of that name");
  if (given.positionals().size() != 1) given.complain("model takes one file");
  if (!given.problem().empty()) return exit_usage;
  o.file = given.positionals()[0];

  bench runs(o);
  runs.run();
  const report made = std::move(runs).result();
  given.has("--json") ? made.print_json() : made.print_table();
  return exit_ok;
}

}  // namespace ocellus_bench
